package declog

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// run runs a log until stop is called, which returns what Run did; it must be
// called in a bubble.
func run(t *testing.T, l *Log) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	synctest.Wait()
	return func() error { cancel(); return <-ended }
}

// check checks that a number still has the decision it was given for.
func check(t *testing.T, item *Item, err error, number uint64, n int) {
	t.Helper()
	if err != nil {
		t.Fatalf("record %d: %v", number, err)
	}
	want := decision(n)
	want.Number, want.Salt = number, item.Decision.Salt
	if !bytes.Equal(item.Decision.Append(nil), want.Append(nil)) {
		t.Fatalf("record %d is %+v, want %+v", number, item.Decision, want)
	}
}

func TestAppendAndRead(t *testing.T) {
	d, ledger := disktest.New(), &fakeLedger{}
	l := mustOpen(t, ledger.config(), d)
	for n := 1; n <= 700; n++ {
		if number := mustAppend(t, l, n); number != uint64(n) {
			t.Fatalf("number %d, want %d", number, n)
		}
		if n%7 == 0 {
			mustFlush(t, l)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	root, err := l.files.tree.root()
	if err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, ledger.config(), d.Crash(false, 0))
	for _, n := range []int{1, 2, 255, 256, 257, 512, 699, 700} {
		item, err := l.find(uint64(n))
		check(t, item, err, uint64(n), n)
	}
	if again, err := l.files.tree.root(); err != nil || again != root || l.files.tree.size != 700 {
		t.Errorf("root %x of %d, want %x, %v", again, l.files.tree.size, root, err)
	}
	if number := mustAppend(t, l, 701); number != 701 {
		t.Errorf("a log that was closed goes on with %d", number)
	}
	for _, number := range []uint64{0, 702, 1 << 60} {
		if _, err := l.find(number); !errors.Is(err, abi.CodeNotFound) {
			t.Errorf("record %d: %v", number, err)
		}
	}
}

// TestSyncedInTime: nobody waits for the disk, and the disk has everything
// within 50 ms.
func TestSyncedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ledger := disktest.New(), &fakeLedger{}
		l := mustOpen(t, ledger.config(), d)
		stop := run(t, l)
		before := d.Syncs()
		for n := range 100 {
			start := time.Now()
			mustAppend(t, l, n)
			if time.Since(start) != 0 {
				t.Fatal("Append waited")
			}
		}
		if synctest.Wait(); d.Syncs() != before {
			t.Error("each record is synced by itself")
		}
		elapse(50 * time.Millisecond)
		synctest.Wait()
		if s := l.Stats(); s.Waiting != 0 || s.Records != 100 || d.Syncs() != before+1 {
			t.Errorf("after 50 ms: %+v, %d syncs", s, d.Syncs()-before)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestIdleWritesNothing for an hour, once all is anchored.
func TestIdleWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ledger := disktest.New(), &fakeLedger{}
		l := mustOpen(t, ledger.config(), d)
		ledger.log = l
		stop := run(t, l)
		mustAppend(t, l, 1)
		elapse(2 * time.Minute)
		steps := d.Steps()
		elapse(time.Hour)
		if d.Steps() != steps || len(ledger.heads) != 1 {
			t.Errorf("%d writes, %d anchors", d.Steps()-steps, len(ledger.heads))
		}
		stop()
	})
}

// TestSlowDisk: what waits for the disk is bounded; then callers wait, and then
// they are refused.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ledger := disktest.New(), &fakeLedger{}
		l := mustOpen(t, ledger.config(), d)
		stop := run(t, l)
		d.Gate = make(chan struct{}) // before anything waits for a sync
		for n := range maxWaiting {
			mustAppend(t, l, n)
		}
		start := time.Now()
		if _, err := l.Append(t.Context(), decision(1)); !errors.Is(err, abi.CodeBusy) || time.Since(start) != patience {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := l.Append(ctx, decision(1)); !errors.Is(err, abi.CodeTimeout) {
			t.Errorf("with a deadline: %v", err)
		}
		taken := make(chan uint64)
		go func() {
			number, _ := l.Append(t.Context(), decision(2))
			taken <- number
		}()
		synctest.Wait()
		close(d.Gate)
		if number := <-taken; number != maxWaiting+1 {
			t.Errorf("who waited got %d", number)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestGreatRequestsAreBounded in bytes as well.
func TestGreatRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustOpen(t, (&fakeLedger{}).config(), disktest.New())
		r := decision(1)
		r.Request = make([]byte, maxRequest)
		n := 0
		for ; ; n++ {
			if _, err := l.Append(t.Context(), r); err != nil {
				break
			}
		}
		if n != maxWaitingBytes/maxRequest {
			t.Errorf("%d of %d bytes wait", n, maxRequest)
		}
		r.Request = make([]byte, maxRequest+1)
		if _, err := l.Append(t.Context(), r); !errors.Is(err, abi.CodeTooLarge) {
			t.Error(err)
		}
		r = decision(1)
		r.Domain = "\xff"
		if _, err := l.Append(t.Context(), r); !errors.Is(err, abi.CodeBadArgument) {
			t.Error(err)
		}
	})
}

// TestFullDisk: everything is refused at once, nothing that was answered is
// lost, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ledger := disktest.New(), &fakeLedger{}
		l := mustOpen(t, ledger.config(), d)
		stop := run(t, l)
		mustAppend(t, l, 1)
		elapse(time.Second)
		d.Leave(100)
		mustAppend(t, l, 2) // answered before anybody could know
		elapse(time.Second)
		start := time.Now()
		if _, err := l.Append(t.Context(), decision(3)); !errors.Is(err, abi.CodeLogUnavailable) || time.Since(start) != 0 {
			t.Errorf("on a full disk: %v", err)
		}
		if s := l.Stats(); !s.Full || s.Waiting != 1 {
			t.Errorf("%+v", s)
		}
		if _, err := l.Receipt(t.Context(), 1, true); !errors.Is(err, abi.CodeLogUnavailable) {
			t.Errorf("a receipt: %v", err)
		}
		d.Leave(1 << 30)
		elapse(2 * retryFull)
		if number := mustAppend(t, l, 3); number != 3 {
			t.Errorf("it goes on with %d", number)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		l = mustOpen(t, ledger.config(), d)
		for n := 1; n <= 3; n++ {
			item, err := l.find(uint64(n))
			check(t, item, err, uint64(n), n)
		}
	})
}

// TestFullDiskWhileAnchoring: without room for a head there is no anchor, but
// what there is room for is still decided.
func TestFullDiskWhileAnchoring(t *testing.T) {
	d, ledger := disktest.New(), &fakeLedger{}
	l := mustOpen(t, ledger.config(), d)
	mustAppend(t, l, 1)
	mustFlush(t, l)
	d.Leave(300) // less than a head takes
	if err := l.anchorHead(t.Context()); !errors.Is(err, abi.CodeLogUnavailable) {
		t.Errorf("anchored: %v", err)
	}
	mustAppend(t, l, 2)
	d.Leave(1 << 30)
	if err := l.anchorHead(t.Context()); err != nil || len(ledger.heads) != 1 || ledger.heads[0].Size != 2 {
		t.Errorf("with room again: %+v, %v", ledger.heads, err)
	}
}

// TestFailedDiskIsFatal: also when it works again, since nobody knows what it
// holds.
func TestFailedDiskIsFatal(t *testing.T) {
	for _, step := range []int{1, 2} { // the write, and its sync
		synctest.Test(t, func(t *testing.T) {
			d := disktest.New()
			l := mustOpen(t, (&fakeLedger{}).config(), d)
			ended := make(chan error, 1)
			go func() { ended <- l.Run(t.Context()) }()
			d.Fail(step)
			mustAppend(t, l, 1)
			if err := <-ended; !errors.Is(err, disktest.ErrFailed) || !errors.Is(err, abi.CodeLogUnavailable) {
				t.Errorf("Run: %v", err)
			}
			d.Fail(1 << 30)
			if _, err := l.Append(t.Context(), decision(2)); !errors.Is(err, abi.CodeLogUnavailable) {
				t.Errorf("Append: %v", err)
			}
			if err := l.Run(t.Context()); !errors.Is(err, disktest.ErrFailed) {
				t.Errorf("Run again: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// TestCrashLeavesAGap that covers every number that was given out and is gone;
// none is given out again.
func TestCrashLeavesAGap(t *testing.T) {
	d, ledger := disktest.New(), &fakeLedger{}
	l := mustOpen(t, ledger.config(), d)
	for n := 1; n <= 10; n++ {
		mustAppend(t, l, n)
	}
	mustFlush(t, l)
	for n := 11; n <= 20; n++ {
		mustAppend(t, l, n)
	}
	l = mustOpen(t, ledger.config(), d.Crash(true, 1))
	next := mustAppend(t, l, 30)
	if next <= 20 {
		t.Fatalf("number %d is given out twice", next)
	}
	mustFlush(t, l)
	item, err := l.files.item(15)
	if err != nil || item.Gap == nil || *item.Gap != (proof.Gap{First: 11, Next: next, Now: 1_767_600_000_000}) || item.Position != 10 {
		t.Errorf("in place of what is gone: %+v, %v", item, err)
	}
	if _, err := l.find(15); !errors.Is(err, abi.CodeNotFound) {
		t.Errorf("what is gone: %v", err)
	}
	item, err = l.find(next)
	if check(t, item, err, next, 30); item.Position != 11 {
		t.Errorf("the next stands at %d", item.Position)
	}
}

// TestHammer appends, reads and anchors at the same time.
func TestHammer(t *testing.T) {
	ledger := &fakeLedger{}
	cfg := ledger.config()
	cfg.Dir, cfg.AnchorEvery = t.TempDir(), time.Millisecond
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ledger.log = l
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	const workers, each = 8, 400
	var seen sync.Map
	var receipts atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				n := w*each + i
				number, err := l.Append(ctx, decision(n))
				if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				if _, twice := seen.LoadOrStore(number, n); twice {
					t.Errorf("number %d was given out twice", number)
				}
				if i%100 == 50 {
					r, err := l.Receipt(ctx, number, true)
					if err == nil {
						_, err = r.Verify(&testTrust)
					}
					if err != nil {
						t.Errorf("receipt %d: %v", number, err)
					}
					receipts.Add(1)
				}
				l.Stats()
			}
		})
	}
	group.Wait()
	cancel()
	if err := errors.Join(<-ended, l.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(cfg.Dir, cfg.Key)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	err = r.Scan(0, func(it *Item) error {
		n, ok := seen.Load(it.Decision.Number)
		if !ok {
			t.Fatalf("nobody was given %d", it.Decision.Number)
		}
		check(t, it, nil, it.Decision.Number, n.(int))
		count++
		return nil
	})
	if err != nil || count != workers*each || receipts.Load() != workers*4 || ledger.refused != 0 {
		t.Errorf("%d records, %d receipts, %d heads refused, %v", count, receipts.Load(), ledger.refused, err)
	}
	if rep, err := r.Verify(ctx, ledger.heads, func(_, _ uint64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a verification that was cancelled: %+v, %v", rep, err)
	}
	if rep, err := r.Verify(t.Context(), ledger.heads, func(_, _ uint64) {}); err != nil || rep.Heads != len(ledger.heads) || rep.Decisions != workers*each || rep.Gaps != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}
