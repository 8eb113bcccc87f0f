package rewrite

import (
	"bytes"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// helper is a function that the rewriter appends to modules that need it.
// Helpers meter themselves and take no part in the height.
type helper int

const (
	helperGrow helper = iota
	helperCopy
	helperFill
	helperRem32S
	helperRem32U
	helperRem64S
	helperRem64U
	helperSelect32
	helperSelect64
	helperCopysign32
	helperCopysign64
	helperConvert32
	helperConvert64
	helperCount
)

var (
	typeGrow  = module.FuncType{Params: []byte{module.I32}, Results: []byte{module.I32}}
	typeBulk  = module.FuncType{Params: []byte{module.I32, module.I32, module.I32}}
	typeRem32 = module.FuncType{Params: []byte{module.I32, module.I32}, Results: []byte{module.I32}}
	typeRem64 = module.FuncType{Params: []byte{module.I64, module.I64}, Results: []byte{module.I64}}

	typeSelect32   = module.FuncType{Params: []byte{module.F32, module.F32, module.I32}, Results: []byte{module.F32}}
	typeSelect64   = module.FuncType{Params: []byte{module.F64, module.F64, module.I32}, Results: []byte{module.F64}}
	typeCopysign32 = module.FuncType{Params: []byte{module.F32, module.F32}, Results: []byte{module.F32}}
	typeConvert32  = module.FuncType{Params: []byte{module.I64}, Results: []byte{module.F32}}
	typeConvert64  = module.FuncType{Params: []byte{module.I64}, Results: []byte{module.F64}}
	typeCopysign64 = module.FuncType{Params: []byte{module.F64, module.F64}, Results: []byte{module.F64}}
)

// helperIndex gives the function index of h. The bodies follow those of the
// source, in the order in which they were first needed.
func (w *rewriter) helperIndex(h helper) uint32 {
	for i, have := range w.helpers {
		if have == h {
			return uint32(w.src.NumFuncs() + i)
		}
	}
	w.helpers = append(w.helpers, h)
	return uint32(w.src.NumFuncs() + len(w.helpers) - 1)
}

func (w *rewriter) appendHelpers() {
	for _, h := range w.helpers {
		t, body := w.helperBody(h)
		w.out.Funcs = append(w.out.Funcs, w.typeIndex(t))
		w.bodies = append(w.bodies, body)
	}
}

// typeIndex finds or appends a type.
func (w *rewriter) typeIndex(t *module.FuncType) uint32 {
	for i := range w.out.Types {
		have := &w.out.Types[i]
		if bytes.Equal(have.Params, t.Params) && bytes.Equal(have.Results, t.Results) {
			return uint32(i)
		}
	}
	w.out.Types = append(w.out.Types, *t)
	return uint32(len(w.out.Types) - 1)
}

func (w *rewriter) helperBody(h helper) (*module.FuncType, []byte) {
	switch h {
	case helperGrow:
		return &typeGrow, w.growBody()
	case helperCopy:
		return &typeBulk, w.bulkBody(module.OpMemoryCopy, 0, 0)
	case helperFill:
		return &typeBulk, w.bulkBody(module.OpMemoryFill, 0)
	case helperRem32S:
		return &typeRem32, binaryBody(module.OpI32RemS)
	case helperRem32U:
		return &typeRem32, binaryBody(module.OpI32RemU)
	case helperRem64S:
		return &typeRem64, binaryBody(module.OpI64RemS)
	case helperRem64U:
		return &typeRem64, binaryBody(module.OpI64RemU)
	case helperSelect32:
		return &typeSelect32, selectBody(module.OpI32OfF32, module.OpF32OfI32)
	case helperSelect64:
		return &typeSelect64, selectBody(module.OpI64OfF64, module.OpF64OfI64)
	case helperConvert32:
		return &typeConvert32, unaryBody(module.OpF32OfU64)
	case helperConvert64:
		return &typeConvert64, unaryBody(module.OpF64OfU64)
	case helperCopysign32:
		return &typeCopysign32, binaryBody(module.OpF32Copysign)
	}
	return &typeCopysign64, binaryBody(module.OpF64Copysign)
}

// selectBody is a select between floats, made between their bits.
func selectBody(toBits, ofBits module.Op) []byte {
	a := assembler{0}
	a.index(module.OpLocalGet, 0)
	a.op(toBits)
	a.index(module.OpLocalGet, 1)
	a.op(toBits)
	a.index(module.OpLocalGet, 2)
	a.op(module.OpSelect)
	a.op(ofBits)
	a.op(module.OpEnd)
	return a
}

// unaryBody is an instruction of one operand.
func unaryBody(op module.Op) []byte {
	a := assembler{0}
	a.index(module.OpLocalGet, 0)
	a.op(op)
	a.op(module.OpEnd)
	return a
}

// binaryBody is an instruction of two operands.
func binaryBody(op module.Op) []byte {
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
