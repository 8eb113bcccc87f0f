package rewrite_test

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
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

// The vectors are modules that a compiler of wazero v1.12.0 runs wrongly, on
// amd64 or arm64; its interpreter is right. Rewritten, they run rightly
// everywhere.
func TestEngineVectors(t *testing.T) {
	ctx := context.Background()
	for _, v := range []struct {
		name, f string
		args    []uint64
	}{
		{"branch-on-and-below-zero", "t0", []uint64{3, 1}},
		{"branch-on-and-below-zero", "t0", []uint64{3, 4}},
		{"popcnt-of-load8", "f", nil},
		{"rem-under-pressure", "t0", []uint64{12345, 678}},
		{"rem-under-pressure", "t0", []uint64{1 << 31, 0xffffffff}},
	} {
		blob := vector(t, v.name)
		original, _ := load(ctx, t, newEngine(ctx, t, interpreterConfig()), blob, v.f)
		want, err := original.Call(ctx, v.args...)
		if err != nil {
			t.Fatal(err)
		}
		for engine, rc := range bothConfigs() {
			f, _ := load(ctx, t, newEngine(ctx, t, rc), rewriteAll(t, blob), v.f)
			for range 3 { // one of the faults differs from call to call
				got, err := f.Call(ctx, v.args...)
				if err != nil {
					t.Fatal(err)
				}
				if uint32(got[0]) != uint32(want[0]) {
					t.Errorf("%s, %s: %s%v = %d, want %d", engine, v.name, v.f, v.args, got, want)
				}
			}
		}
	}
}

func bothConfigs() map[string]wazero.RuntimeConfig {
	return map[string]wazero.RuntimeConfig{"compiler": compilerConfig(), "interpreter": interpreterConfig()}
}
