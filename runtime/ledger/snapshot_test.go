package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// keeper is a node that takes a snapshot every so many blocks.
type keeper struct {
	*world
	kept *Snapshots
	raws [][]byte // transactions that were committed
}

func newKeeper(t *testing.T, every, keep uint64) *keeper {
	w := newWorld(t, council(1, func(g *chain.Genesis) { g.Params.SnapshotBlocks = every }))
	k := &keeper{world: w}
	k.open(keep)
	return k
}

func (k *keeper) open(keep uint64) {
	k.t.Helper()
	var err error
	k.kept, err = k.l.KeepSnapshots(SnapshotConfig{
		Storage: storage.Config{Dir: "snapshots", FS: k.cfg.FS, Logger: discard}, KeepBlocks: keep, Logger: discard,
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

// blocks commits n blocks, each with a few transactions of both guards; the
// block's time moves on by step ms.
func (k *keeper) blocks(n int, step int64) {
	k.t.Helper()
	for range n {
		k.now += step
		var raws [][]byte
		for i := range 5 {
			k.salt++
			raws = append(raws, k.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, ValidUntil: k.now + int64(i)*100_000 + 1000, Gas: 100_000 + uint64(k.salt)}))
		}
		k.salt++
		raws = append(raws, k.sign(nobody, chain.Body{Op: 999, Args: []byte{0xa0}, Lane: 3, Sequence: uint64(k.salt), Gas: 100_000}))
		k.certified(map[uint64]person{1: member(1)}, raws...)
		k.raws = append(k.raws, raws...)
	}
}

// closeSnapshots ends what Run would end.
func (k *keeper) closeSnapshots() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.kept.Run(ctx); err != nil {
		k.t.Error(err)
	}
}

// give takes a snapshot over to a join, all but the guards.
func (k *keeper) give(j *Join) *Snapshot {
	k.t.Helper()
	n, ok := k.kept.Newest()
	if !ok {
		k.t.Fatal("there is no snapshot")
	}
	done, err := j.Begin(n)
	if err != nil {
		k.t.Fatal(err)
	}
	for i := range uint64(4) {
		if prefix := i << 62; !done(prefix, 2) {
			k.giveChunk(j, n, prefix, 2)
		}
	}
	return n
}

func (k *keeper) giveChunk(j *Join, n *Snapshot, prefix uint64, depth uint8) {
	k.t.Helper()
	raw, err := k.kept.Chunk(n.Header.Height, prefix, depth)
	if err != nil {
		k.t.Fatal(err)
	}
	c, err := proof.ParseChunk(raw)
	if err == nil {
		err = c.Verify(n.Header.State, prefix, depth)
	}
	if err == nil {
		err = j.Chunk(prefix, depth, &c)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// guards are all replay guards of a snapshot.
func (k *keeper) guards(height uint64) (list []proof.Guard) {
	k.t.Helper()
	var after []byte
	for {
		page, next, err := k.kept.Guards(height, after)
		if err != nil {
			k.t.Fatal(err)
		}
		part, err := proof.ParseGuards(page)
		if err != nil {
			k.t.Fatal(err)
		}
		list = append(list, part...)
		if after = next; after == nil {
			return list
		}
	}
}

func giveGuards(j *Join, list []proof.Guard) error {
	for page := range slices.Chunk(list, 7) {
		if err := j.Guards(proof.AppendGuards(nil, page)); err != nil {
			return err
		}
	}
	return nil
}

// joined opens the ledger that a join has made.
func (k *keeper) joined(cfg storage.Config) *world {
	k.t.Helper()
	w := &world{t: k.t, cfg: cfg, genesis: k.genesis, now: k.now, trusted: true}
	w.open(false)
	k.t.Cleanup(w.close)
	return w
}

func joinConfig() storage.Config {
	return storage.Config{Dir: "joined", FS: vfs.NewMem(), Logger: discard}
}

// TestJoin joins by a snapshot, with the whole way in between, catches up by
// blocks, and refuses every replay of what was committed before and since.
func TestJoin(t *testing.T) {
	k := newKeeper(t, 10, 0)
	k.blocks(24, 20_000)
	cfg := joinConfig()
	j := NewJoin(cfg, k.genesis)
	n := k.give(j)
	if n.Header.Height != 20 || n.Keys == 0 {
		t.Fatalf("snapshot of block %d with %d keys", n.Header.Height, n.Keys)
	}
	if err := giveGuards(j, k.guards(20)); err != nil {
		t.Fatal(err)
	}
	if err := j.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.closeSnapshots()

	w := k.joined(cfg)
	if w.l.Head() != n.Header || w.l.Base() != 20 || w.l.ChainID() != k.l.ChainID() {
		t.Fatalf("joined at %+v", w.l.Head())
	}
	if err := w.l.readsBack(20); err != nil {
		t.Fatal(err)
	}
	for height := uint64(21); height <= k.l.Head().Height; height++ {
		raw, certificate, _, err := k.l.Block(height)
		if err != nil {
			t.Fatal(err)
		}
		b, err := chain.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		c, err := chain.ParseCertificate(certificate)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.l.Commit(t.Context(), b, &c); err != nil {
			t.Fatal(err)
		}
	}
	if w.l.Head() != k.l.Head() {
		t.Fatal("the joined ledger is another")
	}
	refusesReplays(t, w, k.raws)
	if _, err := w.store.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := CheckGuards(w.store); err != nil {
		t.Fatal(err)
	}
}

// readsBack finds that block 0 and those from a height on can be read.
func (l *Ledger) readsBack(from uint64) error {
	for height := from; height <= l.Head().Height; height++ {
		if _, _, _, err := l.Block(height); err != nil {
			return err
		}
	}
	_, _, _, err := l.Block(0)
	return err
}

// refusesReplays puts what was committed into a block again: none of it is
// recorded twice.
func refusesReplays(t *testing.T, w *world, raws [][]byte) {
	t.Helper()
	for part := range slices.Chunk(raws, 50) {
		for i, o := range w.forced(part...) {
			if o.Gas != 0 || o.Code != abi.CodeReplayed && o.Code != abi.CodeExpired && o.Code != abi.CodeOutOfSequence {
				t.Fatalf("transaction %d came again: %v", i, o.Code)
			}
		}
	}
}

// TestJoinForgedGuards gives every wrong set of replay guards: each is found
// out, and the next, right one goes on with the state that is there.
func TestJoinForgedGuards(t *testing.T) {
	k := newKeeper(t, 10, 0)
	k.blocks(10, 20_000)
	good := k.guards(10)
	if len(good) < 20 {
		t.Fatalf("%d guards are too few for this test", len(good))
	}
	late := slices.IndexFunc(good, func(g proof.Guard) bool { return g.Minute > good[0].Minute })
	extra := proof.Guard{Minute: good[len(good)-1].Minute + 5, ID: abi.Hash{9}, Height: 3}
	cfg := joinConfig()
	for name, forge := range map[string]func([]proof.Guard) []proof.Guard{
		"none":             func(l []proof.Guard) []proof.Guard { return nil },
		"one left out":     func(l []proof.Guard) []proof.Guard { return slices.Delete(l, 4, 5) },
		"last left out":    func(l []proof.Guard) []proof.Guard { return l[:len(l)-1] },
		"a minute missing": func(l []proof.Guard) []proof.Guard { return l[late:] },
		"one changed":      func(l []proof.Guard) []proof.Guard { l[3].ID[31] ^= 1; return l },
		"one added":        func(l []proof.Guard) []proof.Guard { g := l[len(l)-1]; g.ID[0] = 0xff; return append(l, g) },
		"a minute added":   func(l []proof.Guard) []proof.Guard { return append(l, extra) },
		"places swapped": func(l []proof.Guard) []proof.Guard {
			l[0].Height, l[1].Height = l[1].Height, l[0].Height
			l[0].Index, l[1].Index = l[1].Index, l[0].Index
			return l
		},
		"of the future": func(l []proof.Guard) []proof.Guard { l[late-1].Height = 11; return l },
	} {
		j := NewJoin(cfg, k.genesis)
		k.give(j)
		if err := giveGuards(j, forge(slices.Clone(good))); err != nil {
			t.Fatal(err)
		}
		if err := j.Finish(t.Context()); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cfg.FS.Stat("joined"); err == nil {
		t.Fatal("a wrong join became the ledger")
	}
	j := NewJoin(cfg, k.genesis)
	n, _ := k.kept.Newest()
	done, err := j.Begin(n)
	if err != nil || !done(0, 0) {
		t.Fatal("the state has to come again", err)
	}
	if err := errors.Join(giveGuards(j, good), j.Finish(t.Context())); err != nil {
		t.Fatal(err)
	}
	refusesReplays(t, k.joined(cfg), k.raws)
	k.closeSnapshots()
}

// TestJoinRefuses begins with parts that do not fit together.
func TestJoinRefuses(t *testing.T) {
	k := newKeeper(t, 5, 0)
	k.blocks(5, 1000)
	good, ok := k.kept.Newest()
	if !ok {
		t.Fatal("there is no snapshot")
	}
	stranger := newWorld(t, func(g *chain.Genesis) { g.Name = "other" })
	for name, c := range map[string]struct {
		genesis []byte
		forge   func(*Snapshot)
	}{
		"another chain":   {stranger.genesis, func(*Snapshot) {}},
		"another block":   {k.genesis, func(n *Snapshot) { n.Block = bytes.Clone(n.Block); n.Block[len(n.Block)-1] ^= 1; n.Header.Time++ }},
		"another header":  {k.genesis, func(n *Snapshot) { n.Header.State[0] ^= 1 }},
		"no block":        {k.genesis, func(n *Snapshot) { n.Block = nil }},
		"a genesis block": {k.genesis, func(n *Snapshot) { n.Block, n.Header = genesisBlock(t, k.world) }},
	} {
		n := *good
		c.forge(&n)
		if _, err := NewJoin(joinConfig(), c.genesis).Begin(&n); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.closeSnapshots()
}

func genesisBlock(t *testing.T, w *world) ([]byte, chain.Header) {
	t.Helper()
	raw, _, _, err := w.l.Block(0)
	if err != nil {
		t.Fatal(err)
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw, k.Header
}

// TestJoinResumes ends a join in the middle and goes on with another process.
func TestJoinResumes(t *testing.T) {
	k := newKeeper(t, 5, 0)
	k.blocks(5, 1000)
	cfg := joinConfig()
	j := NewJoin(cfg, k.genesis)
	n, _ := k.kept.Newest()
	if _, err := j.Begin(n); err != nil {
		t.Fatal(err)
	}
	k.giveChunk(j, n, 0, 1)
	if err := j.Finish(t.Context()); !errors.Is(err, storage.ErrIncomplete) {
		t.Fatal(err)
	}
	if _, err := j.Begin(n); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = NewJoin(cfg, k.genesis)
	done, err := j.Begin(n)
	if err != nil || !done(0, 1) || done(1<<63, 1) {
		t.Fatal("progress was lost", err)
	}
	k.giveChunk(j, n, 1<<63, 1)
	if err := errors.Join(giveGuards(j, k.guards(5)), j.Finish(t.Context())); err != nil {
		t.Fatal(err)
	}
	refusesReplays(t, k.joined(cfg), k.raws)
	k.closeSnapshots()
}

// TestJoinKeepsSteps joins a chain whose validators changed: what the joined
// node has leads from the genesis to the head, and its head is proved.
func TestJoinKeepsSteps(t *testing.T) {
	w := newWorld(t, council(1, func(g *chain.Genesis) { g.Params.SnapshotBlocks = 7 }))
	k := &keeper{world: w}
	k.open(0)
	keys := map[uint64]person{1: member(1)}
	for i := range 4 {
		now, next := member(i+1), member(i+2)
		keys[uint64(i+2)] = next
		w.certified(keys, w.tx(nobody, chain.OpGuardians, &chain.Guardians{}))
		w.want(w.certified(keys, w.tx(now, chain.OpPropose, w.replaces(uint64(i+1), next)))[0], abi.OK)
	}
	cfg := joinConfig()
	j := NewJoin(cfg, w.genesis)
	n := k.give(j)
	if n.Header.Height != 7 || len(n.Steps) != 3 {
		t.Fatalf("snapshot of block %d with %d steps", n.Header.Height, len(n.Steps))
	}
	if err := errors.Join(giveGuards(j, k.guards(7)), j.Finish(t.Context())); err != nil {
		t.Fatal(err)
	}
	joined := k.joined(cfg)
	trusted := proof.Trusted{Chain: joined.l.ChainID(), Validators: joined.l.Genesis().Validators}
	steps, more, err := joined.l.Steps(0, 100)
	if err != nil || more || len(steps) != 3 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	for _, raw := range steps {
		s, err := proof.ParseStep(raw)
		if err == nil {
			err = trusted.Advance(&s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := joined.l.Prove(chain.ParamsKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := e.Verify(&trusted, chain.ParamsKey()); !ok || err != nil {
		t.Fatal(err)
	}
	k.closeSnapshots()
}

// TestPruneKeepsWhatVerifies prunes behind snapshots: what is kept verifies,
// places of pruned transactions are gone and those of kept ones are not, and
// the chain goes on, also after a restart.
func TestPruneKeepsWhatVerifies(t *testing.T) {
	k := newKeeper(t, 8, 3)
	k.blocks(30, 20_000)
	again := k.forced(k.raws[0]) // refused: its first place is the one that counts
	if again[0].Code == abi.OK {
		t.Fatal("a replay")
	}
	if err := k.kept.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Snapshots 16 and 24 are kept; 24-3 is above the older one.
	for range 2 {
		if k.l.Base() != 16 {
			t.Fatalf("base is %d", k.l.Base())
		}
		if err := k.l.readsBack(16); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := k.l.Block(15); !errors.Is(err, abi.CodeNotFound) {
			t.Fatalf("block 15: %v", err)
		}
		for i, raw := range k.raws {
			height := uint64(i/6 + 1)
			place, err := k.l.Tx(txID(t, raw))
			if kept := height >= 16; kept != (err == nil) || kept && place.Height != height {
				t.Fatalf("transaction of block %d: %+v, %v", height, place, err)
			}
		}
		if r, err := k.store.Verify(t.Context(), nil); err != nil || r.Base != 16 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := CheckGuards(k.store); err != nil {
			t.Fatal(err)
		}
		k.closeSnapshots()
		k.reopen()
		k.open(3)
	}
	k.blocks(20, 20_000)
	if err := k.kept.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if heights := k.kept.kept.Heights(); !slices.Equal(heights, []uint64{40, 48}) || k.l.Base() != 40 {
		t.Fatalf("snapshots %v, base %d", heights, k.l.Base())
	}
	k.closeSnapshots()
}

// TestPruneAmidCommits prunes while blocks come and others read.
func TestPruneAmidCommits(t *testing.T) {
	k := newKeeper(t, 4, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- k.kept.Run(ctx) }()
	go func() {
		for ctx.Err() == nil {
			height := k.l.Base()
			if _, _, _, err := k.l.Block(height); err != nil && !errors.Is(err, abi.CodeNotFound) {
				done <- err
				return
			}
			if n, ok := k.kept.Newest(); ok {
				if _, err := k.kept.Chunk(n.Header.Height, 0, 0); err != nil && !errors.Is(err, abi.CodeNotFound) {
					done <- fmt.Errorf("chunk at %d: %w", n.Header.Height, err)
					return
				}
			}
		}
		done <- nil
	}()
	k.blocks(60, 1000)
	cancel()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	if err := k.kept.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.l.Base() < 50 {
		t.Fatalf("base is %d", k.l.Base())
	}
	if _, err := k.store.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotsAreServedAtTheirHeight: commits since do not show, and what is
// not kept is not found.
func TestSnapshotsAreServedAtTheirHeight(t *testing.T) {
	k := newKeeper(t, 5, 0)
	if _, ok := k.kept.Newest(); ok {
		t.Fatal("there is a snapshot")
	}
	k.blocks(5, 1000)
	n, _ := k.kept.Newest()
	before, err := k.kept.Chunk(5, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	guards := k.guards(5)
	k.blocks(4, 1000)
	after, err := k.kept.Chunk(5, 0, 0)
	if err != nil || !bytes.Equal(before, after) || len(k.guards(5)) != len(guards) {
		t.Fatal("the snapshot moved", err)
	}
	for _, height := range []uint64{0, 4, 9} {
		if _, err := k.kept.Chunk(height, 0, 0); !errors.Is(err, abi.CodeNotFound) {
			t.Errorf("chunk at %d: %v", height, err)
		}
		if _, _, err := k.kept.Guards(height, nil); !errors.Is(err, abi.CodeNotFound) {
			t.Errorf("guards at %d: %v", height, err)
		}
	}
	if _, err := k.kept.Chunk(5, 1, 0); !errors.Is(err, abi.CodeBadArgument) {
		t.Errorf("a chunk that does not exist: %v", err)
	}
	if again, ok := k.kept.Newest(); !ok || again != n {
		t.Error("the parts are read anew each time")
	}
	k.closeSnapshots()
}

// TestDamagedSnapshot: bytes that went bad on disk are not served.
func TestDamagedSnapshot(t *testing.T) {
	k := newKeeper(t, 5, 0)
	k.blocks(5, 1000)
	if _, ok := k.kept.Newest(); !ok {
		t.Fatal("there is no snapshot")
	}
	k.closeSnapshots()
	dir := filepath.Join("snapshots", fmt.Sprintf("%020d", 5), "ledger.db")
	names, err := k.cfg.FS.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if filepath.Ext(name) == ".sst" {
			if err := k.cfg.FS.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := k.kept.Chunk(5, 0, 0); !errors.Is(err, abi.CodeInternal) {
		t.Fatal(err)
	}
	if _, ok := k.kept.Newest(); ok {
		t.Fatal("a damaged snapshot is offered")
	}
	k.blocks(5, 1000)
	if n, ok := k.kept.Newest(); !ok || n.Header.Height != 10 {
		t.Fatal("the next snapshot does not take its place")
	}
	k.closeSnapshots()
}
