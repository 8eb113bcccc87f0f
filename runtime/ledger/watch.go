package ledger

import "sync"

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
