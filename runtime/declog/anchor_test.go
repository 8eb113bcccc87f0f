package declog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// TestAnchoredInTime: at most every minute, and each head continues the last.
func TestAnchoredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := &fakeLedger{}
		l := mustOpen(t, ledger.config(), disktest.New())
		ledger.log = l
		stop := run(t, l)
		for n := range 600 { // a decision a second
			mustAppend(t, l, n)
			elapse(time.Second)
		}
		elapse(time.Minute)
		if heads := len(ledger.heads); heads < 9 || heads > 11 || ledger.refused != 0 {
			t.Errorf("%d heads in ten minutes, %d refused", heads, ledger.refused)
		}
		if s := l.Stats(); s.Anchored != 600 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestReceiptWaitsForItsAnchor: one that is under way does not cover what came
// since; a second one follows without another demand.
func TestReceiptWaitsForItsAnchor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := &fakeLedger{}
		l := mustOpen(t, ledger.config(), disktest.New())
		ledger.log = l
		ledger.set(false, func() error { elapse(400 * time.Millisecond); return nil }) // as a block takes
		stop := run(t, l)
		start := time.Now()
		done := make(chan error)
		for n := range 5 {
			number := mustAppend(t, l, n)
			go func() {
				r, err := l.Receipt(t.Context(), number, true)
				if err == nil {
					_, err = r.Verify(&testTrust)
				}
				done <- err
			}()
			elapse(100 * time.Millisecond)
		}
		for range 5 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took > 2*time.Second || len(ledger.heads) > 3 {
			t.Errorf("%d heads, the last receipt after %v", len(ledger.heads), took)
		}
		stop()
	})
}

// TestNoAnchorNoReceipt: who waits hears at once why there is none, or when its
// time is over.
func TestNoAnchorNoReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := &fakeLedger{}
		l := mustOpen(t, ledger.config(), disktest.New())
		stop := run(t, l)
		number := mustAppend(t, l, 1)
		ledger.set(false, func() error { return abi.CodeMissingRole })
		start := time.Now()
		if _, err := l.Receipt(t.Context(), number, true); !errors.Is(err, abi.CodeMissingRole) || time.Since(start) > time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ledger.set(true, nil) // blocks do not come
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := l.Receipt(ctx, number, true); !errors.Is(err, abi.CodeTimeout) {
			t.Errorf("without blocks: %v", err)
		}
		if _, err := l.Receipt(t.Context(), number, false); !errors.Is(err, abi.CodeNotReady) {
			t.Errorf("without an anchor: %v", err)
		}
		ledger.set(false, nil)
		elapse(5 * time.Minute)
		if _, err := l.Receipt(t.Context(), number, false); err != nil || ledger.refused != 0 {
			t.Errorf("after blocks came again: %v, %d heads refused", err, ledger.refused)
		}
		stop()
	})
}

// TestRunEndsWhileItAnchors at once.
func TestRunEndsWhileItAnchors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := &fakeLedger{hold: true}
		l := mustOpen(t, ledger.config(), disktest.New())
		stop := run(t, l)
		number := mustAppend(t, l, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { l.Receipt(ctx, number, true) }()
		elapse(time.Second)
		start := time.Now()
		if err := stop(); err != nil || time.Since(start) != 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		cancel()
		synctest.Wait()
	})
}
