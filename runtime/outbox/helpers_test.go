package outbox

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

type testKey struct{ ed25519.PrivateKey }

func (k testKey) Public() []byte { return k.PrivateKey.Public().(ed25519.PublicKey) }

func (k testKey) Sign(message []byte) ([]byte, error) {
	return ed25519.Sign(k.PrivateKey, message), nil
}

func keyOf(seed byte) testKey {
	return testKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))}
}

var (
	testChain   = abi.Hash{1, 2, 3}
	testAccount = chain.AccountID(keyOf(1).Public())
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
		Path: "/home/outbox", Chain: testChain, Key: keyOf(1), Account: testAccount, Lane: testLane, Gas: func() uint64 { return 1000 },
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

// memDisk keeps apart what is synced and what is not, as a disk does when the
// power goes.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*memFile // guarded by mu
	durable map[string]*memFile // names as last synced; guarded by mu
	steps   int                 // operations so far; guarded by mu

	// failAt is the operation that fails, with all after it; 0 is none. With
	// done it has its effect nevertheless.
	failAt int
	done   bool
	gate   chan struct{} // not nil: each sync takes one
}

type memFile struct {
	disk   *memDisk
	data   []byte
	synced int
}

var errDisk = errors.New("the disk failed")

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// step does one operation, or fails. The caller holds no lock.
func (d *memDisk) step(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	if d.failAt != 0 && d.steps >= d.failAt {
		if d.done && d.steps == d.failAt {
			do()
		}
		return errDisk
	}
	return do()
}

func (d *memDisk) read(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(f.data), nil
}

func (d *memDisk) create(path string) (file, error) {
	f := &memFile{disk: d}
	return f, d.step(func() error { d.names[path] = f; return nil })
}

func (d *memDisk) rename(from, to string) error {
	return d.step(func() error {
		d.names[to] = d.names[from]
		delete(d.names, from)
		return nil
	})
}

func (d *memDisk) syncDir(string) error {
	return d.step(func() error {
		d.durable = map[string]*memFile{}
		for name, f := range d.names {
			d.durable[name] = f
		}
		return nil
	})
}

func (f *memFile) Write(b []byte) (int, error) {
	return len(b), f.disk.step(func() error { f.data = append(f.data, b...); return nil })
}

func (f *memFile) Sync() error {
	if f.disk.gate != nil {
		<-f.disk.gate
	}
	return f.disk.step(func() error { f.synced = len(f.data); return nil })
}

func (f *memFile) Close() error { return nil }

// crash is the disk as it is found afterwards: of names and of bytes that
// were not synced, everything is there or nothing, or half of the bytes.
func (d *memDisk) crash(names bool, part float64) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := newMemDisk()
	from := d.durable
	if names {
		from = d.names
	}
	for name, f := range from {
		keep := f.synced + int(part*float64(len(f.data)-f.synced))
		g := &memFile{disk: found, data: bytes.Clone(f.data[:keep]), synced: keep}
		found.names[name], found.durable[name] = g, g
	}
	return found
}

func mustOpen(t testing.TB, cfg Config, d disk) *Outbox {
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
