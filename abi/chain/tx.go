package chain

import (
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Op is what a transaction does.
type Op uint64

// The operations. Their arguments are the structs of ops.go.
const (
	OpGrant        Op = 1  // Grant: create an account, or set its roles and quota
	OpRotate       Op = 2  // Rotate: replace the sender's own key
	OpEnrol        Op = 3  // Enrol: a device under the sender as owner
	OpDeviceStatus Op = 4  // DeviceStatus
	OpUpload       Op = 5  // Upload: declare code to come
	OpChunk        Op = 6  // Chunk: a part of an upload
	OpDeploy       Op = 7  // Deploy: make a contract of an uploaded code
	OpCall         Op = 8  // Call: a contract's execute
	OpBind         Op = 9  // Bind: a policy domain to a contract
	OpIssueToken   Op = 10 // IssueToken for an enforcement point
	OpRevokeToken  Op = 11 // RevokeToken
	OpUpgrade      Op = 12 // Upgrade: give a contract another code
	OpPropose      Op = 13 // Propose: a change that several must agree to
	OpApprove      Op = 14 // Vote for a proposal
	OpReject       Op = 15 // Vote against a proposal, or withdraw one's own
	OpGuardians    Op = 16 // Guardians: who may recover the sender's account
)

var opNames = map[Op]string{OpGrant: "grant", OpRotate: "rotate", OpEnrol: "enrol", OpDeviceStatus: "device-status",
	OpUpload: "upload", OpChunk: "chunk", OpDeploy: "deploy", OpCall: "call", OpBind: "bind",
	OpIssueToken: "issue-token", OpRevokeToken: "revoke-token", OpUpgrade: "upgrade",
	OpPropose: "propose", OpApprove: "approve", OpReject: "reject", OpGuardians: "guardians"}

func (o Op) String() string {
	if n, ok := opNames[o]; ok {
		return n
	}
	return fmt.Sprintf("op-%d", uint64(o))
}

// Body is what a transaction's signature covers: a map
//
//	1 chain id (bytes 32)
//	2 valid until, ms (uint): the window guard, at most abi.MaxWindow ahead
//	3 [lane (uint), sequence (uint)]: the lane guard, strictly ascending
//	4 gas cap (uint)
//	5 operation (uint)
//	6 arguments (map)
//
// Exactly one of 2 and 3 is present.
type Body struct {
	Chain      abi.Hash
	ValidUntil int64 // 0 when the lane guards
	Lane       uint64
	Sequence   uint64 // 0 when the window guards; the first of a lane is 1
	Gas        uint64
	Op         Op
	Args       []byte // encoded map
}

// Tx is a parsed transaction. A tick has only Tick and ID set.
type Tx struct {
	Body
	ID   abi.Hash
	Raw  []byte
	Tick int64 // due time in ms of the timer it ticks for; 0 in a signed one

	envelope Envelope
}

// Key is the public key that signed it; nil for a tick.
func (t *Tx) Key() []byte { return t.envelope.Key }

// Envelope is its signed envelope, to be verified singly or in batch.
func (t *Tx) Envelope() *Envelope { return &t.envelope }

// AppendBody appends the encoding of a body.
func AppendBody(b []byte, t *Body) []byte {
	b = cbor.AppendMap(b, 5)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), t.Chain[:])
	if t.Sequence == 0 {
		b = cbor.AppendInt(cbor.AppendUint(b, 2), t.ValidUntil)
	} else {
		b = cbor.AppendArray(cbor.AppendUint(b, 3), 2)
		b = cbor.AppendUint(cbor.AppendUint(b, t.Lane), t.Sequence)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 4), t.Gas)
	b = cbor.AppendUint(cbor.AppendUint(b, 5), uint64(t.Op))
	return append(cbor.AppendUint(b, 6), t.Args...)
}

func parseBody(b []byte) (Body, error) {
	var t Body
	r := cbor.NewReader(b)
	var seen uint64
	for f := r.Fields(); f.Next(); {
		seen |= 1 << min(f.Key(), 63)
		switch f.Key() {
		case 1:
			t.Chain = hashOf(&r)
		case 2:
			t.ValidUntil = r.Int()
		case 3:
			r.ArrayN(2)
			t.Lane, t.Sequence = r.Uint(), r.Uint()
		case 4:
			t.Gas = r.Uint()
		case 5:
			t.Op = Op(r.Uint())
		case 6:
			t.Args = rawMap(&r)
		default:
			r.Fail(fmt.Errorf("field %d is not known: %w", f.Key(), abi.CodeMalformed))
		}
	}
	if err := r.Done(); err != nil {
		return Body{}, abi.Malformed(err)
	}
	const common = 1<<1 | 1<<4 | 1<<5 | 1<<6
	window, lane := seen == common|1<<2 && t.ValidUntil > 0, seen == common|1<<3 && t.Sequence > 0
	if !window && !lane || t.Lane > math.MaxInt64 || t.Sequence > math.MaxInt64 {
		return Body{}, fmt.Errorf("fields are missing or contradict one another: %w", abi.CodeMalformed)
	}
	return t, nil
}

// SignTx signs a body and returns the encoded transaction.
func SignTx(t *Body, s Signer) ([]byte, error) {
	raw, err := Seal(AppendBody(nil, t), PurposeTransaction, s)
	if err != nil {
		return nil, err
	}
	if len(raw) > abi.MaxTransaction {
		return nil, fmt.Errorf("transaction of %d bytes: %w", len(raw), abi.CodeTooLarge)
	}
	return raw, nil
}

// tickLabel opens a tick: array(2) ["tick", due ms].
const tickLabel = "tick"

// AppendTick appends an unsigned tick: it carries only the due time of a
// timer and exists so that a block comes.
func AppendTick(b []byte, due int64) []byte {
	return cbor.AppendInt(cbor.AppendText(cbor.AppendArray(b, 2), tickLabel), due)
}

// ParseTx reads a transaction or tick without checking its signature. The
// result aliases raw.
func ParseTx(raw []byte) (*Tx, error) {
	if len(raw) > abi.MaxTransaction {
		return nil, fmt.Errorf("transaction of %d bytes: %w", len(raw), abi.CodeTooLarge)
	}
	if r := cbor.NewReader(raw); r.Kind() == cbor.KindArray {
		return parseTick(raw)
	}
	e, err := ParseEnvelope(raw, PurposeTransaction)
	if err != nil {
		return nil, err
	}
	body, err := parseBody(e.Payload)
	if err != nil {
		return nil, err
	}
	return &Tx{Body: body, ID: e.ID(), Raw: raw, envelope: e}, nil
}

func parseTick(raw []byte) (*Tx, error) {
	r := cbor.NewReader(raw)
	r.ArrayN(2)
	label, due := r.Text(), r.Int()
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	if label != tickLabel || due <= 0 {
		return nil, fmt.Errorf("not a tick: %w", abi.CodeMalformed)
	}
	return &Tx{ID: sha256.Sum256(raw), Raw: raw, Tick: due}, nil
}

func rawMap(r *cbor.Reader) []byte {
	if r.Kind() != cbor.KindMap {
		r.Fail(abi.CodeBadArgument)
	}
	return r.Raw()
}

func hashOf(r *cbor.Reader) (h abi.Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}

// StatementKind is what a signed statement says.
type StatementKind uint64

// StatementEnrol: "I, the device of this key, belong to this owner".
// StatementRotate: "this key succeeds the account's".
// StatementValidator: "this key is to vote, as the key of this account".
const (
	StatementEnrol     StatementKind = 1
	StatementRotate    StatementKind = 2
	StatementValidator StatementKind = 3
)

// Statement is a second party's signature within a transaction: an envelope
// whose payload is {1: chain id, 2: kind, 3: expiry ms, 4: body (map)}. It is
// good up to and including its expiry.
type Statement struct {
	Chain  abi.Hash
	Kind   StatementKind
	Expiry int64
	Body   []byte
	Key    []byte // who signed

	envelope Envelope
}

// SignStatement signs s and returns the encoded envelope.
func SignStatement(s *Statement, by Signer) ([]byte, error) {
	var f fields
	f.bytes(1, s.Chain[:])
	f.uint(2, uint64(s.Kind))
	f.int(3, s.Expiry)
	f.raw(4, s.Body)
	return Seal(f.appendTo(nil), PurposeStatement, by)
}

// ParseStatement reads a statement and checks nothing of what it says.
func ParseStatement(raw []byte) (Statement, error) {
	e, err := ParseEnvelope(raw, PurposeStatement)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Key: e.Key, envelope: e}
	err = parseArgs(e.Payload, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			s.Chain = hashOf(r)
		case 2:
			s.Kind = StatementKind(r.Uint())
		case 3:
			s.Expiry = r.Int()
		case 4:
			s.Body = rawMap(r)
		default:
			return false
		}
		return true
	})
	if err != nil {
		return Statement{}, err
	}
	return s, nil
}

// OpenStatement reads a statement, checks its signature, and that it is of
// the kind, for the chain and not expired at now (ms). Errors are, or wrap,
// CodeMalformed, CodeBadKey, CodeBadArgument, CodeWrongChain, CodeExpired and
// CodeBadSignature.
func OpenStatement(raw []byte, chain abi.Hash, kind StatementKind, now int64) (Statement, error) {
	s, err := ParseStatement(raw)
	if err != nil {
		return Statement{}, err
	}
	switch {
	case s.Chain != chain:
		return Statement{}, abi.CodeWrongChain
	case s.Kind != kind:
		return Statement{}, abi.CodeBadArgument
	case now > s.Expiry:
		return Statement{}, abi.CodeExpired
	}
	if err := s.envelope.Verify(); err != nil {
		return Statement{}, err
	}
	return s, nil
}
