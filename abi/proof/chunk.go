package proof

import (
	"bytes"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of a chunk. A node that makes one answers abi.CodeTooLarge where
// these would not do, and is then asked for the two halves.
const (
	MaxChunkDepth   = 64      // bits of the key hash that name a chunk
	MaxChunkEntries = 1 << 14 // twice that, and the siblings, fit in one CBOR message
	MaxChunkKey     = 512     // bytes of a key, the longest that the state may hold
)

// ChunkEntry is one pair of the state.
type ChunkEntry struct{ Key, Value []byte }

// Chunk holds all pairs of the state whose key hash begins with certain bits,
// and what proves that under a state root, by itself and in any order: that
// every pair belongs there, and that none is missing. The path down these bits,
// past Siblings, leads to the subtree of the pairs. It may end earlier, at an
// empty subtree or at a lone leaf: that leaf is then the chunk's only pair, or,
// where its key has other bits, Other.
//
// The encoding is a map {1: [sibling, ...], 2: [key, value, ...]} with siblings
// as in State, or {1: ..., 2: [], 3: [key hash, value hash]} with Other.
type Chunk struct {
	Siblings []abi.Hash   // from the root downwards; zero is an empty subtree
	Entries  []ChunkEntry // in ascending order of the hashes of their keys
	Other    *OtherLeaf   // never together with Entries
}

const fieldEntries = 2

// Append appends the canonical CBOR of the chunk.
func (c *Chunk) Append(b []byte) []byte {
	fields := 2
	if c.Other != nil {
		fields = 3
	}
	b = cbor.AppendUint(cbor.AppendMap(b, fields), fieldSiblings)
	b = cbor.AppendArray(b, len(c.Siblings))
	for i := range c.Siblings {
		b = appendSibling(b, &c.Siblings[i])
	}
	b = cbor.AppendArray(cbor.AppendUint(b, fieldEntries), 2*len(c.Entries))
	for _, e := range c.Entries {
		b = cbor.AppendBytes(cbor.AppendBytes(b, e.Key), e.Value)
	}
	if c.Other != nil {
		b = cbor.AppendArray(cbor.AppendUint(b, fieldOther), 2)
		b = cbor.AppendBytes(cbor.AppendBytes(b, c.Other.Key[:]), c.Other.Value[:])
	}
	return b
}

// ParseChunk reads what Append wrote and refuses every other encoding with an
// error that wraps abi.CodeMalformed or abi.CodeTooLarge. The entries alias b.
// Nothing is verified yet.
func ParseChunk(b []byte) (Chunk, error) {
	var c Chunk
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case fieldSiblings:
			c.Siblings = readSiblings(&r)
		case fieldEntries:
			c.Entries = readEntries(&r)
		case fieldOther:
			c.Other = readOther(&r)
		default:
			r.Fail(fmt.Errorf("%w: unknown field %d of a chunk", abi.CodeMalformed, f.Key()))
		}
	}
	if c.Siblings == nil || c.Entries == nil {
		r.Fail(fmt.Errorf("%w: parts of a chunk are missing", abi.CodeMalformed))
	}
	if err := r.Done(); err != nil {
		return Chunk{}, asMalformed(err)
	}
	return c, nil
}

func readEntries(r *cbor.Reader) []ChunkEntry {
	n := r.Array()
	switch {
	case n/2 > MaxChunkEntries:
		r.Fail(fmt.Errorf("%w: %d keys and values in a chunk, at most %d", abi.CodeTooLarge, n, 2*MaxChunkEntries))
		return nil
	case n%2 != 0:
		r.Fail(fmt.Errorf("%w: a key of a chunk has no value", abi.CodeMalformed))
		return nil
	}
	entries := make([]ChunkEntry, n/2)
	for i := range entries {
		e := &entries[i]
		e.Key, e.Value = r.Bytes(), r.Bytes()
		if len(e.Key) > MaxChunkKey || len(e.Value) > MaxProofValue {
			r.Fail(fmt.Errorf("%w: entry of %d and %d bytes in a chunk", abi.CodeTooLarge, len(e.Key), len(e.Value)))
			return nil
		}
	}
	return entries
}

// Verify checks against a state root that the caller trusts that the chunk
// holds exactly the pairs whose key hash begins with the depth first bits of
// prefix, whose other bits must be zero. Any other chunk is an error that
// wraps abi.CodeBadProof.
func (c *Chunk) Verify(root abi.Hash, prefix uint64, depth uint8) error {
	leaves, err := c.leaves(prefix, depth)
	if err != nil {
		return err
	}
	node := subtree(leaves, len(c.Siblings))
	if c.Other != nil {
		node = Leaf(c.Other.Key, c.Other.Value)
	}
	for i := len(c.Siblings) - 1; i >= 0; i-- {
		if prefix>>(63-i)&1 == 0 {
			node = Inner(node, c.Siblings[i])
		} else {
			node = Inner(c.Siblings[i], node)
		}
	}
	if node != root {
		return fmt.Errorf("%w: chunk %016x/%d leads to %x, the root is %x", abi.CodeBadProof, prefix, depth, node[:4], root[:4])
	}
	return nil
}

// leaf is an entry as the tree sees it.
type leaf struct{ key, value abi.Hash }

// leaves hashes the entries and checks that each, and Other, stands where it
// may stand, and that the path ends where a path may end.
func (c *Chunk) leaves(prefix uint64, depth uint8) ([]leaf, error) {
	bad := func(what string) ([]leaf, error) {
		return nil, fmt.Errorf("%w: %s chunk %016x/%d", abi.CodeBadProof, what, prefix, depth)
	}
	end := len(c.Siblings)
	switch {
	case !ValidChunk(prefix, depth):
		return bad("there is no")
	case end > int(depth), end < int(depth) && len(c.Entries) > 1:
		return bad("the path does not lead to")
	case c.Other != nil && (end == int(depth) || len(c.Entries) > 0):
		return bad("another leaf stands beside what belongs to")
	case c.Other != nil && (!InChunk(c.Other.Key, prefix, uint8(end)) || InChunk(c.Other.Key, prefix, depth)):
		return bad("another leaf stands in a wrong place of")
	}
	leaves := make([]leaf, len(c.Entries))
	for i, e := range c.Entries {
		leaves[i] = leaf{KeyHash(e.Key), ValueHash(e.Value)}
		if !InChunk(leaves[i].key, prefix, depth) {
			return bad("a key does not belong to")
		}
		if i > 0 && bytes.Compare(leaves[i-1].key[:], leaves[i].key[:]) >= 0 {
			return bad("keys are out of order in")
		}
	}
	return leaves, nil
}

// ValidChunk says whether prefix and depth name a chunk: at most MaxChunkDepth
// bits, the others zero.
func ValidChunk(prefix uint64, depth uint8) bool {
	return depth <= MaxChunkDepth && prefix<<depth == 0
}

// InChunk says whether a key hash begins with the depth first bits of prefix.
func InChunk(key abi.Hash, prefix uint64, depth uint8) bool {
	at := uint64(0)
	for _, b := range key[:8] {
		at = at<<8 | uint64(b)
	}
	return (at^prefix)>>(MaxChunkDepth-depth) == 0
}

// subtree is the hash of the subtree at depth that holds just leaves, which
// are in ascending order.
func subtree(leaves []leaf, depth int) abi.Hash {
	switch len(leaves) {
	case 0:
		return abi.Hash{}
	case 1:
		return Leaf(leaves[0].key, leaves[0].value)
	}
	i := 0
	for i < len(leaves) && Bit(leaves[i].key, depth) == 0 {
		i++
	}
	return Inner(subtree(leaves[:i], depth+1), subtree(leaves[i:], depth+1))
}
