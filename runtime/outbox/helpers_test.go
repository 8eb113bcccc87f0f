package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/chain/chaintest"
	"github.com/seed79541315/postern/storage/disk"
)

var (
	testChain   = abi.Hash{1, 2, 3}
	testAccount = chain.AccountID(chaintest.Key(1).Public())
)

const testLane = 7

// call is the arguments of the n-th operation.
func call(n int) []byte {
	c := chain.Call{Contract: "log", Message: fmt.Appendf(nil, "%d", n)}
	return c.Append(nil)
}

// fakeLedger executes what is submitted at once, by the rules of lanes.
type fakeLedger struct {
	mu       sync.Mutex
	sequence uint64
	done     []string // messages, in the order of execution
	results  map[abi.Hash]abi.TxResult
	waiting  chan struct{} // closed and made anew at each block

	refuse    func() error                                  // of Submit, before anything else
	hold      bool                                          // blocks do not come
	unlogged  bool                                          // outcomes leave the lane as it is
	outcome   abi.Code                                      // of every transaction
	submitted int                                           // calls of Submit
	wait      func(context.Context, abi.Hash) (bool, error) // true: stands in for Wait
}

func newFakeLedger() *fakeLedger {
	return &fakeLedger{results: map[abi.Hash]abi.TxResult{}, waiting: make(chan struct{})}
}

func (l *fakeLedger) config() Config {
	return Config{
		Path: "/home/outbox", Chain: testChain, Key: chaintest.Key(1), Account: testAccount, Lane: testLane, Gas: func() uint64 { return 1000 },
		Submit: l.submit, Wait: l.await, Sequence: l.last, Logger: slog.New(slog.DiscardHandler),
	}
}

func (l *fakeLedger) last() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sequence, nil
}

func (l *fakeLedger) submit(_ context.Context, raw []byte) (abi.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.submitted++
	t, err := chain.ParseTx(raw)
	if err == nil {
		err = t.Envelope().Verify()
	}
	if err == nil && l.refuse != nil {
		err = l.refuse()
	}
	if err != nil {
		return abi.Hash{}, err
	}
	if t.Chain != testChain || t.Lane != testLane {
		return abi.Hash{}, abi.CodeWrongChain
	}
	if t.Sequence <= l.sequence {
		return abi.Hash{}, abi.CodeOutOfSequence
	}
	if !l.hold {
		return t.ID, l.execute(t)
	}
	return t.ID, nil
}

func (l *fakeLedger) execute(t *chain.Tx) error {
	c, err := chain.ParseCall(t.Args)
	if err != nil {
		return err
	}
	if !l.unlogged {
		l.sequence = t.Sequence
	}
	l.done = append(l.done, strings.TrimSpace(string(c.Message)))
	out := chain.Outcome{ID: t.ID, Code: l.outcome}
	l.results[t.ID] = abi.TxResult{ID: t.ID, Height: uint64(len(l.done)), Outcome: chain.AppendOutcome(nil, &out)}
	close(l.waiting)
	l.waiting = make(chan struct{})
	return nil
}

func (l *fakeLedger) await(ctx context.Context, id abi.Hash) (abi.TxResult, error) {
	for {
		l.mu.Lock()
		res, ok := l.results[id]
		block, wait := l.waiting, l.wait
		l.mu.Unlock()
		if wait != nil {
			if mine, err := wait(ctx, id); mine {
				return abi.TxResult{}, err
			}
		}
		if ok {
			return res, nil
		}
		select {
		case <-block:
		case <-ctx.Done():
			return abi.TxResult{}, fmt.Errorf("%w: %w", abi.CodeTimeout, ctx.Err())
		}
	}
}

func (l *fakeLedger) executed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.done...)
}

func mustOpen(t testing.TB, cfg Config, d disk.Disk) *Outbox {
	t.Helper()
	o, err := open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mustPut(t testing.TB, o *Outbox, n int) abi.Hash {
	t.Helper()
	id, err := o.Put(context.Background(), chain.OpCall, call(n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
