package rewrite_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// generator makes random functions over integers: many live locals, so that
// registers run out, narrow loads, remainders, and chains of and, compare and
// branch. These are what the engine's known faults are made of.
type generator struct {
	*rand.Rand
	a      *wasmtest.Asm
	funcs  uint32 // functions that may be called
	depth  int    // blocks open
	budget int    // statements left
}

const (
	numI32  = 14 // locals 0 to 13; 0 and 1 are parameters
	numI64  = 12 // locals 14 to 25
	counter = 26 // locals 26 to 29 count the rounds of nested loops
)

var (
	binary32  = []byte{0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x71, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78}
	binary64  = []byte{0x7c, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x82, 0x83, 0x83, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a}
	compare32 = []byte{0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f}
	compare64 = []byte{0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a}
	unary32   = []byte{0x67, 0x68, 0x69, 0xc0, 0xc1}
	unary64   = []byte{0x79, 0x7a, 0x7b, 0xc2, 0xc3, 0xc4}
	loads32   = []byte{0x28, 0x2c, 0x2d, 0x2e, 0x2f}
	loads64   = []byte{0x29, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35}
	stores32  = []byte{0x36, 0x3a, 0x3b}
	stores64  = []byte{0x37, 0x3c, 0x3d, 0x3e}
)

func pick[T any](g *generator, list []T) T { return list[g.IntN(len(list))] }

// constants are mostly edges.
func (g *generator) constant() int64 {
	edges := []int64{0, 0, 0, 1, -1, 2, 7, 31, 32, 63, 255, -128, 65535, 1<<31 - 1, -1 << 31, 1 << 32, 1<<63 - 1, -1 << 63}
	if g.IntN(3) == 0 {
		return int64(g.Uint64())
	}
	return pick(g, edges)
}

func (g *generator) local32() uint32 { return uint32(g.IntN(numI32)) }
func (g *generator) local64() uint32 { return uint32(numI32 + g.IntN(numI64)) }

// address pushes an address, mostly within the page.
func (g *generator) address(d int) {
	g.i32(d)
	if g.IntN(200) > 0 {
		g.a.I32(0x7ff8).Op(0x71)
	}
}

// offset is a static offset: small, or around what marks leave out.
func (g *generator) offset() uint32 {
	if g.IntN(8) == 0 {
		return uint32(1016 + g.IntN(16))
	}
	return uint32(g.IntN(8))
}

func (g *generator) i32(d int) {
	if d <= 0 {
		if g.IntN(3) == 0 {
			g.a.I32(int32(g.constant()))
		} else {
			g.a.Get(g.local32())
		}
		return
	}
	switch g.IntN(12) {
	case 0, 1, 2, 3:
		g.i32(d - 1)
		g.i32(d - 2)
		op := pick(g, binary32)
		if op >= 0x6d && op <= 0x70 && g.IntN(40) > 0 {
			g.a.I32(1).Op(0x72) // a divisor other than zero
		}
		g.a.Op(op)
	case 4:
		g.i32(d - 1)
		g.a.Op(pick(g, unary32))
	case 5:
		g.address(d - 1)
		g.a.Mem(pick(g, loads32), uint32(g.IntN(8)))
		if g.IntN(3) == 0 {
			g.a.Op(0x69)
		}
	case 6:
		g.condition(d - 1)
	case 7:
		g.i64(d - 1)
		g.a.Op(0xa7)
	case 8:
		g.i32(d - 1)
		g.i32(d - 1)
		g.condition(d - 1)
		g.a.Op(0x1b)
	case 9:
		g.i32(d - 1)
		g.a.Tee(g.local32())
	case 10:
		g.condition(d - 1)
		g.a.If(module.I32)
		g.i32(d - 1)
		g.a.Else()
		g.i32(d - 1)
		g.a.End()
	default:
		g.i32(0)
	}
}

func (g *generator) i64(d int) {
	if d <= 0 {
		if g.IntN(3) == 0 {
			g.a.I64(g.constant())
		} else {
			g.a.Get(g.local64())
		}
		return
	}
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		g.i64(d - 1)
		g.i64(d - 2)
		op := pick(g, binary64)
		if op >= 0x7f && op <= 0x82 && g.IntN(40) > 0 {
			g.a.I64(1).Op(0x84)
		}
		g.a.Op(op)
	case 4:
		g.i64(d - 1)
		g.a.Op(pick(g, unary64))
	case 5:
		g.address(d - 1)
		g.a.Mem(pick(g, loads64), uint32(g.IntN(8)))
	case 6:
		g.i32(d - 1)
		g.a.Op(pick(g, []byte{0xac, 0xad}))
	case 7:
		g.a.GlobalGet(uint32(g.IntN(2)))
	case 8:
		if g.funcs > 0 {
			g.i32(d - 1)
			g.i32(d - 2)
			g.a.Call(uint32(g.IntN(int(g.funcs))))
			return
		}
		g.i64(d - 1)
	default:
		g.i64(d - 1)
		g.a.Tee(g.local64())
	}
}

// condition pushes an i32 made to be branched on.
func (g *generator) condition(d int) {
	switch g.IntN(6) {
	case 0, 1: // (a & b) compared with zero, either way round
		zeroFirst := g.IntN(2) == 0
		if zeroFirst {
			g.a.I32(0)
		}
		g.i32(d - 1)
		g.i32(d - 2)
		g.a.Op(0x71)
		if !zeroFirst {
			g.a.I32(0)
		}
		g.a.Op(pick(g, compare32))
	case 2:
		zeroFirst := g.IntN(2) == 0
		if zeroFirst {
			g.a.I64(0)
		}
		g.i64(d - 1)
		g.i64(d - 2)
		g.a.Op(0x83)
		if !zeroFirst {
			g.a.I64(0)
		}
		g.a.Op(pick(g, compare64))
	case 3:
		g.i64(d - 1)
		g.i64(d - 2)
		g.a.Op(pick(g, compare64))
	case 4:
		g.i32(d - 1)
		g.a.Op(0x45)
	default:
		g.i32(d - 1)
		g.i32(d - 2)
		g.a.Op(pick(g, compare32))
	}
}

// statements appends statements that leave the operand stack as it was.
func (g *generator) statements(n int) {
	for ; n > 0 && g.budget > 0; n-- {
		g.budget--
		g.statement()
	}
}

func (g *generator) statement() {
	switch g.IntN(12) {
	case 0, 1, 2:
		g.i32(3)
		g.a.Set(g.local32())
	case 3, 4:
		g.i64(3)
		g.a.Set(g.local64())
	case 5:
		g.address(2)
		g.i32(2)
		g.a.Mem(pick(g, stores32), g.offset())
	case 6:
		g.address(2)
		g.i64(2)
		g.a.Mem(pick(g, stores64), g.offset())
	case 7:
		g.i64(2)
		g.a.GlobalSet(uint32(g.IntN(2)))
	default:
		g.structured()
	}
}

func (g *generator) structured() {
	if g.depth == 4 {
		return
	}
	g.depth++
	switch g.IntN(6) {
	case 0, 1:
		g.condition(3)
		g.a.If(wasmtest.Void)
		g.statements(3)
		if g.IntN(2) == 0 {
			g.a.Else()
			g.statements(2)
		}
		g.a.End()
	case 2:
		g.a.Block(wasmtest.Void)
		g.statements(2)
		g.condition(2)
		g.a.BrIf(0)
		g.statements(2)
		g.a.End()
	case 3:
		g.loop()
	case 4:
		g.a.Block(wasmtest.Void).Block(wasmtest.Void).Block(wasmtest.Void)
		g.i32(2)
		g.a.BrTable(0, 1, 2, 1)
		g.statements(1) // unreachable
		g.a.End()
		g.statements(2)
		g.a.End()
		g.statements(1)
		g.a.End()
	case 5:
		if g.IntN(4) == 0 {
			g.condition(1)
			g.a.If(wasmtest.Void)
			g.i64(1)
			g.a.Op(0x0f).End()
		} else {
			g.address(1)
			g.i32(1)
			g.a.I32(int32(g.IntN(300))).Op(0xfc, 11, 0)
		}
	}
	g.depth--
}

// loop runs a few rounds.
func (g *generator) loop() {
	c := uint32(counter + g.depth - 1)
	g.a.I32(int32(1 + g.IntN(5))).Set(c).Loop(wasmtest.Void)
	g.statements(3)
	g.a.Get(c).I32(1).Op(0x6b).Tee(c).BrIf(0).End()
}

const randomFuncs = 6

// randomModule makes a module of functions f0, f1 ... (i32, i32) -> i64, each
// of which may call those before it.
func randomModule(seed uint64) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	m.Exports = append(m.Exports, module.Export{Name: "memory", Kind: module.KindMemory})
	for i := range 2 {
		m.Exports = append(m.Exports, module.Export{Name: fmt.Sprint("g", i), Kind: module.KindGlobal, Index: m.Global(int64(i))})
	}
	for i := range randomFuncs {
		g.a, g.funcs, g.budget = wasmtest.Code(), uint32(i), 40
		for l := uint32(2); l < numI32; l++ {
			g.a.Get(l % 2).I32(int32(2*l + 1)).Op(0x6c).Set(l)
		}
		for l := uint32(numI32); l < counter; l++ {
			g.a.Get(l % 2).Op(0xad).I64(int64(l) * 0x1e3779b97f4a7c15).Op(0x7e).Set(l)
		}
		g.statements(40)
		g.i64(3)
		for l := uint32(2); l < numI32; l++ {
			g.a.Get(l).Op(0xad, 0x85).I64(7).Op(0x89)
		}
		for l := uint32(numI32); l < counter; l++ {
			g.a.Get(l).Op(0x7c)
		}
		locals := strings.Repeat("i", numI32-2) + strings.Repeat("l", numI64) + "iiii"
		m.Export(fmt.Sprint("f", i), m.Func("ii", "l", locals, g.a))
	}
	return m.Bytes()
}

// execution is everything that calls of a module's functions leave behind.
type execution struct {
	results []string
	memory  []byte
	globals [2]uint64
}

// randomGas is more than any of the functions uses.
const randomGas = 1 << 40

// execute calls each function with several arguments in turn.
func execute(ctx context.Context, t testing.TB, r wazero.Runtime, blob []byte) (e execution, gas []int64) {
	t.Helper()
	mod, err := r.InstantiateWithConfig(ctx, blob, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close(ctx)
	for i := range randomFuncs {
		f := mod.ExportedFunction(fmt.Sprint("f", i))
		for _, args := range [][2]uint64{{0, 0}, {1, 0xffffffff}, {0x80000000, 3}, {123456789, 0x7fffffff}} {
			refill(mod, randomGas)
			before := snapshot(mod)
			res, err := f.Call(ctx, args[0], args[1])
			if err == nil && writtenAboveMark(mod, before) {
				t.Errorf("f%d%v wrote above its mark", i, args)
			}
			text := fmt.Sprint(res)
			if err != nil {
				text, _, _ = strings.Cut(err.Error(), "\n")
			}
			e.results = append(e.results, fmt.Sprintf("f%d%v: %s", i, args, text))
			gas = append(gas, refill(mod, randomGas))
		}
	}
	e.memory = snapshot(mod)
	for i := range e.globals {
		e.globals[i] = mod.ExportedGlobal(fmt.Sprint("g", i)).(api.MutableGlobal).Get()
	}
	return e, gas
}

func snapshot(mod api.Module) []byte {
	mem, _ := mod.Memory().Read(0, mod.Memory().Size())
	return bytes.Clone(mem)
}

// writtenAboveMark compares the memory with what it was before a call; false
// for modules that keep no mark.
func writtenAboveMark(mod api.Module, before []byte) bool {
	mark, ok := mod.ExportedGlobal(rewrite.MarkExport).(api.MutableGlobal)
	if !ok {
		return false
	}
	reach := min(uint64(api.DecodeU32(mark.Get()))+rewrite.MarkReach, uint64(len(before)))
	mark.Set(0)
	return !bytes.Equal(before[reach:], snapshot(mod)[reach:])
}

func (e *execution) differs(o *execution) string {
	for i := range e.results {
		if e.results[i] != o.results[i] {
			return e.results[i] + ", want " + o.results[i]
		}
	}
	if !bytes.Equal(e.memory, o.memory) {
		return "memory differs"
	}
	if e.globals != o.globals {
		return "globals differ"
	}
	return ""
}

// compareEngines runs a random module as it is on the interpreter, and
// rewritten on both engines: results, traps, memory and globals must be those
// of the first, and gas equal on the other two.
func compareEngines(ctx context.Context, t testing.TB, compiler, interpreter wazero.Runtime, seed uint64) {
	t.Helper()
	blob := randomModule(seed)
	bin := rewriteAll(t, blob)
	want, _ := execute(ctx, t, interpreter, blob)
	interpreted, gas := execute(ctx, t, interpreter, bin)
	compiled, compiledGas := execute(ctx, t, compiler, bin)
	tracked, trackedGas := execute(ctx, t, compiler, rewriteTracked(t, blob))
	if d := interpreted.differs(&want); d != "" {
		t.Errorf("seed %d, interpreter: %s", seed, d)
	}
	if d := compiled.differs(&want); d != "" {
		t.Errorf("seed %d, compiler: %s", seed, d)
	}
	if d := tracked.differs(&want); d != "" {
		t.Errorf("seed %d, compiler with marks: %s", seed, d)
	}
	if fmt.Sprint(gas) != fmt.Sprint(trackedGas) {
		t.Errorf("seed %d: gas %v with marks, %v without", seed, trackedGas, gas)
	}
	if fmt.Sprint(gas) != fmt.Sprint(compiledGas) {
		t.Errorf("seed %d: gas %v on the compiler, %v on the interpreter", seed, compiledGas, gas)
	}
}

var seeds = flag.Uint64("seeds", 60, "random modules to compare; thousands for a soak")

func TestRandomModules(t *testing.T) {
	ctx := context.Background()
	compiler, interpreter := newEngine(ctx, t, compilerConfig()), newEngine(ctx, t, interpreterConfig())
	for seed := range *seeds {
		compareEngines(ctx, t, compiler, interpreter, seed)
	}
}

func FuzzRandomModules(f *testing.F) {
	ctx := context.Background()
	compiler, interpreter := newEngine(ctx, f, compilerConfig()), newEngine(ctx, f, interpreterConfig())
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { compareEngines(ctx, t, compiler, interpreter, seed) })
}

// The generator must be able to find the fault that the rewriter hides: run
// as they are, some random modules go wrong on the compiler.
func TestRandomModulesFindTheKnownFault(t *testing.T) {
	ctx := context.Background()
	compiler, interpreter := newEngine(ctx, t, compilerConfig()), newEngine(ctx, t, interpreterConfig())
	for seed := range uint64(60) {
		blob := randomModule(seed)
		want, _ := execute(ctx, t, interpreter, blob)
		got, _ := execute(ctx, t, compiler, blob)
		if got.differs(&want) != "" {
			return
		}
	}
	t.Error("60 random modules ran rightly without the rewriter; does the engine still have the fault?")
}
