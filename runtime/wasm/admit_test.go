package wasm

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

const void = wasmtest.Void

func refusalOf(t testing.TB, blob []byte) *Refusal {
	t.Helper()
	_, err := Check(blob, abi.ProfileLean)
	if err == nil {
		return nil
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not a refusal: %v", err)
	}
	return r
}

// contract is a valid contract after edit.
func contract(edit func(m *wasmtest.Module)) []byte {
	m := wasmtest.Contract()
	m.Entry(abi.EntryDecide, wasmtest.Code().I64(0))
	edit(m)
	return m.Bytes()
}

// withBody is a contract whose function 2 is () -> () with the code.
func withBody(locals string, code *wasmtest.Asm) []byte {
	return contract(func(m *wasmtest.Module) { m.Func("", "", locals, code) })
}

func repeated(n int, code func(a *wasmtest.Asm)) *wasmtest.Asm {
	a := wasmtest.Code()
	for range n {
		code(a)
	}
	return a
}

func nestedBlocks(n int) *wasmtest.Asm {
	a := repeated(n, func(a *wasmtest.Asm) { a.Block(void) })
	for range n {
		a.End()
	}
	return a
}

func brTable(n int) *wasmtest.Asm {
	return wasmtest.Code().Block(void).I32(0).BrTable(make([]uint32, n+1)...).End()
}

// contractOn makes a contract of a module that has imports only.
func contractOn(m *wasmtest.Module) []byte {
	c := wasmtest.Contract()
	m.Memory = c.Memory
	m.Exports = c.Exports[:1]
	m.Export("alloc", m.Func("i", "i", "", wasmtest.Code().I32(0)))
	return m.Entry(abi.EntryDecide, wasmtest.Code().I64(0)).Bytes()
}

// refusals are modules with one thing wrong each.
func refusals() map[string]struct {
	blob []byte
	want abi.Code
} {
	type c = struct {
		blob []byte
		want abi.Code
	}
	code := wasmtest.Code
	export := func(name string, kind byte, index uint32) []byte {
		return contract(func(m *wasmtest.Module) {
			m.Exports = append(m.Exports, module.Export{Name: name, Kind: kind, Index: index})
		})
	}
	imports := func(mod, name, params, results string) []byte {
		m := &wasmtest.Module{}
		m.Import(mod, name, params, results)
		return contractOn(m)
	}
	valid := contract(func(*wasmtest.Module) {})
	return map[string]c{
		"empty":              {nil, abi.CodeModuleMalformed},
		"text":               {[]byte("(module)"), abi.CodeModuleMalformed},
		"version 2":          {[]byte("\x00asm\x02\x00\x00\x00"), abi.CodeModuleMalformed},
		"component":          {[]byte("\x00asm\x0d\x00\x01\x00"), abi.CodeModuleMalformed},
		"header only":        {valid[:8], abi.CodeModuleMissingExport},
		"cut":                {valid[:len(valid)-1], abi.CodeModuleMalformed},
		"too large":          {append(bytes.Clone(valid), make([]byte, 256<<10)...), abi.CodeModuleTooLarge},
		"unknown section":    {append(bytes.Clone(valid), 13, 0), abi.CodeModuleMalformed},
		"repeated section":   {append(bytes.Clone(valid), 1, 1, 0), abi.CodeModuleSections},
		"custom sections":    {append(bytes.Clone(valid), bytes.Repeat([]byte{0, 1, 0}, 17)...), abi.CodeModuleTooManyCustoms},
		"float local":        {withBody("f", code()), abi.CodeModuleFloat},
		"float parameter":    {contract(func(m *wasmtest.Module) { m.Type("d", "") }), abi.CodeModuleFloat},
		"float constant":     {withBody("", code().Op(0x43, 0, 0, 0, 0, 0x1a)), abi.CodeModuleFloat},
		"float convert":      {withBody("", code().I32(0).Op(0xb2, 0x1a)), abi.CodeModuleFloat},
		"saturating convert": {withBody("", code().I32(0).Op(0xfc, 0, 0x1a)), abi.CodeModuleFloat},
		"vector":             {withBody("", code().Op(0xfd, 12)), abi.CodeModuleFeature},
		"atomic":             {withBody("", code().Op(0xfe, 3, 0)), abi.CodeModuleFeature},
		"table.get":          {withBody("", code().I32(0).Op(0x25, 0, 0x1a)), abi.CodeModuleFeature},
		"table.set":          {withBody("", code().Op(0x26, 0)), abi.CodeModuleFeature},
		"ref.func":           {withBody("", code().Op(0xd2, 0, 0x1a)), abi.CodeModuleFeature},
		"memory.init":        {withBody("", code().Op(0xfc, 8, 0, 0)), abi.CodeModuleFeature},
		"data.drop":          {withBody("", code().Op(0xfc, 9, 0)), abi.CodeModuleFeature},
		"table.init":         {withBody("", code().Op(0xfc, 12, 0, 0)), abi.CodeModuleFeature},
		"elem.drop":          {withBody("", code().Op(0xfc, 13, 0)), abi.CodeModuleFeature},
		"table.copy":         {withBody("", code().Op(0xfc, 14, 0, 0)), abi.CodeModuleFeature},
		"table.grow":         {withBody("", code().Op(0xfc, 15, 0)), abi.CodeModuleFeature},
		"table.fill":         {withBody("", code().Op(0xfc, 17, 0)), abi.CodeModuleFeature},
		"tail call":          {withBody("", code().Op(0x12, 0)), abi.CodeModuleFeature},
		"exceptions":         {withBody("", code().Op(0x06, 0x40, 0x0b)), abi.CodeModuleFeature},
		"several results":    {withBody("", code().Op(0x02, 0x00, 0x0b)), abi.CodeModuleFeature},
		"no opcode":          {withBody("", code().Op(0xc5)), abi.CodeModuleMalformed},
		"body without end":   {withBody("", code().Block(void)), abi.CodeModuleMalformed},
		"code after end":     {withBody("", code().End()), abi.CodeModuleMalformed},
		"operand missing":    {withBody("", code().Op(0x1a)), abi.CodeModuleInvalid},
		"wrong type":         {withBody("", code().I32(0).I64(0).Op(0x6a, 0x1a)), abi.CodeModuleInvalid},
		"unknown local":      {withBody("", code().Get(0).Op(0x1a)), abi.CodeModuleInvalid},
		"unknown label":      {withBody("", code().Br(1)), abi.CodeModuleInvalid},
		"unknown function":   {withBody("", code().Call(3)), abi.CodeModuleInvalid},
		// The rewriter appends its globals and functions behind the source's:
		// a body that names one of them must be refused before that.
		"the gas global":       {withBody("", code().I64(1).GlobalSet(0)), abi.CodeModuleInvalid},
		"the height global":    {withBody("", code().GlobalGet(1).Op(0x1a)), abi.CodeModuleInvalid},
		"a helper":             {withBody("", code().I32(1).Op(0x69, 0x1a).I32(1).I32(2).Call(3).Op(0x1a)), abi.CodeModuleInvalid},
		"the gas local":        {withBody("", code().I64(1).Set(0)), abi.CodeModuleInvalid},
		"the trap label":       {withBody("", code().Br(2)), abi.CodeModuleInvalid},
		"alignment":            {withBody("", code().I32(0).Op(0x28, 3, 0, 0x1a)), abi.CodeModuleInvalid},
		"constant global":      {contract(constantGlobal), abi.CodeModuleInvalid},
		"data outside":         {contract(func(m *wasmtest.Module) { m.Datas = []module.Data{{At: 65535, Bytes: []byte("ab")}} }), abi.CodeModuleInvalid},
		"data at -1":           {contract(func(m *wasmtest.Module) { m.Datas = []module.Data{{At: 1<<32 - 1, Bytes: []byte("a")}} }), abi.CodeModuleInvalid},
		"element without":      {contract(func(m *wasmtest.Module) { m.Elems = []module.Elem{{Funcs: []uint32{0}}} }), abi.CodeModuleInvalid},
		"foreign import":       {imports("env", "log", "ii", ""), abi.CodeModuleImport},
		"unknown import":       {imports("postern", "exec", "ii", ""), abi.CodeModuleImport},
		"mistyped import":      {imports("postern", "log", "il", ""), abi.CodeModuleImport},
		"mistyped result":      {imports("postern", "log", "ii", "i"), abi.CodeModuleImport},
		"reserved name":        {export(rewrite.FuelExport, module.KindFunc, 0), abi.CodeModuleReservedName},
		"reserved prefix":      {export("postern:", module.KindMemory, 0), abi.CodeModuleReservedName},
		"repeated export":      {export("decide", module.KindFunc, 0), abi.CodeModuleInvalid},
		"mistyped entry":       {export("execute", module.KindFunc, 0), abi.CodeModuleExport},
		"memory as entry":      {export("query", module.KindMemory, 0), abi.CodeModuleExport},
		"no entry":             {wasmtest.Contract().Bytes(), abi.CodeModuleMissingExport},
		"start with parameter": {contract(func(m *wasmtest.Module) { zero := uint32(0); m.Start = &zero }), abi.CodeModuleStart},
		"start of nothing":     {contract(func(m *wasmtest.Module) { f := uint32(9); m.Start = &f }), abi.CodeModuleInvalid},
	}
}

func constantGlobal(m *wasmtest.Module) {
	m.Global(0)
	m.Globals[0].Mutable = false
	m.Func("", "", "", wasmtest.Code().I64(0).GlobalSet(0))
}

func TestRefusals(t *testing.T) {
	for name, c := range refusals() {
		r := refusalOf(t, c.blob)
		if r == nil || r.Code != c.want {
			t.Errorf("%s: %v, want %s", name, r, c.want.Name())
		}
	}
}

func TestRefusalNamesTheFunction(t *testing.T) {
	blob := wasmtest.Name(withBody("", wasmtest.Code().I64(0)), map[uint32]string{2: "leaky"})
	r := refusalOf(t, blob)
	if r == nil || r.FuncIndex != 2 || r.Func != "leaky" || !strings.Contains(r.Error(), "leaky") {
		t.Fatal(r)
	}
	// Damage in the name section is no reason to refuse.
	for cut := range 6 {
		section := []byte{1, 9, 1, 2, 5, 'l', 'e'}[:7-cut]
		if r := refusalOf(t, wasmtest.Custom(contract(func(*wasmtest.Module) {}), "name", section)); r != nil {
			t.Errorf("name section cut by %d: %v", cut, r)
		}
	}
}

func TestInfo(t *testing.T) {
	blob := contract(func(m *wasmtest.Module) { m.Memory.Max, m.Memory.HasMax = 3, true })
	info, err := Check(blob, abi.ProfileLean)
	if err != nil || len(info.Entries) != 1 || info.Entries[0] != abi.EntryDecide || info.MemoryPages != 1 || info.MaxPages != 3 {
		t.Fatalf("%+v, %v", info, err)
	}
	for _, u := range info.Uses {
		if u.Limit <= 0 || u.Used > u.Limit {
			t.Errorf("%+v", u)
		}
	}
	r := newRuntime(t, EngineInterpreter)
	admitted, err := r.Admit(Protocol, blob)
	if err != nil || admitted.RewrittenBytes < len(blob) || admitted.CompiledBytes < admitted.RewrittenBytes {
		t.Fatalf("%+v, %v", admitted, err)
	}
	if _, err := Check(blob, 9); err == nil {
		t.Error("a profile without limits admitted something")
	}
}

// What newer toolchains write without need is admitted, and runs.
func TestAdmittedForms(t *testing.T) {
	code := wasmtest.Code
	entry := func(a *wasmtest.Asm) []byte {
		return wasmtest.Contract().Entry(abi.EntryDecide, a.I64(1)).Bytes()
	}
	table := wasmtest.Contract()
	table.Entry(abi.EntryDecide, code().I32(5).I32(0).Op(0x11, 0x80, 0x80, 0x80, 0x80, 0x00, 0x80, 0x80, 0x80, 0x80, 0x00, 0x1a).I64(1))
	table.Table = &module.Size{Min: 1, Max: 1, HasMax: true}
	table.Elems = []module.Elem{{Funcs: []uint32{0}}}
	counted := wasmtest.Contract()
	counted.Entry(abi.EntryDecide, code().I64(1))
	blob := counted.Bytes()
	codeAt := 0
	for at := 8; at < len(blob); { // the data count section stands before the code section
		if blob[at] == 10 {
			codeAt = at
			break
		}
		at += 2 + int(blob[at+1])
	}
	withCount := append(append(bytes.Clone(blob[:codeAt]), 12, 1, 0), blob[codeAt:]...)
	for name, blob := range map[string][]byte{
		"typed select":             entry(code().I32(1).I32(2).Get(0).Op(0x1c, 1, 0x7f, 0x1a)),
		"sign extension":           entry(code().Get(0).Op(0xc0, 0xc1, 0xac, 0xc2, 0xc3, 0xc4, 0x1a)),
		"bulk memory":              entry(code().I32(0).I32(1).I32(2).Op(0xfc, 10, 0, 0).I32(0).I32(0).I32(9).Op(0xfc, 11, 0)),
		"memory.copy, long opcode": entry(code().I32(0).I32(1).I32(2).Op(0xfc, 0x8a, 0x80, 0x00, 0, 0)),
		"padded indices":           table.Bytes(),
		"data count":               withCount,
		"unreachable code":         entry(code().Block(void).Br(0).Op(0x6a, 0x1a).Loop(void).Get(0).BrIf(0).End().End()),
		"else of unreachable":      entry(code().Get(0).If(void).Op(0x00).Else().Get(1).Set(2).End()),
	} {
		if r := refusalOf(t, blob); r != nil {
			t.Errorf("%s: %v", name, r)
			continue
		}
		if o := both(t, blob, abi.EntryDecide, 1<<30, noEnv); name != "else of unreachable" && o.code != abi.OK {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// What is checked is deterministic, and rewriting is too: the same bytes give
// the same module whatever ran before.
func TestAdmitIsDeterministic(t *testing.T) {
	for name, c := range trapCases() {
		a, refusal := admit(c.blob, leanRules)
		if refusal != nil {
			t.Fatalf("%s: %v", name, refusal)
		}
		first := a.rewrite(false)
		again, _ := admit(c.blob, leanRules)
		if !bytes.Equal(first, again.rewrite(false)) {
			t.Errorf("%s: rewritten in two ways", name)
		}
	}
}

// FuzzAdmit feeds the checker with anything, under both profiles. What it
// admits, the engine must compile, and the rewritten module must be valid by
// the engine's own rules. What lean admits, wide does too.
func FuzzAdmit(f *testing.F) {
	for _, c := range refusals() {
		if len(c.blob) < 4096 {
			f.Add(c.blob)
		}
	}
	for _, c := range trapCases() {
		f.Add(c.blob)
	}
	for _, fn := range wasiFuncs {
		f.Add(wasiCall(0, "", fn.name, make([]int64, len(fn.params))...))
	}
	f.Add(reactor(wasmtest.Code(), wasmtest.Code()))
	for _, blob := range floatContracts() {
		f.Add(blob)
	}
	lean, wide := newRuntime(f, EngineInterpreter), newWideRuntime(f, EngineInterpreter)
	f.Fuzz(func(t *testing.T, blob []byte) {
		if admitOrRefuse(t, lean, blob) && !admitOrRefuse(t, wide, blob) && !bytes.Contains(blob, []byte(exportInitialise)) {
			t.Fatal("admitted by the lean profile alone")
		}
	})
}

// admitOrRefuse says whether a profile admits blob, and compiles it if so.
func admitOrRefuse(t *testing.T, r *Runtime, blob []byte) bool {
	t.Helper()
	a, refusal := admit(blob, leanRules)
	if refusal != nil {
		if refusal.Code.Text() == "" || refusal.Offset < 0 || refusal.Offset > len(blob) {
			t.Fatalf("%+v", refusal)
		}
		return false
	}
	compiled, err := r.engines[Protocol].engine.CompileModule(context.Background(), a.rewrite(true))
	if err != nil {
		t.Fatalf("admitted, but: %v", err)
	}
	compiled.Close(context.Background())
	return true
}

// floatContracts are contracts with every kind of float instruction.
func floatContracts() map[string][]byte {
	code := wasmtest.Code
	body := func(a *wasmtest.Asm) []byte {
		m := wasmtest.Contract()
		m.Func("fd", "d", "fd", a)
		return m.Entry(abi.EntryExecute, code().I64(0)).Bytes()
	}
	return map[string][]byte{
		"arithmetic":  body(code().Get(0).Get(0).Op(0x92, 0x91, 0xbb).Get(1).Op(0xa3)),
		"comparisons": body(code().Get(1).Get(1).Op(0x61).If(void).Get(0).Get(2).Op(0x5d, 0x1a).End().Get(3)),
		"conversions": body(code().Get(1).Op(0xaa, 0xb7, 0xfc, 6, 0xb9, 0xb6, 0xa8, 0xb2, 0xbb)),
		"bits":        body(code().Get(0).Op(0x8c, 0xbc, 0xbe).Get(2).Op(0x98, 0xbb).Get(1).Op(0xa6, 0xbd, 0xbf)),
		"memory":      body(code().I32(0).Get(0).Mem(0x38, 4).I32(8).Get(1).Mem(0x39, 0).I32(0).Mem(0x2b, 2048)),
		"selects":     body(code().Get(1).Get(3).I32(1).Op(0x1b).Get(1).I32(0).Op(0x1c, 1, 0x7c)),
		"blocks":      body(code().Block(module.F64).Get(1).I32(0).BrIf(0).Op(0x9f).End()),
	}
}

// Floats are admitted under the wide profile alone.
func TestFloatsNeedTheWideProfile(t *testing.T) {
	for name, blob := range floatContracts() {
		if r := refusalOf(t, blob); r == nil || r.Code != abi.CodeModuleFloat || r.Offset <= 8 {
			t.Errorf("%s: %v", name, r)
		}
		if o := bothWide(t, blob, abi.EntryExecute, 1<<30); o.code != abi.OK {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// Conversions that trap have one code on every engine.
func TestFloatTraps(t *testing.T) {
	nan := []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
	large := []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x43} // 2^64
	infinite := []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0xff}
	for _, constant := range [][]byte{nan, large, infinite} {
		for op := byte(0xa8); op <= 0xb1; op++ {
			a := wasmtest.Code().Op(constant...)
			switch op {
			case 0xac, 0xad: // extensions of integers
				continue
			case 0xa8, 0xa9, 0xae, 0xaf:
				a.Op(0xb6) // of an f32
			}
			a.Op(op, 0x1a).I64(0)
			blob := wasmtest.Contract().Entry(abi.EntryExecute, a).Bytes()
			if o := bothWide(t, blob, abi.EntryExecute, 1<<30); o.code != abi.CodeIntegerOverflow {
				t.Errorf("op %#x of %x: %+v", op, constant, o)
			}
		}
	}
}
