package storage

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
)

// stepFS counts the steps by which data becomes durable and lets a test act
// at one of them. Pebble's own fault file system does not see SyncData and
// SyncTo, by which the log is written.
type stepFS struct {
	vfs.FS
	steps atomic.Int64
	at    func(step int64, do func() error) error
	dead  atomic.Bool // the process has ended: what still runs of it does nothing
}

var errDead = errors.New("the process has ended")

// Lock leaves no lock behind when the process ends without closing.
func (f *stepFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *stepFS) step(do func() error) error { return f.at(f.steps.Add(1), do) }

func (f *stepFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if f.dead.Load() {
		return nil, errors.Join(err, errDead)
	}
	if err != nil {
		return nil, err
	}
	return &stepFile{file, f}, nil
}

func (f *stepFS) Remove(name string) error {
	if f.dead.Load() {
		return errDead
	}
	return f.FS.Remove(name)
}

func (f *stepFS) Create(name string) (vfs.File, error) { return f.wrap(f.FS.Create(name)) }

func (f *stepFS) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

func (f *stepFS) ReuseForWrite(old, name string) (vfs.File, error) {
	return f.wrap(f.FS.ReuseForWrite(old, name))
}

func (f *stepFS) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.OpenReadWrite(name, opts...))
}

type stepFile struct {
	vfs.File
	fs *stepFS
}

func (f *stepFile) Write(b []byte) (int, error) {
	if f.fs.dead.Load() {
		return 0, errDead
	}
	return f.File.Write(b)
}

func (f *stepFile) Sync() error     { return f.fs.step(f.File.Sync) }
func (f *stepFile) SyncData() error { return f.fs.step(f.File.SyncData) }

func (f *stepFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.step(func() (err error) {
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, err
}

const crashBlocks = 12

// crashBlock is large enough that the memtable is flushed a few times.
func crashBlock(h int) []Change {
	var changes []Change
	for i := range 40 {
		changes = append(changes, set(fmt.Sprint("key ", h*7+i), fmt.Sprintf("%0300d", h)))
	}
	return append(changes, remove(fmt.Sprint("key ", h*7-1)))
}

// crashRoots are the roots that crashBlock leads to.
func crashRoots(t *testing.T) (roots []abi.Hash) {
	t.Helper()
	s := mustOpen(t, testConfig(nil))
	for h := range crashBlocks {
		roots = append(roots, mustCommit(t, s, crashBlock(h)))
	}
	mustClose(t, s)
	return roots
}

func crashConfig(fs vfs.FS) Config {
	cfg := testConfig(fs)
	cfg.MemTableBytes = 32 << 10
	return cfg
}

// script opens a store and commits all blocks. It returns how many commits
// succeeded before the first error.
func script(cfg Config) (committed int, err error) {
	s, err := Open(cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for h := range crashBlocks {
		if _, err := commit(s, crashBlock(h), nil); err != nil {
			return h, errors.Join(err, refusesAll(s))
		}
	}
	return crashBlocks, nil
}

// refusesAll checks that a failed store does nothing more.
func refusesAll(s *Store) error {
	select {
	case <-s.Failed():
	default:
		return errors.New("BUG: Failed is not closed")
	}
	if _, err := s.View(); !errors.Is(err, ErrFatal) {
		return fmt.Errorf("BUG: view of a failed store: %w", err)
	}
	if err := s.Commit(Block{Height: s.Head().Height + 1}); !errors.Is(err, ErrFatal) {
		return fmt.Errorf("BUG: commit to a failed store: %w", err)
	}
	if _, _, _, err := s.Block(0); !errors.Is(err, ErrFatal) {
		return fmt.Errorf("BUG: block of a failed store: %w", err)
	}
	return nil
}

// reopen opens what a crash left and checks it, then commits on.
func reopen(t *testing.T, fs vfs.FS, roots []abi.Hash, least, most int) {
	t.Helper()
	s, err := Open(crashConfig(fs))
	if err != nil {
		t.Fatalf("reopening: %v", err)
	}
	defer mustClose(t, s)
	head := s.Head()
	blocks := int(head.Height) + 1
	if head.Empty {
		blocks = 0
	}
	if blocks < least || blocks > most {
		t.Fatalf("reopened with %d blocks, want %d to %d", blocks, least, most)
	}
	if blocks > 0 && head.Root != roots[blocks-1] {
		t.Fatalf("root at %d differs", head.Height)
	}
	if _, err := s.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for h := blocks; h < crashBlocks; h++ {
		if root := mustCommit(t, s, crashBlock(h)); root != roots[h] {
			t.Fatalf("root at %d differs after a crash", h)
		}
	}
}

// TestPowerLoss loses all that was not synced, at every sync there is: what
// Commit acknowledged before is there, and nothing is torn.
func TestPowerLoss(t *testing.T) {
	roots := crashRoots(t)
	for crash := int64(1); ; crash++ {
		disk := strictDisk(t)
		acknowledged, now := 0, 0
		fs := &stepFS{FS: disk}
		fs.at = func(step int64, do func() error) error {
			if step == crash {
				disk.SetIgnoreSyncs(true)
			}
			return do()
		}
		s, err := Open(crashConfig(fs))
		if err != nil {
			t.Fatal(err)
		}
		for h := range crashBlocks {
			mustCommit(t, s, crashBlock(h))
			if now = h + 1; fs.steps.Load() < crash {
				acknowledged = now
			}
		}
		mustClose(t, s)
		if fs.steps.Load() < crash {
			return
		}
		disk.ResetToSyncedState()
		disk.SetIgnoreSyncs(false)
		reopen(t, disk, roots, acknowledged, now)
	}
}

// strictDisk forgets what is not synced. The home's own parent is there.
func strictDisk(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewStrictMem()
	if err := disk.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syncDir(disk, ""); err != nil {
		t.Fatal(err)
	}
	return disk
}

// TestFailedSync fails every sync once, "not written" and "written all the
// same". The store refuses everything afterwards, and opened again it holds
// what was acknowledged, with or without the block whose write failed.
func TestFailedSync(t *testing.T) {
	roots := crashRoots(t)
	t.Run("not written", func(t *testing.T) {
		for step := int64(1); failSync(t, roots, step, false, syscall.ENOSPC); step++ {
		}
	})
	t.Run("written", func(t *testing.T) {
		for step := int64(1); failSync(t, roots, step, true, syscall.EIO); step++ {
		}
	})
}

// failSync runs the script with one failing sync; false if it ended before.
func failSync(t *testing.T, roots []abi.Hash, at int64, written bool, errno error) bool {
	t.Helper()
	disk := strictDisk(t)
	fs := &stepFS{FS: disk}
	fs.at = func(step int64, do func() error) error {
		if step != at {
			return do()
		}
		if written {
			return errors.Join(do(), errno)
		}
		return errno
	}
	committed, err := script(crashConfig(fs))
	if fs.steps.Load() < at {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if err != nil && committed > 0 && committed < crashBlocks && !errors.Is(err, ErrFatal) {
		t.Fatalf("sync %d failed: %v", at, err)
	}
	fs.dead.Store(true)
	disk.SetIgnoreSyncs(true)
	disk.ResetToSyncedState()
	left := vfs.NewMem()
	if _, err := vfs.Clone(disk, left, "home", "home"); err != nil {
		t.Fatal(err)
	}
	reopen(t, left, roots, committed, min(committed+1, crashBlocks))
	return true
}
