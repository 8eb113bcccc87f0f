package chain

import (
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Protocol is the newest protocol version that this code knows, and that of new
// chains. It knows all below as well.
const Protocol = 2

// Header is a block's header, an array of its fields in this order. The
// block's hash is SHA-256 of the encoding.
type Header struct {
	Chain          abi.Hash
	Protocol       uint64
	Height         uint64
	Time           int64 // ms since 1970, strictly above the parent's
	Parent         abi.Hash
	Transactions   abi.Hash // proof.Root of the raw transactions
	Outcomes       abi.Hash // proof.Root of the encoded outcomes
	State          abi.Hash // the state's root after this block
	Validators     abi.Hash // hash of the set that signs this block
	NextValidators abi.Hash // hash of the set that signs the next
}

// AppendHeader appends the encoding of h.
func AppendHeader(b []byte, h *Header) []byte {
	b = cbor.AppendArray(b, 10)
	b = cbor.AppendBytes(b, h.Chain[:])
	b = cbor.AppendUint(b, h.Protocol)
	b = cbor.AppendUint(b, h.Height)
	b = cbor.AppendInt(b, h.Time)
	for _, x := range []*abi.Hash{&h.Parent, &h.Transactions, &h.Outcomes, &h.State, &h.Validators, &h.NextValidators} {
		b = cbor.AppendBytes(b, x[:])
	}
	return b
}

// ParseHeader reads a header.
func ParseHeader(b []byte) (Header, error) {
	r := cbor.NewReader(b)
	h := readHeader(&r)
	if err := r.Done(); err != nil {
		return Header{}, abi.Malformed(err)
	}
	return h, nil
}

func readHeader(r *cbor.Reader) Header {
	r.ArrayN(10)
	h := Header{Chain: hashOf(r), Protocol: r.Uint(), Height: r.Uint(), Time: r.Int()}
	for _, x := range []*abi.Hash{&h.Parent, &h.Transactions, &h.Outcomes, &h.State, &h.Validators, &h.NextValidators} {
		*x = hashOf(r)
	}
	return h
}

// Hash is the block's hash.
func (h *Header) Hash() abi.Hash { return sha256.Sum256(AppendHeader(nil, h)) }

// Block is a header and its transactions: array(2) [header, [tx bytes …]].
type Block struct {
	Header Header
	Txs    [][]byte
}

// AppendBlock appends the encoding of k.
func AppendBlock(b []byte, k *Block) []byte {
	b = AppendHeader(cbor.AppendArray(b, 2), &k.Header)
	return appendByteStrings(b, k.Txs)
}

// ParseBlock reads a block; the transactions alias b.
func ParseBlock(b []byte) (*Block, error) {
	r := cbor.NewReader(b)
	r.ArrayN(2)
	k := &Block{Header: readHeader(&r), Txs: readByteStrings(&r)}
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	return k, nil
}

func appendByteStrings(b []byte, list [][]byte) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, x := range list {
		b = cbor.AppendBytes(b, x)
	}
	return b
}

func readByteStrings(r *cbor.Reader) [][]byte {
	var list [][]byte
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Bytes())
	}
	return list
}

// Validator is a key that votes. IDs are positive and never used again.
type Validator struct {
	ID  uint64
	Key []byte // ed25519
}

// ValidatorSet is the validators of a height in ascending order of ID: an
// array of [id, key].
type ValidatorSet []Validator

// Append appends the encoding of s.
func (s ValidatorSet) Append(b []byte) []byte {
	b = cbor.AppendArray(b, len(s))
	for _, v := range s {
		b = cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(b, 2), v.ID), v.Key)
	}
	return b
}

// ParseValidatorSet reads a set and checks order and keys.
func ParseValidatorSet(b []byte) (ValidatorSet, error) {
	r := cbor.NewReader(b)
	s := readValidatorSet(&r)
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	return s, nil
}

func readValidatorSet(r *cbor.Reader) ValidatorSet {
	var s ValidatorSet
	last := uint64(0)
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		v := Validator{ID: r.Uint(), Key: r.BytesN(Ed25519KeySize)}
		if r.Err() == nil && (v.ID <= last || !ValidKey(v.Key)) {
			r.Fail(fmt.Errorf("validator %d is out of order or has a bad key: %w", v.ID, abi.CodeMalformed))
		}
		last = v.ID
		s = append(s, v)
	}
	return s
}

// Hash names the set in headers.
func (s ValidatorSet) Hash() abi.Hash { return sha256.Sum256(s.Append(nil)) }

// Key finds a validator's key by its id.
func (s ValidatorSet) Key(id uint64) ([]byte, bool) {
	for _, v := range s {
		if v.ID == id {
			return v.Key, true
		}
	}
	return nil, false
}

// ID finds the id of the validator with a key.
func (s ValidatorSet) ID(key []byte) (id uint64, ok bool) {
	for i := range s {
		if string(s[i].Key) == string(key) {
			return s[i].ID, true
		}
	}
	return 0, false
}

// Faults is f, how many of n validators may lie: floor((n-1)/3).
func (s ValidatorSet) Faults() int { return max(0, (len(s)-1)/3) }

// Quorum is how many of n signatures certify a block: ceil((n+f+1)/2).
func (s ValidatorSet) Quorum() int { return (len(s) + s.Faults() + 2) / 2 }

// Certificate is why a block is final: an array [consensus metadata (bytes),
// verification sequence (uint), [[validator id, signature] …]], signatures in
// ascending order of id. Nodes may hold different valid subsets of them, so it
// stays out of the block's hash.
type Certificate struct {
	Metadata   []byte
	Sequence   uint64
	Signatures []Signature
}

// Signature is one validator's.
type Signature struct {
	Validator uint64
	Signature []byte
}

// Append appends the encoding of c.
func (c *Certificate) Append(b []byte) []byte {
	b = cbor.AppendBytes(cbor.AppendArray(b, 3), c.Metadata)
	b = cbor.AppendUint(b, c.Sequence)
	b = cbor.AppendArray(b, len(c.Signatures))
	for _, s := range c.Signatures {
		b = cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(b, 2), s.Validator), s.Signature)
	}
	return b
}

// ParseCertificate reads a certificate; it aliases b.
func ParseCertificate(b []byte) (Certificate, error) {
	r := cbor.NewReader(b)
	r.ArrayN(3)
	c := Certificate{Metadata: r.Bytes(), Sequence: r.Uint()}
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		s := Signature{Validator: r.Uint(), Signature: r.BytesN(SignatureSize)}
		if k := len(c.Signatures); r.Err() == nil && k > 0 && c.Signatures[k-1].Validator >= s.Validator {
			r.Fail(fmt.Errorf("signatures are out of order: %w", abi.CodeMalformed))
		}
		c.Signatures = append(c.Signatures, s)
	}
	if err := r.Done(); err != nil {
		return Certificate{}, abi.Malformed(err)
	}
	return c, nil
}

// AppendVote appends what a validator signs for a block: an array
// ["postern/block/1", chain id, block hash, SHA-256 of the consensus
// metadata, verification sequence]. All validators sign identical bytes.
func AppendVote(b []byte, chain, block abi.Hash, metadata []byte, sequence uint64) []byte {
	digest := sha256.Sum256(metadata)
	b = cbor.AppendText(cbor.AppendArray(b, 5), "postern/block/1")
	b = cbor.AppendBytes(b, chain[:])
	b = cbor.AppendBytes(b, block[:])
	b = cbor.AppendBytes(b, digest[:])
	return cbor.AppendUint(b, sequence)
}

// Verify checks that a quorum of the set signed the block of this header.
func (c *Certificate) Verify(h *Header, set ValidatorSet) error {
	if err := c.checkForm(h, set, set.Hash()); err != nil {
		return err
	}
	vote := c.vote(h)
	for _, s := range c.Signatures {
		if key, _ := set.Key(s.Validator); !VerifySignature(key, vote, s.Signature) {
			return badSignature(s.Validator)
		}
	}
	return nil
}

// Event is what a contract told the world: array [contract, topic, data].
type Event struct {
	Contract string
	Topic    []byte
	Data     []byte
}

// Outcome is the result of a transaction or of a timer: a map
//
//	1 id (bytes 32): the transaction's, or TimerID of a timer
//	2 code (uint)          5 result (bytes), absent when empty
//	3 gas used (uint)      6 events (array), absent when empty
//	4 abort code (uint), with CodeAborted
//
// It holds codes, never texts: texts may differ between versions. An aborted
// call keeps its abort code, also when that is 0.
type Outcome struct {
	ID     abi.Hash
	Code   abi.Code
	Gas    uint64
	Abort  uint16
	Result []byte
	Events []Event
}

// AppendOutcome appends the encoding of o.
func AppendOutcome(b []byte, o *Outcome) []byte {
	n := 3
	for _, present := range []bool{o.Code == abi.CodeAborted, len(o.Result) > 0, len(o.Events) > 0} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), o.ID[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(o.Code))
	b = cbor.AppendUint(cbor.AppendUint(b, 3), o.Gas)
	if o.Code == abi.CodeAborted {
		b = cbor.AppendUint(cbor.AppendUint(b, 4), uint64(o.Abort))
	}
	if len(o.Result) > 0 {
		b = cbor.AppendBytes(cbor.AppendUint(b, 5), o.Result)
	}
	if len(o.Events) > 0 {
		b = cbor.AppendArray(cbor.AppendUint(b, 6), len(o.Events))
		for _, e := range o.Events {
			b = cbor.AppendText(cbor.AppendArray(b, 3), e.Contract)
			b = cbor.AppendBytes(cbor.AppendBytes(b, e.Topic), e.Data)
		}
	}
	return b
}

// ParseOutcome reads an outcome; it aliases b.
func ParseOutcome(b []byte) (Outcome, error) {
	var o Outcome
	aborted := false
	err := parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			o.ID = hashOf(r)
		case 2:
			o.Code = abi.Code(uintUpTo(r, math.MaxUint16))
		case 3:
			o.Gas = r.Uint()
		case 4:
			o.Abort, aborted = uint16(uintUpTo(r, math.MaxUint16)), true
		case 5:
			o.Result = someBytes(r)
		case 6:
			o.Events = readEvents(r)
		default:
			return false
		}
		return true
	})
	if err == nil && aborted != (o.Code == abi.CodeAborted) {
		err = fmt.Errorf("abort code and code contradict one another: %w", abi.CodeMalformed)
	}
	if err != nil {
		return Outcome{}, err
	}
	return o, nil
}

func readEvents(r *cbor.Reader) (events []Event) {
	n := r.Array()
	if n == 0 {
		r.Fail(fmt.Errorf("empty events are left out: %w", abi.CodeMalformed))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		r.ArrayN(3)
		events = append(events, Event{Contract: r.Text(), Topic: r.Bytes(), Data: r.Bytes()})
	}
	return events
}

// AppendOutcomes appends the stored outcomes of a block, those of its timers
// first: an array of byte strings, each an encoded Outcome, the leaves of the
// header's outcomes root.
func AppendOutcomes(b []byte, encoded [][]byte) []byte { return appendByteStrings(b, encoded) }

// ParseOutcomes reads the stored outcomes of a block; they alias b and are not
// parsed.
func ParseOutcomes(b []byte) ([][]byte, error) {
	r := cbor.NewReader(b)
	list := readByteStrings(&r)
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	return list, nil
}
