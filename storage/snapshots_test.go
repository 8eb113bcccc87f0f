package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// TestChunks compares chunks of every depth with the state, in states that
// grow and shrink.
func TestChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	s := mustOpen(t, testConfig(nil))
	state := map[string]string{}
	for range 25 {
		mustCommit(t, s, randomChanges(rng, state))
		v := mustView(t, s)
		for range 20 {
			depth := uint8(rng.IntN(9))
			wantChunk(t, v, state, rng.Uint64()&^(^uint64(0)>>depth), depth)
		}
		for key := range state {
			depth := uint8(rng.IntN(proof.MaxChunkDepth + 1))
			h := proof.KeyHash([]byte(key))
			wantChunk(t, v, state, binary.BigEndian.Uint64(h[:])&^(^uint64(0)>>depth), depth)
			break
		}
		v.Release()
	}
	mustClose(t, s)
}

// wantChunk finds that a chunk verifies and holds what the state has there.
func wantChunk(t *testing.T, v *View, state map[string]string, prefix uint64, depth uint8) {
	t.Helper()
	c, err := v.Chunk(prefix, depth, 1<<20)
	if err != nil {
		t.Fatalf("chunk %016x/%d: %v", prefix, depth, err)
	}
	if err := c.Verify(v.Root(), prefix, depth); err != nil {
		t.Fatal(err)
	}
	want := 0
	for key := range state {
		if proof.InChunk(proof.KeyHash([]byte(key)), prefix, depth) {
			want++
		}
	}
	for _, e := range c.Entries {
		if value, ok := state[string(e.Key)]; !ok || value != string(e.Value) {
			t.Fatalf("chunk %016x/%d has %q", prefix, depth, e.Key)
		}
	}
	if len(c.Entries) != want {
		t.Fatalf("chunk %016x/%d has %d entries, want %d", prefix, depth, len(c.Entries), want)
	}
}

func TestChunkRefuses(t *testing.T) {
	s := testSource(t, 300)
	v := mustView(t, s)
	for _, c := range []struct {
		prefix   uint64
		depth    uint8
		maxBytes int
		want     error
	}{
		{0, 0, 1000, abi.CodeTooLarge},
		{0, 0, 0, abi.CodeTooLarge},
		{1, 0, 1 << 20, abi.CodeBadArgument},
		{1, 63, 1 << 20, abi.CodeBadArgument},
		{0, 65, 1 << 20, abi.CodeBadArgument},
		{0, 255, 1 << 20, abi.CodeBadArgument},
	} {
		if _, err := v.Chunk(c.prefix, c.depth, c.maxBytes); !errors.Is(err, c.want) {
			t.Errorf("chunk %016x/%d of %d bytes: %v, want %v", c.prefix, c.depth, c.maxBytes, err, c.want)
		}
	}
	v.Release()
	mustClose(t, s)
}

// TestChunkOfDamagedState: a value that changed on disk is not served.
func TestChunkOfDamagedState(t *testing.T) {
	cfg := testConfig(nil)
	s := mustOpen(t, cfg)
	mustCommit(t, s, testState(300))
	if err := s.engine.kv.SetSync(storedAt([]byte("key 7")), []byte("forged")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg)
	v := mustView(t, s)
	if _, err := v.Chunk(0, 0, 1<<20); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	v.Release()
	mustClose(t, s)
}

func mustSnapshots(t testing.TB, fs vfs.FS) *Snapshots {
	t.Helper()
	cfg := testConfig(fs)
	cfg.Dir = "snapshots"
	s, err := NewSnapshots(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustTake(t testing.TB, kept *Snapshots, s *Store) {
	t.Helper()
	if err := kept.Take(s); err != nil {
		t.Fatal(err)
	}
}

// rootAt is the root that a checkpoint has, all of it verified.
func rootAt(t testing.TB, kept *Snapshots, height uint64) (root abi.Hash) {
	t.Helper()
	err := kept.Read(height, func(s *Store, v *View) error {
		root = v.Root()
		if v.Height() != height {
			return fmt.Errorf("it is of block %d", v.Height())
		}
		_, err := s.Verify(t.Context(), nil)
		return err
	})
	if err != nil {
		t.Fatalf("snapshot of block %d: %v", height, err)
	}
	return root
}

// TestSnapshots keeps the newest two, over restarts and while the store goes
// on and replaces the tables that they link.
func TestSnapshots(t *testing.T) {
	cfg := crashConfig(vfs.NewMem())
	s := mustOpen(t, cfg)
	kept := mustSnapshots(t, cfg.FS)
	roots := map[uint64]abi.Hash{}
	for h := range crashBlocks {
		mustCommit(t, s, crashBlock(h))
		if h%3 == 1 {
			mustTake(t, kept, s)
			mustTake(t, kept, s) // a second time is nothing
			roots[uint64(h)] = s.Head().Root
		}
	}
	if err := s.engine.db.Compact([]byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if heights := kept.Heights(); !slices.Equal(heights, []uint64{7, 10}) {
			t.Fatalf("kept are %v", heights)
		}
		for _, height := range kept.Heights() {
			if rootAt(t, kept, height) != roots[height] {
				t.Fatalf("the snapshot of block %d is another", height)
			}
		}
		if err := kept.Read(4, func(*Store, *View) error { return nil }); !errors.Is(err, abi.CodeNotFound) {
			t.Fatal(err)
		}
		kept.closeIdle(true)
		kept = mustSnapshots(t, cfg.FS)
	}
	mustClose(t, s)
}

// TestSnapshotInUse is not removed under its reader.
func TestSnapshotInUse(t *testing.T) {
	fs := vfs.NewMem()
	s, kept := mustOpen(t, testConfig(fs)), mustSnapshots(t, fs)
	mustCommit(t, s, []Change{set("a", "0")})
	mustTake(t, kept, s)
	err := kept.Read(0, func(_ *Store, v *View) error {
		for h := range 4 {
			mustCommit(t, s, []Change{set("a", fmt.Sprint(h+1))})
			mustTake(t, kept, s)
		}
		wantValue(t, v, "a", "0")
		if heights := kept.Heights(); !slices.Equal(heights, []uint64{0, 3, 4}) {
			t.Errorf("kept are %v", heights)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, nil)
	mustTake(t, kept, s)
	if heights := kept.Heights(); !slices.Equal(heights, []uint64{4, 5}) {
		t.Errorf("kept are %v", heights)
	}
	mustClose(t, s)
}

// TestSnapshotsCloseIdle takes the memory of one only while it is read.
func TestSnapshotsCloseIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		s, kept := mustOpen(t, testConfig(fs)), mustSnapshots(t, fs)
		mustCommit(t, s, []Change{set("a", "1")})
		mustTake(t, kept, s)
		mustClose(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- kept.Run(ctx) }()
		rootAt(t, kept, 0)
		for i, open := range []int{1, 1, 0} {
			if n := kept.count(); n != open {
				t.Errorf("%d are open after %d ticks", n, i)
			}
			<-time.After(snapshotIdle)
			synctest.Wait()
		}
		rootAt(t, kept, 0)
		cancel()
		if err := <-done; err != nil || kept.count() != 0 {
			t.Errorf("%d are open at the end, %v", kept.count(), err)
		}
	})
}

// count is how many are open.
func (s *Snapshots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// TestSnapshotsConcurrent reads while others are taken and removed.
func TestSnapshotsConcurrent(t *testing.T) {
	cfg := crashConfig(vfs.NewMem())
	s, kept := mustOpen(t, cfg), mustSnapshots(t, cfg.FS)
	mustCommit(t, s, nil)
	mustTake(t, kept, s)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				heights := kept.Heights()
				height := heights[len(heights)-1]
				err := kept.Read(height, func(_ *Store, v *View) error {
					if v.Height() != height {
						return fmt.Errorf("snapshot of block %d is of block %d", height, v.Height())
					}
					_, err := v.Chunk(0, 0, 1<<20)
					return err
				})
				if err != nil && !errors.Is(err, abi.CodeNotFound) {
					t.Error(err)
					return
				}
				kept.closeIdle(false)
			}
		})
	}
	for h := range 40 / slower {
		mustCommit(t, s, crashBlock(h))
		mustTake(t, kept, s)
	}
	cancel()
	wg.Wait()
	kept.closeIdle(true)
	mustClose(t, s)
}

// TestNewestSnapshot finds complete checkpoints alone, by the disk's own names.
func TestNewestSnapshot(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", "none", "00000000000000000007-new", "8", "00000000000000000090x"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{dir, filepath.Join(dir, "missing")} {
		if path, ok, err := NewestSnapshot(folder); ok || err != nil {
			t.Errorf("found %q, %v", path, err)
		}
	}
	for _, height := range []uint64{9, 10} {
		if err := os.Mkdir(SnapshotPath(dir, height), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if path, ok, err := NewestSnapshot(dir); path != SnapshotPath(dir, 10) || !ok || err != nil {
		t.Errorf("found %q, %v", path, err)
	}
}

// TestCheckpointRefusesWrites: what is served does not change.
func TestCheckpointRefusesWrites(t *testing.T) {
	fs := vfs.NewMem()
	s, kept := mustOpen(t, testConfig(fs)), mustSnapshots(t, fs)
	mustCommit(t, s, nil)
	mustTake(t, kept, s)
	err := kept.Read(0, func(c *Store, _ *View) error {
		if _, err := commit(c, []Change{set("a", "1")}, nil); !errors.Is(err, errReadOnly) {
			t.Errorf("commit: %v", err)
		}
		if err := c.Prune(0, nil); !errors.Is(err, errReadOnly) {
			t.Errorf("prune: %v", err)
		}
		if err := c.checkpoint("elsewhere"); !errors.Is(err, errReadOnly) {
			t.Errorf("checkpoint: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kept.closeIdle(true)
	mustClose(t, s)
	cfg := testConfig(fs)
	cfg.Dir = "nowhere"
	if _, err := OpenCheckpoint(cfg); err == nil {
		t.Error("a checkpoint was made by opening it")
	}
}

// snapshotScript commits, takes checkpoints and prunes. It returns how many
// commits succeeded before the first error that ended the store.
func snapshotScript(cfg Config) (committed int, err error) {
	s, err := Open(cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	kept, err := NewSnapshots(snapshotConfig(cfg))
	if err != nil {
		return 0, err
	}
	for h := range crashBlocks {
		if _, err := commit(s, crashBlock(h), []Change{set(fmt.Sprint("x", h), "place")}); err != nil {
			return h, err
		}
		if h%4 != 3 {
			continue
		}
		taken := kept.Take(s)
		pruned := s.Prune(uint64(h-1), [][]byte{fmt.Append(nil, "x", h-2)})
		if err := errors.Join(taken, pruned); errors.Is(err, ErrFatal) {
			return h + 1, err
		}
	}
	return crashBlocks, nil
}

func snapshotConfig(cfg Config) Config {
	cfg.Dir = "snapshots"
	return cfg
}

// snapshotsAfter opens what a crash left: the store verifies, and so does every
// snapshot that is kept, with the root of its height.
func snapshotsAfter(t *testing.T, disk vfs.FS, roots []abi.Hash, least int) {
	t.Helper()
	cfg := crashConfig(disk)
	kept, err := NewSnapshots(snapshotConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	for _, height := range kept.Heights() {
		if rootAt(t, kept, height) != roots[height] {
			t.Fatalf("the snapshot of block %d is another", height)
		}
	}
	kept.closeIdle(true)
	s := mustOpen(t, cfg)
	base := s.Base()
	if blocks := int(s.Head().Height) + 1; !s.Head().Empty && blocks < least {
		t.Fatalf("%d blocks are left of %d", blocks, least)
	}
	if base != 1 && base != 2 && base != 6 && base != 10 {
		t.Fatalf("base is %d", base)
	}
	if !s.Head().Empty {
		wantPruned(t, s, base)
	}
	mustClose(t, s)
	reopen(t, disk, roots, least, crashBlocks)
}

// TestSnapshotPowerLoss loses what was not synced at every step of commits,
// checkpoints and pruning.
func TestSnapshotPowerLoss(t *testing.T) {
	roots := crashRoots(t)
	for crash := int64(1); ; crash += slower {
		disk := strictDisk(t)
		fs := losePowerAt(disk, crash)
		if _, err := snapshotScript(crashConfig(fs)); err != nil {
			t.Fatal(err)
		}
		if fs.steps.Load() < crash {
			return
		}
		disk.ResetToSyncedState()
		disk.SetIgnoreSyncs(false)
		snapshotsAfter(t, disk, roots, 0)
	}
}

// TestSnapshotFailedSteps fails every step once, done or not. A checkpoint that
// fails leaves the store at work unless its own files failed.
func TestSnapshotFailedSteps(t *testing.T) {
	roots := crashRoots(t)
	for first, done := range []bool{false, true} {
		for at := int64(1 + first); failSnapshotStep(t, roots, at, done); at += 2 * slower {
		}
	}
}

func failSnapshotStep(t *testing.T, roots []abi.Hash, at int64, done bool) bool {
	t.Helper()
	disk := strictDisk(t)
	fs := failAt(disk, at, done)
	committed, err := snapshotScript(crashConfig(fs))
	if fs.steps.Load() < at {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	snapshotsAfter(t, fs.left(t, disk), roots, committed)
	return true
}

// TestCheckpointOnFullDisk costs the checkpoint, not the store.
func TestCheckpointOnFullDisk(t *testing.T) {
	full := false
	links := refusedLinks{vfs.NewMem(), &full}
	s, kept := mustOpen(t, testConfig(links)), mustSnapshots(t, links)
	mustCommit(t, s, []Change{set("a", "1")})
	full = true
	if err := kept.Take(s); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrFatal) {
		t.Fatal(err)
	}
	if names, err := links.List("snapshots"); err != nil || len(names) != 0 {
		t.Fatalf("%q is left, %v", names, err)
	}
	full = false
	mustCommit(t, s, []Change{set("a", "2")})
	mustTake(t, kept, s)
	if rootAt(t, kept, 1) != s.Head().Root {
		t.Fatal("the next checkpoint is another state")
	}
	kept.closeIdle(true)
	mustClose(t, s)
}

// refusedLinks has no room for another checkpoint while full is set.
type refusedLinks struct {
	vfs.FS
	full *bool
}

func (f refusedLinks) Link(old, name string) error {
	if *f.full {
		return syscall.ENOSPC
	}
	return f.FS.Link(old, name)
}

func (f refusedLinks) Create(name string) (vfs.File, error) {
	if *f.full && strings.HasPrefix(name, "snapshots") { // a copy where a link is refused
		return nil, syscall.ENOSPC
	}
	return f.FS.Create(name)
}

// TestSnapshotsRemoveLeftovers of a crash in the middle of a checkpoint.
func TestSnapshotsRemoveLeftovers(t *testing.T) {
	fs := vfs.NewMem()
	for _, name := range []string{snapshotName(5) + "-new", "7", "x", snapshotName(3)} {
		if err := fs.MkdirAll(filepath.Join("snapshots", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	kept := mustSnapshots(t, fs)
	names, err := fs.List("snapshots")
	if err != nil || len(names) != 1 || !slices.Equal(kept.Heights(), []uint64{3}) {
		t.Fatalf("%q, %v, %v", names, kept.Heights(), err)
	}
	// What has a name and no content is damaged, and kept no longer.
	err = kept.Read(3, func(*Store, *View) error { return nil })
	if !errors.Is(err, ErrCorrupt) || len(kept.Heights()) != 0 {
		t.Fatal(err)
	}
}
