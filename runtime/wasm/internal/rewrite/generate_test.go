package rewrite_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// generator makes random functions: many live locals, so that registers run
// out, narrow loads, remainders, chains of and, compare and branch, address
// arithmetic that wraps, calls with more arguments than registers, and on
// demand floats. These are what the engine's known faults are made of, and
// where others may hide.
type generator struct {
	*rand.Rand
	a      *wasmtest.Asm
	funcs  uint32 // functions f0, f1 ... that may be called
	depth  int    // blocks open
	budget int    // statements left
	floats floats
}

// floats says what a module does with floating point.
type floats int

const (
	noFloats floats = iota
	// calmFloats are followed by canonicalisation of their own, so that the
	// source has one meaning.
	calmFloats
	// rawFloats let NaNs through as they come: what the source means is the
	// processor's affair, what the rewritten module does is not.
	rawFloats
)

// floatsOf is the kind of floats of a seed's module: most have none.
func floatsOf(seed uint64) floats {
	switch seed % 8 {
	case 6:
		return calmFloats
	case 7:
		return rawFloats
	}
	return noFloats
}

// The locals of a generated function. The last two exist with floats only,
// and the first of each of those holds what is being canonicalised.
const (
	numI32   = 14 // locals 0 to 13; 0 and 1 are parameters
	numI64   = 12 // locals 14 to 25
	counter  = 26 // locals 26 to 29 count the rounds of nested loops
	firstF32 = 30 // locals 30 to 34
	firstF64 = 35 // locals 35 to 39
	numFloat = 5
)

// The globals of a generated module.
const (
	numGlobals = 2
	fuel       = 2   // falls with each call: no module runs long
	fullFuel   = 100 // within the height that tests give, as deep as calls may nest
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

// address pushes an address, mostly within the page. Some forms are those
// that a compiler folds into the addressing mode of the instruction.
func (g *generator) address(d int) {
	g.i32(d)
	switch g.IntN(12) {
	case 0: // base and scaled index
		g.a.I32(0x3ff0).Op(0x71)
		g.i32(d - 1)
		g.a.I32(0xff).Op(0x71).I32(int32(g.IntN(4))).Op(0x74, 0x6a)
	case 1: // a sum that wraps to a low address
		g.a.I32(0xfff).Op(0x71).I32(-0x1000).Op(0x72).I32(0x1000 + int32(g.IntN(64))).Op(0x6a)
	case 2: // a difference
		g.a.I32(0x7ff0).Op(0x71).I32(-int32(g.IntN(64))).Op(0x6b)
	case 3: // the low half of an i64
		g.a.Op(0xad)
		g.i64(d - 1)
		g.a.I64(32).Op(0x86, 0x84, 0xa7).I32(0x7ff8).Op(0x71)
	case 4:
		if g.IntN(16) > 0 {
			g.a.I32(17).Op(0x76)
		}
	default:
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
	if g.floats != noFloats && g.IntN(8) == 0 {
		g.i32OfFloat(d - 1)
		return
	}
	switch g.IntN(14) {
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
	case 11:
		g.a.Block(module.I32)
		g.i32(d - 1)
		g.condition(d - 1)
		g.a.BrIf(0).I32(g.Int32()).Op(pick(g, binary32[7:])).End()
	case 12:
		g.a.Op(0x3f, 0) // memory.size
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
	if g.floats != noFloats && g.IntN(8) == 0 {
		g.i64OfFloat(d - 1)
		return
	}
	switch g.IntN(12) {
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
		g.a.GlobalGet(uint32(g.IntN(numGlobals)))
	case 8:
		g.call(d)
	case 9:
		g.i64(d - 1)
		g.i64(d - 2)
		g.condition(d - 1)
		g.a.Op(0x1b)
	default:
		g.i64(d - 1)
		g.a.Tee(g.local64())
	}
}

// call pushes the i64 of a function: one made before, through the table one
// of any type, or one with more parameters than registers.
func (g *generator) call(d int) {
	switch {
	case g.IntN(3) == 0:
		for _, t := range manyParams {
			if t == 'i' {
				g.i32(d - 2)
			} else {
				g.i64(d - 2)
			}
		}
		g.a.Call(manyFunc)
	case g.funcs == 0:
		g.i64(d - 1)
	case g.IntN(3) == 0:
		g.i32(d - 1)
		g.i32(d - 2)
		g.a.I32(int32(g.IntN(int(g.funcs))))
		if g.IntN(40) == 0 {
			g.i32(d - 2)
			g.a.Op(0x6a) // anywhere
		}
		g.a.CallIndirect(typeOfFuncs)
	default:
		g.i32(d - 1)
		g.i32(d - 2)
		g.a.Call(firstFunc + uint32(g.IntN(int(g.funcs))))
	}
}

// condition pushes an i32 made to be branched on.
func (g *generator) condition(d int) {
	if g.floats != noFloats && g.IntN(6) == 0 {
		g.floatCondition(d)
		return
	}
	switch g.IntN(8) {
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
	case 5: // with a constant, either way round
		if g.IntN(2) == 0 {
			g.i32(d - 1)
			g.a.I32(int32(g.constant())).Op(pick(g, compare32))
		} else {
			g.a.I64(g.constant())
			g.i64(d - 1)
			g.a.Op(pick(g, compare64))
		}
	case 6: // a mask alone
		g.i64(d - 1)
		g.a.I64(g.constant()).Op(0x83, 0x50)
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
	if g.floats != noFloats && g.IntN(4) == 0 {
		g.floatStatement()
		return
	}
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
		g.a.GlobalSet(uint32(g.IntN(numGlobals)))
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
		g.rare()
	}
	g.depth--
}

// rare appends an early return, a fill, a copy or a growth.
func (g *generator) rare() {
	switch g.IntN(8) {
	case 0, 1:
		g.condition(1)
		g.a.If(wasmtest.Void)
		g.i64(1)
		g.a.Op(0x0f).End()
	case 2:
		g.a.I32(int32(g.IntN(2))).Grow().Set(g.local32())
	case 3, 4:
		g.address(1)
		g.address(1)
		g.a.I32(int32(g.IntN(300))).Op(0xfc, 10, 0, 0)
	default:
		g.address(1)
		g.i32(1)
		g.a.I32(int32(g.IntN(300))).Op(0xfc, 11, 0)
	}
}

// loop runs a few rounds.
func (g *generator) loop() {
	c := uint32(counter + g.depth - 1)
	g.a.I32(int32(1 + g.IntN(5))).Set(c).Loop(wasmtest.Void)
	g.statements(3)
	g.a.Get(c).I32(1).Op(0x6b).Tee(c).BrIf(0).End()
}

var (
	unaryF32    = []byte{0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x91}
	unaryF64    = []byte{0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f}
	binaryF32   = []byte{0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98}
	binaryF64   = []byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6}
	constantsOf = []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 1.5, -2.5, 1e-310, math.MaxFloat32, math.MaxFloat64,
		math.SmallestNonzeroFloat32, 1 << 31, -1 << 31, 1 << 32, 1 << 63, -1 << 63, 1 << 64, math.Inf(1), math.Inf(-1), math.NaN()}
)

func (g *generator) localF32() uint32 { return uint32(firstF32 + 1 + g.IntN(numFloat-1)) }
func (g *generator) localF64() uint32 { return uint32(firstF64 + 1 + g.IntN(numFloat-1)) }

func (g *generator) constF32(v float64) {
	g.a.Op(binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(float32(v)))...)
}

func (g *generator) constF64(v float64) {
	g.a.Op(binary.LittleEndian.AppendUint64([]byte{0x44}, math.Float64bits(v))...)
}

// calmF32 makes a NaN on the stack the canonical one.
func (g *generator) calmF32() {
	if g.floats == calmFloats {
		g.a.Tee(firstF32).Op(0x43, 0, 0, 0xc0, 0x7f).Get(firstF32).Get(firstF32).Op(0x5b, 0x1b)
	}
}

func (g *generator) calmF64() {
	if g.floats == calmFloats {
		g.a.Tee(firstF64).Op(0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f).Get(firstF64).Get(firstF64).Op(0x61, 0x1b)
	}
}

func (g *generator) f32(d int) {
	if d <= 0 {
		if g.IntN(3) == 0 {
			g.constF32(pick(g, constantsOf))
		} else {
			g.a.Get(g.localF32())
		}
		return
	}
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		g.f32(d - 1)
		g.f32(d - 2)
		g.a.Op(pick(g, binaryF32))
	case 4:
		g.f32(d - 1)
		g.a.Op(pick(g, unaryF32))
	case 5:
		g.i32(d - 1)
		g.a.Op(pick(g, []byte{0xb2, 0xb3, 0xbe}))
	case 6:
		g.i64(d - 1)
		g.a.Op(pick(g, []byte{0xb4, 0xb5}))
	case 7:
		g.f64(d - 1)
		g.a.Op(0xb6)
	case 8:
		g.address(d - 1)
		g.a.Mem(0x2a, uint32(g.IntN(8)))
	default:
		g.f32(d - 1)
		g.f32(d - 1)
		g.condition(d - 1)
		g.a.Op(0x1b)
	}
	g.calmF32()
}

func (g *generator) f64(d int) {
	if d <= 0 {
		if g.IntN(3) == 0 {
			g.constF64(pick(g, constantsOf))
		} else {
			g.a.Get(g.localF64())
		}
		return
	}
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		g.f64(d - 1)
		g.f64(d - 2)
		g.a.Op(pick(g, binaryF64))
	case 4:
		g.f64(d - 1)
		g.a.Op(pick(g, unaryF64))
	case 5:
		g.i32(d - 1)
		g.a.Op(pick(g, []byte{0xb7, 0xb8}))
	case 6:
		g.i64(d - 1)
		g.a.Op(pick(g, []byte{0xb9, 0xba, 0xbf}))
	case 7:
		g.f32(d - 1)
		g.a.Op(0xbb)
	case 8:
		g.address(d - 1)
		g.a.Mem(0x2b, uint32(g.IntN(8)))
	default:
		g.f64(d - 1)
		g.a.Tee(g.localF64())
	}
	g.calmF64()
}

func (g *generator) i32OfFloat(d int) {
	switch g.IntN(8) {
	case 0:
		g.f32(d)
		g.a.Op(pick(g, []byte{0xa8, 0xa9})) // may trap
	case 1:
		g.f32(d)
		g.a.Op(0xbc)
	case 2, 3:
		g.f32(d)
		g.a.Op(0xfc, byte(g.IntN(2)))
	case 4, 5:
		g.f64(d)
		g.a.Op(0xfc, byte(2+g.IntN(2)))
	default:
		g.floatCondition(d)
	}
}

func (g *generator) i64OfFloat(d int) {
	switch g.IntN(8) {
	case 0:
		g.f64(d)
		g.a.Op(pick(g, []byte{0xb0, 0xb1})) // may trap
	case 1, 2:
		g.f64(d)
		g.a.Op(0xbd)
	case 3, 4:
		g.f32(d)
		g.a.Op(0xfc, byte(4+g.IntN(2)))
	default:
		g.f64(d)
		g.a.Op(0xfc, byte(6+g.IntN(2)))
	}
}

func (g *generator) floatCondition(d int) {
	if g.IntN(2) == 0 {
		g.f32(d - 1)
		g.f32(d - 2)
		g.a.Op(byte(0x5b + g.IntN(6)))
		return
	}
	g.f64(d - 1)
	g.f64(d - 2)
	g.a.Op(byte(0x61 + g.IntN(6)))
}

func (g *generator) floatStatement() {
	switch g.IntN(6) {
	case 0:
		g.address(2)
		g.f32(2)
		g.a.Mem(0x38, g.offset())
	case 1:
		g.address(2)
		g.f64(2)
		g.a.Mem(0x39, g.offset())
	case 2, 3:
		g.f32(3)
		g.a.Set(g.localF32())
	default:
		g.f64(3)
		g.a.Set(g.localF64())
	}
}

const (
	randomFuncs = 6
	manyFunc    = 0 // index of the function of many parameters
	firstFunc   = 1 // index of f0
	typeOfFuncs = 1 // type of f0, f1 ...
	manyParams  = "ililiillilillliiilll"
)

// randomModule makes a module of functions f0, f1 ... (i32, i32) -> i64, each
// of which may call those before it.
func randomModule(seed uint64) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), floats: floatsOf(seed)}
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1, Max: 3, HasMax: true}
	m.Exports = append(m.Exports, module.Export{Name: "memory", Kind: module.KindMemory})
	for i := range numGlobals {
		m.Exports = append(m.Exports, module.Export{Name: fmt.Sprint("g", i), Kind: module.KindGlobal, Index: m.Global(int64(i))})
	}
	m.Exports = append(m.Exports, module.Export{Name: "fuel", Kind: module.KindGlobal, Index: m.Global(0)})
	m.Func(manyParams, "l", "", g.manyParameters())
	for i := range randomFuncs {
		g.funcs = uint32(i)
		m.Export(fmt.Sprint("f", i), m.Func("ii", "l", g.declared(), g.function()))
	}
	table := module.Elem{Funcs: []uint32{}}
	for i := range uint32(randomFuncs) {
		table.Funcs = append(table.Funcs, firstFunc+i)
	}
	table.Funcs = append(table.Funcs, manyFunc)
	m.Table = &module.Size{Min: randomFuncs + 3}
	m.Elems = append(m.Elems, table)
	return m.Bytes()
}

// declared are the locals of a function in letters.
func (g *generator) declared() string {
	locals := strings.Repeat("i", numI32-2) + strings.Repeat("l", numI64) + "iiii"
	if g.floats != noFloats {
		locals += strings.Repeat("f", numFloat) + strings.Repeat("d", numFloat)
	}
	return locals
}

// manyParameters is a function that mixes its parameters, each in its place.
func (g *generator) manyParameters() *wasmtest.Asm {
	a := wasmtest.Code().I64(g.constant())
	for i, t := range manyParams {
		a.I64(int64(2*i + 3)).Op(0x7e).Get(uint32(i))
		if t == 'i' {
			a.Op(pick(g, []byte{0xac, 0xad}))
		}
		a.Op(0x85)
	}
	return a
}

// function is the code of one of f0, f1 ...: most are long, some are short
// enough for their values to stay in registers.
func (g *generator) function() *wasmtest.Asm {
	g.a, g.budget = wasmtest.Code(), pick(g, []int{3, 10, 25, 40, 40})
	g.a.GlobalGet(fuel).I64(1).Op(0x7d).GlobalSet(fuel)
	g.a.GlobalGet(fuel).I64(0).Op(0x53).If(wasmtest.Void).I64(0).Op(0x0f).End()
	for l := uint32(2); l < numI32; l++ {
		g.a.Get(l % 2).I32(int32(2*l + 1)).Op(0x6c).Set(l)
	}
	for l := uint32(numI32); l < counter; l++ {
		g.a.Get(l % 2).Op(0xad).I64(int64(l) * 0x1e3779b97f4a7c15).Op(0x7e).Set(l)
	}
	if g.floats != noFloats {
		for l := uint32(1); l < numFloat; l++ {
			g.a.Get(l).Op(0xb2).Set(firstF32 + l)
			g.a.Get(numI32 + l).Op(0xb9).Set(firstF64 + l)
		}
	}
	g.statements(40)
	g.i64(3)
	for l := uint32(2); l < numI32; l++ {
		g.a.Get(l).Op(0xad, 0x85).I64(7).Op(0x89)
	}
	for l := uint32(numI32); l < counter; l++ {
		g.a.Get(l).Op(0x7c)
	}
	if g.floats != noFloats {
		for l := uint32(1); l < numFloat; l++ {
			g.a.Get(firstF32+l).Op(0xbc, 0xad, 0x85).I64(7).Op(0x89)
			g.a.Get(firstF64+l).Op(0xbd, 0x85).I64(11).Op(0x89)
		}
	}
	return g.a
}
