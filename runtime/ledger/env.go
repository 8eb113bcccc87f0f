package ledger

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// env is what one running contract sees and may change: the wasm.Env of a
// transaction, a timer, a query or a decision.
type env struct {
	ledger   *Ledger
	read     reader
	run      *running   // nil where nothing may change
	contract string     // whose state it is
	input    *abi.Input // what the contract was told
	around   *env       // the caller of a nested call
	now      int64      // of a decision
	trusted  bool
	key      []byte // scratch
}

// stateKey is the full key of an entry; it is overwritten by the next.
func (e *env) stateKey(key []byte) []byte {
	e.key = append(append(append(e.key[:0], 's', byte(len(e.contract))), e.contract...), key...)
	return e.key
}

// Get implements wasm.Env.
func (e *env) Get(key []byte) ([]byte, bool, error) { return e.read.get(e.stateKey(key)) }

// Set implements wasm.Env.
func (e *env) Set(key, value []byte) error {
	if e.run == nil {
		return abi.CodeNotAllowedHere
	}
	return e.run.x.state.set(e.stateKey(key), append([]byte{}, value...))
}

// Delete implements wasm.Env.
func (e *env) Delete(key []byte) error {
	if e.run == nil {
		return abi.CodeNotAllowedHere
	}
	return e.run.x.state.delete(e.stateKey(key))
}

// Scan implements wasm.Env.
func (e *env) Scan(prefix, start []byte) (wasm.Iterator, error) {
	full := chain.StateKey(e.contract, prefix)
	it := e.read.scan(full, chain.StateKey(e.contract, start))
	s := &stripped{it, 2 + len(e.contract)}
	if m, ok := it.(*merged); ok {
		return &sparse{s, m}, nil
	}
	return s, nil
}

// stripped walks a contract's own keys.
type stripped struct {
	wasm.Iterator
	head int
}

// sparse walks them in a block's state, and stops at those that the block
// deleted.
type sparse struct {
	*stripped
	entries *merged
}

// Next implements wasm.Iterator.
func (s *sparse) Next() bool { return s.entries.step() }

// Gone implements wasm.Sparse.
func (s *sparse) Gone() bool { return s.entries.key == nil }

func (s *stripped) Key() []byte { return s.Iterator.Key()[s.head:] }

func (s *stripped) Err() error {
	if err := s.Iterator.Err(); err != nil {
		return &fault{err}
	}
	return nil
}

// Emit implements wasm.Env.
func (e *env) Emit(topic, data []byte) error {
	if e.run == nil {
		return abi.CodeNotAllowedHere
	}
	if len(e.run.events) >= abi.MaxEvents {
		return abi.CodeTooManyEvents
	}
	e.run.events = append(e.run.events, chain.Event{
		Contract: e.contract, Topic: append([]byte{}, topic...), Data: append([]byte{}, data...),
	})
	return nil
}

// Call implements wasm.Env: what fails leaves no trace but the gas it used.
func (e *env) Call(scope *wasm.Scope, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	if e.run == nil {
		return nil, 0, abi.CodeNotAllowedHere
	}
	before, events := e.run.x.state.mark(), len(e.run.events)
	out, used, err := e.nested(scope, abi.EntryExecute, e.run, contract, msg, gas)
	if err != nil {
		e.run.x.state.rollback(before)
		e.run.events = e.run.events[:events]
	}
	return out, used, err
}

// Query implements wasm.Env.
func (e *env) Query(scope *wasm.Scope, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	return e.nested(scope, abi.EntryQuery, nil, contract, msg, gas)
}

// callable reads the record of a contract that this one may call. A contract
// that is running already is not entered again: it would find its state half
// changed.
func (e *env) callable(contract string) (chain.Contract, error) {
	for outer := e; outer != nil; outer = outer.around {
		if outer.contract == contract {
			return chain.Contract{}, abi.CodeReentrant
		}
	}
	c, err := readActive(e.read, contract)
	if err != nil {
		return c, err
	}
	if x := e.block(); x != nil {
		err = x.runs(c.Code)
	}
	return c, err
}

// nested runs another contract within this one.
func (e *env) nested(scope *wasm.Scope, entry abi.Entry, run *running, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
	in := &abi.Input{
		Chain: e.input.Chain, Height: e.input.Height, Time: e.input.Time, Contract: contract,
		Caller: e.input.Caller, Transaction: e.input.Transaction,
		ParentContract: e.contract, Message: msg,
	}
	inner := &env{ledger: e.ledger, read: e.read, run: run, contract: contract, input: in, around: e, now: e.now, trusted: e.trusted}
	c, err := e.callable(contract)
	if err != nil {
		inner.failed(entry, 0, err)
		return nil, 0, err
	}
	in.Owner = c.Owner
	res, err := e.ledger.runtime.Call(scope.Context(), wasm.Call{
		Code:  c.Code,
		Load:  func() ([]byte, error) { return loadCode(e.read, c.Code) },
		Entry: entry, Input: abi.AppendInput(nil, in), Gas: gas, Outer: scope,
		Env: inner,
	})
	if err != nil {
		inner.failed(entry, res.AbortCode, err)
		return nil, res.GasUsed, asTrap(err)
	}
	return res.Output, res.GasUsed, nil
}

// Device implements wasm.Env.
func (e *env) Device(id abi.Hash) ([]byte, bool, error) { return e.read.get(chain.DeviceKey(id)) }

// SetDeviceStatus implements wasm.Env.
func (e *env) SetDeviceStatus(id abi.Hash, status abi.Status, reason []byte) error {
	if e.run == nil {
		return abi.CodeNotAllowedHere
	}
	return e.run.setStatusBy(e.contract, id, status, reason)
}

// Schedule implements wasm.Env. Who pays now pays for the timer, too.
func (e *env) Schedule(due int64, msg []byte) (uint64, error) {
	if e.run == nil {
		return 0, abi.CodeNotAllowedHere
	}
	return e.run.x.schedule(e.contract, e.run.purse.account, due, msg)
}

// Now implements wasm.Env. Only decisions have a clock.
func (e *env) Now() (int64, bool) { return e.now, e.trusted }

// Log implements wasm.Env.
func (e *env) Log(msg string) {
	e.ledger.cfg.Logger.DebugContext(context.Background(), "contract", "name", e.contract, "says", msg)
}
