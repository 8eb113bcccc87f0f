package rewrite_test

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/engine", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	blob, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// engineVectors are modules that a compiler of wazero v1.12.0 runs wrongly on
// the processors named; its interpreter is right everywhere.
var engineVectors = []struct {
	name, f string
	args    []uint64
	wrong   string // processors
}{
	{"branch-on-and-below-zero", "t0", []uint64{3, 1}, "amd64"},
	{"branch-on-and-below-zero", "t0", []uint64{3, 4}, "arm64"},
	{"popcnt-of-load8", "f", nil, "arm64"},
	{"rem-under-pressure", "t0", []uint64{12345, 678}, "arm64"},
	{"rem-under-pressure", "t0", []uint64{1 << 31, 0xffffffff}, "arm64"},
	{"float-select-under-pressure", "f1", []uint64{0, 0}, "amd64"},
	{"copysign-under-pressure", "f1", []uint64{0, 0}, "amd64"},
}

// callsOfVector is how often a vector is called: one fault differs from call
// to call.
const callsOfVector = 8

// Rewritten, the vectors run rightly on every engine.
func TestEngineVectors(t *testing.T) {
	ctx := context.Background()
	for _, v := range engineVectors {
		blob := vector(t, v.name)
		want := results(ctx, t, interpreterConfig(), blob, v.f, v.args)
		for engine, rc := range engineConfigs() {
			got := results(ctx, t, rc, rewriteAll(t, blob), v.f, v.args)
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: %s%v = %d, want %d", engine, v.name, v.f, v.args, got, want)
			}
		}
	}
}

// Without the rewriter they still go wrong. Where one no longer does, the
// engine was mended: reconsider what the rewriter does about it.
func TestEngineIsStillWrong(t *testing.T) {
	ctx := context.Background()
	for _, v := range engineVectors {
		if v.wrong != runtime.GOARCH {
			continue
		}
		blob := vector(t, v.name)
		want := results(ctx, t, interpreterConfig(), blob, v.f, v.args)
		got := results(ctx, t, compilerConfig(), blob, v.f, v.args)
		if slices.Equal(got, want) {
			t.Errorf("%s: %s%v = %d is right on %s; is the rewriting in lower.go still needed?", v.name, v.f, v.args, got, v.wrong)
		}
	}
}

// results calls a function of a module several times on an engine.
func results(ctx context.Context, t *testing.T, rc wazero.RuntimeConfig, blob []byte, name string, args []uint64) (all []uint64) {
	t.Helper()
	f, _ := load(ctx, t, newEngine(ctx, t, rc), blob, name)
	for range callsOfVector {
		got, err := f.Call(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		if f.Definition().ResultTypes()[0] == api.ValueTypeI32 {
			got[0] = uint64(uint32(got[0]))
		}
		all = append(all, got[0])
	}
	return all
}

// engineConfigs are the engines that this processor has.
func engineConfigs() map[string]wazero.RuntimeConfig {
	configs := map[string]wazero.RuntimeConfig{"interpreter": interpreterConfig()}
	if compilerExists {
		configs["compiler"] = compilerConfig()
	}
	return configs
}
