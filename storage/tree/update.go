package tree

import (
	"bytes"
	"fmt"
	"math"
	"sync/atomic"
)

// Change sets the value hash of a key, or deletes the key.
type Change struct {
	Entry
	Delete bool
}

// Effect is what a change did to its key.
type Effect uint8

// The effects. A change without effect need not be stored.
const (
	Nothing Effect = iota // the key had this value already, or was not there to delete
	Inserted
	Replaced
	Deleted
)

// Result is what Update found: the new tree, and what to write so that the
// tree can be built again.
type Result struct {
	Tree    *Tree
	Effects []Effect // of each change, in their order
	Put     []Bucket // records to write, in ascending order, one a start
	Remove  []uint64 // starts of records that are no more; none of them is in Put
}

// Update applies changes, which are in strictly ascending order of keys, and
// leaves t as it is. It fails only with an error of load, or if the state
// would hold more than 2^32-1 keys.
func (t *Tree) Update(changes []Change, load Loader) (*Result, error) {
	for i := 1; i < len(changes); i++ {
		if bytes.Compare(changes[i-1].Key[:], changes[i].Key[:]) >= 0 {
			panic("BUG: changes of the state tree are not in ascending order")
		}
	}
	if t.Count()+uint64(len(changes)) > math.MaxUint32 {
		return nil, fmt.Errorf("state of %d keys is full", t.Count())
	}
	u := updater{limits: t.limits, load: load}
	root, _, err := u.subtree(&t.root, 0, 0, changes)
	if err != nil {
		return nil, err
	}
	u.Tree = &Tree{root: root, limits: t.limits}
	return &u.Result, nil
}

type updater struct {
	Result
	limits Limits
	load   Loader
}

// subtree returns n with the changes of its range. The entries come with a
// bucket that had to be loaded, nil otherwise.
func (u *updater) subtree(n *node, start uint64, depth int, changes []Change) (node, []Entry, error) {
	if len(changes) == 0 {
		return n.copy(), nil, nil
	}
	if n.kids == nil {
		return u.bucket(n, start, depth, changes)
	}
	cut := 0
	for cut < len(changes) && startOf(changes[cut].Key, depth+1) == start {
		cut++
	}
	mark := len(u.Put)
	left, leftEntries, err := u.subtree(&n.kids[0], start, depth+1, changes[:cut])
	if err != nil {
		return node{}, nil, err
	}
	right, rightEntries, err := u.subtree(&n.kids[1], start|halfAt(depth), depth+1, changes[cut:])
	if err != nil {
		return node{}, nil, err
	}
	if left.kids != nil || right.kids != nil || left.count+right.count > u.limits.Merge {
		return join(left, right), nil, nil
	}
	if leftEntries, err = u.ensure(&left, leftEntries, start, depth+1); err != nil {
		return node{}, nil, err
	}
	if rightEntries, err = u.ensure(&right, rightEntries, start|halfAt(depth), depth+1); err != nil {
		return node{}, nil, err
	}
	u.Put = u.Put[:mark]
	u.Remove = append(u.Remove, start|halfAt(depth))
	entries := append(leftEntries[:len(leftEntries):len(leftEntries)], rightEntries...)
	return u.cut(entries, start, depth), entries, nil
}

// ensure loads the entries of a bucket unless they are there.
func (u *updater) ensure(n *node, entries []Entry, start uint64, depth int) ([]Entry, error) {
	if entries != nil || n.count == 0 {
		return entries, nil
	}
	return u.load(refTo(n, start, depth))
}

// bucket applies changes to a bucket and cuts it if it grew too large.
func (u *updater) bucket(n *node, start uint64, depth int, changes []Change) (node, []Entry, error) {
	old, err := u.ensure(n, nil, start, depth)
	if err != nil {
		return node{}, nil, err
	}
	entries, changed := u.merge(old, changes)
	if !changed {
		return n.copy(), entries, nil
	}
	return u.cut(entries, start, depth), entries, nil
}

// merge applies changes to entries, both in ascending order, and notes the
// effect of each change. The result is a new slice, never nil.
func (u *updater) merge(old []Entry, changes []Change) (entries []Entry, changed bool) {
	entries = make([]Entry, 0, len(old)+len(changes))
	for _, c := range changes {
		for len(old) > 0 && bytes.Compare(old[0].Key[:], c.Key[:]) < 0 {
			entries, old = append(entries, old[0]), old[1:]
		}
		found := len(old) > 0 && old[0].Key == c.Key
		effect := effectOf(c, found, found && old[0].Value == c.Value)
		if found {
			old = old[1:]
		}
		if !c.Delete {
			entries = append(entries, c.Entry)
		}
		u.Effects = append(u.Effects, effect)
		changed = changed || effect != Nothing
	}
	return append(entries, old...), changed
}

func effectOf(c Change, found, same bool) Effect {
	switch {
	case c.Delete && found:
		return Deleted
	case c.Delete || same:
		return Nothing
	case found:
		return Replaced
	}
	return Inserted
}

// cut makes a bucket of entries, or a subtree of buckets if they are too many.
func (u *updater) cut(entries []Entry, start uint64, depth int) node {
	if len(entries) > int(u.limits.Split) && depth < maxBucketDepth {
		halves := cut(entries, depth)
		left := u.cut(halves[0], start, depth+1)
		return join(left, u.cut(halves[1], start|halfAt(depth), depth+1))
	}
	n := node{hash: hashEntries(entries, depth), count: uint32(len(entries)), checked: 1}
	u.Put = append(u.Put, refTo(&n, start, depth).Bucket)
	return n
}

// copy is n as it is: others may mark n as checked at this moment.
func (n *node) copy() node {
	return node{hash: n.hash, kids: n.kids, count: n.count, checked: atomic.LoadUint32(&n.checked)}
}
