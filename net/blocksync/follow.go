package blocksync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
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
	lookHaste   = 5                           // what part of a peer's patience a look takes: the next peer may know
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
	list := s.conduct.fit()
	if len(list) == 0 {
		return peer.Key{}, false
	}
	return slices.MinFunc(list, func(a, b peer.Info) int {
		return cmp.Or(s.conduct.failures(a.Key)-s.conduct.failures(b.Key), int(b.Class)-int(a.Class), cmp.Compare(a.RTT, b.RTT))
	}).Key, true
}

// live is a live answer while it lasts.
type live struct {
	*Syncer
	key  peer.Key
	head uint64 // the ledger's when it was asked for
	runs chan []certified
	came atomic.Uint64 // the height of the last block that came
}

// stream commits what a peer sends as it comes. It returns why it ended.
func (s *Syncer) stream(ctx context.Context, key peer.Key) error {
	head := s.cfg.Ledger.Head().Height
	a, err := s.ask(ctx, key, &request{kind: kindLive, height: head + 1}, silence)
	if err != nil {
		return err
	}
	defer a.close()
	defer s.living.Store(false)

	l := &live{Syncer: s, key: key, head: head, runs: make(chan []certified, liveFrames)}
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return l.receive(inner, a) })
	group.Go(func() error { return l.commitRuns(inner) })
	group.Go(func() error { return l.watch(inner) })
	group.Go(func() error { <-inner.Done(); a.stop(context.Cause(inner)); return nil })
	return group.Wait()
}

// receive reads and checks what comes until the answer ends, which it does not
// do well.
func (l *live) receive(ctx context.Context, a *answer) error {
	at, err := a.standing()
	if err != nil {
		return err
	}
	if at.height < l.head {
		return fmt.Errorf("at height %d of %d: %w", at.height, l.head, errLagging)
	}
	l.cfg.Logger.Info("following", "peer", l.key.String(), "height", l.head)
	l.told.Store(at.height)
	l.living.Store(true)
	for next, withheld := l.head+1, 0; ; {
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
			l.told.Store(at.height)
			if at.height < next {
				withheld = 0
			} else if withheld++; withheld > 1 {
				return errWithholding
			}
			continue
		}
		if next, err = l.take(ctx, frame, pairs, next); err != nil {
			return err
		}
		withheld = 0
	}
}

// take checks the blocks of a frame and hands them on. It returns the height
// after the last.
func (l *live) take(ctx context.Context, frame []byte, pairs []pair, next uint64) (uint64, error) {
	if len(frame) > framePack+2*abi.MaxBlock {
		return 0, lies("a frame of %d bytes", len(frame))
	}
	run, err := l.readRun(pairs, next)
	if err != nil {
		return 0, err
	}
	next += uint64(len(run))
	l.came.Store(next - 1)
	l.told.Store(max(l.told.Load(), next-1))
	select {
	case l.runs <- run:
		return next, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (l *live) commitRuns(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case run := <-l.runs:
			if _, err := l.commit(ctx, run); err != nil {
				return err
			}
		}
	}
}

// watch looks now and then whether others are further, while nothing comes: soon
// where blocks came before, for then it is rather the peer that is gone than
// the chain that is idle. What came counts though the ledger has yet to take it.
func (l *live) watch(ctx context.Context) error {
	before, behind, quiet := l.head, 0, 0
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
		now := max(l.cfg.Ledger.Head().Height, l.came.Load())
		if now > before {
			before, behind, quiet = now, 0, 0
			continue
		}
		switch ahead, answered := l.othersAhead(ctx, now, turn); {
		case ahead:
			if behind++; behind > 1 {
				return fmt.Errorf("at height %d: %w", now, errLagging)
			}
		case answered:
			behind, quiet = 0, quiet+1
		}
	}
}

// othersAhead says whether signed heads or one of the other peers, each in its
// turn, name a height above this one, and whether there was anybody to say so.
func (l *live) othersAhead(ctx context.Context, height uint64, turn int) (ahead, answered bool) {
	if l.cfg.Behind != nil {
		if said, ok := l.cfg.Behind(); ok && said > height {
			return true, true
		}
	}
	others := slices.DeleteFunc(l.conduct.fit(), func(i peer.Info) bool { return i.Key == l.key })
	if len(others) == 0 {
		return false, true
	}
	other := others[turn%len(others)].Key
	at, err := l.askStanding(ctx, other, l.conduct.patience(other)/lookHaste)
	if err != nil {
		l.conduct.judge(other, err)
	}
	return err == nil && at.height > height, err == nil
}
