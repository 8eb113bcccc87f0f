package abi

import (
	"io"
	"math"
	"strconv"

	"github.com/seed79541315/postern/abi/cbor"
)

// ALPN is the application protocol of the device port (QUIC, TLS 1.3).
const ALPN = "postern/1"

// Operation is what a request on the device port asks for.
type Operation uint64

// The operations, with the body of their requests and answers as maps.
//
//	hello   {1: height}                            Hello: the gateway's account, with the steps after the height
//	decide  {1: domain, 2: DecisionRequest}        Answer
//	batch   {1: domain, 2: [DecisionRequest …], 3: Semantics}   [Answer …]
//	submit  {1: transaction (bytes), 2: wait (bool)}   TxResult
//	status  {}                                     NodeStatus
//	prove   {1: state key (bytes)}                 proof.Entry
//	query   {1: contract, 2: message (bytes)}      {1: result (bytes), 2: height}; unproven
//	scan    {1: prefix, 2: start, 3: limit}        {1: [[key, value] …], 2: more (bool), 3: height}; unproven
//	block   {1: height, 2: offset}                 {1: part (bytes), 2: total length}
//	tx      {1: transaction id}                    TxResult with 5: the transaction (bytes)
//	steps   {1: height}                            Steps: changes of the validator set after the height
//
// The height of a hello may be absent, and so are then the steps. The domain may
// be empty: then it is DefaultDomain. A scan gives keys with the prefix that are
// not below start, as many as fit into a frame; the next page starts at the last
// key with a zero byte behind it. A stored block is larger than a frame: what is
// cut into parts is {1: block, 2: certificate, 3: outcomes} (bytes each), and a
// part is what follows the offset. An outcome too large for a frame is absent
// from a TxResult though its height is set; it stands in the block.
const (
	OpHello  Operation = 1
	OpDecide Operation = 2
	OpBatch  Operation = 3
	OpSubmit Operation = 4
	OpStatus Operation = 5
	OpProve  Operation = 6
	OpQuery  Operation = 7
	OpScan   Operation = 8
	OpBlock  Operation = 9
	OpTx     Operation = 10
	OpSteps  Operation = 11
)

// DefaultDomain is the policy domain that is asked when none is named.
const DefaultDomain = "default"

// Semantics of a batch (AuthZEN Authorization API 1.0 section 7.1.2.1).
type Semantics uint64

// The three semantics: answer every item; stop after the first denial; stop
// after the first permit. Stopping leaves the rest unanswered.
const (
	ExecuteAll Semantics = iota
	DenyOnFirstDeny
	PermitOnFirstPermit
)

// Request is a frame from a device: {1: id, 2: operation, 3: body}. The id
// comes back in the response; requests on one stream may be pipelined and are
// answered in order. Ids begin at 1: a response with id 0 answers a frame
// whose id could not be read, and is the last of its stream.
type Request struct {
	ID   uint64
	Op   Operation
	Body []byte // encoded item
}

// Response is a frame to a device: {1: id, 2: code, 3: body, 4: the contract's
// own code}. The body is there only when the code is OK, the contract's own
// code when it is CodeAborted, and then always.
type Response struct {
	ID    uint64
	Code  Code
	Body  []byte // encoded item, nil when absent
	Abort uint16 // 0 unless Code is CodeAborted
}

// AppendRequest appends the encoding of q.
func AppendRequest(b []byte, q *Request) []byte {
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), q.ID)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(q.Op))
	return append(cbor.AppendUint(b, 3), q.Body...)
}

// ParseRequest reads a request; the body aliases b and is canonical CBOR.
func ParseRequest(b []byte) (Request, error) {
	var q Request
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			q.ID = r.Uint()
		case 2:
			q.Op = Operation(r.Uint())
		case 3:
			q.Body = r.Raw()
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Request{}, Malformed(err)
	}
	if q.ID == 0 || q.Op == 0 || q.Body == nil {
		return Request{}, CodeBadArgument
	}
	return q, nil
}

// AppendResponse appends the encoding of p.
func AppendResponse(b []byte, p *Response) []byte {
	n := 2
	if p.Body != nil {
		n++
	}
	if p.Code == CodeAborted {
		n++
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), p.ID)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(p.Code))
	if p.Body != nil {
		b = append(cbor.AppendUint(b, 3), p.Body...)
	}
	if p.Code == CodeAborted {
		b = cbor.AppendUint(cbor.AppendUint(b, 4), uint64(p.Abort))
	}
	return b
}

// ParseResponse reads a response; the body aliases b and is canonical CBOR.
func ParseResponse(b []byte) (Response, error) {
	var p Response
	r := cbor.NewReader(b)
	seen, aborted := 0, false
	for f := r.Fields(); f.Next(); {
		seen++
		switch f.Key() {
		case 1:
			p.ID = r.Uint()
		case 2:
			p.Code = codeOf(&r)
		case 3:
			p.Body = r.Raw()
		case 4:
			seen--
			aborted = true
			p.Abort = uint16(uintUpTo(&r, math.MaxUint16))
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Response{}, Malformed(err)
	}
	fields := seen - min(len(p.Body), 1)
	if fields != 2 || p.Code != OK && p.Body != nil || aborted != (p.Code == CodeAborted) {
		return Response{}, because(CodeMalformed, "fields of a response do not fit together")
	}
	return p, nil
}

func codeOf(r *cbor.Reader) Code { return Code(uintUpTo(r, math.MaxUint16)) }

// uintUpTo reads an unsigned integer that must fit a smaller type.
func uintUpTo(r *cbor.Reader, limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail(because(CodeMalformed, strconv.FormatUint(v, 10)+" is above "+strconv.FormatUint(limit, 10)))
		return 0
	}
	return v
}

func hashOf(r *cbor.Reader) (h Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}

// frameHead is the length prefix of a frame: 4 bytes, big-endian.
const frameHead = 4

// BeginFrame appends room for a frame's length to b; EndFrame fills it in.
//
//	b = abi.BeginFrame(b[:0])
//	b = abi.AppendRequest(b, &q)
//	b = abi.EndFrame(b, 0)
func BeginFrame(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// EndFrame writes the length of the frame that began at offset start.
func EndFrame(b []byte, start int) []byte {
	n := len(b) - start - frameHead
	copy(b[start:], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return b
}

// firstRead is the room that a frame's length alone makes, in bytes. Beyond it
// the buffer grows with what has arrived, so that a sender of lengths without
// content holds little memory.
const firstRead = 4 << 10

// ReadFrame reads one frame into buf, growing it if need be, and returns its
// content, which may be empty. It refuses a frame above MaxFrame with
// CodeFrameTooLarge before it reads its content. At the end of the stream it
// returns io.EOF, in the middle of a frame io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, buf []byte) ([]byte, error) {
	if cap(buf) < frameHead {
		buf = make([]byte, 512)
	}
	head := buf[:frameHead]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := uint32(head[0])<<24 | uint32(head[1])<<16 | uint32(head[2])<<8 | uint32(head[3])
	if size > MaxFrame {
		return nil, because(CodeFrameTooLarge, "frame of "+strconv.FormatUint(uint64(size), 10)+" bytes")
	}
	n := int(size)
	buf = buf[:0]
	for len(buf) < n {
		have := len(buf)
		if have == cap(buf) || cap(buf) < min(n, firstRead) {
			grown := make([]byte, have, min(n, max(2*have, firstRead)))
			copy(grown, buf)
			buf = grown
		}
		buf = buf[:min(n, cap(buf))]
		if _, err := io.ReadFull(r, buf[have:]); err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// Caller is who asks for a decision: the key that mutual TLS authenticated,
// or the account of a bearer token.
type Caller struct {
	Key     []byte // nil for a token
	Account Hash   // used when Key is nil
}

// Answer is a decision and all that a log record of it needs: a map
//
//	1 permit (bool)            7 record number (uint)
//	2 code (uint), 0 if permit 8 height (uint)
//	3 reason (uint)            9 contract (text)
//	4 reason id (text)        10 code hash (bytes 32)
//	5 obligations (array)     11 staleness, ms (uint)
//	6 time to live, ms (uint) 12 the gateway's now, ms (uint)
//
// 3 to 6, 9 and 10 are absent when zero. 3 to 5 are the policy's own. Clients
// skip keys that they do not know.
type Answer struct {
	Permit      bool
	Code        Code
	Reason      uint64
	ReasonID    string
	Obligations []byte
	TTL         uint64
	Record      uint64
	Height      uint64
	Contract    string
	CodeHash    Hash
	Staleness   uint64
	Now         int64
}

// AppendAnswer appends the encoding of a.
func AppendAnswer(b []byte, a *Answer) []byte {
	n := 6
	for _, present := range []bool{a.Reason != 0, a.ReasonID != "", a.Obligations != nil, a.TTL != 0, a.Contract != "", a.CodeHash != Hash{}} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBool(cbor.AppendUint(b, 1), a.Permit)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(a.Code))
	if a.Reason != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 3), a.Reason)
	}
	if a.ReasonID != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 4), a.ReasonID)
	}
	if a.Obligations != nil {
		b = append(cbor.AppendUint(b, 5), a.Obligations...)
	}
	if a.TTL != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 6), a.TTL)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 7), a.Record)
	b = cbor.AppendUint(cbor.AppendUint(b, 8), a.Height)
	if a.Contract != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 9), a.Contract)
	}
	if a.CodeHash != (Hash{}) {
		b = cbor.AppendBytes(cbor.AppendUint(b, 10), a.CodeHash[:])
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 11), a.Staleness)
	return cbor.AppendInt(cbor.AppendUint(b, 12), a.Now)
}

// ParseAnswer reads an answer; it aliases b.
func ParseAnswer(b []byte) (Answer, error) {
	r := cbor.NewReader(b)
	a := readAnswer(&r)
	if err := r.Done(); err != nil {
		return Answer{}, Malformed(err)
	}
	return a, nil
}

// ParseAnswers reads the answers to a batch, at most MaxBatch.
func ParseAnswers(b []byte) ([]Answer, error) {
	r := cbor.NewReader(b)
	n := r.Array()
	if n > MaxBatch {
		return nil, CodeTooLarge
	}
	list := make([]Answer, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		list = append(list, readAnswer(&r))
	}
	if err := r.Done(); err != nil {
		return nil, Malformed(err)
	}
	return list, nil
}

func readAnswer(r *cbor.Reader) (a Answer) {
	decided := false
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			a.Permit, decided = r.Bool(), true
		case 2:
			a.Code = codeOf(r)
		case 3:
			a.Reason = r.Uint()
		case 4:
			a.ReasonID = r.Text()
		case 5:
			a.Obligations = rawArray(r)
		case 6:
			a.TTL = r.Uint()
		case 7:
			a.Record = r.Uint()
		case 8:
			a.Height = r.Uint()
		case 9:
			a.Contract = r.Text()
		case 10:
			a.CodeHash = hashOf(r)
		case 11:
			a.Staleness = r.Uint()
		case 12:
			a.Now = r.Int()
		default:
			r.Skip()
		}
	}
	if !decided || a.Permit && a.Code != OK {
		r.Fail(because(CodeMalformed, "the answer has no decision, or a permit with an error"))
	}
	return a
}

func rawArray(r *cbor.Reader) []byte {
	if r.Kind() != cbor.KindArray {
		r.Fail(because(CodeMalformed, "found "+r.Kind().String()+", want array"))
	}
	return r.Raw()
}

// TxResult is where a transaction stands: {1: id (bytes 32), 2: height (uint,
// 0 while it waits), 3: index of its outcome in the block, 4: outcome
// (chain.Outcome, absent while it waits), 5: the transaction (bytes; only
// when asked by id)}.
type TxResult struct {
	ID      Hash
	Height  uint64
	Index   uint64
	Outcome []byte
	Tx      []byte
}

// AppendTxResult appends the encoding of t.
func AppendTxResult(b []byte, t *TxResult) []byte {
	n := 3
	for _, present := range []bool{t.Outcome != nil, t.Tx != nil} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), t.ID[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 2), t.Height)
	b = cbor.AppendUint(cbor.AppendUint(b, 3), t.Index)
	if t.Outcome != nil {
		b = append(cbor.AppendUint(b, 4), t.Outcome...)
	}
	if t.Tx != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 5), t.Tx)
	}
	return b
}

// ParseTxResult reads a result; it aliases b.
func ParseTxResult(b []byte) (TxResult, error) {
	var t TxResult
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			t.ID = hashOf(&r)
		case 2:
			t.Height = r.Uint()
		case 3:
			t.Index = r.Uint()
		case 4:
			t.Outcome = r.Raw()
		case 5:
			t.Tx = r.Bytes()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return TxResult{}, Malformed(err)
	}
	return t, nil
}

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
//
// 11 to 18 are absent when zero.
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
}

// AppendNodeStatus appends the encoding of s.
func AppendNodeStatus(b []byte, s *NodeStatus) []byte {
	rest := []struct{ key, value uint64 }{
		{12, uint64(s.Device)}, {13, uint64(s.Roles)}, {14, uint64(s.Role)},
		{15, s.Validators}, {16, s.Peers}, {17, s.Base}, {18, s.Target},
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
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return NodeStatus{}, Malformed(err)
	}
	return s, nil
}

// Standing is what the ledger says of a key at this moment.
type Standing struct {
	Known   bool // the key is some account's current key
	Account Hash
	Roles   Role
	Device  Status // 0 when the account is no device
}

// Active says whether the holder of the key may ask for anything beyond its
// status: it is known and, if a device, active.
func (s *Standing) Active() bool {
	return s.Known && (s.Device == 0 || s.Device == StatusActive)
}
