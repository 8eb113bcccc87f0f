package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// decidingNode is a running chain of one whose default domain permits
// everything.
func decidingNode(t *testing.T) (n *node, stop func()) {
	t.Helper()
	h := home(t.TempDir())
	if _, err := initHome(h, newHome{name: "test", clock: "trusted"}); err != nil {
		t.Fatal(err)
	}
	n = openTestNode(t, h)
	stop = runTestNode(t, n)
	cl, err := dialHome(t.Context(), h, n.quicAddr, operatorKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := deployAndBind(t.Context(), cl, client.Deployment{Name: "logged", Code: followUpContract()}, abi.DefaultDomain); err != nil {
		t.Fatal(err)
	}
	return n, stop
}

// lightOf trusts the bundle of a node's home and nothing else.
func lightOf(t testing.TB, n *node) *client.LightClient {
	t.Helper()
	bundle, err := readBundle(n.home.path("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	light, err := client.NewLight(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return light
}

// TestReceiptOnDemand: a receipt is anchored when it is asked for, for those who
// may see it, and proves to anybody what was answered.
func TestReceiptOnDemand(t *testing.T) {
	n, stop := decidingNode(t)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := n.ask(ctx)
	own := abi.Standing{Known: true, Account: n.account}
	if _, err := (service{n}).Receipt(ctx, own, a.Record, false); !errors.Is(err, abi.CodeNotReady) {
		t.Errorf("before there is an anchor: %v", err)
	}
	start := time.Now()
	raw, err := service{n}.Receipt(ctx, own, a.Record, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a receipt of %d bytes after %v", len(raw), time.Since(start))
	r, err := proof.ParseReceipt(raw)
	if err != nil {
		t.Fatal(err)
	}
	p, err := lightOf(t, n).Receipt(r)
	if err != nil {
		t.Fatal(err)
	}
	if d := &p.Record; d.Number != a.Record || d.Permit != a.Permit || d.Now != a.Now || d.Height != a.Height || string(d.Request) != string(openDoor) || d.Caller != n.account {
		t.Errorf("the receipt proves %+v, answered was %+v", p.Record, a)
	}
	for name, who := range map[string]abi.Standing{"an auditor": {Known: true, Account: abi.Hash{1}, Roles: abi.RoleAuditor}, "the domain's owner": {Known: true, Account: n.domainOwner(t)}} {
		if _, err := (service{n}).Receipt(ctx, who, a.Record, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, who := range map[string]abi.Standing{"a stranger": {}, "another device": {Known: true, Account: abi.Hash{1}}} {
		if _, err := (service{n}).Receipt(ctx, who, a.Record, true); !errors.Is(err, abi.CodeNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (n *node) domainOwner(t *testing.T) abi.Hash {
	t.Helper()
	operator, err := key.Load(n.home.path(operatorKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return chain.AccountID(operator.Public())
}

// TestReceiptsMeanwhile: many that ask at once share anchors.
func TestReceiptsMeanwhile(t *testing.T) {
	n, stop := decidingNode(t)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	height := n.ledger.Head().Height
	results := make(chan error)
	const many = 20
	for range many {
		go func() {
			_, err := n.decisions.Receipt(ctx, n.ask(ctx).Record, true)
			results <- err
		}()
	}
	for range many {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	// Each decision has a follow-up, in a block of its own or not.
	if blocks := n.ledger.Head().Height - height; blocks > many+5 {
		t.Errorf("%d blocks for %d receipts", blocks, many)
	}
}
