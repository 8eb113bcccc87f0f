package wasmtest

import (
	"math/rand/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Piece is a kind of code that a Shape is made of.
type Piece int

// The pieces. Those that open a block close it some pieces later.
const (
	PieceArith    Piece = iota // two locals into a third
	PieceConst                 // a local and a large constant
	PieceSwap                  // two locals change places
	PieceBlock                 // opens
	PieceLoop                  // opens
	PieceIf                    // opens
	PieceElse                  // an if with both branches, small
	PieceClose                 // closes the innermost block
	PieceBrIf                  //
	PieceTable                 // br_table
	PieceCall                  // direct, up to Params arguments
	PieceIndirect              // call_indirect
	PieceLoad                  //
	PieceStore                 //
	PieceSelect                //
	PieceDivide                // quotient and remainder
	PieceCount                 // popcnt, clz, ctz
	PieceGlobal                // reads and writes a global
	PieceBulk                  // memory.copy and memory.fill
	PieceShort                 // the shortest instructions: get, drop
	PieceFloat                 // only where floats are admitted
	PieceKinds
)

// Shape describes a function made to be heavy for a compiler, at random but
// for what its numbers say.
type Shape struct {
	Body   int             // bytes at most
	Params int             // i32 and i64 by turns
	Locals int             // beyond the parameters
	Held   int             // operands that lie on the stack throughout
	Nest   int             // depth that blocks are opened to
	Table  int             // targets of a br_table
	Near   int             // only the first so many locals are worked on, 0 for all
	Often  [PieceKinds]int // weights of the pieces
}

// Heavy is a module made to be heavy: functions of one shape up to the
// module's limits, and one of another shape at the end.
type Heavy struct {
	Seed  uint64
	Funcs int
	Fill  Shape
	Last  Shape
}

// Bytes gives the module, which keeps to the limits on counts and sizes. The
// same Heavy and limits give the same bytes.
func (h *Heavy) Bytes(limits *module.Limits) []byte {
	m := Contract()
	m.Memory.Min = 1
	m.Table = &module.Size{Min: 16}
	for range 8 {
		m.Global(1)
	}
	m.Entry(abi.EntryDecide, Code().I64(0))
	g := generator{m: m, limits: limits, rand: rand.New(rand.NewPCG(h.Seed, 0))}
	size := 1024
	last := h.Last.fit(limits)
	fill := h.Fill.fit(limits)
	typ := func(s Shape) uint32 { return m.Type(alternate("il", s.Params), "l") }
	g.fillType, g.lastType = typ(fill), typ(last)
	g.fillParams, g.fillFrom = fill.Params, uint32(m.NumFuncs())
	if h.Funcs == 0 {
		g.fillParams, g.fillType = last.Params, g.lastType
	}
	for range h.Funcs {
		if size+fill.Body+last.Body+16 > limits.Blob || len(m.Funcs)+1 >= limits.Funcs {
			break
		}
		body := g.function(&fill)
		m.Funcs, m.Bodies = append(m.Funcs, g.fillType), append(m.Bodies, body)
		size += len(body) + 5
	}
	m.Funcs, m.Bodies = append(m.Funcs, g.lastType), append(m.Bodies, g.function(&last))
	m.Elems = []module.Elem{{Funcs: []uint32{uint32(len(m.Funcs) - 1)}}}
	return m.Bytes()
}

// fit brings a shape within the limits.
func (s Shape) fit(l *module.Limits) Shape {
	s.Body = min(max(s.Body, 64), l.Body)
	s.Params = min(max(s.Params, 0), l.Params)
	s.Locals = min(max(s.Locals, 4), l.Locals-s.Params)
	s.Nest = min(max(s.Nest, 1), l.Nesting)
	s.Table = min(max(s.Table, 1), l.BrTable)
	s.Held = max(s.Held, 0)
	if s.Near <= 0 || s.Near > s.Params+s.Locals {
		s.Near = s.Params + s.Locals
	}
	s.Near = max(s.Near, min(4, s.Params+s.Locals))
	return s
}

func alternate(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[i%len(letters)]
	}
	return string(b)
}

// generator writes the functions of one module.
type generator struct {
	m          *Module
	limits     *module.Limits
	rand       *rand.Rand
	fillType   uint32
	lastType   uint32
	fillParams int
	fillFrom   uint32 // first of the functions of the first shape

	s     *Shape
	a     *Asm
	open  []byte // opcodes of the open blocks
	used  used
	total int // weights of the pieces together
}

// used counts what the limits bound in one function.
type used struct{ blocks, loops, branches, calls, accesses, floats int }

// local gives a local of the type: those with even numbers are i32.
func (g *generator) local(parity uint32) uint32 {
	n := uint32(g.s.Near) / 2
	return 2*g.rand.Uint32N(max(n, 1)) + parity
}

// function writes one body.
func (g *generator) function(s *Shape) []byte {
	g.s, g.a, g.open, g.used = s, Code(), g.open[:0], used{}
	g.total = 0
	for _, n := range s.Often {
		g.total += n
	}
	g.declare()
	g.start()
	// A piece has at most some 40 bytes; held operands are taken up by 1
	// byte each, all the locals by 4.
	reserve := 64 + 2*len(g.open) + s.Held + 4*s.Near + 4*s.Table
	for len(g.a.Bytes)+reserve+len(g.open) < s.Body {
		g.piece(g.pick())
	}
	for len(g.open) > 0 {
		g.piece(PieceClose)
	}
	g.finish()
	return append(g.a.Bytes, 0x0b)
}

// declare declares the locals: i32 and i64 by turns, in runs of one.
func (g *generator) declare() {
	g.a.Bytes = module.AppendU32(g.a.Bytes, uint32(g.s.Locals))
	for i := range g.s.Locals {
		t := module.I32
		if (g.s.Params+i)%2 == 1 {
			t = module.I64
		}
		g.a.Op(1, t)
	}
}

// start gives the locals values that no compiler knows, and pushes what is
// to be held.
func (g *generator) start() {
	for i := range g.s.Near {
		if len(g.a.Bytes)+64 > g.s.Body/2 {
			break
		}
		if i%2 == 0 {
			g.a.I32(0).Mem(0x28, uint32(4*i)).Set(uint32(i))
		} else {
			g.a.GlobalGet(uint32(i % 8)).Set(uint32(i))
		}
		g.used.accesses++
	}
	held := 0
	for held < g.s.Held && len(g.a.Bytes)+g.s.Held+64 < g.s.Body {
		g.a.Get(g.local(0)).Op(0x67) // i32.clz: a value of its own
		held++
	}
	g.s.Held = held
}

// finish takes up what is held and all locals, so that they lived until here.
func (g *generator) finish() {
	g.a.I32(0)
	for range g.s.Held {
		g.a.Op(0x73)
	}
	g.a.Op(0xad)
	for i := range g.s.Near {
		if len(g.a.Bytes)+8 > g.limits.Body {
			break
		}
		g.a.Get(uint32(i))
		if i%2 == 0 {
			g.a.Op(0xad)
		}
		g.a.Op(0x7c)
	}
}

func (g *generator) pick() Piece {
	if g.total == 0 {
		return PieceShort
	}
	n := g.rand.IntN(g.total)
	for p, often := range g.s.Often {
		if n -= often; n < 0 {
			return Piece(p)
		}
	}
	return PieceShort
}

// allowed says whether a limit leaves room for the piece.
func (g *generator) allowed(p Piece) bool {
	l, u := g.limits, &g.used
	switch p {
	case PieceBlock, PieceIf:
		return u.blocks < l.Blocks && len(g.open) < g.s.Nest
	case PieceElse:
		return u.blocks < l.Blocks && len(g.open) < l.Nesting
	case PieceLoop:
		return u.blocks < l.Blocks && u.loops < l.Loops && len(g.open) < g.s.Nest
	case PieceClose:
		return len(g.open) > 0
	case PieceBrIf:
		return u.branches < l.Branches && (u.blocks < l.Blocks || len(g.open) > 0)
	case PieceTable:
		return u.branches+g.s.Table+1 <= l.Branches && u.blocks < l.Blocks && len(g.open) < l.Nesting
	case PieceCall, PieceIndirect, PieceDivide:
		return u.calls+2 <= l.Calls
	case PieceBulk:
		return u.calls+2 <= l.Calls
	case PieceLoad, PieceStore:
		return u.accesses < l.Accesses
	case PieceFloat:
		return l.Floats && u.floats+3 <= l.FloatOps
	}
	return true
}

func (g *generator) piece(p Piece) {
	if !g.allowed(p) {
		p = PieceShort
	}
	switch p {
	case PieceBlock:
		g.enter(0x02)
	case PieceLoop:
		g.used.loops++
		g.enter(0x03)
	case PieceIf:
		g.a.Get(g.local(0))
		g.enter(0x04)
	case PieceClose:
		g.a.End()
		g.open = g.open[:len(g.open)-1]
	case PieceElse, PieceBrIf, PieceTable:
		g.control(p)
	case PieceCall, PieceIndirect:
		g.used.calls++
		g.call(p)
	case PieceLoad, PieceStore, PieceBulk, PieceGlobal:
		g.memory(p)
	default:
		g.compute(p)
	}
}

func (g *generator) enter(op byte) {
	g.used.blocks++
	g.a.Op(op, Void)
	g.open = append(g.open, op)
}

func (g *generator) control(p Piece) {
	a := g.a
	switch p {
	case PieceElse:
		g.used.blocks++
		x := g.local(0)
		a.Get(g.local(0)).If(Void).Get(g.local(0)).Set(x).Else().Get(x).I32(1).Op(0x6a).Set(x).End()
	case PieceBrIf:
		g.used.branches++
		l := g.label()
		a.Get(g.local(0)).BrIf(l)
	case PieceTable:
		g.used.blocks++
		g.used.branches += g.s.Table + 1
		g.open = append(g.open, 0x02)
		labels := make([]uint32, g.s.Table+1)
		for i := range labels {
			labels[i] = g.label()
		}
		a.Block(Void).Get(g.local(0)).BrTable(labels...).End()
		g.open = g.open[:len(g.open)-1]
	}
}

// label gives an open block, never the function's: that one has a result.
func (g *generator) label() uint32 {
	if len(g.open) == 0 {
		g.enter(0x02)
	}
	return g.rand.Uint32N(uint32(len(g.open)))
}

func (g *generator) call(p Piece) {
	for i := range g.fillParams {
		g.a.Get(g.local(uint32(i % 2)))
	}
	if p == PieceCall {
		g.a.Call(g.fillFrom)
	} else {
		g.a.Get(g.local(0)).CallIndirect(g.fillType)
	}
	g.a.Set(g.local(1))
}

func (g *generator) memory(p Piece) {
	a := g.a
	switch p {
	case PieceLoad:
		g.used.accesses++
		a.Get(g.local(0)).Mem(0x28, g.rand.Uint32N(1<<20)).Set(g.local(0))
	case PieceStore:
		g.used.accesses++
		a.Get(g.local(0)).Get(g.local(1)).Mem(0x37, g.rand.Uint32N(1<<20))
	case PieceBulk:
		g.used.calls += 2
		a.Get(g.local(0)).Get(g.local(0)).Get(g.local(0)).Op(0xfc, 10, 0, 0)
		a.Get(g.local(0)).Get(g.local(0)).Get(g.local(0)).Op(0xfc, 11, 0)
	case PieceGlobal:
		x := g.rand.Uint32N(8)
		a.GlobalGet(x).Set(g.local(1)).Get(g.local(1)).GlobalSet(x)
	}
}

func (g *generator) compute(p Piece) {
	a := g.a
	switch p {
	case PieceArith:
		a.Get(g.local(1)).Get(g.local(1)).Op([]byte{0x7c, 0x7d, 0x7e, 0x83, 0x85, 0x89}[g.rand.IntN(6)]).Set(g.local(1))
	case PieceConst:
		a.Get(g.local(1)).I64(int64(g.rand.Uint64())).Op(0x7e).Set(g.local(1))
	case PieceSwap:
		x, y := g.local(1), g.local(1)
		a.Get(x).Get(y).Set(x).Set(y)
	case PieceSelect:
		a.Get(g.local(1)).Get(g.local(1)).Get(g.local(0)).Op(0x1b).Set(g.local(1))
	case PieceDivide:
		g.used.calls += 2
		a.Get(g.local(1)).Get(g.local(1)).Op(0x7f).Get(g.local(1)).Op(0x81).Set(g.local(1))
	case PieceCount:
		a.Get(g.local(0)).Op(0x69, 0x67, 0x68).Set(g.local(0))
	case PieceFloat:
		g.used.floats += 3
		a.Get(g.local(1)).Op(0xbf).Get(g.local(1)).Op(0xbf).Op([]byte{0xa0, 0xa2, 0xa3, 0xa4, 0xa6}[g.rand.IntN(5)], 0x9e, 0xb0).Set(g.local(1))
	default:
		a.Get(g.local(0)).Set(g.local(0))
	}
}

// RandomHeavy gives a module to begin a search from.
func RandomHeavy(r *rand.Rand) Heavy {
	return Heavy{Seed: r.Uint64(), Funcs: r.IntN(1 << r.IntN(12)), Fill: randomShape(r), Last: randomShape(r)}
}

func randomShape(r *rand.Rand) Shape {
	s := Shape{
		Body: 1 << (9 + r.IntN(7)), Params: r.IntN(16), Locals: r.IntN(100), Held: r.IntN(30),
		Nest: 1 + r.IntN(100), Table: 1 + r.IntN(80), Near: r.IntN(100),
	}
	for i := range s.Often {
		if r.IntN(3) == 0 {
			s.Often[i] = 1 + r.IntN(100)
		}
	}
	return s
}

// Mutate gives a neighbour.
func (h Heavy) Mutate(r *rand.Rand) Heavy {
	for range 1 + r.IntN(3) {
		switch r.IntN(8) {
		case 0:
			h.Funcs = scale(r, h.Funcs)
		case 1:
			h.Seed = r.Uint64()
		case 2, 3, 4:
			h.Last.mutate(r)
		default:
			h.Fill.mutate(r)
		}
	}
	return h
}

func (s *Shape) mutate(r *rand.Rand) {
	numbers := []*int{&s.Body, &s.Params, &s.Locals, &s.Held, &s.Nest, &s.Table, &s.Near}
	if n := r.IntN(2 * len(numbers)); n < len(numbers) {
		*numbers[n] = scale(r, *numbers[n])
		return
	}
	p := r.IntN(int(PieceKinds))
	switch r.IntN(4) {
	case 0:
		s.Often[p] = 0
	case 1:
		s.Often[p] += 1 + r.IntN(100)
	default:
		s.Often[p] = scale(r, s.Often[p])
	}
}

// scale changes a number by a factor between a half and two.
func scale(r *rand.Rand, n int) int {
	return int(float64(n+r.IntN(3)) * (0.5 + 1.5*r.Float64()))
}
