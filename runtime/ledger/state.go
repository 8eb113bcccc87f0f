package ledger

import (
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage"
)

// reader is the state at one moment: a View, cold or through the cache, or a
// block in execution.
type reader interface {
	get(key []byte) (value []byte, ok bool, err error)
	scan(prefix, start []byte) storage.Iterator
}

// fault is a failure of the host, not of a transaction: the disk, the
// database, the compiler. It stops a block and never becomes an outcome.
type fault struct{ cause error }

func (f *fault) Error() string { return "host fault: " + f.cause.Error() }

// Is lets callers look for an error of storage. There is no Unwrap: a code
// somewhere in the cause must not be taken for a contract's or a sender's.
func (f *fault) Is(target error) bool { return errors.Is(f.cause, target) }

func faultf(format string, args ...any) error { return &fault{fmt.Errorf(format, args...)} }

// refusal tells the code of a failure that belongs into an outcome. It is
// false for a fault of the host and for any error without a code.
func refusal(err error) (abi.Code, bool) {
	var f *fault
	if errors.As(err, &f) {
		return 0, false
	}
	var c abi.Code
	if !errors.As(err, &c) || c == abi.OK {
		return 0, false
	}
	return c, true
}

// hot reads a View through the cache, for decisions and checks.
type hot struct{ view *storage.View }

func (h hot) get(key []byte) ([]byte, bool, error) {
	v, ok, err := h.view.Get(key)
	if err != nil {
		err = &fault{err}
	}
	return v, ok, err
}

func (h hot) scan(prefix, start []byte) storage.Iterator { return h.view.Scan(prefix, start) }

// cold reads a View past the cache, for block execution: what is speculative
// must not show in the cache.
type cold struct{ view *storage.View }

func (c cold) get(key []byte) ([]byte, bool, error) {
	v, ok, err := c.view.GetCold(key)
	if err != nil {
		err = &fault{err}
	}
	return v, ok, err
}

func (c cold) scan(prefix, start []byte) storage.Iterator { return c.view.Scan(prefix, start) }

// Bounds of a state's memory of what it read from its base: most keys are
// read before they are written, and a payer's records are read once a
// transaction. Large values are read anew.
const (
	memoEntries = 4096
	memoValue   = 512
)

type memo struct {
	value []byte
	ok    bool
}

// state is a block's state while it executes: its changes over the state of
// its parent. Owned by one execution.
type state struct {
	base   reader
	memo   map[string]memo
	top    *overlay
	growth int64 // bytes of keys and values added since the transaction began
}

func newState(base reader) *state { return &state{base: base, memo: make(map[string]memo)} }

// mark is a moment that a state can go back to.
type mark struct {
	top    *overlay
	growth int64
}

func (s *state) mark() mark      { return mark{s.top, s.growth} }
func (s *state) rollback(m mark) { s.top, s.growth = m.top, m.growth }

func (s *state) get(key []byte) ([]byte, bool, error) {
	if o := s.top.find(string(key)); o != nil {
		return o.value, o.value != nil, nil
	}
	return s.below(key)
}

func (s *state) below(key []byte) ([]byte, bool, error) {
	if m, ok := s.memo[string(key)]; ok {
		return m.value, m.ok, nil
	}
	v, ok, err := s.base.get(key)
	if err != nil {
		return nil, false, err
	}
	if len(v) <= memoValue && len(s.memo) < memoEntries {
		s.memo[string(key)] = memo{v, ok}
	}
	return v, ok, nil
}

// set writes value under key; it must not be modified afterwards.
func (s *state) set(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return s.write(key, value, true)
}

func (s *state) delete(key []byte) error { return s.write(key, nil, true) }

// setFree and deleteFree write the ledger's own bookkeeping, which nobody
// pays for: quotas and the window's running hashes.
func (s *state) setFree(key, value []byte) error { return s.write(key, value, false) }
func (s *state) deleteFree(key []byte) error     { return s.write(key, nil, false) }

func (s *state) write(key, value []byte, counted bool) error {
	k := string(key)
	old, ok, inBase := []byte(nil), false, false
	if o := s.top.find(k); o != nil {
		old, ok, inBase = o.value, o.value != nil, o.inBase
	} else {
		var err error
		if old, ok, err = s.below(key); err != nil {
			return err
		}
		inBase = ok
	}
	if !ok && value == nil {
		return nil
	}
	if counted {
		s.growth += size(key, value, value != nil) - size(key, old, ok)
	}
	s.top = s.top.put(k, value, inBase)
	return nil
}

func size(key, value []byte, ok bool) int64 {
	if !ok {
		return 0
	}
	return int64(len(key) + len(value))
}

// scan walks the keys as they are now, whatever is written meanwhile.
func (s *state) scan(prefix, start []byte) storage.Iterator {
	return &merged{over: newWalk(s.top, string(prefix), string(start)), base: s.base.scan(prefix, start)}
}

// merged walks an overlay and its base as one ordered sequence.
type merged struct {
	over       walk
	base       storage.Iterator
	waiting    bool   // baseKey stands for a pair that was not given yet
	baseKey    []byte // nil at the base's end
	key, value []byte // nil where the overlay deletes an entry
}

// Next goes to the next entry that is there.
func (m *merged) Next() bool {
	for m.step() {
		if m.key != nil {
			return true
		}
	}
	return false
}

// step goes to the next entry or deletion.
func (m *merged) step() bool {
	m.fetch()
	m.key, m.value = nil, nil
	o := m.over.peek()
	switch {
	case m.base.Err() != nil || o == nil && m.baseKey == nil:
		return false
	case o == nil || m.baseKey != nil && string(m.baseKey) < o.key:
		m.key, m.value, m.waiting = m.baseKey, m.base.Value(), false
		return true
	}
	m.over.advance()
	if string(m.baseKey) == o.key {
		m.waiting = false
	}
	if o.value != nil {
		m.key, m.value = []byte(o.key), o.value
	}
	return true
}

// fetch reads the base's next pair unless one is waiting.
func (m *merged) fetch() {
	if m.waiting {
		return
	}
	m.waiting, m.baseKey = true, nil
	if m.base.Next() {
		m.baseKey = m.base.Key()
	}
}

func (m *merged) Key() []byte   { return m.key }
func (m *merged) Value() []byte { return m.value }

func (m *merged) Err() error {
	if err := m.base.Err(); err != nil {
		return &fault{err}
	}
	return nil
}

func (m *merged) Close() { m.base.Close() }

// each hands the pairs under prefix to fn until it returns false.
func each(r reader, prefix []byte, fn func(key, value []byte) (more bool, err error)) error {
	it := r.scan(prefix, prefix)
	defer it.Close()
	for it.Next() {
		if more, err := fn(it.Key(), it.Value()); err != nil || !more {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return &fault{err}
	}
	return nil
}

// load reads and parses the record under key. A record that does not parse is
// a fault: the ledger wrote it.
func load[T any](r reader, key []byte, parse func([]byte) (T, error)) (v T, ok bool, err error) {
	raw, ok, err := r.get(key)
	if err != nil || !ok {
		return v, false, err
	}
	if v, err = parse(raw); err != nil {
		return v, false, faultf("record %x: %w", key, err)
	}
	return v, true, nil
}
