package spool

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/chain/chaintest"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

var testChain = abi.Hash{1, 2, 3}

// signed is a transaction of a device, with a message of "device.lane.sequence".
func signed(t testing.TB, device byte, lane, sequence uint64, more ...byte) []byte {
	t.Helper()
	call := chain.Call{Contract: "log", Message: append(fmt.Appendf(nil, "%d.%d.%d", device, lane, sequence), more...)}
	body := chain.Body{Chain: testChain, Lane: lane, Sequence: sequence, Gas: 1000, Op: chain.OpCall, Args: call.Append(nil)}
	raw, err := chain.SignTx(&body, chaintest.Key(device))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// fakeLedger executes what is submitted at once, by the rules of lanes.
type fakeLedger struct {
	mu      sync.Mutex
	online  bool
	last    map[lane]uint64
	done    []string // messages, in the order of execution
	results map[abi.Hash]abi.TxResult
	waiting chan struct{} // closed and made anew at each block

	refuse    func(t *chain.Tx) error // of Submit; nil: nothing
	hold      bool                    // blocks do not come
	outcome   abi.Code                // of every transaction
	submitted int
}

func newFakeLedger() *fakeLedger {
	return &fakeLedger{last: map[lane]uint64{}, results: map[abi.Hash]abi.TxResult{}, waiting: make(chan struct{})}
}

func (l *fakeLedger) config() Config {
	return Config{Dir: "/home/spool", Check: l.check, Submit: l.submit, Wait: l.await, Online: l.isOnline, Logger: slog.New(slog.DiscardHandler)}
}

func (l *fakeLedger) set(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

func (l *fakeLedger) isOnline() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.online
}

// check knows the devices below 100.
func (l *fakeLedger) check(raw []byte) (*chain.Tx, abi.Hash, error) {
	t, err := chain.ParseTx(raw)
	if err != nil {
		return nil, abi.Hash{}, err
	}
	for device := range byte(100) {
		if bytes.Equal(chaintest.Key(device).Public(), t.Key()) {
			return t, abi.Hash{9}, t.Envelope().Verify()
		}
	}
	return nil, abi.Hash{}, abi.CodeUnknownAccount
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
		err = l.refuse(t)
	}
	switch {
	case err != nil:
		return abi.Hash{}, err
	case t.Sequence <= l.last[laneOf(t)]:
		return abi.Hash{}, abi.CodeOutOfSequence
	case !l.hold:
		l.execute(t)
	}
	return t.ID, nil
}

func (l *fakeLedger) execute(t *chain.Tx) {
	call, err := chain.ParseCall(t.Args)
	if err != nil {
		panic(err)
	}
	l.last[laneOf(t)] = t.Sequence
	l.done = append(l.done, strings.TrimRight(string(call.Message), "x"))
	out := chain.Outcome{ID: t.ID, Code: l.outcome}
	l.results[t.ID] = abi.TxResult{ID: t.ID, Height: uint64(len(l.done)), Outcome: chain.AppendOutcome(nil, &out)}
	close(l.waiting)
	l.waiting = make(chan struct{})
}

func (l *fakeLedger) await(ctx context.Context, id abi.Hash) (abi.TxResult, error) {
	for {
		l.mu.Lock()
		res, ok := l.results[id]
		block := l.waiting
		l.mu.Unlock()
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
	return slices.Clone(l.done)
}

// world is a spool, what it stands on, and what runs it.
type world struct {
	t      *testing.T
	ledger *fakeLedger
	disk   *disktest.Disk
	*Spool
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ledger: newFakeLedger(), disk: disktest.New()}
		w.reopen(w.ledger.config())
		test(w)
	})
}

func (w *world) reopen(cfg Config) {
	w.t.Helper()
	s, err := open(cfg, w.disk)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Spool = s
}

func (w *world) put(raw ...[]byte) {
	w.t.Helper()
	for _, r := range raw {
		if _, err := w.Put(r); err != nil {
			w.t.Fatal(err)
		}
	}
}

// run runs the spool for some time.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		w.t.Error(err)
	}
}

// refusals are those that the spool knows; as many have to be on the disk.
func (w *world) refusals() []Refusal {
	w.t.Helper()
	list, err := readRefused(w.disk, w.refusedDir())
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || len(list) != len(w.refused) {
		w.t.Errorf("%d refusals on the disk, %d known: %v", len(list), len(w.refused), err)
	}
	return slices.Clone(w.refused)
}

// refusals are those of a folder on the machine's disk.
func refusals(t *testing.T, dir string) []Refusal {
	t.Helper()
	list, err := ReadRefusals(dir)
	if err != nil {
		t.Error(err)
	}
	return list
}

func (w *world) heal() { w.ledger.set(func() { w.ledger.online = true }) }

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
