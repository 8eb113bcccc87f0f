package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/declog"
	"github.com/seed79541315/postern/storage"
)

// The decision log in a home.
const (
	decisionsDir = "decisions"
	decisionsKey = "decisions.key"
)

// gatewayProtocol is the first protocol version that takes what gateways tell
// the ledger of their own accord.
const gatewayProtocol = 3

// openDecisions opens the decision log. The ledger and the outbox are there by
// the time that it runs.
func (n *node) openDecisions(cfg config, id abi.Hash) error {
	secret, err := n.home.decisionsKey()
	if err != nil {
		return err
	}
	n.decisions, err = declog.Open(declog.Config{
		Dir: n.home.path(decisionsDir), Key: secret, Chain: id, Account: n.account, Signer: n.key,
		Budget: int64(cfg.Decisions) << 20, AnchorEvery: time.Duration(cfg.Anchor) * time.Second,
		Clock:    func() int64 { ms, _ := n.clock(); return ms },
		Anchored: func() (chain.Anchored, error) { return anchoredOn(n.store, n.account) },
		Submit:   n.anchor, Prove: n.proveWithSteps, Logger: n.log,
	})
	if err != nil {
		err = fmt.Errorf("%w; put the newest copy of %s and %s back, or move %s and %s away to begin another log, which costs what docs/operate.md says",
			err, n.home.path(decisionsDir), decisionsKey, decisionsDir, decisionsKey)
	}
	return err
}

// decisionsKey reads the key that decisions are encrypted with, or makes it. A
// log whose key is gone cannot be read by anybody.
func (h home) decisionsKey() ([]byte, error) {
	path := h.path(decisionsKey)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !fileExists(h.path(decisionsDir)) {
		b = make([]byte, declog.KeySize)
		rand.Read(b)
		return b, errors.Join(writeNew(path, b, 0o600), syncDir(string(h)))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of the decision log: %w; put it back from a copy, or see docs/operate.md for a log that is lost", err)
	}
	if len(b) != declog.KeySize {
		return nil, fmt.Errorf("%s is damaged: it has %d bytes, not %d; put it back from a copy", path, len(b), declog.KeySize)
	}
	return b, nil
}

// anchor brings a head of the decision log onto the ledger, if the chain takes
// such and the node's account may.
func (n *node) anchor(ctx context.Context, args []byte) error {
	if err := n.isGateway("heads of decision logs"); err != nil {
		return err
	}
	_, err := n.outbox.Put(ctx, chain.OpAnchor, args)
	return err
}

// isGateway says why the ledger would not take what from this node.
func (n *node) isGateway(what string) error {
	if p := n.ledger.Params().Protocol; p < gatewayProtocol {
		return fmt.Errorf("the chain runs protocol %d, and takes %s from %d on: %w", p, what, gatewayProtocol, abi.CodeNotReady)
	}
	s, err := n.ledger.Standing(n.key.Public())
	if err != nil {
		return err
	}
	if !s.Known || s.Roles&abi.RoleGateway == 0 {
		return fmt.Errorf("this node's account is no gateway on the ledger: %w", abi.CodeNotReady)
	}
	return nil
}

// proveWithSteps proves what stands in the newest state under a key, with all
// changes of the validators up to there.
func (n *node) proveWithSteps(key []byte) (*proof.Entry, []proof.Step, error) {
	e, err := n.ledger.Prove(key)
	if err != nil {
		return nil, nil, err
	}
	var steps []proof.Step
	for after := uint64(0); ; after = steps[len(steps)-1].Header.Height {
		page, more, err := n.ledger.Steps(after, math.MaxInt)
		if err != nil {
			return nil, nil, err
		}
		for _, raw := range page {
			s, err := proof.ParseStep(raw)
			if err != nil {
				return nil, nil, err
			}
			if s.Header.Height >= e.Header.Height {
				return &e, steps, nil
			}
			steps = append(steps, s)
		}
		if !more {
			return &e, steps, nil
		}
	}
}

// anchoredOn is the newest anchor of an account's log; its size is 0 if there is
// none.
func anchoredOn(s *storage.Store, account abi.Hash) (chain.Anchored, error) {
	v, err := s.HeadView()
	if err != nil {
		return chain.Anchored{}, err
	}
	defer v.Release()
	b, ok, err := v.Get(chain.AnchorKey(account))
	if err != nil || !ok {
		return chain.Anchored{}, err
	}
	return chain.ParseAnchored(b)
}
