package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/storage"
)

// validator is a node: what of it outlives its processes, and the one that
// runs.
type validator struct {
	s     *simulation
	id    uint64
	wal   string
	disk  *vfs.MemFS
	life  int
	liar  *liar         // nil: honest
	skew  time.Duration // of its clock
	doubt bool          // its clock is not trusted

	mu   sync.Mutex
	p    *process // nil while down
	down bool
	back time.Time // when it starts again
}

// process is a validator from a start to a crash.
type process struct {
	v      *validator
	ledger *ledger.Ledger
	store  *storage.Store
	engine *Engine
	cancel context.CancelFunc
	done   chan error

	seen map[*replica]bool // owned by the test's goroutine

	dead  atomic.Bool // it did its last deed; what still runs of it does nothing
	steps atomic.Int64
	trap  atomic.Int64 // the step at which it crashes, 0 for none
	fail  atomic.Int64 // the write that fails, 0 for none
	kept  string       // the log as it was at the crash
}

// step is a moment at which a power failure leaves something else on disk than
// at the one before.
func (p *process) step() {
	if n := p.steps.Add(1); n == p.trap.Load() {
		p.crash()
	}
}

// crash freezes the disks: nothing that happens later reaches them or anybody
// else.
func (p *process) crash() {
	if p.dead.Swap(true) {
		return
	}
	p.v.disk.SetIgnoreSyncs(true)
	kept := fmt.Sprint(filepath.Dir(p.v.wal), "/", p.v.life)
	if err := os.CopyFS(kept, os.DirFS(p.v.wal)); err != nil {
		p.v.s.t.Error(err)
	}
	p.kept = kept
	p.cancel()
}

// start starts a process on what the disks hold.
func (v *validator) start() {
	v.life++
	p := &process{v: v, done: make(chan error, 1), seen: map[*replica]bool{}}
	fatal := func(err error) {
		if err != nil {
			v.s.t.Fatalf("validator %d, life %d: %v", v.id, v.life, err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	store, err := storage.Open(storage.Config{Dir: "home", FS: faultyDisk{v.disk, p}, Logger: quiet})
	fatal(err)
	if store.Head().Empty {
		_, err = ledger.Init(store, v.s.genesis)
		fatal(err)
	}
	host, err := contractHost()
	fatal(err)
	p.store = store
	p.ledger, err = ledger.Open(v.s.t.Context(), ledger.Config{Store: store, Runtime: host, Clock: v.clock, Logger: quiet})
	fatal(err)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.engine, err = New(Config{ID: v.id, Key: simKey{newKey(v.id), p}, WAL: v.wal, App: &simApp{p.ledger, p}, Clock: v.clock,
		Logger: testLogger(v.s.t).With("node", v.id), Transport: p, Syncer: p})
	fatal(err)
	v.mu.Lock()
	v.p, v.down = p, false
	v.mu.Unlock()
	go func() {
		err := p.engine.Run(ctx)
		v.mu.Lock()
		v.down = true
		v.mu.Unlock()
		p.done <- err
	}()
}

// stop ends the process, if one runs, and returns why its engine ended. If it
// crashed, the disks are as they were then.
func (v *validator) stop() error {
	v.mu.Lock()
	p := v.p
	v.p, v.down = nil, true
	v.mu.Unlock()
	if p == nil {
		return nil
	}
	p.look()
	p.cancel()
	err := <-p.done
	for r := range p.seen {
		release(r)
	}
	closing := p.store.Close()
	if !p.dead.Load() {
		return errors.Join(err, closing)
	}
	v.wal = p.kept
	v.disk.ResetToSyncedState()
	left := vfs.NewStrictMem()
	if _, err := vfs.Clone(v.disk, left, "home", "home", vfs.CloneSync); err != nil {
		v.s.t.Fatal(err)
	}
	if err := syncFolder(left, ""); err != nil {
		v.s.t.Fatal(err)
	}
	v.disk = left
	return nil
}

// look remembers the replica of the moment.
func (p *process) look() {
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	if r := p.engine.replica; r != nil {
		p.seen[r] = true
	}
}

// release does for a SmartBFT that cannot stop what the end of its process
// would: a decision that meets the end of its view leaves the controller
// waiting for ever, and the view changer for the controller.
func release(r *replica) {
	controller := hidden(reflect.ValueOf(r.bft).Elem(), "controller").Elem()
	synctest.Wait()
	stopped := hidden(controller, "stopChan")
	if x, open := stopped.TryRecv(); x.IsValid() && !open {
		return // it has stopped
	}
	stopped.Close()
	for range 4 {
		hidden(controller, "abortViewChan").TryRecv()
		synctest.Wait()
	}
}

// hidden is an unexported field.
func hidden(v reflect.Value, name string) reflect.Value {
	f := v.FieldByName(name)
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}

// alive is the running process, or nil.
func (v *validator) alive() *process {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.down || v.p.dead.Load() {
		return nil
	}
	return v.p
}

func (v *validator) clock() (int64, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Now().Add(v.skew).UnixMilli(), !v.doubt
}

// setClock sets the clock wrong by some time.
func (v *validator) setClock(skew time.Duration, doubt bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.skew, v.doubt = skew, doubt
}

// simKey is a step before each signature, which lies between two records of
// the log.
type simKey struct {
	key
	p *process
}

func (k simKey) Sign(m []byte) ([]byte, error) {
	k.p.step()
	return k.key.Sign(m)
}

// simApp is the ledger, with a step before and after what leads to a record.
type simApp struct {
	*ledger.Ledger
	p *process
}

func (a *simApp) Propose(ctx context.Context, now int64, raws [][]byte) (*chain.Block, error) {
	a.p.step()
	if l := a.p.v.liar; l != nil && l.propose != nil {
		return l.propose(ctx, a, now, raws)
	}
	return a.Ledger.Propose(ctx, now, raws)
}

func (a *simApp) Verify(ctx context.Context, b *chain.Block) error {
	a.p.step()
	if l := a.p.v.liar; l != nil && l.trusting {
		return nil
	}
	return a.Ledger.Verify(ctx, b)
}

func (a *simApp) Commit(ctx context.Context, b *chain.Block, c *chain.Certificate) error {
	a.p.step()
	if err := c.Verify(&b.Header, a.ValidatorSet()); err != nil && b.Header.Height > a.Head().Height {
		return err
	}
	if err := a.p.failing(func() error { return a.Ledger.Commit(ctx, b, c) }); err != nil {
		return err
	}
	if !a.p.dead.Load() && a.p.v.liar == nil {
		a.p.v.s.committed(a.p.v, b)
	}
	a.p.step()
	return nil
}

func (p *process) Send(to uint64, message []byte) {
	p.step()
	if p.dead.Load() {
		return
	}
	messages := [][]byte{message}
	if l := p.v.liar; l != nil && l.say != nil {
		messages = l.hear(p, to, message)
	}
	for _, m := range messages {
		p.v.s.links.carry(p.v.id, to, func() {
			if q := p.v.s.nodes[to-1].alive(); q != nil {
				q.engine.Handle(p.v.id, m)
			}
		})
	}
}

func (p *process) SendTransaction(to uint64, raw []byte) {
	if p.dead.Load() {
		return
	}
	p.v.s.links.carry(p.v.id, to, func() {
		if q := p.v.s.nodes[to-1].alive(); q != nil {
			_ = q.engine.HandleTransaction(context.Background(), raw)
		}
	})
}

// Sync fetches blocks from whoever can be reached, as block sync does: nothing
// but a certificate is believed.
func (p *process) Sync(ctx context.Context) error {
	app := &simApp{p.ledger, p}
	for _, peer := range p.v.s.nodes {
		q := peer.alive()
		if q == nil || peer == p.v || p.v.s.links.cut(p.v.id, peer.id) {
			continue
		}
		for h := app.Head().Height + 1; h <= q.ledger.Head().Height; h++ {
			if err := copyBlock(ctx, app, q.ledger, h); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyBlock(ctx context.Context, to *simApp, from *ledger.Ledger, height uint64) error {
	rawBlock, rawCertificate, _, err := from.Block(height)
	if err != nil {
		return err
	}
	b, err := chain.ParseBlock(rawBlock)
	if err != nil {
		return err
	}
	c, err := chain.ParseCertificate(rawCertificate)
	if err != nil {
		return err
	}
	return to.Commit(ctx, b, &c)
}
