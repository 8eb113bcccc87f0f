package rewrite_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// testCosts prices like the table in use, roughly: what is tested here holds
// for any table.
var testCosts = func() *rewrite.Costs {
	c := &rewrite.Costs{Entry: 16, Local: 1, Grow: 1000, GrowPage: 1000, Bulk: 10, BulkShift: 3, FrameSlots: 64, Brief: 64 * 8}
	for i := range c.Classes {
		c.Classes[i] = 2
	}
	return c
}()

// wide are limits that nothing in the tests meets, floats included.
var wide = module.Limits{
	Blob: 16 << 20, Types: 1000, Imports: 1000, Funcs: 10000, Params: 100, Results: 1, Locals: 1 << 20, Body: 1 << 20,
	Blocks: 1 << 20, Branches: 1 << 20, Loops: 1 << 20, Calls: 1 << 20, Accesses: 1 << 20, FloatOps: 1 << 20, Nesting: 2000, BrTable: 1 << 20, Table: 1 << 20, Globals: 1000, Exports: 1000,
	Segments: 1000, CustomSections: 100, CompileMemory: 1 << 62, CompileWork: 1 << 62, MemoryPages: 65535, ChainPages: 65535, Frames: 250, Floats: true,
}

// compilerExists says whether the engine has a compiler for this processor.
const compilerExists = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

func compilerConfig() wazero.RuntimeConfig    { return wazero.NewRuntimeConfigCompiler() }
func interpreterConfig() wazero.RuntimeConfig { return wazero.NewRuntimeConfigInterpreter() }

func newEngine(ctx context.Context, t testing.TB, rc wazero.RuntimeConfig) wazero.Runtime {
	r := wazero.NewRuntimeWithConfig(ctx, rc.WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { r.Close(ctx) })
	return r
}

// rewriteAll parses, checks and rewrites blob, keeping all its exports.
func rewriteAll(t testing.TB, blob []byte) []byte { return rewriteWith(t, blob, false) }

// rewriteTracked is rewriteAll with a mark of what is written.
func rewriteTracked(t testing.TB, blob []byte) []byte { return rewriteWith(t, blob, true) }

func rewriteWith(t testing.TB, blob []byte, track bool) []byte {
	t.Helper()
	m, refusal := module.Parse(blob, &wide)
	if refusal != nil {
		t.Fatal(refusal)
	}
	funcs, refusal := check.Module(m, &wide)
	if refusal != nil {
		t.Fatal(refusal)
	}
	keep := func(string) bool { return true }
	return rewrite.Module(m, funcs, rewrite.Options{Costs: testCosts, Limits: &wide, Keep: keep, Track: track})
}

const plenty = rewrite.MaxGas

// load instantiates a module and looks up a function. reset gives the module
// gas again, if it is a rewritten one, and returns what was used since.
func load(ctx context.Context, t testing.TB, r wazero.Runtime, blob []byte, name string) (f api.Function, reset func() int64) {
	t.Helper()
	mod, err := r.InstantiateWithConfig(ctx, blob, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	reset = func() int64 { return refill(mod, plenty) }
	reset()
	return mod.ExportedFunction(name), reset
}

// refill gives a rewritten module gas, height and pages.
func refill(mod api.Module, amount int64) (used int64) {
	fuel, ok := mod.ExportedGlobal(rewrite.FuelExport).(api.MutableGlobal)
	if !ok {
		return 0
	}
	left, _ := rewrite.Split(fuel.Get())
	used = amount - left
	fuel.Set(rewrite.Fuel(amount, 250))
	mod.ExportedGlobal(rewrite.PagesExport).(api.MutableGlobal).Set(1 << 33)
	return used
}
