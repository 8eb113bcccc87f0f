package module

// Op is an opcode; those behind the prefix 0xFC are 0xFC00 | number.
type Op uint16

// Opcodes that the checker or the rewriter treats by name.
const (
	OpUnreachable  Op = 0x00
	OpNop          Op = 0x01
	OpBlock        Op = 0x02
	OpLoop         Op = 0x03
	OpIf           Op = 0x04
	OpElse         Op = 0x05
	OpEnd          Op = 0x0b
	OpBr           Op = 0x0c
	OpBrIf         Op = 0x0d
	OpBrTable      Op = 0x0e
	OpReturn       Op = 0x0f
	OpCall         Op = 0x10
	OpCallIndirect Op = 0x11
	OpDrop         Op = 0x1a
	OpSelect       Op = 0x1b
	OpSelectTyped  Op = 0x1c
	OpLocalGet     Op = 0x20
	OpLocalSet     Op = 0x21
	OpLocalTee     Op = 0x22
	OpGlobalGet    Op = 0x23
	OpGlobalSet    Op = 0x24
	OpF32Load      Op = 0x2a
	OpF64Load      Op = 0x2b
	OpF32Store     Op = 0x38
	OpF64Store     Op = 0x39
	OpMemorySize   Op = 0x3f
	OpMemoryGrow   Op = 0x40
	OpI32Const     Op = 0x41
	OpI64Const     Op = 0x42
	OpF32Const     Op = 0x43
	OpF64Const     Op = 0x44
	OpF32Ne        Op = 0x5c
	OpF64Ne        Op = 0x62
	OpI32Eq        Op = 0x46
	OpI32GtU       Op = 0x4b
	OpI64LtS       Op = 0x53
	OpI64GtS       Op = 0x55
	OpI32Popcnt    Op = 0x69
	OpI32Add       Op = 0x6a
	OpI32RemS      Op = 0x6f
	OpI32RemU      Op = 0x70
	OpI32And       Op = 0x71
	OpI32Or        Op = 0x72
	OpI32Xor       Op = 0x73
	OpI32Shl       Op = 0x74
	OpI32ShrU      Op = 0x76
	OpI64Popcnt    Op = 0x7b
	OpI64Add       Op = 0x7c
	OpI64Sub       Op = 0x7d
	OpI64Mul       Op = 0x7e
	OpI64RemS      Op = 0x81
	OpI64RemU      Op = 0x82
	OpI64And       Op = 0x83
	OpI64Or        Op = 0x84
	OpI64Xor       Op = 0x85
	OpI64Shl       Op = 0x86
	OpI64ShrU      Op = 0x88
	OpF32Abs       Op = 0x8b
	OpF32Neg       Op = 0x8c
	OpF32Copysign  Op = 0x98
	OpF64Abs       Op = 0x99
	OpF64Neg       Op = 0x9a
	OpF64Copysign  Op = 0xa6
	OpI32WrapI64   Op = 0xa7
	OpI64ExtendU   Op = 0xad
	OpI32OfF32     Op = 0xbc // the reinterpretations: bits of floats, floats of bits
	OpI64OfF64     Op = 0xbd
	OpF32OfI32     Op = 0xbe
	OpF64OfI64     Op = 0xbf
	OpMemoryCopy   Op = 0xfc0a
	OpMemoryFill   Op = 0xfc0b
)

// Class groups opcodes of like cost and like treatment.
type Class uint8

// The classes. ClassNone marks opcodes that are not admitted.
const (
	ClassNone     Class = iota
	ClassFree           // structure: no code of its own
	ClassLocal          // local.get, local.set, local.tee, constants, drop, reinterpretations
	ClassSimple         // one or two machine instructions
	ClassAnd            // and, i32.popcnt: the rewriter makes three instructions of them
	ClassMul            //
	ClassDivide         // division and remainder: may trap
	ClassLoad           // may trap
	ClassStore          // may trap
	ClassGlobal         //
	ClassBranch         //
	ClassTable          // br_table
	ClassCall           // call: may trap
	ClassIndirect       // call_indirect: may trap
	ClassTrap           // unreachable
	ClassBulk           // memory.grow, memory.copy, memory.fill: may trap, priced by size
	ClassFloat          // computing with floats, which the rewriter has a function do
	ClassRoot           // the same: division, square root
	ClassConvert        // the same: float to integer, may trap
	ClassCount
)

// Traps says whether an instruction of the class may end the call.
func (c Class) Traps() bool {
	switch c {
	case ClassDivide, ClassLoad, ClassStore, ClassCall, ClassIndirect, ClassTrap, ClassBulk, ClassConvert:
		return true
	}
	return false
}

// Called says whether the rewriter has a function of its own do what an
// instruction of the class does, because it computes with floats.
func (c Class) Called() bool {
	return c == ClassFloat || c == ClassRoot || c == ClassConvert
}

// immediate is the form of what follows an opcode.
type immediate uint8

const (
	immNone immediate = iota
	immBlock
	immIndex
	immMemory // alignment and offset
	immTable
	immIndirect
	immI32
	immI64
	immF32
	immF64
	immZero  // one zero byte
	immZeros // two zero bytes
	immTypes // the vector of a typed select
)

// OpInfo is what is known of an opcode. Pop and Push are type letters as in
// the text format's order: i, l, f, d for i32, i64, f32, f64. Opcodes whose
// types depend on context have none.
type OpInfo struct {
	Pop, Push string
	Class     Class
	Float     bool // has a float operand or result
	// NaN says that the result may be a NaN of which WebAssembly leaves open
	// which: arithmetic, as opposed to what moves bits.
	NaN   bool
	Align uint32
	imm   immediate
}

// Info describes op; its Class is ClassNone if op is not admitted.
func (op Op) Info() *OpInfo {
	switch {
	case op < 0x100:
		return &ops[op]
	case op >= 0xfc00 && op < 0xfc00+Op(len(prefixed)):
		return &prefixed[op-0xfc00]
	}
	return &ops[0xff]
}

var ops = makeOps()

var prefixed = [12]OpInfo{
	0: {Pop: "f", Push: "i", Class: ClassFloat, Float: true},
	1: {Pop: "f", Push: "i", Class: ClassFloat, Float: true},
	2: {Pop: "d", Push: "i", Class: ClassFloat, Float: true},
	3: {Pop: "d", Push: "i", Class: ClassFloat, Float: true},
	4: {Pop: "f", Push: "l", Class: ClassFloat, Float: true},
	5: {Pop: "f", Push: "l", Class: ClassFloat, Float: true},
	6: {Pop: "d", Push: "l", Class: ClassFloat, Float: true},
	7: {Pop: "d", Push: "l", Class: ClassFloat, Float: true},
	// 8 and 9 are memory.init and data.drop, which need passive segments.
	10: {Pop: "iii", Class: ClassBulk, imm: immZeros},
	11: {Pop: "iii", Class: ClassBulk, imm: immZero},
}

// opRow describes the opcodes first to last, which are alike.
type opRow struct {
	first, last Op
	info        OpInfo
}

// opRows follows the order of the specification's section 5.4.
var opRows = []opRow{
	{OpUnreachable, OpUnreachable, OpInfo{Class: ClassTrap}},
	{OpNop, OpNop, OpInfo{Class: ClassFree}},
	{OpBlock, OpLoop, OpInfo{Class: ClassFree, imm: immBlock}},
	{OpIf, OpIf, OpInfo{Pop: "i", Class: ClassBranch, imm: immBlock}},
	{OpElse, OpElse, OpInfo{Class: ClassFree}},
	{OpEnd, OpEnd, OpInfo{Class: ClassFree}},
	{OpBr, OpBr, OpInfo{Class: ClassBranch, imm: immIndex}},
	{OpBrIf, OpBrIf, OpInfo{Pop: "i", Class: ClassBranch, imm: immIndex}},
	{OpBrTable, OpBrTable, OpInfo{Pop: "i", Class: ClassTable, imm: immTable}},
	{OpReturn, OpReturn, OpInfo{Class: ClassBranch}},
	{OpCall, OpCall, OpInfo{Class: ClassCall, imm: immIndex}},
	{OpCallIndirect, OpCallIndirect, OpInfo{Pop: "i", Class: ClassIndirect, imm: immIndirect}},
	{OpDrop, OpDrop, OpInfo{Class: ClassLocal}},
	{OpSelect, OpSelect, OpInfo{Class: ClassSimple}},
	{OpSelectTyped, OpSelectTyped, OpInfo{Class: ClassSimple, imm: immTypes}},
	{OpLocalGet, OpLocalTee, OpInfo{Class: ClassLocal, imm: immIndex}},
	{OpGlobalGet, OpGlobalSet, OpInfo{Class: ClassGlobal, imm: immIndex}},

	{0x28, 0x28, OpInfo{Pop: "i", Push: "i", Class: ClassLoad, Align: 2, imm: immMemory}},
	{0x29, 0x29, OpInfo{Pop: "i", Push: "l", Class: ClassLoad, Align: 3, imm: immMemory}},
	{0x2a, 0x2a, OpInfo{Pop: "i", Push: "f", Class: ClassLoad, Align: 2, imm: immMemory, Float: true}},
	{0x2b, 0x2b, OpInfo{Pop: "i", Push: "d", Class: ClassLoad, Align: 3, imm: immMemory, Float: true}},
	{0x2c, 0x2d, OpInfo{Pop: "i", Push: "i", Class: ClassLoad, imm: immMemory}},
	{0x2e, 0x2f, OpInfo{Pop: "i", Push: "i", Class: ClassLoad, Align: 1, imm: immMemory}},
	{0x30, 0x31, OpInfo{Pop: "i", Push: "l", Class: ClassLoad, imm: immMemory}},
	{0x32, 0x33, OpInfo{Pop: "i", Push: "l", Class: ClassLoad, Align: 1, imm: immMemory}},
	{0x34, 0x35, OpInfo{Pop: "i", Push: "l", Class: ClassLoad, Align: 2, imm: immMemory}},
	{0x36, 0x36, OpInfo{Pop: "ii", Class: ClassStore, Align: 2, imm: immMemory}},
	{0x37, 0x37, OpInfo{Pop: "il", Class: ClassStore, Align: 3, imm: immMemory}},
	{0x38, 0x38, OpInfo{Pop: "if", Class: ClassStore, Align: 2, imm: immMemory, Float: true}},
	{0x39, 0x39, OpInfo{Pop: "id", Class: ClassStore, Align: 3, imm: immMemory, Float: true}},
	{0x3a, 0x3a, OpInfo{Pop: "ii", Class: ClassStore, imm: immMemory}},
	{0x3b, 0x3b, OpInfo{Pop: "ii", Class: ClassStore, Align: 1, imm: immMemory}},
	{0x3c, 0x3c, OpInfo{Pop: "il", Class: ClassStore, imm: immMemory}},
	{0x3d, 0x3d, OpInfo{Pop: "il", Class: ClassStore, Align: 1, imm: immMemory}},
	{0x3e, 0x3e, OpInfo{Pop: "il", Class: ClassStore, Align: 2, imm: immMemory}},
	{OpMemorySize, OpMemorySize, OpInfo{Push: "i", Class: ClassSimple, imm: immZero}},
	{OpMemoryGrow, OpMemoryGrow, OpInfo{Pop: "i", Push: "i", Class: ClassBulk, imm: immZero}},

	{OpI32Const, OpI32Const, OpInfo{Push: "i", Class: ClassLocal, imm: immI32}},
	{OpI64Const, OpI64Const, OpInfo{Push: "l", Class: ClassLocal, imm: immI64}},
	{OpF32Const, OpF32Const, OpInfo{Push: "f", Class: ClassLocal, imm: immF32, Float: true}},
	{OpF64Const, OpF64Const, OpInfo{Push: "d", Class: ClassLocal, imm: immF64, Float: true}},

	{0x45, 0x45, OpInfo{Pop: "i", Push: "i", Class: ClassSimple}},
	{0x46, 0x4f, OpInfo{Pop: "ii", Push: "i", Class: ClassSimple}},
	{0x50, 0x50, OpInfo{Pop: "l", Push: "i", Class: ClassSimple}},
	{0x51, 0x5a, OpInfo{Pop: "ll", Push: "i", Class: ClassSimple}},
	{0x5b, 0x60, OpInfo{Pop: "ff", Push: "i", Class: ClassFloat, Float: true}},
	{0x61, 0x66, OpInfo{Pop: "dd", Push: "i", Class: ClassFloat, Float: true}},

	{0x67, 0x68, OpInfo{Pop: "i", Push: "i", Class: ClassSimple}},
	{0x69, 0x69, OpInfo{Pop: "i", Push: "i", Class: ClassAnd}}, // popcnt
	{0x6a, 0x6b, OpInfo{Pop: "ii", Push: "i", Class: ClassSimple}},
	{0x6c, 0x6c, OpInfo{Pop: "ii", Push: "i", Class: ClassMul}},
	{0x6d, 0x70, OpInfo{Pop: "ii", Push: "i", Class: ClassDivide}},
	{0x71, 0x71, OpInfo{Pop: "ii", Push: "i", Class: ClassAnd}},
	{0x72, 0x78, OpInfo{Pop: "ii", Push: "i", Class: ClassSimple}},
	{0x79, 0x7b, OpInfo{Pop: "l", Push: "l", Class: ClassSimple}},
	{0x7c, 0x7d, OpInfo{Pop: "ll", Push: "l", Class: ClassSimple}},
	{0x7e, 0x7e, OpInfo{Pop: "ll", Push: "l", Class: ClassMul}},
	{0x7f, 0x82, OpInfo{Pop: "ll", Push: "l", Class: ClassDivide}},
	{0x83, 0x83, OpInfo{Pop: "ll", Push: "l", Class: ClassAnd}},
	{0x84, 0x8a, OpInfo{Pop: "ll", Push: "l", Class: ClassSimple}},
	{0x8b, 0x8c, OpInfo{Pop: "f", Push: "f", Class: ClassFloat, Float: true}}, // abs, neg
	{0x8d, 0x90, OpInfo{Pop: "f", Push: "f", Class: ClassFloat, Float: true, NaN: true}},
	{0x91, 0x91, OpInfo{Pop: "f", Push: "f", Class: ClassRoot, Float: true, NaN: true}}, // sqrt
	{0x92, 0x94, OpInfo{Pop: "ff", Push: "f", Class: ClassFloat, Float: true, NaN: true}},
	{0x95, 0x95, OpInfo{Pop: "ff", Push: "f", Class: ClassRoot, Float: true, NaN: true}}, // div
	{0x96, 0x97, OpInfo{Pop: "ff", Push: "f", Class: ClassFloat, Float: true, NaN: true}},
	{0x98, 0x98, OpInfo{Pop: "ff", Push: "f", Class: ClassFloat, Float: true}}, // copysign
	{0x99, 0x9a, OpInfo{Pop: "d", Push: "d", Class: ClassFloat, Float: true}},  // abs, neg
	{0x9b, 0x9e, OpInfo{Pop: "d", Push: "d", Class: ClassFloat, Float: true, NaN: true}},
	{0x9f, 0x9f, OpInfo{Pop: "d", Push: "d", Class: ClassRoot, Float: true, NaN: true}}, // sqrt
	{0xa0, 0xa2, OpInfo{Pop: "dd", Push: "d", Class: ClassFloat, Float: true, NaN: true}},
	{0xa3, 0xa3, OpInfo{Pop: "dd", Push: "d", Class: ClassRoot, Float: true, NaN: true}}, // div
	{0xa4, 0xa5, OpInfo{Pop: "dd", Push: "d", Class: ClassFloat, Float: true, NaN: true}},
	{0xa6, 0xa6, OpInfo{Pop: "dd", Push: "d", Class: ClassFloat, Float: true}}, // copysign

	{0xa7, 0xa7, OpInfo{Pop: "l", Push: "i", Class: ClassSimple}},
	{0xa8, 0xa9, OpInfo{Pop: "f", Push: "i", Class: ClassConvert, Float: true}},
	{0xaa, 0xab, OpInfo{Pop: "d", Push: "i", Class: ClassConvert, Float: true}},
	{0xac, 0xad, OpInfo{Pop: "i", Push: "l", Class: ClassSimple}},
	{0xae, 0xaf, OpInfo{Pop: "f", Push: "l", Class: ClassConvert, Float: true}},
	{0xb0, 0xb1, OpInfo{Pop: "d", Push: "l", Class: ClassConvert, Float: true}},
	{0xb2, 0xb3, OpInfo{Pop: "i", Push: "f", Class: ClassFloat, Float: true}},
	{0xb4, 0xb5, OpInfo{Pop: "l", Push: "f", Class: ClassFloat, Float: true}},
	{0xb6, 0xb6, OpInfo{Pop: "d", Push: "f", Class: ClassFloat, Float: true, NaN: true}}, // demote
	{0xb7, 0xb8, OpInfo{Pop: "i", Push: "d", Class: ClassFloat, Float: true}},
	{0xb9, 0xba, OpInfo{Pop: "l", Push: "d", Class: ClassFloat, Float: true}},
	{0xbb, 0xbb, OpInfo{Pop: "f", Push: "d", Class: ClassFloat, Float: true, NaN: true}}, // promote
	{0xbc, 0xbc, OpInfo{Pop: "f", Push: "i", Class: ClassLocal, Float: true}},
	{0xbd, 0xbd, OpInfo{Pop: "d", Push: "l", Class: ClassLocal, Float: true}},
	{0xbe, 0xbe, OpInfo{Pop: "i", Push: "f", Class: ClassLocal, Float: true}},
	{0xbf, 0xbf, OpInfo{Pop: "l", Push: "d", Class: ClassLocal, Float: true}},
	{0xc0, 0xc1, OpInfo{Pop: "i", Push: "i", Class: ClassSimple}},
	{0xc2, 0xc4, OpInfo{Pop: "l", Push: "l", Class: ClassSimple}},
}

func makeOps() [256]OpInfo {
	var table [256]OpInfo
	for _, row := range opRows {
		for op := row.first; op <= row.last; op++ {
			table[op] = row.info
		}
	}
	return table
}
