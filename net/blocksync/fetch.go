package blocksync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/net/peer"
)

const (
	fetchersOfPeer = 2           // requests to a peer at a time, so that one is on its way while the other is read
	askAgain       = time.Second // a peer's standing
	partTime       = 2           // times the patience: how long one answer may take; what has come by then is used
)

// Why the work with a peer ends, beside what it sent.
var (
	errGone = errors.New("the peer was dropped")
	errSlow = errors.New("another peer was faster, though it began later")
)

// attend fetches from one peer until it fails or ctx ends.
func (s *Syncer) attend(ctx context.Context, w *window, c *source) {
	err := s.draw(ctx, w, c)
	if w.leave(c) && ctx.Err() == nil {
		s.conduct.judge(c.key, err)
	}
}

func (s *Syncer) draw(ctx context.Context, w *window, c *source) error {
	at, err := s.askStanding(ctx, c.key, s.conduct.patience(c.key))
	if err != nil {
		return err
	}
	w.hear(c, at)
	group, ctx := errgroup.WithContext(ctx)
	for range fetchersOfPeer {
		group.Go(func() error { return s.fetchParts(ctx, w, c) })
	}
	group.Go(func() error { return s.hearAgain(ctx, w, c) })
	return group.Wait()
}

// askStanding asks a peer where its chain stands: for no blocks at all.
func (s *Syncer) askStanding(ctx context.Context, key peer.Key, patience time.Duration) (standing, error) {
	a, err := s.ask(ctx, key, &request{kind: kindBlocks}, patience)
	if err != nil {
		return standing{}, err
	}
	defer a.close()
	return a.standing()
}

// standing reads the first frame of an answer about blocks.
func (a *answer) standing() (standing, error) {
	frame, err := a.next()
	if err != nil {
		return standing{}, fmt.Errorf("waiting for its standing: %w", noEnd(err))
	}
	at, pairs, err := parseBlocksFrame(frame)
	if err != nil || pairs != nil || at.base > at.height+1 {
		return standing{}, lies("not a standing: %w", errors.Join(err, errNoStanding))
	}
	return at, nil
}

var (
	errNoStanding = errors.New("an answer begins with where the peer stands")
	errNoBlocks   = errors.New("the rest of it is blocks")
)

// noEnd makes an error of an end that comes too early.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// hearAgain keeps the standing of a peer fresh while nothing is fetched from it.
func (s *Syncer) hearAgain(ctx context.Context, w *window, c *source) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askAgain):
		}
		if w.age(c) < askAgain {
			continue
		}
		at, err := s.askStanding(ctx, c.key, s.conduct.patience(c.key))
		if err != nil {
			return err
		}
		w.hear(c, at)
	}
}

// fetchParts takes parts and fetches them, until the peer fails.
func (s *Syncer) fetchParts(ctx context.Context, w *window, c *source) error {
	for {
		o, ok := w.take(ctx, c)
		if !ok {
			return errGone
		}
		run, bytes, err := s.fetch(ctx, w, c, &o)
		switch useful := w.deliver(c, o, run, bytes); {
		case err != nil:
			return err
		case useful:
			s.conduct.praise(c.key)
		case len(run) > 0:
			return errSlow
		}
	}
}

// fetch asks for the blocks of a part and checks them. With an error it
// returns those that came before it and are good.
func (s *Syncer) fetch(ctx context.Context, w *window, c *source, o *order) (run []certified, bytes int, err error) {
	patience := s.conduct.patience(c.key)
	a, err := s.ask(ctx, c.key, &request{kind: kindBlocks, height: o.from, count: o.to - o.from, bytes: partBytes}, patience)
	if err != nil {
		return nil, 0, err
	}
	defer a.close()
	at, err := a.standing()
	if err != nil {
		return nil, 0, err
	}
	w.hear(c, at)
	for end := time.Now().Add(partTime * patience); uint64(len(run)) < o.to-o.from && time.Now().Before(end); {
		frame, err := a.next()
		if err == io.EOF && len(run) == 0 && at.base <= o.from && o.from <= at.height {
			return nil, 0, lies("it says that it has block %d, and does not send it", o.from)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return run, bytes, err
		}
		if bytes += len(frame); bytes > partBytes+peer.MaxFrame {
			return run, bytes, lies("more than the %d bytes that were asked for", partBytes)
		}
		_, pairs, err := parseBlocksFrame(frame)
		if err != nil || pairs == nil {
			return run, bytes, lies("not a frame of blocks: %w", errors.Join(err, errNoBlocks))
		}
		more, err := s.readRun(pairs, o.from+uint64(len(run)))
		if err != nil {
			return run, bytes, err
		}
		run = append(run, more...)
		if uint64(len(run)) > o.to-o.from {
			return nil, 0, lies("more than the %d blocks that were asked for", o.to-o.from)
		}
	}
	return run, bytes, nil
}

// readRun reads blocks and checks those whose validators are known.
func (s *Syncer) readRun(pairs []pair, from uint64) ([]certified, error) {
	run, err := parseRun(pairs, from, s.cfg.Ledger.ChainID())
	if err != nil {
		return nil, err
	}
	if err := prove(run, s.cfg.Ledger.ValidatorSet()); err != nil {
		return nil, err
	}
	if s.cfg.Ahead != nil {
		for i := range run {
			if run[i].proven {
				s.cfg.Ahead(run[i].block)
			}
		}
	}
	return run, nil
}
