package storage

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"
)

// Iterator walks records in ascending order of keys. It begins before the
// first record; Next is false at the end or on an error, which Err tells. Key
// and Value may be kept, but not modified. It holds its View until Close.
type Iterator interface {
	Next() bool
	Key() []byte
	Value() []byte
	Err() error
	Close()
}

// Scan walks the state keys that begin with prefix and are not below start.
func (v *View) Scan(prefix, start []byte) Iterator {
	return &stateIterator{cursor: v.open(keyIndex, prefix, start), view: v}
}

// ScanPlain walks the plain records whose keys begin with prefix.
func (v *View) ScanPlain(prefix []byte) Iterator { return v.ScanPlainFrom(prefix, nil) }

// ScanPlainFrom walks those of them that are not below start.
func (v *View) ScanPlainFrom(prefix, start []byte) Iterator {
	return &plainIterator{cursor: v.open(keyPlain, prefix, start)}
}

// cursor walks database keys and strips their first byte.
type cursor struct {
	view    *View // nil once closed
	it      *pebble.Iterator
	started bool
	key     []byte
	value   []byte
	err     error
}

func (v *View) open(space byte, prefix, start []byte) cursor {
	if !v.retain() {
		panic("BUG: scan of a view that was released")
	}
	if bytes.Compare(start, prefix) < 0 {
		start = prefix
	}
	it, err := v.snap.NewIter(&pebble.IterOptions{
		LowerBound: append([]byte{space}, start...),
		UpperBound: prefixEnd(append([]byte{space}, prefix...)),
	})
	c := cursor{view: v, it: it}
	if err != nil {
		c.err = readError("a range", err)
	}
	return c
}

// prefixEnd is the least key behind all keys that begin with prefix, whose
// first byte is below 0xff.
func prefixEnd(prefix []byte) []byte {
	for prefix[len(prefix)-1] == 0xff {
		prefix = prefix[:len(prefix)-1]
	}
	prefix[len(prefix)-1]++
	return prefix
}

// advance moves to the next key.
func (c *cursor) advance() bool {
	c.key, c.value = nil, nil
	if c.err != nil || c.view == nil {
		return false
	}
	ok := false
	if c.started {
		ok = c.it.Next()
	} else {
		c.started, ok = true, c.it.First()
	}
	if !ok {
		if err := c.it.Error(); err != nil {
			c.err = readError("a range", err)
		}
		return false
	}
	c.key = bytes.Clone(c.it.Key()[1:])
	return true
}

func (c *cursor) Key() []byte   { return c.key }
func (c *cursor) Value() []byte { return c.value }
func (c *cursor) Err() error    { return c.err }

// Close may be called more than once.
func (c *cursor) Close() {
	if c.view == nil {
		return
	}
	if c.it != nil {
		if err := c.view.store.engine.wait(c.it.Close); err != nil && c.err == nil {
			c.err = readError("a range", err)
		}
	}
	c.view.Release()
	c.view = nil
}

type stateIterator struct {
	cursor
	view *View
}

func (i *stateIterator) Next() bool {
	if !i.advance() {
		return false
	}
	value, ok, err := i.view.GetCold(i.key)
	if err == nil && !ok {
		err = corrupt(fmt.Sprintf("ordered index at state key %x", i.key), errors.New("the key has no value"))
	}
	i.value, i.err = value, err
	return err == nil
}

type plainIterator struct{ cursor }

func (i *plainIterator) Next() bool {
	if !i.advance() {
		return false
	}
	i.value = bytes.Clone(i.it.Value())
	return true
}
