package consensus

import (
	"context"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Waits of the pump that no event ends.
const (
	timerCheck = time.Minute // the clock may be set, so a timer far ahead is looked at again
	clockCheck = time.Second // for a clock that is not trusted yet
)

// pump moves requests from the queue to SmartBFT's pool until ctx ends, makes
// ticks, and repeats messages. An idle chain does not wake it.
func (r *replica) pump(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Stop()
		wait, ok := r.feed()
		if again := r.repeat(); again > 0 && (!ok || again < wait) {
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
	r.submit(r.queue.admit(now))
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
