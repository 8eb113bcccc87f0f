package gateway

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
)

// rechecks are the accounts whose connections are to be looked at again. It
// holds no more of them than are connected.
type rechecks struct {
	mu       sync.Mutex
	accounts map[abi.Hash]struct{} // guarded by mu
	wake     chan struct{}
}

func newRechecks() *rechecks {
	return &rechecks{accounts: map[abi.Hash]struct{}{}, wake: make(chan struct{}, 1)}
}

func (r *rechecks) add(account abi.Hash) {
	r.mu.Lock()
	r.accounts[account] = struct{}{}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *rechecks) take() map[abi.Hash]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.accounts
	r.accounts = map[abi.Hash]struct{}{}
	return list
}

// Recheck has the connections of accounts and devices held against what the
// Node says of them now: those whose device is not active any more, and those
// whose key was replaced, are closed with a reason. The caller names what a
// block changed once the Node knows the block, and devices that it isolates. It
// does not wait.
func (s *Server) Recheck(accounts ...abi.Hash) {
	for _, id := range s.admission.connected(accounts) {
		s.rechecks.add(id)
	}
}

// closers is how many connections are closed at a time: each waits for its packet
// to be sent.
const closers = 16

// runRechecks looks at what Recheck named until ctx ends.
func (s *Server) runRechecks(ctx context.Context) {
	var closing errgroup.Group
	closing.SetLimit(closers)
	defer closing.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.rechecks.wake:
		}
		for id := range s.rechecks.take() {
			for _, c := range s.admission.connsOf(id) {
				if code, why := c.recheck(); code != abi.OK {
					closing.Go(func() error { c.abort(code, why); return nil })
				}
			}
		}
	}
}

// recheck says with what a connection that may not stay is to be closed. Where
// the Node cannot say, it stays: every request asks anew.
func (c *conn) recheck() (code abi.Code, why string) {
	now, err := c.server.config.Node.Standing(c.account.key)
	if err != nil {
		c.server.config.Logger.Error("connection not rechecked", "err", err)
		return abi.OK, ""
	}
	was := c.standing
	c.standing = now
	switch {
	case now.Known && now.Active():
		return abi.OK, ""
	case was.Known && !now.Known:
		return abi.CodeUnknownKey, now.Why()
	case now.Device != was.Device || now.Isolated != 0 && was.Isolated == 0:
		return abi.CodeDeviceInactive, now.Why()
	}
	return abi.OK, ""
}
