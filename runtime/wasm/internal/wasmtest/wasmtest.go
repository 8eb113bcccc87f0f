// Package wasmtest assembles WebAssembly modules for tests.
package wasmtest

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Asm is code under construction; its methods append and return it.
type Asm struct{ Bytes []byte }

// Code begins a function's code.
func Code() *Asm { return &Asm{} }

// Op appends bytes as they are.
func (a *Asm) Op(b ...byte) *Asm {
	a.Bytes = append(a.Bytes, b...)
	return a
}

func (a *Asm) index(op byte, i uint32) *Asm {
	a.Bytes = module.AppendU32(append(a.Bytes, op), i)
	return a
}

// The instructions with immediates, by their names in the text format.

func (a *Asm) Get(i uint32) *Asm       { return a.index(0x20, i) }
func (a *Asm) Set(i uint32) *Asm       { return a.index(0x21, i) }
func (a *Asm) Tee(i uint32) *Asm       { return a.index(0x22, i) }
func (a *Asm) GlobalGet(i uint32) *Asm { return a.index(0x23, i) }
func (a *Asm) GlobalSet(i uint32) *Asm { return a.index(0x24, i) }
func (a *Asm) Br(l uint32) *Asm        { return a.index(0x0c, l) }
func (a *Asm) BrIf(l uint32) *Asm      { return a.index(0x0d, l) }
func (a *Asm) Call(f uint32) *Asm      { return a.index(0x10, f) }
func (a *Asm) Block(t byte) *Asm       { return a.Op(0x02, t) }
func (a *Asm) Loop(t byte) *Asm        { return a.Op(0x03, t) }
func (a *Asm) If(t byte) *Asm          { return a.Op(0x04, t) }
func (a *Asm) Else() *Asm              { return a.Op(0x05) }
func (a *Asm) End() *Asm               { return a.Op(0x0b) }
func (a *Asm) Grow() *Asm              { return a.Op(0x40, 0) }

// CallIndirect calls through the table with type index t.
func (a *Asm) CallIndirect(t uint32) *Asm { return a.index(0x11, t).Op(0) }

// I32 pushes a constant.
func (a *Asm) I32(v int32) *Asm {
	a.Bytes = module.AppendInt(append(a.Bytes, 0x41), int64(v))
	return a
}

// I64 pushes a constant.
func (a *Asm) I64(v int64) *Asm {
	a.Bytes = module.AppendInt(append(a.Bytes, 0x42), v)
	return a
}

// Mem appends a load or store with a static offset.
func (a *Asm) Mem(op byte, offset uint32) *Asm {
	a.Bytes = module.AppendU32(append(a.Bytes, op, 0), offset)
	return a
}

// BrTable appends a br_table; the last label is the default.
func (a *Asm) BrTable(labels ...uint32) *Asm {
	a.index(0x0e, uint32(len(labels)-1))
	for _, l := range labels {
		a.Bytes = module.AppendU32(a.Bytes, l)
	}
	return a
}

// Void is the type of a block without a result.
const Void = module.BlockEmpty

// Module is a module under construction. Imports must be added before
// functions.
type Module struct {
	module.Module
	Bodies [][]byte
}

func letters(s string) []byte {
	types := map[rune]byte{'i': module.I32, 'l': module.I64, 'f': module.F32, 'd': module.F64}
	var list []byte
	for _, l := range s {
		list = append(list, types[l])
	}
	return list
}

// Type appends a type in letters (i, l, f, d) and returns its index.
func (m *Module) Type(params, results string) uint32 {
	m.Types = append(m.Types, module.FuncType{Params: letters(params), Results: letters(results)})
	return uint32(len(m.Types) - 1)
}

// Import appends an imported function.
func (m *Module) Import(mod, name, params, results string) uint32 {
	m.Imports = append(m.Imports, module.Import{Module: mod, Name: name, Type: m.Type(params, results)})
	return uint32(len(m.Imports) - 1)
}

// Host imports a host function of the ABI.
func (m *Module) Host(f abi.HostFunc) uint32 {
	t := abi.HostFuncs[f]
	return m.Import(abi.HostModule, t.Name, t.Params, t.Results)
}

// Func appends a function, whose code lacks its final end, and returns its
// index.
func (m *Module) Func(params, results, locals string, code *Asm) uint32 {
	m.Funcs = append(m.Funcs, m.Type(params, results))
	body := module.AppendU32(nil, uint32(len(locals)))
	for _, t := range letters(locals) {
		body = append(body, 1, t)
	}
	m.Bodies = append(m.Bodies, append(append(body, code.Bytes...), 0x0b))
	return uint32(m.NumFuncs() - 1)
}

// Global appends a mutable i64 global.
func (m *Module) Global(init int64) uint32 {
	raw := append(module.AppendInt([]byte{0x42}, init), 0x0b)
	m.Globals = append(m.Globals, module.Global{Type: module.I64, Mutable: true, Init: raw})
	return uint32(len(m.Globals) - 1)
}

// Export exports function f.
func (m *Module) Export(name string, f uint32) {
	m.Exports = append(m.Exports, module.Export{Name: name, Kind: module.KindFunc, Index: f})
}

// Bytes encodes the module.
func (m *Module) Bytes() []byte { return m.AppendTo(nil, m.Bodies) }

// AllocAt is what alloc returns in contracts made by Contract.
const AllocAt = 32 << 10

// Contract begins a contract: imports of host functions, a page of memory
// and an alloc that always returns AllocAt.
func Contract(imports ...abi.HostFunc) *Module {
	m := &Module{}
	for _, f := range imports {
		m.Host(f)
	}
	m.Memory = &module.Size{Min: 1}
	m.Exports = append(m.Exports, module.Export{Name: "memory", Kind: module.KindMemory})
	m.Export("alloc", m.Func("i", "i", "", Code().I32(AllocAt)))
	return m
}

// Entry appends an entry point and exports it. Its parameters are pointer and
// length of the input; two i32 locals and two i64 locals follow (2 to 5).
func (m *Module) Entry(e abi.Entry, code *Asm) *Module {
	m.Export(e.String(), m.Func("ii", "l", "iill", code))
	return m
}

// Name returns the module with a name section that names functions.
func Name(blob []byte, names map[uint32]string) []byte {
	list := module.AppendU32(nil, uint32(len(names)))
	for i, name := range names {
		list = module.AppendName(module.AppendU32(list, i), name)
	}
	sub := append(module.AppendU32([]byte{1}, uint32(len(list))), list...)
	return Custom(blob, "name", sub)
}

// Custom returns the module with a custom section at its end.
func Custom(blob []byte, name string, content []byte) []byte {
	body := append(module.AppendName(nil, name), content...)
	out := append([]byte(nil), blob...)
	return append(module.AppendU32(append(out, 0), uint32(len(body))), body...)
}
