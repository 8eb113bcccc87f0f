package tree

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// Builder puts a tree together from its bucket records.
type Builder struct {
	limits Limits
	stack  []subtree // left to right, each deeper than or as deep as the one before
	next   uint64    // start of the bucket that must come next
	full   bool      // the last bucket came
}

type subtree struct {
	node
	depth int
}

// NewBuilder returns a Builder for a tree with these limits.
func NewBuilder(limits Limits) *Builder {
	return &Builder{limits: New(limits).limits}
}

// Add takes the next bucket in ascending order of Start. An error wraps
// ErrCorrupt and says where a bucket is missing, overlaps or is malformed.
func (b *Builder) Add(k Bucket) error {
	switch {
	case b.full || k.Start != b.next:
		return fmt.Errorf("%w: bucket record %016x/%d stands where %016x should begin", ErrCorrupt, k.Start, k.Depth, b.next)
	case k.Depth > maxBucketDepth || k.Start&(k.width()-1) != 0:
		return fmt.Errorf("%w: bucket record %016x has an impossible depth %d", ErrCorrupt, k.Start, k.Depth)
	case (k.Count == 0) != (k.Hash == abi.Hash{}):
		return fmt.Errorf("%w: bucket record %016x/%d has a hash that does not fit %d entries", ErrCorrupt, k.Start, k.Depth, k.Count)
	}
	b.next, b.full = k.End()
	b.stack = append(b.stack, subtree{node{hash: k.Hash, count: k.Count}, int(k.Depth)})
	return b.fold()
}

// fold joins neighbours of one depth. As buckets come in order and without a
// gap, two on top of the stack with the same depth are halves of one subtree.
func (b *Builder) fold() error {
	for len(b.stack) > 1 {
		right, left := b.stack[len(b.stack)-1], b.stack[len(b.stack)-2]
		if right.depth != left.depth {
			return nil
		}
		n := join(left.node, right.node)
		if n.count < 2 {
			return fmt.Errorf("%w: buckets before %016x should be one: they hold %d entries", ErrCorrupt, b.next, n.count)
		}
		b.stack = append(b.stack[:len(b.stack)-2], subtree{n, left.depth - 1})
	}
	return nil
}

// Tree returns the tree, or an error that wraps ErrCorrupt if buckets are
// missing. No bucket at all makes the empty tree.
func (b *Builder) Tree() (*Tree, error) {
	if len(b.stack) == 0 {
		return New(b.limits), nil
	}
	if !b.full || len(b.stack) != 1 {
		return nil, fmt.Errorf("%w: the bucket record at %016x is missing", ErrCorrupt, b.next)
	}
	return &Tree{root: b.stack[0].node, limits: b.limits}, nil
}

// join makes a subtree of two halves that hold at least two keys together.
func join(left, right node) node {
	return node{
		hash:  proof.Inner(left.hash, right.hash),
		kids:  &[2]node{left, right},
		count: left.count + right.count,
	}
}
