package declog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

// checkpointFile holds the head that was signed last, so that no other one of
// its size or below is ever signed.
const checkpointFile = "checkpoint"

// Waits of anchoring.
const (
	// anchorPatience is how long an anchor may be on its way before another one
	// is made.
	anchorPatience = 2 * time.Minute
	// anchorPause lies between two anchors on demand.
	anchorPause = 500 * time.Millisecond
)

// anchoring is what Run, Receipt and Committed tell each other.
type anchoring struct {
	demand chan struct{} // somebody waits for an anchor

	mu     sync.Mutex
	news   chan struct{} // closed at the next block or failure; guarded by mu
	failed uint64        // attempts that failed; guarded by mu
	err    error         // of the last one; guarded by mu
}

func (a *anchoring) init() {
	a.demand, a.news = make(chan struct{}, 1), make(chan struct{})
}

// Committed says that there is a new block. It does not block.
func (l *Log) Committed() {
	l.anchor.mu.Lock()
	defer l.anchor.mu.Unlock()
	l.anchor.tell()
}

// tell wakes who waits; the caller holds mu.
func (a *anchoring) tell() {
	close(a.news)
	a.news = make(chan struct{})
}

// fail tells who waits for an anchor that there will be none now.
func (a *anchoring) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.err = a.failed+1, err
	a.tell()
}

// failures is how many attempts failed so far.
func (a *anchoring) failures() uint64 {
	_, failed, _ := a.state()
	return failed
}

// state is what to wait for, and what failed so far.
func (a *anchoring) state() (news <-chan struct{}, failed uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.news, a.failed, a.err
}

// runAnchors anchors in time and on demand, one head after another.
func (l *Log) runAnchors(ctx context.Context) {
	ticker := time.NewTicker(l.cfg.AnchorEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.anchor.demand:
		}
		if err := l.anchorHead(ctx); err != nil && ctx.Err() == nil {
			level := slog.LevelError
			if errors.Is(err, abi.CodeNotReady) { // the ledger takes none yet
				level = slog.LevelDebug
			}
			l.cfg.Logger.Log(ctx, level, "the decision log is not anchored", "err", err)
			l.anchor.fail(err)
		}
		if !pause(ctx, anchorPause) {
			return
		}
	}
}

// anchorHead brings the head of the log onto the ledger, unless it is there,
// and drops what need not be kept any more.
func (l *Log) anchorHead(ctx context.Context) error {
	a, err := l.cfg.Anchored()
	if err != nil {
		return err
	}
	c, err := l.sign(&a)
	if err != nil {
		return err
	}
	if c.Size > a.Size {
		if err := l.cfg.Submit(ctx, c.args); err != nil {
			return fmt.Errorf("submitting a head of %d records: %w", c.Size, err)
		}
		if a, err = l.await(ctx, c.Size, l.anchor.failures()); err != nil {
			return fmt.Errorf("a head of %d records was submitted: %w", c.Size, err)
		}
	}
	l.mu.Lock()
	l.figures.Anchored = a.Size
	l.mu.Unlock()
	return l.prune(a.Size)
}

// await waits until the ledger has a head of at least a size, or more attempts to
// bring it there have failed than before.
func (l *Log) await(ctx context.Context, size, before uint64) (chain.Anchored, error) {
	ctx, cancel := context.WithTimeout(ctx, anchorPatience)
	defer cancel()
	for {
		news, failed, failure := l.anchor.state()
		a, err := l.cfg.Anchored()
		if err != nil || a.Size >= size {
			return a, err
		}
		if failed != before {
			return a, failure
		}
		select {
		case <-news:
		case <-ctx.Done():
			return a, fmt.Errorf("%w: %w", abi.CodeTimeout, ctx.Err())
		}
	}
}

// signedHead is a head with what anchors it.
type signedHead struct {
	proof.Checkpoint
	args []byte // of chain.OpAnchor; nil if there is nothing new
}

// sign signs the head of what is synced. It is durable before anybody sees it.
func (l *Log) sign(last *chain.Anchored) (*signedHead, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.flushLocked(); err != nil {
		return nil, err
	}
	if err := l.files.contains(last.Size, last.Root); err != nil && last.Size > 0 {
		return nil, fmt.Errorf("what the ledger has of this log: %w; it is an older copy, or began anew", err)
	}
	t := l.files.tree
	c := &signedHead{Checkpoint: proof.Checkpoint{Origin: proof.LogOrigin(l.cfg.Chain, l.cfg.Account), Size: t.size}}
	if t.size == last.Size {
		return c, nil
	}
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	c.Root = root
	anchor := chain.Anchor{}
	if anchor.Path, err = proveGrowth(t.size, last.Size, t.reader(l.files.source)); err != nil {
		return nil, err
	}
	if anchor.Note, err = c.Sign(l.cfg.Signer); err != nil {
		return nil, err
	}
	err = disk.Replace(l.files.disk, l.files.path(checkpointFile), anchor.Note)
	if disk.Full(err) {
		return nil, fmt.Errorf("%w: %w", abi.CodeLogUnavailable, err) // the old one is still in place
	}
	if err != nil {
		return nil, l.settle(err)
	}
	c.args = anchor.Append(nil)
	return c, nil
}

// prune removes the oldest segments while there is more than the budget, as far
// as they are anchored. What is left can still be proved.
func (l *Log) prune(anchored uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	bytes := l.figures.Bytes
	l.mu.Unlock()
	f := &l.files
	for bytes > l.cfg.Budget && len(f.segments) > 1 && f.segments[1].position <= anchored {
		s := f.segments[0]
		if err := f.disk.Remove(f.path(s.name)); err != nil {
			return l.fail(fmt.Errorf("%w: pruning the decision log: %w", abi.CodeLogUnavailable, err))
		}
		f.segments = f.segments[1:]
		bytes -= s.end
		l.cfg.Logger.Info("decisions were pruned from the log", "before", f.segments[0].number)
	}
	l.mu.Lock()
	l.figures.Bytes = bytes
	l.mu.Unlock()
	return nil
}
