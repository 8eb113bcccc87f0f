package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/consensus"
)

// role is what a node does for the chain: it validates while its key stands in
// the validator set, and follows otherwise. Both may change while it runs.
type role struct {
	engine atomic.Pointer[consensus.Engine] // nil while it follows
	ready  chan struct{}                    // closed once the node takes part
	isUp   atomic.Bool
}

func (r *role) up() {
	if r.isUp.CompareAndSwap(false, true) {
		close(r.ready)
	}
}

// beside does something while its caller is at work. Deferred, what it returns
// ends that and waits for it.
func beside(ctx context.Context, do func(ctx context.Context)) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(ctx)
	}()
	return func() {
		stop()
		<-done
	}
}

// runRole takes part in the chain until ctx ends.
func (n *node) runRole(ctx context.Context) error {
	defer beside(ctx, n.answerAnyway)()
	for ctx.Err() == nil {
		var err error
		if id, votes := n.validatorID(); votes {
			if err = n.regain(ctx); err == nil && ctx.Err() == nil {
				err = n.validate(ctx, id)
			}
		} else {
			err = n.follow(ctx)
		}
		if err != nil && !errors.Is(err, consensus.ErrNotValidator) {
			return err
		}
		if again, err := n.rekeyed(); err != nil {
			return err
		} else if again {
			return errReopen
		}
	}
	return nil
}

// alone is how long a node waits for company, or for its vote, before it
// answers devices: a gateway that is cut off decides as well, and says how
// stale it is.
const alone = 5 * time.Second

// answerAnyway calls the node up after a while, though it may not vote yet or
// has no peer: a validator that follows at first, since its record of votes is
// lost, answers devices meanwhile.
func (n *node) answerAnyway(ctx context.Context) {
	timeout := time.NewTimer(alone)
	defer timeout.Stop()
	select {
	case <-timeout.C:
		n.role.up()
	case <-ctx.Done():
	}
}

// currentRole is what the node does at this moment.
func (n *node) currentRole() abi.NodeRole {
	if _, votes := n.validatorID(); votes {
		return abi.NodeValidator
	}
	return abi.NodeFollower
}

// validatorID is this node's number in the set that signs the next block.
func (n *node) validatorID() (uint64, bool) {
	return n.ledger.ValidatorSet().ID(n.key.Public())
}

// validate votes until ctx ends or the node is voted out.
func (n *node) validate(ctx context.Context, id uint64) error {
	cfg := consensus.Config{ID: id, Key: n.key, WAL: n.home.path("wal"), App: n.ledger, Clock: n.clock, Logger: n.log}
	if n.peering != nil {
		cfg.Transport, cfg.Syncer = n.peering, n.peering
	}
	engine, err := consensus.New(cfg)
	if err != nil {
		return fmt.Errorf("opening consensus: %w", err)
	}
	if _, trusted := n.clock(); !trusted {
		n.log.Warn("this validator does not vote: its clock is not synchronised; run a time daemon, or vouch for the clock with clock = \"trusted\" in postern.toml")
	}
	warnOfSlowBlocks(n.log, n.runtime.Engine(), n.ledger.Params().BlockGas)
	n.role.engine.Store(engine)
	defer n.role.engine.Store(nil)
	defer beside(ctx, func(ctx context.Context) {
		select {
		case <-engine.Ready():
			n.role.up()
		case <-ctx.Done():
		}
	})()
	return engine.Run(ctx)
}

// follow takes in blocks until ctx ends or the node is voted in.
func (n *node) follow(ctx context.Context) error {
	if n.peering == nil {
		return fmt.Errorf("the key of %s is no validator's, and without the peer port (peer = \"off\") the node cannot follow others", n.home.path(nodeKeyFile))
	}
	n.log.Info("following the chain without a vote", "height", n.ledger.Head().Height)
	ctx, stop := context.WithCancel(ctx)
	defer beside(ctx, func(ctx context.Context) {
		defer stop()
		n.untilVotedIn(ctx)
	})()
	defer beside(ctx, n.awaitPeers)()
	err := n.peering.sync.Follow(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// awaitPeers calls the node up when it has a peer.
func (n *node) awaitPeers(ctx context.Context) {
	for {
		changed := n.peering.network.Changed()
		if len(n.peering.network.Connected()) > 0 {
			n.role.up()
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// untilVotedIn returns when this node's key is in the validator set, or when
// the ledger knows the node by its next key.
func (n *node) untilVotedIn(ctx context.Context) {
	for {
		next := n.ledger.Committed()
		_, votes := n.validatorID()
		if again, err := n.rekeyed(); votes || again || err != nil {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}

// resubmit is how often a follower tells the validators again of a transaction
// that somebody waits for: what passes between nodes may be lost.
const resubmit = 2 * time.Second

// submit brings a transaction on its way into a block: into this validator's
// own line, or to all validators from one that may not vote yet or follows.
func (n *node) submit(ctx context.Context, raw []byte) (abi.Hash, error) {
	if engine := n.role.engine.Load(); engine != nil {
		id, err := engine.Submit(ctx, raw)
		if !isCode(err, abi.CodeNotReady) || n.peering == nil {
			return id, err
		}
	}
	if n.peering == nil {
		return abi.Hash{}, abi.CodeNotReady
	}
	tx, _, err := n.ledger.Check(raw)
	if err != nil {
		return abi.Hash{}, err
	}
	return tx.ID, n.peering.toValidators(raw)
}

// submitAndWait returns when the transaction is in a block.
func (n *node) submitAndWait(ctx context.Context, raw []byte) (abi.TxResult, error) {
	id, err := n.submit(ctx, raw)
	if err != nil && !errors.Is(err, errNoValidator) {
		return abi.TxResult{ID: id}, err
	}
	defer beside(ctx, func(ctx context.Context) { n.repeat(ctx, raw) })()
	return n.ledger.Wait(ctx, id)
}

// repeat submits a transaction again until ctx ends: what a follower passed on
// may be lost, and so may what came before this node's vote or its peers did.
// Who has it already passes over it.
func (n *node) repeat(ctx context.Context, raw []byte) {
	tick := time.NewTicker(resubmit)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = n.submit(ctx, raw) // who waits is told by its own deadline
		}
	}
}
