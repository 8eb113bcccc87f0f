package ledger

import (
	"sync"

	"github.com/seed79541315/postern/abi/chain"
)

// news lets many wait for the next commit.
type news struct {
	mu   sync.Mutex
	next chan struct{} // guarded by mu
}

func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// Committed is closed at the next commit. Whoever waits for a height takes it
// before looking at Head.
func (l *Ledger) Committed() <-chan struct{} { return l.news.wait() }

// Params are the chain's parameters at the newest height.
func (l *Ledger) Params() chain.Params { return l.head.Load().params }

// Base is the lowest block above 0 that this node keeps.
func (l *Ledger) Base() uint64 { return max(1, l.store.Base()) }

// CheckSignatures verifies the signatures in a block that is to be committed
// soon, so that Commit need not: other cores can do it while the blocks before
// are executed. What does not verify is left to Commit to find.
func (l *Ledger) CheckSignatures(k *chain.Block) {
	txs := make([]*chain.Tx, 0, len(k.Txs))
	for _, raw := range k.Txs {
		if t, err := chain.ParseTx(raw); err == nil {
			txs = append(txs, t)
		}
	}
	_ = l.verifyAll(txs)
}
