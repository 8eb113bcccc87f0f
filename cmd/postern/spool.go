package main

import (
	"context"
	"errors"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
	"github.com/seed79541315/postern/runtime/spool"
)

// openSpool opens what devices hand in while this node is cut off. The ledger is
// open by then.
func (n *node) openSpool() (err error) {
	n.spool, err = spool.Open(spool.Config{
		Dir: n.home.path(spoolDir), Check: n.ledger.Check, Submit: n.submit, Wait: n.ledger.Wait, Online: n.online, Logger: n.log,
	})
	return err
}

// cutOffAfter is the staleness above which a node takes itself for cut off:
// validators sign heads every 10 s, and what is made meanwhile is younger.
const cutOffAfter = 25 * time.Second

// online says whether blocks are made as far as this node knows: that it hears of
// a quorum of the validators, and has a way to as many as have to hear of a
// transaction.
func (n *node) online() bool {
	if n.peering == nil {
		return true // it is the only validator
	}
	if n.staleness() > uint64(cutOffAfter.Milliseconds()) {
		return false
	}
	set, reached := n.ledger.ValidatorSet(), 0
	for _, info := range n.peering.network.Connected() {
		if info.Class == peer.Validator {
			reached++
		}
	}
	if _, votes := set.ID(n.key.Public()); votes {
		return reached+1 >= set.Quorum()
	}
	return reached > 0
}

// keepForLater takes a lane's transaction into the spool if it cannot go on now,
// or must not overtake others of its lane. Others are not kept.
func (n *node) keepForLater(raw []byte) (res abi.TxResult, kept bool, err error) {
	if !n.spool.Holds(raw) && n.online() {
		return res, false, nil
	}
	res.ID, err = n.spool.Put(raw)
	if errors.Is(err, spool.ErrNoLane) {
		return abi.TxResult{}, false, nil
	}
	return res, true, err
}

// lookUp finds a transaction on the ledger, or says that it is kept for later.
func (n *node) lookUp(id abi.Hash) (abi.TxResult, error) {
	res, err := n.ledger.Tx(id)
	if errors.Is(err, abi.CodeNotFound) && n.spool.Has(id) {
		return abi.TxResult{ID: id}, nil
	}
	return res, err
}

// submitFromDevice is what the ports do with a transaction.
func (n *node) submitFromDevice(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error) {
	if res, kept, err := n.keepForLater(raw); kept {
		return res, err
	}
	if wait {
		return n.submitAndWait(ctx, raw)
	}
	id, err := n.submit(ctx, raw)
	return abi.TxResult{ID: id}, err
}
