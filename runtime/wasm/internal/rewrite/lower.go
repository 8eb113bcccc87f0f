package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// lower appends an instruction that neither begins nor ends a basic block,
// or what stands for it. Six patterns that the compilers of wazero v1.12.0
// translate wrongly are avoided, on every processor and engine alike:
//
//   - a remainder under register pressure reads a stale stack slot on arm64:
//     it becomes a call of a function that holds nothing else;
//   - i32.popcnt of a sign-extending narrow load counts 64 bits on arm64: it
//     becomes i64.popcnt of the zero-extended value;
//   - a branch on an ordering comparison of a & b with zero goes the wrong way
//     on both, because the comparison is fused with the and: an or with zero
//     in between hides the and from it;
//   - a select between floats under register pressure takes neither of them on
//     amd64: it becomes a call of a function that selects between integers;
//   - a copysign under register pressure takes the sign of a stale stack slot
//     on amd64: it becomes a call of a function that holds nothing else;
//   - a conversion of an unsigned i64 to a float under register pressure goes
//     wrong on amd64: it becomes a call as well.
func (f *function) lower(in *module.Instr) {
	switch in.Op {
	case module.OpCall:
		f.block.raw(in)
		if !f.w.brief(in.Index).ok {
			f.reloadFuel()
		}
	case module.OpCallIndirect:
		f.block.raw(in)
		f.reloadFuel()
	case module.OpMemoryGrow:
		f.callHelper(helperGrow)
		f.reloadFuel()
	case module.OpMemoryCopy:
		f.callHelper(helperCopy)
		f.reloadFuel()
	case module.OpMemoryFill:
		f.callHelper(helperFill)
		f.reloadFuel()
	case module.OpI32RemS:
		f.callHelper(helperRem32S)
	case module.OpI32RemU:
		f.callHelper(helperRem32U)
	case module.OpI64RemS:
		f.callHelper(helperRem64S)
	case module.OpI64RemU:
		f.callHelper(helperRem64U)
	case module.OpI32Popcnt:
		f.block.op(module.OpI64ExtendU)
		f.block.op(module.OpI64Popcnt)
		f.block.op(module.OpI32WrapI64)
	case module.OpF32Copysign:
		f.callHelper(helperCopysign32)
	case module.OpF64Copysign:
		f.callHelper(helperCopysign64)
	case module.OpF32OfU64:
		f.callHelper(helperConvert32)
	case module.OpF64OfU64:
		f.callHelper(helperConvert64)
	case module.OpSelect, module.OpSelectTyped:
		f.selection(in)
	case module.OpI32And:
		f.block.raw(in)
		f.block.i32(0)
		f.block.op(module.OpI32Or)
	case module.OpI64And:
		f.block.raw(in)
		f.block.i64(0)
		f.block.op(module.OpI64Or)
	default:
		f.block.raw(in)
		if in.Info.NaN && !f.unseen[in.Offset-f.begin] {
			f.canonical(in.Info.Push[0])
		}
	}
}

// selection appends a select: of those between floats the checker made a list,
// and they cost as much as float arithmetic besides. The typed form is one that
// the engine knows with reference types only.
func (f *function) selection(in *module.Instr) {
	for len(f.selects) > 0 && f.selects[0].Offset < in.Offset {
		f.selects = f.selects[1:] // in unreachable code
	}
	if len(f.selects) == 0 || f.selects[0].Offset > in.Offset {
		f.block.op(module.OpSelect)
		return
	}
	f.cost += uint64(f.w.opt.Costs.Classes[module.ClassNaN])
	if f.selects[0].Type == module.F32 {
		f.callHelper(helperSelect32)
	} else {
		f.callHelper(helperSelect64)
	}
}

func (f *function) reloadFuel() {
	f.block.index(module.OpGlobalGet, f.w.fuel)
	f.block.index(module.OpLocalSet, f.fuel)
}

func (f *function) callHelper(h helper) {
	f.block.index(module.OpCall, f.w.helperIndex(h))
}
