package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// testLog keeps records in memory, or refuses them.
type testLog struct {
	records []proof.Record
	err     error
}

func (t *testLog) Append(_ context.Context, r *proof.Record) (uint64, error) {
	if t.err != nil {
		return 0, t.err
	}
	kept := *r
	kept.Request = append([]byte(nil), r.Request...)
	t.records = append(t.records, kept)
	return uint64(100 + len(t.records)), nil
}

func TestDecisionsAreRecorded(t *testing.T) {
	w := withPolicy(t)
	log := &testLog{}
	w.l.cfg.Log = log
	w.verdict(abi.Verdict{Permit: true, Reason: 3, ReasonID: "rule", TTL: 500, Obligations: []byte{0x81, 0x01}})
	permit := w.decide("lock", open)
	w.verdict(abi.Verdict{Reason: 4})
	denial := w.decide("lock", open)
	broken := w.decide("lock", []byte("x"))
	nowhere := w.l.Decide(t.Context(), abi.Caller{Key: person("lock").Public()}, "nowhere", open)
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusSuspended})
	suspended := w.decide("lock", open)
	if len(log.records) != 5 {
		t.Fatalf("%d records", len(log.records))
	}
	for i, a := range []abi.Answer{permit, denial, broken, nowhere, suspended} {
		r := &log.records[i]
		if a.Record != uint64(101+i) || r.Permit != a.Permit || r.Code != a.Code || r.Now != a.Now || r.Height != a.Height || !r.Trusted ||
			r.Contract != a.Contract || r.CodeHash != a.CodeHash || r.Reason != a.Reason || r.ReasonID != a.ReasonID || r.TTL != a.TTL || r.Caller != person("lock").id() {
			t.Errorf("record %d is %+v of the answer %+v", i, r, a)
		}
	}
	if r := log.records[0]; string(r.Request) != string(open) || r.Obligations != sha256.Sum256([]byte{0x81, 0x01}) || r.Domain != abi.DefaultDomain {
		t.Errorf("recorded %+v", r)
	}
	if log.records[3].Domain != "nowhere" || log.records[4].Code != abi.CodeDeviceInactive || string(log.records[2].Request) != "x" {
		t.Errorf("recorded %+v", log.records)
	}
}

// TestStrangersAreCounted: who is not authenticated leaves no record.
func TestStrangersAreCounted(t *testing.T) {
	w := withPolicy(t)
	log := &testLog{}
	w.l.cfg.Log = log
	for i, who := range []abi.Caller{{Key: person("stranger").Public()}, {Key: []byte("x")}, {Account: abi.Hash{1}}} {
		if a := w.l.Decide(t.Context(), who, "", open); a.Permit || a.Record != 0 || a.Code == abi.OK {
			t.Errorf("stranger %d: %+v", i, a)
		}
	}
	if s := w.l.Stats(); len(log.records) != 0 || s.Unrecorded != 3 || s.Decisions != 3 {
		t.Errorf("%d records, %+v", len(log.records), s)
	}
}

// TestNoRecordNoPermit: a decision that is not recorded is a denial that tells
// nothing of the policy's verdict.
func TestNoRecordNoPermit(t *testing.T) {
	w := withPolicy(t)
	w.verdict(abi.Verdict{Permit: true, Reason: 3, ReasonID: "rule", TTL: 500, Obligations: []byte{0x81, 0x01}})
	for err, code := range map[error]abi.Code{
		fmt.Errorf("no room: %w", abi.CodeLogUnavailable): abi.CodeLogUnavailable,
		abi.CodeBusy:            abi.CodeBusy,
		errors.New("it failed"): abi.CodeInternal,
	} {
		w.l.cfg.Log = &testLog{err: err}
		a := w.decide("lock", open)
		if a.Permit || a.Code != code || a.Record != 0 || a.Reason != 0 || a.ReasonID != "" || a.Obligations != nil || a.TTL != 0 || a.Contract != "" {
			t.Errorf("%v: %+v", err, a)
		}
	}
	if s := w.l.Stats(); s.Permits != 0 {
		t.Errorf("%d permits are counted", s.Permits)
	}
}
