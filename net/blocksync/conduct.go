package blocksync

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seed79541315/postern/net/peer"
)

// How long a peer may be silent, and how long one that was is left alone.
// Both double with each time in a row, so that a network where everything is
// slow is given the time that it needs.
const (
	patience    = 5 * time.Second
	maxPatience = 8 * patience
	rest        = time.Second
	maxRest     = 16 * time.Second
	maxRecords  = 256 // peers whose faults are remembered
)

// conduct remembers which peers failed lately.
type conduct struct {
	peers Peers
	log   *slog.Logger

	mu      sync.Mutex
	records map[peer.Key]record // guarded by mu
}

// record is of one peer: how often it failed in a row, and until when it is
// left alone.
type record struct {
	failures int
	until    time.Time
}

func newConduct(peers Peers, log *slog.Logger) conduct {
	return conduct{peers: peers, log: log, records: map[peer.Key]record{}}
}

// fit are the connected peers that have no fault now.
func (c *conduct) fit() []peer.Info {
	return slices.DeleteFunc(slices.Clone(c.peers.Connected()), func(i peer.Info) bool { return c.resting(i.Key) })
}

// eachFit hands over all fit peers, and all again at each change and each tick,
// until ctx ends.
func (c *conduct) eachFit(ctx context.Context, take func(peer.Info)) {
	for ctx.Err() == nil {
		changed := c.peers.Changed()
		for _, i := range c.fit() {
			take(i)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(tick):
		}
	}
}

// judge notes why a peer is asked no longer. A lie is reported; what may be
// the network's fault earns a rest.
func (c *conduct) judge(key peer.Key, why error) {
	switch {
	case why == nil || errors.Is(why, context.Canceled):
		return
	case isLie(why):
		c.log.Warn("a peer sent what is wrong", "peer", key.String(), "err", why)
		c.peers.Misbehaved(key, why)
	default:
		c.log.Info("leaving a peer for others", "peer", key.String(), "err", why)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.records[key]; !known && len(c.records) >= maxRecords {
		clear(c.records) // few are in reach at a time: these are mostly gone
	}
	r := c.records[key]
	r.until = time.Now().Add(min(rest<<min(r.failures, 10), maxRest))
	r.failures++
	c.records[key] = r
}

// praise forgets the failures of a peer that was of use.
func (c *conduct) praise(key peer.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.records, key)
}

// resting says whether a peer is left alone now.
func (c *conduct) resting(key peer.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.records[key].until)
}

// failures is how often a peer failed since it was of use last.
func (c *conduct) failures(key peer.Key) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records[key].failures
}

// patience is how long a peer may be silent.
func (c *conduct) patience(key peer.Key) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(patience<<min(c.records[key].failures, 10), maxPatience)
}
