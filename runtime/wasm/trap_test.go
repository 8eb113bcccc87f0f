package wasm

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// trapCases are contracts that end badly, each in its own way.
func trapCases() map[string]struct {
	blob []byte
	want abi.Code
} {
	type c = struct {
		blob []byte
		want abi.Code
	}
	code := wasmtest.Code
	simple := func(a *wasmtest.Asm) []byte {
		return wasmtest.Contract().Entry(abi.EntryExecute, a.I64(0)).Bytes()
	}
	cases := map[string]c{
		"unreachable":        {simple(code().Op(0x00)), abi.CodeUnreachable},
		"i32.div_s by zero":  {simple(code().Get(0).Get(2).Op(0x6d, 0x1a)), abi.CodeDivideByZero},
		"i64.div_u by zero":  {simple(code().I64(7).Get(4).Op(0x80, 0x1a)), abi.CodeDivideByZero},
		"i32.rem_s by zero":  {simple(code().Get(0).Get(2).Op(0x6f, 0x1a)), abi.CodeDivideByZero},
		"i32.rem_u by zero":  {simple(code().Get(0).Get(2).Op(0x70, 0x1a)), abi.CodeDivideByZero},
		"i64.rem_s by zero":  {simple(code().I64(1).Get(4).Op(0x81, 0x1a)), abi.CodeDivideByZero},
		"i64.rem_u by zero":  {simple(code().I64(1).Get(4).Op(0x82, 0x1a)), abi.CodeDivideByZero},
		"i32.div_s overflow": {simple(code().I32(math.MinInt32).I32(-1).Op(0x6d, 0x1a)), abi.CodeIntegerOverflow},
		"i64.div_s overflow": {simple(code().I64(math.MinInt64).I64(-1).Op(0x7f, 0x1a)), abi.CodeIntegerOverflow},
		"load out of bounds": {simple(code().I32(65533).Mem(0x28, 0).Op(0x1a)), abi.CodeOutOfBounds},
		"load far outside":   {simple(code().I32(-1).Mem(0x29, 0xffffffff).Op(0x1a)), abi.CodeOutOfBounds},
		"store out of bounds": {
			simple(code().I32(-4).I32(1).Mem(0x36, 0)), abi.CodeOutOfBounds},
		"memory.copy": {simple(code().I32(65530).I32(0).I32(7).Op(0xfc, 10, 0, 0)), abi.CodeOutOfBounds},
		"memory.fill": {simple(code().I32(65530).I32(1).I32(7).Op(0xfc, 11, 0)), abi.CodeOutOfBounds},
		"loop for ever": {
			simple(code().Loop(wasmtest.Void).Br(0).End()), abi.CodeOutOfGas},
		"loop with if for ever": {
			simple(code().Loop(wasmtest.Void).Get(0).If(wasmtest.Void).Br(1).End().Br(0).End()), abi.CodeOutOfGas},
		"loop by br_table for ever": {
			simple(code().Loop(wasmtest.Void).Get(0).BrTable(0, 0, 0).End()), abi.CodeOutOfGas},
		"grow for ever": {
			simple(code().Loop(wasmtest.Void).I32(1).Grow().Op(0x1a).Br(0).End()), abi.CodeMemoryLimit},
		"grow by 4 GiB": {simple(code().I32(-1).Grow().Op(0x1a)), abi.CodeMemoryLimit},
	}
	cases["recurse for ever"] = c{recursive(abi.EntryExecute, ""), abi.CodeStackLimit}
	cases["recurse with wide frames"] = c{recursive(abi.EntryExecute, strings.Repeat("l", 90)), abi.CodeStackLimit}
	cases["recurse through the table"] = c{tableContract(code().Get(0).Get(1).I32(2).CallIndirect(2)), abi.CodeStackLimit}
	cases["indirect call of nothing"] = c{tableContract(code().Get(0).Get(1).I32(0).CallIndirect(2)), abi.CodeBadIndirectCall}
	cases["indirect call outside"] = c{tableContract(code().Get(0).Get(1).I32(5).CallIndirect(2)), abi.CodeBadIndirectCall}
	cases["indirect call far outside"] = c{tableContract(code().Get(0).Get(1).I32(-1).CallIndirect(2)), abi.CodeBadIndirectCall}
	cases["indirect call mistyped"] = c{tableContract(code().Get(0).Get(1).I32(1).CallIndirect(2)), abi.CodeBadIndirectCall}
	return cases
}

// recursive is a contract whose entry calls itself.
func recursive(e abi.Entry, locals string) []byte {
	m := wasmtest.Contract()
	self := uint32(m.NumFuncs())
	m.Export(e.String(), m.Func("ii", "l", locals, wasmtest.Code().Get(0).Get(1).Call(self)))
	return m.Bytes()
}

// tableContract has a table [null, alloc, execute, null, null] and the types
// alloc 0, padding 1, execute 2.
func tableContract(execute *wasmtest.Asm) []byte {
	m := wasmtest.Contract()
	m.Type("", "")
	m.Entry(abi.EntryExecute, execute)
	m.Table = &module.Size{Min: 5}
	m.Elems = []module.Elem{{At: 1, Funcs: []uint32{0, 1}}}
	return m.Bytes()
}

func TestTraps(t *testing.T) {
	for name, c := range trapCases() {
		t.Run(name, func(t *testing.T) {
			o := both(t, c.blob, abi.EntryExecute, 1_000_000, noEnv)
			if o.code != c.want {
				t.Fatalf("code %v, want %v", o.code, c.want)
			}
			if o.used == 0 || o.used > 1_000_000 || o.out != "" {
				t.Fatalf("%+v", o)
			}
			if o.code == abi.CodeOutOfGas && o.used != 1_000_000 {
				t.Fatalf("out of gas after %d of 1000000", o.used)
			}
		})
	}
}

// A contract pays for what it executed before it trapped, wherever that was.
func TestGasIsChargedOnTraps(t *testing.T) {
	loop := func(rounds int32) []byte {
		a := wasmtest.Code().I32(rounds).Set(2).
			Loop(wasmtest.Void).Get(2).I32(1).Op(0x6b).Tee(2).BrIf(0).End().
			Op(0x00).I64(0)
		return wasmtest.Contract().Entry(abi.EntryExecute, a).Bytes()
	}
	few := both(t, loop(10), abi.EntryExecute, 1<<30, noEnv)
	many := both(t, loop(100_010), abi.EntryExecute, 1<<30, noEnv)
	if few.code != abi.CodeUnreachable || many.code != abi.CodeUnreachable {
		t.Fatal(few, many)
	}
	if more := many.used - few.used; more < 100_000 || more%100_000 != 0 {
		t.Fatalf("100000 rounds cost %d", more)
	}
}

// The exact gas of a call is enough for it, and one unit less is not.
func TestGasIsExact(t *testing.T) {
	a := wasmtest.Code().I32(1000).Set(2).
		Loop(wasmtest.Void).I32(0).Get(2).Mem(0x36, 0).Get(2).I32(1).Op(0x6b).Tee(2).BrIf(0).End().
		I64(0)
	blob := wasmtest.Contract().Entry(abi.EntryExecute, a).Bytes()
	used := both(t, blob, abi.EntryExecute, 1<<30, noEnv).used
	if o := both(t, blob, abi.EntryExecute, used, noEnv); o.code != abi.OK || o.used != used {
		t.Fatalf("with exactly %d: %+v", used, o)
	}
	if o := both(t, blob, abi.EntryExecute, used-1, noEnv); o.code != abi.CodeOutOfGas || o.used != used-1 {
		t.Fatalf("with one less than %d: %+v", used, o)
	}
	for _, gas := range []uint64{0, 1, GasCallBase, GasCallBase + GasCallPage, GasCallBase + GasCallPage + 1} {
		if o := both(t, blob, abi.EntryExecute, gas, noEnv); o.code != abi.CodeOutOfGas || o.used != gas {
			t.Fatalf("with %d: %+v", gas, o)
		}
	}
}

// The stack limit comes at the same depth on both engines: 250 frames.
func TestStackLimitDepth(t *testing.T) {
	counted := func(depth int32) []byte {
		m := wasmtest.Contract()
		self := uint32(m.NumFuncs())
		m.Func("i", "", "", wasmtest.Code().Get(0).If(wasmtest.Void).Get(0).I32(1).Op(0x6b).Call(self).End())
		return m.Entry(abi.EntryExecute, wasmtest.Code().I32(depth).Call(self).I64(0)).Bytes()
	}
	frames := int32(module.Lean.Frames)
	if o := both(t, counted(frames-2), abi.EntryExecute, 1<<30, noEnv); o.code != abi.OK {
		t.Fatal(o)
	}
	if o := both(t, counted(frames-1), abi.EntryExecute, 1<<30, noEnv); o.code != abi.CodeStackLimit {
		t.Fatal(o)
	}
}

func TestTrapNamesTheFunction(t *testing.T) {
	m := wasmtest.Contract()
	inner := m.Func("", "", "", wasmtest.Code().I32(1).I32(0).Op(0x6f, 0x1a))
	outer := m.Func("", "", "", wasmtest.Code().Call(inner))
	blob := m.Entry(abi.EntryExecute, wasmtest.Code().Call(outer).I64(0)).Bytes()
	for _, e := range engines() {
		r := newRuntime(t, e)
		for module, want := range map[string]string{
			string(blob): "function 1",
			string(wasmtest.Name(blob, map[uint32]string{inner: "divide"})): `"divide"`,
			// A panic of Go ends in its runtime: that names nobody's mistake.
			string(wasmtest.Name(blob, map[uint32]string{inner: "runtime.abort", outer: "main.onExecute"})): `"main.onExecute"`,
			// So does one of Rust, and an abort in its SDK.
			string(wasmtest.Name(blob, map[uint32]string{inner: "rust_begin_unwind", outer: "_ZN4evil3run17hd655438020cfb849E"})):                         `"evil::run"`,
			string(wasmtest.Name(blob, map[uint32]string{inner: "_ZN7postern4host5abort17h7c5e1d0c3f2b4a69E", outer: "_RNvCs1234_4evil3run"})):            `"evil::run"`,
			string(wasmtest.Name(blob, map[uint32]string{inner: "_RNvNtCs1_4core9panicking5panic", outer: "_ZN3std2rt17hd655438020cfb849E", 0: "alloc"})): `function 3`,
		} {
			_, err := r.Call(context.Background(), callOf([]byte(module), abi.EntryExecute, noEnv()))
			var trap *Trap
			if !errors.As(err, &trap) || trap.Func != want {
				t.Errorf("%v: %v, want %s", e, err, want)
			}
		}
	}
}

// What Rust's SDK logs of a panic is the text of the trap that follows; other
// words, and those of another trap's call, are not.
func TestTrapTellsLastWords(t *testing.T) {
	const panicked = "panicked at 'index out of bounds', src/lib.rs:7:9"
	says := func(words string) []byte {
		m := wasmtest.Contract(abi.HostLog)
		m.Datas = []module.Data{moduleData(1024, words)}
		return m.Entry(abi.EntryExecute, wasmtest.Code().I32(1024).I32(int32(len(words))).Call(0).Op(0x00)).Bytes()
	}
	long := "panicked at " + strings.Repeat("\u00fc", abi.MaxAbortText)
	for _, e := range engines() {
		r := newRuntime(t, e)
		for words, want := range map[string]string{
			panicked:          panicked,
			"all is well":     "",
			long:              long[:abi.MaxAbortText],
			"not " + panicked: "",
		} {
			_, err := r.Call(context.Background(), callOf(says(words), abi.EntryExecute, noEnv()))
			var trap *Trap
			if !errors.As(err, &trap) || trap.Code != abi.CodeUnreachable || trap.Text != want {
				t.Errorf("%v: %v, want %q", e, err, want)
			}
		}
	}
}
