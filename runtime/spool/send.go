package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage/disk"
)

// How Run goes about it.
const (
	workers    = 8                      // lanes at a time: some blocks' worth, a transaction of each
	look       = 250 * time.Millisecond // between two looks whether there are blocks again
	firstRetry = 100 * time.Millisecond // of a lane; some blocks on
	lastRetry  = 30 * time.Second       // what is refused for so long needs somebody to change something
	patience   = 10 * time.Second       // for the block of a submitted transaction, before it is submitted again
)

// Run sends what is kept, whenever there are blocks, until ctx ends.
func (s *Spool) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, workers)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		r := s.next(ctx)
		if r == nil {
			return nil
		}
		running.Go(func() {
			s.drain(ctx, r)
			<-slots
			s.poke()
		})
	}
}

// next waits for a lane that is to be sent now; it is nil when ctx ends.
func (s *Spool) next(ctx context.Context) *row {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		waits := s.Len() > 0
		if waits && s.cfg.Online() {
			if r := s.pick(time.Now()); r != nil {
				return r
			}
		}
		again := tick.C
		if !waits {
			again = nil // an idle node does not wake for nothing
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-again:
		}
	}
}

// pick takes the first lane that is due, and puts it last.
func (s *Spool) pick(now time.Time) *row {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.order {
		if !r.busy && !now.Before(r.after) {
			r.busy = true
			s.order = append(slices.Delete(s.order, i, i+1), r)
			return r
		}
	}
	return nil
}

// drain sends a lane from its oldest on until it is empty or something holds it
// up. One of a lane is under way at a time: the lane admits no sequence below one
// that was executed, so two that changed places would lose the first.
func (s *Spool) drain(ctx context.Context, r *row) {
	for {
		e := s.oldest(r)
		if e == nil {
			return // the row is gone
		}
		err := s.send(ctx, r, e)
		if err == nil {
			r.delay = 0
			continue
		}
		if ctx.Err() == nil {
			r.delay = min(max(2*r.delay, firstRetry), lastRetry)
			s.cfg.Logger.Warn("a device's transaction is not in a block yet", "tx", short(e.id), "again_in", r.delay, "err", err)
		}
		s.mu.Lock()
		r.busy, r.after = false, time.Now().Add(r.delay)
		s.mu.Unlock()
		return
	}
}

func (s *Spool) oldest(r *row) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.entries) == 0 {
		return nil
	}
	return r.entries[0]
}

// send sees the oldest of a lane into a block, or refuses it for good; then it is
// out of the lane. It looks first whether the block came already: the device may
// have handed it in elsewhere, and an earlier run may have ended before it knew.
func (s *Spool) send(ctx context.Context, r *row, e *entry) error {
	if done, err := s.committed(ctx, r, e); done || err != nil {
		return err
	}
	if time.Since(e.since) > s.cfg.MaxAge {
		return s.giveUp(r, e, abi.CodeExpired)
	}
	raw, err := disk.ReadFile(s.disk, filepath.Join(s.cfg.Dir, fileName(r.lane, e.sequence)), abi.MaxTransaction)
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	_, err = s.cfg.Submit(ctx, raw)
	code, known := errors.AsType[abi.Code](err)
	switch {
	case err == nil:
		return s.await(ctx, r, e)
	case code == abi.CodeOutOfSequence || code == abi.CodeReplayed:
		if done, err := s.committed(ctx, r, e); done || err != nil {
			return err
		}
	case !known || code.Passing():
		return fmt.Errorf("submitting: %w", err)
	}
	return s.giveUp(r, e, code)
}

// await waits for the block of a submitted transaction.
func (s *Spool) await(ctx context.Context, r *row, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := s.cfg.Wait(ctx, e.id)
	if err != nil {
		return fmt.Errorf("waiting for its block: %w", err)
	}
	return s.finish(r, e, &res)
}

// committed says whether the transaction is on the ledger, and is done with it if
// so.
func (s *Spool) committed(ctx context.Context, r *row, e *entry) (bool, error) {
	now, cancel := context.WithCancel(ctx)
	cancel()
	res, err := s.cfg.Wait(now, e.id)
	if errors.Is(err, abi.CodeTimeout) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for its outcome: %w", err)
	}
	return true, s.finish(r, e, &res)
}

// finish is the end of a committed transaction.
func (s *Spool) finish(r *row, e *entry, res *abi.TxResult) error {
	o, err := chain.ParseOutcome(res.Outcome)
	if err == nil && o.Code != abi.OK {
		s.cfg.Logger.Warn("a device's transaction failed", "tx", short(e.id), "height", res.Height, "outcome", o.Code.Name(), "abort", o.Abort)
		return s.refuse(r, e, o.Code, res.Height)
	}
	// Not synced: after a crash it is found to be on the ledger.
	if err := s.disk.Remove(filepath.Join(s.cfg.Dir, fileName(r.lane, e.sequence))); err != nil {
		return fmt.Errorf("removing it: %w", err)
	}
	s.forget(r, e)
	return nil
}

// giveUp is the end of one that no block will have.
func (s *Spool) giveUp(r *row, e *entry, code abi.Code) error {
	s.cfg.Logger.Warn("a device's transaction is refused", "tx", short(e.id), "key", fmt.Sprintf("%x", r.lane.key[:8]),
		"lane", r.lane.number, "sequence", e.sequence, "code", code.Name())
	return s.refuse(r, e, code, 0)
}

// forget takes the oldest of a lane out, and the lane if nothing is left in it.
func (s *Spool) forget(r *row, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.entries = r.entries[1:]
	delete(s.ids, e.id)
	s.bytes -= e.size
	if s.senders[r.lane.key] -= e.size; s.senders[r.lane.key] == 0 {
		delete(s.senders, r.lane.key)
	}
	if len(r.entries) == 0 {
		delete(s.lanes, r.lane)
		s.order = slices.DeleteFunc(s.order, func(o *row) bool { return o == r })
	}
}

func short(id abi.Hash) string { return fmt.Sprintf("%x", id[:8]) }
