package consensus

import (
	"context"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Waits of the pump that no event ends.
const (
	timerCheck = time.Minute // the clock may be set, so a timer far ahead is looked at again
	clockCheck = time.Second // for a clock that is not trusted yet
)

// stallAfter is how long transactions may wait in the pool without a block, or
// the ledger lack a block that others have, before SmartBFT is started anew: it
// has more ways to stall than could be mended one by one, and none outlasts a
// start. A change of view that works takes less.
const stallAfter = 15 * time.Second

// watch tells whether blocks come while they are waited for.
type watch struct {
	height uint64
	since  time.Time // zero while nothing waits
}

// left is how long a block may still take, or false while nothing waits.
func (w *watch) left(height uint64, waiting bool, most time.Duration, now time.Time) (time.Duration, bool) {
	switch {
	case !waiting:
		*w = watch{}
		return 0, false
	case w.since.IsZero() || w.height != height:
		*w = watch{height, now}
	}
	return w.since.Add(most).Sub(now), true
}

// pump moves requests from the queue to SmartBFT's pool until ctx ends, makes
// ticks, and repeats messages. An idle chain does not wake it.
func (r *replica) pump(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var blocks, lag watch
	var passed time.Time
	for ctx.Err() == nil {
		timer.Stop()
		wait, ok := r.feed()
		if left, waiting := r.stalls(&blocks); waiting && (!ok || left < wait) {
			wait, ok = left, true
		}
		if left, waiting := r.hangs(); waiting && (!ok || left < wait) {
			wait, ok = left, true
		}
		if again, behind := r.urge(&lag); behind && (!ok || again < wait) {
			wait, ok = again, true
		}
		if again := r.repeat(); again > 0 && (!ok || again < wait) {
			wait, ok = again, true
		}
		if again, waiting := r.passAgain(&passed); waiting && (!ok || again < wait) {
			wait, ok = again, true
		}
		if ok {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
	}
}

// stalls ends the attempt when no block comes; one validator waits for nobody.
func (r *replica) stalls(w *watch) (left time.Duration, waiting bool) {
	_, pooled := r.queue.sizes()
	height := r.cfg.App.Head().Height
	left, waiting = w.left(height, pooled > 0 || height < r.told.Load(), stallAfter, time.Now())
	if len(r.Nodes()) == 1 {
		return 0, false
	}
	if waiting && left <= 0 {
		r.fail(fmt.Errorf("no block came in %v while transactions waited: %w", stallAfter, errAnew))
	}
	return left, waiting
}

// hangAfter is how long SmartBFT may take to go on after a block or a sync. It
// has to empty its pool of the block's requests, or to ask the others for their
// views, and either takes milliseconds.
const hangAfter = time.Second

// heedAfter is how long SmartBFT may take to sync after it was told to. It may
// be at a block that has to be written first.
const heedAfter = 2 * time.Second

// maxUnasked is how many syncs may follow one another without a question to the
// others for their views. SmartBFT asks after each, unless it is in the place of a
// delivery: a block was decided as its view ended, a sync has brought it, and the
// word of its delivery goes to the next view, which is one block ahead then. That
// goes well unless the ledger comes to get each block so.
const maxUnasked = 3

// errHangs comes when SmartBFT's controller waits for a view that is over to
// hear of its block: nothing can free it, and often it cannot be stopped.
var errHangs = fmt.Errorf("SmartBFT does not go on after a block: %w", errAnew)

// errSyncsOnly comes when the ledger gets one block after the other by a sync.
var errSyncsOnly = fmt.Errorf("SmartBFT delivers nothing: %w", errAnew)

// hangs ends the attempt when SmartBFT does not go on after a block or a sync, or
// does not sync when it is told to: a view asks for the verification sequence as
// well, and hides that its controller does not.
func (r *replica) hangs() (left time.Duration, waiting bool) {
	if len(r.Nodes()) == 1 {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range []struct {
		since time.Time
		most  time.Duration
	}{{r.returned, hangAfter}, {r.unheeded, heedAfter}} {
		if w.since.IsZero() {
			continue
		}
		if until := time.Until(w.since.Add(w.most)); !waiting || until < left {
			left, waiting = until, true
		}
	}
	if waiting && left <= 0 {
		r.fail(errHangs)
	}
	return left, waiting
}

// passAgain passes on what clients gave and no block holds yet, and says when to
// be called next while anything waits.
func (r *replica) passAgain(last *time.Time) (wait time.Duration, waiting bool) {
	queued, pooled := r.queue.sizes()
	if queued+pooled == 0 || len(r.Nodes()) == 1 {
		return 0, false
	}
	now := time.Now()
	if wait = last.Add(passAfter).Sub(now); wait > 0 {
		return wait, true
	}
	*last = now
	for _, raw := range r.queue.overdue(now) {
		r.cfg.passOn(raw)
	}
	return passAfter, true
}

// urgeAfter is how long the ledger may lack a block that others have before
// SmartBFT is told to sync, and between two times.
const urgeAfter = 500 * time.Millisecond

// urge has SmartBFT sync when others are known to be further for some time, and
// says when to be called next while they are. It syncs by itself only when it
// hears votes for two blocks ahead, or a leader's heartbeats for a second.
func (r *replica) urge(w *watch) (left time.Duration, behind bool) {
	height := r.cfg.App.Head().Height
	r.mu.Lock()
	others := r.othersHave()
	r.mu.Unlock()
	left, behind = w.left(height, height < max(r.told.Load(), others), urgeAfter, time.Now())
	if len(r.Nodes()) == 1 || !behind || left > 0 {
		return left, behind && len(r.Nodes()) > 1
	}
	*w = watch{height, time.Now()}
	r.prompt()
	return urgeAfter, true
}

// feed admits what it may, and says when to be called again if nothing else
// happens.
func (r *replica) feed() (wait time.Duration, ok bool) {
	due, timers := r.cfg.App.NextTimer()
	if waiting, _ := r.queue.sizes(); waiting == 0 && !timers {
		return 0, false
	}
	now, trusted := r.cfg.Clock()
	if !trusted {
		return clockCheck, true
	}
	r.mu.Lock()
	wait = time.Until(r.nextBatch)
	r.mu.Unlock()
	if wait > 0 {
		return wait, true
	}
	if r.leading() {
		r.submit(r.queue.admit(now))
	} else {
		r.submit(r.queue.watch(now))
	}
	if timers && due > now {
		return min(time.Duration(due-now)*time.Millisecond, timerCheck), true
	}
	if timers {
		r.tick(due)
	}
	return 0, false
}

// tick asks for a block in which the timers due run. All validators make the
// same one, so that each watches the leader's doing it.
func (r *replica) tick(due int64) {
	tx, err := chain.ParseTx(chain.AppendTick(nil, due))
	if err != nil {
		r.log.Error("the ledger has a timer that no tick can name", "due", due, "err", err)
		return
	}
	if t := newRequest(tx, abi.Hash{}, r.cfg.App.Head().Height+1); r.queue.addTick(t) {
		r.submit([]*request{t})
	}
}

// submit hands admitted requests to SmartBFT. All of them may already be in a
// block by the first one's arrival there; the pool then refuses the rest.
func (r *replica) submit(requests []*request) {
	for _, q := range requests {
		if err := r.bft.SubmitRequest(poolRequest(q.id, q.raw)); err != nil {
			r.log.Debug("the pool did not take a request", "err", err)
		}
	}
}
