package chain

import (
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

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
