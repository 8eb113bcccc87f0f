package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Submit takes a client's transaction: checks it once, puts it in line, and
// passes it on to the other validators, again while it is in no block. It
// returns the transaction's id before the transaction is in a block. Errors
// carry an abi.Code: those of App.Check, CodeBusy when the line is full,
// CodeNotReady before Run is up and CodeShuttingDown after.
func (e *Engine) Submit(ctx context.Context, raw []byte) (abi.Hash, error) {
	id, q, err := e.enqueue(ctx, raw, e.cfg.App.Check)
	if err != nil || q == nil {
		return id, err
	}
	e.queue.passed(q, time.Now())
	e.cfg.passOn(q.raw)
	return id, nil
}

// passOn sends a transaction to the other validators.
func (c *Config) passOn(raw []byte) {
	if c.Transport == nil {
		return
	}
	for _, v := range c.App.ValidatorSet() {
		if v.ID != c.ID {
			c.Transport.SendTransaction(v.ID, raw)
		}
	}
}

// HandleTransaction takes a transaction that another validator passed on.
func (e *Engine) HandleTransaction(ctx context.Context, raw []byte) error {
	_, _, err := e.enqueue(ctx, raw, e.cfg.App.CheckRelayed)
	return err
}

// enqueue returns no request if it was in line already.
func (e *Engine) enqueue(ctx context.Context, raw []byte, check func([]byte) (*chain.Tx, abi.Hash, error)) (abi.Hash, *request, error) {
	if err := errors.Join(ctx.Err(), e.ready()); err != nil {
		return abi.Hash{}, nil, err
	}
	tx, payer, err := check(raw)
	if err != nil {
		return abi.Hash{}, nil, err
	}
	if tx.Tick != 0 {
		return abi.Hash{}, nil, fmt.Errorf("validators make their own ticks: %w", abi.CodeBadArgument)
	}
	q := newRequest(tx, payer, 0)
	added, err := e.queue.add(q)
	if err != nil || !added {
		return tx.ID, nil, err
	}
	poke(e.wake)
	return tx.ID, q, nil
}

func (e *Engine) ready() error {
	switch e.state.Load() {
	case stateReady:
		return nil
	case stateStopped:
		return abi.CodeShuttingDown
	}
	return abi.CodeNotReady
}

// Handle takes a consensus message of the validator from, whom the transport
// has authenticated. It blocks while that peer's earlier messages are being
// handled, so call it from the goroutine that reads the peer's stream. Before
// Run is up and after, messages are dropped, as are malformed ones.
func (e *Engine) Handle(from uint64, message []byte) {
	if len(message) > MaxMessage {
		e.cfg.Logger.Warn("dropped a consensus message that is too large", "from", from, "bytes", len(message))
		return
	}
	if len(message) > 0 && message[0] == watched {
		e.heardWatched(from, message[1:])
		return
	}
	m := &smartbftprotos.Message{}
	if err := proto.Unmarshal(message, m); err != nil || m.Content == nil {
		e.cfg.Logger.Warn("dropped a malformed consensus message", "from", from)
		return
	}
	if r, line := e.lineOf(from); line != nil {
		select {
		case line <- m:
		case <-r.ctx.Done():
		}
	}
}

// lineOf returns the peer's line of messages, and starts its reader.
func (e *Engine) lineOf(from uint64) (*replica, chan<- *smartbftprotos.Message) {
	r := e.replicaFor(from)
	if r == nil {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r != e.replica {
		return nil, nil
	}
	line := e.peers[from]
	if line == nil {
		line = make(chan *smartbftprotos.Message, maxPeerQueue)
		e.peers[from] = line
		e.readers.Go(func() { r.read(from, line) })
	}
	return r, line
}

// replicaFor is what runs now, or nil if nothing does or from is no other
// validator.
func (e *Engine) replicaFor(from uint64) *replica {
	e.mu.Lock()
	r := e.replica
	e.mu.Unlock()
	if r == nil || from == e.cfg.ID || !slices.Contains(r.Nodes(), from) {
		return nil
	}
	return r
}

// read hands a peer's messages to SmartBFT. It is a goroutine of its own
// because SmartBFT may end the one that calls it.
func (r *replica) read(from uint64, line <-chan *smartbftprotos.Message) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case m := <-line:
			if r.heard(from, m) || r.heardHeight(from, m) {
				continue
			}
			r.heardWish(from, m)
			if r.inOrder(from, m) {
				r.take(from, m)
			} else {
				r.stale(from, m) // which notes how far the sender is
			}
		}
	}
}

// Behind says that the chain has a height by the word of more validators than
// may lie. If the ledger does not get there within fifteen seconds, Run starts
// SmartBFT anew, with a sync: on an idle chain nothing else tells it that it
// missed the last block.
func (e *Engine) Behind(height uint64) {
	e.told.Store(height)
	poke(e.wake)
}
