package blocksync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/net/peer"
)

// Syncer brings one ledger up to date, and serves its blocks to others.
type Syncer struct {
	cfg     Config
	serving serving
	conduct conduct
	meter   meter
	turn    chan struct{}          // holds a token while blocks are fetched in bulk
	silent  map[peer.Key]bool      // peers that the last such fetch had no word from; whoever has the turn owns it
	window  atomic.Pointer[window] // of the bulk fetch in progress, or nil
	living  atomic.Bool            // blocks stream in
	told    atomic.Uint64          // the height that their peer told last
	pruned  atomic.Bool
}

// New checks the configuration. Nothing runs before Sync, Follow or Serve.
func New(cfg Config) (*Syncer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Syncer{cfg: cfg, turn: make(chan struct{}, 1)}
	s.serving = serving{most: cfg.MaxRequests, of: map[peer.Key]int{}}
	s.conduct = newConduct(cfg.Peers, cfg.Logger)
	return s, nil
}

// Sync fetches blocks until the ledger is level with what the peers in reach
// say, and returns nil then. It waits a moment for the word of a quorum of the
// validators. ErrNoPeers and ErrPruned may pass; ErrLedger and ErrFork do not.
// Where one validator makes all blocks nobody needs to be there.
func (s *Syncer) Sync(ctx context.Context) error {
	others := s.cfg.Ledger.ValidatorSet().Quorum() - 1
	err := s.catchUp(ctx, others)
	if others == 0 && errors.Is(err, ErrNoPeers) {
		return nil
	}
	return err
}

// catchUp is Sync that waits for the word of as many validators.
func (s *Syncer) catchUp(ctx context.Context, quorum int) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	before, begun := s.cfg.Ledger.Head().Height, time.Now()
	w := newWindow(before+1, s.cfg.WindowBytes, quorum, s.silent)
	s.window.Store(w)
	defer s.window.Store(nil)

	inner, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { s.supervise(inner, w) })
	group.Go(func() { s.report(inner, w) })
	err := s.drain(ctx, w)
	s.silent = w.unheard()
	cancel()
	group.Wait()

	s.pruned.Store(errors.Is(err, ErrPruned))
	if after := s.cfg.Ledger.Head().Height; err == nil && after >= before+worthALine {
		s.cfg.Logger.Info("caught up", "height", after, "blocks", after-before, "took", time.Since(begun).Round(time.Millisecond))
	}
	return err
}

// drain commits what is fetched until nothing is left to fetch.
func (s *Syncer) drain(ctx context.Context, w *window) error {
	for {
		p, err := w.pop(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		at, err := s.commit(ctx, p.run)
		w.release(p)
		if isLie(err) {
			s.conduct.judge(p.by.key, err)
			w.reject(p, at)
		} else if err != nil {
			return err
		}
	}
}

// commit hands blocks to the ledger, each only after the validators that the
// ledger names have certified it and if it follows the ledger's head. On an
// error it returns the height that it came to; a lie is the fault of whoever
// sent the blocks.
func (s *Syncer) commit(ctx context.Context, run []certified) (height uint64, err error) {
	for i := range run {
		c, head := &run[i], s.cfg.Ledger.Head()
		height = c.height()
		if height <= head.Height {
			continue // consensus was faster
		}
		h := &c.block.Header
		if h.Validators != head.NextValidators {
			return height, lies("block %d is signed by other validators than the chain's", height)
		}
		if !c.proven {
			if err := prove(run[i:], s.cfg.Ledger.ValidatorSet()); err != nil {
				return height, err
			}
		}
		if !c.proven {
			return height, fmt.Errorf("block %d: %w: its validators are not those of its header", head.Height, ErrLedger)
		}
		if height != head.Height+1 || h.Parent != head.Hash() {
			return height, fmt.Errorf("block %d %x, whose parent is %x, after block %d %x: %w",
				height, c.hash[:8], h.Parent[:8], head.Height, head.Hash(), ErrFork)
		}
		if err := s.cfg.Ledger.Commit(ctx, c.block, &c.certificate); err != nil {
			if ctx.Err() != nil {
				return height, context.Cause(ctx)
			}
			return height, fmt.Errorf("block %d: %w: %w", height, ErrLedger, err)
		}
		s.meter.add(1)
	}
	return height, nil
}

// supervise lets every connected peer take part.
func (s *Syncer) supervise(ctx context.Context, w *window) {
	var group sync.WaitGroup
	defer group.Wait()
	s.conduct.eachFit(ctx, func(i peer.Info) {
		if c := w.join(i); c != nil {
			group.Go(func() { s.attend(ctx, w, c) })
		}
	})
}
