package ledger

import (
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// TestSuppose: what a contract would decide after some calls, of which nothing
// is left behind.
func TestSuppose(t *testing.T) {
	w := withPolicy(t)
	w.verdict(abi.Verdict{Permit: true, ReasonID: "day"})
	root := w.l.Head().State
	night := abi.AppendVerdict(nil, &abi.Verdict{ReasonID: "night"})
	other := do('s', 0, "decide", string(do('r', 0, string(night), "")))
	s, err := w.l.Suppose(t.Context(), "policy", [][]byte{other})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	who := abi.Caller{Account: person("lock").id()}
	if a := s.Decide(t.Context(), who, "", open); a.Permit || a.ReasonID != "night" || a.Code != abi.CodeDenied {
		t.Errorf("supposed: %+v", a)
	}
	if a := w.decide("lock", open); !a.Permit || a.ReasonID != "day" {
		t.Errorf("in truth: %+v", a)
	}
	w.verdict(abi.Verdict{Permit: true, ReasonID: "later"})
	if w.l.Head().State == root {
		t.Error("the ledger stands still")
	}
	if a := s.Decide(t.Context(), who, "", open); a.ReasonID != "night" || a.Height != w.l.Head().Height-1 {
		t.Errorf("supposed, a block later: %+v", a)
	}
	if a := s.Decide(t.Context(), abi.Caller{Account: abi.Hash{1}}, "", open); a.Code != abi.CodeNotAuthenticated {
		t.Errorf("a stranger: %+v", a)
	}
}

func TestSupposeRefused(t *testing.T) {
	w := withPolicy(t)
	if _, err := w.l.Suppose(t.Context(), "nothing", nil); !errors.Is(err, abi.CodeUnknownContract) {
		t.Error(err)
	}
	if _, err := w.l.Suppose(t.Context(), "policy", [][]byte{do('x', 7, "", "")}); !errors.Is(err, abi.Aborted(7)) {
		t.Error(err)
	}
	w.verdict(abi.Verdict{Permit: true}) // and blocks go on
}
