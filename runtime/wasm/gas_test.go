package wasm

import (
	"context"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

func theRules() *rules { return protocols[Protocol][abi.ProfileWide] }

// Everything that takes time has a price, and nothing else is free but the
// structure of code.
func TestPricesArePositive(t *testing.T) {
	r := theRules()
	free := map[module.Op]bool{module.OpNop: true, module.OpBlock: true, module.OpLoop: true, module.OpElse: true, module.OpEnd: true}
	for op := range module.Op(0xfd00) {
		if op >= 0x100 && op < 0xfc00 {
			continue
		}
		switch price := r.costs.Classes[op.Info().Class]; {
		case op.Info().Class == module.ClassNone:
		case free[op] != (price == 0):
			t.Errorf("opcode %#x costs %d", op, price)
		}
	}
	for name, price := range map[string]int64{
		"charge": int64(r.costs.Charge), "loop": int64(r.costs.Loop), "entry": int64(r.costs.Entry), "local": int64(r.costs.Local),
		"grow": r.costs.Grow, "page grown": r.costs.GrowPage, "bulk": r.costs.Bulk, "start": r.start,
		"call": r.callBase, "page": r.callPage, "byte of input": r.callByte,
	} {
		if price <= 0 {
			t.Errorf("%s costs %d", name, price)
		}
	}
	sized := func(fn abi.HostFunc) bool { return fn != abi.HostNow }
	for fn, cost := range r.host {
		if cost.Base <= 0 || sized(abi.HostFunc(fn)) != (cost.Byte > 0) {
			t.Errorf("%s costs %+v", abi.HostFuncs[fn].Name, cost)
		}
	}
	for _, f := range r.wasi {
		if f.cost.Base <= 0 {
			t.Errorf("%s costs %+v", f.name, f.cost)
		}
	}
}

// Whatever goes round ends when gas does, and uses all of it.
func TestNothingRepeatsForFree(t *testing.T) {
	code := wasmtest.Code
	self := func(m *wasmtest.Module) uint32 { return uint32(m.NumFuncs()) }
	for name, add := range map[string]func(m *wasmtest.Module) *wasmtest.Asm{
		"an empty loop": func(*wasmtest.Module) *wasmtest.Asm { return code().Loop(wasmtest.Void).Br(0).End() },
		"br_if":         func(*wasmtest.Module) *wasmtest.Asm { return code().Loop(wasmtest.Void).I32(1).BrIf(0).End() },
		"br_table":      func(*wasmtest.Module) *wasmtest.Asm { return code().Loop(wasmtest.Void).I32(1).BrTable(0, 0).End() },
		"a loop in a loop": func(*wasmtest.Module) *wasmtest.Asm {
			return code().Loop(wasmtest.Void).Loop(wasmtest.Void).Br(1).End().End()
		},
		"a loop round ifs": func(*wasmtest.Module) *wasmtest.Asm {
			return code().Loop(wasmtest.Void).Get(2).If(wasmtest.Void).Else().End().Br(0).End()
		},
		"a loop of nothing": func(*wasmtest.Module) *wasmtest.Asm {
			return code().Loop(wasmtest.Void).Block(wasmtest.Void).Op(1).End().Br(0).End()
		},
		"a loop of calls of a small function": func(m *wasmtest.Module) *wasmtest.Asm {
			f := m.Func("", "", "", code())
			return code().Loop(wasmtest.Void).Call(f).Br(0).End()
		},
		"calls that double": func(m *wasmtest.Module) *wasmtest.Asm {
			f := m.Func("", "", "", code())
			for range 60 { // 2^60 calls
				f = m.Func("", "", "", code().Call(f).Call(f))
			}
			return code().Call(f)
		},
		"recursion that always returns": func(m *wasmtest.Module) *wasmtest.Asm {
			f := self(m)
			m.Func("i", "", "", code().Get(0).If(wasmtest.Void).
				Get(0).I32(1).Op(0x6b).Call(f).Get(0).I32(1).Op(0x6b).Call(f).End())
			return code().I32(200).Call(f)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := wasmtest.Contract()
			blob := m.Entry(abi.EntryExecute, add(m).I64(0)).Bytes()
			if o := both(t, blob, abi.EntryExecute, 3_000_000, noEnv); o.code != abi.CodeOutOfGas || o.used != 3_000_000 {
				t.Errorf("%+v", o)
			}
		})
	}
}

// What grows with a size has a price that does.
func TestPricedBySize(t *testing.T) {
	code := wasmtest.Code
	r := theRules()
	grow := func(n int32) *wasmtest.Asm { return code().I32(n).Grow().Op(0x1a) }
	state := map[string]string{"a": "small", "b": string(make([]byte, 5000))}
	scan := func(prefix string) *wasmtest.Asm {
		return code().I32(int32(prefix[0])).I32(1).I32(int32(prefix[0])).I32(1).Call(uint32(abi.HostStateScan)).
			I32(1024).I32(8192).Call(uint32(abi.HostScanNext)).Op(0x1a)
	}
	set := func(n int32) *wasmtest.Asm {
		return code().I32('a').I32(1).I32(1024).I32(n).Call(uint32(abi.HostStateSet))
	}
	remove := func(n int32) *wasmtest.Asm { return code().I32(1024).I32(n).Call(uint32(abi.HostStateDelete)) }
	for name, c := range map[string]struct {
		small, large *wasmtest.Asm
		least        int64 // difference
	}{
		"memory.grow": {grow(1), grow(3), 2 * r.costs.GrowPage},
		"memory.copy": {code().I32(0).I32(9).I32(8).Op(0xfc, 10, 0, 0), code().I32(0).I32(9).I32(8008).Op(0xfc, 10, 0, 0), 8000 >> r.costs.BulkShift},
		"memory.fill": {code().I32(0).I32(9).I32(8).Op(0xfc, 11, 0), code().I32(0).I32(9).I32(8008).Op(0xfc, 11, 0), 8000 >> r.costs.BulkShift},
		"scan_next":   {scan("a"), scan("b"), 4990 * r.host[abi.HostScanNext].Byte / 8},
		"state_set":   {set(10), set(1010), 1000 * r.host[abi.HostStateSet].Byte / 8},
		"delete":      {remove(10), remove(110), 100 * r.host[abi.HostStateDelete].Byte / 8},
		"output":      {code().I32(0).Op(0x1a), code().I64(8000).Op(0x0f), 8000 * r.callByte / 8},
	} {
		t.Run(name, func(t *testing.T) {
			used := func(a *wasmtest.Asm) int64 {
				m := wasmtest.Contract(allHost()...)
				m.Datas = []module.Data{moduleData('a', "ab")}
				env := func() Env { return &memEnv{state: state} }
				o := both(t, m.Entry(abi.EntryExecute, a.I64(0)).Bytes(), abi.EntryExecute, 10_000_000, env)
				if o.code != abi.OK {
					t.Fatalf("%+v", o)
				}
				return int64(o.used)
			}
			if d := used(c.large) - used(c.small); d < c.least {
				t.Errorf("costs only %d more, want %d", d, c.least)
			}
		})
	}
}

// allHost lists the host functions in the order of their numbers.
func allHost() (list []abi.HostFunc) {
	for fn := range abi.HostFuncCount {
		list = append(list, fn)
	}
	return list
}

// Input is charged by size before the guest runs, whether it can pay or not.
func TestInputIsPriced(t *testing.T) {
	for _, e := range engines() {
		r := newRuntime(t, e)
		call := callOf(echo(), abi.EntryExecute, noEnv())
		used := func(n int) uint64 {
			call.Input = make([]byte, n)
			res, err := r.Call(context.Background(), call)
			if err != nil {
				t.Fatal(err)
			}
			return res.GasUsed
		}
		// in, and out again
		if d := used(9000) - used(1000); d != 2*8000*GasCallByte/8 {
			t.Errorf("%v: 8,000 bytes cost %d", e, d)
		}
		call.Gas = GasCallBase + GasCallPage + 9000*GasCallByte/8 - 1
		call.Input = make([]byte, 9000)
		res, err := r.Call(context.Background(), call)
		if o := outcomeOf(t, res, err); o.code != abi.CodeOutOfGas || o.used != call.Gas {
			t.Errorf("%v: %+v", e, o)
		}
	}
}

// panicEnv panics whatever it is asked.
type panicEnv struct{ *memEnv }

func (panicEnv) Get([]byte) ([]byte, bool, error)                             { panic("get") }
func (panicEnv) Set([]byte, []byte) error                                     { panic("set") }
func (panicEnv) Delete([]byte) error                                          { panic("delete") }
func (panicEnv) Scan([]byte, []byte) (Iterator, error)                        { panic("scan") }
func (panicEnv) Emit([]byte, []byte) error                                    { panic("emit") }
func (panicEnv) Call(*Scope, string, []byte, uint64) ([]byte, uint64, error)  { panic("call") }
func (panicEnv) Query(*Scope, string, []byte, uint64) ([]byte, uint64, error) { panic("query") }
func (panicEnv) Device(abi.Hash) ([]byte, bool, error)                        { panic("device") }
func (panicEnv) SetDeviceStatus(abi.Hash, abi.Status, []byte) error           { panic("status") }
func (panicEnv) Schedule(int64, []byte) (uint64, error)                       { panic("schedule") }
func (panicEnv) Now() (int64, bool)                                           { panic("now") }
func (panicEnv) Local() ([]byte, bool, error)                                 { panic("local") }
func (panicEnv) SetLocal([]byte) error                                        { panic("set local") }
func (panicEnv) Log(string)                                                   { panic("log") }

// hostCallBlob is a contract that calls one host function, every argument of
// which is 64: a place in the memory, a length, a status that does not exist.
func hostCallBlob(fn abi.HostFunc, entry abi.Entry) []byte {
	m := wasmtest.Contract(fn)
	m.Datas = append(m.Datas, moduleData(64, "abcdefgh-abcdefgh-abcdefgh-abcdefgh-abcdefgh-abcdefgh-abcdefgh-a"))
	a := wasmtest.Code()
	for _, p := range abi.HostFuncs[fn].Params {
		if p == 'l' {
			a.I64(64)
		} else {
			a.I32(64)
		}
	}
	if a.Call(0); abi.HostFuncs[fn].Results != "" {
		a.Op(0x1a)
	}
	return m.Entry(entry, a.I64(0)).Bytes()
}

// A host function is charged for before it does anything: however it ends, its
// price is in what the call used, and a call that cannot pay does not run it.
func TestGasOfHostFunctionsThatFail(t *testing.T) {
	code := func() *memEnv { e := newMemEnv(); e.err = abi.CodeBadArgument; return e }
	fault := func() *memEnv { e := newMemEnv(); e.err = errors.New("disk"); return e }
	for name, env := range map[string]func() Env{
		"code": func() Env { return code() }, "fault": func() Env { return fault() },
		"panic": func() Env { return panicEnv{newMemEnv()} },
	} {
		for fn := range abi.HostFuncCount {
			blob := hostCallBlob(fn, entryFor(fn))
			base := theRules().host[fn].Base
			var first uint64
			for i, e := range engines() {
				r := newRuntime(t, e)
				call := callOf(blob, entryFor(fn), withNested(env()))
				res, _ := r.Call(context.Background(), call)
				least := uint64(GasCallBase + GasCallPage + base)
				if res.GasUsed < least || res.GasUsed > least+4000 {
					t.Errorf("%v, %s, %s: used %d, want %d and little more", e, name, abi.HostFuncs[fn].Name, res.GasUsed, least)
				}
				if i == 0 {
					first = res.GasUsed
				} else if res.GasUsed != first {
					t.Errorf("%s, %s: %v used %d, not %d", name, abi.HostFuncs[fn].Name, e, res.GasUsed, first)
				}
				call.Gas = least - 1
				if res, err := r.Call(context.Background(), call); outcomeOf(t, res, err).code != abi.CodeOutOfGas || res.GasUsed != call.Gas {
					t.Errorf("%v, %s, %s without gas: %+v, %v", e, name, abi.HostFuncs[fn].Name, res, err)
				}
			}
		}
	}
}

// withNested lets an Env of a map answer nested calls with its error.
func withNested(env Env) Env {
	if m, ok := env.(*memEnv); ok {
		m.nested = func(*Scope, bool, string, []byte, uint64) ([]byte, uint64, error) { return nil, 0, m.err }
	}
	return env
}
