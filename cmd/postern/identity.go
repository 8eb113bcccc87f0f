package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
	"github.com/seed79541315/postern/storage"
)

// A node's key is replaced by a proposal that names the key in nextKeyFile.
// From the block on that carries it out, that key is the node's: it is renamed
// at the next start, and the former is kept as formerKeyFile.
const (
	nextKeyFile   = "node.key.next"
	formerKeyFile = "node.key.former"
)

// errReopen ends a run whose node has to be opened anew, and is well otherwise.
var errReopen = errors.New("the node has to be opened anew")

// identify finds out which of its keys the ledger knows the node by, and its
// account: an account keeps its id when it gets another key.
func (n *node) identify() error {
	account, known, err := accountOn(n.store, n.key.Public())
	if err != nil {
		return err
	}
	if !known {
		next, nextAccount, ok, err := n.nextKey()
		if err != nil {
			return err
		}
		if ok {
			if err := n.renameKeys(); err != nil {
				return err
			}
			n.log.Info("the node goes on with its new key", "former", n.home.path(formerKeyFile))
			n.key, account = next, nextAccount
		}
	}
	n.account = account
	return nil
}

// nextKey is the key that waits to replace the node's, if the ledger has it as
// an account's by now.
func (n *node) nextKey() (next *key.Key, account abi.Hash, ok bool, err error) {
	next, err = key.Load(n.home.path(nextKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, account, false, nil
	}
	if err != nil {
		return nil, account, false, err
	}
	account, ok, err = accountOn(n.store, next.Public())
	return next, account, ok, err
}

// renameKeys makes the next key the node's. Between the two steps node.key is
// there under both names.
func (n *node) renameKeys() error {
	former := n.home.path(formerKeyFile)
	if err := os.Remove(former); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(n.home.path(nodeKeyFile), former); err != nil {
		return err
	}
	if err := os.Rename(n.home.path(nextKeyFile), n.home.path(nodeKeyFile)); err != nil {
		return err
	}
	return syncDir(string(n.home))
}

// rekeyed says whether the node has to be opened anew with its next key.
func (n *node) rekeyed() (bool, error) {
	if _, known, err := accountOn(n.store, n.key.Public()); err != nil || known {
		return false, err
	}
	_, _, ok, err := n.nextKey()
	return ok, err
}

// errShutOut ends a run in which no peer knew the node's key while another one
// waits to replace it.
var errShutOut = errors.New("the peers do not know the node's key; trying its other one")

// shutOutCheck is how often a node looks whether its peers still know it.
const shutOutCheck = 10 * time.Second

// untilShutOut watches for peers that refuse this node's key. A node that was
// down while it got its next key cannot learn that from its own ledger, and
// its peers know the former key no more: it asks them under the next one.
func (n *node) untilShutOut(ctx context.Context) error {
	tick := time.NewTicker(shutOutCheck)
	defer tick.Stop()
	for before := uint64(0); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		refused := n.peering.network.Stats().Unknown
		if refused > before && n.staleness() > levelWithin {
			if _, err := os.Stat(n.home.path(nextKeyFile)); err == nil {
				n.log.Warn(errShutOut.Error())
				return errShutOut
			}
		}
		before = refused
	}
}

// peerKey is the key that the node shows its peers.
func (n *node) peerKey(cfg config) (*key.Key, error) {
	if !cfg.asNext {
		return n.key, nil
	}
	next, err := key.Load(n.home.path(nextKeyFile))
	if errors.Is(err, fs.ErrNotExist) { // it has become the node's
		return n.key, nil
	}
	return next, err
}

// accountOn finds the account of a key in the newest state. A key that is no
// account's yet gets the id that its account would have.
func accountOn(s *storage.Store, public []byte) (id abi.Hash, known bool, err error) {
	v, err := s.HeadView()
	if err != nil {
		return id, false, err
	}
	defer v.Release()
	b, known, err := v.Get(chain.KeyIndexKey(public))
	if known && len(b) == len(id) {
		return abi.Hash(b), true, err
	}
	return chain.AccountID(public), false, err
}
