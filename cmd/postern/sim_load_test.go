package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// crowd are clients of the nodes of a simulation. They remember what they were
// told is in a block.
type crowd struct {
	sim  *simulation
	stop func()

	mu    sync.Mutex
	acked map[abi.Hash]acknowledged // guarded by mu
}

// acknowledged is a transaction that a node said is in a block.
type acknowledged struct {
	raw    []byte
	height uint64
	until  time.Time // after which nobody needs to know it as a replay
}

// patience is how long a client waits for a node before it asks another one.
const patience = 5 * time.Second

// crowd starts clients, each of which sends a transaction, waits for it, and
// then pauses for some time up to the pause.
func (s *simulation) crowd(clients int, pause time.Duration) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	c := &crowd{sim: s, acked: map[abi.Hash]acknowledged{}, stop: func() { cancel(); running.Wait() }}
	for range clients {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
		running.Go(func() {
			for ctx.Err() == nil {
				c.insist(ctx, rng, s.grant())
				wait(ctx, time.Duration(rng.Int64N(int64(pause))))
			}
		})
	}
	s.t.Cleanup(c.stop)
	return c
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// insist brings a transaction to one node after another until it is in a
// block, or is too old, or three did not do it.
func (c *crowd) insist(ctx context.Context, rng *rand.Rand, raw []byte) {
	for range 3 {
		n := c.sim.nodes[rng.IntN(len(c.sim.nodes))]
		if _, err := c.submit(ctx, n, raw); err == nil || errors.Is(err, abi.CodeReplayed) {
			return
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// submit brings a transaction to a node. What a node says while its power
// fails is heard by nobody.
func (c *crowd) submit(ctx context.Context, n *simulatedNode, raw []byte) (abi.TxResult, error) {
	life := n.lives.Load()
	running := n.live()
	if running == nil || life%2 != 0 {
		return abi.TxResult{}, abi.CodeUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := service{running}.Submit(ctx, raw, true)
	if err == nil && n.lives.Load() != life {
		err = abi.CodeUnavailable
	}
	if err == nil {
		c.note(raw, res)
	}
	return res, err
}

// note remembers what a node acknowledged as done: two nodes must name the same
// block.
func (c *crowd) note(raw []byte, res abi.TxResult) {
	if _, err := resultOf(res.Outcome); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.acked[res.ID]; ok && before.height != res.Height {
		c.sim.t.Errorf("transaction %x was acknowledged for blocks %d and %d", res.ID[:4], before.height, res.Height)
	}
	c.acked[res.ID] = acknowledged{raw, res.Height, c.sim.validUntil(raw)}
}

func (s *simulation) validUntil(raw []byte) time.Time {
	tx, err := chain.ParseTx(raw)
	if err != nil {
		s.t.Error(err)
		return time.Time{}
	}
	return time.UnixMilli(tx.ValidUntil)
}

// settle checks, on nodes that are level, that all agree, that everything that
// was acknowledged is where it was said to be, and that nobody takes it again.
func (c *crowd) settle() {
	c.sim.t.Helper()
	placed := c.sim.agree()
	c.mu.Lock()
	defer c.mu.Unlock()
	tried := 0
	for id, a := range c.acked {
		if height, ok := placed[id]; !ok || height != a.height {
			c.sim.t.Errorf("transaction %x was acknowledged for block %d, and is in block %d", id[:4], a.height, height)
		}
		if tried < 8 && time.Until(a.until) > time.Minute {
			tried++
			c.sim.mustRefuse(a.raw)
		}
	}
	c.sim.t.Logf("%d transactions acknowledged, %d in blocks", len(c.acked), len(placed))
}

// mustRefuse submits a transaction that was executed to all running nodes. A
// key that was replaced since is refused first.
func (s *simulation) mustRefuse(raw []byte) {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.node == nil {
			continue
		}
		if _, err := (service{n.node}).Submit(s.t.Context(), raw, false); !errors.Is(err, abi.CodeReplayed) && !errors.Is(err, abi.CodeKeyNotCurrent) {
			s.t.Errorf("%s, given a transaction again: %v, want %v", n.name, err, abi.CodeReplayed)
		}
	}
}
