package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// The canonical NaNs of the core specification (section 4.3.3): positive, and
// of the fraction only the highest bit is set.
var (
	nan32 = []byte{byte(module.OpF32Const), 0, 0, 0xc0, 0x7f}
	nan64 = []byte{byte(module.OpF64Const), 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
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
// computed NaN open, and engines and processors differ in them. It is a branch
// that is hardly ever taken: a select would make what follows wait for the
// comparison.
func (f *function) canonical(letter byte) {
	local, nan, differs := f.floats, nan32, module.OpF32Ne
	if letter == 'd' {
		local, nan, differs = f.floats+1, nan64, module.OpF64Ne
	}
	b := &f.block
	b.index(module.OpLocalTee, local)
	b.index(module.OpLocalGet, local)
	b.op(differs)
	*b = append(*b, byte(module.OpIf), module.BlockEmpty)
	*b = append(*b, nan...)
	b.index(module.OpLocalSet, local)
	b.op(module.OpEnd)
	b.index(module.OpLocalGet, local)
}
