package chain

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Protocol is the newest protocol version that this code knows, and that of new
// chains. It knows all below as well.
const Protocol = 3

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

// Certificate is why a block is final: an array [consensus metadata (bytes),
// verification sequence (uint), [[validator id, signature] …]], signatures in
// ascending order of id. Nodes may hold different valid subsets of them, so it
// stays out of the block's hash.
type Certificate struct {
	Metadata   []byte
	Sequence   uint64
	Signatures []Signature
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

// Signature is one validator's.
type Signature struct {
	Validator uint64
	Signature []byte
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
