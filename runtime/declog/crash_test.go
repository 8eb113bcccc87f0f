package declog

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// given is a decision that somebody was answered.
type given struct {
	number uint64
	n      int
	synced bool // before the crash
}

// TestCrashAtEveryStep fails the disk at each of its writing operations in turn,
// with and without effect, loses what was not synced in several ways, and
// opens again: what was synced is there unchanged, the rest is there or in a
// gap, no number is given out twice, and the log can be anchored on.
func TestCrashAtEveryStep(t *testing.T) {
	for _, done := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			d, ledger := disktest.New(), &fakeLedger{}
			d.FailAt, d.Done = failAt, done
			var all []given
			synctest.Test(t, func(t *testing.T) { all = untilFailure(t, ledger, d) })
			for _, names := range []bool{false, true} {
				for _, part := range []float64{0, 0.6, 1} {
					what := fmt.Sprintf("step %d %v, names %v, part %v", failAt, done, names, part)
					afterCrash(t, what, ledger, d.Crash(names, part), all)
				}
			}
			if d.Steps() < failAt {
				if failAt < 40 {
					t.Fatalf("the run has %d steps only", d.Steps())
				}
				break
			}
		}
	}
}

// untilFailure appends, anchors, prunes, closes and opens again; segments are
// small, so that new ones begin in between.
func untilFailure(t *testing.T, ledger *fakeLedger, d *disktest.Disk) (all []given) {
	cfg := ledger.config()
	cfg.Budget, cfg.segment = 8<<10, 4<<10
	n := 0
	for range 2 {
		l, err := open(cfg, d)
		if err != nil {
			return all
		}
		ledger.log = l
		put := func(count int) {
			for range count {
				n++
				if number, err := l.Append(t.Context(), decision(n)); err == nil {
					all = append(all, given{number, n, false})
				}
			}
		}
		flush := func() {
			if l.flush() == nil {
				for i := range all {
					all[i].synced = true
				}
			}
		}
		put(40)
		flush()
		l.anchorHead(t.Context())
		for range 3 {
			put(12)
			flush()
		}
		l.anchorHead(t.Context())
		put(1)
		if failed := l.failure(); l.Close() == nil && failed == nil {
			for i := range all {
				all[i].synced = true
			}
		}
	}
	return all
}

func afterCrash(t *testing.T, what string, ledger *fakeLedger, d *disktest.Disk, all []given) {
	t.Helper()
	after := &fakeLedger{anchored: ledger.anchored, heads: ledger.heads, height: ledger.height}
	cfg := after.config()
	cfg.segment = 4 << 10
	l, err := open(cfg, d)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	after.log = l
	next := mustAppend(t, l, 9999)
	mustFlush(t, l)
	r, err := openReader("/home/log", testSecret, d)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	first, _ := r.Numbers()
	for _, g := range all {
		if g.number >= next {
			t.Fatalf("%s: number %d was given out, and %d comes next", what, g.number, next)
		}
		it, err := r.Decision(g.number)
		switch {
		case g.number < first && errors.Is(err, abi.CodeNotFound): // pruned
		case err != nil && (g.synced || !errors.Is(err, abi.CodeNotFound)):
			t.Fatalf("%s: record %d, synced %v: %v", what, g.number, g.synced, err)
		case err == nil && it.Decision.Now != int64(g.n):
			t.Fatalf("%s: record %d is that of %d, not %d", what, g.number, it.Decision.Now, g.n)
		}
	}
	if err := l.anchorHead(t.Context()); err != nil || after.refused != 0 {
		t.Fatalf("%s: anchoring: %v", what, err)
	}
	if _, err := r.Verify(t.Context(), after.heads, func(_, _ uint64) {}); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	receipt, err := l.Receipt(t.Context(), next, false)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if p, err := receipt.Verify(&testTrust); err != nil || p.Record.Number != next || p.Shown != proof.Fields(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) {
		t.Fatalf("%s: %+v, %v", what, p, err)
	}
}
