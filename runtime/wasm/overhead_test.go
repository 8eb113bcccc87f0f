package wasm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// decider is a guest whose decide is called whole and bare.
type decider struct {
	name    string
	profile abi.Profile
	blob    []byte
	input   []byte
	env     Env
}

// deciders are a small guest of assembled code, and a Go program.
func deciders(b *testing.B) []decider {
	return []decider{
		{"lean", abi.ProfileLean, decideBlob(), make([]byte, 300), newBenchEnv()},
		goDecider(b),
	}
}

// goDecider is the locker contract of the Go SDK, built by the go tool: it
// reads a rental and permits its holder to open.
func goDecider(b *testing.B) decider {
	out := filepath.Join(b.TempDir(), "locker.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, "../../sdk/contract/example/locker")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building a Go guest: %v\n%s", err, text)
	}
	blob, err := os.ReadFile(out)
	if err != nil {
		b.Fatal(err)
	}
	var holder abi.Hash
	request := abi.DecisionRequest{
		Subject:  &abi.Entity{Type: "account", ID: "0000000000000000000000000000000000000000000000000000000000000000"},
		Action:   abi.Action{Name: "open"},
		Resource: abi.Entity{Type: "locker", ID: "a1"},
	}
	in := abi.Input{Caller: &holder, Contract: "locker", Domain: "lockers", Message: abi.AppendDecisionRequest(nil, &request)}
	env := &benchEnv{newMemEnv(), nil}
	env.value = cbor.AppendUint(cbor.AppendInt(cbor.AppendBytes(cbor.AppendArray(nil, 3), holder[:]), 1<<40), 3)
	return decider{"Go", abi.ProfileWide, blob, abi.AppendInput(nil, &in), env}
}

// batch is the number of calls between two looks at the clock.
const batch = 16

// BenchmarkOverhead calls a guest's decide through the host and bare, in turn,
// and reports the medians of the thread's CPU time: bare is alloc and decide of
// one instance that nobody sets back, host is what the rest costs.
func BenchmarkOverhead(b *testing.B) {
	for _, d := range deciders(b) {
		for _, e := range engines() {
			b.Run(d.name+"/"+e.String(), func(b *testing.B) { benchOverhead(b, e, d) })
		}
	}
}

func benchOverhead(b *testing.B, e Engine, d decider) {
	r, call := d.runtime(b, e)
	ctx := context.Background()
	c, err := r.pin(ctx, &call)
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var whole, bare []int64
	for b.Loop() {
		start := ownTime(b)
		for range batch {
			if _, err := r.Call(ctx, call); err != nil {
				b.Fatal(err)
			}
		}
		whole = append(whole, ownTime(b)-start)
		in, err := r.take(ctx, c)
		if err != nil {
			b.Fatal(err)
		}
		bare = append(bare, d.bare(b, in, &call))
		c.users++ // give takes it off again
		r.give(ctx, in, int(in.mem.Size()))
	}
	slices.Sort(whole)
	slices.Sort(bare)
	wholeNS, bareNS := float64(whole[len(whole)/2])/batch, float64(bare[len(bare)/2])/batch
	b.ReportMetric(wholeNS, "whole-cpu-ns")
	b.ReportMetric(bareNS, "bare-cpu-ns")
	b.ReportMetric(wholeNS-bareNS, "host-cpu-ns")
}

// bare runs a batch of calls on one instance and returns their CPU time.
func (d *decider) bare(b *testing.B, in *instance, call *Call) int64 {
	f := &in.frame
	f.begin(context.Background(), call.Entry, call.Env, nil, GasMax, 256)
	defer f.end()
	entry := in.mod.ExportedFunction(call.Entry.String())
	var stack [2]uint64
	start := ownTime(b)
	for range batch {
		stack[0] = uint64(len(d.input))
		if err := in.alloc.CallWithStack(f, stack[:1]); err != nil {
			b.Fatal(err)
		}
		in.mem.Write(uint32(stack[0]), d.input)
		stack[1] = uint64(len(d.input))
		if err := entry.CallWithStack(f, stack[:]); err != nil {
			b.Fatal(err)
		}
	}
	return ownTime(b) - start
}

// runtime gives a runtime that has compiled and called d, and the call.
func (d *decider) runtime(b *testing.B, e Engine) (*Runtime, Call) {
	r, err := New(context.Background(), Config{Engine: e, Protocol: Protocol, Profile: d.profile})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(context.Background()) })
	call := callOf(d.blob, abi.EntryDecide, d.env)
	call.Input = d.input
	if res, err := r.Call(context.Background(), call); err != nil || len(res.Output) == 0 {
		b.Fatal(res, err)
	}
	return r, call
}

// ownTime is the CPU time of this thread in ns. getrusage would tell it in ticks.
func ownTime(b *testing.B) int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		b.Fatal(err)
	}
	return now.Nano()
}

// BenchmarkTwo compares what a second goroutine gains calls of a contract with
// what it gains a spinning control. All four are run in turn for slices of
// time, so that they meet the same load of the machine.
func BenchmarkTwo(b *testing.B) {
	for _, d := range deciders(b) {
		b.Run(d.name, func(b *testing.B) {
			r, call := d.runtime(b, EngineAuto)
			spin := func() {
				x := uint64(1)
				for range 4000 {
					x ^= x << 13
					x ^= x >> 7
				}
				spun.Store(x)
			}
			work := func() {
				if _, err := r.Call(context.Background(), call); err != nil {
					b.Error(err)
				}
			}
			var gains []float64
			var control []float64
			for b.Loop() {
				control = append(control, rate(2, spin)/rate(1, spin))
				gains = append(gains, rate(2, work)/rate(1, work))
			}
			slices.Sort(control)
			slices.Sort(gains)
			gain, idle := gains[len(gains)/2], control[len(control)/2]
			b.ReportMetric(gain, "gain")
			b.ReportMetric(idle, "control-gain")
			b.ReportMetric(gain/idle, "of-control")
		})
	}
}

var spun atomic.Uint64

// rate is how often n goroutines do work in a slice of time.
func rate(n int, work func()) float64 {
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Go(func() {
			count := int64(0)
			for time.Since(start) < 20*time.Millisecond {
				work()
				count++
			}
			done.Add(count)
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// BenchmarkFresh makes and closes an instance, as for a call that finds none.
func BenchmarkFresh(b *testing.B) {
	for _, d := range deciders(b) {
		for _, e := range engines() {
			b.Run(d.name+"/"+e.String(), func(b *testing.B) {
				r, call := d.runtime(b, e)
				ctx := context.Background()
				c, err := r.pin(ctx, &call)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				defer reportCPU(b)()
				for b.Loop() {
					in, err := r.fresh(ctx, c)
					if err != nil {
						b.Fatal(err)
					}
					r.closeInstance(ctx, in)
				}
			})
		}
	}
}

// BenchmarkInstances reports what an idle instance takes: on the heap, and of
// pages that it does not share.
func BenchmarkInstances(b *testing.B) {
	all := deciders(b)
	access, err := os.ReadFile("../../contracts/access/access.wasm")
	if err != nil {
		b.Fatal(err)
	}
	all = append(all, decider{"access", abi.ProfileLean, access, make([]byte, 300), newBenchEnv()})
	for _, d := range all {
		for _, e := range engines() {
			b.Run(d.name+"/"+e.String(), func(b *testing.B) {
				r, err := New(context.Background(), Config{Engine: e, Protocol: Protocol, Profile: d.profile, PoolBytes: 1 << 30})
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close(context.Background())
				call := callOf(d.blob, abi.EntryDecide, d.env)
				call.Input = d.input
				for b.Loop() {
					benchInstances(b, r, call)
				}
			})
		}
	}
}

func benchInstances(b *testing.B, r *Runtime, call Call) {
	const n = 64
	ctx := context.Background()
	c, err := r.pin(ctx, &call)
	if err != nil {
		b.Fatal(err)
	}
	before := heapInUse()
	var list []*instance
	pages := 0
	for range n {
		in, err := r.fresh(ctx, c)
		if err != nil {
			b.Fatal(err)
		}
		res, err := in.frame.run(ctx, &call, leanRules.limits.ChainPages)
		if err != nil && res.GasUsed == 0 {
			b.Fatal(err)
		}
		in.reset(in.dirty(in.frame.written, err == nil))
		pages += in.memory.resident()
		list = append(list, in)
	}
	b.ReportMetric(float64(heapInUse()-before)/n, "heap-bytes")
	b.ReportMetric(float64(pages)/n, "own-page-bytes")
	b.ReportMetric(float64(list[0].bytes()), "counted-bytes")
	b.ReportMetric(float64(c.image.filled()), "shared-bytes")
	for _, in := range list {
		r.closeInstance(ctx, in)
	}
	r.unpin(c)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
