package ledger

import (
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
)

// Stats are figures for metrics. Counts begin with the process.
type Stats struct {
	Height       uint64
	Time         int64  // ms, of the newest block
	Blocks       uint64 // committed
	Transactions uint64 // in them
	Timers       uint64 // run in them
	Decisions    uint64
	Permits      uint64
	Failures     uint64 // decisions that ended by a failing policy or node
	Unrecorded   uint64 // denials of callers who are not authenticated, which no log keeps
	Waiting      int    // calls of Wait
}

type counters struct {
	blocks, transactions, timers atomic.Uint64
	decisions, permits, failures atomic.Uint64
	unrecorded                   atomic.Uint64
}

func (c *counters) block(r *result) {
	c.blocks.Add(1)
	c.transactions.Add(uint64(len(r.block.Txs)))
	c.timers.Add(uint64(len(r.outcomes) - len(r.block.Txs)))
}

func (c *counters) decision(a *abi.Answer) {
	c.decisions.Add(1)
	switch {
	case a.Permit:
		c.permits.Add(1)
	case a.Code == abi.CodePolicyFailed || a.Code == abi.CodeInternal:
		c.failures.Add(1)
	}
}

// Stats returns the ledger's figures.
func (l *Ledger) Stats() Stats {
	h := l.Head()
	l.waiters.mu.Lock()
	waiting := l.waiters.count
	l.waiters.mu.Unlock()
	return Stats{
		Height: h.Height, Time: h.Time,
		Blocks: l.counts.blocks.Load(), Transactions: l.counts.transactions.Load(), Timers: l.counts.timers.Load(),
		Decisions: l.counts.decisions.Load(), Permits: l.counts.permits.Load(), Failures: l.counts.failures.Load(),
		Unrecorded: l.counts.unrecorded.Load(),
		Waiting:    waiting,
	}
}
