package ledger

import (
	"context"
	"crypto/sha256"
	"os"
	"syscall"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// withAccess is a world whose default domain is the access contract with a
// policy: a file of messages for its execute, encoded as chain.AppendOutcomes
// encodes a list of byte strings.
func withAccess(t testing.TB, policy string) *world {
	t.Helper()
	blob, err := os.ReadFile("../../contracts/access/access.wasm")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := chain.ParseOutcomes(raw)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	w.upload(developer, blob)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "access", Code: sha256.Sum256(blob)})
	w.tickOver()
	for _, m := range messages {
		a := chain.Call{Contract: "access", Message: m}
		o := w.block(w.sign(developer, chain.Body{Op: chain.OpCall, Args: a.Append(nil), Gas: 20_000_000}))
		w.want(o[0], abi.OK)
	}
	w.must(operator, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "access"})
	return w
}

func ask(action, kind, resource string) []byte {
	q := abi.DecisionRequest{Action: abi.Action{Name: action}, Resource: abi.Entity{Type: kind, ID: resource}}
	return abi.AppendDecisionRequest(nil, &q)
}

func benchmarkDecide(b *testing.B, w *world, request []byte, want abi.Code) {
	ctx, who := context.Background(), abi.Caller{Key: person("reader").Public()}
	if a := w.l.Decide(ctx, who, "", request); a.Code != want {
		b.Fatal(a.Code, a.Reason, a.ReasonID)
	}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		w.l.Decide(ctx, who, "", request)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used, in ns: the machine may be shared.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkDecideAccess(b *testing.B) {
	w := withAccess(b, "testdata/building.policy")
	w.enrol("reader", chain.Labels{"role": "door-lock"})
	benchmarkDecide(b, w, ask("report", "lock", "front-door"), abi.OK)
}

// The smallest contract: one state read and a fixed verdict.
func BenchmarkDecideMinimal(b *testing.B) {
	w := newWorld(b, nil)
	w.deploy(developer, "script")
	w.must(operator, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "script"})
	w.enrol("reader", chain.Labels{"role": "door-lock"})
	benchmarkDecide(b, w, ask("report", "lock", "front-door"), abi.OK)
}

// All but the contract's call: the contract is not active yet.
func BenchmarkDecideWithoutContract(b *testing.B) {
	w := newWorld(b, func(g *chain.Genesis) { g.Params.ActivationDelay = 1_000_000 })
	hash := w.upload(developer, scriptWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "script", Code: hash})
	w.must(operator, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "script"})
	w.enrol("reader", nil)
	benchmarkDecide(b, w, ask("report", "lock", "front-door"), abi.CodeContractPending)
}

// benchmarkBlocks is the CPU of a transaction from Check to the commit, in
// blocks of 200, on a file system in memory.
func benchmarkBlocks(b *testing.B, w *world, tx func(i int) []byte) {
	const size = 200
	raws := make([][]byte, size)
	made := 0
	var spent int64
	for b.Loop() {
		b.StopTimer()
		for i := range raws {
			raws[i] = tx(made)
			made++
		}
		b.StartTimer()
		before := cpuTime(b)
		for _, raw := range raws {
			if _, _, err := w.l.Check(raw); err != nil {
				b.Fatal(err)
			}
		}
		k, err := w.l.Propose(context.Background(), w.now, raws)
		if err != nil || len(k.Txs) != size {
			b.Fatal(len(k.Txs), err)
		}
		if err := w.l.Commit(context.Background(), k, nil); err != nil {
			b.Fatal(err)
		}
		spent += cpuTime(b) - before
	}
	b.ReportMetric(float64(spent)/float64(b.N*size), "cpu-ns/tx")
}

// What a node pays for a transaction of a payer within its rate, and for one of
// a payer who is beyond it.
func BenchmarkCheck(b *testing.B) {
	for _, c := range []struct {
		name string
		rate int
		want abi.Code
	}{{"passes", 1 << 30, abi.OK}, {"beyond the rate", 0, abi.CodeRateLimited}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, nil)
			w.l.rates = newRates(c.rate, c.rate)
			var raws [][]byte
			for range 2000 {
				raws = append(raws, w.noteBy(owner))
			}
			before := cpuTime(b)
			for i := 0; b.Loop(); i++ {
				if i%len(raws) == 0 {
					w.l.verified.init()
				}
				if _, _, err := w.l.Check(raws[i%len(raws)]); (err == nil) != (c.want == abi.OK) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/tx")
		})
	}
}

func BenchmarkBlockOfCalls(b *testing.B) {
	w := newWorld(b, nil)
	w.deploy(developer, "script")
	benchmarkBlocks(b, w, func(i int) []byte {
		key := string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
		a := chain.Call{Contract: "script", Message: do('s', 0, key, "a value of some twenty bytes")}
		w.now = w.l.Head().Time + 100
		return w.sign(owner, chain.Body{Op: chain.OpCall, Args: a.Append(nil), Gas: 200_000 + uint64(i)})
	})
}

func BenchmarkBlockOfStatuses(b *testing.B) {
	w := newWorld(b, nil)
	id := w.enrol("lock", nil)
	benchmarkBlocks(b, w, func(i int) []byte {
		a := chain.DeviceStatus{Device: id, Status: abi.StatusSuspended}
		w.now = w.l.Head().Time + 100
		return w.sign(owner, chain.Body{Op: chain.OpDeviceStatus, Args: a.Append(nil), Gas: 200_000 + uint64(i)})
	})
}

// What a block spends on completing the upload of a Go guest, beside the gas
// that it takes for it: a unit is about a nanosecond.
func BenchmarkCompleteUpload(b *testing.B) {
	blob, err := os.ReadFile("../../sdk/contract/testdata/script-v1.wasm")
	if err != nil {
		b.Fatal(err)
	}
	genesis := testGenesis(func(g *chain.Genesis) { g.Params = chain.ParamsOf(abi.ProfileWide) })
	w := worldOn(b, genesis, wasm.Config{Profile: abi.ProfileWide})
	w.upload(developer, blob)
	deploy := chain.Deploy{Name: "go", Code: sha256.Sum256(blob)}
	raw := w.sign(developer, chain.Body{Op: chain.OpDeploy, Args: deploy.Append(nil), Gas: w.l.Genesis().Params.TxGas})
	before := cpuTime(b)
	for b.Loop() {
		w.now++ // another block, so that it is executed again
		if _, err := w.l.Propose(b.Context(), w.now, [][]byte{raw}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/float64(len(blob)), "cpu-ns/byte")
	b.ReportMetric(gasCodeByte, "gas/byte")
}
