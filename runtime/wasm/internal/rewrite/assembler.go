package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// assembler appends instructions to code.
type assembler []byte

func (a *assembler) op(op module.Op) {
	if op >= 0xfc00 {
		*a = append(*a, 0xfc, byte(op))
		return
	}
	*a = append(*a, byte(op))
}

func (a *assembler) index(op module.Op, i uint32) {
	a.op(op)
	*a = module.AppendU32(*a, i)
}

func (a *assembler) i32(v int32) {
	a.op(module.OpI32Const)
	*a = module.AppendInt(*a, int64(v))
}

func (a *assembler) i64(v int64) {
	a.op(module.OpI64Const)
	*a = module.AppendInt(*a, v)
}

func (a *assembler) block(result byte) { *a = append(*a, byte(module.OpBlock), result) }

// open appends an instruction that opens a block.
func (a *assembler) open(in *module.Instr) { *a = append(*a, byte(in.Op), module.Bits(in.Block)) }

// raw appends an instruction as it stands in the source.
func (a *assembler) raw(in *module.Instr) { *a = append(*a, in.Raw...) }

// branchIfNegative takes an i64 and branches to label if it is below zero.
func (a *assembler) branchIfNegative(label uint32) {
	a.i64(0)
	a.op(module.OpI64LtS)
	a.index(module.OpBrIf, label)
}
