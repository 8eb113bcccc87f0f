package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// heavy are modules that pass the checks and cost the compiler most, each by
// another way of filling eight bodies.
func heavy() map[string][]byte {
	all := heavyControl()
	maps.Copy(all, heavyCode())
	return all
}

var allLocals = strings.Repeat("l", module.Lean.Locals)

// heavyModule fills eight bodies with units.
func heavyModule(locals string, unit func(i int, a *wasmtest.Asm)) []byte {
	return contract(func(m *wasmtest.Module) {
		for range 8 {
			a := wasmtest.Code()
			for i := 0; len(a.Bytes) < module.Lean.Body-1500; i++ {
				unit(i, a)
			}
			for l := range locals { // or the compiler drops what set them
				if locals[l] == 'l' {
					a.I32(0).Get(uint32(l)).Mem(0x37, uint32(8*l))
				}
			}
			m.Func("", "", locals, a)
		}
	})
}

// rest is what fills a body once its blocks are used up.
func rest(a *wasmtest.Asm, i int) {
	n := uint32(module.Lean.Locals)
	a.Get(uint32(i) % n).Get(uint32(i*7) % n).Op(0x7c).Set(uint32(i*3) % n)
}

func heavyControl() map[string][]byte {
	lean := &module.Lean
	return map[string][]byte{
		"arithmetic": heavyModule(allLocals, func(i int, a *wasmtest.Asm) { rest(a, i) }),
		"branches": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			if i < lean.Branches {
				a.I32(1).BrIf(0)
			}
			rest(a, i)
		}),
		"ifs": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			if i < lean.Blocks {
				a.Get(uint32(i) % 99).Op(0xa7).If(void)
				rest(a, i)
				a.Else()
				rest(a, i+1)
				a.End()
				return
			}
			rest(a, i)
		}),
		"loops": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			if i < lean.Loops {
				a.Loop(void)
				rest(a, i)
				a.Get(uint32(i) % 99).Op(0xa7).BrIf(0).End()
				return
			}
			rest(a, i)
		}),
		"nested loops": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			if i*16 < lean.Loops {
				for range 16 {
					a.Loop(void)
					rest(a, i)
				}
				for l := range uint32(16) {
					a.Get(l).Op(0xa7).BrIf(min(3, 15-l)).End()
				}
				return
			}
			rest(a, i)
		}),
	}
}

func heavyCode() map[string][]byte {
	lean := &module.Lean
	return map[string][]byte{
		"calls": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			if i < lean.Calls {
				a.Call(2 + uint32(i)%8)
			}
			rest(a, i)
		}),
		"stores": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			if i < lean.Accesses-lean.Locals {
				a.I32(0).Get(uint32(i)%99).Mem(0x37, uint32(i))
				return
			}
			rest(a, i)
		}),
		"loads": heavyModule("i", func(i int, a *wasmtest.Asm) {
			if i < lean.Accesses {
				a.Get(0).Mem(0x28, uint32(i)).Set(0)
				return
			}
			a.Get(0).Get(0).Op(0x6a).Set(0)
		}),
		"growth": heavyModule("", func(i int, a *wasmtest.Asm) {
			if i < lean.Calls {
				a.I32(0).Grow().Op(0x1a)
			}
			a.Op(1)
		}),
		"globals":    contract(func(m *wasmtest.Module) { m.Global(0); addGlobals(m) }),
		"remainders": heavyModule("i", func(i int, a *wasmtest.Asm) { a.Get(0).Get(0).Op(0x70).Set(0) }),
		"operands": heavyModule("", func(i int, a *wasmtest.Asm) {
			if i < 2 {
				for range 2000 {
					a.Op(0x3f, 0) // memory.size
				}
				for range 2000 {
					a.Op(0x1a)
				}
				return
			}
			a.Op(1)
		}),
		"a bit of everything": heavyModule(allLocals, func(i int, a *wasmtest.Asm) {
			n := uint32(i) % 99
			switch {
			case i < lean.Loops:
				a.Loop(void).Get(n).Op(0xa7).BrIf(0).Call(2 + n%8).End()
			case i < lean.Blocks:
				a.Get(n).Op(0xa7).If(void).I32(0).Get(n).Mem(0x37, n).Else()
				rest(a, i)
				a.End().Get(n+1).Op(0xa7, 0x40, 0, 0x1a)
			case i < 1500:
				a.Get(n).Op(0xa7).Mem(0x29, n).Get(n).I64(9).Op(0x82, 0x7c).Set(n)
			default:
				rest(a, i)
			}
		}),
		"tables": heavyModule("i", func(i int, a *wasmtest.Asm) {
			if (i+1)*249 <= lean.Branches {
				a.Block(void).Get(0).BrTable(make([]uint32, 250)...).End()
				return
			}
			a.Op(1)
		}),
	}
}

func addGlobals(m *wasmtest.Module) {
	for range 8 {
		a := wasmtest.Code()
		for len(a.Bytes) < module.Lean.Body-500 {
			a.GlobalGet(0).I64(3).Op(0x7c).GlobalSet(0)
		}
		m.Func("", "", "", a)
	}
}

// BenchmarkCompile compiles the heaviest modules that are admitted.
func BenchmarkCompile(b *testing.B) {
	for name, blob := range heavy() {
		if r := refusalOf(b, blob); r != nil {
			b.Fatal(name, r)
		}
		b.Run(name, func(b *testing.B) {
			defer reportCPU(b)()
			defer reportPeak(b)()
			for b.Loop() {
				compileOnce(b, blob)
			}
			a, _ := admit(blob, leanRules)
			b.ReportMetric(float64(len(a.rewrite(false))), "rewritten-bytes")
		})
	}
}

func compileOnce(b *testing.B, blob []byte) {
	ctx := context.Background()
	r, err := New(ctx, Config{Engine: EngineCompiler, Protocol: Protocol})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close(ctx)
	if err := r.Compile(ctx, sha256.Sum256(blob), blob); err != nil {
		b.Fatal(err)
	}
}

// reportPeak adds the highest heap in use above that at the beginning, with a
// collector that keeps the heap within a tenth of what is alive.
func reportPeak(b *testing.B) func() {
	inUse := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	percent := debug.SetGCPercent(10)
	runtime.GC()
	before, peak := inUse(), uint64(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, inUse())
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
		debug.SetGCPercent(percent)
		b.ReportMetric(float64(max(peak, before)-before), "peak-bytes")
	}
}

// The cache directory is its owner's alone, and a damaged one is no obstacle.
func TestCacheDir(t *testing.T) {
	if !compilerSupported() {
		return // the interpreter keeps no cache
	}
	dir := filepath.Join(t.TempDir(), "code")
	run := func() {
		t.Helper()
		r, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close(context.Background())
		res, err := r.Call(context.Background(), callOf(echo(), abi.EntryExecute, noEnv()))
		if o := outcomeOf(t, res, err); o.out != "input" {
			t.Fatal(o)
		}
	}
	run()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatal(info, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing was cached", err)
	}
	run()
	for _, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b },
	} {
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, damage(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run()
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir}); err == nil {
		t.Error("a cache open to others was taken")
	}
}

func TestConfig(t *testing.T) {
	ctx := context.Background()
	if _, err := New(ctx, Config{Protocol: 2}); !errors.Is(err, abi.CodeUnknownVersion) {
		t.Error(err)
	}
	if _, err := New(ctx, Config{Protocol: 1, Profile: 9}); err == nil {
		t.Error("an unknown profile was taken")
	}
	r, err := New(ctx, Config{Protocol: 1})
	if err != nil || r.Engine() != engines()[0] {
		t.Fatal(r.Engine(), err)
	}
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Ready, Compile and Load agree on what is compiled, and a code that cannot
// be loaded is our fault.
func TestReadyAndLoad(t *testing.T) {
	ctx := context.Background()
	r := newRuntime(t, EngineInterpreter)
	blob := echo()
	hash := abi.Hash(sha256.Sum256(blob))
	if r.Ready(hash) {
		t.Error("ready before it was compiled")
	}
	fault := errors.New("no such file")
	call := callOf(blob, abi.EntryExecute, noEnv())
	call.Load = func() ([]byte, error) { return nil, fault }
	if _, err := r.Call(ctx, call); !errors.Is(err, fault) {
		t.Error(err)
	}
	call.Load = nil
	if _, err := r.Call(ctx, call); err == nil {
		t.Error("a code from nowhere was called")
	}
	for range 2 {
		if err := r.Compile(ctx, hash, blob); err != nil || !r.Ready(hash) {
			t.Error(err)
		}
	}
	if _, err := r.Call(ctx, call); err != nil {
		t.Error(err)
	}
	var refusal *Refusal
	if err := r.Compile(ctx, abi.Hash{1}, []byte("no module")); !errors.As(err, &refusal) || r.Ready(abi.Hash{1}) {
		t.Error(err)
	}
	call.Code, call.Load = abi.Hash{1}, func() ([]byte, error) { return []byte("no module"), nil }
	var trap *Trap
	if _, err := r.Call(ctx, call); err == nil || errors.As(err, &trap) {
		t.Error(err)
	}
}

// started is a contract with a start function; query returns the memory's
// first 8 bytes.
func started(start *wasmtest.Asm) []byte {
	m := wasmtest.Contract(abi.HostLog)
	f := m.Func("", "", "i", start)
	m.Start = &f
	return m.Entry(abi.EntryQuery, wasmtest.Code().I64(8)).Bytes()
}

// A start function runs once, metered; every call begins with what it left.
func TestStart(t *testing.T) {
	write := wasmtest.Code().I32(0).I32(0).Mem(0x28, 0).I32('a').Op(0x6a).Mem(0x36, 0)
	if o := both(t, started(write), abi.EntryQuery, 1<<30, noEnv); o.out != "a\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%+v", o)
	}
	for name, c := range map[string]struct {
		start *wasmtest.Asm
		want  abi.Code
	}{
		"loops":    {wasmtest.Code().Loop(void).Br(0).End(), abi.CodeOutOfGas},
		"traps":    {wasmtest.Code().Op(0x00), abi.CodeUnreachable},
		"grows":    {wasmtest.Code().I32(1).Grow().Op(0x1a), abi.OK},
		"grows on": {wasmtest.Code().Loop(void).I32(1).Grow().Op(0x1a).Br(0).End(), abi.CodeMemoryLimit},
		"calls us": {wasmtest.Code().I32(0).I32(0).Call(0), abi.CodeNotAllowedHere},
	} {
		if o := both(t, started(c.start), abi.EntryQuery, 1<<30, noEnv); o.code != c.want {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if o := both(t, started(write), abi.EntryExecute, 1<<30, noEnv); o.code != abi.CodeNoEntryPoint {
		t.Errorf("%+v", o)
	}
}
