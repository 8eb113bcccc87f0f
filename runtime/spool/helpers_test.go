package spool

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

var testChain = abi.Hash{1, 2, 3}

// signed is a transaction of a device, with a message of "device.lane.sequence".
func signed(t testing.TB, device byte, lane, sequence uint64, more ...byte) []byte {
	t.Helper()
	call := chain.Call{Contract: "log", Message: append(fmt.Appendf(nil, "%d.%d.%d", device, lane, sequence), more...)}
	body := chain.Body{Chain: testChain, Lane: lane, Sequence: sequence, Gas: 1000, Op: chain.OpCall, Args: call.Append(nil)}
	raw, err := chain.SignTx(&body, keyOf(device))
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
		if bytes.Equal(keyOf(device).Public(), t.Key()) {
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

// memDisk keeps apart what is synced and what is not, as a disk does when the
// power goes.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*memFile // guarded by mu
	durable map[string]*memFile // names as last synced; guarded by mu
	steps   int                 // operations so far; guarded by mu

	failAt int  // the operation that fails, with all after it; 0 is none
	done   bool // it has its effect nevertheless
	full   bool // nothing is created
}

type memFile struct {
	disk   *memDisk
	data   []byte
	synced int
	time   time.Time
}

var errDisk = errors.New("the disk failed")

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*memFile{}, durable: map[string]*memFile{}}
}

func (d *memDisk) step(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	if d.failAt != 0 && d.steps >= d.failAt {
		if d.done && d.steps == d.failAt {
			_ = do()
		}
		return errDisk
	}
	return do()
}

func (d *memDisk) mkdir(string) error { return nil }

func (d *memDisk) list(dir string) ([]found, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []found
	for path, f := range d.names {
		if filepath.Dir(path) == dir {
			list = append(list, found{filepath.Base(path), f.time})
		}
	}
	slices.SortFunc(list, func(a, b found) int { return strings.Compare(a.name, b.name) })
	return list, nil
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
	f := &memFile{disk: d, time: time.Now()}
	return f, d.step(func() error {
		if d.full {
			return errors.New("no space left on device")
		}
		if d.names[path] != nil {
			return fs.ErrExist
		}
		d.names[path] = f
		return nil
	})
}

func (d *memDisk) rename(from, to string) error {
	return d.step(func() error {
		d.names[to] = d.names[from]
		delete(d.names, from)
		return nil
	})
}

func (d *memDisk) remove(path string) error {
	return d.step(func() error { delete(d.names, path); return nil })
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
	return f.disk.step(func() error { f.synced = len(f.data); return nil })
}

func (f *memFile) Close() error { return nil }

// crash is the disk as it is found afterwards: of names that were not synced all
// are there or none, and of bytes a part.
func (d *memDisk) crash(names bool, part float64) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after, from := newMemDisk(), d.durable
	if names {
		from = d.names
	}
	for name, f := range from {
		keep := f.synced + int(part*float64(len(f.data)-f.synced))
		g := &memFile{disk: after, data: bytes.Clone(f.data[:keep]), synced: keep, time: f.time}
		after.names[name], after.durable[name] = g, g
	}
	return after
}

// world is a spool, what it stands on, and what runs it.
type world struct {
	t      *testing.T
	ledger *fakeLedger
	disk   *memDisk
	*Spool
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ledger: newFakeLedger(), disk: newMemDisk()}
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

func (w *world) heal() { w.ledger.set(func() { w.ledger.online = true }) }

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
