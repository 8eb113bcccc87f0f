package wasm

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

var update = flag.Bool("update", false, "write golden files instead of comparing")

// goldenFile holds what the calls of the corpus do under a protocol version: it
// is the same on every processor and engine, so the test compares those on which
// it runs. Only the newest version's is ever written.
func goldenFile(version uint64) string { return fmt.Sprintf("testdata/engines-%d.golden", version) }

// goldenCase is one call of the corpus; a nil Env is a fresh script's.
type goldenCase struct {
	name  string
	blob  []byte
	entry abi.Entry
	input []byte
	gas   uint64
	env   func(r *Runtime) *memEnv
	wide  bool // for the wide profile
}

// goldenCases are calls that together reach every trap, every host function,
// growth, nesting, the end of the gas at many places, every WASI function and
// a Go guest.
func goldenCases(t *testing.T) []goldenCase {
	cases := trapGolden()
	cases = append(cases, nestedGolden()...)
	cases = append(cases, sweptGolden()...)
	for seed := range uint64(80) {
		s := usefulScript(seed)
		if seed%8 == 0 {
			s = randomScript(seed)
		}
		cases = append(cases, goldenCase{name: fmt.Sprint("script ", seed), blob: s.blob(), entry: s.entry, gas: 1 << 30})
	}
	cases = append(cases, accessGolden(t)...)
	cases = append(cases, wasiGolden()...)
	return append(cases, goGolden(t)...)
}

func trapGolden() (cases []goldenCase) {
	traps := trapCases()
	var names []string
	for name := range traps {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		cases = append(cases, goldenCase{name: name, blob: traps[name].blob, entry: abi.EntryExecute, gas: 1_000_000})
	}
	for _, code := range []int64{0, 4711, 65535, 65536, -1} {
		blob := hostCall(abi.HostAbort, abi.EntryDecide, "no", code, 1024, 2)
		cases = append(cases, goldenCase{name: fmt.Sprint("abort with ", code), blob: blob, entry: abi.EntryDecide, gas: 1 << 30})
	}
	for _, entry := range []abi.Entry{abi.EntryExecute, abi.EntryMigrate, abi.EntryInit, abi.EntryQuery, abi.EntryTimer} {
		cases = append(cases, goldenCase{name: fmt.Sprint("vandal ", entry), blob: vandal(), entry: entry, gas: 1 << 30})
	}
	return cases
}

// nestedGolden are chains of calls that end at the depth, the memory or the
// gas.
func nestedGolden() (cases []goldenCase) {
	for _, grow := range []int32{0, 1, 3, 7, 15} {
		for _, gas := range []uint64{30_000, 100_000, 1 << 30} {
			blob := caller(grow)
			cases = append(cases, goldenCase{
				name: fmt.Sprintf("nested, growing by %d, gas %d", grow, gas), blob: blob, entry: abi.EntryExecute, gas: gas,
				env: func(r *Runtime) *memEnv { return nestedEnv(r, blob, new(int)) },
			})
		}
	}
	return cases
}

// worker is a contract whose execute does some of everything in a loop:
// arithmetic, memory, a call, a remainder, bulk memory and host functions.
func worker() []byte {
	m := wasmtest.Contract(abi.HostStateSet, abi.HostStateGet, abi.HostEmit)
	m.Global(3)
	m.Datas = append(m.Datas, moduleData(scriptAt, scriptData))
	mix := m.Func("l", "l", "", wasmtest.Code().Get(0).I64(0x1e3779b97f4a7c15).Op(0x7e).Get(0).I64(29).Op(0x8a, 0x85))
	a := wasmtest.Code().I32(6).Set(2).Loop(wasmtest.Void).
		Get(4).Call(mix).Get(2).Op(0xad, 0x7c).Tee(4).GlobalGet(0).Op(0x82).GlobalSet(0). // remainders
		GlobalGet(0).I64(7).Op(0x84).GlobalSet(0).
		Get(2).I32(3).Op(0x74).Get(4).Mem(0x37, 2048).
		I32(4096).I32(2048).I32(200).Op(0xfc, 10, 0, 0).
		I32(scriptAt).I32(2).Get(2).I32(40).Call(0).
		I32(scriptAt).I32(2).I32(8192).I32(64).Call(1).Set(3).
		I32(scriptAt).I32(5).I32(4096).Get(3).Call(2).
		Get(2).I32(1).Op(0x6b).Tee(2).BrIf(0).End()
	return m.Entry(abi.EntryExecute, returnStatic(a, 2048, 64)).Bytes()
}

// sweptGolden runs out of gas at many places.
func sweptGolden() (cases []goldenCase) {
	blob := worker()
	for gas := uint64(0); gas < 130_000; gas += 997 {
		cases = append(cases, goldenCase{name: fmt.Sprint("worker, gas ", gas), blob: blob, entry: abi.EntryExecute, gas: gas})
	}
	return cases
}

// accessGolden are decisions of an access contract of testdata over the example of a
// building, in a state that its own messages wrote.
func accessGolden(t *testing.T) (cases []goldenCase) {
	t.Helper()
	src, err := os.ReadFile("../../contracts/access/testdata/building.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := access.ParseDocument(src)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := os.ReadFile("testdata/access.wasm")
	if err != nil {
		t.Fatal(err)
	}
	owner := abi.Hash{1}
	input := func(message []byte) []byte {
		return abi.AppendInput(nil, &abi.Input{Contract: "access", Owner: owner, Caller: &owner, Time: 1_700_000_000_000, Message: message})
	}
	env := func(r *Runtime) *memEnv { // a fresh state that holds the policy
		env := newMemEnv()
		for _, m := range doc.Messages(1, 0) {
			call := callOf(blob, abi.EntryExecute, env)
			call.Input = input(m)
			if _, err := r.Call(t.Context(), call); err != nil {
				t.Fatal(err)
			}
		}
		return env
	}
	for i, m := range doc.Messages(1, 0)[:2] {
		cases = append(cases, goldenCase{
			name: fmt.Sprint("access, message ", i), blob: blob, entry: abi.EntryExecute, input: input(m), gas: 1 << 30,
			env: func(*Runtime) *memEnv { return newMemEnv() },
		})
	}
	for _, q := range [][3]string{{"technician", "unlock", "lock"}, {"camera", "unlock", "lock"}, {"door-lock", "report", "lock"}, {"visitor", "stream", "camera"}} {
		props, err := cbor.AppendJSON(nil, []byte(`{"manufacturer":"acme","labels":{"role":"`+q[0]+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		question := abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
			Subject: &abi.Entity{Type: "device", ID: "00ff", Properties: props}, Action: abi.Action{Name: q[1]},
			Resource: abi.Entity{Type: q[2], ID: "front-door"},
		})
		for _, gas := range []uint64{3_000, 5_000, 7_000, 9_000, 11_000, 13_000, 1 << 30} {
			cases = append(cases, goldenCase{
				name: fmt.Sprintf("access, %s, gas %d", q, gas), blob: blob, entry: abi.EntryDecide,
				input: input(question), gas: gas, env: env,
			})
		}
	}
	return cases
}

// wasiGolden calls each WASI function with small numbers.
func wasiGolden() (cases []goldenCase) {
	for _, fn := range wasiFuncs {
		args := []int64{1, 1024, 2, 4096, 5, 6, 7, 8, 9}[:len(fn.params)]
		blob := wasiCall(64, words(2048, 3, 4000, 5)+strings.Repeat("\x01\x00", 200), fn.name, args...)
		cases = append(cases, goldenCase{name: fn.name, blob: blob, entry: abi.EntryQuery, gas: 1 << 30, wide: true})
	}
	return cases
}

// goGolden are calls of a Go guest that is kept as a fixture: a message is a
// list of steps.
func goGolden(t *testing.T) (cases []goldenCase) {
	t.Helper()
	blob, err := os.ReadFile("../../sdk/contract/testdata/script-v1.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, steps := range []string{
		`[]`,
		`[[22]]`,
		`[[23,"sum",12345],[23,"sum",-7],[24,9]]`,
		`[[28,"first",1],[28,"second",2],[28,"first",3]]`,
		`[[25,40]]`,
		`[[16,"a line"],[21,50]]`,
		`[[21,100000]]`,
		`[[19,"a panic"]]`,
		`[[20,7]]`,
		`[[17,4711,"an abort"]]`,
		`"no list"`,
	} {
		message, err := cbor.AppendJSON(nil, []byte(steps))
		if err != nil {
			t.Fatal(err)
		}
		input := abi.AppendInput(nil, &abi.Input{Contract: "script", Time: 1_700_000_000_000, Message: message})
		for _, gas := range []uint64{100_000, 400_000, 1 << 32} {
			cases = append(cases, goldenCase{
				name: fmt.Sprintf("Go, %s, gas %d", steps, gas), blob: blob, entry: abi.EntryExecute, input: input, gas: gas, wide: true,
			})
		}
	}
	return cases
}

// line is what a call did: code, abort code, gas, and digests of the output,
// of the memory that it left and of what its Env saw.
func (c *goldenCase) line(t *testing.T, r *Runtime) string {
	t.Helper()
	env := scriptEnv()
	if c.env != nil {
		env = c.env(r)
	}
	call := callOf(c.blob, c.entry, env)
	call.Gas = c.gas
	if c.input != nil {
		call.Input = c.input
	}
	res, mem, err := callKeeping(t, r, call)
	o := outcomeOf(t, res, err)
	digest := func(b []byte) string { return fmt.Sprintf("%.8x", sha256.Sum256(b)) }
	return fmt.Sprintf("%s: %s %d %d %d:%s %d:%s %s", c.name, o.code.Name(), o.abort, o.used,
		len(o.out), digest([]byte(o.out)), len(mem), digest(mem), digest([]byte(env.effects())))
}

func TestGoldenCalls(t *testing.T) {
	cases := goldenCases(t)
	for version := uint64(1); version <= Protocol; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			var want []string
			if !*update || version < Protocol {
				want = readGolden(t, version)
			}
			for _, e := range engines() {
				lean := newRuntimeWith(t, Config{Engine: e, Protocol: version})
				wide := newRuntimeWith(t, Config{Engine: e, Protocol: version, Profile: abi.ProfileWide, CodeBytes: 64 << 20})
				for range 2 { // fresh and pooled instances
					got := goldenLines(t, cases, lean, wide)
					if want == nil {
						want = got
					}
					compareLines(t, e, got, want)
				}
			}
			if *update && version == Protocol {
				writeGolden(t, version, want)
			}
		})
	}
}

func goldenLines(t *testing.T, cases []goldenCase, lean, wide *Runtime) (lines []string) {
	for i := range cases {
		r := lean
		if cases[i].wide {
			r = wide
		}
		lines = append(lines, cases[i].line(t, r))
	}
	return lines
}

func readGolden(t *testing.T, version uint64) []string {
	t.Helper()
	raw, err := os.ReadFile(goldenFile(version))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
}

func writeGolden(t *testing.T, version uint64, lines []string) {
	t.Helper()
	if err := os.WriteFile(goldenFile(version), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compareLines(t *testing.T, e Engine, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d calls, %d in the golden file; -update remakes that of the newest version", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%v:\n got %s\nwant %s", e, got[i], want[i])
		}
	}
}

// The corpus reaches what it is there for.
func TestGoldenReach(t *testing.T) {
	lines := strings.Join(readGolden(t, Protocol), "\n")
	for _, code := range []abi.Code{
		abi.CodeOutOfGas, abi.CodeStackLimit, abi.CodeMemoryLimit, abi.CodeUnreachable, abi.CodeDivideByZero, abi.CodeIntegerOverflow,
		abi.CodeOutOfBounds, abi.CodeBadIndirectCall, abi.CodeBadPointer, abi.CodeAborted, abi.CodeNotAllowedHere, abi.CodeNoEntryPoint,
		abi.CodeKeyTooLong, abi.CodeBadArgument, abi.CodeExited,
	} {
		if !strings.Contains(lines, ": "+code.Name()+" ") {
			t.Errorf("no call ends with %v", code)
		}
	}
}
