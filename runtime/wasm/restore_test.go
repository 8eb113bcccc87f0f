package wasm

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// wrecker builds a contract whose execute writes in a way that the first byte
// of the input names, and then ends in a way that the second one names. Its
// query grows the memory, and returns a digest of all of it, its size, the
// globals and what the table calls.
type wrecker struct {
	pages int32
	wide  bool
}

// Functions of wrecker contracts; those of WASI in the wide profile only.
const (
	wreckGet = iota
	wreckSHA
	wreckLog
	wreckAbort
	wreckClock
	wreckRandom
)

// step is a way of writing or ending. Local 3 is free for loops.
type step struct {
	name string
	code *wasmtest.Asm
	want abi.Code // with which execute ends
	host bool     // it ends with a fault of the host instead
}

func (w wrecker) end() int32 { return w.pages << 16 }

func (w wrecker) writes() []step {
	end := w.end()
	few := wasmtest.Code() // first and last bytes of pages far from one another
	for _, at := range []int32{0, 4095, 4096, end/2 - 1, end / 2, end - 4096, end - 1} {
		few.I32(at).I32(at%251+1).Mem(0x3a, 0)
	}
	steps := []step{
		{name: "nothing", code: wasmtest.Code()},
		{name: "fill", code: wasmtest.Code().I32(0).I32(0x5a).I32(end).Op(0xfc, 11, 0)},
		{name: "few bytes", code: few},
		{name: "store everywhere", code: wasmtest.Code().I32(0).Set(3).
			Loop(void).Get(3).I64(-1).Mem(0x37, 0).Get(3).I32(64).Op(0x6a).Tee(3).I32(end).Op(0x49).BrIf(0).End()},
		{name: "copy", code: wasmtest.Code().I32(1).I32(0).I32(end-1).Op(0xfc, 10, 0, 0)},
		{name: "grow and fill", code: wasmtest.Code().I32(3).Grow().Op(0x1a).I32(end-1).I32(0x77).I32(3<<16+1).Op(0xfc, 11, 0)},
		{name: "set globals", code: wasmtest.Code().I64(-5).GlobalSet(0).I32(-5).GlobalSet(1).I64(1 << 40).GlobalSet(2)},
		{name: "host buffers", code: wasmtest.Code().
			I32(0).I32(1).I32(end - 300).I32(256).Call(wreckGet).Op(0x1a).
			I32(0).I32(5).I32(end - 32).Call(wreckSHA)},
	}
	if w.wide {
		steps = append(steps, step{name: "WASI buffers", code: wasmtest.Code().
			I32(0).I64(0).I32(end - 8).Call(wreckClock).Op(0x1a).
			I32(70_000).I32(4096).Call(wreckRandom).Op(0x1a)})
	}
	return steps
}

func (w wrecker) ends() []step {
	ask := func(key int32) *wasmtest.Asm {
		return wasmtest.Code().I32(100).I32(key).Mem(0x3a, 0).I32(100).I32(1).I32(0).I32(64).Call(wreckGet).Op(0x1a)
	}
	return []step{
		{name: "return", code: wasmtest.Code()},
		{name: "unreachable", code: wasmtest.Code().Op(0), want: abi.CodeUnreachable},
		{name: "load out of bounds", code: wasmtest.Code().I32(-4).Mem(0x28, 0).Op(0x1a), want: abi.CodeOutOfBounds},
		{name: "store out of bounds", code: wasmtest.Code().I32(-7).I64(-1).Mem(0x37, 0), want: abi.CodeOutOfBounds},
		{name: "loop for ever", code: wasmtest.Code().Loop(void).Br(0).End(), want: abi.CodeOutOfGas},
		{name: "divide by zero", code: wasmtest.Code().I32(1).I32(0).Op(0x6d, 0x1a), want: abi.CodeDivideByZero},
		{name: "recurse", code: wasmtest.Code().I32(0).I32(1).CallIndirect(0).Op(0x1a), want: abi.CodeStackLimit},
		{name: "call beyond the table", code: wasmtest.Code().I32(0).I32(9).CallIndirect(0).Op(0x1a), want: abi.CodeBadIndirectCall},
		{name: "bad pointer", code: wasmtest.Code().I32(-1).I32(9).Call(wreckLog), want: abi.CodeBadPointer},
		{name: "abort", code: wasmtest.Code().I32(7).I32(0).I32(0).Call(wreckAbort), want: abi.CodeAborted},
		{name: "grow too far", code: wasmtest.Code().I32(1000).Grow().Op(0x1a), want: abi.CodeMemoryLimit},
		{name: "the store traps", code: ask('t'), want: abi.CodeNotFound},
		{name: "the store fails", code: ask('f'), host: true},
		{name: "the store panics", code: ask('p'), host: true},
	}
}

// build makes the contract. Its data segments lie where the steps write.
func (w wrecker) build() []byte {
	m := &wasmtest.Module{}
	unary := m.Type("i", "i")
	for _, f := range []abi.HostFunc{abi.HostStateGet, abi.HostSHA256, abi.HostLog, abi.HostAbort} {
		m.Host(f)
	}
	if w.wide {
		m.Import(wasiModule, "clock_time_get", "ili", "i")
		m.Import(wasiModule, "random_get", "ii", "i")
	}
	m.Memory = &module.Size{Min: uint32(w.pages)}
	for _, at := range []int32{0, 5000, 40_000, w.end() / 2, w.end() - 9} {
		m.Datas = append(m.Datas, moduleData(uint32(at), "some seed"))
	}
	m.Global(7)
	m.Globals = append(m.Globals, module.Global{Type: module.I32, Mutable: true, Init: []byte{0x41, 8, 0x0b}})
	m.Global(9)
	m.Exports = append(m.Exports, module.Export{Name: exportMemory, Kind: module.KindMemory})
	alloc := m.Func("i", "i", "", wasmtest.Code().I32(wasmtest.AllocAt))
	m.Export(exportAlloc, alloc)
	recurse := m.Func("i", "i", "", wasmtest.Code().Get(0).I32(1).CallIndirect(unary))
	m.Table = &module.Size{Min: 4}
	m.Elems = append(m.Elems, module.Elem{Funcs: []uint32{alloc, recurse}})
	m.Entry(abi.EntryExecute, w.execute())
	return m.Entry(abi.EntryQuery, w.digest()).Bytes()
}

func (w wrecker) execute() *wasmtest.Asm {
	a := wasmtest.Code().Get(0).Mem(0x2d, 1).Set(2).Get(0).Mem(0x2d, 0).Set(3)
	choose := func(steps []step, local uint32) {
		a.Block(void)
		for i, s := range steps {
			a.Get(local).I32(int32(i)).Op(0x46).If(void).Op(s.code.Bytes...).Br(1).End()
		}
		a.End()
	}
	choose(w.writes(), 3)
	choose(w.ends(), 2)
	return a.I64(0)
}

func (w wrecker) digest() *wasmtest.Asm {
	a := wasmtest.Code().I32(3).Grow().Op(0x1a).I64(17).Set(4).Loop(void).
		Get(4).I64(1099511628211).Op(0x7e).Get(2).Mem(0x29, 0).Op(0x85).Set(4).
		Get(2).I32(8).Op(0x6a).Tee(2).I32(w.end() + 3<<16).Op(0x49).BrIf(0).End()
	mix := func(push ...byte) { a.Get(4).I64(1099511628211).Op(0x7e).Op(push...).Op(0x85).Set(4) }
	mix(0x3f, 0, 0xac) // memory.size
	mix(0x23, 0)
	mix(0x23, 1, 0xac)
	mix(0x23, 2)
	mix(wasmtest.Code().I32(1).I32(0).CallIndirect(0).Op(0xac).Bytes...)
	return returnStatic(a.I32(0).Get(4).Mem(0x37, 0), 0, 8)
}

// moodyEnv answers by the key: it traps, fails or panics.
type moodyEnv struct{ *memEnv }

var errMoody = errors.New("the store failed")

func (e moodyEnv) Get(key []byte) ([]byte, bool, error) {
	switch key[0] {
	case 't':
		return nil, false, abi.CodeNotFound
	case 'f':
		return nil, false, errMoody
	case 'p':
		panic(errMoody)
	}
	return []byte(strings.Repeat("v", 200)), true, nil
}

// wreckerCase is a wrecker on a runtime.
type wreckerCase struct {
	name string
	wrecker
	runtime *Runtime
}

// wreckerCases are all kinds of memory, with small and large guests, on all
// engines. They are not paranoid: the guest's own digest must notice.
func wreckerCases(t *testing.T) []wreckerCase {
	var cases []wreckerCase
	for kind, choose := range memoryKinds() {
		for _, e := range engines() {
			for _, w := range []wrecker{{pages: 1}, {pages: 3}, {pages: 3, wide: true}} {
				cfg := Config{Engine: e, Protocol: Protocol, Profile: abi.ProfileLean}
				if w.wide {
					cfg.Profile = abi.ProfileWide
				}
				r, err := New(context.Background(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				choose(r)
				t.Cleanup(func() {
					if err := r.Close(context.Background()); err != nil {
						t.Error(err)
					}
				})
				name := fmt.Sprintf("%s/%v/%d pages/profile %d", kind, e, w.pages, cfg.Profile)
				cases = append(cases, wreckerCase{name, w, r})
			}
		}
	}
	return cases
}

func (c *wreckerCase) query(t *testing.T, blob []byte) outcome {
	res, err := c.runtime.Call(context.Background(), callOf(blob, abi.EntryQuery, noEnv()))
	return outcomeOf(t, res, err)
}

// wreck has execute do write i and end j.
func (c *wreckerCase) wreck(t *testing.T, blob []byte, i, j int) {
	end := c.ends()[j]
	call := callOf(blob, abi.EntryExecute, moodyEnv{newMemEnv()})
	call.Input = []byte{byte(i), byte(j), 0, 0, 0, 0}
	call.Gas = 1_500_000
	res, err := c.runtime.Call(context.Background(), call)
	what := fmt.Sprintf("%s: %s, %s", c.name, c.writes()[i].name, end.name)
	var trap *Trap
	if end.host {
		if err == nil || errors.As(err, &trap) {
			t.Errorf("%s: %v is no fault of the host", what, err)
		}
		return
	}
	if o := outcomeOf(t, res, err); o.code != end.want {
		t.Errorf("%s: %v, want %v", what, err, end.want)
	}
}

// After each way of writing and each way of ending, in the order of a shuffle,
// memory, globals and table are as they were before the first call.
func TestRestore(t *testing.T) {
	for _, c := range wreckerCases(t) {
		blob := c.build()
		want := c.query(t, blob)
		code := c.runtime.codes[codeKey{Protocol, callOf(blob, 0, nil).Code}]
		for i, write := range c.writes() {
			for _, j := range rand.New(rand.NewSource(int64(i))).Perm(len(c.ends())) {
				c.wreck(t, blob, i, j)
				if len(code.idle) != 1 {
					t.Fatalf("%s: %d instances are idle: some were thrown away, or not used again", c.name, len(code.idle))
				}
				if !code.idle[0].clean() {
					t.Fatalf("%s: not clean after %q and %q", c.name, write.name, c.ends()[j].name)
				}
			}
			if got := c.query(t, blob); got != want {
				t.Fatalf("%s: after %q: %+v, want %+v", c.name, write.name, got, want)
			}
		}
	}
}

// The same while others do it: more calls run than there are instances that
// could be used by one of them alone.
func TestRestoreInParallel(t *testing.T) {
	for _, c := range wreckerCases(t) {
		blob := c.build()
		want := c.query(t, blob)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewSource(int64(worker)))
				for range 3 {
					c.wreck(t, blob, rng.Intn(len(c.writes())), rng.Intn(len(c.ends())))
					if got := c.query(t, blob); got != want {
						t.Errorf("%s: %+v, want %+v", c.name, got, want)
					}
				}
			})
		}
		wg.Wait()
	}
}
