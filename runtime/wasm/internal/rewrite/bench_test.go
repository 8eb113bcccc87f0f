package rewrite_test

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// workloads are functions f(n i32) -> i64 that compute for a while.
func workloads() map[string]func(m *wasmtest.Module) {
	code := wasmtest.Code
	return map[string]func(m *wasmtest.Module){
		"xorshift": func(m *wasmtest.Module) { // x ^= x<<13; x ^= x>>7; x ^= x<<17
			a := code().I64(88172645463325252).Set(1).Loop(wasmtest.Void).
				Get(1).Get(1).I64(13).Op(0x86, 0x85).Tee(1).
				Get(1).I64(7).Op(0x88, 0x85).Tee(1).
				Get(1).I64(17).Op(0x86, 0x85).Set(1).
				Get(0).I32(1).Op(0x6b).Tee(0).BrIf(0).End().Get(1)
			m.Export("f", m.Func("i", "l", "l", a))
		},
		"fib": func(m *wasmtest.Module) {
			a := code().Get(0).I32(2).Op(0x49).If(module.I64).Get(0).Op(0xad).Else().
				Get(0).I32(1).Op(0x6b).Call(0).Get(0).I32(2).Op(0x6b).Call(0).Op(0x7c).End()
			m.Export("f", m.Func("i", "l", "", a))
		},
		"sieve": func(m *wasmtest.Module) { // rounds of 8192 numbers; locals: 1 i, 2 j, 3 count
			a := code().Loop(wasmtest.Void).
				I32(0).Set(1).Loop(wasmtest.Void).Get(1).I32(0).Mem(0x36, 0).Get(1).I32(4).Op(0x6a).Tee(1).I32(8192).Op(0x49).BrIf(0).End().
				I32(2).Set(1).I64(0).Set(3).
				Loop(wasmtest.Void).
				Get(1).Mem(0x2d, 0).Op(0x45).If(wasmtest.Void).
				Get(3).I64(1).Op(0x7c).Set(3).
				Get(1).Get(1).Op(0x6a).Set(2).
				Block(wasmtest.Void).Loop(wasmtest.Void).Get(2).I32(8192).Op(0x4f).BrIf(1).
				Get(2).I32(1).Mem(0x3a, 0).Get(2).Get(1).Op(0x6a).Set(2).Br(0).End().End().
				End().
				Get(1).I32(1).Op(0x6a).Tee(1).I32(8192).Op(0x49).BrIf(0).End().
				Get(0).I32(1).Op(0x6b).Tee(0).BrIf(0).End().Get(3)
			m.Export("f", m.Func("i", "l", "iil", a))
		},
		"bytes": func(m *wasmtest.Module) { // FNV-1a over 4 KiB with a branch on each byte; 1 p, 2 h
			a := code().Loop(wasmtest.Void).I32(0).Set(1).Loop(wasmtest.Void).
				Get(2).Get(1).Mem(0x31, 0).Op(0x85).I64(1099511628211).Op(0x7e).Set(2).
				Get(2).I64(7).Op(0x83, 0x50).If(wasmtest.Void).Get(2).I64(1).Op(0x7c).Set(2).End().
				Get(1).I32(1).Op(0x6a).Tee(1).I32(4096).Op(0x49).BrIf(0).End().
				Get(0).I32(1).Op(0x6b).Tee(0).BrIf(0).End().Get(2)
			m.Export("f", m.Func("i", "l", "il", a))
		},
		"rem": func(m *wasmtest.Module) {
			a := code().Loop(wasmtest.Void).
				Get(1).I64(6364136223846793005).Op(0x7e).I64(1442695040888963407).Op(0x7c).Set(1).
				Get(2).Get(1).I64(1000003).Op(0x82, 0x7c).Set(2).
				Get(0).I32(1).Op(0x6b).Tee(0).BrIf(0).End().Get(2)
			m.Export("f", m.Func("i", "l", "ll", a))
		},
		"and": func(m *wasmtest.Module) {
			a := code().Loop(wasmtest.Void).
				Get(1).Get(0).I32(0x55).Op(0x71).I32(0).Op(0x4a).If(wasmtest.Void).Get(1).I64(3).Op(0x7c).Set(1).Else().Get(1).I64(1).Op(0x85).Set(1).End().
				Set(1).
				Get(0).I32(1).Op(0x6b).Tee(0).BrIf(0).End().Get(1)
			m.Export("f", m.Func("i", "l", "l", a))
		},
	}
}

var rounds = map[string]uint64{"xorshift": 100000, "fib": 22, "sieve": 10, "bytes": 50, "rem": 50000, "and": 100000}

// BenchmarkCompute runs each workload as it was and rewritten; the ratio of
// the two is the price of metering.
func BenchmarkCompute(b *testing.B) {
	ctx := context.Background()
	for name, build := range workloads() {
		m := &wasmtest.Module{}
		m.Memory = &module.Size{Min: 1}
		build(m)
		blob := m.Bytes()
		for variant, bin := range map[string][]byte{"original": blob, "rewritten": rewriteAll(b, blob), "tracked": rewriteTracked(b, blob)} {
			b.Run(name+"/"+variant, func(b *testing.B) {
				r := newEngine(ctx, b, compilerConfig())
				f, reset := load(ctx, b, r, bin, "f")
				stack := make([]uint64, 1)
				start := cpu(b)
				for b.Loop() {
					reset()
					stack[0] = rounds[name]
					if err := f.CallWithStack(ctx, stack); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op")
				if used := reset(); used > 0 {
					b.ReportMetric(float64(used), "gas/op")
				}
			})
		}
	}
}

func cpu(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
