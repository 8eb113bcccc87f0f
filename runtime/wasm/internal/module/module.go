// Package module reads WebAssembly modules and writes their parts: the
// binary format of the core specification's chapter 5, without the features
// that no contract may use.
//
// Parse reads everything but the function bodies and holds the limits that
// concern counts and sizes; Instructions yields a body's instructions. Neither
// checks types: that is package check. What Parse returns points into the
// module's bytes, which must not change.
package module

// ValType is a value type's byte.
type ValType = byte

// The value types, and the type of table elements.
const (
	I32     ValType = 0x7f
	I64     ValType = 0x7e
	F32     ValType = 0x7d
	F64     ValType = 0x7c
	FuncRef ValType = 0x70
)

// Kinds of exports.
const (
	KindFunc byte = iota
	KindTable
	KindMemory
	KindGlobal
)

// FuncType is a function's type; each byte of the two is a ValType.
type FuncType struct{ Params, Results []ValType }

// Import is an imported function.
type Import struct {
	Module, Name string
	Type         uint32
	Offset       int
}

// Size is a table's or memory's size: elements or pages.
type Size struct {
	Min, Max uint32
	HasMax   bool
	Offset   int
}

// Global is a global variable with its constant initial value.
type Global struct {
	Type    ValType
	Mutable bool
	Init    []byte // a constant instruction and end
	Offset  int
}

// Export is an exported function, table, memory or global.
type Export struct {
	Name   string
	Kind   byte
	Index  uint32
	Offset int
}

// Elem is an active segment of the table.
type Elem struct {
	At     uint32 // first table element
	Funcs  []uint32
	Offset int
}

// Data is an active segment of the memory.
type Data struct {
	At     uint32
	Bytes  []byte
	Offset int
}

// LocalRun declares Count locals of one type.
type LocalRun struct {
	Count uint32
	Type  ValType
}

// Code is a function's body: its locals, and the place of its expression in
// the module's bytes.
type Code struct {
	Locals     []LocalRun
	Start, End int
}

// Module is a parsed module.
type Module struct {
	blob    []byte
	Types   []FuncType
	Imports []Import
	Funcs   []uint32 // types of the defined functions
	Table   *Size
	Memory  *Size
	Globals []Global
	Exports []Export
	Start   *uint32
	Elems   []Elem
	Codes   []Code
	Datas   []Data
	// CustomSections counts them; they are not kept.
	CustomSections int
	// Names holds function names from the name section, by function index.
	// They are for people only and absent where the section is damaged.
	Names map[uint32]string

	dataCount *uint32
}

// NumFuncs is the size of the function index space.
func (m *Module) NumFuncs() int { return len(m.Imports) + len(m.Funcs) }

// TypeIndex is the index of the type of function index i, which must be in
// range.
func (m *Module) TypeIndex(i uint32) uint32 {
	if int(i) < len(m.Imports) {
		return m.Imports[i].Type
	}
	return m.Funcs[int(i)-len(m.Imports)]
}

// FuncType is the type of function index i, which must be in range.
func (m *Module) FuncType(i uint32) *FuncType { return &m.Types[m.TypeIndex(i)] }

// Size is the number of bytes of the module.
func (m *Module) Size() int { return len(m.blob) }
