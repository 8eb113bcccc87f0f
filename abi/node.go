package abi

import (
	"math"

	"github.com/seed79541315/postern/abi/cbor"
)

// NodeRole is what a node does for its chain.
type NodeRole uint8

// The roles of nodes: one votes on blocks, the other applies them.
const (
	NodeValidator NodeRole = 1
	NodeFollower  NodeRole = 2
)

// String is the role's name, empty for an unknown one.
func (r NodeRole) String() string {
	switch r {
	case NodeValidator:
		return "validator"
	case NodeFollower:
		return "follower"
	}
	return ""
}

// NodeStatus is what a node says of itself and of the caller: a map
//
//	1 chain id             10 staleness, ms
//	2 chain name           11 caller's account id, absent if unknown
//	3 height               12 caller's device status, absent if no device
//	4 block hash           13 caller's roles
//	5 block time, ms       14 the node's role
//	6 state root           15 validators of the next block
//	7 protocol version     16 nodes connected to this one
//	8 engine               17 lowest block above the genesis that is kept
//	9 program version      18 height to catch up to
//	                       19 isolated by this gateway until, ms
//	20 why the caller's device is isolated or not active
//
// 11 to 20 are absent when zero.
type NodeStatus struct {
	Chain      Hash
	Name       string
	Height     uint64
	Block      Hash
	Time       int64
	State      Hash
	Protocol   uint64
	Engine     string
	Program    string
	Staleness  uint64 // age of the newest proof that the node is not cut off
	Account    *Hash
	Device     Status
	Roles      Role
	Role       NodeRole
	Validators uint64
	Peers      uint64
	Base       uint64 // 0 or 1: the node keeps every block
	Target     uint64 // 0: the node knows of no block that it does not have
	Isolated   int64
	Reason     string
}

// AppendNodeStatus appends the encoding of s.
func AppendNodeStatus(b []byte, s *NodeStatus) []byte {
	rest := []struct{ key, value uint64 }{
		{12, uint64(s.Device)}, {13, uint64(s.Roles)}, {14, uint64(s.Role)},
		{15, s.Validators}, {16, s.Peers}, {17, s.Base}, {18, s.Target}, {19, uint64(s.Isolated)},
	}
	n := 10
	if s.Account != nil {
		n++
	}
	for _, f := range rest {
		if f.value != 0 {
			n++
		}
	}
	if s.Reason != "" {
		n++
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), s.Chain[:])
	b = cbor.AppendText(cbor.AppendUint(b, 2), s.Name)
	b = cbor.AppendUint(cbor.AppendUint(b, 3), s.Height)
	b = cbor.AppendBytes(cbor.AppendUint(b, 4), s.Block[:])
	b = cbor.AppendInt(cbor.AppendUint(b, 5), s.Time)
	b = cbor.AppendBytes(cbor.AppendUint(b, 6), s.State[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 7), s.Protocol)
	b = cbor.AppendText(cbor.AppendUint(b, 8), s.Engine)
	b = cbor.AppendText(cbor.AppendUint(b, 9), s.Program)
	b = cbor.AppendUint(cbor.AppendUint(b, 10), s.Staleness)
	if s.Account != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 11), s.Account[:])
	}
	for _, f := range rest {
		if f.value != 0 {
			b = cbor.AppendUint(cbor.AppendUint(b, f.key), f.value)
		}
	}
	if s.Reason != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 20), s.Reason)
	}
	return b
}

// ParseNodeStatus reads a node's status.
func ParseNodeStatus(b []byte) (NodeStatus, error) {
	var s NodeStatus
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			s.Chain = hashOf(&r)
		case 2:
			s.Name = r.Text()
		case 3:
			s.Height = r.Uint()
		case 4:
			s.Block = hashOf(&r)
		case 5:
			s.Time = r.Int()
		case 6:
			s.State = hashOf(&r)
		case 7:
			s.Protocol = r.Uint()
		case 8:
			s.Engine = r.Text()
		case 9:
			s.Program = r.Text()
		case 10:
			s.Staleness = r.Uint()
		case 11:
			h := hashOf(&r)
			s.Account = &h
		case 12:
			s.Device = Status(uintUpTo(&r, math.MaxUint8))
		case 13:
			s.Roles = Role(r.Uint())
		case 14:
			s.Role = NodeRole(uintUpTo(&r, math.MaxUint8))
		case 15:
			s.Validators = r.Uint()
		case 16:
			s.Peers = r.Uint()
		case 17:
			s.Base = r.Uint()
		case 18:
			s.Target = r.Uint()
		case 19:
			s.Isolated = int64(uintUpTo(&r, math.MaxInt64))
		case 20:
			s.Reason = r.Text()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return NodeStatus{}, Malformed(err)
	}
	return s, nil
}
