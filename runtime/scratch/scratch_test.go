package scratch_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/scratch"
	"github.com/seed79541315/postern/runtime/wasm"
)

func open(t *testing.T, cfg scratch.Config) *scratch.Chain {
	t.Helper()
	c, err := scratch.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func access(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../contracts/access/access.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestContractAnswers(t *testing.T) {
	ctx := t.Context()
	var traced []abi.Entry
	c := open(t, scratch.Config{Trace: func(call *wasm.Call, _ *wasm.Result, _ error) { traced = append(traced, call.Entry) }})
	out, err := c.Deploy(ctx, scratch.Operator, "doors", access(t), nil)
	must(t, err)
	if out.Code != abi.OK {
		t.Fatalf("init: %v", out.Code)
	}
	must(t, c.Grant(ctx, "ann", abi.RoleOwner))
	must(t, c.Enrol(ctx, "lock", "ann", chain.Labels{"zone": "north"}))
	request := abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "1"},
	})
	a, err := c.Decide(ctx, "lock", "doors", request)
	must(t, err)
	if a.Permit || a.Code != abi.CodeNoPolicy {
		t.Errorf("a contract without a policy answers %v, %v", a.Permit, a.Code)
	}
	a, err = c.Decide(ctx, "stranger", "doors", request)
	must(t, err)
	if a.Code != abi.CodeUnknownKey {
		t.Errorf("a stranger is answered %v", a.Code)
	}
	if _, err := c.Query(ctx, "windows", nil); !isCode(err, abi.CodeUnknownContract) {
		t.Errorf("an unknown contract answers %v", err)
	}
	if out, err := c.Call(ctx, "ann", "doors", []byte{0xff}); err != nil || out.Code != abi.CodeAborted {
		t.Errorf("a malformed message ends with %v, %v", out.Code, err)
	}
	if len(traced) == 0 || traced[len(traced)-1] != abi.EntryExecute {
		t.Errorf("traced %v", traced)
	}
}

// TestEveryRunIsTheSame holds that nothing of the machine gets into a chain.
func TestEveryRunIsTheSame(t *testing.T) {
	run := func() (uint64, int64, uint64) {
		c := open(t, scratch.Config{})
		out, err := c.Deploy(t.Context(), scratch.Operator, "doors", access(t), nil)
		must(t, err)
		_, err = c.Advance(t.Context(), time.Hour)
		must(t, err)
		return c.Height(), c.Now(), out.Gas
	}
	h1, t1, g1 := run()
	h2, t2, g2 := run()
	if h1 != h2 || t1 != t2 || g1 != g2 {
		t.Errorf("height %d, time %d, gas %d; then %d, %d, %d", h1, t1, g1, h2, t2, g2)
	}
}

func TestRefusedCode(t *testing.T) {
	c := open(t, scratch.Config{})
	out, err := c.Deploy(t.Context(), scratch.Operator, "bad", []byte("no module"), nil)
	if err != nil || out.Code != abi.CodeModuleMalformed {
		t.Errorf("deploying no module: %v, %v", out.Code, err)
	}
}

func TestNames(t *testing.T) {
	if scratch.ID("ann") == scratch.ID("bob") {
		t.Error("two names have one id")
	}
	c := open(t, scratch.Config{Start: 1000})
	if c.Now() < 1000 || c.Now() > 2000 {
		t.Errorf("the clock shows %d", c.Now())
	}
	if _, err := c.Call(context.Background(), "nobody", "x", nil); err != nil {
		t.Errorf("a call by nobody: %v", err)
	}
}

func isCode(err error, code abi.Code) bool {
	var c abi.Code
	return errors.As(err, &c) && c == code
}

// A chain of an earlier protocol version has that version's prices.
func TestProtocol(t *testing.T) {
	grow, err := os.ReadFile("../ledger/testdata/grow.wasm")
	must(t, err)
	used := map[uint64]uint64{}
	for _, version := range []uint64{1, 2} {
		c := open(t, scratch.Config{Protocol: version})
		out, err := c.Deploy(t.Context(), scratch.Operator, "grow", grow, nil)
		must(t, err)
		if out.Code != abi.OK {
			t.Fatal(out.Code)
		}
		out, err = c.Call(t.Context(), scratch.Operator, "grow", nil)
		must(t, err)
		used[version] = out.Gas
	}
	if used[2] != used[1]+5000 {
		t.Errorf("a page of memory costs %v", used)
	}
}
