package wasm

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// leb is a LEB128 number.
func leb(v uint32) []byte { return module.AppendU32(nil, v) }

// section is a section with the content.
func section(id byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(append([]byte{id}, leb(uint32(len(body)))...), body...)
}

// edited is a contract in which one section, which it may lack, has other
// content.
func edited(id byte, content ...[]byte) []byte {
	valid := contract(func(*wasmtest.Module) {})
	out, done := bytes.Clone(valid[:8]), false
	for at := 8; at < len(valid); {
		end := at + 2 + int(valid[at+1]) // no section of the contract is long
		if !done && valid[at] >= id {
			out, done = append(out, section(id, content...)...), true
		}
		if valid[at] != id {
			out = append(out, valid[at:end]...)
		}
		at = end
	}
	if !done {
		out = append(out, section(id, content...)...)
	}
	return out
}

// withRaw is a contract whose function 2, of type () -> (), has the bytes:
// locals and code.
func withRaw(body ...[]byte) []byte {
	return contract(func(m *wasmtest.Module) {
		m.Funcs = append(m.Funcs, m.Type("", ""))
		m.Bodies = append(m.Bodies, bytes.Join(body, nil))
	})
}

// copiesOf is a contract with as many copies of a function of type () -> () as
// fit into a profile.
func copiesOf(l *module.Limits, body []byte) []byte {
	return contract(func(m *wasmtest.Module) {
		t := m.Type("", "")
		for size := 1024; size+len(body)+8 < l.Blob && len(m.Funcs) < l.Funcs; size += len(body) + 8 {
			m.Funcs = append(m.Funcs, t)
			m.Bodies = append(m.Bodies, body)
		}
	})
}

// bomb is a module made to cost much, and why it is refused. Where it is
// admitted (abi.OK), it must cost little to compile.
type bomb struct {
	blob []byte
	want abi.Code
}

// bombs are modules that are whole contracts but for what is to explode,
// as large as a profile admits.
func bombs(l *module.Limits) map[string]bomb {
	all := sectionBombs(l)
	for name, b := range bodyBombs(l) {
		all[name] = b
	}
	for name, b := range exportBombs(l) {
		all[name] = b
	}
	return all
}

// sectionBombs lie in counts, lengths and sections.
func sectionBombs(l *module.Limits) map[string]bomb {
	huge, long := leb(1<<32-1), []byte{0xff, 0xff, 0xff, 0xff, 0x1f}
	room := l.Blob - 1024
	fill := func(unit ...byte) []byte { return bytes.Repeat(unit, room/len(unit)) }
	valid := contract(func(*wasmtest.Module) {})
	with := func(tail ...[]byte) []byte { return append(bytes.Clone(valid), bytes.Join(tail, nil)...) }
	zero := []byte{0, 0x41, 0, 0x0b}
	return map[string]bomb{
		"types by count":       {edited(1, huge), abi.CodeModuleTooManyTypes},
		"types":                {edited(1, leb(uint32(room/3)), fill(0x60, 0, 0)), abi.CodeModuleTooManyTypes},
		"parameters by count":  {edited(1, []byte{1, 0x60}, huge), abi.CodeModuleSignature},
		"large signatures":     {edited(1, []byte{100}, bytes.Repeat(append([]byte{0x60, 17}, bytes.Repeat([]byte{0x7e}, 18)...), 100)), abi.CodeModuleSignature},
		"imports by count":     {edited(2, huge), abi.CodeModuleTooManyImports},
		"import's long name":   {edited(2, leb(1), leb(uint32(room-100)), fill('x')), abi.CodeModuleMalformed},
		"functions by count":   {edited(3, huge), abi.CodeModuleTooManyFuncs},
		"functions":            {edited(3, leb(uint32(room)), fill(0)), abi.CodeModuleTooManyFuncs},
		"table":                {edited(4, []byte{1, 0x70, 0}, huge), abi.CodeModuleTable},
		"table's maximum":      {edited(4, []byte{1, 0x70, 1, 1}, huge), abi.OK},
		"tables by count":      {edited(4, huge), abi.CodeModuleTable},
		"memory":               {edited(5, []byte{1, 0}, leb(65_536)), abi.CodeModuleMemory},
		"memory of 2^32-1":     {edited(5, []byte{1, 0}, huge), abi.CodeModuleInvalid},
		"memories by count":    {edited(5, huge), abi.CodeModuleMemory},
		"globals by count":     {edited(6, huge), abi.CodeModuleTooManyGlobals},
		"elements by count":    {edited(9, []byte{1, 0, 0x41, 0, 0x0b}, huge), abi.CodeModuleTable},
		"element segments":     {edited(9, leb(uint32(room/5)), fill(append(bytes.Clone(zero), 0)...)), elemCode(l, room/5)},
		"bodies by count":      {edited(10, huge), abi.CodeModuleTooManyFuncs},
		"data by count":        {edited(11, huge), abi.CodeModuleTooManySegments},
		"data segments":        {edited(11, leb(uint32(room/5)), fill(append(bytes.Clone(zero), 0)...)), abi.CodeModuleTooManySegments},
		"data's length":        {edited(11, []byte{1}, zero, huge), abi.CodeModuleMalformed},
		"data count":           {edited(12, huge), abi.CodeModuleSections}, // behind the code section
		"section's length":     {with([]byte{11}, huge), abi.CodeModuleMalformed},
		"overlong length":      {with([]byte{11}, long), abi.CodeModuleMalformed},
		"endless number":       {with([]byte{11}, bytes.Repeat([]byte{0x80}, room)), abi.CodeModuleMalformed},
		"repeated section":     {with(section(11, []byte{0}), section(11, []byte{0})), abi.CodeModuleSections},
		"repeated code":        {with(section(10, []byte{0})), abi.CodeModuleSections},
		"custom sections":      {with(fill(0, 1, 0)), abi.CodeModuleTooManyCustoms},
		"names by count":       {wasmtest.Custom(valid, "name", append([]byte{1, 5}, huge...)), abi.OK},
		"names":                {wasmtest.Custom(valid, "name", append(append([]byte{1}, leb(uint32(room-64))...), nameFlood(room-70)...)), abi.OK},
		"name subsections":     {wasmtest.Custom(valid, "name", fill(1, 1, 0)), abi.OK},
		"name's length":        {wasmtest.Custom(valid, "name", append([]byte{1, 7, 1, 0}, huge...)), abi.OK},
		"section of no name":   {with([]byte{0, 0}), abi.CodeModuleMalformed},
		"start of 2^32-1":      {edited(8, huge), abi.CodeModuleInvalid},
		"zeros behind the end": {append(bytes.Clone(valid), make([]byte, room)...), abi.CodeModuleMalformed},
	}
}

// elemCode says why n element segments are refused: too many of them, or for
// want of a table.
func elemCode(l *module.Limits, n int) abi.Code {
	if n > l.Segments {
		return abi.CodeModuleTooManySegments
	}
	return abi.CodeModuleInvalid
}

// nameFlood is a list of names that gives one to each of many functions.
func nameFlood(size int) []byte {
	n := (size - 5) / 4
	list := leb(uint32(n))
	for i := range n {
		list = append(append(list, leb(uint32(i%128))...), 2, 'a', 'b')
	}
	return list
}

// bodyBombs lie in function bodies.
func bodyBombs(l *module.Limits) map[string]bomb {
	huge := leb(1<<32 - 1)
	repeat := func(n int, unit ...byte) []byte { return bytes.Repeat(unit, n) }
	none, end := []byte{0}, []byte{0x0b}
	body := func(unit ...byte) []byte { return repeat((l.Body-16)/len(unit), unit...) }
	most := func(n int) []byte { return append([]byte{2}, append(append(leb(uint32(n)), 0x7f), 0, 0x7e)...) }
	pairs := l.Locals / 2
	return map[string]bomb{
		"2^32-1 locals":       {withRaw([]byte{1}, huge, []byte{0x7f}, end), abi.CodeModuleTooManyLocals},
		"locals that overrun": {withRaw([]byte{2}, huge, []byte{0x7f}, huge, []byte{0x7e}, end), abi.CodeModuleTooManyLocals},
		"runs of no locals":   {withRaw(leb(uint32((l.Body-16)/2)), body(0, 0x7f), end), abi.OK},
		"runs by count":       {withRaw(huge, end), abi.CodeModuleMalformed},
		"locals everywhere":   {copiesOf(l, append(most(l.Locals), 0x0b)), abi.OK},
		"thousands of locals": {copiesOf(l, append(most(5000), 0x0b)), abi.CodeModuleTooManyLocals},
		"nested blocks":       {withRaw(none, body(2, 0x40)), abi.CodeModuleNesting},
		"nested ifs":          {withRaw(none, body(0x41, 0, 4, 0x40)), abi.CodeModuleNesting},
		"20,000 ifs":          {withRaw(most(l.Locals), body(0x20, 0, 4, 0x40, 0x0b), end), abi.CodeModuleTooManyBlocks},
		"loops":               {withRaw(none, body(3, 0x40, 0x0b), end), abi.CodeModuleTooManyLoops},
		"br_table by count":   {withRaw(none, []byte{0x41, 0, 0x0e}, huge, end), abi.CodeModuleBrTable},
		"many br_tables":      {withRaw(none, body(2, 0x40, 0x41, 0, 0x0e, 2, 0, 0, 0, 0x0b), end), tablesCode(l)},
		"all br_table labels": {copiesOf(l, distinctTargets(min(l.BrTable, l.Nesting)-1)), abi.CodeModuleCompileWork},
		"branches of locals":  {copiesOf(l, branchy(l)), abi.CodeModuleCompileWork},
		"operands":            {withRaw(none, body(0x41, 0), end), abi.CodeModuleInvalid},
		"operands dropped":    {withRaw(none, repeat(l.Body/4, 0x41, 0), repeat(l.Body/4, 0x1a), end), abi.OK},
		"selects":             {withRaw(none, []byte{0x41, 0}, repeat(l.Body/8, 0x41, 1, 0x41, 0, 0x1b), []byte{0x1a}, end), abi.OK},
		"constants":           {withRaw(none, body(0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f, 0x1a), end), abi.OK},
		"overlong constant":   {withRaw(none, []byte{0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x1a}, end), abi.CodeModuleMalformed},
		"dead code":           {withRaw(none, []byte{0x00}, body(0x1a, 0x6a, 0x1a, 0x1b, 0x1a), end), abi.OK},
		"dead blocks":         {withRaw(none, []byte{0x00}, body(2, 0x40, 0x0b), end), abi.CodeModuleTooManyBlocks},
		"dead branches":       {withRaw(none, []byte{0x00}, body(0x0d, 0), end), branchCode(l)},
		"calls of itself":     {withRaw(none, body(0x10, culprit), end), abi.CodeModuleTooManyCalls},
		"grown memory":        {withRaw(none, body(0x41, 1, 0x40, 0, 0x1a), end), abi.CodeModuleTooManyCalls},
		"swapped locals":      {withRaw(append([]byte{1}, append(leb(uint32(pairs)), 0x7e)...), body(0x20, 0, 0x20, 1, 0x21, 0, 0x21, 1), end), abi.OK},
		"body's length":       {edited(10, []byte{2}, huge), abi.CodeModuleMalformed},
		"body of a megabyte":  {withRaw(none, repeat(min(1<<20, l.Blob-1024), 0x01), end), abi.CodeModuleBodyTooLarge},
		"appended global":     {withRaw(none, []byte{0x42, 1, 0x24, 0}, end), abi.CodeModuleInvalid},
		"global of 2^32-1":    {withRaw(none, []byte{0x23}, huge, []byte{0x1a}, end), abi.CodeModuleInvalid},
		"appended function":   {withRaw(none, []byte{0x10, culprit + 1}, end), abi.CodeModuleInvalid},
		"label of 2^32-1":     {withRaw(none, []byte{0x0c}, huge, end), abi.CodeModuleInvalid},
		"type of 2^32-1":      {withRaw(none, []byte{0x41, 0, 0x11}, huge, []byte{0}, end), abi.CodeModuleInvalid},
	}
}

// tablesCode says which limit a body full of small br_tables meets first.
func tablesCode(l *module.Limits) abi.Code {
	if 3*l.Blocks < l.Branches {
		return abi.CodeModuleTooManyBlocks
	}
	return abi.CodeModuleTooManyBranches
}

// branchCode says what a body full of br_ifs meets.
func branchCode(l *module.Limits) abi.Code {
	if (l.Body-16)/2 > l.Branches {
		return abi.CodeModuleTooManyBranches
	}
	return abi.OK
}

// distinctTargets is a body with as many blocks in one another, and a br_table
// that leads to each.
func distinctTargets(n int) []byte {
	a := wasmtest.Code()
	labels := make([]uint32, n)
	for i := range labels {
		a.Block(void)
		labels[i] = uint32(i)
	}
	a.I32(0).BrTable(labels...)
	for range n {
		a.End()
	}
	return append(append([]byte{0}, a.Bytes...), 0x0b)
}

// branchy is a body that branches as often as it may, with all locals.
func branchy(l *module.Limits) []byte {
	a := wasmtest.Code()
	for range min(l.Branches, 1024) {
		a.Get(0).BrIf(0)
	}
	return append(append([]byte{1, byte(l.Locals), 0x7f}, a.Bytes...), 0x0b)
}

// exportBombs lie in names and start functions.
func exportBombs(l *module.Limits) map[string]bomb {
	export := func(name string, kind byte, index uint32) []byte {
		return contract(func(m *wasmtest.Module) {
			m.Exports = append(m.Exports, module.Export{Name: name, Kind: kind, Index: index})
		})
	}
	start := uint32(culprit)
	return map[string]bomb{
		"exports":           {edited(7, leb(uint32(l.Blob/8)), bytes.Repeat([]byte{0, 0, 0}, l.Blob/8)), abi.CodeModuleTooManyExports},
		"long export":       {export(strings.Repeat("x", l.Blob-2048), module.KindFunc, 0), abi.OK},
		"export's length":   {edited(7, []byte{1}, leb(1<<32-1)), abi.CodeModuleMalformed},
		"export not UTF-8":  {export("\xff\xfe", module.KindFunc, 0), abi.CodeModuleMalformed},
		"export of NULs":    {export("decide\x00", module.KindFunc, 0), abi.OK},
		"repeated export":   {export("decide", module.KindFunc, 0), abi.CodeModuleInvalid},
		"host's export":     {export("postern:gas", module.KindFunc, 0), abi.CodeModuleReservedName},
		"appended global":   {export("x", module.KindGlobal, 0), abi.CodeModuleInvalid},
		"function 2^32-1":   {export("x", module.KindFunc, 1<<32-1), abi.CodeModuleInvalid},
		"start of itself":   {contract(func(m *wasmtest.Module) { m.Func("", "", "", wasmtest.Code().Call(culprit)); m.Start = &start }), abi.OK},
		"start that spins":  {contract(func(m *wasmtest.Module) { m.Func("", "", "", wasmtest.Code().Loop(void).Br(0).End()); m.Start = &start }), abi.OK},
		"start with result": {contract(func(m *wasmtest.Module) { m.Func("", "i", "", wasmtest.Code().I32(0)); m.Start = &start }), abi.CodeModuleStart},
	}
}

// bombBounds are what checking a bomb may take: time, and bytes allocated.
var bombBounds = map[abi.Profile]struct {
	time  time.Duration
	bytes uint64
}{
	abi.ProfileLean: {50 * time.Millisecond, 32 << 20},
	abi.ProfileWide: {200 * time.Millisecond, 32 << 20},
}

// Bombs are refused at once and without memory. The quickest of three counts:
// others use the machine as well. The race detector makes everything slower,
// so there the bound is ten times as wide.
func TestBombs(t *testing.T) {
	slack := time.Duration(1)
	if raceDetector {
		slack = 10
	}
	for name, p := range profiles {
		bound := bombBounds[p.profile]
		for what, b := range bombs(p.limits) {
			took, used := defuse(t, name+": "+what, b, p.profile)
			for range 2 {
				again, _ := defuse(t, name+": "+what, b, p.profile)
				took = min(took, again)
			}
			if took > slack*bound.time {
				t.Errorf("%s: %s: %v", name, what, took)
			}
			if used > bound.bytes {
				t.Errorf("%s: %s: %d bytes", name, what, used)
			}
		}
	}
}

// defuse checks a bomb and measures time and bytes allocated.
func defuse(t testing.TB, name string, b bomb, p abi.Profile) (took time.Duration, used uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	r := refusalUnder(t, b.blob, p)
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	got := abi.OK
	if r != nil {
		got = r.Code
	}
	if got != b.want {
		t.Errorf("%s: %v, want %s", name, r, b.want.Name())
	}
	return took, after.TotalAlloc - before.TotalAlloc
}

// Bombs that are admitted compile as cheaply as their estimate says: within
// the limits, whatever they were made for.
func TestAdmittedBombsCompile(t *testing.T) {
	r := newRuntime(t, engines()[0])
	for name, b := range bombs(&module.Lean) {
		if b.want != abi.OK {
			continue
		}
		if c := costOf(t, b.blob); c.Memory > module.Lean.CompileMemory || c.Work > module.Lean.CompileWork {
			t.Errorf("%s: %+v", name, c)
		}
		if err := r.Compile(t.Context(), Protocol, abi.Hash{byte(len(name))}, b.blob); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkBombs gives the dearest bomb of each profile.
func BenchmarkBombs(b *testing.B) {
	for name, p := range profiles {
		b.Run(name, func(b *testing.B) {
			all := bombs(p.limits)
			var took time.Duration
			var used uint64
			for b.Loop() {
				for what, bomb := range all {
					t, u := defuse(b, what, bomb, p.profile)
					took, used = max(took, t), max(used, u)
				}
			}
			b.ReportMetric(float64(took.Microseconds())/1000, "worst-ms")
			b.ReportMetric(float64(used), "worst-bytes")
			b.ReportMetric(float64(len(all)), "bombs")
		})
	}
}
