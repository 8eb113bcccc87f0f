package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// vandal is a contract with
//
//	execute: fills all of its memory, sets its global, then traps
//	migrate: the same, then returns
//	init:    the same, after growing the memory by a page
//	query:   returns 8 bytes: the sum of its memory's words, plus its global
//
// A data segment holds "seed", and the global begins as 7.
func vandal() []byte {
	m := wasmtest.Contract()
	m.Global(7)
	m.Datas = append(m.Datas, moduleData(40_000, "seed"))
	fill := func() *wasmtest.Asm {
		return wasmtest.Code().I64(-1).GlobalSet(0).
			Loop(wasmtest.Void).Get(2).I64(0x5a5a5a5a5a5a5a5a).Mem(0x37, 0).Get(2).I32(8).Op(0x6a).Tee(2).I32(65536).Op(0x49).BrIf(0).End()
	}
	m.Entry(abi.EntryExecute, fill().Op(0x00).I64(0))
	m.Entry(abi.EntryMigrate, fill().I64(0))
	m.Entry(abi.EntryInit, wasmtest.Code().I32(1).Grow().Op(0x1a).Op(fill().Bytes...).I64(0))
	sum := wasmtest.Code().Loop(wasmtest.Void).
		Get(4).Get(2).Mem(0x29, 0).Op(0x7c).Set(4).
		Get(2).I32(8).Op(0x6a).Tee(2).I32(65536).Op(0x49).BrIf(0).End().
		I32(0).Get(4).GlobalGet(0).Op(0x7c).Mem(0x37, 0)
	return m.Entry(abi.EntryQuery, returnStatic(sum, 0, 8)).Bytes()
}

// Whatever a call did to its memory and globals, the next one finds them as
// the first did.
func TestIsolation(t *testing.T) {
	blob := vandal()
	want := both(t, blob, abi.EntryQuery, 1<<30, noEnv)
	for _, e := range engines() {
		r := newRuntime(t, e)
		for _, entry := range []abi.Entry{abi.EntryExecute, abi.EntryMigrate, abi.EntryInit, abi.EntryQuery, abi.EntryExecute} {
			res, err := r.Call(context.Background(), callOf(blob, entry, noEnv()))
			outcomeOf(t, res, err)
			res, err = r.Call(context.Background(), callOf(blob, abi.EntryQuery, noEnv()))
			if got := outcomeOf(t, res, err); got != want {
				t.Errorf("%v, after %v: %+v, want %+v", e, entry, got, want)
			}
		}
	}
}

func TestIsolationInParallel(t *testing.T) {
	blob := vandal()
	want := both(t, blob, abi.EntryQuery, 1<<30, noEnv)
	for _, e := range engines() {
		r := newRuntime(t, e)
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 9 {
					entry := []abi.Entry{abi.EntryExecute, abi.EntryMigrate, abi.EntryInit}[(worker+i)%3]
					call := callOf(blob, entry, noEnv())
					call.Block = worker == 0
					res, err := r.Call(context.Background(), call)
					outcomeOf(t, res, err)
					res, err = r.Call(context.Background(), callOf(blob, abi.EntryQuery, noEnv()))
					if got := outcomeOf(t, res, err); got != want {
						t.Errorf("%v, after %v: %+v, want %+v", e, entry, got, want)
					}
				}
			})
		}
		wg.Wait()
	}
}

// The pool and the compiled codes stay within their budgets.
func TestBudgets(t *testing.T) {
	r, err := New(context.Background(), Config{Engine: EngineInterpreter, Protocol: Protocol, PoolBytes: 200_000, CodeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	memoryKinds()["plain"](r) // it takes the same everywhere
	ctx := context.Background()
	call := func(blob []byte, entry abi.Entry) {
		t.Helper()
		res, err := r.Call(ctx, callOf(blob, entry, noEnv()))
		if o := outcomeOf(t, res, err); o.code != abi.OK {
			t.Fatal(o.code)
		}
	}
	const each = wasmPage + instanceBytes // vandals write to all of their page
	call(echo(), abi.EntryExecute)
	call(vandal(), abi.EntryMigrate)
	if r.idleBytes != each || len(r.codes) != 1 { // the last one stays
		t.Errorf("%d idle bytes and %d codes are kept", r.idleBytes, len(r.codes))
	}
	r.cfg.CodeBytes = 1 << 20
	blobs := make([][]byte, 5)
	for i := range blobs {
		blobs[i] = append(vandal(), 0, 2, 1, byte('a'+i)) // a custom section: another hash
		call(blobs[i], abi.EntryMigrate)
	}
	if r.idleBytes != 2*each || len(r.codes) != 6 {
		t.Errorf("%d idle bytes and %d codes are kept", r.idleBytes, len(r.codes))
	}
	for i, blob := range blobs {
		c := r.codes[codeKey{Protocol, sha256.Sum256(blob)}]
		if kept := i >= 3; kept != (len(c.idle) == 1) {
			t.Errorf("code %d of 5 has %d idle instances", i, len(c.idle))
		}
	}
}

// caller is a contract whose execute and query call "other" with the message
// "m" and return what they got: 8 bytes of result, then 8 bytes of buffer.
func caller(grow int32) []byte {
	m := wasmtest.Contract(abi.HostCall, abi.HostQuery)
	m.Datas = append(m.Datas, moduleData(1024, "otherm"))
	a := func(f uint32) *wasmtest.Asm {
		a := wasmtest.Code()
		if grow > 0 {
			a.I32(grow).Grow().Op(0x1a)
		}
		a.I32(0).I32(1024).I32(5).I32(1029).I32(1).I32(8).I32(8).Call(f).Mem(0x37, 0)
		return returnStatic(a, 0, 16)
	}
	m.Entry(abi.EntryExecute, a(0))
	return m.Entry(abi.EntryQuery, a(1)).Bytes()
}

// nestedEnv runs nested calls of its contract on the runtime, like the ledger.
func nestedEnv(r *Runtime, blob []byte, maxDepth *int) *memEnv {
	env := newMemEnv()
	env.nested = func(s *Scope, query bool, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
		*maxDepth = max(*maxDepth, s.depth)
		if contract != "other" || string(msg) != "m" {
			return nil, 0, fmt.Errorf("called %q with %q", contract, msg)
		}
		call := callOf(blob, abi.EntryExecute, env)
		if query {
			call.Entry = abi.EntryQuery
		}
		call.Gas, call.Outer = gas, s
		res, err := r.Call(s.Context(), call)
		return res.Output, res.GasUsed, err
	}
	return env
}

// A contract may be entered again within itself, to the depth that the ABI
// names; one deeper is the caller's error, not the end of the call.
func TestNestedCalls(t *testing.T) {
	var first outcome
	for _, e := range engines() {
		for _, entry := range []abi.Entry{abi.EntryExecute, abi.EntryQuery} {
			r := newRuntime(t, e)
			depth := 0
			blob := caller(0)
			res, err := r.Call(context.Background(), callOf(blob, entry, nestedEnv(r, blob, &depth)))
			o := outcomeOf(t, res, err)
			if o.code != abi.OK || depth != abi.MaxCallDepth+1 {
				t.Fatalf("%v: %+v at depth %d", e, o, depth)
			}
			if first.out == "" {
				first = o
			}
			if o != first {
				t.Errorf("%v, %v: %+v, want %+v", e, entry, o, first)
			}
		}
	}
}

// A chain of calls shares one memory limit of 32 pages, however it is split.
func TestChainMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		grow int32
		want int // instances that fit
	}{{0, 9}, {3, 8}, {7, 4}, {15, 2}} {
		for _, e := range engines() {
			r := newRuntime(t, e)
			depth, trapped := 0, abi.OK
			blob := caller(c.grow)
			env := nestedEnv(r, blob, &depth)
			inner := env.nested
			env.nested = func(s *Scope, query bool, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
				out, used, err := inner(s, query, contract, msg, gas)
				var trap *Trap
				if errors.As(err, &trap) && trapped == abi.OK {
					trapped = trap.Code
				}
				return out, used, err
			}
			res, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env))
			if o := outcomeOf(t, res, err); o.code != abi.OK {
				t.Fatalf("%v, growing by %d: %v", e, c.grow, o.code)
			}
			want := abi.CodeMemoryLimit
			if c.want == 9 {
				want = abi.CodeCallDepth
			}
			if depth != c.want || trapped != want {
				t.Errorf("%v, growing by %d: %v at depth %d, want %v at %d", e, c.grow, trapped, depth, want, c.want)
			}
		}
	}
}

// Gas that a nested call used is the caller's. One that runs out leaves the
// caller with nothing but what it has paid already: it cannot return the code,
// since results cost gas.
func TestNestedGas(t *testing.T) {
	loop := wasmtest.Contract().Entry(abi.EntryExecute, wasmtest.Code().Loop(wasmtest.Void).Br(0).End().I64(0)).Bytes()
	for _, e := range engines() {
		r := newRuntime(t, e)
		depth := 0
		call := callOf(caller(0), abi.EntryExecute, nestedEnv(r, loop, &depth))
		call.Gas = 1_000_000
		res, err := r.Call(context.Background(), call)
		if o := outcomeOf(t, res, err); o.code != abi.CodeOutOfGas || o.used != call.Gas || depth != 1 {
			t.Errorf("%v: %+v at depth %d", e, o, depth)
		}
	}
}

// Close takes nothing from under a call that runs; one that comes later is
// refused.
func TestCloseDuringCalls(t *testing.T) {
	for _, e := range engines() {
		r, err := New(context.Background(), Config{Engine: e, Protocol: Protocol})
		if err != nil {
			t.Fatal(err)
		}
		inside, ended, freed := make(chan struct{}), make(chan error, 1), make(chan error, 1)
		goOn := make(chan struct{})
		env := newMemEnv()
		env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) {
			close(inside)
			<-goOn
			return []byte("x"), 0, nil
		}
		call := callOf(caller(3), abi.EntryExecute, env)
		go func() {
			_, err := r.Call(context.Background(), call)
			ended <- err
		}()
		<-inside
		go func() { freed <- r.Close(context.Background()) }()
		<-r.closed
		if _, err := r.Call(context.Background(), call); !errors.Is(err, errClosed) {
			t.Errorf("%v: a late call ends with %v", e, err)
		}
		if err := r.Compile(context.Background(), Protocol, abi.Hash{1}, echo()); !errors.Is(err, errClosed) {
			t.Errorf("%v: a late compilation ends with %v", e, err)
		}
		select {
		case err := <-freed:
			t.Errorf("%v: memory was freed under a call, %v", e, err)
		default:
		}
		close(goOn)
		if err := <-ended; err != nil {
			t.Errorf("%v: the call ends with %v", e, err)
		}
		if err := <-freed; err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
}

// Nested calls never wait for a slot, and block execution has one of its own:
// with every slot taken by calls that nest, all of them end.
func TestSlots(t *testing.T) {
	r := newRuntime(t, EngineInterpreter)
	blob := caller(0)
	slots := cap(r.slots)
	inside := make(chan struct{}, slots)
	goOn := make(chan struct{})
	var wg sync.WaitGroup
	for range slots {
		wg.Go(func() {
			depth := 0
			env := nestedEnv(r, blob, &depth)
			nested := env.nested
			env.nested = func(s *Scope, query bool, contract string, msg []byte, gas uint64) ([]byte, uint64, error) {
				if s.depth == 1 {
					inside <- struct{}{}
					<-goOn
				}
				return nested(s, query, contract, msg, gas)
			}
			if _, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, env)); err != nil {
				t.Error(err)
			}
		})
	}
	for range slots {
		<-inside
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	call := callOf(echo(), abi.EntryExecute, noEnv())
	if _, err := r.Call(stopped, call); !errors.Is(err, context.Canceled) {
		t.Errorf("a call got a slot that was taken: %v", err)
	}
	call.Block = true
	if _, err := r.Call(context.Background(), call); err != nil {
		t.Errorf("block execution: %v", err)
	}
	close(goOn)
	wg.Wait()
}

// With no room for anything that is not in use, codes are compiled, evicted
// and compiled again under calls of all of them, and every result is right.
func TestEvictionUnderLoad(t *testing.T) {
	ctx := context.Background()
	for _, e := range engines() {
		r, err := New(ctx, Config{Engine: e, Protocol: Protocol, PoolBytes: 1, CodeBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := range 20 {
					n := int64(worker+i) % 4
					blob := contract(func(m *wasmtest.Module) { m.Datas = append(m.Datas, moduleData(0, fmt.Sprint(n))) })
					blob = append(blob, 0, 2, 1, byte('a'+n)) // a custom section: another hash, the same code
					res, err := r.Call(ctx, callOf(blob, abi.EntryDecide, noEnv()))
					if o := outcomeOf(t, res, err); o.code != abi.OK {
						t.Errorf("%v: %+v", e, o)
					}
				}
			})
		}
		wg.Wait()
		if r.idleBytes != 0 || len(r.codes) != 1 {
			t.Errorf("%v: %d idle bytes, %d bytes of %d codes", e, r.idleBytes, r.codeBytes, len(r.codes))
		}
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// FuzzCall runs whatever is admitted on both engines, with little gas: equal
// outcomes, never a fault, and the instance is set back afterwards.
func FuzzCall(f *testing.F) {
	for _, c := range trapCases() {
		f.Add(c.blob)
	}
	f.Add(vandal())
	f.Add(echo())
	f.Add(scanner(1, 3, 16))
	f.Add(caller(1))
	var runtimes []*Runtime
	for _, e := range engines() {
		runtimes = append(runtimes, newRuntime(f, e))
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		info, err := Check(blob, abi.ProfileLean)
		if err != nil {
			return
		}
		for _, entry := range info.Entries {
			var want outcome
			for i, r := range runtimes {
				env := newMemEnv()
				env.state["p/a"] = "value"
				env.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) {
					return []byte("out"), 7, nil
				}
				call := callOf(blob, entry, env)
				call.Gas = 200_000
				for range 2 {
					res, err := r.Call(context.Background(), call)
					o := outcomeOf(t, res, err)
					if i == 0 {
						want, i = o, 1
					}
					if o != want {
						t.Fatalf("%v on %v: %+v, want %+v", entry, r.Engine(), o, want)
					}
				}
			}
		}
	})
}
