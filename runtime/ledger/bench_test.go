package ledger

import (
	"context"
	"crypto/sha256"
	"os"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
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
	for b.Loop() {
		w.l.Decide(ctx, who, "", request)
	}
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
