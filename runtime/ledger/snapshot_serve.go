package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage"
)

// maxChunkBytes bounds the keys and values of one chunk: with what proves them
// it fits a frame between nodes.
const maxChunkBytes = 512 << 10

// SnapshotConfig says what KeepSnapshots keeps.
type SnapshotConfig struct {
	Storage storage.Config // Dir is the folder of the snapshots
	// KeepBlocks is how many blocks stay below the newest snapshot, and no
	// fewer than down to the oldest one kept; 0 keeps all.
	KeepBlocks uint64
	Logger     *slog.Logger // required
}

// Snapshots keeps the newest snapshots of a ledger: at every multiple of the
// chain's snapshot interval it makes a checkpoint, and then prunes.
type Snapshots struct {
	cfg    SnapshotConfig
	ledger *Ledger
	kept   *storage.Snapshots
	newest atomic.Pointer[Snapshot] // read last
	taken  chan struct{}
}

// KeepSnapshots begins to take snapshots with the next commits. It is called
// before Run of either.
func (l *Ledger) KeepSnapshots(cfg SnapshotConfig) (*Snapshots, error) {
	if cfg.Logger == nil {
		return nil, errors.New("ledger: the snapshots' Logger is required")
	}
	kept, err := storage.NewSnapshots(cfg.Storage)
	if err != nil {
		return nil, err
	}
	s := &Snapshots{cfg: cfg, ledger: l, kept: kept, taken: make(chan struct{}, 1)}
	l.OnCommit(s.committed)
	return s, nil
}

// committed takes a snapshot where one is due, before the next block can be
// committed. A failure costs that snapshot; if the store has failed, the node
// learns it from the store.
func (s *Snapshots) committed(k *chain.Block) {
	if k.Header.Height%s.ledger.head.Load().params.SnapshotInterval() != 0 {
		return
	}
	if err := s.kept.Take(s.ledger.store); err != nil {
		s.cfg.Logger.Warn("no snapshot was taken", "height", k.Header.Height, "err", err)
		return
	}
	select {
	case s.taken <- struct{}{}:
	default:
	}
}

// Run prunes after each snapshot and closes those that nobody reads, until ctx
// ends.
func (s *Snapshots) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.kept.Run(ctx) }()
	err := s.run(ctx)
	return errors.Join(err, <-done)
}

func (s *Snapshots) run(ctx context.Context) error {
	for {
		if err := s.prune(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("blocks were not pruned", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.taken:
		}
	}
}

func (s *Snapshots) prune(ctx context.Context) error {
	heights := s.kept.Heights()
	if s.cfg.KeepBlocks == 0 || len(heights) == 0 {
		return nil
	}
	oldest, newest := heights[0], heights[len(heights)-1]
	return s.ledger.Prune(ctx, min(oldest, newest-min(newest, s.cfg.KeepBlocks)))
}

// Newest is the newest snapshot; it must not be modified. ok is false while
// there is none that can be read.
func (s *Snapshots) Newest() (n *Snapshot, ok bool) {
	heights := s.kept.Heights()
	if len(heights) == 0 {
		return nil, false
	}
	height := heights[len(heights)-1]
	if n := s.newest.Load(); n != nil && n.Header.Height == height {
		return n, true
	}
	err := s.kept.Read(height, func(store *storage.Store, v *storage.View) (err error) {
		n, err = readSnapshot(store, v)
		return err
	})
	if err != nil {
		s.cfg.Logger.Warn("the newest snapshot cannot be read", "height", height, "err", err)
		return nil, false
	}
	s.newest.Store(n)
	return n, true
}

// Chunk is an encoded proof.Chunk of the snapshot of a height. An error wraps
// abi.CodeTooLarge where its halves must be asked for, and abi.CodeNotFound if
// the snapshot is not kept.
func (s *Snapshots) Chunk(height, prefix uint64, depth uint8) (raw []byte, err error) {
	err = s.kept.Read(height, func(_ *storage.Store, v *storage.View) error {
		c, err := v.Chunk(prefix, depth, maxChunkBytes)
		if err == nil {
			raw = c.Append(nil)
		}
		return err
	})
	return raw, s.outside(err)
}

// Guards are an encoded page of the replay guards at the height of a snapshot,
// the first one after nil, and what to ask for the next page with, nil on the
// last.
func (s *Snapshots) Guards(height uint64, after []byte) (page, next []byte, err error) {
	err = s.kept.Read(height, func(store *storage.Store, v *storage.View) (err error) {
		page, next, err = readGuards(store, v, after)
		return err
	})
	return page, next, s.outside(err)
}

// outside gives an error of storage a code for those who asked.
func (s *Snapshots) outside(err error) error {
	if _, coded := refusal(err); err == nil || coded {
		return err
	}
	s.cfg.Logger.Warn("a snapshot cannot be read", "err", err)
	return fmt.Errorf("%w: %w", abi.CodeInternal, err)
}
