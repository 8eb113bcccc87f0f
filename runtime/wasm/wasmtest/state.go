package wasmtest

import (
	"bytes"
	"slices"
	"strings"

	"github.com/google/btree"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// state is an ordered map with a change on top that is kept or undone.
type state struct {
	tree  *btree.BTreeG[entry]
	bytes int // of keys and values
	undo  []entry
	log   bool // changes are noted in undo
}

// entry is a key and its value; in undo nil stands for one that was not there.
type entry struct {
	key   string
	value []byte
}

func newState() state {
	return state{tree: btree.NewG(32, func(a, b entry) bool { return a.key < b.key })}
}

func (s *state) get(key string) ([]byte, bool) {
	e, ok := s.tree.Get(entry{key: key})
	return e.value, ok
}

// set takes the value over; nil deletes.
func (s *state) set(key string, value []byte) {
	var old entry
	var had bool
	if value == nil {
		old, had = s.tree.Delete(entry{key: key})
	} else {
		old, had = s.tree.ReplaceOrInsert(entry{key, value})
		s.bytes += len(key) + len(value)
	}
	if had {
		s.bytes -= len(key) + len(old.value)
	} else {
		old = entry{key: key}
	}
	if s.log {
		s.undo = append(s.undo, old)
	}
}

// end keeps what was changed since log was set, or undoes it.
func (s *state) end(keep bool) {
	s.log = false
	if !keep {
		for _, e := range slices.Backward(s.undo) {
			s.set(e.key, e.value)
		}
	}
	s.undo = s.undo[:0]
}

// env is what the contract sees in one call.
type env struct {
	*Chain
	reads                    int
	events, statuses, timers int    // how many before the call
	local                    []byte // before the call
}

func newEnv(c *Chain) *env {
	c.state.log = true
	return &env{Chain: c, statuses: len(c.Statuses), events: len(c.Events), timers: len(c.Timers), local: c.Local}
}

// end keeps what the call changed, or undoes it.
func (e *env) end(keep bool) {
	e.state.end(keep)
	if !keep {
		e.Events, e.Statuses, e.Timers, e.Chain.Local = e.Events[:e.events], e.Statuses[:e.statuses], e.Timers[:e.timers], e.local
	}
}

func (e *env) Get(key []byte) ([]byte, bool, error) {
	e.reads++
	v, ok := e.state.get(string(key))
	return v, ok, nil
}

func (e *env) Set(key, value []byte) error {
	e.state.set(string(key), append([]byte{}, value...))
	return nil
}

func (e *env) Delete(key []byte) error {
	if _, ok := e.state.get(string(key)); ok {
		e.state.set(string(key), nil)
	}
	return nil
}

// scanPage is how many entries an iterator reads at once.
const scanPage = 64

// Scan gives entries as they are when the scan comes to them, page by page; what
// a contract changes ahead of its own scan, a ledger may not show.
func (e *env) Scan(prefix, start []byte) (wasm.Iterator, error) {
	from := string(prefix)
	if string(start) > from {
		from = string(start)
	}
	return &iterator{state: e.state.tree, prefix: string(prefix), from: from}, nil
}

type iterator struct {
	state  *btree.BTreeG[entry]
	prefix string
	from   string
	page   []entry
	at     entry
}

func (it *iterator) Next() bool {
	if len(it.page) == 0 {
		it.state.AscendGreaterOrEqual(entry{key: it.from}, func(e entry) bool {
			if !strings.HasPrefix(e.key, it.prefix) {
				return false
			}
			it.page = append(it.page, e)
			return len(it.page) < scanPage
		})
		if len(it.page) == 0 {
			return false
		}
		it.from = it.page[len(it.page)-1].key + "\x00"
	}
	it.at, it.page = it.page[0], it.page[1:]
	return true
}

func (it *iterator) Key() []byte   { return []byte(it.at.key) }
func (it *iterator) Value() []byte { return it.at.value }
func (it *iterator) Err() error    { return nil }
func (it *iterator) Close()        {}

func (e *env) Emit(topic, data []byte) error {
	e.Events = append(e.Events, Event{string(topic), bytes.Clone(data)})
	return nil
}

func (e *env) other(name string, message []byte) ([]byte, uint64, error) {
	contract := e.Contracts[name]
	if contract == nil {
		return nil, 0, abi.CodeUnknownContract
	}
	out, err := contract(message)
	return out, 0, err
}

func (e *env) Call(_ *wasm.Scope, name string, message []byte, _ uint64) ([]byte, uint64, error) {
	return e.other(name, message)
}

func (e *env) Query(_ *wasm.Scope, name string, message []byte, _ uint64) ([]byte, uint64, error) {
	return e.other(name, message)
}

func (e *env) Device(id abi.Hash) ([]byte, bool, error) {
	record, ok := e.Devices[id]
	return record, ok, nil
}

// SetDeviceStatus notes the status; the device's record stays as the test made it.
func (e *env) SetDeviceStatus(id abi.Hash, status abi.Status, reason []byte) error {
	if _, ok := e.Devices[id]; !ok {
		return abi.CodeUnknownDevice
	}
	e.Statuses = append(e.Statuses, SetStatus{id, status, string(reason)})
	return nil
}

func (e *env) Schedule(due int64, message []byte) (uint64, error) {
	e.Timers = append(e.Timers, Timer{due, bytes.Clone(message)})
	return uint64(len(e.Timers)), nil
}

func (e *env) Local() ([]byte, bool, error) { return e.Chain.Local, e.Chain.Local != nil, nil }

func (e *env) SetLocal(record []byte) error {
	e.Chain.Local = bytes.Clone(record)
	return nil
}

func (e *env) Now() (int64, bool) { return e.Input.Time, !e.Untrusted }

func (e *env) Log(text string) { e.Logs = append(e.Logs, text) }
