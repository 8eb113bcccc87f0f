package wasm

import (
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// The calibration compares what code costs with what it is charged. A kernel
// is a loop around many copies of one instruction, or of a pattern that is
// dearer than its instructions; its figure is CPU time for a unit of gas.

var calibrationRounds = flag.Int("rounds", 5, "measurements of each row of the calibration, of which the least counts")

// row is one measurement.
type row struct {
	group, name string
	ns          float64 // CPU time of one operation
	gas         float64 // its price
}

func (r row) perGas() float64 { return r.ns / r.gas }

// calibration is what the rule is about: the dearest instruction, host
// function or call against the median. Patterns stand beside it.
type calibration struct {
	median         float64
	worst, pattern row
}

func summary(rows []row) (c calibration) {
	var rates []float64
	for _, r := range rows {
		if r.group == "pattern" {
			if c.pattern.name == "" || r.perGas() > c.pattern.perGas() {
				c.pattern = r
			}
			continue
		}
		rates = append(rates, r.perGas())
		if c.worst.name == "" || r.perGas() > c.worst.perGas() {
			c.worst = r
		}
	}
	slices.Sort(rates)
	c.median = rates[len(rates)/2]
	return c
}

// report logs the rows, dearest first, and reports the summary.
func report(b *testing.B, rows []row) {
	c := summary(rows)
	slices.SortFunc(rows, func(x, y row) int { return cmp.Compare(y.perGas(), x.perGas()) })
	if testing.Verbose() {
		for _, r := range rows {
			b.Logf("%-9s %-34s %11.2f ns %12.3f gas %8.3f ns/gas %6.2f",
				r.group, r.name, r.ns, r.gas, r.perGas(), r.perGas()/c.median)
		}
	}
	b.Logf("dearest: %s; dearest pattern: %s", c.worst.name, c.pattern.name)
	b.ReportMetric(c.median, "median-ns/gas")
	b.ReportMetric(c.worst.perGas()/c.median, "worst/median")
	b.ReportMetric(c.pattern.perGas()/c.median, "pattern/median")
	b.ReportMetric(0, "ns/op")
}

// kernel is a module whose function f(n i32) runs its code n times.
type kernel struct {
	group, name string
	ops         int // copies of the operation in one round
	module      *wasmtest.Module
}

const copies = 64

// Locals of a kernel's function: 0 is n, then the values that an operation
// works on and the operands that stay as they are, by type.
var (
	value   = map[byte]uint32{'i': 1, 'l': 2, 'f': 3, 'd': 4}
	operand = map[byte]uint32{'i': 5, 'l': 6, 'f': 7, 'd': 8}
)

const kernelLocals = "ilfdilfdiill"

// loop makes f of a module: setup, then n rounds of body.
func loop(m *wasmtest.Module, setup, body *wasmtest.Asm) *wasmtest.Module {
	a := wasmtest.Code().Op(setup.Bytes...).Loop(wasmtest.Void).Op(body.Bytes...).
		Get(0).I32(1).Op(0x6b).Tee(0).BrIf(0).End().Get(value['l'])
	m.Export("f", m.Func("i", "l", kernelLocals, a))
	return m
}

// unrolled repeats an operation.
func unrolled(group, name string, m *wasmtest.Module, setup *wasmtest.Asm, op func(a *wasmtest.Asm, i int)) kernel {
	body := wasmtest.Code()
	for i := range copies {
		op(body, i)
	}
	if m.Memory == nil {
		m.Memory = &module.Size{Min: 1}
	}
	m.Datas = append(m.Datas, module.Data{At: valuesAt, Bytes: valueBytes()})
	return kernel{group, name, copies, loop(m, setup, body)}
}

// valuesAt is where a kernel's memory holds what its locals begin with.
const valuesAt = 1024

// kernelValues are integers with all bits in use, divisors that keep them so,
// floats that stay finite. They lie in the memory, so that the compiler cannot
// know them.
var kernelValues = []struct {
	local uint32
	load  byte
	bits  uint64
}{
	{value['i'], 0x28, 0x7abcdef1}, {operand['i'], 0x28, 1},
	{value['l'], 0x29, 0x7abcdef123456789}, {operand['l'], 0x29, 1},
	{value['f'], 0x2a, 0x3f8ccccd}, {operand['f'], 0x2a, 0x3f800000}, // 1.1 and 1
	{value['d'], 0x2b, 0x3ff199999999999a}, {operand['d'], 0x2b, 0x3ff0000000000000},
}

// values sets the locals.
func values() *wasmtest.Asm {
	a := wasmtest.Code()
	for i, v := range kernelValues {
		a.I32(valuesAt+8*int32(i)).Mem(v.load, 0).Set(v.local)
	}
	return a
}

func valueBytes() (b []byte) {
	for _, v := range kernelValues {
		b = binary.LittleEndian.AppendUint64(b, v.bits)
	}
	return b
}

// sink stores a value of a type.
var sink = map[byte]byte{'i': 0x36, 'l': 0x37, 'f': 0x38, 'd': 0x39}

// opcodeKernels has one kernel for each instruction whose operands the table
// of opcodes names: each works on what the one before left.
func opcodeKernels() (list []kernel) {
	for op := module.Op(0); op < 0xfc0c; op++ {
		info := op.Info()
		if info.Class == module.ClassNone || info.Push == "" && info.Class != module.ClassStore ||
			op == module.OpMemoryGrow || op >= 0x100 && op < 0xfc00 {
			continue
		}
		setup := values()
		memory := info.Class == module.ClassLoad || info.Class == module.ClassStore
		if memory {
			setup.I32(64).Set(value['i'])
		}
		chained := info.Pop != "" && info.Push == info.Pop[:1]
		list = append(list, unrolled("opcode", opName(op), &wasmtest.Module{}, setup, func(a *wasmtest.Asm, i int) {
			if info.Push != "" && !chained {
				a.I32(int32(8 * i)) // where the result goes, so that somebody wants it
			}
			for i := range len(info.Pop) {
				from := operand
				if i == 0 {
					from = value
				}
				a.Get(from[info.Pop[i]])
			}
			opcode(a, op)
			if memory {
				a.Op(0, 0)
			}
			if chained {
				a.Set(value[info.Push[0]])
			} else if info.Push != "" {
				a.Mem(sink[info.Push[0]], 0)
			}
		}))
	}
	return list
}

// opcode appends an opcode with those immediates that are always the same.
func opcode(a *wasmtest.Asm, op module.Op) {
	if op >= 0xfc00 {
		a.Op(0xfc, byte(op))
		return
	}
	a.Op(byte(op))
	switch op {
	case module.OpI32Const, module.OpI64Const:
		a.Op(5)
	case module.OpF32Const:
		a.Op(0, 0, 0x80, 0x3f)
	case module.OpF64Const:
		a.Op(0, 0, 0, 0, 0, 0, 0xf0, 0x3f)
	case module.OpMemorySize:
		a.Op(0)
	}
}

// structureKernels has a kernel for each instruction without operands of its
// own: locals, globals, blocks, branches, calls.
func structureKernels() (list []kernel) {
	add := func(name string, m *wasmtest.Module, op func(a *wasmtest.Asm, i int)) {
		list = append(list, unrolled("structure", name, m, values(), op))
	}
	plain := func() *wasmtest.Module { return &wasmtest.Module{} }
	add("local.get, drop", plain(), func(a *wasmtest.Asm, _ int) { a.Get(1).Op(0x1a) })
	add("i32.const, drop", plain(), func(a *wasmtest.Asm, i int) { a.I32(int32(i)).Op(0x1a) })
	add("i64.const, drop", plain(), func(a *wasmtest.Asm, i int) { a.I64(int64(i) << 40).Op(0x1a) })
	add("f64.const, drop", plain(), func(a *wasmtest.Asm, i int) { a.Op(0x44, 1, 2, 3, 4, 5, 6, 7, byte(i)).Op(0x1a) })
	add("local.get, local.set", plain(), func(a *wasmtest.Asm, i int) { a.Get(uint32(1 + i%2*8)).Set(uint32(9 + i%2)) })
	add("local.get, local.tee, drop", plain(), func(a *wasmtest.Asm, _ int) { a.Get(1).Tee(5).Op(0x1a) })
	add("select", plain(), func(a *wasmtest.Asm, _ int) { a.Get(2).Get(6).Get(1).Op(0x1b).Set(2) })
	add("select of f64", plain(), func(a *wasmtest.Asm, _ int) { a.Get(4).Get(8).Get(1).Op(0x1b).Set(4) })
	add("nop", plain(), func(a *wasmtest.Asm, _ int) { a.Op(0x01) })
	add("block", plain(), func(a *wasmtest.Asm, _ int) { a.Block(wasmtest.Void).End() })
	add("loop", plain(), func(a *wasmtest.Asm, _ int) { a.Loop(wasmtest.Void).End() })
	add("if taken", plain(), func(a *wasmtest.Asm, _ int) { a.Get(5).If(wasmtest.Void).End() })
	add("if else, not taken", plain(), func(a *wasmtest.Asm, _ int) {
		a.Get(5).Op(0x45).If(wasmtest.Void).Get(1).Set(9).Else().Get(5).Set(9).End()
	})
	add("br", plain(), func(a *wasmtest.Asm, _ int) { a.Block(wasmtest.Void).Br(0).End() })
	add("br_if taken", plain(), func(a *wasmtest.Asm, _ int) { a.Block(wasmtest.Void).Get(5).BrIf(0).End() })
	add("br_if not taken", plain(), func(a *wasmtest.Asm, _ int) { a.Block(wasmtest.Void).Get(5).Op(0x45).BrIf(0).End() })
	add("br_table", plain(), func(a *wasmtest.Asm, _ int) {
		a.Block(wasmtest.Void).Block(wasmtest.Void).Block(wasmtest.Void).Get(5).BrTable(0, 1, 2).End().End().End()
	})
	globals := func() *wasmtest.Module { m := plain(); m.Global(3); return m }
	add("global.get", globals(), func(a *wasmtest.Asm, _ int) { a.GlobalGet(0).Set(2) })
	add("global.set", globals(), func(a *wasmtest.Asm, _ int) { a.Get(2).GlobalSet(0) })
	for _, k := range calledFuncs() {
		m := plain()
		f := k.add(m)
		add("call: "+k.name, m, func(a *wasmtest.Asm, _ int) { k.call(a, f) })
	}
	return list
}

// calledFunc is a function and how to call it.
type calledFunc struct {
	name string
	add  func(m *wasmtest.Module) uint32
	call func(a *wasmtest.Asm, f uint32)
}

func calledFuncs() []calledFunc {
	code := wasmtest.Code
	call := func(a *wasmtest.Asm, f uint32) { a.Call(f) }
	locals := func(n int) string { return string(slices.Repeat([]byte{'l'}, n)) }
	return []calledFunc{
		{"leaf", func(m *wasmtest.Module) uint32 { return m.Func("", "", "", code()) }, call},
		{"leaf, returns early", func(m *wasmtest.Module) uint32 { return m.Func("", "", "", code().Op(0x0f)) }, call},
		{"one deeper", func(m *wasmtest.Module) uint32 {
			f := m.Func("", "", "", code())
			return m.Func("", "", "", code().Call(f))
		}, call},
		{"16 parameters", func(m *wasmtest.Module) uint32 { return m.Func("llllllllllllllll", "l", "", code().Get(3)) },
			func(a *wasmtest.Asm, f uint32) {
				for range 16 {
					a.Get(2)
				}
				a.Call(f).Set(2)
			}},
		{"100 locals", func(m *wasmtest.Module) uint32 { return m.Func("", "", locals(100), code()) }, call},
		{"100 locals in use", func(m *wasmtest.Module) uint32 {
			a := code()
			for i := range uint32(100) {
				a.Get(i).Set((i + 1) % 100)
			}
			return m.Func("", "", locals(100), a)
		}, call},
		{"recursion, 200 deep", func(m *wasmtest.Module) uint32 {
			self := uint32(m.NumFuncs())
			return m.Func("i", "", "", code().Get(0).If(wasmtest.Void).Get(0).I32(1).Op(0x6b).Call(self).End())
		}, func(a *wasmtest.Asm, f uint32) { a.I32(200).Call(f) }},
		{"indirect", func(m *wasmtest.Module) uint32 {
			f := m.Func("", "", "", code())
			table(m, f)
			return f
		}, func(a *wasmtest.Asm, f uint32) { a.I32(0).CallIndirect(0) }},
	}
}

// table gives m a table of functions.
func table(m *wasmtest.Module, funcs ...uint32) {
	m.Table = &module.Size{Min: uint32(len(funcs)), Max: uint32(len(funcs)), HasMax: true}
	m.Elems = []module.Elem{{Funcs: funcs}}
}

// bulkKernels copy and fill by size, and ask for the memory to grow by none.
func bulkKernels() (list []kernel) {
	m := func() *wasmtest.Module {
		m := &wasmtest.Module{}
		m.Memory = &module.Size{Min: 16}
		return m
	}
	for _, n := range []int32{0, 8, 64, 1 << 10, 64 << 10, 256 << 10} {
		list = append(list,
			unrolled("bulk", fmt.Sprintf("memory.copy %d", n), m(), values(), func(a *wasmtest.Asm, i int) {
				a.I32(int32(i&1)).I32(512<<10).I32(n).Op(0xfc, 10, 0, 0)
			}),
			unrolled("bulk", fmt.Sprintf("memory.fill %d", n), m(), values(), func(a *wasmtest.Asm, _ int) {
				a.I32(1).I32(7).I32(n).Op(0xfc, 11, 0)
			}))
	}
	return append(list, unrolled("bulk", "memory.grow 0", m(), values(), func(a *wasmtest.Asm, _ int) {
		a.I32(0).Grow().Op(0x1a)
	}))
}

// random appends a step of a generator of random bits in local 11 (an i64).
func random(a *wasmtest.Asm) *wasmtest.Asm {
	return a.Get(11).I64(6364136223846793005).Op(0x7e).I64(1442695040888963407).Op(0x7c).Set(11)
}

// randomBits pushes n random bits as an i32, at most 16.
func randomBits(a *wasmtest.Asm, n int) *wasmtest.Asm {
	return random(a).Get(11).I64(int64(64-n)).Op(0x88, 0xa7)
}

// patternKernels are dearer than the sum of what they are made of: they miss
// caches, those of memory and of code as large as a profile admits, and what
// the processor predicts.
func patternKernels(l *module.Limits) (list []kernel) {
	add := func(name string, m *wasmtest.Module, op func(a *wasmtest.Asm, i int)) {
		list = append(list, unrolled("pattern", name, m, values(), op))
	}
	plain := func() *wasmtest.Module { return &wasmtest.Module{} }
	add("unpredictable if", plain(), func(a *wasmtest.Asm, _ int) {
		randomBits(a, 1).If(wasmtest.Void).Get(6).Set(2).End()
	})
	add("unpredictable br_if", plain(), func(a *wasmtest.Asm, _ int) {
		a.Block(wasmtest.Void)
		randomBits(a, 1).BrIf(0).Get(6).Set(2).End()
	})
	add("unpredictable br_table", plain(), func(a *wasmtest.Asm, _ int) {
		for range 8 {
			a.Block(wasmtest.Void)
		}
		randomBits(a, 3).BrTable(0, 1, 2, 3, 4, 5, 6, 7)
		for i := range 8 {
			a.End().I32(int32(i)).Set(1)
		}
	})
	indirect := plain()
	funcs := make([]uint32, 64)
	for i := range funcs {
		funcs[i] = indirect.Func("", "l", "", wasmtest.Code().I64(int64(i)))
	}
	table(indirect, funcs...)
	add("unpredictable call_indirect", indirect, func(a *wasmtest.Asm, _ int) { randomBits(a, 6).CallIndirect(0).Set(2) })
	for _, op := range []byte{0x6d, 0x6e, 0x6f, 0x70} {
		add("chain of "+opName(module.Op(op)), plain(), func(a *wasmtest.Asm, _ int) {
			a.Get(1).Get(5).Op(op).I32(0x70000001).Op(0x72).Set(1)
		})
	}
	for _, op := range []byte{0x7f, 0x80, 0x81, 0x82} {
		add("chain of "+opName(module.Op(op)), plain(), func(a *wasmtest.Asm, _ int) {
			a.Get(2).Get(6).Op(op).I64(0x7000000000000001).Op(0x84).Set(2)
		})
	}
	pages := uint32(l.MemoryPages)
	for name, op := range map[string]func(a *wasmtest.Asm, pages uint32){"load": loadAnywhere, "store": storeAnywhere, "memory.copy": copyAnywhere} {
		m := plain()
		m.Memory = &module.Size{Min: pages}
		add(fmt.Sprintf("%s anywhere in %d pages", name, pages), m, func(a *wasmtest.Asm, _ int) { op(a, pages) })
	}
	return append(list, farCalls(l), farIndirect(l), farBranches(l))
}

// somewhere pushes a random address.
func somewhere(a *wasmtest.Asm, pages uint32) *wasmtest.Asm {
	return random(a).Get(11).I64(32).Op(0x88, 0xa7).Get(1).Op(0x6a).I32(int32(pages<<16 - 4)).Op(0x71)
}

// loadAnywhere loads from a random address, which depends on the load before,
// so that none may begin before that ends.
func loadAnywhere(a *wasmtest.Asm, pages uint32) { somewhere(a, pages).Mem(0x28, 0).Set(1) }

func storeAnywhere(a *wasmtest.Asm, pages uint32) { somewhere(a, pages).Get(1).Mem(0x36, 0) }

// copyAnywhere copies a word from a random address, which depends on the word
// copied before.
func copyAnywhere(a *wasmtest.Asm, pages uint32) {
	a.I32(0)
	somewhere(a, pages).I32(4).Op(0xfc, 10, 0, 0).I32(0).Mem(0x28, 0).Set(1)
}

// farFuncs adds as many functions as the profile admits, which fill the largest
// blob with code that no call runs through.
func farFuncs(m *wasmtest.Module, l *module.Limits) []uint32 {
	funcs := make([]uint32, l.Funcs-32)
	size := l.Blob / len(funcs) * 7 / 8
	typ := m.Type("i", "l")
	for i := range funcs {
		a := wasmtest.Code().Get(0).If(wasmtest.Void).Loop(wasmtest.Void).End() // no brief function has a loop
		for len(a.Bytes) < size {
			a.Get(0).Mem(0x28, 0).Op(0x1a)
		}
		m.Funcs = append(m.Funcs, typ)
		m.Bodies = append(m.Bodies, append(append([]byte{0}, a.End().I64(int64(i)).Bytes...), 0x0b))
		funcs[i] = uint32(m.NumFuncs() - 1)
	}
	return funcs
}

// farCalls calls all functions of a large module, each far from the one before.
func farCalls(l *module.Limits) kernel {
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	funcs := farFuncs(m, l)
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(funcs))
	round := wasmtest.Code()
	for part := range slices.Chunk(order, min(l.Calls, 1000)) {
		a := wasmtest.Code()
		for _, i := range part {
			a.I32(0).Call(funcs[i]).Op(0x1a)
		}
		round.Call(m.Func("", "", "", a))
	}
	return kernel{"pattern", fmt.Sprintf("calls all over %d functions", len(funcs)), len(funcs), loop(m, wasmtest.Code(), round)}
}

// farBranches runs through the largest blob by branches that leave most of the
// code out.
func farBranches(l *module.Limits) kernel {
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	round, ops := wasmtest.Code(), 0
	typ := m.Type("i", "")
	for room := l.Blob * 7 / 8; room > l.Body; {
		a := wasmtest.Code()
		for range min(l.Blocks, l.Body/32) - 8 {
			a.Get(0).If(wasmtest.Void).Get(0).Mem(0x28, 0).Op(0x1a).Get(0).Mem(0x28, 0).Op(0x1a).End()
			ops++
		}
		m.Funcs = append(m.Funcs, typ)
		m.Bodies = append(m.Bodies, append(append([]byte{0}, a.Bytes...), 0x0b))
		round.I32(0).Call(uint32(m.NumFuncs() - 1))
		room -= len(a.Bytes)
	}
	return kernel{"pattern", "branches all over a blob", ops, loop(m, wasmtest.Code(), round)}
}

// farIndirect calls functions of a large module at random.
func farIndirect(l *module.Limits) kernel {
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	funcs := farFuncs(m, l)
	n := bits.Len(uint(min(len(funcs), l.Table))) - 1
	table(m, funcs[:1<<n]...)
	round := wasmtest.Code()
	for range copies {
		round.I32(0)
		randomBits(round, n).CallIndirect(m.Type("i", "l")).Set(2)
	}
	return kernel{"pattern", fmt.Sprintf("call_indirect all over %d functions", 1<<n), copies, loop(m, wasmtest.Code(), round)}
}

// allKernels lists what runs within a guest.
func allKernels(l *module.Limits) []kernel {
	return slices.Concat(opcodeKernels(), structureKernels(), bulkKernels(), patternKernels(l))
}

// kernelLimits admit every kernel, floats included.
func kernelLimits() *module.Limits {
	l := module.Wide
	l.Body, l.Blocks, l.Branches, l.Loops, l.Calls, l.Accesses = 1<<20, 1<<20, 1<<20, 1<<20, 1<<20, 1<<20
	l.Floats, l.FloatOps = true, 1<<20
	return &l
}

// metered rewrites a kernel with the gas table of a profile.
func (k kernel) metered(t testing.TB, r *rules, track bool) []byte {
	t.Helper()
	limits := kernelLimits()
	m, refusal := module.Parse(k.module.Bytes(), limits)
	if refusal != nil {
		t.Fatalf("%s: %v", k.name, refusal)
	}
	funcs, refusal := check.Module(m, limits)
	if refusal != nil {
		t.Fatalf("%s: %v", k.name, refusal)
	}
	return rewrite.Module(m, funcs, rewrite.Options{
		Costs: r.costs, Limits: limits, Keep: func(string) bool { return true }, Track: track,
	})
}

// running is a kernel on an engine.
type running struct {
	f    api.Function
	fuel api.MutableGlobal
	n    uint64 // rounds of one measurement
	row  row
}

func start(t testing.TB, k kernel, r *rules, e Engine) *running {
	t.Helper()
	ctx := context.Background()
	rc := wazero.NewRuntimeConfigInterpreter()
	if e == EngineCompiler {
		rc = wazero.NewRuntimeConfigCompiler()
	}
	engine := wazero.NewRuntimeWithConfig(ctx, rc.WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { engine.Close(ctx) })
	mod, err := engine.InstantiateWithConfig(ctx, k.metered(t, r, e == EngineCompiler), wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatalf("%s: %v", k.name, err)
	}
	dirty, _ := mod.Memory().Read(0, mod.Memory().Size())
	for i := 4096; i < len(dirty); i += 512 { // pages that nobody wrote are all the same one
		dirty[i] = 1
	}
	run := &running{
		f:    mod.ExportedFunction("f"),
		fuel: mod.ExportedGlobal(rewrite.FuelExport).(api.MutableGlobal),
		row:  row{group: k.group, name: k.name},
	}
	run.n = 1
	for min(run.once(t), run.once(t)) < 1e6 && run.n < 1<<24 {
		run.n *= 2
	}
	ops := float64(run.n) * float64(k.ops)
	left, _ := rewrite.Split(run.fuel.Get())
	run.row.gas = float64(GasMax-left) / ops
	return run
}

// once runs the kernel and returns its CPU time in ns.
func (r *running) once(t testing.TB) float64 {
	r.fuel.Set(rewrite.Fuel(GasMax, 250))
	stack := []uint64{r.n}
	before := threadTime(t)
	if err := r.f.CallWithStack(context.Background(), stack); err != nil {
		t.Fatalf("%s: %v", r.row.name, err)
	}
	return float64(threadTime(t) - before)
}

// threadTime is the CPU time of this process in ns.
func threadTime(t testing.TB) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// measureKernels takes the least of several rounds over all kernels, so that
// a slow moment of the machine does not fall on one of them.
func measureKernels(t testing.TB, r *rules, e Engine, kernels []kernel) []row {
	t.Helper()
	list := make([]*running, len(kernels))
	for i, k := range kernels {
		list[i] = start(t, k, r, e)
	}
	for round := range *calibrationRounds {
		for i, r := range list {
			ns := r.once(t) / float64(r.n) / float64(kernels[i].ops)
			if round == 0 || ns < r.row.ns {
				r.row.ns = ns
			}
		}
	}
	rows := make([]row, len(list))
	for i, r := range list {
		rows[i] = r.row
	}
	return rows
}

// smallCase is a host function that has little to do with the ledger.
type smallCase struct {
	name            string
	mod, fn         string
	params, results string
	args            []int32
}

func smallCases() []smallCase {
	host := func(fn abi.HostFunc, name string, args ...int32) smallCase {
		t := abi.HostFuncs[fn]
		return smallCase{t.Name + name, abi.HostModule, t.Name, t.Params, t.Results, args}
	}
	wasi := func(name, size string, args ...int32) smallCase {
		f := protocols[Protocol][abi.ProfileWide].wasiFunc(name)
		return smallCase{name + size, wasiModule, name, f.params, f.results, args}
	}
	return []smallCase{
		host(abi.HostNow, ""),
		host(abi.HostLog, " 4 KiB", 4096, 4096),
		wasi("sched_yield", ""),
		wasi("args_sizes_get", "", 64, 68),
		wasi("environ_get", "", 64, 68),
		wasi("fd_close", "", 7),
		wasi("fd_fdstat_get", "", 1, 64),
		wasi("random_get", " 8", 4096, 8),
		wasi("random_get", " 32 KiB", 4096, 32<<10),
		wasi("fd_write", " 0", 1, 64, 0, 128),
		wasi("fd_write", " 100", 1, 256, 1, 128),
		wasi("poll_oneoff", " 1", 2048, 8192, 1, 128),
		wasi("poll_oneoff", " 100", 2048, 8192, 100, 128),
	}
}

// blob is a decide that calls the function copies times a round.
func (c *smallCase) blob(rounds int32) []byte {
	m := &wasmtest.Module{}
	m.Import(c.mod, c.fn, c.params, c.results)
	m.Memory = &module.Size{Min: 1}
	m.Exports = append(m.Exports, module.Export{Name: "memory", Kind: module.KindMemory})
	m.Export("alloc", m.Func("i", "i", "", wasmtest.Code().I32(wasmtest.AllocAt)))
	m.Datas = append(m.Datas, moduleData(256, "\x00\x10\x00\x00\x64\x00\x00\x00")) // 100 bytes at 4096
	a := wasmtest.Code().I32(rounds).Set(2).Loop(wasmtest.Void)
	for range copies {
		for _, v := range c.args {
			a.I32(v)
		}
		if a.Call(0); c.results != "" {
			a.Op(0x1a)
		}
	}
	a.Get(2).I32(1).Op(0x6b).Tee(2).BrIf(0).End().I64(0)
	return m.Entry(abi.EntryDecide, a).Bytes()
}

// measureSmall times host functions by calls that make many, less a call that
// makes few.
func measureSmall(t testing.TB, e Engine) (rows []row) {
	t.Helper()
	r, err := New(context.Background(), Config{Engine: e, Protocol: Protocol, Profile: abi.ProfileWide})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	least := func(blob []byte) (ns, gas float64) {
		ns = math.Inf(1)
		call := callOf(blob, abi.EntryDecide, &benchEnv{memEnv: newMemEnv()})
		for range *calibrationRounds + 1 {
			before := threadTime(t)
			res, err := r.Call(context.Background(), call)
			if err != nil {
				t.Fatal(err)
			}
			ns, gas = min(ns, float64(threadTime(t)-before)), float64(res.GasUsed)
		}
		return ns, gas
	}
	const rounds = 40
	for _, c := range smallCases() {
		fewNS, fewGas := least(c.blob(1))
		ns, gas := least(c.blob(rounds))
		const n = (rounds - 1) * copies
		rows = append(rows, row{"host", c.name, (ns - fewNS) / n, (gas - fewGas) / n})
	}
	return rows
}

// entryCase is a call as a whole: what the host does before and after the
// guest.
type entryCase struct {
	name  string
	pages uint32
	input int
	code  *wasmtest.Asm // of execute
	trap  bool
}

func entryCases() []entryCase {
	code := wasmtest.Code
	// touch writes a byte into each 4 KiB of the memory.
	touch := func(pages int32) *wasmtest.Asm {
		return code().Loop(wasmtest.Void).Get(2).I32(1).Mem(0x3a, 0).
			Get(2).I32(4096).Op(0x6a).Tee(2).I32(pages << 16).Op(0x49).BrIf(0).End()
	}
	return []entryCase{
		{"empty", 1, 0, code().I64(0), false},
		{"empty, 16 pages", 16, 0, code().I64(0), false},
		{"16 pages written", 16, 0, touch(16).I64(0), false},
		{"16 pages written, trap", 16, 0, touch(16).Op(0), true},
		{"trap", 1, 0, code().Op(0), true},
		{"trap, 16 pages", 16, 0, code().Op(0), true},
		{"64 KiB of input", 3, 64 << 10, code().I64(0), false},
		{"16 KiB of output", 1, 0, code().I64(16 << 10), false},
		{"grown by 1 page", 1, 0, code().I32(1).Grow().Op(0x1a).I64(0), false},
		{"grown by 15 pages", 1, 0, code().I32(15).Grow().Op(0x1a).I64(0), false},
		{"grown by 15 pages, written", 1, 0, code().I32(15).Grow().Op(0x1a).Op(touch(16).Bytes...).I64(0), false},
	}
}

// measureEntries times whole calls.
func measureEntries(t testing.TB, e Engine) []row {
	t.Helper()
	r := newRuntime(t, e)
	r.paranoid = false
	var rows []row
	for _, c := range entryCases() {
		m := wasmtest.Contract()
		m.Memory.Min = c.pages
		call := callOf(m.Entry(abi.EntryExecute, c.code).Bytes(), abi.EntryExecute, noEnv())
		call.Input = make([]byte, c.input)
		const batch = 300
		best := row{group: "entry", name: c.name, ns: math.Inf(1)}
		for range *calibrationRounds + 1 {
			before := threadTime(t)
			for range batch {
				res, err := r.Call(context.Background(), call)
				if (err != nil) != c.trap {
					t.Fatalf("%s: %v", c.name, err)
				}
				best.gas = float64(res.GasUsed)
			}
			best.ns = min(best.ns, float64(threadTime(t)-before)/batch)
		}
		rows = append(rows, best)
	}
	return rows
}
