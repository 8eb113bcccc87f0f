package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// accessBlob is the access contract as it was built.
func accessBlob(t testing.TB) []byte {
	t.Helper()
	blob, err := os.ReadFile("../../contracts/access/access.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// policyCall is a decision by the access contract: the state that it reads
// and its input. A file in testdata lists the messages that load a policy of
// 200 rules, so many of which concern the decision, and the request.
func policyCall(t testing.TB, rules int) (*memEnv, []byte) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("testdata/rules-%d.policy", rules))
	if err != nil {
		t.Fatal(err)
	}
	messages, err := chain.ParseOutcomes(raw)
	if err != nil {
		t.Fatal(err)
	}
	r, env, last := newRuntime(t, engines()[0]), newMemEnv(), len(messages)-1
	in := abi.Input{Contract: "access", Owner: abi.Hash{1}, Caller: &abi.Hash{1}, Time: 1_700_000_000_000}
	for _, in.Message = range messages[:last] {
		call := callOf(accessBlob(t), abi.EntryExecute, env)
		call.Input = abi.AppendInput(nil, &in)
		if _, err := r.Call(context.Background(), call); err != nil {
			t.Fatal(err)
		}
	}
	in.Domain, in.Message = "default", messages[last]
	return env, abi.AppendInput(nil, &in)
}

// unmetered stands for a global that a module as its author built it lacks.
type unmetered struct {
	api.MutableGlobal
	v uint64
}

func (u *unmetered) Get() uint64  { return u.v }
func (u *unmetered) Set(v uint64) { u.v = v }

// bareCall calls decide of a module again and again without the host around
// it. Host functions are the runtime's.
type bareCall struct {
	in     instance
	decide api.Function
	env    Env
	input  []byte
	image  []byte // the memory at the beginning
	dirty  []int  // where the first call changed it, in steps of dirtyGrain
}

const dirtyGrain = 64

func newBareCall(t testing.TB, r *Runtime, blob []byte, env Env, input []byte) *bareCall {
	t.Helper()
	ctx, access := context.Background(), accessBlob(t)
	c, err := r.pin(ctx, &Call{Code: sha256.Sum256(access), Load: func() ([]byte, error) { return access, nil }})
	if err != nil {
		t.Fatal(err)
	}
	mod, err := r.engines[Protocol].engine.InstantiateWithConfig(ctx, blob, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	global := func(name string) api.MutableGlobal {
		if g, ok := mod.ExportedGlobal(name).(api.MutableGlobal); ok {
			return g
		}
		return &unmetered{}
	}
	b := &bareCall{env: env, input: input, decide: mod.ExportedFunction("decide")}
	b.in = instance{
		code: c, mod: mod, mem: mod.Memory(), alloc: mod.ExportedFunction("alloc"),
		fuel: global(rewrite.FuelExport), pages: global(rewrite.PagesExport),
	}
	b.in.frame.instance = &b.in
	mem, _ := b.in.mem.Read(0, b.in.mem.Size())
	b.image = slices.Clone(mem)
	b.run(t)
	for at := 0; at < len(mem); at += dirtyGrain {
		if !bytes.Equal(mem[at:at+dirtyGrain], b.image[at:at+dirtyGrain]) {
			b.dirty = append(b.dirty, at)
		}
	}
	return b
}

// run is one call. What the one before changed is set back, so that the
// guest's allocator starts at its beginning.
func (b *bareCall) run(t testing.TB) {
	f := &b.in.frame
	f.begin(context.Background(), abi.EntryDecide, b.env, nil, GasMax, 32)
	mem, _ := b.in.mem.Read(0, b.in.mem.Size())
	for _, at := range b.dirty {
		copy(mem[at:at+dirtyGrain], b.image[at:])
	}
	stack := []uint64{uint64(len(b.input)), 0}
	if err := b.in.alloc.CallWithStack(f, stack); err != nil {
		t.Fatal(err)
	}
	b.in.mem.Write(uint32(stack[0]), b.input)
	stack[1] = uint64(len(b.input))
	if err := b.decide.CallWithStack(f, stack); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkMetering is the price of metering on a decision by the access
// contract: the module as it was built, metered, and metered with marks of
// what it writes, round about in one run.
func BenchmarkMetering(b *testing.B) {
	for _, rules := range []int{1, 20} {
		b.Run(fmt.Sprintf("%d rules", rules), func(b *testing.B) { benchMetering(b, rules) })
	}
}

func benchMetering(b *testing.B, rules int) {
	env, input := policyCall(b, rules)
	r := newRuntime(b, engines()[0])
	access := accessBlob(b)
	a, refusal := admit(access, leanRules)
	if refusal != nil {
		b.Fatal(refusal)
	}
	names := []string{"original", "metered", "marked"}
	calls := []*bareCall{
		newBareCall(b, r, access, env, input),
		newBareCall(b, r, a.rewrite(false), env, input),
		newBareCall(b, r, a.rewrite(true), env, input),
	}
	const batch = 200
	times := make([][]float64, len(calls))
	for b.Loop() {
		for i, c := range calls {
			before := cpuTime(b)
			for range batch {
				c.run(b)
			}
			times[i] = append(times[i], float64(cpuTime(b)-before)/batch)
		}
	}
	for i := range times {
		slices.Sort(times[i])
		b.ReportMetric(times[i][len(times[i])/2], names[i]+"-ns")
	}
	for i := range times[1:] {
		b.ReportMetric(times[i+1][len(times[i+1])/2]/times[0][len(times[0])/2], names[i+1]+"-ratio")
	}
}
