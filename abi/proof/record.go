package proof

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// SaltSize is the length of a salt in bytes.
const SaltSize = 16

// Salt hides what is committed to: badge, door and minute can be guessed.
type Salt [SaltSize]byte

// Field is a part of a decision's record that is shown or hidden as one.
type Field uint8

// The fields of a record. Each has one encoding, its value:
//
//	1 number    uint
//	2 time      [now in ms (int), whether the clock was known to be right (bool)]
//	3 state     [height (uint), staleness in ms (uint)]
//	4 caller    account id (bytes)
//	5 domain    text
//	6 rules     [contract (text), hash of its code (bytes, empty: none)]
//	7 request   bytes: what was asked, an encoded abi.DecisionRequest
//	8 decision  [permit (bool), code (uint)]
//	9 reason    [the contract's own code (uint), reason id (text)]
//	10 terms    [time to live in ms (uint), SHA-256 of the encoded obligations
//	            (bytes, empty: none)]
const (
	FieldNumber Field = 1 + iota
	FieldTime
	FieldState
	FieldCaller
	FieldDomain
	FieldRules
	FieldRequest
	FieldDecision
	FieldReason
	FieldTerms

	numFields = 10
)

var fieldNames = [...]string{"number", "time", "state", "caller", "domain", "rules", "request", "decision", "reason", "terms"}

// String is the field's name.
func (f Field) String() string {
	if f < 1 || f > numFields {
		return fmt.Sprintf("field %d", uint8(f))
	}
	return fieldNames[f-1]
}

// Record is one decision as a gateway's log holds it: everything that is
// needed to make it again. Encoded it is an array of the salt (bytes) and the
// ten fields' values.
//
// Its leaf in the log commits to each field apart, so that any of them can be
// hidden from whom it does not concern, and it is proved that something was
// there:
//
//	leaf       = SHA-256(0x00 | "postern/decision/1\n" | commitment 1 | … | commitment 10)
//	commitment = SHA-256(salt of the field (16) | number of the field (1) | value)
//
// SHA-256(salt of the record | i), for i a byte from 0 to 4, is the salt of
// field 2i+1 followed by that of field 2i+2.
type Record struct {
	Salt Salt

	Number      uint64
	Now         int64 // the gateway's, ms since 1970
	Trusted     bool  // Now was known to be right
	Height      uint64
	Staleness   uint64 // ms
	Caller      abi.Hash
	Domain      string
	Contract    string   // empty where there was none to ask
	CodeHash    abi.Hash // zero: none
	Request     []byte
	Permit      bool
	Code        abi.Code
	Reason      uint64
	ReasonID    string
	TTL         uint64   // ms
	Obligations abi.Hash // zero: none
}

// leafPrefix begins the leaf of a decision.
const leafPrefix = "postern/decision/1\n"

// appendValue appends the value of a field.
func (r *Record) appendValue(b []byte, f Field) []byte {
	switch f {
	case FieldNumber:
		return cbor.AppendUint(b, r.Number)
	case FieldTime:
		return cbor.AppendBool(cbor.AppendInt(cbor.AppendArray(b, 2), r.Now), r.Trusted)
	case FieldState:
		return cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(b, 2), r.Height), r.Staleness)
	case FieldCaller:
		return cbor.AppendBytes(b, r.Caller[:])
	case FieldDomain:
		return cbor.AppendText(b, r.Domain)
	case FieldRules:
		return appendOptHash(cbor.AppendText(cbor.AppendArray(b, 2), r.Contract), &r.CodeHash)
	case FieldRequest:
		return cbor.AppendBytes(b, r.Request)
	case FieldDecision:
		return cbor.AppendUint(cbor.AppendBool(cbor.AppendArray(b, 2), r.Permit), uint64(r.Code))
	case FieldReason:
		return cbor.AppendText(cbor.AppendUint(cbor.AppendArray(b, 2), r.Reason), r.ReasonID)
	case FieldTerms:
		return appendOptHash(cbor.AppendUint(cbor.AppendArray(b, 2), r.TTL), &r.Obligations)
	}
	panic("BUG: a record has no such field")
}

// readValue reads the value of a field.
func (r *Record) readValue(in *cbor.Reader, f Field) {
	switch f {
	case FieldNumber:
		r.Number = in.Uint()
	case FieldTime:
		in.ArrayN(2)
		r.Now, r.Trusted = in.Int(), in.Bool()
	case FieldState:
		in.ArrayN(2)
		r.Height, r.Staleness = in.Uint(), in.Uint()
	case FieldCaller:
		copy(r.Caller[:], in.BytesN(len(r.Caller)))
	case FieldDomain:
		r.Domain = in.Text()
	case FieldRules:
		in.ArrayN(2)
		r.Contract = in.Text()
		r.CodeHash = readOptHash(in)
	case FieldRequest:
		r.Request = in.Bytes()
	case FieldDecision:
		in.ArrayN(2)
		r.Permit, r.Code = in.Bool(), readCode(in)
	case FieldReason:
		in.ArrayN(2)
		r.Reason, r.ReasonID = in.Uint(), in.Text()
	case FieldTerms:
		in.ArrayN(2)
		r.TTL = in.Uint()
		r.Obligations = readOptHash(in)
	}
}

func appendOptHash(b []byte, h *abi.Hash) []byte {
	if *h == (abi.Hash{}) {
		return cbor.AppendBytes(b, nil)
	}
	return cbor.AppendBytes(b, h[:])
}

// readOptHash reads what appendOptHash wrote.
func readOptHash(r *cbor.Reader) (h abi.Hash) {
	b := r.Bytes()
	if len(b) != 0 && len(b) != len(h) || len(b) != 0 && abi.Hash(b) == (abi.Hash{}) {
		r.Fail(abi.CodeMalformed)
		return h
	}
	copy(h[:], b)
	return h
}

func readCode(r *cbor.Reader) abi.Code {
	c := r.Uint()
	if c > 0xffff {
		r.Fail(abi.CodeMalformed)
	}
	return abi.Code(c)
}

// Append appends the encoding of r.
func (r *Record) Append(b []byte) []byte {
	b = cbor.AppendBytes(cbor.AppendArray(b, 1+numFields), r.Salt[:])
	for f := Field(1); f <= numFields; f++ {
		b = r.appendValue(b, f)
	}
	return b
}

// ParseRecord reads a record. Its request aliases b.
func ParseRecord(b []byte) (Record, error) {
	var r Record
	in := cbor.NewReader(b)
	in.ArrayN(1 + numFields)
	copy(r.Salt[:], in.BytesN(SaltSize))
	for f := Field(1); f <= numFields; f++ {
		r.readValue(&in, f)
	}
	if err := in.Done(); err != nil {
		return Record{}, abi.Malformed(err)
	}
	return r, nil
}

// salts are those of all fields.
func (r *Record) salts() (list [numFields]Salt) {
	var in [SaltSize + 1]byte
	copy(in[:], r.Salt[:])
	for i := 0; i < numFields; i += 2 {
		in[SaltSize] = byte(i / 2)
		pair := sha256.Sum256(in[:])
		list[i], list[i+1] = Salt(pair[:SaltSize]), Salt(pair[SaltSize:])
	}
	return list
}

// Leaf is the record's leaf hash in the log.
func (r *Record) Leaf() abi.Hash {
	salts := r.salts()
	var commitments [numFields]abi.Hash
	var room [512]byte // enough for most requests
	for i, salt := range salts {
		f := Field(i + 1)
		b := append(append(room[:0], salt[:]...), byte(f))
		commitments[i] = sha256.Sum256(r.appendValue(b, f))
	}
	return leafOf(&commitments)
}

// RecordLeaf is the leaf hash of an encoded record, whose values it does not
// look into.
func RecordLeaf(b []byte) (abi.Hash, error) {
	in := cbor.NewReader(b)
	in.ArrayN(1 + numFields)
	var r Record
	copy(r.Salt[:], in.BytesN(SaltSize))
	var commitments [numFields]abi.Hash
	var room [512]byte
	for i, salt := range r.salts() {
		value := append(append(room[:0], salt[:]...), byte(i+1))
		commitments[i] = sha256.Sum256(append(value, in.Raw()...))
	}
	if err := in.Done(); err != nil {
		return abi.Hash{}, abi.Malformed(err)
	}
	return leafOf(&commitments), nil
}

func leafOf(commitments *[numFields]abi.Hash) abi.Hash {
	var room [1 + len(leafPrefix) + numFields*len(abi.Hash{})]byte
	b := append(append(room[:0], prefixLeaf), leafPrefix...)
	for i := range commitments {
		b = append(b, commitments[i][:]...)
	}
	return sha256.Sum256(b)
}

// Gap is a record of another kind: a gateway that ended in a crash may have
// given out the numbers from First up to, but not including, Next, and has no
// decision with one of them. Encoded it is the array [First, Next, Now], and
// its leaf is SHA-256(0x00 | "postern/gap/1\n" | encoding).
type Gap struct {
	First, Next uint64
	Now         int64 // when it was found, ms since 1970
}

const gapPrefix = "postern/gap/1\n"

// Append appends the encoding of g.
func (g *Gap) Append(b []byte) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 3), g.First)
	return cbor.AppendInt(cbor.AppendUint(b, g.Next), g.Now)
}

// ParseGap reads a gap, which is not empty.
func ParseGap(b []byte) (Gap, error) {
	r := cbor.NewReader(b)
	r.ArrayN(3)
	g := Gap{First: r.Uint(), Next: r.Uint(), Now: r.Int()}
	if r.Err() == nil && g.First >= g.Next {
		r.Fail(abi.CodeMalformed)
	}
	if err := r.Done(); err != nil {
		return Gap{}, abi.Malformed(err)
	}
	return g, nil
}

// Leaf is the gap's leaf hash in the log.
func (g *Gap) Leaf() abi.Hash {
	return sha256.Sum256(g.Append(append([]byte{prefixLeaf}, gapPrefix...)))
}
