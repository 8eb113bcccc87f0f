// Package wasmtest runs one contract over a state in memory: what a ledger and a
// gateway give it, without blocks. Contracts' tests and benchmarks use it, and
// nothing else.
//
// A test makes a [Chain] of a module, changes what it wants to of its exported
// fields (who calls, when, which devices there are), and calls entry points. As on
// a ledger a call that fails changes nothing.
package wasmtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Start is the block time of a new chain: a Tuesday, 22:13:20 UTC.
const Start = 1_700_000_000_000

// Owner deployed the contract of a new chain, and calls it.
var Owner = abi.Hash{1}

// Chain is one deployed contract.
type Chain struct {
	// Input is what the contract sees of each call but its message.
	Input abi.Input
	// Devices are the records of devices, canonical CBOR.
	Devices map[abi.Hash][]byte
	// Local is the gateway's record of the observed device; nil: there is none.
	Local []byte
	// Untrusted clocks give no now.
	Untrusted bool
	// Contracts answer calls and queries of others, by name.
	Contracts map[string]func(message []byte) ([]byte, error)

	// Timers wait, in the order in which they were made.
	Timers []Timer
	// Events, Logs and Statuses are what came of the calls so far.
	Events   []Event
	Logs     []string
	Statuses []SetStatus
	// Gas and Reads are the last call's.
	Gas   uint64
	Reads int

	tb      testing.TB
	runtime *wasm.Runtime
	code    abi.Hash
	module  []byte
	state   state
}

// Timer is a call to come.
type Timer struct {
	Due     int64 // ms since 1970
	Message []byte
}

// Event is what a contract told.
type Event struct {
	Topic string
	Data  []byte
}

// SetStatus is a device's status as a contract set it.
type SetStatus struct {
	Device abi.Hash
	Status abi.Status
	Reason string
}

// runtimes are made once for each engine, so that a module is compiled once.
var runtimes = map[wasm.Engine]func() (*wasm.Runtime, error){
	wasm.EngineCompiler:    makeRuntime(wasm.EngineCompiler),
	wasm.EngineInterpreter: makeRuntime(wasm.EngineInterpreter),
	wasm.EngineAuto:        makeRuntime(wasm.EngineAuto),
}

func makeRuntime(engine wasm.Engine) func() (*wasm.Runtime, error) {
	return sync.OnceValues(func() (*wasm.Runtime, error) {
		return wasm.New(context.Background(), wasm.Config{Engine: engine, Protocol: wasm.Protocol})
	})
}

// New deploys a module by Owner, who is its caller until the test says another.
// Its init is not run.
func New(tb testing.TB, engine wasm.Engine, name string, module []byte) *Chain {
	tb.Helper()
	runtime, err := runtimes[engine]()
	if err != nil {
		tb.Fatal(err)
	}
	caller := Owner
	return &Chain{
		Input:   abi.Input{Contract: name, Owner: Owner, Caller: &caller, Time: Start},
		Devices: map[abi.Hash][]byte{},
		tb:      tb, runtime: runtime, code: sha256.Sum256(module), module: module, state: newState(),
	}
}

// As makes an account the caller of what comes next; a device's record goes with
// it, as it does on a ledger.
func (c *Chain) As(caller abi.Hash) *Chain {
	c.Input.Caller, c.Input.Device = &caller, c.Devices[caller]
	return c
}

// Call runs an entry point and returns its output, or the contract's own code
// and the error. What the host itself fails at ends the test.
func (c *Chain) Call(entry abi.Entry, message []byte) (out []byte, code uint16, err error) {
	c.tb.Helper()
	e := newEnv(c)
	res, err := c.runtime.Call(context.Background(), c.call(entry, message, e))
	c.Gas, c.Reads = res.GasUsed, e.reads
	e.end(err == nil)
	var trap *wasm.Trap
	if err != nil && !errors.As(err, &trap) {
		c.tb.Fatalf("fault of the host: %v", err)
	}
	return res.Output, res.AbortCode, err
}

func (c *Chain) call(entry abi.Entry, message []byte, e *env) wasm.Call {
	in := c.Input
	in.Message = message
	return wasm.Call{Code: c.code, Load: func() ([]byte, error) { return c.module, nil },
		Entry: entry, Input: abi.AppendInput(nil, &in), Gas: 1 << 40, Env: e}
}

// Must runs what has to succeed.
func (c *Chain) Must(entry abi.Entry, message []byte) []byte {
	c.tb.Helper()
	out, code, err := c.Call(entry, message)
	if err != nil {
		c.tb.Fatalf("%v %x: %v, code %d", entry, message, err, code)
	}
	return out
}

// Execute is Must of a transaction by the caller.
func (c *Chain) Execute(message []byte) []byte {
	c.tb.Helper()
	return c.Must(abi.EntryExecute, message)
}

// Query is Must of a question.
func (c *Chain) Query(message []byte) []byte { c.tb.Helper(); return c.Must(abi.EntryQuery, message) }

// Refuse runs what has to be refused with the contract's own code.
func (c *Chain) Refuse(want uint16, entry abi.Entry, message []byte) {
	c.tb.Helper()
	if out, code, err := c.Call(entry, message); err == nil || code != want {
		c.tb.Fatalf("%v %x: %x, %v, code %d; want code %d", entry, message, out, err, code, want)
	}
}

// RunTimers runs the timers due by the chain's time, and those that they make,
// in the order in which they are due, and tells how many.
func (c *Chain) RunTimers() (ran int) {
	c.tb.Helper()
	for {
		next := -1
		for i, timer := range c.Timers {
			if timer.Due <= c.Input.Time && (next < 0 || timer.Due < c.Timers[next].Due) {
				next = i
			}
		}
		if next < 0 {
			return ran
		}
		timer := c.Timers[next]
		c.Timers = slices.Delete(c.Timers, next, next+1)
		caller := c.Input.Caller
		c.Input.Caller = nil
		c.Must(abi.EntryTimer, timer.Message)
		c.Input.Caller = caller
		ran++
	}
}

// Get is an entry of the contract's state, nil where there is none.
func (c *Chain) Get(key []byte) []byte { v, _ := c.state.get(string(key)); return v }

// Set writes an entry as if the contract had.
func (c *Chain) Set(key, value []byte) { c.state.set(string(key), append([]byte{}, value...)) }

// Size is how many entries the state has, and the bytes of their keys and values.
func (c *Chain) Size() (entries, bytes int) { return c.state.tree.Len(), c.state.bytes }
