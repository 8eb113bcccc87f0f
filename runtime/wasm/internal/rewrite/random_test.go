package rewrite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

var (
	seeds    = flag.Uint64("seeds", 60, "random modules to compare; thousands for a soak")
	first    = flag.Uint64("first", 0, "seed of the first random module")
	failures = flag.String("failures", os.TempDir(), "folder for modules that engines disagree on")
	update   = flag.Bool("update", false, "write golden files instead of comparing")
)

// execution is everything that calls of a module's functions leave behind.
type execution struct {
	results []string
	memory  []byte
	globals [numGlobals]uint64
	gas     []int64 // of a rewritten module
}

// randomGas is more than any of the functions uses.
const randomGas = 1 << 40

// execute calls each function with several arguments in turn.
func execute(ctx context.Context, t testing.TB, r wazero.Runtime, blob []byte) (e execution) {
	t.Helper()
	mod, err := r.InstantiateWithConfig(ctx, blob, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close(ctx)
	for i := range randomFuncs {
		f := mod.ExportedFunction(fmt.Sprint("f", i))
		for _, args := range [][2]uint64{{0, 0}, {1, 0xffffffff}, {0x80000000, 3}, {123456789, 0x7fffffff}} {
			refill(mod, randomGas)
			mod.ExportedGlobal("fuel").(api.MutableGlobal).Set(fullFuel)
			before := snapshot(mod)
			res, err := f.Call(ctx, args[0], args[1])
			if err == nil && writtenAboveMark(mod, before) {
				t.Errorf("f%d%v wrote above its mark", i, args)
			}
			text := fmt.Sprint(res)
			if err != nil {
				text, _, _ = strings.Cut(err.Error(), "\n")
			}
			e.results = append(e.results, fmt.Sprintf("f%d%v: %s", i, args, text))
			e.gas = append(e.gas, refill(mod, randomGas))
		}
	}
	e.memory = snapshot(mod)
	for i := range e.globals {
		e.globals[i] = mod.ExportedGlobal(fmt.Sprint("g", i)).(api.MutableGlobal).Get()
	}
	return e
}

func snapshot(mod api.Module) []byte {
	mem, _ := mod.Memory().Read(0, mod.Memory().Size())
	return bytes.Clone(mem)
}

// writtenAboveMark compares the memory with what it was before a call; false
// for modules that keep no mark.
func writtenAboveMark(mod api.Module, before []byte) bool {
	mark, ok := mod.ExportedGlobal(rewrite.MarkExport).(api.MutableGlobal)
	if !ok {
		return false
	}
	reach := min(uint64(api.DecodeU32(mark.Get()))+rewrite.MarkReach, uint64(len(before)))
	mark.Set(0)
	return !bytes.Equal(before[reach:], snapshot(mod)[reach:len(before)])
}

// differs says in what e is not o, gas aside.
func (e *execution) differs(o *execution) string {
	for i := range min(len(e.results), len(o.results)) {
		if e.results[i] != o.results[i] {
			return e.results[i] + ", want " + o.results[i]
		}
	}
	if len(e.results) != len(o.results) {
		return fmt.Sprintf("%d results, want %d", len(e.results), len(o.results))
	}
	if !bytes.Equal(e.memory, o.memory) {
		return "memory differs"
	}
	if e.globals != o.globals {
		return "globals differ"
	}
	return ""
}

// meteredDiffers is differs for two rewritten modules: gas counts.
func (e *execution) meteredDiffers(o *execution) string {
	if d := e.differs(o); d != "" {
		return d
	}
	if !slices.Equal(e.gas, o.gas) {
		return fmt.Sprintf("gas %v, want %v", e.gas, o.gas)
	}
	return ""
}

// digest is equal for equal executions, on whatever processor.
func (e *execution) digest() []byte {
	h := sha256.New()
	fmt.Fprintln(h, e.results, e.globals, e.gas)
	h.Write(e.memory)
	return h.Sum(nil)
}

// pair is the engines that a worker compares; compiler is nil on processors
// that have none.
type pair struct{ compiler, interpreter wazero.Runtime }

func newPair(ctx context.Context, t testing.TB) pair {
	p := pair{interpreter: newEngine(ctx, t, interpreterConfig())}
	if compilerExists {
		p.compiler = newEngine(ctx, t, compilerConfig())
	}
	return p
}

// compare runs a random module as it is on the interpreter, and rewritten on
// both engines: results, traps, memory and globals must be those of the first,
// and gas equal on the other two. What raw floats mean is known of the
// rewritten module only. It returns what the rewritten module did.
func (p *pair) compare(ctx context.Context, t testing.TB, seed uint64) execution {
	t.Helper()
	blob := randomModule(seed)
	bin := rewriteAll(t, blob)
	interpreted := execute(ctx, t, p.interpreter, bin)
	report := func(what, difference string) {
		if difference != "" {
			t.Errorf("seed %d, %s: %s; the module: %s", seed, what, difference, keepModule(t, fmt.Sprint("random-", seed), blob))
		}
	}
	if floatsOf(seed) != rawFloats {
		want := execute(ctx, t, p.interpreter, blob)
		report("interpreter", interpreted.differs(&want))
	}
	if p.compiler != nil {
		compiled := execute(ctx, t, p.compiler, bin)
		report("compiler", compiled.meteredDiffers(&interpreted))
		tracked := execute(ctx, t, p.compiler, rewriteTracked(t, blob))
		report("compiler with marks", tracked.meteredDiffers(&interpreted))
	}
	return interpreted
}

// keepModule writes a module that failed to a file and names it; a small one
// is shown as well.
func keepModule(t testing.TB, name string, blob []byte) string {
	file := filepath.Join(*failures, name+".wasm")
	if err := os.WriteFile(file, blob, 0o600); err != nil {
		t.Error(err)
	}
	if len(blob) > 4<<10 {
		return file
	}
	return file + " " + hex.EncodeToString(blob)
}

// inParallel runs work for each i below n, spread over all processors, until
// one fails.
func inParallel(t *testing.T, n uint64, work func(t *testing.T, p *pair, i uint64)) {
	t.Helper()
	var next atomic.Uint64
	t.Run("workers", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				p := newPair(context.Background(), t)
				for i := next.Add(1) - 1; i < n && !t.Failed(); i = next.Add(1) - 1 {
					work(t, &p, i)
				}
			})
		}
	})
}

func TestRandomModules(t *testing.T) {
	ctx := context.Background()
	inParallel(t, *seeds, func(t *testing.T, p *pair, i uint64) { p.compare(ctx, t, *first+i) })
}

func FuzzRandomModules(f *testing.F) {
	ctx := context.Background()
	p := newPair(ctx, f)
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { p.compare(ctx, t, seed) })
}

// goldenSeeds are the random modules whose executions stand in a golden file:
// they are the same on every processor.
const goldenSeeds = 64

func TestGoldenRandomModules(t *testing.T) {
	ctx := context.Background()
	var digests [goldenSeeds]string
	inParallel(t, goldenSeeds, func(t *testing.T, p *pair, i uint64) {
		e := p.compare(ctx, t, i)
		digests[i] = fmt.Sprintf("%d %x\n", i, e.digest()[:16])
	})
	compareGolden(t, "testdata/random.golden", strings.Join(digests[:], ""))
}

// compareGolden compares text with a file line by line, or writes it there.
func compareGolden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Split(text, "\n"), strings.Split(string(raw), "\n")
	if len(got) != len(want) {
		t.Fatalf("%s has %d lines, want %d: -update remakes it", file, len(want), len(got))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %s, want %s", file, got[i], want[i])
		}
	}
}

// The generator must be able to find the fault that the rewriter hides: run
// as they are, some random modules go wrong on the compiler.
func TestRandomModulesFindTheKnownFault(t *testing.T) {
	if !compilerExists {
		return
	}
	ctx := context.Background()
	p := newPair(ctx, t)
	for seed := range uint64(60) {
		if floatsOf(seed) == rawFloats {
			continue
		}
		blob := randomModule(seed)
		want := execute(ctx, t, p.interpreter, blob)
		got := execute(ctx, t, p.compiler, blob)
		if got.differs(&want) != "" {
			return
		}
	}
	t.Error("60 random modules ran rightly without the rewriter; does the engine still have the fault?")
}
