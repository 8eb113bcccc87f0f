package rewrite

import (
	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// tracker keeps, in a function that stores, the highest address it stored to.
// On its way out the function raises the mark global to it; after a trap the
// mark says nothing. It costs a comparison and a branch beside each store,
// and saves setting back the memory above the mark.
//
// Most stores go through few locals (a frame pointer, a cursor). For these,
// every value that the local takes is marked when it is assigned, and the
// stores themselves are left as they are.
type tracker struct {
	on     bool   // the function marks
	whole  bool   // it would mark in too many places, and marks everything
	bases  []bool // by local: its values are marked when they are assigned
	from   origins
	mark   uint32 // local: the highest address
	addr   uint32 // local: the address of a store while it is executed
	values uint32 // first of the locals that hold a store's value: an i32 and an i64
}

// nearOffset bounds the static offsets that are left out of the address:
// MarkReach covers them.
const nearOffset = MarkReach - 8

// locals numbers the tracker's locals from first on.
func (t *tracker) locals(first uint32) []module.LocalRun {
	t.mark, t.addr, t.values = first, first+1, first+2
	return []module.LocalRun{{Count: 3, Type: module.I32}, {Count: 1, Type: module.I64}}
}

// value is the local for a value of a type in the letters of module.OpInfo.
func (t *tracker) value(letter byte) uint32 {
	switch letter {
	case 'i', 'f':
		return t.values
	}
	return t.values + 1
}

// plan finds the locals that are worth marking at their assignments: those
// through which at least as many stores go.
func (t *tracker) plan(m *module.Module, c *module.Code, limits *module.Limits, locals, params int) {
	stores, sets := make([]int, locals), make([]int, locals)
	for i := range params {
		sets[i] = 1
	}
	far := 0 // stores that cannot be marked through a local
	var in module.Instr
	for code := m.Instructions(c, limits); code.More(); {
		next(&code, &in)
		switch base := t.from.step(m, &in); {
		case in.Op == module.OpLocalSet || in.Op == module.OpLocalTee:
			sets[in.Index]++
		case base >= 0 && in.Value < nearOffset:
			stores[base]++
		case in.Info.Class == module.ClassStore:
			far++
		}
	}
	t.from.reset()
	t.bases = make([]bool, locals)
	sites := far
	for i := range t.bases {
		t.bases[i] = stores[i] > 0 && stores[i] >= sets[i]
		if stores[i] > 0 {
			sites += min(stores[i], sets[i])
		}
	}
	t.on, t.whole = sites <= check.MarkSites, sites > check.MarkSites
}

// tracked appends an instruction of a function that stores; it says whether it
// did. The caller has seen to what is not a store or an assignment.
func (f *function) tracked(in *module.Instr) bool {
	t := &f.track
	base := t.from.step(f.w.src, in)
	switch {
	case in.Info.Class == module.ClassStore:
		if base >= 0 && t.bases[base] && in.Value < nearOffset {
			return false
		}
		f.trackedStore(in)
		return true
	case (in.Op == module.OpLocalSet || in.Op == module.OpLocalTee) && t.bases[in.Index]:
		f.lower(in)
		f.markLocal(f.local(in.Index))
		return true
	}
	return false
}

// markLocal raises the function's mark to the value of a local of the rewritten
// function.
func (f *function) markLocal(i uint32) {
	f.block.index(module.OpLocalGet, i)
	f.block.index(module.OpLocalGet, f.track.mark)
	f.block.op(module.OpI32GtU)
	f.block = append(f.block, byte(module.OpIf), module.BlockEmpty)
	f.block.index(module.OpLocalGet, i)
	f.block.index(module.OpLocalSet, f.track.mark)
	f.block.op(module.OpEnd)
}

// trackedStore appends a store and raises the function's mark. It comes after
// the store, so that the address is known to lie in the memory.
func (f *function) trackedStore(in *module.Instr) {
	t := &f.track
	value := t.value(in.Info.Pop[1])
	f.block.index(module.OpLocalSet, value)
	f.block.index(module.OpLocalTee, t.addr)
	f.block.index(module.OpLocalGet, value)
	f.lower(in)
	if in.Value >= nearOffset {
		f.block.index(module.OpLocalGet, t.addr)
		f.block.i32(int32(in.Value))
		f.block.op(module.OpI32Add)
		f.block.index(module.OpLocalSet, t.addr)
	}
	f.markLocal(t.addr)
}

// raiseMark raises the global to the function's mark.
func (f *function) raiseMark() {
	if f.track.whole {
		f.out.i32(-1)
		f.out.index(module.OpGlobalSet, f.w.mark)
		return
	}
	local := func() { f.out.index(module.OpLocalGet, f.track.mark) }
	global := func() { f.out.index(module.OpGlobalGet, f.w.mark) }
	f.out.higher(local, global)
	f.out.index(module.OpGlobalSet, f.w.mark)
}

// higher pushes the higher of two unsigned i32 that x and y push.
func (a *assembler) higher(x, y func()) {
	x()
	y()
	x()
	y()
	a.op(module.OpI32GtU)
	a.op(module.OpSelect)
}

// markBulk raises the global to the end of what memory.copy or memory.fill
// wrote: its parameters are the destination and, third, the size.
func (w *rewriter) markBulk(a *assembler) {
	end := func() {
		a.index(module.OpLocalGet, 0)
		a.index(module.OpLocalGet, 2)
		a.op(module.OpI32Add)
	}
	a.higher(end, func() { a.index(module.OpGlobalGet, w.mark) })
	a.index(module.OpGlobalSet, w.mark)
}
