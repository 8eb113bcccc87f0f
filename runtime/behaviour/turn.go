package behaviour

import (
	"context"
	"sync"

	"github.com/seed79541315/postern/abi"
)

// maxWaiting bounds the observations of one device that wait for their turn. A
// device that reports faster than its contracts judge is told so.
const maxWaiting = 16

// turns lets one observation of a device at a time be judged.
type turns struct {
	mu     sync.Mutex
	queues map[abi.Hash]*queue // of devices that are being judged; guarded by mu
}

// queue is a device's: who holds the token in slot has the turn.
type queue struct {
	slot  chan struct{}
	users int // that hold or wait; guarded by turns.mu
}

func (t *turns) init() { t.queues = make(map[abi.Hash]*queue) }

// take waits for the device's turn. Errors: CodeBusy, CodeTimeout.
func (t *turns) take(ctx context.Context, device abi.Hash) error {
	t.mu.Lock()
	q := t.queues[device]
	if q == nil {
		q = &queue{slot: make(chan struct{}, 1)}
		t.queues[device] = q
	}
	if q.users > maxWaiting {
		t.mu.Unlock()
		return abi.CodeBusy
	}
	q.users++
	t.mu.Unlock()
	select {
	case q.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		t.leave(device)
		return abi.CodeTimeout
	}
}

// give ends the turn.
func (t *turns) give(device abi.Hash) {
	t.mu.Lock()
	q := t.queues[device]
	t.mu.Unlock()
	<-q.slot
	t.leave(device)
}

func (t *turns) leave(device abi.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[device]
	if q.users--; q.users == 0 {
		delete(t.queues, device)
	}
}
