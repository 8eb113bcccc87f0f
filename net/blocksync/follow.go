package blocksync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

const (
	silence     = 2*heartbeat + 2*time.Second // without a frame of a live answer
	lookAround  = heartbeat                   // between two looks at what others say
	lookSoon    = time.Second                 // the same, when blocks came until a moment ago,
	soonLooks   = 5                           // so many times: others may be deposing a leader
	liveFrames  = 8                           // frames of blocks that wait to be committed
	prunedFor   = time.Minute                 // until Follow gives up looking for who keeps what it needs
	followPause = time.Second                 // after a failure, unless peers come or go
)

// Why a live answer is left, beside what was sent.
var (
	errLagging     = errors.New("the peer lags behind others")
	errWithholding = errors.New("the peer does not send the blocks that it says it has")
)

// Follow keeps the ledger level with its peers until ctx ends, and then
// returns nil: it fetches what is missing from all of them, then takes new
// blocks from one as they are committed, and leaves it for another when it
// lags, lies or is silent. An error wraps ErrLedger, ErrFork or ErrPruned.
func (s *Syncer) Follow(ctx context.Context) error {
	var missing time.Time // since when the next block is pruned everywhere
	for ctx.Err() == nil {
		changed := s.cfg.Peers.Changed()
		err := s.catchUp(ctx, 0)
		if err == nil {
			err = s.followOne(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLedger) || errors.Is(err, ErrFork):
			return err
		case !errors.Is(err, ErrPruned):
			missing = time.Time{}
		case missing.IsZero():
			missing = time.Now()
			s.cfg.Logger.Warn("the peers in reach have pruned the blocks that this node needs next",
				"height", s.cfg.Ledger.Head().Height)
		case time.Since(missing) > prunedFor:
			return err
		}
		if err != nil {
			pause(ctx, changed)
		}
	}
	return nil
}

func pause(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-changed:
	case <-time.After(followPause):
	}
}

// followOne takes live blocks from the best peer until that has a fault.
func (s *Syncer) followOne(ctx context.Context) error {
	key, ok := s.best()
	if !ok {
		return ErrNoPeers
	}
	err := s.stream(ctx, key)
	if ctx.Err() == nil {
		s.conduct.judge(key, err)
	}
	return err
}

// best is the peer to listen to: one that failed least since it was of use last,
// a validator rather than another node, and the nearest of them.
func (s *Syncer) best() (peer.Key, bool) {
	list := s.listenable()
	if len(list) == 0 {
		return peer.Key{}, false
	}
	return slices.MinFunc(list, func(a, b peer.Info) int {
		return cmp.Or(s.conduct.failures(a.Key)-s.conduct.failures(b.Key), int(b.Class)-int(a.Class), cmp.Compare(a.RTT, b.RTT))
	}).Key, true
}

// listenable are the connected peers that have no fault now.
func (s *Syncer) listenable() []peer.Info {
	return slices.DeleteFunc(slices.Clone(s.cfg.Peers.Connected()), func(i peer.Info) bool { return s.conduct.resting(i.Key) })
}

// stream commits what a peer sends as it comes. It returns why it ended.
func (s *Syncer) stream(ctx context.Context, key peer.Key) error {
	head := s.cfg.Ledger.Head().Height
	a, err := s.ask(ctx, key, &request{kind: kindLive, height: head + 1}, silence)
	if err != nil {
		return err
	}
	defer a.close()
	at, err := a.standing()
	if err != nil {
		return err
	}
	if at.height < head {
		return fmt.Errorf("at height %d of %d: %w", at.height, head, errLagging)
	}
	s.cfg.Logger.Info("following", "peer", key.String(), "height", head)
	s.told.Store(at.height)
	s.living.Store(true)
	defer s.living.Store(false)

	runs := make(chan []certified, liveFrames)
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return s.receive(inner, a, head+1, runs) })
	group.Go(func() error { return s.commitLive(inner, runs) })
	group.Go(func() error { return s.watch(inner, key) })
	group.Go(func() error { <-inner.Done(); a.stop(context.Cause(inner)); return nil })
	return group.Wait()
}

// receive reads and checks what comes until the answer ends, which it does not
// do well.
func (s *Syncer) receive(ctx context.Context, a *answer, next uint64, runs chan<- []certified) error {
	withheld := 0
	for {
		frame, err := a.next()
		if err == io.EOF {
			return fmt.Errorf("the live answer ended: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		at, pairs, err := parseBlocksFrame(frame)
		if err != nil {
			return lies("not a frame of a live answer: %w", err)
		}
		if pairs == nil {
			s.told.Store(at.height)
			if at.height < next {
				withheld = 0
			} else if withheld++; withheld > 1 {
				return errWithholding
			}
			continue
		}
		if len(frame) > framePack+2*abi.MaxBlock {
			return lies("a frame of %d bytes", len(frame))
		}
		run, err := s.readRun(pairs, next)
		if err != nil {
			return err
		}
		next, withheld = next+uint64(len(run)), 0
		s.told.Store(max(s.told.Load(), next-1))
		select {
		case runs <- run:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Syncer) commitLive(ctx context.Context, runs <-chan []certified) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case run := <-runs:
			if _, err := s.commit(ctx, run); err != nil {
				return err
			}
		}
	}
}

// watch looks now and then whether others are further, while nothing comes: soon
// where blocks came before, for then it is rather the peer that is gone than
// the chain that is idle.
func (s *Syncer) watch(ctx context.Context, key peer.Key) error {
	before, behind, quiet := s.cfg.Ledger.Head().Height, 0, 0
	for turn := 0; ; turn++ {
		wait := lookSoon
		switch {
		case behind > 0:
			wait = lookSoon / 2
		case quiet > soonLooks:
			wait = lookAround
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		now := s.cfg.Ledger.Head().Height
		switch {
		case now > before:
			before, behind, quiet = now, 0, 0
		case !s.othersAhead(ctx, key, now, turn):
			behind, quiet = 0, quiet+1
		default:
			if behind++; behind > 1 {
				return fmt.Errorf("at height %d: %w", now, errLagging)
			}
		}
	}
}

// othersAhead says whether signed heads or one of the other peers, each in its
// turn, name a height above this one.
func (s *Syncer) othersAhead(ctx context.Context, key peer.Key, height uint64, turn int) bool {
	if s.cfg.Behind != nil {
		if said, ok := s.cfg.Behind(); ok && said > height {
			return true
		}
	}
	others := slices.DeleteFunc(s.listenable(), func(i peer.Info) bool { return i.Key == key })
	if len(others) == 0 {
		return false
	}
	other := others[turn%len(others)].Key
	at, err := s.askStanding(ctx, other)
	if err != nil {
		s.conduct.judge(other, err)
	}
	return err == nil && at.height > height
}
