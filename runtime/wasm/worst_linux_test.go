//go:build amd64 || arm64

// These are the processors that the engine has a compiler for.

package wasm

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

var (
	searchSteps   = flag.Int("worst-steps", 4, "modules that TestSearchWorst tries for each profile and goal")
	searchSeed    = flag.Uint64("worst-seed", 1, "where TestSearchWorst begins")
	searchVerbose = flag.Bool("worst-print", false, "print what TestSearchWorst finds, as it would stand in worst")
)

// compileBounds are what compiling an admitted module may take: CPU seconds,
// and bytes of memory at the peak, with a collector that keeps the heap within
// a tenth of what is alive.
var compileBounds = map[string]struct {
	seconds float64
	bytes   int
}{
	"lean": {1, 16 << 20},
	"wide": {16, 192 << 20},
}

// worst are what searches found (go test -run TestSearchWorst -worst-steps
// 300 -worst-seed N). They are cut down to the limits where these are tighter.
var worst = map[string][]wasmtest.Heavy{
	"lean": {
		{
			Seed: 14336877486504032909, Funcs: 5,
			Fill: wasmtest.Shape{Body: 1024, Params: 8, Locals: 24, Held: 4, Nest: 20, Table: 51, Near: 84, Often: [wasmtest.PieceKinds]int{63, 78, 25, 0, 0, 0, 0, 0, 0, 0, 0, 59, 0, 0, 0, 0, 34, 0, 0, 0, 96}},
			Last: wasmtest.Shape{Body: 13084, Params: 0, Locals: 27, Held: 41, Nest: 13, Table: 10, Near: 27, Often: [wasmtest.PieceKinds]int{39, 0, 0, 0, 0, 0, 49, 0, 74, 0, 0, 0, 0, 4, 17, 0, 0, 0, 36, 14, 0}},
		},
		{
			Seed: 4431611381701683721, Funcs: 7,
			Fill: wasmtest.Shape{Body: 1040, Params: 8, Locals: 3, Held: 24, Nest: 80, Table: 18, Near: 61, Often: [wasmtest.PieceKinds]int{0, 0, 32, 0, 2, 0, 0, 0, 75, 0, 0, 87, 0, 39, 0, 71, 37, 0, 0, 52, 1}},
			Last: wasmtest.Shape{Body: 10061, Params: 5, Locals: 69, Held: 2, Nest: 2, Table: 20, Near: 78, Often: [wasmtest.PieceKinds]int{0, 0, 47, 0, 59, 2, 88, 0, 53, 0, 0, 29, 62, 0, 12, 2, 0, 0, 0, 9, 56}},
		},
		{
			Seed: 1822062688086297820, Funcs: 11,
			Fill: wasmtest.Shape{Body: 8192, Params: 2, Locals: 88, Held: 2, Nest: 71, Table: 8, Near: 80, Often: [wasmtest.PieceKinds]int{0, 0, 0, 0, 0, 0, 89, 0, 0, 0, 0, 0, 77, 0, 0, 0, 58, 0, 0, 0, 1}},
			Last: wasmtest.Shape{Body: 1024, Params: 8, Locals: 84, Held: 17, Nest: 38, Table: 13, Near: 44, Often: [wasmtest.PieceKinds]int{1, 0, 0, 90, 0, 81, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 38, 0, 0, 0}},
		},
		{
			Seed: 1454703354108530039, Funcs: 17,
			Fill: wasmtest.Shape{Body: 8192, Params: 4, Locals: 247, Held: 2, Nest: 136, Table: 8, Near: 80, Often: [wasmtest.PieceKinds]int{0, 0, 84, 0, 0, 2, 55, 0, 16, 0, 0, 0, 162, 0, 0, 0, 58, 0, 0, 0, 1}},
			Last: wasmtest.Shape{Body: 1276, Params: 27, Locals: 84, Held: 103, Nest: 38, Table: 13, Near: 44, Often: [wasmtest.PieceKinds]int{1, 70, 0, 140, 0, 81, 0, 25, 0, 0, 0, 0, 0, 1, 0, 0, 0, 17, 0, 0, 0}},
		},
		{
			Seed: 7327510356217496958, Funcs: 15,
			Fill: wasmtest.Shape{Body: 4096, Params: 14, Locals: 19, Held: 20, Nest: 97, Table: 59, Near: 8, Often: [wasmtest.PieceKinds]int{0, 35, 32, 0, 0, 0, 3, 21, 0, 0, 85, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0}},
			Last: wasmtest.Shape{Body: 8192, Params: 0, Locals: 78, Held: 1, Nest: 57, Table: 48, Near: 99, Often: [wasmtest.PieceKinds]int{0, 0, 0, 0, 79, 45, 0, 0, 42, 0, 0, 18, 0, 28, 0, 0, 0, 0, 52, 0, 85}},
		},
		{
			Seed: 11053768356030237988, Funcs: 37,
			Fill: wasmtest.Shape{Body: 3481, Params: 6, Locals: 54, Held: 10, Nest: 68, Table: 78, Near: 90, Often: [wasmtest.PieceKinds]int{0, 51, 0, 0, 0, 72, 0, 0, 23, 0, 0, 54, 47, 0, 26, 0, 25, 0, 0, 67, 0}},
			Last: wasmtest.Shape{Body: 4096, Params: 1, Locals: 37, Held: 0, Nest: 9, Table: 20, Near: 38, Often: [wasmtest.PieceKinds]int{0, 0, 0, 0, 0, 0, 90, 0, 58, 0, 15, 0, 7, 67, 3, 0, 31, 0, 0, 0, 0}},
		},
		{
			Seed: 459888644859119464, Funcs: 1727,
			Fill: wasmtest.Shape{Body: 4096, Params: 14, Locals: 34, Held: 29, Nest: 6, Table: 7, Near: 62, Often: [wasmtest.PieceKinds]int{12, 0, 0, 0, 19, 2, 0, 4, 0, 0, 52, 0, 0, 127, 16, 0, 0, 0, 10, 0, 50}},
			Last: wasmtest.Shape{Body: 512, Params: 1, Locals: 94, Held: 4, Nest: 98, Table: 65, Near: 34, Often: [wasmtest.PieceKinds]int{18, 0, 48, 0, 0, 3, 0, 0, 1, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54, 0}},
		},
		{
			Seed: 11515236803208896004, Funcs: 174,
			Fill: wasmtest.Shape{Body: 8192, Params: 25, Locals: 42, Held: 21, Nest: 97, Table: 35, Near: 62, Often: [wasmtest.PieceKinds]int{0, 69, 0, 0, 0, 0, 24, 0, 23, 0, 0, 0, 17, 0, 0, 0, 0, 0, 44, 40, 90}},
			Last: wasmtest.Shape{Body: 6154, Params: 19, Locals: 86, Held: 29, Nest: 40, Table: 40, Near: 58, Often: [wasmtest.PieceKinds]int{0, 92, 0, 0, 16, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 131, 0, 48, 0, 3}},
		},
	},
	"wide": {
		{
			Seed: 1790013825925033199, Funcs: 1904,
			Fill: wasmtest.Shape{Body: 4096, Params: 4, Locals: 31, Held: 15, Nest: 67, Table: 43, Near: 19, Often: [wasmtest.PieceKinds]int{0, 0, 62, 0, 0, 0, 0, 0, 0, 0, 0, 48, 9, 44, 9, 0, 0, 0, 0, 46, 0}},
			Last: wasmtest.Shape{Body: 8192, Params: 4, Locals: 31, Held: 24, Nest: 94, Table: 8, Near: 64, Often: [wasmtest.PieceKinds]int{0, 0, 0, 63, 86, 0, 0, 0, 0, 0, 0, 0, 0, 53, 18, 71, 0, 0, 85, 0, 0}},
		},
		{
			Seed: 6773196988026261994, Funcs: 85,
			Fill: wasmtest.Shape{Body: 16384, Params: 10, Locals: 82, Held: 2, Nest: 68, Table: 18, Near: 28, Often: [wasmtest.PieceKinds]int{0, 0, 0, 0, 0, 0, 46, 0, 60, 0, 0, 57, 0, 9, 0, 0, 0, 0, 0, 0, 8}},
			Last: wasmtest.Shape{Body: 8192, Params: 2, Locals: 26, Held: 15, Nest: 65, Table: 6, Near: 22, Often: [wasmtest.PieceKinds]int{0, 89, 14, 0, 0, 31, 0, 0, 0, 0, 76, 0, 0, 0, 92, 0, 0, 95, 0, 0, 47}},
		},
		{
			Seed: 14889190068089871744, Funcs: 127,
			Fill: wasmtest.Shape{Body: 8192, Params: 7, Locals: 70, Held: 26, Nest: 71, Table: 58, Near: 69, Often: [wasmtest.PieceKinds]int{0, 0, 80, 40, 29, 0, 0, 44, 30, 0, 69, 0, 72, 43, 0, 0, 0, 0, 0, 0, 95}},
			Last: wasmtest.Shape{Body: 4096, Params: 13, Locals: 70, Held: 19, Nest: 91, Table: 2, Near: 90, Often: [wasmtest.PieceKinds]int{0, 17, 0, 0, 0, 0, 74, 33, 0, 0, 0, 96, 0, 53, 0, 9, 0, 0, 0, 42, 74}},
		},
		{
			Seed: 11554105336514524265, Funcs: 3,
			Fill: wasmtest.Shape{Body: 512, Params: 7, Locals: 88, Held: 7, Nest: 48, Table: 36, Near: 7, Often: [wasmtest.PieceKinds]int{0, 0, 0, 0, 0, 0, 0, 0, 99, 4, 12, 5, 12, 0, 0, 0, 0, 45, 0, 0, 0}},
			Last: wasmtest.Shape{Body: 8192, Params: 7, Locals: 27, Held: 4, Nest: 72, Table: 29, Near: 95, Often: [wasmtest.PieceKinds]int{0, 0, 9, 11, 0, 74, 3, 0, 19, 48, 0, 0, 0, 62, 0, 0, 55, 0, 0, 0, 0}},
		},
	},
}

// withinLimits makes the module smaller until it is admitted: the larger of
// the two shapes where one function is too much, else fewer functions.
func withinLimits(t testing.TB, h wasmtest.Heavy, r *rules) []byte {
	t.Helper()
	unlimited := *r.limits
	unlimited.CompileMemory, unlimited.CompileWork = 1<<62, 1<<62
	free := *r
	free.limits = &unlimited
	for range 64 {
		blob := h.Bytes(r.limits)
		a, refusal := admit(blob, &free)
		if refusal != nil && h.Funcs > 0 { // a limit on all functions together
			h.Funcs = h.Funcs * 7 / 8
			continue
		}
		if refusal != nil {
			t.Fatalf("%+v: %v", h, refusal)
		}
		c, kept := check.Compile(a.funcs), int64(0)
		over := max(float64(c.Memory)/float64(r.limits.CompileMemory), float64(c.Work)/float64(r.limits.CompileWork))
		if over <= 1 {
			return blob
		}
		for _, f := range a.funcs {
			kept += f.Kept
		}
		n := len(a.funcs)
		h.Funcs = n - 3
		switch {
		case h.Funcs > 0 && (2*kept > c.Memory || c.Work > r.limits.CompileWork):
			h.Funcs = int(float64(h.Funcs) / min(2, max(1.02, over)))
		case h.Funcs == 0 || a.funcs[n-1].Needs.Sum() > a.funcs[n-2].Needs.Sum():
			h.Last.Body = min(h.Last.Body, r.limits.Body) * 7 / 8
		default:
			h.Fill.Body = min(h.Fill.Body, r.limits.Body) * 7 / 8
		}
	}
	t.Fatalf("%+v: cannot be made small enough", h)
	return nil
}

// statusBytes reads a size of /proc/self/status.
func statusBytes(t testing.TB, key string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("\n"+key+":"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		t.Fatalf("no %s in /proc/self/status", key)
	}
	n, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// compileCost measures what compiling takes: CPU seconds of the process, and
// how far its resident memory rises, native code included, while the heap may
// grow by a percentage before it is collected.
func compileCost(t testing.TB, metered []byte, r *rules, percent int) (seconds float64, peak int) {
	t.Helper()
	ctx := context.Background()
	e := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	defer e.Close(ctx)
	if err := instantiateHost(ctx, e, r); err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	debug.FreeOSMemory()
	// 5 sets the peak, VmHWM, to what is resident now (man 5 proc).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	before, start := statusBytes(t, "VmRSS"), processCPU(t)
	if _, err := e.CompileModule(ctx, metered); err != nil {
		t.Fatal(err)
	}
	return processCPU(t) - start, statusBytes(t, "VmHWM") - before
}

// processCPU is the CPU time of the process in seconds.
func processCPU(t testing.TB) float64 {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// rulesUnder are the rules of a profile by its name in profiles.
func rulesUnder(t testing.TB, name string) *rules {
	t.Helper()
	r, err := rulesOf(Protocol, profiles[name].profile)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rewritten admits and rewrites a module.
func rewritten(t testing.TB, blob []byte, r *rules) []byte {
	t.Helper()
	a, refusal := admit(blob, r)
	if refusal != nil {
		t.Fatal(refusal)
	}
	return a.rewrite(true)
}

// holdCost compiles a module and holds the measurement against the bounds. A
// third is left for noise: other tests' garbage, and pages the kernel counts
// late. Under the race detector figures mean nothing.
func holdCost(t *testing.T, profile string, h wasmtest.Heavy) (seconds float64, peak int) {
	t.Helper()
	r := rulesUnder(t, profile)
	seconds, peak = compileCost(t, rewritten(t, withinLimits(t, h, r), r), r, 10)
	bound := compileBounds[profile]
	if !raceDetector && (peak > bound.bytes*4/3 || seconds > 4*bound.seconds) {
		t.Errorf("%s: %.2f s and %d bytes to compile %+v", profile, seconds, peak, h)
	}
	return seconds, peak
}

// The worst modules that searches found compile within the bounds.
func TestWorstModules(t *testing.T) {
	if !compilerSupported() {
		return // the interpreter has no compiler to overwhelm
	}
	for profile, all := range worst {
		if profile == "wide" && raceDetector {
			continue // minutes, for figures that mean nothing
		}
		for _, h := range all {
			holdCost(t, profile, h)
		}
	}
}

// TestSearchWorst looks for modules that are admitted and take more memory or
// time to compile than the bounds, by climbing from random shapes. It takes a
// few steps as a test, and hundreds by -worst-steps to find new entries for
// worst.
func TestSearchWorst(t *testing.T) {
	if !compilerSupported() || raceDetector {
		return // there is no compiler, or no meaning in its figures
	}
	for _, profile := range []string{"lean", "wide"} {
		climb(t, profile, "memory", func(_ float64, peak int) float64 { return float64(peak) })
		climb(t, profile, "time", func(seconds float64, _ int) float64 { return seconds })
	}
}

func climb(t *testing.T, profile, goal string, score func(seconds float64, peak int) float64) {
	r := rand.New(rand.NewPCG(*searchSeed, 0))
	var best wasmtest.Heavy
	most := 0.0
	for step := range *searchSteps {
		h := wasmtest.RandomHeavy(r)
		if 3*step > *searchSteps {
			h = best.Mutate(r)
		}
		seconds, peak := holdCost(t, profile, h)
		if s := score(seconds, peak); s > most {
			best, most = h, s
			if *searchVerbose {
				fmt.Printf("%s %s, step %d: %.2f s, %.1f MiB: %#v\n", profile, goal, step, seconds, float64(peak)/(1<<20), h)
			}
		}
	}
}

// BenchmarkWorstCompile gives the most time and memory that any of the worst
// modules takes to compile: tight with a collector that runs often, usual
// with Go's default.
func BenchmarkWorstCompile(b *testing.B) {
	for profile, all := range worst {
		b.Run(profile, func(b *testing.B) {
			r := rulesUnder(b, profile)
			var modules [][]byte
			for _, h := range all {
				modules = append(modules, rewritten(b, withinLimits(b, h, r), r))
			}
			var seconds float64
			var tight, usual int
			for b.Loop() {
				for _, m := range modules {
					_, peak := compileCost(b, m, r, 10)
					tight = max(tight, peak)
					cpu, peak := compileCost(b, m, r, 100)
					seconds, usual = max(seconds, cpu), max(usual, peak)
				}
			}
			b.ReportMetric(seconds*1000, "worst-cpu-ms")
			b.ReportMetric(float64(tight), "worst-tight-bytes")
			b.ReportMetric(float64(usual), "worst-usual-bytes")
		})
	}
}

// BenchmarkCheck is the speed of checking and of rewriting, on the worst
// modules of the lean profile.
func BenchmarkCheck(b *testing.B) {
	r := rulesUnder(b, "lean")
	var blobs [][]byte
	size := 0
	for _, h := range worst["lean"] {
		blob := withinLimits(b, h, r)
		blobs, size = append(blobs, blob), size+len(blob)
	}
	b.Run("check", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			for _, blob := range blobs {
				if _, refusal := admit(blob, r); refusal != nil {
					b.Fatal(refusal)
				}
			}
		}
	})
	b.Run("check and rewrite", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			for _, blob := range blobs {
				rewritten(b, blob, r)
			}
		}
	})
}
