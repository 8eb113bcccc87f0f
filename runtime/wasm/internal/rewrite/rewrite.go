// Package rewrite turns a checked module into one that meters itself and that
// every engine executes alike:
//
//   - fuel: a mutable global that holds gas and height in one number (Fuel).
//     It is kept in a local within a function. Gas is charged once a basic
//     block, and tested at function entry and loop heads, and by the host at
//     every host call and at the end. The height falls by a frame's weight on
//     entry of a function that calls others and rises on its way out; it is
//     tested with gas;
//   - functions so small that their price counts in their callers (see brief);
//   - pages: how many pages the memory may still grow;
//   - memory.grow, memory.copy and memory.fill become calls of appended
//     functions, and so does what computes with floats, which are held as
//     their bits (see float);
//   - patterns that wazero's compilers translate wrongly are avoided (see
//     lower).
//
// Gas is exact whenever the module can be interrupted: a block stores it
// before its first instruction that can trap or call. After a trap negative
// gas means out of gas, a negative height the stack limit, and a negative
// pages global the memory limit.
//
// The result depends on the module, the limits and the costs only.
package rewrite

import (
	"strconv"

	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Prefix begins the names of all exports that the rewriter adds. No module
// that exports such a name may be rewritten.
const Prefix = "postern:"

// Names of the added exports. GlobalPrefix is followed by the index of a
// mutable global of the source.
const (
	FuelExport   = Prefix + "fuel"
	PagesExport  = Prefix + "pages"
	MarkExport   = Prefix + "mark"
	StartExport  = Prefix + "start"
	GlobalPrefix = Prefix + "global-"
)

// Costs is the gas table. Instructions are counted in eighths of a unit, and
// a block's sum is rounded up.
type Costs struct {
	Classes    [module.ClassCount]uint16 // eighths, by class of instruction
	Charge     uint16                    // eighths of charging a basic block
	Loop       uint16                    // eighths of testing gas at a loop's head
	Entry      uint16                    // eighths of a function's prologue and epilogue
	Local      uint16                    // eighths to zero one local
	Grow       int64                     // units for memory.grow
	GrowPage   int64                     // units for each page grown
	Bulk       int64                     // units for memory.copy and memory.fill
	BulkShift  uint                      // one unit for each 1<<BulkShift bytes copied or filled
	FrameSlots int                       // locals and operands in one unit of height
	Brief      uint64                    // eighths: the most that a brief function can charge too much
}

// Options says how to rewrite.
type Options struct {
	Costs  *Costs
	Limits *module.Limits
	Keep   func(name string) bool // exports of the source that remain
	// Track appends a global that tells how much of the memory a call wrote.
	// It changes neither results nor gas; engines may differ in it.
	Track bool
}

// MarkReach is how far beyond the mark global a call that did not trap may
// have written.
const MarkReach = 1024 + 8

// rewriter holds what the functions of one module share.
type rewriter struct {
	opt     Options
	src     *module.Module
	out     module.Module
	bodies  [][]byte
	fuel    uint32 // indices of the added globals
	pages   uint32
	mark    uint32      // with Options.Track
	helpers []module.Op // those needed, in order of first use
	dummies bool        // a type has parameters that mean nothing
	briefs  []brief     // by defined function
}

// Module rewrites m, of which check found funcs.
func Module(m *module.Module, funcs []check.Func, opt Options) []byte {
	w := rewriter{opt: opt, src: m, out: *m}
	w.globals()
	w.exports()
	if w.out.Memory != nil {
		w.out.Memory = capMemory(m.Memory, uint32(opt.Limits.MemoryPages))
	}
	w.findBriefs(funcs)
	w.out.Types = module.BitTypes(m.Types)
	for i := range m.Types {
		w.dummies = w.dummies || w.numDummies(uint32(i)) > 0
	}
	w.out.Funcs = append([]uint32(nil), m.Funcs...)
	w.bodies = make([][]byte, 0, len(m.Codes)+16)
	for i := range m.Codes {
		w.bodies = append(w.bodies, w.function(i, &funcs[i]))
	}
	w.appendHelpers()
	return w.out.AppendTo(make([]byte, 0, w.size()), w.bodies)
}

// size estimates the size of the result, from above: all of the source but its
// bodies, and the new ones.
func (w *rewriter) size() int {
	n := w.src.Size() + 32*len(w.out.Exports) + 16*len(w.out.Types) + 4096
	for i := range w.src.Codes {
		n -= w.src.Codes[i].End - w.src.Codes[i].Start
	}
	for _, b := range w.bodies {
		n += len(b) + 5
	}
	return n
}

// capMemory gives the memory a maximum no higher than the limit.
func capMemory(s *module.Size, limit uint32) *module.Size {
	capped := *s
	if !s.HasMax || s.Max > limit {
		capped.HasMax, capped.Max = true, limit
	}
	return &capped
}

// globals appends fuel and pages. Fuel starts at zero: a module runs nothing
// until the host has given it some.
func (w *rewriter) globals() {
	n := uint32(len(w.src.Globals))
	w.fuel, w.pages = n, n+1
	zero := module.Global{Type: module.I64, Mutable: true, Init: []byte{byte(module.OpI64Const), 0, byte(module.OpEnd)}}
	w.out.Globals = make([]module.Global, 0, n+3)
	for _, g := range w.src.Globals {
		w.out.Globals = append(w.out.Globals, bitGlobal(g))
	}
	w.out.Globals = append(w.out.Globals, zero, zero)
	if w.opt.Track {
		w.mark = n + 2
		zero := module.Global{Type: module.I32, Mutable: true, Init: []byte{byte(module.OpI32Const), 0, byte(module.OpEnd)}}
		w.out.Globals = append(w.out.Globals, zero)
	}
}

// exports strips what the host does not use and adds what it needs: the
// added globals, every mutable global of the source (they must be set back),
// and the start function, which then no longer starts by itself.
func (w *rewriter) exports() {
	w.out.Exports = nil
	for _, e := range w.src.Exports {
		if w.opt.Keep(e.Name) {
			w.add(e.Name, e.Kind, e.Index)
		}
	}
	w.add(FuelExport, module.KindGlobal, w.fuel)
	w.add(PagesExport, module.KindGlobal, w.pages)
	if w.opt.Track {
		w.add(MarkExport, module.KindGlobal, w.mark)
	}
	for i, g := range w.src.Globals {
		if g.Mutable {
			w.add(GlobalPrefix+strconv.Itoa(i), module.KindGlobal, uint32(i))
		}
	}
	if w.src.Start != nil {
		w.add(StartExport, module.KindFunc, *w.src.Start)
		w.out.Start = nil
	}
}

func (w *rewriter) add(name string, kind byte, index uint32) {
	w.out.Exports = append(w.out.Exports, module.Export{Name: name, Kind: kind, Index: index})
}

// next reads an instruction of a body that was checked.
func next(code *module.Reader, in *module.Instr) {
	if err := code.Next(in); err != nil {
		panic("BUG: rewriting a module that was not checked: " + err.Error())
	}
}
