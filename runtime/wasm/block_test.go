package wasm

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// codesInTurn calls n codes in turn, some rounds, as block execution or not,
// where there is room for one, and counts how often one was loaded.
func codesInTurn(t *testing.T, r *Runtime, block bool, n, rounds int) (loads int) {
	t.Helper()
	before := r.Stats().Loads
	for i := range n * rounds {
		blob := contract(func(m *wasmtest.Module) { m.Datas = append(m.Datas, moduleData(0, fmt.Sprint(i%n))) })
		call := callOf(blob, abi.EntryDecide, noEnv())
		call.Block = block
		if _, err := r.Call(context.Background(), call); err != nil {
			t.Fatal(err)
		}
	}
	return int(r.Stats().Loads - before)
}

// TestBlockKeepsItsCodes: however little room there is, a block loads a code
// once; what it kept is dropped at its end.
func TestBlockKeepsItsCodes(t *testing.T) {
	for _, e := range engines() {
		r, err := New(context.Background(), Config{Engine: e, Protocol: Protocol, PoolBytes: 1, CodeBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close(context.Background())
		const codes = 4
		if n := codesInTurn(t, r, true, codes, 3); n != 3*codes {
			t.Errorf("%v: %d loads outside of a block: the test shows nothing", e, n)
		}
		for range 2 {
			r.BeginBlock()
			if n := codesInTurn(t, r, true, codes, 3); n > codes {
				t.Errorf("%v: a block of %d codes loaded %d", e, codes, n)
			}
			if n := r.Stats().Codes; n != codes {
				t.Errorf("%v: %d codes are kept within the block", e, n)
			}
			r.EndBlock()
			if n := r.Stats().Codes; n > 1 {
				t.Errorf("%v: %d codes are kept behind the block", e, n)
			}
		}
	}
}

// TestDecisionsDoNotKeepCodes: only what block execution runs is kept for it.
func TestDecisionsDoNotKeepCodes(t *testing.T) {
	r, err := New(context.Background(), Config{Engine: EngineInterpreter, Protocol: Protocol, PoolBytes: 1, CodeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	r.BeginBlock()
	if n := codesInTurn(t, r, false, 4, 2); n != 8 {
		t.Errorf("%d loads of codes that no block ran, want 8", n)
	}
}

// TestWaitingForTheCompilerHoldsNoSlot: calls of codes that are not compiled
// do not keep those away that are.
func TestWaitingForTheCompilerHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(t.Context(), Config{Engine: EngineInterpreter, Protocol: Protocol})
		if err != nil {
			t.Fatal(err)
		}
		warm := callOf(echo(), abi.EntryExecute, noEnv())
		if _, err := r.Call(t.Context(), warm); err != nil {
			t.Fatal(err)
		}
		r.compiling <- struct{}{} // the compiler is busy
		cold := callOf(contract(func(m *wasmtest.Module) { m.Datas = append(m.Datas, moduleData(0, "cold")) }), abi.EntryDecide, noEnv())
		done := make(chan error)
		waiting := cap(r.slots) + 1
		for range waiting {
			go func() {
				_, err := r.Call(t.Context(), cold)
				done <- err
			}()
		}
		synctest.Wait()
		if n := len(r.slots); n != 0 {
			t.Errorf("%d slots are held by calls that wait for the compiler", n)
		}
		if _, err := r.Call(t.Context(), warm); err != nil {
			t.Error(err)
		}
		<-r.compiling
		for range waiting {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
