package main

import (
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// TestExplainFindsALie: a gateway that recorded another answer than the policy
// gave is found by whoever has the blocks.
func TestExplainFindsALie(t *testing.T) {
	n, stop := decidingNode(t)
	a := n.ask(t.Context())
	if !a.Permit {
		t.Fatalf("denied: %v", a.Code)
	}
	recorded, err := n.decisions.Decision(a.Record)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	store, err := storage.Open(storage.Config{Dir: n.home.path("data"), Logger: newLogger("error")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	p, err := openBygone(t.Context(), &homeLedger{home: n.home, store: store}, recorded.Height)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	explained := func(r *proof.Record) *explainOutput {
		t.Helper()
		v, err := explainIn(t.Context(), p, &proof.Proven{Record: *r, Shown: r.Disclose(0).Shown()}, output{t.Output(), false})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := explained(recorded); !v.OK || v.Note != "" || len(v.Differs) != 0 {
		t.Errorf("the truth: %+v", v)
	}
	lie := *recorded
	lie.Permit, lie.Code, lie.ReasonID = false, abi.CodeDenied, "night"
	if v := explained(&lie); v.OK || !slices.Equal(v.Differs, []string{"decision", "reason"}) || !*v.Again.Decision {
		t.Errorf("a lie: %+v", v)
	}
	busy := *recorded
	busy.Permit, busy.Code = false, abi.CodeBusy
	if v := explained(&busy); !v.OK || v.Note == "" {
		t.Errorf("a gateway without capacity: %+v", v)
	}
	later := *recorded
	later.Height++
	if _, err := p.again(t.Context(), &later); !isCode(err, abi.CodeBadArgument) {
		t.Errorf("another height: %v", err)
	}
}
