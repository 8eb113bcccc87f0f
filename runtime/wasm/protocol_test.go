package wasm

import (
	"context"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// grower grows its memory by a page in each call, and nests a call of itself
// if it is told anything.
func grower() []byte {
	m := wasmtest.Contract(abi.HostQuery)
	m.Datas = append(m.Datas, module.Data{At: 2048, Bytes: []byte("other")})
	code := wasmtest.Code().Get(1).I32(200).Op(0x4a).If(wasmtest.Void). // longer than an input without a message
										I32(2048).I32(5).I32(2048).I32(1).I32(4096).I32(64).Call(0).Op(0x1a).End().
										I32(1).Op(0x40, 0).Op(0x1a).I64(0)
	return m.Entry(abi.EntryExecute, code).Entry(abi.EntryQuery, code).Bytes()
}

// pageMore is how much dearer a page is since version 2.
const pageMore = growPage2 - 20_000

// Contracts of two versions run side by side in one host, each by its rules:
// with and without a cache of native code, whatever ran first.
func TestVersionsSideBySide(t *testing.T) {
	for _, e := range engines() {
		for _, dir := range []string{"", t.TempDir() + "/cache"} {
			r, err := New(t.Context(), Config{Engine: e, CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close(context.Background())
			used := map[uint64]uint64{}
			for _, version := range []uint64{2, 1, 3, 2, 1, 0} {
				call := callOf(grower(), abi.EntryExecute, newMemEnv())
				call.Protocol = version
				res, err := r.Call(t.Context(), call)
				if err != nil {
					t.Fatal(e, version, err)
				}
				if before, again := used[version]; again && before != res.GasUsed {
					t.Errorf("%v, version %d: %d gas, then %d", e, version, before, res.GasUsed)
				}
				used[version] = res.GasUsed
			}
			if used[2]-used[1] != pageMore || used[3] != used[2] || used[0] != used[3] {
				t.Errorf("%v: gas %v, version 2 should take %d more than 1, and 3 as much as 2", e, used, pageMore)
			}
			if n := r.Stats().Codes; n != 3 {
				t.Errorf("%v: %d codes are compiled", e, n)
			}
		}
	}
}

// A nested call runs by the rules of the call around it, whatever it says.
func TestNestedCallsKeepTheVersion(t *testing.T) {
	r, err := New(t.Context(), Config{Engine: EngineInterpreter})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	for _, version := range []uint64{1, 2} {
		inner := uint64(0)
		env := newMemEnv()
		env.nested = func(scope *Scope, _ bool, _ string, _ []byte, gas uint64) ([]byte, uint64, error) {
			call := callOf(grower(), abi.EntryExecute, newMemEnv())
			call.Outer, call.Protocol, call.Gas = scope, 3-version, gas
			res, err := r.Call(scope.Context(), call)
			inner = res.GasUsed
			return res.Output, res.GasUsed, err
		}
		alone := callOf(grower(), abi.EntryExecute, newMemEnv())
		alone.Protocol = version
		want, err := r.Call(t.Context(), alone)
		if err != nil {
			t.Fatal(err)
		}
		outer := callOf(grower(), abi.EntryExecute, env)
		outer.Protocol, outer.Input = version, make([]byte, 300)
		if _, err := r.Call(t.Context(), outer); err != nil {
			t.Fatal(err)
		}
		if inner != want.GasUsed {
			t.Errorf("version %d: the nested call used %d, alone it uses %d", version, inner, want.GasUsed)
		}
	}
}

// A Runtime of an older program runs nothing of a later version: it neither
// admits nor compiles nor calls by it, and none of it is a contract's fault.
func TestOlderProgram(t *testing.T) {
	r, err := New(t.Context(), Config{Engine: EngineInterpreter, Protocol: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	call := callOf(grower(), abi.EntryExecute, newMemEnv())
	call.Protocol = 2
	_, admitErr := r.Admit(2, grower())
	_, callErr := r.Call(t.Context(), call)
	for what, err := range map[string]error{"admit": admitErr, "call": callErr, "compile": r.Compile(t.Context(), 2, call.Code, grower())} {
		var trap *Trap
		var refusal *Refusal
		if !errors.Is(err, abi.CodeUnknownVersion) || errors.As(err, &trap) || errors.As(err, &refusal) {
			t.Errorf("%s by a later version: %v", what, err)
		}
	}
	call.Protocol = 1
	if _, err := r.Call(t.Context(), call); err != nil {
		t.Error(err)
	}
}
