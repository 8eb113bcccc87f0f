package wasm

import (
	"cmp"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Inspection is what people want to know of an admitted module.
type Inspection struct {
	Info
	Imports   []Symbol
	Exports   []Symbol
	Functions []Function // defined ones, the largest body first
	Table     uint32     // elements
	Globals   int
	Data      int // bytes of data segments
}

// Symbol is an import ("module.name") or an export. Type has a letter for each
// parameter and result as in "(ii) l": i for i32, l for i64, f for floats; it
// is the kind of an export that is no function.
type Symbol struct{ Name, Type string }

// Function is a function that the module defines.
type Function struct {
	Index  int    // in the function index space
	Name   string // from the name section, else of an export, else ""
	Bytes  int    // of the body
	Locals int    // parameters included
	Blocks int
	Calls  int
}

// Inspect describes a module that a profile admits. Errors are those of Check.
func Inspect(blob []byte, profile abi.Profile) (*Inspection, error) {
	rules, err := rulesOf(Protocol, profile)
	if err != nil {
		return nil, err
	}
	a, refusal := admit(blob, rules)
	if refusal != nil {
		return nil, refusal
	}
	m := a.module
	v := &Inspection{Info: a.info(), Globals: len(m.Globals), Functions: a.functions()}
	v.RewrittenBytes = len(a.rewrite(false))
	v.CompiledBytes = v.RewrittenBytes * compiledPerByte
	for _, im := range m.Imports {
		v.Imports = append(v.Imports, Symbol{im.Module + "." + im.Name, typeText(&m.Types[im.Type])})
	}
	for _, e := range m.Exports {
		v.Exports = append(v.Exports, Symbol{e.Name, exportType(m, &e)})
	}
	if m.Table != nil {
		v.Table = m.Table.Min
	}
	for _, d := range m.Datas {
		v.Data += len(d.Bytes)
	}
	return v, nil
}

// functions lists what the module defines, the largest body first.
func (a *admitted) functions() []Function {
	exported := make(map[uint32]string)
	for _, e := range a.module.Exports {
		if e.Kind == module.KindFunc {
			exported[e.Index] = e.Name
		}
	}
	list := make([]Function, len(a.funcs))
	for i, f := range a.funcs {
		index := uint32(len(a.module.Imports) + i)
		c := &a.module.Codes[i]
		name := cmp.Or(a.module.Names[index], exported[index])
		list[i] = Function{Index: int(index), Name: name, Bytes: c.End - c.Start, Locals: f.Locals, Blocks: f.Blocks, Calls: f.Calls}
	}
	slices.SortStableFunc(list, func(x, y Function) int { return cmp.Compare(y.Bytes, x.Bytes) })
	return list
}

func typeText(t *module.FuncType) string {
	return "(" + typeLetters(t.Params) + ") " + typeLetters(t.Results)
}

func exportType(m *module.Module, e *module.Export) string {
	switch e.Kind {
	case module.KindFunc:
		return typeText(m.FuncType(e.Index))
	case module.KindTable:
		return "table"
	case module.KindMemory:
		return "memory"
	}
	return "global"
}
