package rewrite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// The canonical NaNs.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8 << 48
)

// bits32 and bits64 are operands: NaNs of both signs, quiet and signalling,
// with payloads, and what arithmetic makes NaNs of.
var (
	bits32 = []uint32{0, 1 << 31, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fa00001, 0xffa00001, 0x7fffffff, 0xffc12345}
	bits64 = []uint64{0, 1 << 63, 0x3ff << 52, 0xbff << 52, 0x7ff << 52, 0xfff << 52, 0x7ff8 << 48, 0xfff8 << 48, 0x7ff4<<48 | 1, 0xfff4<<48 | 1, 1<<63 - 1, 0xfff8<<48 | 0x12345}
)

// floatOp is a function that stores the bits of a float instruction's result
// at address 0, and its two operands, taken as bits.
type floatOp struct {
	name           string
	op             byte
	unary, in, out byte // whether it takes one operand; letters of its types
}

// arithmetic are the instructions that compute NaNs.
func arithmetic() []floatOp {
	ops := []floatOp{{"f32.demote", 0xb6, 1, 'd', 'f'}, {"f64.promote", 0xbb, 1, 'f', 'd'}}
	for op := byte(0x8d); op <= 0x97; op++ {
		ops = append(ops, floatOp{fmt.Sprintf("f32 op %#x", op), op, unaryBelow(op, 0x92), 'f', 'f'})
	}
	for op := byte(0x9b); op <= 0xa5; op++ {
		ops = append(ops, floatOp{fmt.Sprintf("f64 op %#x", op), op, unaryBelow(op, 0xa0), 'd', 'd'})
	}
	return ops
}

func unaryBelow(op, first byte) byte {
	if op < first {
		return 1
	}
	return 0
}

// operand pushes the float whose bits are the i64 parameter i.
func operand(a *wasmtest.Asm, letter byte, i uint32) *wasmtest.Asm {
	if a.Get(i); letter == 'f' {
		return a.Op(0xa7, 0xbe) // i32.wrap_i64, f32.reinterpret_i32
	}
	return a.Op(0xbf)
}

// toBits turns the float on the stack into an i64.
func toBits(a *wasmtest.Asm, letter byte) *wasmtest.Asm {
	if letter == 'f' {
		return a.Op(0xbc, 0xad)
	}
	return a.Op(0xbd)
}

// seen are ways to look at the bits of a float on the stack; each leaves an
// i64. The parameters are two i64, the locals an f32 and an f64.
func seen(letter byte) map[string]func(a *wasmtest.Asm) {
	local, store, load := uint32(2), byte(0x38), byte(0x35)
	if letter == 'd' {
		local, store, load = 3, 0x39, 0x29
	}
	return map[string]func(a *wasmtest.Asm){
		"reinterpreted":       func(a *wasmtest.Asm) { toBits(a, letter) },
		"through a local":     func(a *wasmtest.Asm) { toBits(a.Set(local).Get(local), letter) },
		"through a block":     func(a *wasmtest.Asm) { a.Set(local).Block(letterType(letter)).Get(local).End(); toBits(a, letter) },
		"stored":              func(a *wasmtest.Asm) { a.Set(local).I32(8).Get(local).Mem(store, 0).I32(8).Mem(load, 0) },
		"under another value": func(a *wasmtest.Asm) { toBits(a.I32(5).Op(0x1a), letter) },
		"twice negated": func(a *wasmtest.Asm) {
			neg := byte(0x8c)
			if letter == 'd' {
				neg = 0x9a
			}
			toBits(a.Op(neg, neg), letter)
		},
		"selected": func(a *wasmtest.Asm) { toBits(operand(a, letter, 0).I32(1).Op(0x1b), letter) },
	}
}

func letterType(letter byte) byte {
	if letter == 'f' {
		return module.F32
	}
	return module.F64
}

// floatModule exports f(i64, i64) -> i64.
func floatModule(code *wasmtest.Asm) []byte {
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	m.Export("f", m.Func("ll", "l", "fd", code))
	return m.Bytes()
}

// Every NaN that arithmetic makes has the canonical bits, however the guest
// comes to see them.
func TestCanonicalNaNs(t *testing.T) {
	ctx := context.Background()
	for _, op := range arithmetic() {
		for how, look := range seen(op.out) {
			a := operand(wasmtest.Code(), op.in, 0)
			if op.unary == 0 {
				operand(a, op.in, 1)
			}
			look(a.Op(op.op))
			blob := floatModule(a)
			for engine, rc := range engineConfigs() {
				r := newEngine(ctx, t, rc)
				f, _ := load(ctx, t, r, rewriteTracked(t, blob), "f")
				plain, _ := load(ctx, t, r, blob, "f")
				nans := 0
				for _, args := range operands(op.in) {
					got, err := f.Call(ctx, args[0], args[1])
					if err != nil {
						t.Fatal(err)
					}
					want, err := plain.Call(ctx, args[0], args[1])
					if err != nil {
						t.Fatal(err)
					}
					if isNaN(op.out, want[0]) {
						nans++
						want[0] = map[byte]uint64{'f': nan32, 'd': nan64}[op.out]
					}
					if got[0] != want[0] {
						t.Errorf("%s, %s, %s of %#x: %#x, want %#x", engine, op.name, how, args, got[0], want[0])
					}
				}
				if nans == 0 {
					t.Errorf("%s made no NaN", op.name)
				}
			}
		}
	}
}

// A NaN that leaves a block, a function or the operand stack is canonical, even
// if on another way only arithmetic takes it.
func TestCanonicalNaNsOnEveryWay(t *testing.T) {
	ctx := context.Background()
	const sqrt, add, copysign = 0x9f, 0xa0, 0xa6
	nan := func(a *wasmtest.Asm) *wasmtest.Asm { return a.Get(3).Get(3).Op(0xa3) } // 0/0
	code := wasmtest.Code
	for name, a := range map[string]*wasmtest.Asm{
		"taken by br_if":        nan(code().Block(module.F64)).I32(1).BrIf(0).Op(sqrt).End(),
		"not taken by br_if":    nan(code().Block(module.F64)).I32(0).BrIf(0).Op(sqrt).End(),
		"taken by br":           nan(code().Block(module.F64)).Br(0).Op(sqrt).End(),
		"taken by br_table":     nan(code().Block(module.F64)).I32(0).BrTable(0, 0).End(),
		"at the end of a block": nan(code().Block(module.F64)).End(),
		"in an if":              nan(code().I32(1).If(module.F64)).Else().Get(3).End(),
		"below a block":         nan(code()).Block(wasmtest.Void).End(),
		"kept by tee":           nan(code()).Op(0x22, 3).Op(sqrt, 0x1a).Get(3),
		"copysign's sign":       nan(code().Op(0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f)).Op(copysign),
		"copysign's magnitude":  nan(code()).Get(3).Op(copysign),
		"an argument":           nan(code()).Call(1),
		"a result":              code().Call(2),
		"a global":              nan(code()).GlobalSet(0).GlobalGet(0),
		"below a call":          nan(code()).Call(2).Op(0x1a),
		"added to itself":       nan(code()).Op(0x22, 3).Get(3).Op(add),
	} {
		m := &wasmtest.Module{}
		m.Memory = &module.Size{Min: 1}
		m.Globals = []module.Global{{Type: module.F64, Mutable: true, Init: []byte{0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b}}}
		m.Export("f", m.Func("ll", "l", "fd", toBits(a, 'd')))
		m.Func("d", "d", "", code().Get(0))
		m.Func("", "d", "", code().Get(0).Get(0).Op(0xa3))
		m.Bodies[2] = append([]byte{1, 1, module.F64}, m.Bodies[2][1:]...)
		for engine, rc := range engineConfigs() {
			f, _ := load(ctx, t, newEngine(ctx, t, rc), rewriteTracked(t, m.Bytes()), "f")
			got, err := f.Call(ctx, 0, 0)
			if err != nil {
				t.Fatal(name, err)
			}
			if got[0] != nan64 {
				t.Errorf("%s, %s: %#x", engine, name, got[0])
			}
		}
	}
}

func operands(letter byte) (list [][2]uint64) {
	for i := range bits32 {
		for j := range bits32 {
			if letter == 'f' {
				list = append(list, [2]uint64{uint64(bits32[i]), uint64(bits32[j])})
			} else {
				list = append(list, [2]uint64{bits64[i], bits64[j]})
			}
		}
	}
	return list
}

func isNaN(letter byte, bits uint64) bool {
	if letter == 'f' {
		return uint32(bits)<<1 > 0xff<<24
	}
	return bits<<1 > 0x7ff<<53
}

// What moves bits leaves them as they are, signalling NaNs too.
func TestFloatBitsAreKept(t *testing.T) {
	ctx := context.Background()
	keep := func(x uint64) uint64 { return x }
	for name, c := range map[string]struct {
		letter byte
		code   func(a *wasmtest.Asm) *wasmtest.Asm // takes a float, leaves one
		want   func(bits uint64) uint64
	}{
		"f32 load and store": {'f', func(a *wasmtest.Asm) *wasmtest.Asm {
			return a.Set(2).I32(16).Get(2).Mem(0x38, 0).I32(16).Mem(0x2a, 0)
		}, keep},
		"f64 load and store": {'d', func(a *wasmtest.Asm) *wasmtest.Asm {
			return a.Set(3).I32(16).Get(3).Mem(0x39, 0).I32(16).Mem(0x2b, 0)
		}, keep},
		"f32.abs": {'f', func(a *wasmtest.Asm) *wasmtest.Asm { return a.Op(0x8b) }, func(x uint64) uint64 { return x &^ (1 << 31) }},
		"f32.neg": {'f', func(a *wasmtest.Asm) *wasmtest.Asm { return a.Op(0x8c) }, func(x uint64) uint64 { return x ^ 1<<31 }},
		"f64.abs": {'d', func(a *wasmtest.Asm) *wasmtest.Asm { return a.Op(0x99) }, func(x uint64) uint64 { return x &^ (1 << 63) }},
		"f64.neg": {'d', func(a *wasmtest.Asm) *wasmtest.Asm { return a.Op(0x9a) }, func(x uint64) uint64 { return x ^ 1<<63 }},
		"f32.copysign": {'f', func(a *wasmtest.Asm) *wasmtest.Asm {
			return a.Op(0x43, 0, 0, 0xa0, 0xff, 0x98) // of a negative signalling NaN
		}, func(x uint64) uint64 { return x | 1<<31 }},
		"f64.copysign": {'d', func(a *wasmtest.Asm) *wasmtest.Asm {
			return a.Op(0x44, 0, 0, 0, 0, 0, 0, 0xf4, 0x7f, 0xa6)
		}, func(x uint64) uint64 { return x &^ (1 << 63) }},
		"f32 select": {'f', func(a *wasmtest.Asm) *wasmtest.Asm { return a.Op(0x43, 0, 0, 0, 0).I32(1).Op(0x1b) }, keep},
		"f64 constant": {'d', func(a *wasmtest.Asm) *wasmtest.Asm {
			return a.Op(0x1a).Op(binary.LittleEndian.AppendUint64([]byte{0x44}, 0xfff4<<48|7)...)
		}, func(uint64) uint64 { return 0xfff4<<48 | 7 }},
	} {
		blob := floatModule(toBits(c.code(operand(wasmtest.Code(), c.letter, 0)), c.letter))
		for engine, rc := range engineConfigs() {
			f, _ := load(ctx, t, newEngine(ctx, t, rc), rewriteTracked(t, blob), "f")
			for _, args := range operands(c.letter) {
				got, err := f.Call(ctx, args[0], args[1])
				if err != nil {
					t.Fatal(err)
				}
				if want := c.want(args[0]); got[0] != want {
					t.Errorf("%s, %s of %#x: %#x, want %#x", engine, name, args[0], got[0], want)
				}
			}
		}
	}
}

// floatTypes are function types that differ in floats alone, or in what follows
// them.
var floatTypes = []string{"", "i", "f", "l", "d", "ii", "if", "fi", "ff", "il", "fl", "id", "fd", "iii", "ffi", "iff", "iil"}

// typesModule exports f(type, callee i32) -> i64, which calls a function of the
// table as one of a type, and g(callee), which calls it directly. Each function
// adds up its parameters' bits and its locals; those of even index store.
func typesModule() []byte {
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	m.Global(1000)
	table := module.Elem{}
	for i, params := range floatTypes {
		last := uint32(len(params))
		a := wasmtest.Code().I64(int64(i + 1)).Set(last)
		if i%2 == 0 {
			a.Get(last).Op(0xa7).Tee(last+1).Get(last).Mem(0x37, 16).Get(last+1).Mem(0x29, 16).Set(last)
		}
		a.Get(last)
		for p := range params {
			if a.Get(uint32(p)); params[p] != 'l' {
				widen(a, params[p])
			}
			a.Op(0x7c)
		}
		table.Funcs = append(table.Funcs, m.Func(params, "l", "li", a))
	}
	m.Table = &module.Size{Min: uint32(len(floatTypes))}
	m.Elems = []module.Elem{table}
	for name, code := range map[string]func(a *wasmtest.Asm, i int){
		"f": func(a *wasmtest.Asm, i int) { a.Get(1).CallIndirect(m.Funcs[i]) },
		"g": func(a *wasmtest.Asm, i int) { a.Call(table.Funcs[i]) },
	} {
		a := wasmtest.Code()
		for i, params := range floatTypes {
			a.Get(0).I32(int32(i)).Op(0x46).If(wasmtest.Void)
			for p := range params {
				constant(a, params[p], byte(3*p+1))
			}
			code(a, i)
			a.Op(0x0f).End()
		}
		m.Export(name, m.Func("ii", "l", "", a.I64(-1)))
	}
	return m.Bytes()
}

// widen turns the value on the stack into an i64 of its bits.
func widen(a *wasmtest.Asm, letter byte) {
	if letter == 'i' {
		a.Op(0xad)
		return
	}
	toBits(a, letter)
}

// constant pushes a value of a type whose bits are few.
func constant(a *wasmtest.Asm, letter, v byte) {
	switch letter {
	case 'i':
		a.I32(int32(v))
	case 'l':
		a.I64(int64(v))
	case 'f':
		a.Op(0x43, v, 0, 0, 0)
	default:
		a.Op(0x44, v, 0, 0, 0, 0, 0, 0, 0)
	}
}

// Types that differ in floats alone are told apart by call_indirect, though
// floats are integers then.
func TestFloatTypesAreToldApart(t *testing.T) {
	ctx := context.Background()
	blob := typesModule()
	original := map[string]api.Function{}
	for _, name := range []string{"f", "g"} {
		original[name], _ = load(ctx, t, newEngine(ctx, t, interpreterConfig()), blob, name)
	}
	for engine, rc := range engineConfigs() {
		for variant, bin := range map[string][]byte{"metered": rewriteAll(t, blob), "marked": rewriteTracked(t, blob)} {
			for name, want := range original {
				f, reset := load(ctx, t, newEngine(ctx, t, rc), bin, name)
				for i := range floatTypes {
					for j := range floatTypes {
						want, wantErr := want.Call(ctx, uint64(i), uint64(j))
						got, err := f.Call(ctx, uint64(i), uint64(j))
						reset()
						if (err == nil) != (wantErr == nil) || err == nil && got[0] != want[0] {
							t.Errorf("%s, %s: %s of %q as %q: %v, %v; want %v, %v", engine, variant, name, floatTypes[j], floatTypes[i], got, err, want, wantErr)
						}
						if (name == "f" && i != j) != (err != nil) {
							t.Errorf("%s, %s: %s of %q as %q: %v", engine, variant, name, floatTypes[j], floatTypes[i], err)
						}
					}
				}
			}
		}
	}
}

// What the rewriter leaves in a module's own functions is free of floats, so
// that the engine's register allocator never sees one.
func TestNoFloatsRemain(t *testing.T) {
	for seed := range uint64(64) {
		source := randomModule(seed)
		own, _, refusal := admit(source)
		if refusal != nil {
			t.Fatal(refusal)
		}
		bin := rewriteTracked(t, source)
		m, refusal := module.Parse(bin, &wide)
		if refusal != nil {
			t.Fatal(refusal)
		}
		for i := range m.Codes {
			c := &m.Codes[i]
			for _, run := range c.Locals {
				if i < len(own.Codes) && run.Type != module.Bits(run.Type) {
					t.Errorf("seed %d: function %d has float locals", seed, i)
				}
			}
			floats := 0
			var in module.Instr
			for code := m.Instructions(c, &wide); code.More(); {
				if refusal := code.Next(&in); refusal != nil {
					t.Fatal(refusal)
				}
				if in.Info.Class.Called() {
					floats++
				}
				if i < len(own.Codes) && in.Info.Float {
					t.Errorf("seed %d: function %d has opcode %#x", seed, i, in.Op)
				}
			}
			if floats > 2 { // one, and a comparison with itself
				t.Errorf("seed %d: an added function has %d float instructions", seed, floats)
			}
		}
		for i, typ := range m.Types {
			for _, v := range append(bytes.Clone(typ.Params), typ.Results...) {
				if v != module.Bits(v) {
					t.Errorf("seed %d: type %d has floats", seed, i)
				}
			}
		}
	}
}

// floatWorkloads are functions f(n i64, i64) -> i64 with locals of f32 (2) and
// f64 (3 to 7) that compute for n rounds.
func floatWorkloads() map[string]*wasmtest.Asm {
	round := func(a *wasmtest.Asm) *wasmtest.Asm {
		return a.Get(0).I64(1).Op(0x7d).Tee(0).Op(0x50, 0x45).BrIf(0).End().Get(3).Op(0xbd)
	}
	f64 := func(a *wasmtest.Asm, bits uint64) *wasmtest.Asm {
		return a.Op(binary.LittleEndian.AppendUint64([]byte{0x44}, bits)...)
	}
	code := wasmtest.Code
	horner := f64(code().Loop(wasmtest.Void), 0x3fe<<52) // x = 0.5 + x*(1 + x*(1 + x*(1 - x*x)))/4
	horner.Get(3)
	for range 3 {
		f64(horner, 0x3ff<<52).Get(3)
	}
	horner.Get(3).Op(0xa2, 0xa1, 0xa2, 0xa0, 0xa2, 0xa0, 0xa2)
	f64(horner, 0x3fd<<52).Op(0xa2, 0xa0).Set(3)
	return map[string]*wasmtest.Asm{
		"polynomial": round(horner),
		"orbit": round(code().Loop(wasmtest.Void). // x, y = x*x-y*y+0.25, 2*x*y+0.25: each value is kept in a local
								Get(3).Get(3).Op(0xa2).Set(5).Get(4).Get(4).Op(0xa2).Set(6).
								Get(3).Get(4).Op(0xa2).Set(7).
								Get(5).Get(6).Op(0xa1).Op(0x44, 0, 0, 0, 0, 0, 0, 0xd0, 0x3f, 0xa0).Set(3).
								Get(7).Get(7).Op(0xa0).Op(0x44, 0, 0, 0, 0, 0, 0, 0xd0, 0x3f, 0xa0).Set(4)),
		"sum": round(code().Loop(wasmtest.Void). // of an array: a load, an add
								Get(3).Get(0).Op(0xa7).I32(0xfff8).Op(0x71).Mem(0x2b, 0).Op(0xa0).Set(3)),
	}
}

// BenchmarkFloats is BenchmarkCompute for floats: what canonical NaNs cost,
// with what metering does.
func BenchmarkFloats(b *testing.B) {
	ctx := context.Background()
	for name, code := range floatWorkloads() {
		m := &wasmtest.Module{}
		m.Memory = &module.Size{Min: 1}
		m.Export("f", m.Func("ll", "l", "fddddd", code))
		blob := m.Bytes()
		for variant, bin := range map[string][]byte{"original": blob, "rewritten": rewriteAll(b, blob)} {
			b.Run(name+"/"+variant, func(b *testing.B) {
				f, reset := load(ctx, b, newEngine(ctx, b, compilerConfig()), bin, "f")
				stack := make([]uint64, 2)
				start := cpu(b)
				for b.Loop() {
					reset()
					stack[0], stack[1] = 100_000, 0
					if err := f.CallWithStack(ctx, stack); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
