package access_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

// chain is one deployed access contract over a map: what a ledger gives it,
// without blocks.
type chain struct {
	t       testing.TB
	runtime *wasm.Runtime
	input   abi.Input
	env     mapEnv
	// used is the gas of the last call.
	used uint64
}

var (
	owner   = abi.Hash{1}
	admin   = abi.Hash{2}
	someone = abi.Hash{3}
)

func newChain(t testing.TB, engine wasm.Engine) *chain {
	t.Helper()
	runtime, err := wasm.New(context.Background(), wasm.Config{Engine: engine, Protocol: wasm.Protocol})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.Close(context.Background()) })
	return &chain{
		t: t, runtime: runtime,
		input: abi.Input{Contract: "access", Owner: owner, Caller: &owner, Time: 1_700_000_000_000},
		env:   mapEnv{state: map[string][]byte{}},
	}
}

// call runs an entry point as the ledger does: a trap undoes its changes.
func (c *chain) call(entry abi.Entry, message []byte) ([]byte, uint16, error) {
	c.t.Helper()
	before := make(map[string][]byte, len(c.env.state))
	if !entry.ReadOnly() {
		for k, v := range c.env.state {
			before[k] = v
		}
	}
	in := c.input
	in.Message = message
	c.env.reads, c.env.entry = 0, entry
	res, err := c.runtime.Call(context.Background(), wasm.Call{
		Code:  contracts.Access().Hash,
		Load:  func() ([]byte, error) { return contracts.Access().Wasm, nil },
		Entry: entry, Input: abi.AppendInput(nil, &in), Gas: 1 << 40, Env: &c.env,
	})
	c.used = res.GasUsed
	if err != nil && !entry.ReadOnly() {
		c.env.state = before
	}
	var trap *wasm.Trap
	if err != nil && !errors.As(err, &trap) {
		c.t.Fatalf("fault of the host: %v", err)
	}
	return res.Output, res.AbortCode, err
}

func (c *chain) must(entry abi.Entry, message []byte) []byte {
	c.t.Helper()
	out, code, err := c.call(entry, message)
	if err != nil {
		c.t.Fatalf("%v: %v (%v)", entry, err, access.Code(code))
	}
	return out
}

// refuse runs a message that must be refused with a code and change nothing.
func (c *chain) refuse(want access.Code, message []byte) {
	c.t.Helper()
	_, code, err := c.call(abi.EntryExecute, message)
	if err == nil || access.Code(code) != want {
		c.t.Fatalf("execute: %v, %v; want %v", err, access.Code(code), want)
	}
}

func (c *chain) query(message []byte) ([]byte, error) {
	out, _, err := c.call(abi.EntryQuery, message)
	return out, err
}

// load writes and activates a document as version base+1.
func (c *chain) load(d *access.Document, base uint32) {
	c.t.Helper()
	for _, m := range d.Messages(base+1, base) {
		if len(m) > 32<<10 {
			c.t.Fatalf("a message of %d bytes", len(m))
		}
		c.must(abi.EntryExecute, m)
	}
}

func (c *chain) decide(q *abi.DecisionRequest) abi.Verdict {
	c.t.Helper()
	v, err := abi.ParseVerdict(c.must(abi.EntryDecide, abi.AppendDecisionRequest(nil, q)))
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// runTimers runs timers, and those they schedule, until none is left.
func (c *chain) runTimers() (ran int) {
	for ; len(c.env.timers) > 0; ran++ {
		message := c.env.timers[0]
		c.env.timers = c.env.timers[1:]
		c.must(abi.EntryTimer, message)
	}
	return ran
}

func parseFile(t testing.TB, name string) *access.Document {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(src))
}

func parse(t testing.TB, src string) *access.Document {
	t.Helper()
	d, err := access.ParseDocument([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// properties makes an encoded map of JSON.
func properties(t testing.TB, src string) []byte {
	t.Helper()
	b, err := cbor.AppendJSON(nil, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mapEnv is the state and clock that the contract sees.
type mapEnv struct {
	state  map[string][]byte
	entry  abi.Entry
	now    time.Time // zero: not trusted
	reads  int
	timers [][]byte
	events []string
	logs   []string
}

func (e *mapEnv) Get(key []byte) ([]byte, bool, error) {
	e.reads++
	v, ok := e.state[string(key)]
	return v, ok, nil
}

func (e *mapEnv) Set(key, value []byte) error {
	e.state[string(key)] = bytes.Clone(value)
	return nil
}

func (e *mapEnv) Delete(key []byte) error {
	delete(e.state, string(key))
	return nil
}

func (e *mapEnv) Scan(prefix, start []byte) (wasm.Iterator, error) {
	it := &mapIterator{at: -1}
	for k, v := range e.state {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			it.pairs = append(it.pairs, mapPair{k, v})
		}
	}
	sort.Slice(it.pairs, func(i, j int) bool { return it.pairs[i].key < it.pairs[j].key })
	return it, nil
}

func (e *mapEnv) Emit(topic, data []byte) error {
	e.events = append(e.events, string(topic))
	return nil
}

func (e *mapEnv) Call(*wasm.Scope, string, []byte, uint64) ([]byte, uint64, error) {
	return nil, 0, abi.CodeUnknownContract
}

func (e *mapEnv) Query(*wasm.Scope, string, []byte, uint64) ([]byte, uint64, error) {
	return nil, 0, abi.CodeUnknownContract
}

func (e *mapEnv) Device(abi.Hash) ([]byte, bool, error) { return nil, false, nil }

func (e *mapEnv) SetDeviceStatus(abi.Hash, abi.Status, []byte) error { return abi.CodeUnknownDevice }

func (e *mapEnv) Schedule(_ int64, message []byte) (uint64, error) {
	e.timers = append(e.timers, bytes.Clone(message))
	return uint64(len(e.timers)), nil
}

func (e *mapEnv) Now() (int64, bool) { return e.now.UnixMilli(), !e.now.IsZero() }

func (e *mapEnv) Log(text string) { e.logs = append(e.logs, text) }

type mapPair struct {
	key   string
	value []byte
}

type mapIterator struct {
	pairs []mapPair
	at    int
}

func (it *mapIterator) Next() bool    { it.at++; return it.at < len(it.pairs) }
func (it *mapIterator) Key() []byte   { return []byte(it.pairs[it.at].key) }
func (it *mapIterator) Value() []byte { return it.pairs[it.at].value }
func (it *mapIterator) Err() error    { return nil }
func (it *mapIterator) Close()        {}
