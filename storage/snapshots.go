package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
)

// keptSnapshots is how many checkpoints stay: who joins by the one before the
// newest can end what it began.
const keptSnapshots = 2

// snapshotIdle is how long a checkpoint that nobody reads stays open. An open
// one takes the memory of a state tree.
const snapshotIdle = time.Minute

// Snapshots keeps the newest checkpoints of a store in a folder, each under
// its height, and opens them to read while somebody does.
type Snapshots struct {
	cfg Config // Dir is the folder of all checkpoints

	mu      sync.Mutex
	heights []uint64          // ascending; guarded by mu
	open    map[uint64]*Store // guarded by mu
	used    map[uint64]bool   // of those that are open: since the last look; guarded by mu
}

// NewSnapshots looks for what is kept in cfg.Dir, whose parent must exist, and
// removes what was not completed.
func NewSnapshots(cfg Config) (*Snapshots, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	// Chunks are read once and in order: caches would not help.
	cfg.HotCacheBytes, cfg.BlockCacheBytes = 64<<10, 1<<20
	s := &Snapshots{cfg: cfg, open: make(map[uint64]*Store), used: make(map[uint64]bool)}
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the snapshots' folder: %w", err)
	}
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading the snapshots' folder: %w", err)
	}
	for _, name := range names {
		if height, ok := snapshotHeight(name); ok {
			s.heights = append(s.heights, height)
		} else if err := cfg.FS.RemoveAll(filepath.Join(cfg.Dir, name)); err != nil {
			return nil, fmt.Errorf("removing an incomplete snapshot: %w", err)
		}
	}
	slices.Sort(s.heights)
	return s, nil
}

// snapshotName has a fixed width, so that names sort like heights.
func snapshotName(height uint64) string { return fmt.Sprintf("%020d", height) }

// snapshotHeight is the height of a complete checkpoint's name.
func snapshotHeight(name string) (height uint64, ok bool) {
	height, err := strconv.ParseUint(name, 10, 64)
	return height, err == nil && name == snapshotName(height)
}

// SnapshotPath is where the checkpoint of a height is in a folder of Snapshots.
func SnapshotPath(dir string, height uint64) string {
	return filepath.Join(dir, snapshotName(height))
}

// NewestSnapshot finds the newest complete checkpoint in a folder of Snapshots,
// which another process may be using. ok is false if there is none.
func NewestSnapshot(dir string) (path string, ok bool, err error) {
	list, err := os.ReadDir(dir) // in ascending order of names
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	for _, entry := range list {
		if height, complete := snapshotHeight(entry.Name()); complete {
			path, ok = SnapshotPath(dir, height), true
		}
	}
	return path, ok, err
}

func (s *Snapshots) path(height uint64) string { return SnapshotPath(s.cfg.Dir, height) }

// Heights are those of the kept checkpoints, the newest last.
func (s *Snapshots) Heights() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heights)
}

// Take makes a checkpoint of what store holds now and removes those that are
// too old, unless they are being read: these go with the next.
func (s *Snapshots) Take(store *Store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	height := store.Head().Height
	if slices.Contains(s.heights, height) {
		return nil
	}
	if err := s.removeOld(keptSnapshots - 1); err != nil {
		return err
	}
	if err := store.checkpoint(s.path(height)); err != nil {
		return err
	}
	s.heights = append(s.heights, height)
	slices.Sort(s.heights)
	return nil
}

// removeOld leaves the newest checkpoints, and what is in use.
func (s *Snapshots) removeOld(keep int) error {
	for _, height := range s.heights[:max(len(s.heights)-keep, 0)] {
		if !s.closeOne(height) {
			continue
		}
		if err := s.cfg.FS.RemoveAll(s.path(height)); err != nil {
			return fmt.Errorf("removing the snapshot of block %d: %w", height, err)
		}
		s.forget(height)
	}
	return nil
}

// closeOne closes an open checkpoint; false if somebody reads it.
func (s *Snapshots) closeOne(height uint64) bool {
	store := s.open[height]
	if store == nil {
		return true
	}
	if err := store.Close(); err != nil {
		if store.current.Load() != nil && store.Err() == nil {
			return false
		}
		s.cfg.Logger.Warn("closing a snapshot", "height", height, "err", err)
	}
	delete(s.open, height)
	delete(s.used, height)
	return true
}

// Read calls fn with the checkpoint of a height, which fn must not keep. An
// error wraps abi.CodeNotFound if there is none. If it is of ErrCorrupt, the
// checkpoint is kept no longer.
func (s *Snapshots) Read(height uint64, fn func(*Store, *View) error) error {
	store, view, err := s.take(height)
	if err == nil {
		err = fn(store, view)
		view.Release()
	}
	if errors.Is(err, ErrCorrupt) {
		s.drop(height, err)
	}
	return err
}

// drop forgets a damaged checkpoint, and removes it unless it is being read.
func (s *Snapshots) drop(height uint64, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Logger.Warn("a snapshot is damaged and will not be served", "height", height, "err", why)
	s.forget(height)
	if s.closeOne(height) {
		if err := s.cfg.FS.RemoveAll(s.path(height)); err != nil {
			s.cfg.Logger.Warn("a damaged snapshot was not removed", "height", height, "err", err)
		}
	}
}

func (s *Snapshots) forget(height uint64) {
	s.heights = slices.DeleteFunc(slices.Clone(s.heights), func(h uint64) bool { return h == height })
}

func (s *Snapshots) take(height uint64) (*Store, *View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.heights, height) {
		return nil, nil, fmt.Errorf("snapshot of block %d: %w", height, abi.CodeNotFound)
	}
	store := s.open[height]
	if store != nil && store.Err() != nil {
		delete(s.open, height) // a failed store cannot be closed
		store = nil
	}
	if store == nil {
		cfg := s.cfg
		cfg.Dir = s.path(height)
		var err error
		if store, err = OpenCheckpoint(cfg); err != nil {
			return nil, nil, fmt.Errorf("snapshot of block %d: %w", height, err)
		}
		s.open[height] = store
	}
	s.used[height] = true
	view, err := store.HeadView()
	return store, view, err
}

// Run closes checkpoints that nobody reads any more, and all of them when ctx
// ends.
func (s *Snapshots) Run(ctx context.Context) error {
	tick := time.NewTicker(snapshotIdle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.closeIdle(true)
			return nil
		case <-tick.C:
			s.closeIdle(false)
		}
	}
}

func (s *Snapshots) closeIdle(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for height := range s.open {
		if (all || !s.used[height]) && s.closeOne(height) {
			continue
		}
		s.used[height] = false
	}
}
