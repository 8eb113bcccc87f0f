package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// drain runs the outbox until nothing waits in it; it must be called in a
// bubble.
func drain(t *testing.T, o *Outbox) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	synctest.Wait()
	for o.oldest() != nil {
		elapse(time.Second) // of the bubble's clock
		synctest.Wait()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("Run: %v", err)
	}
}

func numbers(from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, strconv.Itoa(n))
	}
	return list
}

func TestInOrderAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLedger()
		o := mustOpen(t, l.config(), disktest.New())
		for n := 1; n <= 20; n++ {
			mustPut(t, o, n)
		}
		drain(t, o)
		if got := l.executed(); !slices.Equal(got, numbers(1, 20)) {
			t.Errorf("executed %v", got)
		}
		if l.submitted != 20 || l.sequence != 20 {
			t.Errorf("%d submitted, the lane is at %d", l.submitted, l.sequence)
		}
	})
}

// TestNothingBeforeTheSync: what a crash could take back is not submitted.
func TestNothingBeforeTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		o := mustOpen(t, l.config(), d)
		d.Gate = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go o.Run(ctx)
		put := make(chan error, 1)
		go func() { _, err := o.Put(ctx, chain.OpCall, call(1)); put <- err }()
		synctest.Wait()
		if l.submitted != 0 || len(put) != 0 {
			t.Errorf("%d submitted, %d answered before the sync", l.submitted, len(put))
		}
		d.Gate <- struct{}{}
		if err := <-put; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := l.executed(); !slices.Equal(got, []string{"1"}) {
			t.Errorf("executed %v", got)
		}
		cancel()
		synctest.Wait()
	})
}

// TestCrashAtEveryStep fails the disk at each of its operations in turn, with
// and without effect, loses what was not synced in several ways, and restarts:
// what Put acknowledged is executed once and in order, the rest at most once.
func TestCrashAtEveryStep(t *testing.T) {
	for _, done := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			l, d := newFakeLedger(), disktest.New()
			d.FailAt, d.Done = failAt, done
			var acknowledged []string
			synctest.Test(t, func(t *testing.T) { acknowledged = runUntilFailure(t, l, d) })
			for _, names := range []bool{false, true} {
				for _, part := range []float64{0, 0.5, 0.99, 1} {
					after := l.copy()
					synctest.Test(t, func(t *testing.T) {
						o := mustOpen(t, after.config(), d.Crash(names, part))
						mustPut(t, o, 1000)
						drain(t, o)
					})
					checkExecuted(t, fmt.Sprint("step ", failAt, done, names, part), after.executed(), append(slices.Clone(acknowledged), "1000"))
				}
			}
			if d.Steps() < failAt {
				if failAt < 30 {
					t.Fatalf("the run has %d steps only", d.Steps())
				}
				break
			}
		}
	}
}

// runUntilFailure puts, delivers, and puts again; big arguments make the file
// be written anew in between.
func runUntilFailure(t *testing.T, l *fakeLedger, d *disktest.Disk) (acknowledged []string) {
	o, err := open(l.config(), d)
	if err != nil {
		return nil
	}
	put := func(n int) {
		c := chain.Call{Contract: "log", Message: []byte(strconv.Itoa(n))}
		if n%2 == 0 {
			c.Message = append(c.Message, strings.Repeat(" ", 40<<10)...)
		}
		if _, err := o.Put(t.Context(), chain.OpCall, c.Append(nil)); err == nil {
			acknowledged = append(acknowledged, strconv.Itoa(n))
		}
	}
	for n := 1; n <= 5; n++ {
		put(n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	synctest.Wait()
	for n := 6; n <= 12; n++ {
		put(n)
	}
	synctest.Wait()
	cancel()
	if err := <-ended; (err != nil) != (d.FailAt <= d.Steps()) || err != nil && !errors.Is(err, disktest.ErrFailed) {
		t.Errorf("failing at step %d of %d, Run ended with %v", d.FailAt, d.Steps(), err)
	}
	if d.FailAt <= d.Steps() {
		before := len(acknowledged)
		if put(13); len(acknowledged) != before {
			t.Error("an outbox took a transaction after its disk had failed")
		}
	}
	return acknowledged
}

func (l *fakeLedger) copy() *fakeLedger {
	c := newFakeLedger()
	c.sequence, c.done = l.sequence, slices.Clone(l.done)
	for id, r := range l.results {
		c.results[id] = r
	}
	return c
}

// checkExecuted checks that all that was acknowledged ran, and that all that
// ran did so once and in order.
func checkExecuted(t *testing.T, what string, got, acknowledged []string) {
	t.Helper()
	previous := 0
	for _, s := range got {
		n, err := strconv.Atoi(s)
		if err != nil || n <= previous {
			t.Fatalf("%s: executed %v", what, got)
		}
		previous = n
	}
	for _, s := range acknowledged {
		if !slices.Contains(got, s) {
			t.Fatalf("%s: executed %v, but %s was promised as well", what, got, s)
		}
	}
}

func TestFailedSyncIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		o := mustOpen(t, l.config(), d)
		ended := make(chan error, 1)
		go func() { ended <- o.Run(t.Context()) }()
		mustPut(t, o, 1)
		synctest.Wait()
		d.FailAt = d.Steps() + 2 // the write succeeds, its sync does not
		if _, err := o.Put(t.Context(), chain.OpCall, call(2)); !errors.Is(err, disktest.ErrFailed) || !errors.Is(err, abi.CodeInternal) {
			t.Errorf("Put: %v", err)
		}
		if err := <-ended; !errors.Is(err, disktest.ErrFailed) {
			t.Errorf("Run: %v", err)
		}
		d.FailAt = 0 // a disk that works again proves nothing of what it holds
		if _, err := o.Put(t.Context(), chain.OpCall, call(3)); !errors.Is(err, disktest.ErrFailed) {
			t.Errorf("Put after a failed sync: %v", err)
		}
		if err := o.Run(t.Context()); !errors.Is(err, disktest.ErrFailed) {
			t.Errorf("Run after a failed sync: %v", err)
		}
		if got := l.executed(); !slices.Equal(got, []string{"1"}) {
			t.Errorf("executed %v", got)
		}
	})
}

// TestRunEndsAtOnceWhenTheFileFails, though it waits for a block.
func TestRunEndsAtOnceWhenTheFileFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		l.hold = true
		o := mustOpen(t, l.config(), d)
		mustPut(t, o, 1)
		ended := make(chan error, 1)
		go func() { ended <- o.Run(t.Context()) }()
		synctest.Wait()
		d.FailAt = d.Steps() + 1
		start := time.Now()
		if _, err := o.Put(t.Context(), chain.OpCall, call(2)); err == nil {
			t.Error("Put took a transaction that it could not write")
		}
		if err := <-ended; !errors.Is(err, disktest.ErrFailed) || time.Since(start) != 0 {
			t.Errorf("Run ended with %v after %v", err, time.Since(start))
		}
	})
}

// TestLedgerAhead: the file was lost, or is an old copy.
func TestLedgerAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		o := mustOpen(t, l.config(), d)
		for n := 1; n <= 3; n++ {
			mustPut(t, o, n)
		}
		old := d.Crash(true, 1)
		drain(t, o)
		l.sequence = 10
		for name, d := range map[string]*disktest.Disk{"lost": disktest.New(), "old": old} {
			o := mustOpen(t, l.config(), d)
			if o.oldest() != nil {
				t.Errorf("%s: what is done waits", name)
			}
			mustPut(t, o, 100)
			drain(t, o)
		}
		if want := append(numbers(1, 3), "100", "100"); !slices.Equal(l.executed(), want) || l.sequence != 12 {
			t.Errorf("executed %v, the lane is at %d", l.executed(), l.sequence)
		}
	})
}

// TestLedgerCatchesUp: the ledger turns out to be ahead only after Open.
func TestLedgerCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLedger()
		o := mustOpen(t, l.config(), disktest.New())
		l.sequence = 50
		mustPut(t, o, 1)
		drain(t, o)
		if got := l.executed(); !slices.Equal(got, []string{"1"}) || l.sequence != 51 {
			t.Errorf("executed %v, the lane is at %d", got, l.sequence)
		}
	})
}

// TestLedgerBehind: a part of what is in the file has no block yet.
func TestLedgerBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		o := mustOpen(t, l.config(), d)
		for n := 1; n <= 5; n++ {
			mustPut(t, o, n)
		}
		first := o.pending[0]
		if _, err := l.submit(t.Context(), first.raw); err != nil {
			t.Fatal(err)
		}
		o = mustOpen(t, l.config(), d.Crash(false, 0))
		if o.oldest().sequence != 2 {
			t.Errorf("sequence %d is next", o.oldest().sequence)
		}
		mustPut(t, o, 6)
		drain(t, o)
		if got := l.executed(); !slices.Equal(got, numbers(1, 6)) {
			t.Errorf("executed %v", got)
		}
	})
}

// TestSequenceIsNotUsedTwice: an outcome that left the lane where it was does
// not free its sequence, not even after the file was written anew: anybody can
// take the old transaction out of its block and submit it again.
func TestSequenceIsNotUsedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		l.unlogged, l.outcome = true, abi.CodeStorageQuota
		o := mustOpen(t, l.config(), d)
		mustPut(t, o, 1)
		drain(t, o)
		o = mustOpen(t, l.config(), d.Crash(false, 0))
		drain(t, o) // it is on the ledger and does not run again
		o = mustOpen(t, l.config(), d.Crash(false, 0))
		mustPut(t, o, 2)
		if s := o.pending[len(o.pending)-1].sequence; s != 2 {
			t.Errorf("the second transaction has sequence %d", s)
		}
		drain(t, o)
		if got := l.executed(); !slices.Equal(got, numbers(1, 2)) {
			t.Errorf("executed %v", got)
		}
	})
}

func TestConcurrentPuts(t *testing.T) {
	l, d := newFakeLedger(), disktest.New()
	o := mustOpen(t, l.config(), d)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	const writers, each = 8, 25
	var wait sync.WaitGroup
	ids := make([]abi.Hash, writers*each)
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				ids[w*each+i] = mustPut(t, o, w*each+i+1)
			}
		})
	}
	wait.Wait()
	for _, id := range ids {
		if _, err := l.await(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var last [writers]int
	got := l.executed()
	for _, s := range got {
		n, _ := strconv.Atoi(s)
		if w := (n - 1) / each; n <= last[w] {
			t.Fatalf("of one caller %d came after %d", n, last[w])
		} else {
			last[w] = n
		}
	}
	if len(got) != writers*each || l.sequence != writers*each {
		t.Errorf("%d were executed, the lane is at %d", len(got), l.sequence)
	}
}

// TestGroupCommit: those that wait while a sync is under way share the next.
func TestGroupCommit(t *testing.T) {
	l, d := newFakeLedger(), disktest.New()
	o := mustOpen(t, l.config(), d)
	d.Gate = make(chan struct{})
	var wait sync.WaitGroup
	put := func(n int) { wait.Go(func() { mustPut(t, o, n) }) }
	put(1)
	d.Gate <- struct{}{} // it is being written
	wait.Wait()
	o.writing.Lock() // as a write under way does
	const more = 10
	for n := range more {
		put(n + 2)
	}
	for staged := 0; staged < more; {
		o.mu.Lock()
		if o.open != nil {
			staged = len(o.open.entries)
		}
		o.mu.Unlock()
	}
	o.writing.Unlock()
	d.Gate <- struct{}{} // one sync for all; a second would block for ever
	wait.Wait()
	if len(o.pending) != more+1 {
		t.Errorf("%d are pending", len(o.pending))
	}
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newFakeLedger(), disktest.New()
		o := mustOpen(t, l.config(), d)
		for n := 1; n <= maxEntries; n++ {
			mustPut(t, o, n)
		}
		busy := func(o *Outbox) {
			t.Helper()
			if _, err := o.Put(t.Context(), chain.OpCall, call(0)); !errors.Is(err, abi.CodeBusy) {
				t.Errorf("a full outbox answers %v", err)
			}
		}
		busy(o)
		o = mustOpen(t, l.config(), d.Crash(false, 0))
		busy(o)
		drain(t, o)
		mustPut(t, o, maxEntries+1)
		drain(t, o)
		if got := l.executed(); !slices.Equal(got, numbers(1, maxEntries+1)) {
			t.Errorf("%d were executed", len(got))
		}
	})
}

func TestFullOfBytes(t *testing.T) {
	l, d := newFakeLedger(), disktest.New()
	o := mustOpen(t, l.config(), d)
	c := chain.Call{Contract: "log", Message: make([]byte, 60<<10)}
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = o.Put(t.Context(), chain.OpCall, c.Append(nil))
	}
	if !errors.Is(err, abi.CodeBusy) || o.bytes < maxBytes || o.bytes > maxBytes+abi.MaxTransaction {
		t.Errorf("after %d puts of %d bytes: %v", n, o.bytes, err)
	}
	if reopened := mustOpen(t, l.config(), d.Crash(false, 0)); reopened.count != o.count || reopened.bytes != o.bytes {
		t.Errorf("%d bytes of %d are found again", reopened.bytes, o.bytes)
	}
}

// TestFileStaysSmall: under a load without end the file is written anew though
// it is never empty.
func TestFileStaysSmall(t *testing.T) {
	l, d := newFakeLedger(), disktest.New()
	o := mustOpen(t, l.config(), d)
	c := chain.Call{Contract: "log", Message: make([]byte, 10<<10)}
	const line = 40
	largest := 0
	for n := range 400 {
		if _, err := o.Put(t.Context(), chain.OpCall, c.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if n >= line {
			if err := o.finish(o.oldest()); err != nil {
				t.Fatal(err)
			}
		}
		largest = max(largest, o.size)
	}
	if live := line * 11 << 10; largest > 2*live+compactAt || o.size != len(d.Data("/home/outbox")) {
		t.Errorf("the file grew to %d bytes for %d that wait", largest, live)
	}
	if reopened := mustOpen(t, l.config(), d.Crash(false, 0)); reopened.last != 400 || reopened.oldest().sequence > 400-line+1 {
		t.Errorf("sequence %d and on to %d are found again", reopened.oldest().sequence, reopened.last)
	}
}

// TestRetries: refusals are met with longer and longer waits, and never end in
// giving up.
func TestRetries(t *testing.T) {
	for _, code := range []abi.Code{abi.CodeNotReady, abi.CodeBusy, abi.CodeUnknownAccount, abi.CodeGasCap, abi.CodeInternal} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLedger()
			start := time.Now()
			l.refuse = func() error {
				if time.Since(start) < 10*time.Minute {
					return code
				}
				return nil
			}
			o := mustOpen(t, l.config(), disktest.New())
			mustPut(t, o, 1)
			mustPut(t, o, 2)
			drain(t, o)
			if took := time.Since(start); took > 10*time.Minute+lastRetry+time.Second || l.submitted < 20 || l.submitted > 40 {
				t.Errorf("%v: %d were submitted in %v", code, l.submitted, took)
			}
			if got := l.executed(); !slices.Equal(got, numbers(1, 2)) {
				t.Errorf("%v: executed %v", code, got)
			}
		})
	}
}

// TestBlockThatDoesNotCome: the transaction is submitted again, and one whose
// block came while Run was not looking is not run again.
func TestBlockThatDoesNotCome(t *testing.T) {
	for _, unlogged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLedger()
			l.hold, l.unlogged = true, unlogged
			o := mustOpen(t, l.config(), disktest.New())
			mustPut(t, o, 1)
			go func() {
				elapse(4 * patience)
				l.mu.Lock()
				defer l.mu.Unlock()
				l.hold = false
				tx, err := chain.ParseTx(o.pending[0].raw)
				if err == nil {
					err = l.execute(tx)
				}
				if err != nil {
					t.Error(err)
				}
			}()
			drain(t, o)
			if got := l.executed(); !slices.Equal(got, []string{"1"}) || l.submitted < 2 || l.submitted > 5 {
				t.Errorf("executed %v after submitting %d times", got, l.submitted)
			}
		})
	}
}

// TestLookFails: an error of the look-up is no statement about the ledger.
func TestLookFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLedger()
		looks := 0
		l.wait = func(context.Context, abi.Hash) (bool, error) {
			looks++
			return looks < 5, abi.CodeBusy
		}
		o := mustOpen(t, l.config(), disktest.New())
		mustPut(t, o, 1)
		drain(t, o)
		if got := l.executed(); !slices.Equal(got, []string{"1"}) || l.submitted != 1 {
			t.Errorf("executed %v after submitting %d times", got, l.submitted)
		}
	})
}

// TestOvertaken: a sequence that somebody else used is given up, once.
func TestOvertaken(t *testing.T) {
	for _, code := range []abi.Code{abi.CodeOutOfSequence, abi.CodeReplayed} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLedger()
			o := mustOpen(t, l.config(), disktest.New())
			mustPut(t, o, 1)
			l.refuse = func() error { return code }
			drain(t, o)
			l.refuse = nil
			mustPut(t, o, 2)
			drain(t, o)
			if got := l.executed(); !slices.Equal(got, []string{"2"}) || l.submitted != 2 {
				t.Errorf("%v: executed %v after submitting %d times", code, got, l.submitted)
			}
		})
	}
}

func TestPutRefuses(t *testing.T) {
	l, d := newFakeLedger(), disktest.New()
	cfg := l.config()
	o := mustOpen(t, cfg, d)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Put(ended, chain.OpCall, call(1)); !errors.Is(err, abi.CodeTimeout) {
		t.Errorf("an ended context: %v", err)
	}
	big := chain.Call{Contract: "log", Message: make([]byte, abi.MaxTransaction)}
	if _, err := o.Put(t.Context(), chain.OpCall, big.Append(nil)); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := o.Put(t.Context(), chain.OpCall, []byte{0xff}); !errors.Is(err, abi.CodeMalformed) && !errors.Is(err, abi.CodeBadArgument) {
		t.Errorf("arguments that are no map: %v", err)
	}
	l.sequence = math.MaxInt64
	if _, err := o.Put(t.Context(), chain.OpCall, call(1)); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("a lane at its end: %v", err)
	}
	l.sequence = 0
	if mustPut(t, o, 1); o.last != 1 || o.count != 1 || o.bytes != len(o.pending[0].raw) {
		t.Errorf("refusals left a trace: last %d, %d of %d bytes", o.last, o.count, o.bytes)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Put(t.Context(), chain.OpCall, call(2)); !errors.Is(err, abi.CodeShuttingDown) {
		t.Errorf("after Close: %v", err)
	}
	if found := mustOpen(t, cfg, d.Crash(false, 0)); found.count != 1 {
		t.Errorf("%d are found again", found.count)
	}
}
