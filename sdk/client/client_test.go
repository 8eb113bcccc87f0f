package client_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// permit answers every request with a permit that names the caller.
func permit(_ context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
	return abi.Answer{Permit: true, ReasonID: domain, Height: 3, Contract: "access"}
}

// dial connects a new active account to a gateway of the ledger.
func dial(t testing.TB, l *ledger, address string) (*client.Client, *key.Key) {
	t.Helper()
	k := newKey(t)
	l.enrol(k, 0)
	c, err := client.Dial(t.Context(), client.Config{Bundle: l.bundle(address), Key: k})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, k
}

func request() *abi.DecisionRequest {
	return &abi.DecisionRequest{Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "7"}}
}

func TestEveryOperation(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, k := dial(t, l, address)
	ctx := t.Context()

	answer, err := c.Decide(ctx, "lab", request())
	if err != nil || !answer.Permit || answer.ReasonID != "lab" || answer.Contract != "access" {
		t.Errorf("Decide: %+v, %v", answer, err)
	}
	if answer, err := c.Decide(ctx, "", request()); err != nil || answer.ReasonID != abi.DefaultDomain {
		t.Errorf("Decide in the default domain: %+v, %v", answer, err)
	}
	answers, err := c.DecideBatch(ctx, "lab", []abi.DecisionRequest{*request(), *request()}, abi.PermitOnFirstPermit)
	if err != nil || len(answers) != 1 {
		t.Errorf("DecideBatch: %v, %v", answers, err)
	}
	if _, err := c.Get(ctx, []byte("k")); !errors.Is(err, abi.CodeNotReady) {
		t.Errorf("Get before the first block: %v", err)
	}
	done, err := c.Transact(ctx, chain.OpCall, &chain.Call{Contract: "x", Message: []byte("hi")}, 0)
	if err != nil || done.Height != 1 {
		t.Fatalf("Transact: %+v, %v", done, err)
	}
	l.commit(map[string][]byte{"k1": []byte("v1"), "k2": []byte("v2")}, nil, nil)
	entry, err := c.Get(ctx, []byte("k1"))
	if err != nil || !entry.Present || string(entry.Value) != "v1" || entry.Height != 2 || entry.Signers != 1 {
		t.Errorf("Get: %+v, %v", entry, err)
	}
	if entry, err := c.Get(ctx, []byte("k3")); err != nil || entry.Present {
		t.Errorf("Get of nothing: %+v, %v", entry, err)
	}
	if c.Height() != 2 {
		t.Errorf("height %d", c.Height())
	}
	result, err := c.Query(ctx, "echo", []byte("ping"))
	if err != nil || string(result.Unproven) != "ping" || result.Height != 7 {
		t.Errorf("Query: %+v, %v", result, err)
	}
	if _, err := c.Query(ctx, "none", nil); !errors.Is(err, abi.CodeUnknownContract) {
		t.Errorf("Query of no contract: %v", err)
	}
	_, err = c.Query(ctx, "strict", []byte("seven.."))
	if own, ok := client.AbortOf(err); !ok || own != 7 || client.CodeOf(err) != abi.CodeAborted {
		t.Errorf("Query that the contract refuses: %v", err)
	}
	page, err := c.Scan(ctx, []byte("k"), nil, 1)
	if err != nil || len(page.Pairs) != 1 || !page.More {
		t.Errorf("Scan: %+v, %v", page, err)
	}
	n := 0
	for p, err := range c.All(ctx, []byte("k")) {
		if n++; err != nil || !bytes.HasPrefix(p.Key, []byte("k")) {
			t.Errorf("All: %v, %v", p, err)
		}
	}
	if n != 2 {
		t.Errorf("All found %d entries", n)
	}
	status, err := c.Status(ctx)
	if err != nil || status.Height != 2 || status.Account == nil || *status.Account != k.AccountID() {
		t.Errorf("Status: %+v, %v", status, err)
	}
	for height, txs := range map[uint64]int{0: 1, 1: 1, 2: 0} {
		b, err := c.Block(ctx, height)
		if err != nil || len(b.Block.Txs) != txs {
			t.Errorf("Block %d: %+v, %v", height, b, err)
		}
	}
	tx, err := c.Tx(ctx, done.ID)
	if err != nil || tx.Height != 1 || tx.Tx == nil {
		t.Errorf("Tx: %+v, %v", tx, err)
	}
	if _, err := c.Tx(ctx, abi.Hash{1}); !errors.Is(err, abi.CodeNotFound) {
		t.Errorf("Tx of nothing: %v", err)
	}
}
