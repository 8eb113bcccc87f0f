package proof

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// The state tree is a compressed binary sparse Merkle tree over the hashes of
// keys (as in the Jellyfish tree of Diem): a subtree without keys is 32 zero
// bytes, a subtree with one key is that key's leaf whatever its depth, any
// other is the hash of its halves. The root is a pure function of the pairs.

// MaxDepth is the deepest a leaf can stand, and so the most siblings of a
// proof: key hashes have 256 bits.
const MaxDepth = 256

// MaxProofValue is the longest value that a proof may carry, in bytes: the
// longest that the state may hold.
const MaxProofValue = 64 << 10

const (
	prefixLeaf  = 0x00
	prefixInner = 0x01
)

// KeyHash is where a key stands in the state tree: SHA-256(key).
func KeyHash(key []byte) abi.Hash { return sha256.Sum256(key) }

// ValueHash is what a leaf says of its value: SHA-256(value).
func ValueHash(value []byte) abi.Hash { return sha256.Sum256(value) }

// Leaf is the hash of one pair: SHA-256(0x00 | key hash | value hash).
func Leaf(key, value abi.Hash) abi.Hash { return hashPair(prefixLeaf, key, value) }

// Inner is the hash of two subtrees: SHA-256(0x01 | left | right).
func Inner(left, right abi.Hash) abi.Hash { return hashPair(prefixInner, left, right) }

func hashPair(prefix byte, a, b abi.Hash) abi.Hash {
	var buf [1 + 2*len(a)]byte
	buf[0] = prefix
	copy(buf[1:], a[:])
	copy(buf[1+len(a):], b[:])
	return sha256.Sum256(buf[:])
}

// Bit is the direction that the path of h takes below depth i: 0 is left. The
// most significant bit comes first, so hashes in ascending order are leaves
// from left to right.
func Bit(h abi.Hash, i int) byte { return h[i/8] >> (7 - i%8) & 1 }

// OtherLeaf is a leaf that stands where an absent key would stand.
type OtherLeaf struct{ Key, Value abi.Hash }

// State proves that one key has a value, or has none, under a state root.
// The path down the key's hash, past Siblings, ends at the key's own leaf
// (Present), at another key's leaf (Other) or at an empty subtree (neither).
type State struct {
	Siblings []abi.Hash // from the root downwards; zero is an empty subtree
	Present  bool
	Value    []byte     // the key's value if Present
	Other    *OtherLeaf // never together with Present
}

// Fields of the encoding: a map {1: [sibling, ...], 2: value} of a present
// key, {1: ..., 3: [key hash, value hash]} where another leaf stands, {1: ...}
// where nothing does. An empty sibling is the empty byte string, any other has
// 32 bytes.
const (
	fieldSiblings = 1
	fieldValue    = 2
	fieldOther    = 3
)

// Append appends the canonical CBOR of the proof.
func (p *State) Append(b []byte) []byte {
	fields := 1
	if p.Present || p.Other != nil {
		fields = 2
	}
	b = cbor.AppendMap(b, fields)
	b = cbor.AppendUint(b, fieldSiblings)
	b = cbor.AppendArray(b, len(p.Siblings))
	for i := range p.Siblings {
		b = appendSibling(b, &p.Siblings[i])
	}
	switch {
	case p.Present:
		b = cbor.AppendUint(b, fieldValue)
		b = cbor.AppendBytes(b, p.Value)
	case p.Other != nil:
		b = cbor.AppendUint(b, fieldOther)
		b = cbor.AppendArray(b, 2)
		b = cbor.AppendBytes(b, p.Other.Key[:])
		b = cbor.AppendBytes(b, p.Other.Value[:])
	}
	return b
}

func appendSibling(b []byte, h *abi.Hash) []byte {
	if *h == (abi.Hash{}) {
		return cbor.AppendBytes(b, nil)
	}
	return cbor.AppendBytes(b, h[:])
}

// ParseState reads what Append wrote and refuses every other encoding with an
// error that wraps abi.CodeMalformed or abi.CodeTooLarge. The proof does not
// alias b. Nothing is verified yet.
func ParseState(b []byte) (State, error) {
	var p State
	r := cbor.NewReader(b)
	f := r.Fields()
	for f.Next() {
		switch f.Key() {
		case fieldSiblings:
			p.Siblings = readSiblings(&r)
		case fieldValue:
			p.Present, p.Value = true, readValue(&r)
		case fieldOther:
			p.Other = readOther(&r)
		default:
			r.Fail(fmt.Errorf("%w: unknown field %d of a state proof", abi.CodeMalformed, f.Key()))
		}
	}
	if p.Siblings == nil || p.Present && p.Other != nil {
		r.Fail(fmt.Errorf("%w: fields of a state proof do not fit together", abi.CodeMalformed))
	}
	if err := r.Done(); err != nil {
		return State{}, asMalformed(err)
	}
	return p, nil
}

func readSiblings(r *cbor.Reader) []abi.Hash {
	n := r.Array()
	if n > MaxDepth {
		r.Fail(fmt.Errorf("%w: %d siblings, a path has at most %d", abi.CodeTooLarge, n, MaxDepth))
		return nil
	}
	siblings := make([]abi.Hash, n)
	for i := range siblings {
		h := r.Bytes()
		if len(h) == 0 {
			continue
		}
		if len(h) != len(siblings[i]) {
			r.Fail(fmt.Errorf("%w: sibling of %d bytes", abi.CodeMalformed, len(h)))
			return nil
		}
		siblings[i] = abi.Hash(h)
		if siblings[i] == (abi.Hash{}) {
			r.Fail(fmt.Errorf("%w: empty sibling is not in its shortest form", abi.CodeMalformed))
		}
	}
	return siblings
}

func readValue(r *cbor.Reader) []byte {
	v := r.Bytes()
	if len(v) > MaxProofValue {
		r.Fail(fmt.Errorf("%w: value of %d bytes in a state proof", abi.CodeTooLarge, len(v)))
		return nil
	}
	return append([]byte{}, v...)
}

func readOther(r *cbor.Reader) *OtherLeaf {
	var leaf OtherLeaf
	r.ArrayN(2)
	copy(leaf.Key[:], r.BytesN(len(leaf.Key)))
	copy(leaf.Value[:], r.BytesN(len(leaf.Value)))
	return &leaf
}

// Verify checks the proof against a state root that the caller trusts. It
// returns the proven value, or present = false if the key is proven absent.
// Any other proof is an error that wraps abi.CodeBadProof.
func (p *State) Verify(root abi.Hash, key []byte) (value []byte, present bool, err error) {
	at := KeyHash(key)
	node, err := p.end(at)
	if err != nil {
		return nil, false, err
	}
	for i := len(p.Siblings) - 1; i >= 0; i-- {
		if Bit(at, i) == 0 {
			node = Inner(node, p.Siblings[i])
		} else {
			node = Inner(p.Siblings[i], node)
		}
	}
	if node != root {
		return nil, false, fmt.Errorf("%w: path ends at %x, the root is %x", abi.CodeBadProof, node[:4], root[:4])
	}
	return p.Value, p.Present, nil
}

// end is the hash of the subtree in which the path of at ends.
func (p *State) end(at abi.Hash) (abi.Hash, error) {
	switch {
	case len(p.Siblings) > MaxDepth, p.Present && p.Other != nil, !p.Present && p.Value != nil:
		return abi.Hash{}, fmt.Errorf("%w: its parts do not fit together", abi.CodeBadProof)
	case p.Present:
		return Leaf(at, ValueHash(p.Value)), nil
	case p.Other == nil:
		return abi.Hash{}, nil
	case p.Other.Key == at:
		return abi.Hash{}, fmt.Errorf("%w: the other leaf is the key's own", abi.CodeBadProof)
	}
	// A leaf elsewhere says nothing of this key: it must stand on its path.
	for i := range p.Siblings {
		if Bit(p.Other.Key, i) != Bit(at, i) {
			return abi.Hash{}, fmt.Errorf("%w: the other leaf leaves the key's path at depth %d", abi.CodeBadProof, i)
		}
	}
	return Leaf(p.Other.Key, p.Other.Value), nil
}
