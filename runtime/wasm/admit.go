package wasm

import (
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// Refusal is the error of a module that is not admitted: a stable code, and
// where in the module the reason lies.
type Refusal = module.Refusal

// Use is one measure of a module beside its limit.
type Use struct {
	Name        string
	Used, Limit int
}

// Info describes an admitted module.
type Info struct {
	Entries     []abi.Entry
	Imports     []abi.HostFunc
	WASI        []string // imports of wasi_snapshot_preview1
	MemoryPages uint32   // initial, 64 KiB each
	MaxPages    uint32   // the memory's bound by its own declaration and the profile
	Uses        []Use
	// RewrittenBytes is the size of the metered module, 0 from Check.
	RewrittenBytes int
	// CompiledBytes estimates the memory of the compiled module, 0 from Check.
	CompiledBytes int
}

// compiledPerByte estimates native code and its tables by the metered
// module's size; see DESIGN.md for the measurement.
const compiledPerByte = 6

// Check says whether blob would be admitted under a profile by the newest
// protocol version. The error is a *Refusal, or tells that the profile is
// unknown.
func Check(blob []byte, profile abi.Profile) (Info, error) {
	rules, err := rulesOf(Protocol, profile)
	if err != nil {
		return Info{}, err
	}
	a, refusal := admit(blob, rules)
	if refusal != nil {
		return Info{}, refusal
	}
	return a.info(), nil
}

// Admit checks and rewrites blob as a deployment under a protocol version will,
// without compiling it. Its result is a function of the bytes, the version and
// the Runtime's profile: block execution may rely on it.
func (r *Runtime) Admit(protocol uint64, blob []byte) (Info, error) {
	rules, err := r.rulesOf(protocol)
	if err != nil {
		return Info{}, err
	}
	a, refusal := admit(blob, rules)
	if refusal != nil {
		return Info{}, refusal
	}
	info := a.info()
	info.RewrittenBytes = len(a.rewrite(false))
	info.CompiledBytes = info.RewrittenBytes * compiledPerByte
	return info, nil
}

// admitted is a module that passed every check.
type admitted struct {
	rules   *rules
	module  *module.Module
	funcs   []check.Func
	entries []abi.Entry
	imports []abi.HostFunc
	wasi    []string
}

func admit(blob []byte, r *rules) (*admitted, *Refusal) {
	m, err := module.Parse(blob, r.limits)
	if err != nil {
		return nil, err
	}
	a := &admitted{rules: r, module: m}
	if err := a.checkImports(); err != nil {
		return nil, err
	}
	if a.funcs, err = check.Module(m, r.limits); err != nil {
		return nil, err
	}
	if err := a.checkExports(); err != nil {
		return nil, err
	}
	if err := a.takeInitialiser(); err != nil {
		return nil, err
	}
	return a, nil
}

// rewrite gives the metered module; track adds the mark of what is written,
// which changes neither results nor gas.
func (a *admitted) rewrite(track bool) []byte {
	return rewrite.Module(a.module, a.funcs, rewrite.Options{Costs: a.rules.costs, Limits: a.rules.limits, Keep: isABIExport, Track: track})
}

// Names of the exports that are not entry points.
const (
	exportMemory     = "memory"
	exportAlloc      = "alloc"
	exportInitialise = "_initialize" // of WASI reactors, as Go makes them
)

var entryByName = func() map[string]abi.Entry {
	byName := make(map[string]abi.Entry)
	for e := range abi.EntryCount {
		byName[e.String()] = e
	}
	return byName
}()

var hostByName = func() map[string]abi.HostFunc {
	byName := make(map[string]abi.HostFunc)
	for f := range abi.HostFuncCount {
		byName[abi.HostFuncs[f].Name] = f
	}
	return byName
}()

func isABIExport(name string) bool {
	_, entry := entryByName[name]
	return entry || name == exportMemory || name == exportAlloc
}

// checkImports requires that each import is a host function with its type.
func (a *admitted) checkImports() *Refusal {
	for _, im := range a.module.Imports {
		if wasi := a.rules.wasiFunc(im.Name); im.Module == wasiModule && wasi != nil {
			if err := a.checkWASI(&im, wasi); err != nil {
				return err
			}
			continue
		}
		f, ok := hostByName[im.Name]
		if im.Module != abi.HostModule || !ok {
			return module.Refuse(abi.CodeModuleImport, im.Offset, "%q.%q is no host function", im.Module, im.Name)
		}
		want := &abi.HostFuncs[f]
		if int(im.Type) >= len(a.module.Types) || !hasType(&a.module.Types[im.Type], want.Params, want.Results) {
			return module.Refuse(abi.CodeModuleImport, im.Offset, "%q has the type (%s) -> (%s)", im.Name, want.Params, want.Results)
		}
		a.imports = append(a.imports, f)
	}
	return nil
}

// checkWASI requires that an import of a WASI function has its type and is
// made under a profile that has these functions.
func (a *admitted) checkWASI(im *module.Import, want *wasiFunc) *Refusal {
	if !a.rules.limits.WASI {
		return module.Refuse(abi.CodeModuleImport, im.Offset, "%q.%q needs the wide profile", im.Module, im.Name)
	}
	if int(im.Type) >= len(a.module.Types) || !hasType(&a.module.Types[im.Type], want.params, want.results) {
		return module.Refuse(abi.CodeModuleImport, im.Offset, "%q has the type (%s) -> (%s)", im.Name, want.params, want.results)
	}
	a.wasi = append(a.wasi, im.Name)
	return nil
}

// takeInitialiser makes the function that a WASI reactor exports for its
// initialisation the module's start function.
func (a *admitted) takeInitialiser() *Refusal {
	if !a.rules.limits.WASI {
		return nil
	}
	for _, e := range a.module.Exports {
		if e.Name != exportInitialise {
			continue
		}
		if e.Kind != module.KindFunc || !hasType(a.module.FuncType(e.Index), "", "") {
			return module.Refuse(abi.CodeModuleExport, e.Offset, "export %q has a wrong kind or type", e.Name)
		}
		if a.module.Start != nil {
			return module.Refuse(abi.CodeModuleStart, e.Offset, "a start function beside %q", e.Name)
		}
		a.module.Start = &e.Index
	}
	return nil
}

// hasType compares a type with one in the letters of abi.HostType.
func hasType(t *module.FuncType, params, results string) bool {
	return typeLetters(t.Params) == params && typeLetters(t.Results) == results
}

func typeLetters(types []module.ValType) string {
	var s strings.Builder
	for _, t := range types {
		switch t {
		case module.I32:
			s.WriteByte('i')
		case module.I64:
			s.WriteByte('l')
		default:
			s.WriteByte('f')
		}
	}
	return s.String()
}

// checkExports requires memory, alloc and an entry point, each with its kind
// and type, and no name that is the host's.
func (a *admitted) checkExports() *Refusal {
	var memory, alloc bool
	for _, e := range a.module.Exports {
		entry, isEntry := entryByName[e.Name]
		ok := true
		switch {
		case strings.HasPrefix(e.Name, rewrite.Prefix):
			return module.Refuse(abi.CodeModuleReservedName, e.Offset, "export %q is reserved for the host", e.Name)
		case e.Name == exportMemory:
			memory, ok = true, e.Kind == module.KindMemory
		case e.Name == exportAlloc:
			alloc, ok = true, e.Kind == module.KindFunc && hasType(a.module.FuncType(e.Index), "i", "i")
		case isEntry:
			ok = e.Kind == module.KindFunc && hasType(a.module.FuncType(e.Index), "ii", "l")
			a.entries = append(a.entries, entry)
		}
		if !ok {
			return module.Refuse(abi.CodeModuleExport, e.Offset, "export %q has a wrong kind or type", e.Name)
		}
	}
	if !memory || !alloc || len(a.entries) == 0 {
		return module.Refuse(abi.CodeModuleMissingExport, a.module.Size(), "memory, alloc and an entry point must be exported")
	}
	return nil
}

func (a *admitted) info() Info {
	m, l := a.module, a.rules.limits
	info := Info{Entries: a.entries, Imports: a.imports, WASI: a.wasi, MemoryPages: m.Memory.Min, MaxPages: uint32(l.MemoryPages)}
	if m.Memory.HasMax {
		info.MaxPages = min(info.MaxPages, m.Memory.Max)
	}
	info.Uses = append(moduleUses(m, l), functionUses(m, a.funcs, l)...)
	return info
}

// moduleUses lists the limits on a module.
func moduleUses(m *module.Module, l *module.Limits) []Use {
	table, params, results := 0, 0, 0
	if m.Table != nil {
		table = int(m.Table.Min)
	}
	for _, t := range m.Types {
		params, results = max(params, len(t.Params)), max(results, len(t.Results))
	}
	return []Use{
		{"bytes", m.Size(), l.Blob},
		{"types", len(m.Types), l.Types},
		{"parameters of a type", params, l.Params},
		{"results of a type", results, l.Results},
		{"imports", len(m.Imports), l.Imports},
		{"functions", m.NumFuncs(), l.Funcs},
		{"globals", len(m.Globals), l.Globals},
		{"exports", len(m.Exports), l.Exports},
		{"table elements", table, l.Table},
		{"memory pages", int(m.Memory.Min), l.MemoryPages},
		{"segments", len(m.Elems) + len(m.Datas), l.Segments},
		{"custom sections", m.CustomSections, l.CustomSections},
	}
}

// functionUses lists the limits on functions, and on what compiling them
// takes.
func functionUses(m *module.Module, funcs []check.Func, l *module.Limits) []Use {
	var most check.Func
	body := 0
	for i, f := range funcs {
		most.Locals = max(most.Locals, f.Locals)
		most.Blocks = max(most.Blocks, f.Blocks)
		most.Branches = max(most.Branches, f.Branches)
		most.Table = max(most.Table, f.Table)
		most.Loops = max(most.Loops, f.Loops)
		most.Calls = max(most.Calls, f.Calls)
		most.Accesses = max(most.Accesses, f.Accesses)
		most.FloatOps = max(most.FloatOps, f.FloatOps)
		most.Nesting = max(most.Nesting, f.Nesting)
		body = max(body, m.Codes[i].End-m.Codes[i].Start)
	}
	cost := check.Compile(funcs)
	uses := []Use{
		{"bytes of a body", body, l.Body},
		{"locals of a function", most.Locals, l.Locals},
		{"blocks of a function", most.Blocks, l.Blocks},
		{"nested blocks", most.Nesting, l.Nesting},
		{"conditional branches of a function", most.Branches, l.Branches},
		{"targets of a br_table", most.Table, l.BrTable},
		{"loops of a function", most.Loops, l.Loops},
		{"calls in a function", most.Calls, l.Calls},
		{"loads and stores in a function", most.Accesses, l.Accesses},
		{"memory to compile, KiB (estimate)", int(cost.Memory >> 10), int(l.CompileMemory >> 10)},
		{"work to compile, thousands (estimate)", int(cost.Work >> 10), int(l.CompileWork >> 10)},
	}
	if l.Floats {
		uses = append(uses, Use{"float operations in a function", most.FloatOps, l.FloatOps})
	}
	return uses
}
