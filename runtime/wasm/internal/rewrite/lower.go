package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// lower appends an instruction that neither begins nor ends a basic block,
// or what stands for it. Patterns that the compilers of wazero v1.12.0
// translate wrongly are avoided, on every processor and engine alike:
//
//   - a remainder under register pressure reads a stale stack slot on arm64:
//     it becomes a call of a function that holds nothing else;
//   - i32.popcnt of a sign-extending narrow load counts 64 bits on arm64: it
//     becomes i64.popcnt of the zero-extended value;
//   - a branch on an ordering comparison of a & b with zero goes the wrong way
//     on both, because the comparison is fused with the and: an or with zero
//     in between hides the and from it;
//   - floats under register pressure, on amd64: a select between them takes
//     neither, a copysign takes the sign of a stale stack slot, a conversion of
//     an unsigned i64 destroys another value. See float.
func (f *function) lower(in *module.Instr) {
	switch in.Op {
	case module.OpLocalGet, module.OpLocalSet, module.OpLocalTee:
		f.block.index(in.Op, f.local(in.Index))
	case module.OpCall:
		f.call(in)
	case module.OpCallIndirect:
		f.callIndirect(in)
	case module.OpMemoryGrow, module.OpMemoryCopy, module.OpMemoryFill:
		f.callHelper(in.Op)
		f.reloadFuel()
	case module.OpI32RemS, module.OpI32RemU, module.OpI64RemS, module.OpI64RemU:
		f.callHelper(in.Op)
	case module.OpI32Popcnt:
		f.block.op(module.OpI64ExtendU)
		f.block.op(module.OpI64Popcnt)
		f.block.op(module.OpI32WrapI64)
	case module.OpSelectTyped: // a form that the engine knows with reference types only
		f.block.op(module.OpSelect)
	case module.OpI32And:
		f.block.raw(in)
		f.block.i32(0)
		f.block.op(module.OpI32Or)
	case module.OpI64And:
		f.block.raw(in)
		f.block.i64(0)
		f.block.op(module.OpI64Or)
	default:
		if in.Info.Float {
			f.float(in)
			return
		}
		f.block.raw(in)
	}
}

func (f *function) call(in *module.Instr) {
	f.dummies(f.w.src.TypeIndex(in.Index))
	f.block.raw(in)
	if !f.w.brief(in.Index).ok {
		f.reloadFuel()
	}
}

// callIndirect appends a call through the table, whose index is on top of the
// stack: dummies come below it.
func (f *function) callIndirect(in *module.Instr) {
	if f.w.numDummies(in.Index) > 0 {
		f.block.index(module.OpLocalSet, f.callee)
		f.dummies(in.Index)
		f.block.index(module.OpLocalGet, f.callee)
	}
	f.block.raw(in)
	f.reloadFuel()
}

// dummies pushes the parameters that mean nothing of the i-th type.
func (f *function) dummies(i uint32) {
	for _, t := range f.w.out.Types[i].Params[len(f.w.src.Types[i].Params):] {
		if t == module.I32 {
			f.block.i32(0)
		} else {
			f.block.i64(0)
		}
	}
}

// numDummies counts the parameters that mean nothing of the i-th type.
func (w *rewriter) numDummies(i uint32) int {
	return len(w.out.Types[i].Params) - len(w.src.Types[i].Params)
}

// local is the number of the source's i-th local: dummies follow parameters.
func (f *function) local(i uint32) uint32 {
	if i < f.params {
		return i
	}
	return i + f.shift
}

func (f *function) reloadFuel() {
	f.block.index(module.OpGlobalGet, f.w.fuel)
	f.block.index(module.OpLocalSet, f.fuel)
}

func (f *function) callHelper(op module.Op) {
	f.block.index(module.OpCall, f.w.helperIndex(op))
}
