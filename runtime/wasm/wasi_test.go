package wasm

import (
	"context"
	"encoding/binary"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// wasiContract is a contract of the wide profile that imports WASI functions,
// numbered from 0, and has data at 1024. Its memory has one page.
func wasiContract(data string, names ...string) *wasmtest.Module {
	m := &wasmtest.Module{}
	for _, name := range names {
		fn := wideRules.wasiFunc(name)
		m.Import(wasiModule, name, fn.params, fn.results)
	}
	m.Memory = &module.Size{Min: 1}
	m.Exports = append(m.Exports, module.Export{Name: "memory", Kind: module.KindMemory})
	m.Export("alloc", m.Func("i", "i", "", wasmtest.Code().I32(wasmtest.AllocAt)))
	m.Datas = append(m.Datas, moduleData(1024, data))
	return m
}

// push pushes constants for the parameters of a WASI function.
func push(a *wasmtest.Asm, name string, args ...int64) *wasmtest.Asm {
	for i, letter := range wideRules.wasiFunc(name).params {
		if letter == 'l' {
			a.I64(args[i])
		} else {
			a.I32(int32(args[i]))
		}
	}
	return a
}

// wasiCall is a contract whose query calls one WASI function. It returns the
// 8 bytes at 2048, where the errno is stored first, and the n bytes after
// them.
func wasiCall(n int64, data, name string, args ...int64) []byte {
	a := push(wasmtest.Code().I32(2048), name, args...).Call(0)
	if wideRules.wasiFunc(name).results == "" {
		a.I32(-1)
	}
	a.Mem(0x36, 0)
	return wasiContract(data, name).Entry(abi.EntryQuery, returnStatic(a, 2048, 8+n)).Bytes()
}

func newWideRuntime(t testing.TB, e Engine) *Runtime {
	return newRuntimeWith(t, Config{Engine: e, Profile: abi.ProfileWide, CodeBytes: 64 << 20})
}

// wideOutcome is an outcome with what the call logged.
type wideOutcome struct {
	outcome
	logs string
}

// bothWide runs a call on every engine, twice, and requires one outcome.
func bothWide(t *testing.T, blob []byte, entry abi.Entry, gas uint64) wideOutcome {
	t.Helper()
	var first wideOutcome
	for i, e := range engines() {
		r := newWideRuntime(t, e)
		for round := range 2 {
			env := newMemEnv()
			call := callOf(blob, entry, env)
			call.Gas = gas
			res, err := r.Call(context.Background(), call)
			o := wideOutcome{outcomeOf(t, res, err), strings.Join(env.logs, "|")}
			if i+round == 0 {
				first = o
			}
			if o != first {
				t.Fatalf("%v: %+v, want %+v (%v)", e, o, first, err)
			}
		}
	}
	return first
}

// errnoOf is what a wasiCall returned in front of the bytes it shows.
func errnoOf(o wideOutcome) uint32 { return binary.LittleEndian.Uint32([]byte(o.out)) }

func words(list ...uint32) string {
	var b []byte
	for _, w := range list {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return string(b)
}

func TestWASITypes(t *testing.T) {
	if !slices.IsSortedFunc(wasiFuncs, func(a, b wasiFunc) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the table is not sorted")
	}
	imports := func(name, params, results string) []byte {
		m := &wasmtest.Module{}
		m.Import(wasiModule, name, params, results)
		return contractOn(m)
	}
	refused := func(blob []byte, p abi.Profile, why string) {
		t.Helper()
		_, err := Check(blob, p)
		r, ok := err.(*Refusal)
		if !ok || r.Code != abi.CodeModuleImport || r.Offset <= 8 || !strings.Contains(r.Detail, why) {
			t.Errorf("%v, want %q", err, why)
		}
	}
	for _, fn := range wasiFuncs {
		blob := imports(fn.name, fn.params, fn.results)
		info, err := Check(blob, abi.ProfileWide)
		if err != nil || !slices.Equal(info.WASI, []string{fn.name}) || len(info.Imports) != 0 {
			t.Errorf("%s: %+v, %v", fn.name, info, err)
		}
		refused(blob, abi.ProfileLean, "needs the wide profile")
		refused(imports(fn.name, fn.params+"i", fn.results), abi.ProfileWide, "has the type")
		refused(imports(fn.name, fn.params, "l"), abi.ProfileWide, "has the type")
		if fn.params != "" {
			refused(imports(fn.name, "f"+fn.params[1:], fn.results), abi.ProfileWide, "has the type")
		}
	}
	for _, p := range []abi.Profile{abi.ProfileLean, abi.ProfileWide} {
		refused(imports("fd_fly", "i", "i"), p, "is no host function")
		refused(imports("", "i", "i"), p, "is no host function")
		refused(imports("state_get", "iiii", "i"), p, "is no host function")
	}
}

// TestWASIOfGo: whatever the standard library imports is in the table, with
// its type.
func TestWASIOfGo(t *testing.T) {
	wide := map[string]bool{"filesize": true, "filedelta": true, "timestamp": true, "rights": true, "dircookie": true, "uint64": true, "int64": true}
	found := map[string]bool{}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"runtime", "syscall", "os", "net", "internal/poll", "internal/syscall/unix", "internal/runtime/*", "crypto/internal/*"} {
		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", dir, "*wasi*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range parsed.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Doc == nil {
					continue
				}
				for _, line := range fn.Doc.List {
					if name, ok := strings.CutPrefix(line.Text, "//go:wasmimport "+wasiModule+" "); ok {
						found[name] = true
						checkGoType(t, name, fn.Type, wide)
					}
				}
			}
		}
	}
	if len(found) < 30 {
		t.Errorf("the standard library imports only %d functions: %v", len(found), found)
	}
}

// checkGoType compares the type of a Go function with that in the table; wide
// are the names of Go's types of 64 bits.
func checkGoType(t *testing.T, name string, fn *ast.FuncType, wide map[string]bool) {
	t.Helper()
	params := ""
	for _, field := range fn.Params.List {
		letter := "i"
		if id, ok := field.Type.(*ast.Ident); ok && wide[id.Name] {
			letter = "l"
		}
		params += strings.Repeat(letter, len(field.Names))
	}
	results := ""
	if fn.Results != nil {
		results = "i"
	}
	have := wideRules.wasiFunc(name)
	if have == nil || have.params != params || have.results != results {
		t.Errorf("Go imports %s(%s) %s: %+v", name, params, results, have)
	}
}

func TestWASIAnswers(t *testing.T) {
	const at = 2056 // the bytes that a wasiCall shows
	second := "\x00\xca\x9a\x3b\x00\x00\x00\x00"
	for _, c := range []struct {
		name  string
		args  []int64
		errno uint32
		shown string
	}{
		{"args_get", []int64{at, at}, 0, "filled.."},
		{"args_sizes_get", []int64{at, at + 4}, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"environ_get", []int64{at, at}, 0, "filled.."},
		{"environ_sizes_get", []int64{at + 4, at}, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"clock_res_get", []int64{0, at}, 0, "\x01\x00\x00\x00\x00\x00\x00\x00"},
		{"clock_res_get", []int64{4, at}, 28, "filled.."},
		{"clock_time_get", []int64{0, 1, at}, 0, second},
		{"clock_time_get", []int64{1, -1, at}, 0, second},
		{"clock_time_get", []int64{3, 0, at}, 0, second},
		{"clock_time_get", []int64{4, 0, at}, 28, "filled.."},
		{"clock_time_get", []int64{-1, 0, at}, 28, "filled.."},
		{"random_get", []int64{at, 5}, 0, "\x00\x00\x00\x00\x00d.."},
		{"random_get", []int64{at, 0}, 0, "filled.."},
		{"sched_yield", nil, 0, "filled.."},
		{"fd_fdstat_get", []int64{0, at}, 8, "filled.."},
		{"fd_fdstat_get", []int64{1, at}, 0, "\x02\x00\x00\x00\x00\x00\x00\x00"},
		{"fd_fdstat_get", []int64{2, at - 8}, 0, "\x40\x00\x00\x00\x00\x00\x00\x00"},
		{"fd_fdstat_get", []int64{3, at}, 8, "filled.."},
		{"fd_prestat_get", []int64{3, at}, 8, "filled.."},
		{"fd_read", []int64{0, 0, 1, at}, 8, "filled.."},
		{"fd_close", []int64{1}, 8, "filled.."},
		{"path_open", []int64{3, 0, 0, 1, 0, 0, 0, 0, at}, 8, "filled.."},
		{"sock_accept", []int64{3, 0, at}, 52, "filled.."},
		{"proc_raise", []int64{9}, 52, "filled.."},
		{"poll_oneoff", []int64{0, 0, 0, at}, 28, "filled.."},
	} {
		m := wasiContract("", c.name)
		m.Datas = append(m.Datas, moduleData(at, "filled.."))
		a := push(wasmtest.Code(), c.name, c.args...).Call(0).Set(2).I32(2048).Get(2).Mem(0x36, 0)
		o := bothWide(t, m.Entry(abi.EntryQuery, returnStatic(a, 2048, 16)).Bytes(), abi.EntryQuery, 1<<30)
		if c.name == "fd_fdstat_get" && c.args[0] == 2 { // the errno lies within what it wrote
			c.errno = 0
		}
		if o.code != abi.OK || errnoOf(o) != c.errno || o.out[8:] != c.shown {
			t.Errorf("%s%v: %v, errno %d, %q", c.name, c.args, o.code, errnoOf(o), o.out[8:])
		}
	}
}

// Functions that fail whatever they are given do not look at their pointers.
func TestWASIFilesAreRefused(t *testing.T) {
	r := newWideRuntime(t, EngineInterpreter)
	for _, fn := range wasiFuncs {
		if strings.HasPrefix(fn.name, "fd_") && fn.name != "fd_write" && fn.name != "fd_fdstat_get" || strings.HasPrefix(fn.name, "path_") || strings.HasPrefix(fn.name, "sock_") {
			args := slices.Repeat([]int64{-1}, len(fn.params))
			res, err := r.Call(context.Background(), callOf(wasiCall(0, "", fn.name, args...), abi.EntryQuery, newMemEnv()))
			o := wideOutcome{outcome: outcomeOf(t, res, err)}
			if o.code != abi.OK || errnoOf(o) != wasiBadFile && errnoOf(o) != wasiNoSys {
				t.Errorf("%s: %+v", fn.name, o)
			}
		}
	}
}

// Every pointer, length and count that a guest can forge lies in its memory or
// traps with one code.
func TestWASIForgedPointers(t *testing.T) {
	type use struct {
		name string
		args func(ptr int64) []int64
		size int64
	}
	uses := []use{
		{"args_sizes_get", func(p int64) []int64 { return []int64{p, 0} }, 4},
		{"args_sizes_get", func(p int64) []int64 { return []int64{0, p} }, 4},
		{"environ_sizes_get", func(p int64) []int64 { return []int64{p, 0} }, 4},
		{"clock_res_get", func(p int64) []int64 { return []int64{0, p} }, 8},
		{"clock_time_get", func(p int64) []int64 { return []int64{0, 0, p} }, 8},
		{"fd_fdstat_get", func(p int64) []int64 { return []int64{1, p} }, 24},
		{"random_get", func(p int64) []int64 { return []int64{p, 7} }, 7},
		{"fd_write", func(p int64) []int64 { return []int64{1, p, 1, 0} }, 8},
		{"fd_write", func(p int64) []int64 { return []int64{1, 8192, 1, p} }, 4},
		{"poll_oneoff", func(p int64) []int64 { return []int64{p, 0, 1, 0} }, 48},
		{"poll_oneoff", func(p int64) []int64 { return []int64{0, p, 1, 0} }, 32},
		{"poll_oneoff", func(p int64) []int64 { return []int64{8192, 0, 1, p} }, 4},
	}
	edges := pointers
	for back := range int64(49) {
		edges = append(edges, 65536-back)
	}
	for _, e := range engines() {
		r := newWideRuntime(t, e)
		for _, u := range uses {
			for _, ptr := range edges {
				res, err := r.Call(context.Background(), callOf(wasiCall(0, "", u.name, u.args(ptr)...), abi.EntryQuery, newMemEnv()))
				o := outcomeOf(t, res, err)
				if inside := fits(ptr, u.size); inside && o.code != abi.OK || !inside && o.code != abi.CodeBadPointer {
					t.Errorf("%v: %s%v: %v", e, u.name, u.args(ptr), o.code)
				}
			}
		}
		for _, n := range pointers { // lengths and counts
			for name, c := range map[string]struct {
				args []int64
				data string
				unit int64
			}{
				"random_get":  {[]int64{0, n}, "", 1},
				"fd_write":    {[]int64{2, 0, n, 0}, "", 8},
				"poll_oneoff": {[]int64{0, 0, n, 0}, "", 48},
			} {
				call := callOf(wasiCall(0, c.data, name, c.args...), abi.EntryQuery, newMemEnv())
				res, err := r.Call(context.Background(), call)
				if o := outcomeOf(t, res, err); fits(0, n*c.unit) == (o.code == abi.CodeBadPointer) && !(name == "poll_oneoff" && n > 1<<26) {
					t.Errorf("%v: %s%v: %v", e, name, c.args, o.code)
				}
			}
		}
	}
}

// written is a contract whose query writes the vectors of (pointer, length)
// pairs in data, which is at 1024, one after another to descriptor fd.
func written(data string, fd int64, vectors ...[2]int64) []byte {
	a := wasmtest.Code()
	for _, v := range vectors {
		push(a, "fd_write", fd, v[0], v[1], 2048).Call(0).Set(2)
	}
	a.I32(2052).Get(2).Mem(0x36, 0)
	return wasiContract(data, "fd_write").Entry(abi.EntryQuery, returnStatic(a, 2048, 8)).Bytes()
}

func TestWASIWrite(t *testing.T) {
	hello := words(1024+16, 5, 1024+21, 2) + "hello!\n"
	for name, c := range map[string]struct {
		blob  []byte
		total uint32
		errno uint32
		logs  string
	}{
		"a line":               {written(hello, 1, [2]int64{1024, 2}), 7, 0, "hello!"},
		"to fd 2":              {written(hello, 2, [2]int64{1024, 2}), 7, 0, "hello!"},
		"to fd 0":              {written(hello, 0, [2]int64{1024, 2}), 0, 8, ""},
		"to fd 3":              {written(hello, 3, [2]int64{1024, 2}), 0, 8, ""},
		"nothing":              {written(hello, 1, [2]int64{1024, 0}), 0, 0, ""},
		"an unfinished line":   {written(hello, 1, [2]int64{1024, 1}), 5, 0, "hello"},
		"in pieces":            {written(hello, 1, [2]int64{1024, 1}, [2]int64{1032, 1}), 2, 0, "hello!"},
		"two lines":            {written(hello, 1, [2]int64{1024, 2}, [2]int64{1024, 2}), 7, 0, "hello!|hello!"},
		"no UTF-8":             {written(words(1032, 2)+"\xff\n", 1, [2]int64{1024, 1}), 2, 0, "\ufffd"},
		"more than a message":  {written(words(0, 5000, 1024+16, 1)+"\n", 1, [2]int64{1024, 2}), 5001, 0, strings.Repeat("\x00", maxLog)},
		"over and over itself": {written(words(1024, 8, 1024, 8, 1024, 8), 1, [2]int64{1024, 3}), 24, 0, strings.ToValidUTF8(strings.Repeat(words(1024, 8), 3), "\ufffd")},
	} {
		o := bothWide(t, c.blob, abi.EntryQuery, 1<<30)
		if name == "more than a message" { // data of the module stands in the zeros
			o.logs, c.logs = o.logs[:1000], c.logs[:1000]
		}
		if o.code != abi.OK || o.out != words(c.total, c.errno) || o.logs != c.logs {
			t.Errorf("%s: %v, %x, %q", name, o.code, o.out, o.logs)
		}
	}
}

// A vector of many pairs that all name the whole memory costs what it says.
func TestWASIWriteIsPaid(t *testing.T) {
	pairs := strings.Repeat(words(0, 65536), 4000)
	blob := written(pairs, 1, [2]int64{1024, 4000})
	if o := bothWide(t, blob, abi.EntryQuery, 50_000_000); o.code != abi.CodeOutOfGas || o.used != 50_000_000 || len(o.logs) > maxLog*3 {
		t.Errorf("%v, %d, %d bytes logged", o.code, o.used, len(o.logs))
	}
	for _, name := range []string{"fd_write", "random_get", "poll_oneoff"} {
		price := func(n int64) uint64 {
			args := map[string][]int64{"fd_write": {1, 4096, n, 0}, "random_get": {4096, n}, "poll_oneoff": {4096, 16384, n, 0}}[name]
			return bothWide(t, wasiCall(0, "", name, args...), abi.EntryQuery, 1<<30).used
		}
		if few, many := price(10), price(110); many < few+100*uint64(wideRules.wasiFunc(name).cost.Byte)/8 {
			t.Errorf("%s: 10 cost %d, 110 %d", name, few, many)
		}
	}
}

// Out of gas comes at every WASI function, on both engines at the same one.
func TestWASIOutOfGas(t *testing.T) {
	for _, fn := range wasiFuncs {
		blob := wasiCall(0, "", fn.name, make([]int64, len(fn.params))...)
		full := bothWide(t, blob, abi.EntryQuery, 1<<30)
		if full.used < uint64(fn.cost.Base) || fn.cost.Base == 0 {
			t.Errorf("%s costs %d", fn.name, full.used)
		}
		short := full.used - uint64(fn.cost.Base)/2 - 8
		if o := bothWide(t, blob, abi.EntryQuery, short); o.code != abi.CodeOutOfGas || o.used != short {
			t.Errorf("%s with %d of %d: %+v", fn.name, short, full.used, o)
		}
	}
}

// clockSub is a subscription of poll_oneoff to a clock; fileSub one to a file.
func clockSub(timeout uint64, absolute uint16) string {
	b := make([]byte, wasiSubscription)
	copy(b, "userdata")
	b[16] = 1
	binary.LittleEndian.PutUint64(b[24:], timeout)
	binary.LittleEndian.PutUint16(b[40:], absolute)
	return string(b)
}

func fileSub(kind byte) string {
	b := make([]byte, wasiSubscription)
	copy(b, "filedata")
	b[8] = kind
	return string(b)
}

func event(mark string, errno, kind byte) string {
	return mark + string([]byte{errno, 0, kind}) + strings.Repeat("\x00", 21)
}

// polled is a contract that polls and returns errno, the number of events, the
// time, and the first two events.
func polled(subs string, count int64) []byte {
	a := push(wasmtest.Code(), "poll_oneoff", 1024, 3024, count, 3004).Call(0).Set(2).I32(3000).Get(2).Mem(0x36, 0)
	push(a, "clock_time_get", 1, 0, 3008).Call(1).Op(0x1a)
	return wasiContract(subs, "poll_oneoff", "clock_time_get").Entry(abi.EntryQuery, returnStatic(a, 3000, 24+64)).Bytes()
}

func TestWASIPoll(t *testing.T) {
	const s = 1_000_000_000
	const never = 1<<63 - 1
	rings, bad := event("userdata", 0, 0), event("filedata", 8, 1)
	for name, c := range map[string]struct {
		subs   string
		errno  uint32
		time   uint64
		events []string
	}{
		"a second":             {clockSub(s, 0), 0, 2 * s, []string{rings}},
		"no time":              {clockSub(0, 0), 0, s, []string{rings}},
		"until a time":         {clockSub(5*s, 1), 0, 5 * s, []string{rings}},
		"until a time gone by": {clockSub(1, 1), 0, s, []string{rings}},
		"the earlier of two":   {clockSub(3*s, 0) + clockSub(2*s, 0), 0, 3 * s, []string{rings}},
		"both at once":         {clockSub(2*s, 0) + clockSub(3*s, 1), 0, 3 * s, []string{rings, rings}},
		"for ever":             {clockSub(1<<64-1, 0), 0, never, []string{rings}},
		"until for ever":       {clockSub(1<<64-1, 1), 0, never, []string{rings}},
		"overflow":             {clockSub(1<<63-2, 0), 0, never, []string{rings}},
		"a file":               {fileSub(1), 0, s, []string{bad}},
		"a file and a clock":   {clockSub(s, 0) + fileSub(1), 0, s, []string{bad}},
		"something else":       {clockSub(s, 0) + fileSub(3), 28, s, nil},
	} {
		o := bothWide(t, polled(c.subs, int64(len(c.subs)/wasiSubscription)), abi.EntryQuery, 1<<30)
		want := words(c.errno, uint32(len(c.events))) + string(binary.LittleEndian.AppendUint64(nil, c.time))
		events := strings.Join(c.events, "")
		if o.code != abi.OK || o.out[:16] != want || !strings.HasPrefix(o.out[24:], events) {
			t.Errorf("%s: %v, %x, want %x", name, o.code, o.out, want+"        "+events)
		}
	}
	// Events over subscriptions are nonsense, but the same nonsense everywhere.
	a := push(wasmtest.Code(), "poll_oneoff", 1024, 1000, 2, 1030).Call(0).Op(0x1a)
	blob := wasiContract(clockSub(1, 0)+fileSub(2), "poll_oneoff").Entry(abi.EntryQuery, returnStatic(a, 1000, 128)).Bytes()
	if o := bothWide(t, blob, abi.EntryQuery, 1<<30); o.code != abi.OK {
		t.Error(o)
	}
}

func TestWASIExit(t *testing.T) {
	last := words(1032, 12) + "panic: boom\n"
	a := push(wasmtest.Code(), "fd_write", 2, 1024, 1, 2048).Call(0).Op(0x1a)
	push(a, "proc_exit", 2).Call(1).I64(0)
	blob := wasiContract(last, "fd_write", "proc_exit").Entry(abi.EntryQuery, a).Bytes()
	if o := bothWide(t, blob, abi.EntryQuery, 1<<30); o.code != abi.CodeExited || o.logs != "panic: boom" || o.out != "" {
		t.Errorf("%+v", o)
	}
	for _, e := range engines() {
		_, err := newWideRuntime(t, e).Call(context.Background(), callOf(blob, abi.EntryQuery, newMemEnv()))
		if trap, ok := err.(*Trap); !ok || trap.Text != "exit code 2: panic: boom" {
			t.Errorf("%v: %v", e, err)
		}
	}
}

// reactor is a contract with an initialiser of the code and, at index query, a
// query that returns 16 bytes at 2048.
func reactor(init, query *wasmtest.Asm, names ...string) []byte {
	m := wasiContract("", names...)
	m.Export("_initialize", m.Func("", "", "i", init))
	return m.Entry(abi.EntryQuery, returnStatic(query, 2048, 16)).Bytes()
}

// An initialiser runs once, metered, with WASI and without the host's own
// functions; what it leaves in memory, its size and the clock is where each
// call begins.
func TestInitialiser(t *testing.T) {
	sleep := func(a *wasmtest.Asm) *wasmtest.Asm { // a second, by a subscription made at 1024
		a.I32(1024).I64(0).Mem(0x37, 8).I32(1024).I64(1_000_000_000).Mem(0x37, 24)
		return push(a, "poll_oneoff", 1024, 1100, 1, 1200).Call(0).Op(0x1a)
	}
	count := func(a *wasmtest.Asm) *wasmtest.Asm {
		return a.I32(2048).I32(2048).Mem(0x28, 0).I32(1).Op(0x6a).Mem(0x36, 0)
	}
	clock := func(a *wasmtest.Asm) *wasmtest.Asm {
		return push(a, "clock_time_get", 0, 0, 2056).Call(1).Op(0x1a)
	}
	grow := func(a *wasmtest.Asm) *wasmtest.Asm { return a.I32(3).Grow().Op(0x1a) }
	blob := reactor(sleep(count(grow(wasmtest.Code()))), clock(count(wasmtest.Code().I32(2052).Op(0x3f, 0).Mem(0x36, 0))), "poll_oneoff", "clock_time_get")
	want := words(2, 4) + string(binary.LittleEndian.AppendUint64(nil, 2_000_000_000))
	if o := bothWide(t, blob, abi.EntryQuery, 1<<30); o.code != abi.OK || o.out != want {
		t.Errorf("%+v", o)
	}
	for name, c := range map[string]struct {
		init *wasmtest.Asm
		want abi.Code
	}{
		"exits":      {push(wasmtest.Code(), "proc_exit", 0).Call(0), abi.CodeExited},
		"grows":      {wasmtest.Code().Loop(void).I32(1).Grow().Op(0x1a).Br(0).End(), abi.CodeMemoryLimit},
		"bad vector": {push(wasmtest.Code(), "fd_write", 1, -1, 1, 0).Call(1).Op(0x1a), abi.CodeBadPointer},
		"writes":     {push(wasmtest.Code(), "fd_write", 1, 0, 1, 0).Call(1).Op(0x1a), abi.OK},
	} {
		if o := bothWide(t, reactor(c.init, wasmtest.Code(), "proc_exit", "fd_write"), abi.EntryQuery, 1<<30); o.code != c.want || o.logs != "" {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestInitialiserIsChecked(t *testing.T) {
	code := wasmtest.Code
	typed := wasmtest.Contract().Entry(abi.EntryQuery, code().I64(0))
	typed.Export("_initialize", 0)
	kind := wasmtest.Contract().Entry(abi.EntryQuery, code().I64(0))
	kind.Exports = append(kind.Exports, module.Export{Name: "_initialize", Kind: module.KindMemory})
	beside := wasmtest.Contract().Entry(abi.EntryQuery, code().I64(0))
	f := beside.Func("", "", "", code())
	beside.Start = &f
	beside.Export("_initialize", f)
	for name, c := range map[string]struct {
		m    *wasmtest.Module
		want abi.Code
	}{
		"mistyped":       {typed, abi.CodeModuleExport},
		"a memory":       {kind, abi.CodeModuleExport},
		"and start also": {beside, abi.CodeModuleStart},
	} {
		_, err := Check(c.m.Bytes(), abi.ProfileWide)
		if r, ok := err.(*Refusal); !ok || r.Code != c.want || r.Offset <= 8 {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Check(c.m.Bytes(), abi.ProfileLean); err != nil {
			t.Errorf("%s, lean: %v", name, err)
		}
	}
}

// FuzzWASI calls any function with any parameters over any memory: the call
// ends, well or with a trap, and never with a fault of the host.
func FuzzWASI(f *testing.F) {
	f.Add(uint8(26), int64(1), int64(1024), int64(1), int64(2048), words(1024, 8))
	f.Add(uint8(37), int64(1024), int64(2048), int64(1), int64(4096), clockSub(1, 0))
	f.Add(uint8(38), int64(2), int64(0), int64(0), int64(0), "")
	r := newWideRuntime(f, EngineInterpreter)
	f.Fuzz(func(t *testing.T, index uint8, a, b, c, d int64, data string) {
		fn := &wasiFuncs[int(index)%len(wasiFuncs)]
		args := []int64{a, b, c, d, a, b, c, d, a}
		call := callOf(wasiCall(64, data[:min(len(data), 60<<10)], fn.name, args...), abi.EntryQuery, newMemEnv())
		call.Gas = 10_000_000
		res, err := r.Call(context.Background(), call)
		if o := outcomeOf(t, res, err); o.used == 0 || o.used > call.Gas {
			t.Errorf("%s%v: %+v", fn.name, args, o)
		}
	})
}
