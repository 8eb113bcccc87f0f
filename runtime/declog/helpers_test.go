package declog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// memDisk keeps apart what is synced and what is not, as a disk does when the
// power goes.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*memFile // guarded by mu
	durable map[string]*memFile // names as last synced; guarded by mu
	steps   int                 // writing operations so far; guarded by mu
	used    int                 // bytes in files; guarded by mu
	syncs   int                 // of files; guarded by mu

	// failAt is the operation that fails, with all after it; 0 is none. With
	// done it has its effect nevertheless.
	failAt int
	done   bool
	room   int           // bytes that the files may have; 0 is any number
	gate   chan struct{} // not nil: each sync takes one
}

type memFile struct {
	disk   *memDisk
	data   []byte
	synced []byte
}

var errDisk = errors.New("the disk failed")

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// step does one operation, or fails.
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

// synced is how many syncs of files there were.
func (d *memDisk) synced() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// written is how many writing operations there were.
func (d *memDisk) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// leave makes the disk have room for some more bytes only.
func (d *memDisk) leave(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = d.used + room
}

// fail makes one of the next operations fail, and all after it.
func (d *memDisk) fail(after int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failAt = d.steps + after
}

func (d *memDisk) mkdir(string) error { return nil }

func (d *memDisk) list(dir string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range d.names {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *memDisk) open(path string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

func (d *memDisk) create(path string) (file, error) {
	f := &memFile{disk: d}
	return f, d.step(func() error {
		if old := d.names[path]; old != nil {
			d.used -= len(old.data)
		}
		d.names[path] = f
		return nil
	})
}

func (d *memDisk) rename(from, to string) error {
	return d.step(func() error {
		if old := d.names[to]; old != nil {
			d.used -= len(old.data)
		}
		d.names[to] = d.names[from]
		delete(d.names, from)
		return nil
	})
}

func (d *memDisk) remove(path string) error {
	return d.step(func() error {
		d.used -= len(d.names[path].data)
		delete(d.names, path)
		return nil
	})
}

func (d *memDisk) syncDir(string) error {
	return d.step(func() error {
		d.durable = maps.Clone(d.names)
		return nil
	})
}

// WriteAt writes as much as there is room for.
func (f *memFile) WriteAt(b []byte, at int64) (n int, err error) {
	return len(b), f.disk.step(func() error {
		grow := max(0, int(at)+len(b)-len(f.data))
		if d := f.disk; d.room > 0 && d.used+grow > d.room {
			b, grow, err = b[:0], 0, syscall.ENOSPC
		}
		f.disk.used += grow
		if len(b) > 0 {
			f.data = append(f.data, make([]byte, grow)...)
			copy(f.data[at:], b)
		}
		return err
	})
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	return f.disk.step(func() error {
		f.disk.used -= len(f.data) - int(size)
		f.data = f.data[:size]
		return nil
	})
}

func (f *memFile) Sync() error {
	if f.disk.gate != nil {
		<-f.disk.gate
	}
	return f.disk.step(func() error {
		f.synced = bytes.Clone(f.data)
		f.disk.syncs++
		return nil
	})
}

func (f *memFile) Close() error { return nil }

// crash is the disk as it is found afterwards: of names and of bytes that were
// not synced, everything is there or nothing, or a part of the bytes.
func (d *memDisk) crash(names bool, part float64) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := newMemDisk()
	from := d.durable
	if names {
		from = d.names
	}
	for name, f := range from {
		b := bytes.Clone(f.synced)
		if more := len(f.data) - len(b); more > 0 {
			b = append(b, f.data[len(b):len(b)+int(part*float64(more))]...)
		}
		if part == 1 {
			b = bytes.Clone(f.data)
		}
		g := &memFile{disk: found, data: b, synced: bytes.Clone(b)}
		found.names[name], found.durable[name] = g, g
		found.used += len(b)
	}
	return found
}

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
	testSecret  = bytes.Repeat([]byte{5}, KeySize)
	testSet     = chain.ValidatorSet{{ID: 1, Key: keyOf(9).Public()}}
	anchorKey   = chain.AnchorKey(testAccount)
	testTrust   = proof.Trusted{Chain: testChain, Validators: testSet}
)

// fakeLedger anchors by the rules of the ledger, at once.
type fakeLedger struct {
	mu       sync.Mutex
	anchored chain.Anchored
	heads    []Head
	height   uint64
	hold     bool         // blocks do not come
	refused  int          // heads that are not good
	log      *Log         // is told of blocks
	delay    func() error // of Submit
}

func (l *fakeLedger) config() Config {
	return Config{
		Dir: "/home/log", Key: testSecret, Chain: testChain, Account: testAccount, Signer: keyOf(1), Clock: func() int64 { return 1_767_600_000_000 },
		Anchored: l.last, Submit: l.submit, Prove: l.prove, Logger: slog.New(slog.DiscardHandler),
	}
}

func (l *fakeLedger) last() (chain.Anchored, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.anchored, nil
}

func (l *fakeLedger) submit(_ context.Context, args []byte) error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	if delay != nil {
		if err := delay(); err != nil {
			return err
		}
	}
	if err := l.execute(args); err != nil {
		return err
	}
	if l.log != nil {
		l.log.Committed()
	}
	return nil
}

func (l *fakeLedger) execute(args []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold {
		return nil
	}
	a, err := chain.ParseAnchor(args)
	if err != nil {
		return err
	}
	origin := proof.LogOrigin(testChain, testAccount)
	c, err := proof.OpenCheckpoint(a.Note, origin, keyOf(1).Public())
	if err == nil {
		err = c.VerifyConsistency(&proof.Checkpoint{Origin: origin, Size: l.anchored.Size, Root: l.anchored.Root}, a.Path)
	}
	if err != nil {
		l.refused++
		return err
	}
	l.height++
	l.anchored = chain.Anchored{Size: c.Size, Root: c.Root, Height: l.height, Time: int64(l.height), Note: bytes.Clone(a.Note), Key: keyOf(1).Public()}
	l.heads = append(l.heads, Head{c.Size, c.Root, "the ledger"})
	return nil
}

// set changes how the ledger behaves.
func (l *fakeLedger) set(hold bool, delay func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold, l.delay = hold, delay
}

// prove proves the anchor in a state that holds nothing else.
func (l *fakeLedger) prove(key []byte) (*proof.Entry, []proof.Step, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &proof.Entry{Validators: testSet}
	var root abi.Hash
	if l.anchored.Size > 0 {
		value := l.anchored.Append(nil)
		root = proof.Leaf(proof.KeyHash(key), proof.ValueHash(value))
		e.State.Present, e.State.Value = true, value
	}
	e.Header = chain.Header{Chain: testChain, Protocol: chain.Protocol, Height: 1 + l.height, Time: 1, State: root, Validators: testSet.Hash(), NextValidators: testSet.Hash()}
	vote := chain.AppendVote(nil, testChain, e.Header.Hash(), nil, 0)
	e.Certificate.Signatures = []chain.Signature{{Validator: 1, Signature: ed25519.Sign(keyOf(9).PrivateKey, vote)}}
	return e, nil, nil
}

// decision makes a record of its own for each n.
func decision(n int) *proof.Record {
	return &proof.Record{
		Now: int64(n), Trusted: true, Height: uint64(n), Caller: abi.Hash{byte(n)}, Domain: "default", Contract: "access", CodeHash: abi.Hash{7},
		Request: bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 45), Permit: n%2 == 0, ReasonID: "rule",
	}
}

func mustOpen(t testing.TB, cfg Config, d disk) *Log {
	t.Helper()
	l, err := open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *Log, n int) uint64 {
	t.Helper()
	number, err := l.Append(context.Background(), decision(n))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func mustFlush(t testing.TB, l *Log) {
	t.Helper()
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
