package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// profiles are the profiles with their limits.
var profiles = map[string]struct {
	profile abi.Profile
	limits  *module.Limits
}{
	"lean": {abi.ProfileLean, &module.Lean},
	"wide": {abi.ProfileWide, &module.Wide},
}

// refusalUnder checks a blob under a profile.
func refusalUnder(t testing.TB, blob []byte, p abi.Profile) *Refusal {
	t.Helper()
	_, err := Check(blob, p)
	if err == nil {
		return nil
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not a refusal: %v", err)
	}
	return r
}

// culprit is the function that cases with a function exceed a limit in.
const culprit = 2

// limitCase makes a module that uses n of something.
type limitCase struct {
	name   string
	limit  int
	code   abi.Code
	inFunc bool
	edit   func(m *wasmtest.Module, n int)
	// place gives the offset that the refusal must name.
	place func(blob []byte) int
}

// content is the place where a section's content begins.
func content(id byte) func(blob []byte) int {
	return func(blob []byte) int {
		for at := 8; ; {
			size, n := binary.Uvarint(blob[at+1:])
			if blob[at] == id {
				return at + 1 + n
			}
			at += 1 + n + int(size)
		}
	}
}

// behind is the place a number of bytes behind another.
func behind(place func([]byte) int, n int) func([]byte) int {
	return func(blob []byte) int { return place(blob) + n }
}

// last is the place of the last byte of a value, which is an opcode.
func last(op byte) func(blob []byte) int {
	return func(blob []byte) int { return bytes.LastIndexByte(blob, op) }
}

// lastBody is the place where the last body's locals begin; back leads from
// there to its size.
func lastBody(back int) func(blob []byte) int {
	return func(blob []byte) int {
		at := content(10)(blob)
		count, n := binary.Uvarint(blob[at:])
		for at += n; ; count-- {
			size, n := binary.Uvarint(blob[at:])
			if count == 1 {
				return at + n - back
			}
			at += n + int(size)
		}
	}
}

func inBody(code func(n int) *wasmtest.Asm) func(m *wasmtest.Module, n int) {
	return func(m *wasmtest.Module, n int) { m.Func("", "", "", code(n)) }
}

// moduleLimits are the limits on modules; contract() uses a part of some.
func moduleLimits(l *module.Limits) []limitCase {
	return []limitCase{
		{"types", l.Types - 2, abi.CodeModuleTooManyTypes, false, func(m *wasmtest.Module, n int) {
			for range n {
				m.Type("", "")
			}
		}, content(1)},
		{"functions", l.Funcs - 2, abi.CodeModuleTooManyFuncs, false, func(m *wasmtest.Module, n int) {
			t := m.Type("", "")
			for range n {
				m.Funcs = append(m.Funcs, t)
				m.Bodies = append(m.Bodies, []byte{0, 0x0b})
			}
		}, content(3)},
		{"parameters", l.Params, abi.CodeModuleSignature, false, func(m *wasmtest.Module, n int) {
			m.Type(strings.Repeat("i", n), "")
		}, func(blob []byte) int { return bytes.Index(blob, []byte{0x7f, 0x7f, 0x7f}) - 1 }},
		{"results", l.Results, abi.CodeModuleTooManyResults, false, func(m *wasmtest.Module, n int) {
			m.Type("", strings.Repeat("i", n))
		}, func(blob []byte) int { return bytes.Index(blob, []byte{0x60, 0, 2}) + 2 }},
		{"table", l.Table, abi.CodeModuleTable, false, func(m *wasmtest.Module, n int) {
			m.Table = &module.Size{Min: uint32(n)}
		}, behind(content(4), 1)},
		{"memory", l.MemoryPages, abi.CodeModuleMemory, false, func(m *wasmtest.Module, n int) {
			m.Memory.Min = uint32(n)
		}, behind(content(5), 1)},
		{"globals", l.Globals, abi.CodeModuleTooManyGlobals, false, func(m *wasmtest.Module, n int) {
			for range n {
				m.Global(0)
			}
		}, content(6)},
		{"exports", l.Exports - 3, abi.CodeModuleTooManyExports, false, func(m *wasmtest.Module, n int) {
			for i := range n {
				m.Export("x"+strconv.Itoa(i), 0)
			}
		}, content(7)},
		{"segments", l.Segments, abi.CodeModuleTooManySegments, false, func(m *wasmtest.Module, n int) {
			m.Datas = make([]module.Data, n)
		}, content(11)},
		{"segments of both kinds", l.Segments - 5, abi.CodeModuleTooManySegments, false, func(m *wasmtest.Module, n int) {
			m.Table = &module.Size{Min: 1}
			m.Elems = make([]module.Elem, 5)
			m.Datas = make([]module.Data, n)
		}, content(11)},
		{"elements", l.Table, abi.CodeModuleTable, false, func(m *wasmtest.Module, n int) {
			m.Table = &module.Size{Min: uint32(l.Table)}
			m.Elems = []module.Elem{{Funcs: make([]uint32, n)}}
		}, behind(content(9), 5)},
	}
}

// functionLimits are the limits on functions.
func functionLimits(l *module.Limits) []limitCase {
	cases := []limitCase{
		{"locals", l.Locals, abi.CodeModuleTooManyLocals, true, func(m *wasmtest.Module, n int) {
			m.Func("", "", strings.Repeat("i", n), wasmtest.Code())
		}, lastBody(0)},
		{"locals and parameters", l.Locals - 2, abi.CodeModuleTooManyLocals, true, func(m *wasmtest.Module, n int) {
			m.Func("ii", "", strings.Repeat("l", n), wasmtest.Code())
		}, last(0x0b)},
		{"body", l.Body, abi.CodeModuleBodyTooLarge, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n-2, func(a *wasmtest.Asm) { a.Op(0x01) }) // no locals (1 byte), end (1)
		}), lastBody(3)},
		{"blocks", l.Blocks, abi.CodeModuleTooManyBlocks, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n, func(a *wasmtest.Asm) { a.Block(void).End() })
		}), last(0x02)},
		{"branches", l.Branches, abi.CodeModuleTooManyBranches, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n, func(a *wasmtest.Asm) { a.I32(0).BrIf(0) })
		}), last(0x0d)},
		{"branch targets", l.Branches - 1, abi.CodeModuleTooManyBranches, true, inBody(func(n int) *wasmtest.Asm {
			a := wasmtest.Code() // br_tables of 4 targets, and one that takes up the rest
			for ; n >= 8; n -= 4 {
				a.Block(void).I32(0).BrTable(0, 0, 0, 0).End()
			}
			return a.Block(void).I32(0).BrTable(make([]uint32, n+1)...).End()
		}), last(0x0e)},
		{"loops", l.Loops, abi.CodeModuleTooManyLoops, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n, func(a *wasmtest.Asm) { a.Loop(void).End() })
		}), last(0x03)},
		{"calls", l.Calls, abi.CodeModuleTooManyCalls, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n, func(a *wasmtest.Asm) { a.Call(2) })
		}), last(0x10)},
		{"loads and stores", l.Accesses, abi.CodeModuleTooManyAccesses, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n, func(a *wasmtest.Asm) { a.I32(0).Mem(0x28, 0).Op(0x1a) })
		}), last(0x28)},
		{"nesting", l.Nesting, abi.CodeModuleNesting, true, inBody(nestedBlocks), last(0x02)},
		{"br_table", l.BrTable, abi.CodeModuleBrTable, true, inBody(brTable), behind(last(0x0e), 1)},
	}
	if l.Floats {
		cases = append(cases, limitCase{"float operations", l.FloatOps, abi.CodeModuleTooManyFloats, true, inBody(func(n int) *wasmtest.Asm {
			return repeated(n, func(a *wasmtest.Asm) { a.Op(0x43, 0, 0, 0, 0, 0x91, 0x1a) })
		}), last(0x91)})
	}
	return cases
}

// Each limit admits its last value and refuses the next one, with a code of
// its own, the exact place, and the function's index and name.
func TestLimits(t *testing.T) {
	for name, p := range profiles {
		for _, c := range append(moduleLimits(p.limits), functionLimits(p.limits)...) {
			at := contract(func(m *wasmtest.Module) { c.edit(m, c.limit) })
			if r := refusalUnder(t, at, p.profile); r != nil {
				t.Errorf("%s: %s: %d refused: %v", name, c.name, c.limit, r)
			}
			over := contract(func(m *wasmtest.Module) { c.edit(m, c.limit+1) })
			want := Refusal{Code: c.code, FuncIndex: -1, Offset: c.place(over)}
			if c.inFunc {
				want.FuncIndex, want.Func = culprit, "culprit"
			}
			r := refusalUnder(t, wasmtest.Name(over, map[uint32]string{culprit: "culprit"}), p.profile)
			if r == nil {
				t.Errorf("%s: %s: %d admitted", name, c.name, c.limit+1)
			} else if r.Code != want.Code || r.FuncIndex != want.FuncIndex || r.Func != want.Func || r.Offset != want.Offset {
				t.Errorf("%s: %s: %d: %+v, want %+v", name, c.name, c.limit+1, *r, want)
			}
		}
	}
}

// The limit on imports counts functions that a host has.
func TestImportLimit(t *testing.T) {
	for name, p := range profiles {
		for _, n := range []int{p.limits.Imports, p.limits.Imports + 1} {
			m := &wasmtest.Module{}
			for range n {
				m.Host(abi.HostLog)
			}
			blob := contractOn(m)
			switch r := refusalUnder(t, blob, p.profile); {
			case n == p.limits.Imports && r != nil:
				t.Errorf("%s: %d imports: %v", name, n, r)
			case n > p.limits.Imports && (r == nil || r.Code != abi.CodeModuleTooManyImports || r.Offset != content(2)(blob)):
				t.Errorf("%s: %d imports: %v", name, n, r)
			}
		}
	}
}

// The limits on bytes and on custom sections.
func TestSizeLimits(t *testing.T) {
	valid := contract(func(*wasmtest.Module) {})
	for name, p := range profiles {
		head := 1 + len(leb(uint32(p.limits.Blob))) + len("\x01x")
		full := wasmtest.Custom(valid, "x", make([]byte, p.limits.Blob-len(valid)-head))
		if r := refusalUnder(t, full, p.profile); len(full) != p.limits.Blob || r != nil {
			t.Errorf("%s: %d bytes: %v", name, len(full), r)
		}
		over := append(full, 0, 1, 0)
		if r := refusalUnder(t, over, p.profile); r == nil || r.Code != abi.CodeModuleTooLarge || r.Offset != p.limits.Blob {
			t.Errorf("%s: %d bytes: %v", name, len(over), r)
		}
		customs := bytes.Clone(valid)
		for range p.limits.CustomSections {
			customs = wasmtest.Custom(customs, "x", nil)
		}
		if r := refusalUnder(t, customs, p.profile); r != nil {
			t.Errorf("%s: custom sections: %v", name, r)
		}
		r := refusalUnder(t, wasmtest.Custom(customs, "x", nil), p.profile)
		if r == nil || r.Code != abi.CodeModuleTooManyCustoms || r.Offset != len(customs) {
			t.Errorf("%s: custom sections: %v", name, r)
		}
	}
}

// hungry is a contract with a function of n blocks and loads, whose
// compilation takes memory.
func hungry(n int) []byte {
	return withBody(strings.Repeat("i", 90), repeated(n, func(a *wasmtest.Asm) {
		a.Get(0).Mem(0x28, 0).Tee(1).If(void).Get(1).Mem(0x28, 0).Set(2).Else().Get(2).Set(1).End()
	}))
}

// laborious is a contract with n functions of many locals and branches, whose
// compilation takes time.
func laborious(n int) []byte {
	return contract(func(m *wasmtest.Module) {
		branches := repeated(400, func(a *wasmtest.Asm) { a.Get(0).Op(0xa7).BrIf(0) })
		f := m.Func("", "", strings.Repeat("l", 90), branches)
		for range n - 1 {
			m.Funcs = append(m.Funcs, m.Funcs[f])
			m.Bodies = append(m.Bodies, m.Bodies[f])
		}
	})
}

// What compiling takes is bounded for the module as a whole, and the function
// that goes beyond is named.
func TestCompileLimits(t *testing.T) {
	for name, p := range profiles {
		n := 1
		for ; costOf(t, hungry(n)).Memory <= p.limits.CompileMemory; n++ {
			if n == p.limits.Blocks {
				t.Fatalf("%s: no function takes the memory", name)
			}
		}
		if r := refusalUnder(t, hungry(n-1), p.profile); r != nil {
			t.Errorf("%s: %d blocks: %v", name, n-1, r)
		}
		if r := refusalUnder(t, hungry(n), p.profile); r == nil || r.Code != abi.CodeModuleCompileMemory || r.FuncIndex != culprit {
			t.Errorf("%s: %d blocks: %v", name, n, r)
		}

		one, two := costOf(t, laborious(1)).Work, costOf(t, laborious(2)).Work
		n = 1 + int((p.limits.CompileWork-one)/(two-one))
		if r := refusalUnder(t, laborious(n), p.profile); r != nil {
			t.Errorf("%s: %d functions: %v", name, n, r)
		}
		if r := refusalUnder(t, laborious(n+1), p.profile); r == nil || r.Code != abi.CodeModuleCompileWork || r.FuncIndex != culprit+n {
			t.Errorf("%s: %d functions: %v", name, n+1, r)
		}
	}
}

// costOf estimates a module's cost whatever the limits on it.
func costOf(t testing.TB, blob []byte) check.Cost {
	t.Helper()
	limits := module.Wide
	limits.CompileMemory, limits.CompileWork = 1<<62, 1<<62
	m, refusal := module.Parse(blob, &limits)
	if refusal != nil {
		t.Fatal(refusal)
	}
	funcs, refusal := check.Module(m, &limits)
	if refusal != nil {
		t.Fatal(refusal)
	}
	return check.Compile(funcs)
}

// Uses tells of every limit how near the module is.
func TestUsesCoverLimits(t *testing.T) {
	for name, p := range profiles {
		info, err := Check(contract(func(*wasmtest.Module) {}), p.profile)
		if err != nil {
			t.Fatal(err)
		}
		listed := make(map[int]bool)
		for _, u := range info.Uses {
			if u.Limit <= 0 || u.Used < 0 || u.Used > u.Limit {
				t.Errorf("%s: %+v", name, u)
			}
			listed[u.Limit] = true
		}
		l := p.limits
		for _, limit := range []int{
			l.Blob, l.Types, l.Imports, l.Funcs, l.Params, l.Results, l.Locals, l.Body, l.Blocks, l.Branches, l.Loops, l.Calls, l.Accesses,
			l.Nesting, l.BrTable, l.Table, l.Globals, l.Exports, l.Segments, l.CustomSections, l.MemoryPages, int(l.CompileMemory >> 10), int(l.CompileWork >> 10),
		} {
			if !listed[limit] {
				t.Errorf("%s: no use has the limit %d", name, limit)
			}
		}
	}
}
