package module

import (
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
)

const (
	magic      = "\x00asm\x01\x00\x00\x00"
	maxSection = 12 // data count
)

// order is the place of each section: the data count section (12) stands
// before the code section (10).
var order = [maxSection + 1]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10}

// parser fills a module from its sections.
type parser struct {
	reader
	m      *Module
	limits *Limits
	bodies int // where the section after the bodies begins
}

// Parse reads a module within limits.
func Parse(blob []byte, limits *Limits) (*Module, *Refusal) {
	if len(blob) > limits.Blob {
		return nil, Refuse(abi.CodeModuleTooLarge, limits.Blob, "%d bytes, %d are admitted", len(blob), limits.Blob)
	}
	p := parser{reader: reader{blob: blob, end: len(blob)}, m: &Module{blob: blob}, limits: limits}
	if string(p.bytes(min(uint32(len(magic)), uint32(len(blob))))) != magic {
		p.pos = 0
		p.malformed("no WebAssembly 1 header")
	}
	last, customs := 0, 0
	for p.more() {
		at := p.pos
		id := p.byte()
		body := p.sub(p.u32())
		if p.err != nil {
			break
		}
		if id == 0 {
			if customs++; customs > limits.CustomSections {
				p.fail(abi.CodeModuleTooManyCustoms, at, "more than %d custom sections", limits.CustomSections)
			} else {
				p.custom(body)
			}
			continue
		}
		if id > maxSection {
			p.fail(abi.CodeModuleMalformed, at, "section %d is unknown", id)
		} else if order[id] <= last {
			p.fail(abi.CodeModuleSections, at, "section %d is repeated or out of order", id)
		} else {
			last = order[id]
			if id == 10 {
				p.bodies = p.pos
			}
			p.section(id, body)
		}
	}
	p.m.CustomSections = customs
	p.complete()
	if p.err != nil {
		return nil, p.named()
	}
	return p.m, nil
}

// named is the failure with its function's name, if the name section, which
// stands at the module's end, has one.
func (p *parser) named() *Refusal {
	refusal := p.err
	if refusal.FuncIndex < 0 {
		return refusal
	}
	rest := parser{reader: reader{blob: p.blob, pos: p.bodies, end: len(p.blob)}, m: p.m, limits: p.limits}
	for rest.more() {
		id := rest.byte()
		if body := rest.sub(rest.u32()); id == 0 && rest.err == nil {
			rest.custom(body)
		}
	}
	refusal.Func = p.m.Names[uint32(refusal.FuncIndex)]
	return refusal
}

// section parses one section by a parser bound to its bytes.
func (p *parser) section(id byte, body reader) {
	s := parser{reader: body, m: p.m, limits: p.limits}
	switch id {
	case 1:
		s.vector(p.limits.Types, abi.CodeModuleTooManyTypes, "types", s.funcType)
	case 2:
		s.vector(p.limits.Imports, abi.CodeModuleTooManyImports, "imports", s.importEntry)
	case 3:
		s.vector(p.limits.Funcs-len(p.m.Imports), abi.CodeModuleTooManyFuncs, "functions", func() {
			p.m.Funcs = append(p.m.Funcs, s.u32())
		})
	case 4:
		s.vector(1, abi.CodeModuleTable, "tables", s.table)
	case 5:
		s.vector(1, abi.CodeModuleMemory, "memories", s.memory)
	case 6:
		s.vector(p.limits.Globals, abi.CodeModuleTooManyGlobals, "globals", s.global)
	case 7:
		s.vector(p.limits.Exports, abi.CodeModuleTooManyExports, "exports", s.export)
	case 8:
		f := s.u32()
		p.m.Start = &f
	case 9:
		s.vector(p.limits.Segments, abi.CodeModuleTooManySegments, "element segments", s.elem)
	case 10:
		s.vector(p.limits.Funcs, abi.CodeModuleTooManyFuncs, "bodies", s.code)
	case 11:
		s.vector(p.limits.Segments-len(p.m.Elems), abi.CodeModuleTooManySegments, "data segments", s.data)
	case 12:
		n := s.u32()
		p.m.dataCount = &n
	}
	if s.more() {
		s.malformed("section is longer than its content")
	}
	p.err = s.err
}

// vector reads a count, refuses one above the limit, and calls item as often.
func (p *parser) vector(limit int, code abi.Code, what string, item func()) {
	at := p.pos
	n := p.u32()
	if int64(n) > int64(limit) {
		p.fail(code, at, "%d %s, %d are admitted", n, what, limit)
	}
	for i := uint32(0); i < n && p.err == nil; i++ {
		item()
	}
}

// complete checks what concerns several sections.
func (p *parser) complete() {
	m := p.m
	if len(m.Funcs) != len(m.Codes) {
		p.malformed("functions and bodies differ in number")
	}
	if m.dataCount != nil && int(*m.dataCount) != len(m.Datas) {
		p.malformed("data count differs from the data segments")
	}
}

func (r *reader) checkValType(b byte, at int, limits *Limits) {
	switch b {
	case I32, I64:
	case F32, F64:
		if !limits.Floats {
			r.fail(abi.CodeModuleFloat, at, "floats are not admitted")
		}
	case 0x7b, 0x70, 0x6f:
		r.fail(abi.CodeModuleFeature, at, "value type %#02x is not admitted", b)
	default:
		r.fail(abi.CodeModuleMalformed, at, "%#02x is no value type", b)
	}
}

func (p *parser) valTypes(limit int, code abi.Code) []ValType {
	at := p.pos
	n := p.u32()
	if int64(n) > int64(limit) {
		p.fail(code, at, "%d parameters or results, %d are admitted", n, limit)
		return nil
	}
	list := p.bytes(n)
	for i, t := range list {
		p.checkValType(t, p.pos-len(list)+i, p.limits)
	}
	return list
}

func (p *parser) funcType() {
	if p.byte() != 0x60 {
		p.pos--
		p.malformed("no function type")
		return
	}
	params := p.valTypes(p.limits.Params, abi.CodeModuleSignature)
	p.m.Types = append(p.m.Types, FuncType{params, p.valTypes(p.limits.Results, abi.CodeModuleTooManyResults)})
}

func (p *parser) name() string {
	at := p.pos
	b := p.bytes(p.u32())
	if !utf8.Valid(b) {
		p.fail(abi.CodeModuleMalformed, at, "name is not UTF-8")
	}
	return string(b)
}

func (p *parser) importEntry() {
	im := Import{Offset: p.pos, Module: p.name(), Name: p.name()}
	kind := p.byte()
	if kind > KindGlobal {
		p.malformed("unknown kind of import")
	} else if kind != KindFunc {
		p.fail(abi.CodeModuleImport, im.Offset, "%q.%q: only functions can be imported", im.Module, im.Name)
	}
	im.Type = p.u32()
	p.m.Imports = append(p.m.Imports, im)
}

// size reads the limits of a table or memory.
func (p *parser) size() *Size {
	s := &Size{Offset: p.pos}
	switch flag := p.byte(); flag {
	case 0:
		s.Min = p.u32()
	case 1:
		s.Min, s.HasMax = p.u32(), true
		s.Max = p.u32()
	case 2, 3, 4, 5, 6, 7:
		p.fail(abi.CodeModuleFeature, s.Offset, "shared and 64-bit memories are not admitted")
	default:
		p.malformed("unknown kind of size")
	}
	if s.HasMax && s.Max < s.Min {
		p.fail(abi.CodeModuleInvalid, s.Offset, "maximum below minimum")
	}
	return s
}

func (p *parser) table() {
	at := p.pos
	switch t := p.byte(); t {
	case FuncRef:
	case 0x6f:
		p.fail(abi.CodeModuleFeature, at, "tables of externref are not admitted")
	default:
		p.fail(abi.CodeModuleMalformed, at, "%#02x is no element type", t)
	}
	p.m.Table = p.size()
	if int64(p.m.Table.Min) > int64(p.limits.Table) {
		p.fail(abi.CodeModuleTable, at, "table of %d elements, %d are admitted", p.m.Table.Min, p.limits.Table)
	}
}

func (p *parser) memory() {
	at := p.pos
	p.m.Memory = p.size()
	if p.m.Memory.Min > 1<<16 || p.m.Memory.Max > 1<<16 {
		p.fail(abi.CodeModuleInvalid, at, "memory above 4 GiB")
	} else if int64(p.m.Memory.Min) > int64(p.limits.MemoryPages) {
		p.fail(abi.CodeModuleMemory, at, "memory of %d pages, %d are admitted", p.m.Memory.Min, p.limits.MemoryPages)
	}
}

// constant reads a constant expression of type t and returns its bytes and
// its value (of i32 and i64). There are no imported globals that it could name.
func (p *parser) constant(t ValType) (raw []byte, value int64) {
	at := p.pos
	got := ValType(0)
	switch op := Op(p.byte()); op {
	case OpI32Const:
		got, value = I32, p.signed(32)
	case OpI64Const:
		got, value = I64, p.signed(64)
	case OpF32Const:
		p.checkValType(F32, at, p.limits)
		got = F32
		p.bytes(4)
	case OpF64Const:
		p.checkValType(F64, at, p.limits)
		got = F64
		p.bytes(8)
	default:
		p.fail(abi.CodeModuleInvalid, at, "opcode %#02x is no constant", uint16(op))
	}
	if Op(p.byte()) != OpEnd && p.err == nil {
		p.fail(abi.CodeModuleInvalid, at, "constant expression of more than one instruction")
	}
	if got != t {
		p.fail(abi.CodeModuleInvalid, at, "constant of a wrong type")
	}
	return p.blob[at:p.pos], value
}

func (p *parser) global() {
	g := Global{Offset: p.pos, Type: p.byte()}
	p.checkValType(g.Type, g.Offset, p.limits)
	switch p.byte() {
	case 0:
	case 1:
		g.Mutable = true
	default:
		p.fail(abi.CodeModuleMalformed, p.pos-1, "unknown mutability")
	}
	g.Init, _ = p.constant(g.Type)
	p.m.Globals = append(p.m.Globals, g)
}

func (p *parser) export() {
	e := Export{Offset: p.pos, Name: p.name(), Kind: p.byte()}
	if e.Kind > KindGlobal {
		p.malformed("unknown kind of export")
	}
	e.Index = p.u32()
	p.m.Exports = append(p.m.Exports, e)
}

// segmentOffset reads the head of an active segment of memory or table 0.
func (p *parser) segmentOffset() uint32 {
	at := p.pos
	switch flag := p.u32(); {
	case flag > 7:
		p.fail(abi.CodeModuleMalformed, at, "unknown kind of segment")
	case flag != 0:
		p.fail(abi.CodeModuleFeature, at, "only active segments are admitted")
	}
	_, v := p.constant(I32)
	return uint32(v)
}

func (p *parser) elem() {
	e := Elem{Offset: p.pos, At: p.segmentOffset()}
	p.vector(p.limits.Table, abi.CodeModuleTable, "elements", func() {
		e.Funcs = append(e.Funcs, p.u32())
	})
	p.m.Elems = append(p.m.Elems, e)
}

// minData is the size of the smallest data segment: its kind, an offset of
// three bytes, and the length.
const minData = 5

func (p *parser) data() {
	if p.m.Datas == nil { // Go's modules have tens of thousands
		p.m.Datas = make([]Data, 0, min(p.limits.Segments, (p.end-p.pos)/minData+1))
	}
	d := Data{Offset: p.pos, At: p.segmentOffset()}
	d.Bytes = p.bytes(p.u32())
	p.m.Datas = append(p.m.Datas, d)
}

func (p *parser) code() {
	at := p.pos
	size := p.u32()
	body := p.sub(size)
	if p.err == nil && int64(size) > int64(p.limits.Body) {
		p.fail(abi.CodeModuleBodyTooLarge, at, "body of %d bytes, %d are admitted", size, p.limits.Body)
	}
	var c Code
	if p.err == nil {
		s := parser{reader: body, m: p.m, limits: p.limits}
		c = Code{Locals: s.locals(), Start: s.pos, End: s.end}
		p.err = s.err
	}
	if p.err != nil {
		p.err.FuncIndex = len(p.m.Imports) + len(p.m.Codes)
		return
	}
	p.m.Codes = append(p.m.Codes, c)
}

func (p *parser) locals() []LocalRun {
	var runs []LocalRun
	total, at := uint64(0), p.pos
	for n := p.u32(); n > 0 && p.err == nil; n-- {
		run := LocalRun{Count: p.u32()}
		run.Type = p.byte()
		p.checkValType(run.Type, p.pos-1, p.limits)
		if run.Count > 0 {
			runs = append(runs, run)
		}
		if total += uint64(run.Count); total > uint64(p.limits.Locals) && p.err == nil {
			p.fail(abi.CodeModuleTooManyLocals, at, "more than %d locals", p.limits.Locals)
		}
	}
	return runs
}

// custom reads the name of a custom section, which must be well formed, and
// of the name section the functions' names.
func (p *parser) custom(body reader) {
	s := parser{reader: body, m: p.m, limits: p.limits}
	name := s.name()
	if p.err = s.err; p.err == nil && name == "name" {
		s.functionNames()
	}
}

// maxNameBytes bounds what is kept of a name; the rest would only fill logs.
const maxNameBytes = 128

// functionNames keeps the first subsection 1 of the first name section. Damage
// is no reason to refuse: the section has no meaning to execution.
func (p *parser) functionNames() {
	for p.more() && p.m.Names == nil {
		id := p.byte()
		sub := p.sub(p.u32())
		if id != 1 {
			continue
		}
		s := parser{reader: sub, limits: p.limits}
		names := make(map[uint32]string)
		for n := p.minCount(s.u32()); n > 0 && s.more(); n-- {
			i, name := s.u32(), s.bytes(s.u32())
			if s.err == nil && utf8.Valid(name) {
				names[i] = string(name[:min(len(name), maxNameBytes)])
			}
		}
		p.m.Names = names
	}
}

// minCount bounds a count of names by the number of functions there can be.
func (p *parser) minCount(n uint32) uint32 { return min(n, uint32(p.limits.Funcs)) }
