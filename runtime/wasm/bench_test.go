package wasm

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// BenchmarkCall is the whole of a call of a contract that does nothing: what
// the host adds to a guest with one page, and with two.
func BenchmarkCall(b *testing.B) {
	for name, pages := range map[string]uint32{"1 page": 1, "2 pages": 2} {
		m := wasmtest.Contract()
		m.Memory.Min = pages
		blob := m.Entry(abi.EntryDecide, wasmtest.Code().I64(64)).Bytes()
		for _, e := range engines() {
			b.Run(name+"/"+e.String(), func(b *testing.B) { benchCall(b, e, blob) })
		}
	}
}

func benchCall(b *testing.B, e Engine, blob []byte) {
	r := newRuntime(b, e)
	r.poison = false
	call := callOf(blob, abi.EntryDecide, noEnv())
	call.Input = make([]byte, 300)
	ctx := context.Background()
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if _, err := r.Call(ctx, call); err != nil {
			b.Fatal(err)
		}
	}
}

// reportCPU adds the process's CPU time an operation: wall time says little
// on a machine that others use as well.
func reportCPU(b *testing.B) func() {
	start := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op") }
}

func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkRestore(b *testing.B) {
	r := newRuntime(b, EngineInterpreter)
	call := callOf(echo(), abi.EntryExecute, noEnv())
	c, err := r.pin(context.Background(), call.Code, call.Load)
	if err != nil {
		b.Fatal(err)
	}
	in, err := r.take(context.Background(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer reportCPU(b)()
	for b.Loop() {
		in.restore()
	}
}
