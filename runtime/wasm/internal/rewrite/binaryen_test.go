package rewrite_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// binaryen asks for modules made anew by wasm-opt, which must be installed
// then; without it the modules in testdata are run, which it made earlier.
var binaryen = flag.Uint64("binaryen", 0, "random modules that wasm-opt is to make")

// wasmOptFlags are the features that contracts may use, floats included. Bulk
// memory is not among them: with it nearly every module has passive segments,
// which are not admitted.
var wasmOptFlags = []string{"-ttf", "--mvp-features", "--enable-mutable-globals", "--enable-sign-ext", "--enable-nontrapping-float-to-int"}

// fuzzedModule makes a module of seeded noise. A calm one canonicalises its
// NaNs itself, so that the source has one meaning.
func fuzzedModule(t *testing.T, seed uint64, calm bool) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "noise"), filepath.Join(dir, "module.wasm")
	g := rand.New(rand.NewPCG(seed, 2))
	noise := make([]byte, 4000+g.IntN(60_000))
	for i := range noise {
		noise[i] = byte(g.Uint32())
	}
	if err := os.WriteFile(in, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{in, "-o", out}, wasmOptFlags...)
	if calm {
		args = append(args, "--denan")
	}
	if text, err := exec.Command("wasm-opt", args...).CombinedOutput(); err != nil {
		t.Fatalf("wasm-opt: %v: %s", err, text)
	}
	blob, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// isCalm tells which of the modules canonicalise their NaNs themselves.
func isCalm(seed uint64) bool { return seed%3 != 2 }

// TestBinaryenModules compares modules of another maker: as they are on the
// interpreter, and rewritten on both engines. Those in testdata need no
// wasm-opt; what they do, the engines must agree on over all processors: it
// stands in a golden file. With -binaryen N come N new ones.
func TestBinaryenModules(t *testing.T) {
	p := newPair(context.Background(), t)
	files, err := filepath.Glob("testdata/binaryen/*.wasm")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	var text strings.Builder
	for _, file := range files {
		blob, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".wasm")
		e := p.compareFuzzed(t, name, blob, strings.HasPrefix(name, "calm"))
		fmt.Fprintf(&text, "%s %x\n", name, e.digest()[:16])
	}
	compareGolden(t, "testdata/binaryen.golden", text.String())
	inParallel(t, *binaryen, func(t *testing.T, p *pair, i uint64) {
		seed := *first + i
		p.compareFuzzed(t, fmt.Sprint("binaryen-", seed), fuzzedModule(t, seed, isCalm(seed)), isCalm(seed))
	})
}

// compareFuzzed is compare for a module that wasm-opt made.
func (p *pair) compareFuzzed(t *testing.T, name string, blob []byte, calm bool) execution {
	t.Helper()
	ctx := context.Background()
	report := func(what, difference string) {
		if difference != "" {
			t.Errorf("%s, %s: %s; the module: %s", name, what, difference, keepModule(t, name, blob))
		}
	}
	bin := rewriteAll(t, blob)
	interpreted := runFuzzed(ctx, t, p.interpreter, blob, bin)
	if calm {
		want := runFuzzed(ctx, t, p.interpreter, blob, exportGlobals(t, blob))
		report("interpreter", interpreted.differs(&want))
	}
	if p.compiler != nil {
		compiled := runFuzzed(ctx, t, p.compiler, blob, bin)
		report("compiler", compiled.meteredDiffers(&interpreted))
		tracked := runFuzzed(ctx, t, p.compiler, blob, rewriteTracked(t, blob))
		report("compiler with marks", tracked.meteredDiffers(&interpreted))
	}
	return interpreted
}

// exportGlobals exports the mutable globals of a module as the rewriter does.
func exportGlobals(t *testing.T, blob []byte) []byte {
	t.Helper()
	m, refusal := module.Parse(blob, &wide)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, refusal := check.Module(m, &wide); refusal != nil {
		t.Fatal(refusal)
	}
	for i, g := range m.Globals {
		if g.Mutable {
			name := rewrite.GlobalPrefix + strconv.Itoa(i)
			m.Exports = append(m.Exports, module.Export{Name: name, Kind: module.KindGlobal, Index: uint32(i)})
		}
	}
	var bodies [][]byte
	for _, c := range m.Codes {
		body := module.AppendU32(nil, uint32(len(c.Locals)))
		for _, run := range c.Locals {
			body = append(module.AppendU32(body, run.Count), run.Type)
		}
		bodies = append(bodies, append(body, blob[c.Start:c.End]...))
	}
	return m.AppendTo(nil, bodies)
}

// runFuzzed calls every exported function of a module, or of what the rewriter
// made of it, with arguments that differ from call to call. The modules log
// values as they go and count down a global, so that each call ends.
func runFuzzed(ctx context.Context, t *testing.T, r wazero.Runtime, source, blob []byte) (e execution) {
	t.Helper()
	compiled, err := r.CompileModule(ctx, blob)
	if err != nil {
		t.Fatal(err)
	}
	support, err := fuzzingSupport(ctx, r, compiled, &e)
	if err != nil {
		t.Fatal(err)
	}
	defer support.Close(ctx)
	mod, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close(ctx)
	m, _, refusal := admit(source)
	if refusal != nil {
		t.Fatal(refusal)
	}
	g := rand.New(rand.NewPCG(0, 3))
	for _, ex := range m.Exports {
		if ex.Kind == module.KindFunc {
			callFuzzed(ctx, &e, mod, ex.Name, m.FuncType(ex.Index), g)
		}
	}
	if mod.Memory() != nil {
		e.memory = snapshot(mod)
	}
	for i, global := range m.Globals {
		if g := mod.ExportedGlobal(rewrite.GlobalPrefix + strconv.Itoa(i)); g != nil {
			e.results = append(e.results, fmt.Sprintf("global %d: %x", i, narrow(global.Type, g.Get())))
		}
	}
	return e
}

// narrow leaves the bits that a value of a type has: above them is garbage.
func narrow(t module.ValType, bits uint64) uint64 {
	if module.Bits(t) == module.I32 {
		return uint64(uint32(bits))
	}
	return bits
}

// callFuzzed calls a function, in the source of type t, and notes what it
// returned and used.
func callFuzzed(ctx context.Context, e *execution, mod api.Module, name string, t *module.FuncType, g *rand.Rand) {
	f := mod.ExportedFunction(name)
	if reset := mod.ExportedFunction("hangLimitInitializer"); reset != nil {
		refill(mod, randomGas)
		if _, err := reset.Call(ctx); err != nil {
			e.results = append(e.results, err.Error())
		}
	}
	refill(mod, randomGas)
	args := make([]uint64, len(f.Definition().ParamTypes())) // dummies follow the source's
	for i, t := range t.Params {
		args[i] = narrow(t, g.Uint64()>>g.IntN(64))
	}
	res, err := f.Call(ctx, args...)
	text := ""
	if err != nil {
		text, _, _ = strings.Cut(err.Error(), "\n")
	} else {
		for i, t := range t.Results {
			res[i] = narrow(t, res[i])
		}
		text = fmt.Sprintf("%x", res)
	}
	e.results = append(e.results, fmt.Sprintf("%s%x: %s", name, args[:len(t.Params)], text))
	e.gas = append(e.gas, refill(mod, randomGas))
}

// fuzzingSupport is what a module logs to: its words join the results. The types
// of the functions are the module's, since the rewriter changes those of floats.
func fuzzingSupport(ctx context.Context, r wazero.Runtime, m wazero.CompiledModule, e *execution) (api.Module, error) {
	b := r.NewHostModuleBuilder("fuzzing-support")
	for _, f := range m.ImportedFunctions() {
		_, name, _ := f.Import()
		log := api.GoFunc(func(_ context.Context, stack []uint64) {
			v := stack[0]
			if strings.HasSuffix(name, "32") {
				v = uint64(api.DecodeU32(v))
			}
			e.results = append(e.results, fmt.Sprintf("%s %x", name, v))
		})
		b.NewFunctionBuilder().WithGoFunction(log, f.ParamTypes(), nil).Export(name)
	}
	return b.Instantiate(ctx)
}

// The same module gives the same bytes: what is cached and compiled by one node
// is what another runs.
func TestRewritingIsRepeatable(t *testing.T) {
	for seed := range uint64(8) {
		blob := randomModule(seed)
		if !bytes.Equal(rewriteAll(t, blob), rewriteAll(t, blob)) {
			t.Errorf("seed %d is rewritten in two ways", seed)
		}
	}
}
