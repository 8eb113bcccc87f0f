// Package check validates a parsed module: the rules of the WebAssembly core
// specification's chapter 3 and the limits on function bodies. What passes is
// a valid module whatever a rewriter appends to it later, because it was
// checked against its own types, functions and globals alone.
package check

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Func is what the checker learned of a defined function.
type Func struct {
	Locals    int // parameters included
	Operands  int // highest number of operands
	Blocks    int // structured blocks
	Branches  int // targets of br_if and br_table
	Table     int // targets of the largest br_table
	Loops     int // of the blocks, those that are loops
	Calls     int // direct and indirect; none in a leaf
	Indirect  int // of the calls, the indirect ones
	Arguments int // of all calls
	Divides   int // divisions and remainders
	Accesses  int // loads and stores
	Stores    int // of these, the stores
	FloatOps  int // float instructions that become calls
	Nesting   int // deepest block

	Carried int // locals that the edges between blocks may carry, summed up over edges
	Known   int // addresses known at the ends of blocks, summed up over blocks

	Needs Needs // of the compiler, while it works on the function
	Kept  int64 // bytes that the compiler keeps of the function
	Work  int64 // see Cost
}

// Module validates m and returns one Func for each defined function.
func Module(m *module.Module, limits *module.Limits) ([]Func, *module.Refusal) {
	for _, check := range []func(*module.Module) *module.Refusal{types, exports, start, segments} {
		if err := check(m); err != nil {
			return nil, err
		}
	}
	funcs := make([]Func, len(m.Codes))
	b := body{m: m, bits: module.BitTypes(m.Types), limits: limits}
	var all total
	for i := range m.Codes {
		f, err := b.check(i)
		if err == nil {
			all.add(&f)
			err = all.check(limits, m.Codes[i].Start)
		}
		if err != nil {
			err.FuncIndex = len(m.Imports) + i
			err.Func = m.Names[uint32(err.FuncIndex)]
			return nil, err
		}
		funcs[i] = f
	}
	return funcs, nil
}

func invalid(offset int, format string, args ...any) *module.Refusal {
	return module.Refuse(abi.CodeModuleInvalid, offset, format, args...)
}

// types checks that functions and imports name types that exist.
func types(m *module.Module) *module.Refusal {
	for _, im := range m.Imports {
		if int(im.Type) >= len(m.Types) {
			return invalid(im.Offset, "type %d does not exist", im.Type)
		}
	}
	for i, t := range m.Funcs {
		if int(t) >= len(m.Types) {
			return invalid(0, "type %d of function %d does not exist", t, len(m.Imports)+i)
		}
	}
	return nil
}

func exports(m *module.Module) *module.Refusal {
	seen := make(map[string]bool, len(m.Exports))
	for _, e := range m.Exports {
		if seen[e.Name] {
			return invalid(e.Offset, "export %q is repeated", e.Name)
		}
		seen[e.Name] = true
		if !exists(m, e.Kind, e.Index) {
			return invalid(e.Offset, "export %q names index %d, which does not exist", e.Name, e.Index)
		}
	}
	return nil
}

func exists(m *module.Module, kind byte, index uint32) bool {
	switch kind {
	case module.KindFunc:
		return int64(index) < int64(m.NumFuncs())
	case module.KindTable:
		return index == 0 && m.Table != nil
	case module.KindMemory:
		return index == 0 && m.Memory != nil
	}
	return int64(index) < int64(len(m.Globals))
}

func start(m *module.Module) *module.Refusal {
	if m.Start == nil {
		return nil
	}
	if !exists(m, module.KindFunc, *m.Start) {
		return invalid(0, "start function %d does not exist", *m.Start)
	}
	if t := m.FuncType(*m.Start); len(t.Params)+len(t.Results) > 0 {
		return module.Refuse(abi.CodeModuleStart, 0, "start function %d has parameters or results", *m.Start)
	}
	return nil
}

// segments checks that each segment fits what it fills. The specification
// leaves that to instantiation; here offsets are constants, so the answer is
// known, and a module that could never be instantiated is refused.
func segments(m *module.Module) *module.Refusal {
	for _, e := range m.Elems {
		if m.Table == nil {
			return invalid(e.Offset, "element segment without a table")
		}
		if uint64(e.At)+uint64(len(e.Funcs)) > uint64(m.Table.Min) {
			return invalid(e.Offset, "element segment outside the table")
		}
		for _, f := range e.Funcs {
			if !exists(m, module.KindFunc, f) {
				return invalid(e.Offset, "function %d does not exist", f)
			}
		}
	}
	for _, d := range m.Datas {
		if m.Memory == nil {
			return invalid(d.Offset, "data segment without a memory")
		}
		if uint64(d.At)+uint64(len(d.Bytes)) > uint64(m.Memory.Min)<<16 {
			return invalid(d.Offset, "data segment outside the memory")
		}
	}
	return nil
}
