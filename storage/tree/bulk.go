package tree

import (
	"errors"
	"fmt"
	"math"
)

// Bulk builds the tree of all entries that next gives, in strictly ascending
// order of keys, and hands the bucket records to put in ascending order. It
// holds no more than one bucket's entries. next returns ErrEnd behind the
// last; any other error of next or put ends it, and entries out of order are
// ErrCorrupt.
func Bulk(limits Limits, next func() (Entry, error), put func(Bucket) error) (*Tree, error) {
	b := bulk{limits: New(limits).limits, next: next, put: put}
	root, err := b.subtree(0, 0)
	if err != nil {
		return nil, err
	}
	return &Tree{root: root, limits: b.limits}, nil
}

// ErrEnd is what the source of a Bulk returns behind its last entry.
var ErrEnd = errors.New("no more entries")

type bulk struct {
	limits Limits
	next   func() (Entry, error)
	put    func(Bucket) error
	ahead  []Entry // read but in no bucket yet
	last   Entry   // read last
	count  uint64  // read
	ended  bool
}

// subtree builds what begins at start. Everything before it is done.
func (b *bulk) subtree(start uint64, depth int) (node, error) {
	entries, err := b.peek(start, depth)
	if err != nil {
		return node{}, err
	}
	if len(entries) > int(b.limits.Split) && depth < maxBucketDepth {
		left, err := b.subtree(start, depth+1)
		if err != nil {
			return node{}, err
		}
		right, err := b.subtree(start|halfAt(depth), depth+1)
		return join(left, right), err
	}
	n := node{hash: hashEntries(entries, depth), count: uint32(len(entries)), checked: 1}
	b.ahead = b.ahead[:copy(b.ahead, b.ahead[len(entries):])]
	return n, b.put(refTo(&n, start, depth).Bucket)
}

// peek returns the entries of a subtree: all of them, or, where it will be cut
// anyway, just enough to see that.
func (b *bulk) peek(start uint64, depth int) ([]Entry, error) {
	n := 0
	for {
		for n < len(b.ahead) && startOf(b.ahead[n].Key, depth) == start {
			n++
		}
		if n < len(b.ahead) || b.ended || n > int(b.limits.Split) && depth < maxBucketDepth {
			return b.ahead[:n], nil
		}
		if err := b.read(); err != nil {
			return nil, err
		}
	}
}

func (b *bulk) read() error {
	e, err := b.next()
	if errors.Is(err, ErrEnd) {
		b.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	if b.count > 0 && string(b.last.Key[:]) >= string(e.Key[:]) {
		return fmt.Errorf("%w: entry %x stands behind %x", ErrCorrupt, e.Key[:8], b.last.Key[:8])
	}
	if b.count++; b.count > math.MaxUint32 {
		return fmt.Errorf("state of %d keys is too large", b.count)
	}
	b.last, b.ahead = e, append(b.ahead, e)
	return nil
}
