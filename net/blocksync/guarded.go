package blocksync

import (
	"context"
	"sync"
	"time"
)

// guarded is a mutex with a way to wait for what it guards to change.
type guarded struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change; guarded by mu; nil: nobody waits
}

// broadcast wakes everybody who waits. mu is held.
func (g *guarded) broadcast() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// wait releases mu until something changes, a tick passes, or ctx ends.
func (g *guarded) wait(ctx context.Context) error {
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	changed := g.changed
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-changed:
	case <-time.After(tick):
	}
	return nil
}
