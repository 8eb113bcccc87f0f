package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// The topics of events that the ledger itself emits: their contract is "",
// which no contract is named, and their data is a Notice. What stands in
// Subject, Level, Reason and Hash is said here; By is who sent the transaction,
// or the proposer where guardians or validators agreed, and absent where a
// contract did it.
const (
	TopicDeviceEnrolled    = "device.enrolled"    // device; 1 if proven; manufacturer and serial
	TopicDeviceStatus      = "device.status"      // device; abi.Status; its reason
	TopicDeviceProven      = "device.proven"      // device
	TopicDeviceTransferred = "device.transferred" // device; -; -; the new owner's account id
	TopicDeviceBound       = "device.bound"       // device; number of contracts; their names
	TopicDeviceAlert       = "device.alert"       // device; abi.Level; reason id, or who lists its serial; evidence
	TopicDeviceEvidence    = "device.evidence"    // device; -; contract that judged; evidence
	TopicDeviceSealed      = "device.sealed"      // device; -; -; evidence
	TopicBlacklistChanged  = "blacklist.changed"  // SerialHash; 1 listed, 0 taken off; reason
	TopicLogAnchored       = "log.anchored"       // gateway; -; -; root
	TopicLogConflict       = "log.conflict"       // gateway whose log it is; -; -; the root that was witnessed
	TopicLogOffence        = "log.offence"        // gateway whose log it is; -; -; the second root
	TopicGatewayAlert      = "gateway.alert"      // gateway; -; kind; evidence
	TopicGovernance        = "governance.changed" // account: the proposer or operator; ProposalKind; reason
)

// Notice is the data of an event of the ledger's own: {1: subject id (bytes 32),
// 2: status, level or kind, 3: reason, 4: by account, 5: hash, 6: number}
// 2 to 6 are absent where there is nothing to say. 6 counts: attacks, records of
// a log, a proposal's number, a sealed item's.
type Notice struct {
	Subject abi.Hash
	Level   uint8
	Reason  string
	By      *abi.Hash
	Hash    *abi.Hash
	Number  uint64
}

// Append appends the encoding of n.
func (n *Notice) Append(b []byte) []byte {
	var f fields
	f.bytes(1, n.Subject[:])
	f.optUint(2, uint64(n.Level))
	f.optText(3, n.Reason)
	if n.By != nil {
		f.bytes(4, n.By[:])
	}
	if n.Hash != nil {
		f.bytes(5, n.Hash[:])
	}
	f.optUint(6, n.Number)
	return f.appendTo(b)
}

// ParseNotice reads the data of an event of the ledger's own.
func ParseNotice(b []byte) (n Notice, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			n.Subject = hashOf(r)
		case 2:
			n.Level = uint8(uintUpTo(r, math.MaxUint8))
		case 3:
			n.Reason = r.Text()
		case 4:
			n.By = hashRef(r)
		case 5:
			n.Hash = hashRef(r)
		case 6:
			n.Number = r.Uint()
		default:
			r.Skip()
		}
	})
	return n, err
}
