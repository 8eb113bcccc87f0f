package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// The canonical NaNs of the core specification (section 4.3.3): positive, and
// of the fraction only the highest bit is set.
var (
	nan32 = []byte{byte(module.OpF32Const), 0, 0, 0xc0, 0x7f}
	nan64 = []byte{byte(module.OpF64Const), 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
)

// canonical makes a NaN on top of the stack the canonical one of its type, in
// the letters of module.OpInfo. WebAssembly leaves sign and payload of a
// computed NaN open, and engines and processors differ in them.
func (f *function) canonical(letter byte) {
	local, nan, equal := f.floats, nan32, module.OpF32Eq
	if letter == 'd' {
		local, nan, equal = f.floats+1, nan64, module.OpF64Eq
	}
	f.block.index(module.OpLocalTee, local)
	f.block = append(f.block, nan...)
	f.block.index(module.OpLocalGet, local)
	f.block.index(module.OpLocalGet, local)
	f.block.op(equal)
	f.block.op(module.OpSelect)
}
