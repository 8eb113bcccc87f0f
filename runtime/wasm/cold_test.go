package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// accessVariants are n modules like the access contract, each with another
// type that no function has: so each is compiled for itself.
func accessVariants(b *testing.B, n int) []Call {
	b.Helper()
	blob, err := os.ReadFile("../../contracts/access/access.wasm")
	if err != nil {
		b.Fatal(err)
	}
	calls := make([]Call, n)
	for i := range calls {
		calls[i] = callOf(withType(blob, i), abi.EntryDecide, newBenchEnv())
	}
	return calls
}

// withType adds a type to a module that begins with its types: ten parameters
// that spell i in two letters.
func withType(blob []byte, i int) []byte {
	const header = 8
	size, at := uint32(0), header+1
	for shift := 0; ; shift += 7 {
		size |= uint32(blob[at]&0x7f) << shift
		at++
		if blob[at-1] < 0x80 {
			break
		}
	}
	types := blob[at : at+int(size)]
	added := append([]byte{types[0] + 1}, types[1:]...)
	added = append(added, 0x60, 10)
	for bit := range 10 {
		added = append(added, []byte{module.I32, module.I64}[i>>bit&1])
	}
	added = append(added, 0)
	out := append([]byte(nil), blob[:header+1]...)
	out = module.AppendU32(out, uint32(len(added)))
	return append(append(out, added...), blob[at+int(size):]...)
}

// BenchmarkColdStart makes a runtime and loads 50 codes as large as the access
// contract, whose native code lies in the cache directory.
func BenchmarkColdStart(b *testing.B) {
	if !compilerSupported() {
		b.Fatal("there is no compiler, so there is no cache")
	}
	dir := filepath.Join(b.TempDir(), "code")
	calls := accessVariants(b, 50)
	start := func() {
		ctx := context.Background()
		r, err := New(ctx, Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir, CodeBytes: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close(ctx)
		for _, call := range calls {
			blob, _ := call.Load()
			if err := r.Compile(ctx, Protocol, call.Code, blob); err != nil {
				b.Fatal(err)
			}
		}
	}
	start() // fills the cache
	b.ResetTimer()
	defer reportCPU(b)()
	for b.Loop() {
		start()
	}
}

// BenchmarkReload calls a code that was evicted: what a call in a block pays
// at most.
func BenchmarkReload(b *testing.B) {
	access, err := accessVariants(b, 1)[0].Load()
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range append(deciders(b), decider{"access", abi.ProfileLean, access, make([]byte, 300), newBenchEnv()}) {
		b.Run(d.name, func(b *testing.B) {
			ctx := context.Background()
			r, err := New(ctx, Config{Protocol: Protocol, Profile: d.profile, CacheDir: filepath.Join(b.TempDir(), "code"), CodeBytes: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close(ctx)
			hash, other := abi.Hash(sha256.Sum256(d.blob)), echo()
			load := func() {
				if err := r.Compile(ctx, Protocol, hash, d.blob); err != nil {
					b.Fatal(err)
				}
				if err := r.Compile(ctx, Protocol, sha256.Sum256(other), other); err != nil { // evicts it
					b.Fatal(err)
				}
			}
			load() // compiles
			b.ResetTimer()
			defer reportCPU(b)()
			for b.Loop() {
				load()
			}
		})
	}
}

// BenchmarkManyCodes calls 500 codes in turn within the default budgets, and
// reports what is in use after 50 and after all of them.
func BenchmarkManyCodes(b *testing.B) {
	const codes = 500
	calls := accessVariants(b, codes)
	for b.Loop() {
		ctx := context.Background()
		r, err := New(ctx, Config{Protocol: Protocol})
		if err != nil {
			b.Fatal(err)
		}
		heap, resident := heapInUse(), residentBytes(b)
		for i, call := range calls {
			if _, err := r.Call(ctx, call); err != nil && !errors.As(err, new(*Trap)) {
				b.Fatal(err)
			}
			if i == 49 {
				b.ReportMetric(float64(heapInUse()-heap), "heap-bytes-at-50")
				b.ReportMetric(float64(residentBytes(b)-resident), "resident-bytes-at-50")
			}
		}
		b.ReportMetric(float64(heapInUse()-heap), "heap-bytes")
		b.ReportMetric(float64(residentBytes(b)-resident), "resident-bytes")
		s := r.Stats()
		b.ReportMetric(float64(s.Codes), "codes")
		b.ReportMetric(float64(s.CodeBytes), "counted-bytes")
		if err := r.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// residentBytes is the memory of this process, after what the collector freed
// was given back.
func residentBytes(b *testing.B) int64 {
	debug.FreeOSMemory()
	var size, resident int64
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
