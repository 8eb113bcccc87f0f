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
	r.paranoid = false
	call := callOf(blob, abi.EntryDecide, newBenchEnv())
	call.Input = make([]byte, 300)
	ctx := context.Background()
	b.ReportAllocs()
	var used uint64
	defer reportCPU(b)()
	for b.Loop() {
		res, err := r.Call(ctx, call)
		if err != nil {
			b.Fatal(err)
		}
		used = res.GasUsed
	}
	b.ReportMetric(float64(used), "gas/op")
}

// BenchmarkParallel is BenchmarkDecide on as many goroutines as there are
// processors: the runtime's locks must not be felt.
func BenchmarkParallel(b *testing.B) {
	for _, e := range engines() {
		b.Run(e.String(), func(b *testing.B) {
			r := newRuntime(b, e)
			r.paranoid = false
			blob := decideBlob()
			defer reportCPU(b)()
			b.RunParallel(func(pb *testing.PB) {
				call := callOf(blob, abi.EntryDecide, newBenchEnv())
				for pb.Next() {
					if _, err := r.Call(context.Background(), call); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
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
	c, err := r.pin(context.Background(), &call)
	if err != nil {
		b.Fatal(err)
	}
	in, err := r.take(context.Background(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer reportCPU(b)()
	for b.Loop() {
		in.reset(int(in.mem.Size()))
	}
}

// BenchmarkDecide is a policy-like call: six state reads, a walk over what
// they returned, and a result. "bare" runs the same rewritten guest without
// the host's preparation, its reads answered by the same Env.
func BenchmarkDecide(b *testing.B) {
	blob := decideBlob()
	for _, e := range engines() {
		b.Run("whole/"+e.String(), func(b *testing.B) { benchCall(b, e, blob) })
		b.Run("bare/"+e.String(), func(b *testing.B) { benchBare(b, e, blob) })
	}
}

func decideBlob() []byte {
	m := wasmtest.Contract(abi.HostStateGet)
	m.Datas = append(m.Datas, moduleData(1024, "policy/1/rules/door"))
	a := wasmtest.Code()
	for i := range int32(6) {
		a.I32(1024).I32(19).I32(4096 + i*256).I32(256).Call(0).Op(0x1a)
	}
	a.I32(4096).Set(2).Loop(wasmtest.Void).
		Get(4).Get(2).Mem(0x31, 0).Op(0x85).I64(1099511628211).Op(0x7e).Set(4).
		Get(2).I32(1).Op(0x6a).Tee(2).I32(4096+1536).Op(0x49).BrIf(0).End().
		I32(0).Get(4).Mem(0x37, 0)
	return m.Entry(abi.EntryDecide, returnStatic(a, 0, 32)).Bytes()
}

// benchEnv answers reads without work of its own.
type benchEnv struct {
	*memEnv
	value []byte
}

func (e *benchEnv) Get([]byte) ([]byte, bool, error) { return e.value, true, nil }

func newBenchEnv() Env { return &benchEnv{newMemEnv(), make([]byte, 200)} }

func benchBare(b *testing.B, e Engine, blob []byte) {
	r := newRuntime(b, e)
	ctx := context.Background()
	call := callOf(blob, abi.EntryDecide, newBenchEnv())
	c, err := r.pin(ctx, &call)
	if err != nil {
		b.Fatal(err)
	}
	in, err := r.take(ctx, c)
	if err != nil {
		b.Fatal(err)
	}
	in.frame.begin(ctx, call.Entry, call.Env, nil, GasMax, 32)
	entry := in.mod.ExportedFunction(call.Entry.String())
	stack := make([]uint64, 2)
	defer reportCPU(b)()
	for b.Loop() {
		stack[0], stack[1] = wasmtest.AllocAt, 300
		if err := entry.CallWithStack(&in.frame, stack); err != nil {
			b.Fatal(err)
		}
	}
}
