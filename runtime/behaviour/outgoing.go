package behaviour

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

const (
	// maxOutgoing bounds what waits to be submitted: some minutes of it. When it
	// is full, what isolates devices takes the place of alerts.
	maxOutgoing = 256
	// alertPace is between two alerts: a gateway whose devices all raise them
	// must not take the chain's blocks, nor its account's quota, for that.
	alertPace = time.Second
	// retryEvery is between two tries to submit what was refused.
	retryEvery = time.Second
	// staleAfter is when there is no more use in telling the ledger.
	staleAfter = chain.VerdictWindow * time.Millisecond
)

// message is a transaction to be.
type message struct {
	op    chain.Op
	args  []byte
	grave bool // it counts towards a quarantine
	since moment
}

// outgoing is what waits to be submitted, grave messages first.
type outgoing struct {
	mu    sync.Mutex
	grave []message // guarded by mu
	other []message // guarded by mu
	wake  chan struct{}
}

func (q *outgoing) init() { q.wake = make(chan struct{}, 1) }

// put puts a message in line; it says how many were lost.
func (q *outgoing) put(x message) (lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.grave)+len(q.other) >= maxOutgoing {
		if !x.grave || len(q.other) == 0 {
			return 1
		}
		q.other = q.other[:len(q.other)-1]
		lost = 1
	}
	if x.grave {
		q.grave = append(q.grave, x)
	} else {
		q.other = append(q.other, x)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return lost
}

// take takes out what is to be submitted next; alerts says whether it may be one.
func (q *outgoing) take(alerts bool) (x message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := &q.grave
	if len(q.grave) == 0 && alerts {
		line = &q.other
	}
	if len(*line) == 0 {
		return message{}, false
	}
	x = (*line)[0]
	*line = slices.Delete(*line, 0, 1)
	return x, true
}

// back puts what was taken out first in line again.
func (q *outgoing) back(x message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := &q.other
	if x.grave {
		line = &q.grave
	}
	*line = slices.Insert(*line, 0, x)
}

func (q *outgoing) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.grave) + len(q.other)
}

// send puts a message in line.
func (m *Monitor) send(x message) {
	if lost := m.outgoing.put(x); lost > 0 {
		m.counts.lost.Add(uint64(lost))
	}
}

// deliver submits what waits, until ctx ends: what waits then is lost, as it is
// in a crash.
func (m *Monitor) deliver(ctx context.Context) {
	next := m.now() // when an alert may be submitted again
	for ctx.Err() == nil {
		now := m.now()
		x, ok := m.outgoing.take(now >= next)
		if !ok {
			m.await(ctx, next-now)
			continue
		}
		if !m.submit(ctx, &x) {
			m.outgoing.back(x)
			m.await(ctx, retryEvery)
			continue
		}
		if !x.grave {
			next = m.now() + alertPace
		}
	}
}

// await waits for a message, and no longer than wait if that is positive.
func (m *Monitor) await(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		wait = maxSilence
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-m.outgoing.wake:
	case <-t.C:
	}
}

// submit tries once and says whether that is done with.
func (m *Monitor) submit(ctx context.Context, x *message) bool {
	err := m.cfg.Submit(ctx, x.op, x.args)
	switch {
	case err == nil:
		m.counts.submitted.Add(1)
		return true
	case ctx.Err() != nil || errors.Is(err, abi.CodeBusy) && m.now()-x.since < staleAfter:
		return false
	}
	m.counts.lost.Add(1)
	m.cfg.Logger.ErrorContext(ctx, "the ledger is not told of what was judged here", "op", x.op, "err", err)
	return true
}
