package module

import "github.com/seed79541315/postern/abi"

// Instr is one instruction of a body.
type Instr struct {
	Op     Op
	Info   *OpInfo
	Offset int    // of the opcode, in the module's bytes
	Index  uint32 // label, function, type, local or global; alignment of a memory access
	Value  int64  // constant, or offset of a memory access
	Block  byte   // block type: a value type, or BlockEmpty
	Raw    []byte // the instruction as it stands in the module
	// Labels are the targets of a br_table, its default last; valid until
	// the next instruction is read.
	Labels []uint32
}

// BlockEmpty is the type of a block without a result.
const BlockEmpty = 0x40

// Reader yields the instructions of one body.
type Reader struct {
	r      reader
	labels []uint32
	limits *Limits
}

// Instructions begins to read the expression of c, a function of m.
func (m *Module) Instructions(c *Code, limits *Limits) Reader {
	return Reader{r: reader{blob: m.blob, pos: c.Start, end: c.End}, limits: limits}
}

// More says whether instructions are left.
func (d *Reader) More() bool { return d.r.more() }

// Next reads an instruction into in. An opcode that is not admitted is
// refused here, before its immediates.
func (d *Reader) Next(in *Instr) *Refusal {
	*in = Instr{Offset: d.r.pos}
	in.Op = Op(d.r.byte())
	if in.Op == 0xfc {
		in.Op = d.prefixed()
	}
	in.Info = in.Op.Info()
	switch {
	case d.r.err != nil:
		return d.r.err
	case in.Info.Class == ClassNone:
		return Refuse(notAdmitted(in.Op), in.Offset, "opcode %#02x is not admitted", uint16(in.Op))
	case in.Info.Float && !d.limits.Floats:
		return Refuse(abi.CodeModuleFloat, in.Offset, "opcode %#02x works on floats", uint16(in.Op))
	}
	d.immediate(in)
	in.Raw = d.r.blob[in.Offset:d.r.pos]
	return d.r.err
}

func (d *Reader) prefixed() Op {
	n := d.r.u32()
	if n >= uint32(len(prefixed)) {
		return 0xfcff
	}
	return 0xfc00 | Op(n)
}

// notAdmitted tells opcodes of later versions from bytes that are none.
func notAdmitted(op Op) abi.Code {
	if op >= 0xfc00 || op >= 0xd0 && op <= 0xd2 || op >= 0x25 && op <= 0x26 || op >= 0xfb || op >= 0x06 && op <= 0x0a || op >= 0x12 && op <= 0x1f {
		return abi.CodeModuleFeature
	}
	return abi.CodeModuleMalformed
}

func (d *Reader) immediate(in *Instr) {
	r := &d.r
	switch in.Info.imm {
	case immBlock:
		in.Block = d.blockType()
	case immIndex:
		in.Index = r.u32()
	case immMemory:
		in.Index = r.u32()
		in.Value = int64(r.u32())
	case immTable:
		in.Labels = d.table()
	case immIndirect:
		in.Index = r.u32()
		d.zero(r.u32())
	case immI32:
		in.Value = r.signed(32)
	case immI64:
		in.Value = r.signed(64)
	case immF32:
		r.bytes(4)
	case immF64:
		r.bytes(8)
	case immZero:
		d.zero(uint32(r.byte()))
	case immZeros:
		d.zero(uint32(r.byte()))
		d.zero(uint32(r.byte()))
	case immTypes:
		in.Block = d.selectType()
	}
}

// zero refuses an index of a second memory or table.
func (d *Reader) zero(index uint32) {
	if index != 0 {
		d.r.fail(abi.CodeModuleFeature, d.r.pos-1, "only one memory and one table are admitted")
	}
}

// blockType reads the type of a block: nothing or one value. Types by index
// (several results, parameters of blocks) are not admitted.
func (d *Reader) blockType() byte {
	at := d.r.pos
	b := d.r.byte()
	if b == BlockEmpty {
		return b
	}
	if b&0xc0 != 0x40 {
		d.r.fail(abi.CodeModuleFeature, at, "block types by index are not admitted")
		return b
	}
	d.r.checkValType(b, at, d.limits)
	return b
}

func (d *Reader) selectType() byte {
	at := d.r.pos
	if n := d.r.u32(); n != 1 {
		d.r.fail(abi.CodeModuleInvalid, at, "select takes one type")
	}
	b := d.r.byte()
	d.r.checkValType(b, at, d.limits)
	return b
}

func (d *Reader) table() []uint32 {
	at := d.r.pos
	n := d.r.u32()
	if int64(n) > int64(d.limits.BrTable) {
		d.r.fail(abi.CodeModuleBrTable, at, "br_table has %d targets, %d are admitted", n, d.limits.BrTable)
		return nil
	}
	d.labels = d.labels[:0]
	for range n + 1 {
		d.labels = append(d.labels, d.r.u32())
	}
	return d.labels
}
