// Package tree is the ledger's state tree in memory: a compressed binary
// sparse Merkle tree over the hashes of keys (its hashes stand in abi/proof).
//
// Only the upper levels are held, down to buckets: subtrees of a few dozen
// keys. The entries of a bucket lie elsewhere, next to each other; whoever
// holds them gives them through a Loader when a change or a proof needs them.
// Where the buckets are cut depends on history, the root does not: it is a
// pure function of the pairs.
//
// A Tree never changes. Update returns a new one that shares what stayed the
// same, so that readers of an older height keep theirs. The package has no
// I/O, clock or goroutine.
package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// Limits say when buckets are cut. Key prefixes can be ground by a stranger
// until many keys share one, so buckets are cut by what they hold, not at a
// fixed depth.
type Limits struct {
	Split uint32 // a bucket with more entries than this is cut in two
	Merge uint32 // two neighbours with at most this many together become one; at least 1
}

// DefaultLimits keep between 12 and 24 entries in most buckets: fewer cost
// memory, more cost hashing and reading for each change.
var DefaultLimits = Limits{Split: 24, Merge: 8}

// maxBucketDepth is how many bits of a key hash cut buckets: those that a
// bucket's start has room for. Deeper shared prefixes stay in one bucket.
const maxBucketDepth = 64

// ErrCorrupt comes when bucket records do not form a tree, or when entries
// are not those that a bucket's hash commits to.
var ErrCorrupt = errors.New("state tree is corrupt")

// Bucket is the record of one bucket: the hash of the subtree of all keys
// whose hash begins with the Depth first bits of Start.
type Bucket struct {
	Start uint64 // first 8 bytes of the lowest key hash in it
	Depth uint8  // 0 to 64
	Count uint32 // entries in it
	Hash  abi.Hash
}

// End is the first 8 bytes of the lowest key hash behind the bucket; last is
// true if there is none.
func (b Bucket) End() (end uint64, last bool) {
	end = b.Start + b.width()
	return end, end == 0
}

// width is 0 for the bucket that spans everything, whose end wraps to 0 too.
func (b Bucket) width() uint64 { return 1 << (maxBucketDepth - b.Depth) }

// Entry is one pair of the state as the tree sees it.
type Entry struct{ Key, Value abi.Hash }

// node is a subtree: a bucket, or two halves. Halves are allocated together,
// 96 bytes a pair, and that is all the memory a tree takes.
type node struct {
	hash    abi.Hash
	kids    *[2]node // nil for a bucket
	count   uint32
	checked uint32 // of a bucket: its stored entries were found to match; accessed atomically
}

// Tree is one version of the state tree, safe for concurrent use.
type Tree struct {
	root   node
	limits Limits
}

// New returns the tree without keys: one empty bucket, which has no record.
func New(limits Limits) *Tree {
	if limits.Merge == 0 || limits.Merge > limits.Split {
		panic("BUG: bucket limits of the state tree do not fit together")
	}
	return &Tree{limits: limits}
}

// Root is the state root, 32 zero bytes without keys.
func (t *Tree) Root() abi.Hash { return t.root.hash }

// Count is the number of keys.
func (t *Tree) Count() uint64 { return uint64(t.root.count) }

// Ref is a bucket in a tree.
type Ref struct {
	Bucket
	n *node
}

// Checked says whether the bucket's stored entries were already found to
// match its hash, by MarkChecked here or on an earlier tree that shares the
// bucket, or because an Update made it.
func (r Ref) Checked() bool { return atomic.LoadUint32(&r.n.checked) != 0 }

// MarkChecked notes that Check passed.
func (r Ref) MarkChecked() { atomic.StoreUint32(&r.n.checked, 1) }

// Check compares entries, in ascending order of keys, with the bucket's hash.
// An error wraps ErrCorrupt.
func (r Ref) Check(entries []Entry) error {
	if len(entries) == int(r.Count) && hashEntries(entries, int(r.Depth)) == r.Hash {
		return nil
	}
	return fmt.Errorf("%w: bucket %016x/%d holds %d entries that do not match its hash of %d entries",
		ErrCorrupt, r.Start, r.Depth, len(entries), r.Count)
}

// Loader returns the entries of a bucket in ascending order of keys. It
// answers for their being right: Update and Prove rely on them.
type Loader func(Ref) ([]Entry, error)

// Find returns the bucket of a key hash.
func (t *Tree) Find(key abi.Hash) Ref {
	n, depth := &t.root, 0
	for ; n.kids != nil; depth++ {
		n = &n.kids[proof.Bit(key, depth)]
	}
	return refTo(n, startOf(key, depth), depth)
}

func refTo(n *node, start uint64, depth int) Ref {
	return Ref{Bucket{Start: start, Depth: uint8(depth), Count: n.count, Hash: n.hash}, n}
}

// startOf keeps the depth first bits of the key hash's first 8 bytes.
func startOf(key abi.Hash, depth int) uint64 {
	return binary.BigEndian.Uint64(key[:]) &^ (1<<(maxBucketDepth-depth) - 1)
}

// Buckets calls yield for every bucket in ascending order until it is false.
func (t *Tree) Buckets(yield func(Ref) bool) { walk(&t.root, 0, 0, yield) }

func walk(n *node, start uint64, depth int, yield func(Ref) bool) bool {
	if n.kids == nil {
		return yield(refTo(n, start, depth))
	}
	return walk(&n.kids[0], start, depth+1, yield) &&
		walk(&n.kids[1], start|halfAt(depth), depth+1, yield)
}

// halfAt is the bit that tells the halves of a subtree at depth apart.
func halfAt(depth int) uint64 { return 1 << (maxBucketDepth - 1 - depth) }

// Prove returns what a proof of the key hash says: the siblings on its path
// from the root downwards, and the leaf at its end, nil if that is empty.
func (t *Tree) Prove(key abi.Hash, load Loader) (siblings []abi.Hash, leaf *Entry, err error) {
	n, depth := &t.root, 0
	for ; n.kids != nil; depth++ {
		bit := proof.Bit(key, depth)
		siblings = append(siblings, n.kids[1-bit].hash)
		n = &n.kids[bit]
	}
	if n.count == 0 {
		return siblings, nil, nil
	}
	entries, err := load(refTo(n, startOf(key, depth), depth))
	if err != nil {
		return nil, nil, err
	}
	for ; len(entries) > 1; depth++ {
		halves := cut(entries, depth)
		bit := proof.Bit(key, depth)
		siblings = append(siblings, hashEntries(halves[1-bit], depth+1))
		entries = halves[bit]
	}
	if len(entries) == 0 {
		return siblings, nil, nil
	}
	return siblings, &entries[0], nil
}

// hashEntries is the hash of the subtree at depth that holds just entries.
func hashEntries(entries []Entry, depth int) abi.Hash {
	switch len(entries) {
	case 0:
		return abi.Hash{}
	case 1:
		return proof.Leaf(entries[0].Key, entries[0].Value)
	}
	halves := cut(entries, depth)
	return proof.Inner(hashEntries(halves[0], depth+1), hashEntries(halves[1], depth+1))
}

// cut divides ordered entries by the bit of their keys at depth.
func cut(entries []Entry, depth int) [2][]Entry {
	i := 0
	for i < len(entries) && proof.Bit(entries[i].Key, depth) == 0 {
		i++
	}
	return [2][]Entry{entries[:i], entries[i:]}
}
