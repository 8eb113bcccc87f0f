package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Waits of Run.
const (
	firstRetry = 50 * time.Millisecond // some blocks on
	lastRetry  = 30 * time.Second      // what is refused for so long needs an operator
	patience   = 10 * time.Second      // for the block of a submitted transaction, before it is submitted again
)

// Run sees the transactions into blocks until ctx ends or the file fails.
// There is one under way at a time: the lane admits no sequence below one that
// was executed, so two at once that changed places would lose the first.
func (o *Outbox) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	o.mu.Lock()
	o.stop = cancel
	err := o.err
	o.mu.Unlock()
	for err == nil {
		e := o.next(ctx)
		if e == nil || !o.deliver(ctx, e) {
			break
		}
		err = o.finish(e)
	}
	if err != nil {
		return err
	}
	return o.failure()
}

// failure is why nothing is taken any more, nil if it is.
func (o *Outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// next waits for the oldest pending transaction; it is nil when ctx ends.
func (o *Outbox) next(ctx context.Context) *entry {
	for {
		if e := o.oldest(); e != nil {
			return e
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		}
	}
}

func (o *Outbox) oldest() *entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pending) == 0 {
		return nil
	}
	return o.pending[0]
}

// deliver tries until e is done; it says false when ctx ends first. It gives
// no transaction up: a refusal may end, such as that of an account which the
// operator is about to grant.
func (o *Outbox) deliver(ctx context.Context, e *entry) bool {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := o.attempt(ctx, e)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			return true
		}
		if !errors.Is(err, abi.CodeNotReady) { // that is any start
			o.cfg.Logger.WarnContext(ctx, "a transaction of this node is not in a block yet", "tx", short(e.id), "sequence", e.sequence, "again_in", wait, "err", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// attempt submits e and waits for its block. It looks first whether that came
// already: a transaction whose outcome left its lane untouched would otherwise
// run again.
func (o *Outbox) attempt(ctx context.Context, e *entry) error {
	if done, err := o.committed(ctx, e); done || err != nil {
		return err
	}
	_, err := o.cfg.Submit(ctx, e.raw)
	if errors.Is(err, abi.CodeOutOfSequence) || errors.Is(err, abi.CodeReplayed) {
		return o.overtaken(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("submitting: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := o.cfg.Wait(ctx, e.id)
	if err != nil {
		return fmt.Errorf("waiting for its block: %w", err)
	}
	o.report(ctx, e, &res)
	return nil
}

// committed says whether e is on the ledger, and reports its outcome.
func (o *Outbox) committed(ctx context.Context, e *entry) (bool, error) {
	now, cancel := context.WithCancel(ctx)
	cancel()
	res, err := o.cfg.Wait(now, e.id)
	if errors.Is(err, abi.CodeTimeout) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for its outcome: %w", err)
	}
	o.report(ctx, e, &res)
	return true, nil
}

// overtaken is the end of a transaction whose lane is past it. As a rule its
// block came in the meantime. Signing it anew instead would risk that it runs
// twice.
func (o *Outbox) overtaken(ctx context.Context, e *entry) error {
	done, err := o.committed(ctx, e)
	if err == nil && !done {
		o.cfg.Logger.ErrorContext(ctx, "a transaction of this node is lost: its lane is past it and no block is known to hold it; does another program use this node's key?",
			"tx", short(e.id), "sequence", e.sequence)
	}
	return err
}

// report logs an outcome. Whatever it is, the transaction is done.
func (o *Outbox) report(ctx context.Context, e *entry, res *abi.TxResult) {
	out, err := chain.ParseOutcome(res.Outcome)
	log := o.cfg.Logger.With("tx", short(e.id), "sequence", e.sequence, "height", res.Height)
	switch {
	case err != nil:
		log.ErrorContext(ctx, "the outcome of a transaction of this node cannot be read", "err", err)
	case out.Code != abi.OK:
		log.WarnContext(ctx, "a transaction of this node failed", "outcome", out.Code.Name(), "abort", out.Abort)
	default:
		log.DebugContext(ctx, "a transaction of this node is done", "gas", out.Gas)
	}
}

func short(id abi.Hash) string { return fmt.Sprintf("%x", id[:8]) }

// finish drops the oldest pending transaction, e, and writes the file anew
// when that pays.
func (o *Outbox) finish(e *entry) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	if o.pending = o.pending[1:]; len(o.pending) == 0 {
		o.pending = nil // or the array behind it would keep what is done
	}
	o.count--
	o.bytes -= len(e.raw)
	live := 0
	for _, p := range o.pending {
		live += len(p.raw)
	}
	err := o.err
	o.mu.Unlock()
	if spent := o.size - live; err != nil || spent < compactAt || spent < live {
		return err
	}
	return o.rewrite()
}
