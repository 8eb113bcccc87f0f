package ledger

import "github.com/seed79541315/postern/storage"

// overlay is what a block has changed so far: a persistent AVL tree over the
// keys. A put copies the path to the root and leaves the old tree as it was,
// so the tree's root alone is a snapshot: to roll back is to keep an old root,
// and a scan walks the root of its start whatever is written meanwhile.
//
// Nodes are never removed; a deletion is a node without a value. Its shape
// depends on the order of writes, what it answers does not.
type overlay struct {
	key         string
	value       []byte // nil: deleted
	inBase      bool   // the key has a value below the overlay
	height      int8
	left, right *overlay
}

func (o *overlay) find(key string) *overlay {
	for o != nil && o.key != key {
		if key < o.key {
			o = o.left
		} else {
			o = o.right
		}
	}
	return o
}

// put returns the tree with the value under key. inBase counts only when the
// key is new to the tree.
func (o *overlay) put(key string, value []byte, inBase bool) *overlay {
	if o == nil {
		return &overlay{key: key, value: value, inBase: inBase, height: 1}
	}
	c := *o
	switch {
	case key < o.key:
		c.left = o.left.put(key, value, inBase)
	case key > o.key:
		c.right = o.right.put(key, value, inBase)
	default:
		c.value = value
		return &c
	}
	return c.balance()
}

func (o *overlay) depth() int8 {
	if o == nil {
		return 0
	}
	return o.height
}

func (o *overlay) measure() { o.height = 1 + max(o.left.depth(), o.right.depth()) }

// balance restores the AVL rule at o, which is a fresh copy. A child that it
// turns is copied first.
func (o *overlay) balance() *overlay {
	switch o.left.depth() - o.right.depth() {
	case 2:
		if l := *o.left; l.left.depth() < l.right.depth() {
			o.left = l.rotateLeft()
		}
		return o.rotateRight()
	case -2:
		if r := *o.right; r.right.depth() < r.left.depth() {
			o.right = r.rotateRight()
		}
		return o.rotateLeft()
	}
	o.measure()
	return o
}

func (o *overlay) rotateRight() *overlay {
	top := *o.left
	o.left = top.right
	o.measure()
	top.right = o
	top.measure()
	return &top
}

func (o *overlay) rotateLeft() *overlay {
	top := *o.right
	o.right = top.left
	o.measure()
	top.left = o
	top.measure()
	return &top
}

// changes lists what differs from the base in ascending order of keys.
func (o *overlay) changes(list []storage.Change) []storage.Change {
	if o == nil {
		return list
	}
	list = o.left.changes(list)
	if o.value != nil || o.inBase {
		list = append(list, storage.Change{Key: []byte(o.key), Value: o.value})
	}
	return o.right.changes(list)
}

// walk visits an overlay's nodes that begin with a prefix, in order.
type walk struct {
	prefix string
	stack  []*overlay // ancestors that come after what was visited, nearest last
}

func newWalk(o *overlay, prefix, start string) walk {
	w := walk{prefix: prefix}
	if start < prefix {
		start = prefix
	}
	for o != nil {
		if o.key >= start {
			w.stack = append(w.stack, o)
			o = o.left
		} else {
			o = o.right
		}
	}
	return w
}

// peek is the next node, or nil at the end.
func (w *walk) peek() *overlay {
	if len(w.stack) == 0 {
		return nil
	}
	o := w.stack[len(w.stack)-1]
	if len(o.key) < len(w.prefix) || o.key[:len(w.prefix)] != w.prefix {
		return nil
	}
	return o
}

func (w *walk) advance() {
	o := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	for n := o.right; n != nil; n = n.left {
		w.stack = append(w.stack, n)
	}
}
