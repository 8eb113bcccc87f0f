package consensus

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

type key struct{ ed25519.PrivateKey }

func newKey(seed uint64) key {
	b := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(b, seed)
	return key{ed25519.NewKeyFromSeed(b)}
}

func (k key) Public() []byte                  { return k.PrivateKey.Public().(ed25519.PublicKey) }
func (k key) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(k.PrivateKey, msg), nil }

// disk is what of a ledger outlives a crash.
type disk struct {
	blocks       []*chain.Block
	certificates []*chain.Certificate
	seen         map[abi.Hash]uint64 // transaction to the height it first stood at
}

func (d *disk) clone() *disk {
	c := &disk{blocks: append([]*chain.Block(nil), d.blocks...), certificates: append([]*chain.Certificate(nil), d.certificates...), seen: map[abi.Hash]uint64{}}
	for k, v := range d.seen {
		c.seen[k] = v
	}
	return c
}

// rewind is the ledger as it was at an earlier height.
func (d *disk) rewind(height uint64) *disk {
	c := &disk{blocks: d.blocks[: height+1 : height+1], certificates: d.certificates[: height+1 : height+1], seen: map[abi.Hash]uint64{}}
	for k, v := range d.seen {
		if v <= height {
			c.seen[k] = v
		}
	}
	return c
}

// app is a ledger whose state root is the hash chain of its transactions.
// Hooks run at the named moments, without the lock.
type app struct {
	t     testing.TB
	set   chain.ValidatorSet // signs blocks up to height split, or all if that is 0
	after chain.ValidatorSet // signs later ones
	split uint64
	terms terms // instead of all of these, where not nil
	clock func() (int64, bool)
	limit int // transactions of a block; 0 = no limit

	onPropose, onVerify, onCommit, onCommitted func(height uint64) error

	mu       sync.Mutex
	disk     *disk
	timers   []int64 // due; a block runs all of a time up to perBlock
	perBlock int
	waiters  map[abi.Hash]chan uint64
	checks   int
	replays  int
}

var testChain = abi.Hash(sha256.Sum256([]byte("test chain")))

func newApp(t testing.TB, validators int) *app {
	a := &app{t: t, clock: systemClock, disk: &disk{seen: map[abi.Hash]uint64{}}, perBlock: 100, waiters: map[abi.Hash]chan uint64{}}
	for i := range validators {
		a.set = append(a.set, chain.Validator{ID: uint64(i + 1), Key: newKey(uint64(i + 1)).Public()})
	}
	hash := a.set.Hash()
	genesis := chain.Header{Chain: testChain, Protocol: 1, Time: 1, Validators: hash, NextValidators: hash}
	a.disk.blocks = append(a.disk.blocks, &chain.Block{Header: genesis})
	a.disk.certificates = append(a.disk.certificates, nil)
	return a
}

// reopen is another process on a copy of a disk.
func (a *app) reopen(d *disk) *app {
	b := newApp(a.t, len(a.set))
	b.after, b.split, b.terms = a.after, a.split, a.terms
	b.clock, b.limit, b.perBlock, b.disk = a.clock, a.limit, a.perBlock, d.clone()
	return b
}

func systemClock() (int64, bool) { return time.Now().UnixMilli(), true }

func (a *app) ChainID() abi.Hash { return testChain }

func (a *app) ValidatorSet() chain.ValidatorSet { return a.signers(a.Head().Height + 1) }

func (a *app) signers(height uint64) chain.ValidatorSet {
	if a.terms != nil {
		return a.terms.at(height)
	}
	if a.split > 0 && height > a.split {
		return a.after
	}
	return a.set
}

func (a *app) Head() chain.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.disk.blocks[len(a.disk.blocks)-1].Header
}

func (a *app) snapshot() *disk {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.disk.clone()
}

func (a *app) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if height >= uint64(len(a.disk.blocks)) {
		return nil, nil, nil, abi.CodeNotFound
	}
	block = chain.AppendBlock(nil, a.disk.blocks[height])
	if c := a.disk.certificates[height]; c != nil {
		certificate = c.Append(nil)
	}
	return block, certificate, nil, nil
}

func (a *app) Check(raw []byte) (*chain.Tx, abi.Hash, error) {
	tx, err := chain.ParseTx(raw)
	if err != nil {
		return nil, abi.Hash{}, err
	}
	if tx.Tick != 0 {
		return tx, abi.Hash{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks++
	if _, ok := a.disk.seen[tx.ID]; ok {
		return nil, abi.Hash{}, abi.CodeReplayed
	}
	return tx, chain.AccountID(tx.Key()), nil
}

func (a *app) CheckRelayed(raw []byte) (*chain.Tx, abi.Hash, error) { return a.Check(raw) }

func call(hook func(uint64) error, height uint64) error {
	if hook == nil {
		return nil
	}
	return hook(height)
}

func (a *app) Propose(_ context.Context, now int64, raws [][]byte) (*chain.Block, error) {
	head := a.Head()
	if err := call(a.onPropose, head.Height+1); err != nil {
		return nil, err
	}
	if a.limit > 0 {
		raws = raws[:min(len(raws), a.limit)]
	}
	return a.execute(&head, max(now, head.Time+1), raws), nil
}

func (a *app) execute(parent *chain.Header, time int64, raws [][]byte) *chain.Block {
	h := chain.Header{Chain: testChain, Protocol: 1, Height: parent.Height + 1, Time: time, Parent: parent.Hash(),
		Validators: a.signers(parent.Height + 1).Hash(), NextValidators: a.signers(parent.Height + 2).Hash()}
	h.State = parent.State
	for _, raw := range raws {
		h.State = sha256.Sum256(append(h.State[:], raw...))
	}
	return &chain.Block{Header: h, Txs: raws}
}

func (a *app) Verify(_ context.Context, b *chain.Block) error {
	if err := call(a.onVerify, b.Header.Height); err != nil {
		return err
	}
	parent := a.Head()
	if want := a.execute(&parent, b.Header.Time, b.Txs); want.Header != b.Header || b.Header.Time <= parent.Time {
		return fmt.Errorf("header differs: %w", abi.CodeMalformed)
	}
	return nil
}

func (a *app) Commit(ctx context.Context, b *chain.Block, c *chain.Certificate) error {
	if err := call(a.onCommit, b.Header.Height); err != nil {
		return err
	}
	if err := c.Verify(&b.Header, a.signers(b.Header.Height)); err != nil {
		return err
	}
	head := a.Head()
	if b.Header.Height <= head.Height {
		return nil
	}
	if b.Header.Height != head.Height+1 || b.Header.Parent != head.Hash() {
		return errors.New("gap")
	}
	a.store(b, c)
	return call(a.onCommitted, b.Header.Height)
}

func (a *app) store(b *chain.Block, c *chain.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.disk.blocks = append(a.disk.blocks, b)
	a.disk.certificates = append(a.disk.certificates, c)
	for _, raw := range b.Txs {
		tx, err := chain.ParseTx(raw)
		if err != nil {
			a.t.Error(err)
		}
		if _, ok := a.disk.seen[tx.ID]; ok && tx.Tick == 0 {
			a.replays++
		} else {
			a.disk.seen[tx.ID] = b.Header.Height
		}
		if ch := a.waiters[tx.ID]; ch != nil {
			ch <- b.Header.Height
			delete(a.waiters, tx.ID)
		}
	}
	for n := 0; n < a.perBlock && len(a.timers) > 0 && a.timers[0] <= b.Header.Time; n++ {
		a.timers = a.timers[1:]
	}
}

func (a *app) NextTimer() (int64, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.timers) == 0 {
		return 0, false
	}
	return a.timers[0], true
}

// wait registers for the height of a transaction's block.
func (a *app) wait(id abi.Hash) <-chan uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch := make(chan uint64, 1)
	if h, ok := a.disk.seen[id]; ok {
		ch <- h
	} else {
		a.waiters[id] = ch
	}
	return ch
}

var testSender = newKey(1000)

// transaction is valid for the test chain; n makes it unique.
func transaction(t testing.TB, n uint64) []byte { return transactionOf(t, testSender, n, 1000) }

func transactionOf(t testing.TB, by key, n, gas uint64) []byte {
	t.Helper()
	args := cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), n)
	raw, err := chain.SignTx(&chain.Body{Chain: testChain, Lane: 1, Sequence: n, Gas: gas, Op: chain.OpCall, Args: args}, by)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func txID(t testing.TB, raw []byte) abi.Hash {
	t.Helper()
	tx, err := chain.ParseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tx.ID
}

func testLogger(t testing.TB) *slog.Logger {
	level := slog.LevelError + 1
	if os.Getenv("CONSENSUS_LOG") != "" {
		level = levelTrace
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// config of the first validator over an app.
func config(t testing.TB, a *app, dir string) Config {
	return Config{ID: 1, Key: newKey(1), WAL: dir, App: a, Clock: a.clock, Logger: testLogger(t)}
}

// running is an engine in its Run.
type running struct {
	*Engine
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

// start runs an engine and waits until it is ready or has ended.
func start(t testing.TB, cfg Config) *running {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Engine: e, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- e.Run(ctx) }()
	t.Cleanup(cancel)
	select {
	case <-e.Ready():
	case err := <-r.done:
		r.done <- err
	}
	return r
}

// stop ends the engine and returns Run's error.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// commit submits a transaction and waits for its block.
func (r *running) commit(a *app, raw []byte) uint64 {
	r.t.Helper()
	id := txID(r.t, raw)
	ch := a.wait(id)
	if _, err := r.Submit(r.t.Context(), raw); err != nil {
		r.t.Fatal(err)
	}
	return <-ch
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
