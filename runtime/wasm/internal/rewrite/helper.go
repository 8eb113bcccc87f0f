package rewrite

import (
	"bytes"
	"slices"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// A helper is a function that the rewriter appends to modules that need it. It
// is named by the instruction that it stands for, and has its operands and
// result, floats as bits. Helpers charge for what their price is not known
// beforehand, and take no part in the height.

// helperIndex gives the function index of the helper for op. The bodies follow
// those of the source, in the order in which they were first needed.
func (w *rewriter) helperIndex(op module.Op) uint32 {
	i := slices.Index(w.helpers, op)
	if i < 0 {
		i = len(w.helpers)
		w.helpers = append(w.helpers, op)
	}
	return uint32(w.src.NumFuncs() + i)
}

func (w *rewriter) appendHelpers() {
	for _, op := range w.helpers {
		w.out.Funcs = append(w.out.Funcs, w.typeIndex(helperType(op)))
		w.bodies = append(w.bodies, w.helperBody(op))
	}
}

// typeIndex finds or appends a type.
func (w *rewriter) typeIndex(t module.FuncType) uint32 {
	for i := range w.out.Types {
		have := &w.out.Types[i]
		if bytes.Equal(have.Params, t.Params) && bytes.Equal(have.Results, t.Results) {
			return uint32(i)
		}
	}
	w.out.Types = append(w.out.Types, t)
	return uint32(len(w.out.Types) - 1)
}

func helperType(op module.Op) module.FuncType {
	return module.FuncType{Params: bitsOf(op.Info().Pop), Results: bitsOf(op.Info().Push)}
}

// bitsOf gives the integer types for letters of module.OpInfo.
func bitsOf(letters string) (types []module.ValType) {
	for _, l := range letters {
		switch l {
		case 'i', 'f':
			types = append(types, module.I32)
		default:
			types = append(types, module.I64)
		}
	}
	return types
}

func (w *rewriter) helperBody(op module.Op) []byte {
	switch op {
	case module.OpMemoryGrow:
		return w.growBody()
	case module.OpMemoryCopy:
		return w.bulkBody(op, 0, 0)
	case module.OpMemoryFill:
		return w.bulkBody(op, 0)
	case module.OpI32RemS, module.OpI32RemU, module.OpI64RemS, module.OpI64RemU:
		return remainderBody(op)
	case module.OpF32Abs, module.OpF32Neg, module.OpF32Copysign:
		return signBody32(op)
	case module.OpF64Abs, module.OpF64Neg, module.OpF64Copysign:
		return signBody64(op)
	}
	return floatBody(op)
}

func remainderBody(op module.Op) []byte {
	a := assembler{0}
	a.index(module.OpLocalGet, 0)
	a.index(module.OpLocalGet, 1)
	a.op(op)
	a.op(module.OpEnd)
	return a
}

// trapIf takes a condition and traps if it holds.
func (a *assembler) trapIf() {
	*a = append(*a, byte(module.OpIf), module.BlockEmpty, byte(module.OpUnreachable), byte(module.OpEnd))
}

// charge takes an i64 off the gas and traps if it becomes negative.
func (w *rewriter) charge(a *assembler, price func()) {
	a.index(module.OpGlobalGet, w.fuel)
	price()
	a.i64(heightBits)
	a.op(module.OpI64Shl)
	a.op(module.OpI64Sub)
	a.index(module.OpGlobalSet, w.fuel)
	a.index(module.OpGlobalGet, w.fuel)
	a.i64(0)
	a.op(module.OpI64LtS)
	a.trapIf()
}

// bulkBody is memory.copy or memory.fill (its third parameter the number of
// bytes), charged by size before it runs.
func (w *rewriter) bulkBody(op module.Op, immediates ...byte) []byte {
	c := w.opt.Costs
	a := assembler{0}
	w.charge(&a, func() {
		a.index(module.OpLocalGet, 2)
		a.op(module.OpI64ExtendU)
		a.i64(int64(c.BulkShift))
		a.op(module.OpI64ShrU)
		a.i64(c.Bulk)
		a.op(module.OpI64Add)
	})
	for i := range uint32(3) {
		a.index(module.OpLocalGet, i)
	}
	a.op(op)
	a = append(a, immediates...)
	if w.opt.Track {
		w.markBulk(&a)
	}
	a.op(module.OpEnd)
	return a
}

// growBody is memory.grow. It traps, with the pages global negative, if the
// host's allowance does not cover the growth; where the module's own maximum
// does not, the answer is -1 and the allowance is untouched.
func (w *rewriter) growBody() []byte {
	c := w.opt.Costs
	a := assembler{1, 1, module.I32}
	pages := func() { // the delta as i64
		a.index(module.OpLocalGet, 0)
		a.op(module.OpI64ExtendU)
	}
	pages()
	a.index(module.OpGlobalGet, w.pages)
	a.op(module.OpI64GtS)
	a = append(a, byte(module.OpIf), module.BlockEmpty)
	a.i64(-1)
	a.index(module.OpGlobalSet, w.pages)
	a.op(module.OpUnreachable)
	a.op(module.OpEnd)
	w.charge(&a, func() {
		pages()
		a.i64(c.GrowPage)
		a.op(module.OpI64Mul)
		a.i64(c.Grow)
		a.op(module.OpI64Add)
	})
	a.index(module.OpLocalGet, 0)
	a.index(module.OpMemoryGrow, 0)
	a.index(module.OpLocalTee, 1)
	a.i32(-1)
	a.op(module.OpI32Eq)
	a = append(a, byte(module.OpIf), module.BlockEmpty)
	a.op(module.OpElse)
	a.index(module.OpGlobalGet, w.pages)
	pages()
	a.op(module.OpI64Sub)
	a.index(module.OpGlobalSet, w.pages)
	a.op(module.OpEnd)
	a.index(module.OpLocalGet, 1)
	a.op(module.OpEnd)
	return a
}
