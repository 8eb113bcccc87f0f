package rewrite

import (
	"encoding/binary"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// In a rewritten function no value is a float: integers hold the bits. So
// moving floats is moving integers, and what computes with them is a call of a
// function that holds nothing else (floatBody). The engine's compiler is wrong
// about floats where registers run out, which they do not do there.

// float appends what stands for an instruction that has a float operand or
// result.
func (f *function) float(in *module.Instr) {
	b := &f.block
	switch in.Op {
	case module.OpF32Load, module.OpF64Load, module.OpF32Store, module.OpF64Store:
		b.op(in.Op - 2) // that of the integer
		*b = append(*b, in.Raw[1:]...)
	case module.OpF32Const, module.OpF64Const:
		*b = appendConstant(*b, in.Raw)
	case module.OpI32OfF32, module.OpI64OfF64, module.OpF32OfI32, module.OpF64OfI64:
	default:
		f.callHelper(in.Op)
	}
}

// appendConstant appends a constant instruction that is given raw, that of a
// float as one of its bits.
func appendConstant(a assembler, raw []byte) assembler {
	switch module.Op(raw[0]) {
	case module.OpF32Const:
		a.i32(int32(binary.LittleEndian.Uint32(raw[1:])))
	case module.OpF64Const:
		a.i64(int64(binary.LittleEndian.Uint64(raw[1:])))
	default:
		a = append(a, raw...)
	}
	return a
}

// bitGlobal is a global that holds the bits of g.
func bitGlobal(g module.Global) module.Global {
	if bits := module.Bits(g.Type); bits != g.Type {
		g.Type, g.Init = bits, append(appendConstant(nil, g.Init), byte(module.OpEnd))
	}
	return g
}

// floatBody does one float instruction on bits. WebAssembly leaves sign and
// payload of a computed NaN open, and engines and processors differ in them: it
// becomes the canonical one of the core specification (section 4.3.3), which is
// positive and has of the fraction only the highest bit.
func floatBody(op module.Op) []byte {
	info := op.Info()
	a := assembler{0}
	if info.NaN {
		a = assembler{1, 1, floatType(info.Push[0])}
	}
	for i := range len(info.Pop) {
		a.index(module.OpLocalGet, uint32(i))
		switch info.Pop[i] {
		case 'f':
			a.op(module.OpF32OfI32)
		case 'd':
			a.op(module.OpF64OfI64)
		}
	}
	a.op(op)
	if info.NaN {
		a.canonical(info.Push[0], uint32(len(info.Pop)))
	}
	switch info.Push[0] {
	case 'f':
		a.op(module.OpI32OfF32)
	case 'd':
		a.op(module.OpI64OfF64)
	}
	a.op(module.OpEnd)
	return a
}

// canonical returns the bits of the canonical NaN if there is a NaN on the
// stack, else leaves what is there, which it keeps in a local. It is a branch
// that is hardly ever taken: a select would make the caller wait for the
// comparison.
func (a *assembler) canonical(letter byte, local uint32) {
	differs := module.OpF32Ne
	if letter == 'd' {
		differs = module.OpF64Ne
	}
	a.index(module.OpLocalTee, local)
	a.index(module.OpLocalGet, local)
	a.op(differs)
	*a = append(*a, byte(module.OpIf), module.BlockEmpty)
	if letter == 'd' {
		a.i64(0x7ff8 << 48)
	} else {
		a.i32(0x7fc00000)
	}
	a.op(module.OpReturn)
	a.op(module.OpEnd)
	a.index(module.OpLocalGet, local)
}

// signBody32 is f32.abs, f32.neg or f32.copysign, which concern the highest bit
// alone: it is shifted out, turned round, or taken from the second parameter.
func signBody32(op module.Op) []byte {
	a := assembler{0}
	a.index(module.OpLocalGet, 0)
	if op == module.OpF32Neg {
		a.i32(-1 << 31)
		a.op(module.OpI32Xor)
	} else {
		a.i32(1)
		a.op(module.OpI32Shl)
		a.i32(1)
		a.op(module.OpI32ShrU)
	}
	if op == module.OpF32Copysign {
		a.index(module.OpLocalGet, 1)
		a.i32(-1 << 31)
		a.op(module.OpI32And)
		a.op(module.OpI32Or)
	}
	a.op(module.OpEnd)
	return a
}

// signBody64 is signBody32 for an f64.
func signBody64(op module.Op) []byte {
	a := assembler{0}
	a.index(module.OpLocalGet, 0)
	if op == module.OpF64Neg {
		a.i64(-1 << 63)
		a.op(module.OpI64Xor)
	} else {
		a.i64(1)
		a.op(module.OpI64Shl)
		a.i64(1)
		a.op(module.OpI64ShrU)
	}
	if op == module.OpF64Copysign {
		a.index(module.OpLocalGet, 1)
		a.i64(-1 << 63)
		a.op(module.OpI64And)
		a.op(module.OpI64Or)
	}
	a.op(module.OpEnd)
	return a
}

// floatType is the type of a letter of module.OpInfo that stands for a float.
func floatType(letter byte) module.ValType {
	if letter == 'f' {
		return module.F32
	}
	return module.F64
}
