package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// The canonical NaNs of the core specification (section 4.3.3): positive, and
// of the fraction only the highest bit is set.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// unseen finds the float results that only instructions blind to a NaN's bits
// take: there it makes no difference which NaN they are. It tells them by
// their instructions' places in the body.
func (w *rewriter) unseen(c *module.Code) []bool {
	unseen := make([]bool, c.End-c.Start)
	var makers origins // of operands: the places of the instructions that made them
	var in module.Instr
	for code := w.src.Instructions(c, w.opt.Limits); code.More(); {
		next(&code, &in)
		switch info := in.Info; {
		case in.Op == module.OpBrIf: // which may take operands with it
			makers.reset()
		case in.Op == module.OpLocalGet:
			makers.push(nowhere, 1)
		case in.Op == module.OpLocalTee:
			makers.pop(1)
			makers.push(nowhere, 1)
		case info.Blind:
			for range len(info.Pop) {
				if at := makers.pop(1); at != nowhere {
					unseen[at] = true
				}
			}
			at := int32(nowhere)
			if info.NaN {
				at = int32(in.Offset - c.Start)
			}
			makers.push(at, 1)
		default:
			makers.step(w.src, &in)
		}
	}
	return unseen
}

// canonical makes a NaN on top of the stack the canonical one of its type, in
// the letters of module.OpInfo. WebAssembly leaves sign and payload of a
// computed NaN open, and engines and processors differ in them. The choice is
// one between bits, because one between floats goes wrong (see lower).
func (f *function) canonical(letter byte) {
	b := &f.block
	if letter == 'f' {
		b.index(module.OpLocalTee, f.floats)
		b.op(module.OpI32OfF32)
		b.i32(nan32)
		b.isNumber(f.floats, module.OpF32Eq)
		b.op(module.OpSelect)
		b.op(module.OpF32OfI32)
		return
	}
	b.index(module.OpLocalTee, f.floats+1)
	b.op(module.OpI64OfF64)
	b.i64(nan64)
	b.isNumber(f.floats+1, module.OpF64Eq)
	b.op(module.OpSelect)
	b.op(module.OpF64OfI64)
}

// isNumber pushes whether a local is equal to itself, which no NaN is.
func (a *assembler) isNumber(local uint32, equal module.Op) {
	a.index(module.OpLocalGet, local)
	a.index(module.OpLocalGet, local)
	a.op(equal)
}
