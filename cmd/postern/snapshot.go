package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/blocksync"
	"github.com/seed79541315/postern/net/peer"
	"github.com/seed79541315/postern/runtime/ledger"
)

// served is what peers are given of this node's snapshots: a
// blocksync.SnapshotSource.
type served struct{ *ledger.Snapshots }

func (s served) Manifest() ([]byte, bool) {
	n, ok := s.Newest()
	if !ok {
		return nil, false
	}
	m := blocksync.Manifest{Header: n.Header, Block: n.Block, Certificate: n.Certificate.Append(nil), Outcomes: n.Outcomes, Steps: n.Steps, Keys: n.Keys}
	return m.Append(nil), true
}

// joining makes this node's ledger of a snapshot: a blocksync.SnapshotSink.
type joining struct{ *ledger.Join }

func (j joining) Begin(m *blocksync.Manifest) (func(prefix uint64, depth uint8) bool, error) {
	certificate, err := chain.ParseCertificate(m.Certificate)
	if err != nil {
		return nil, err
	}
	return j.Join.Begin(&ledger.Snapshot{Header: m.Header, Certificate: certificate, Block: m.Block, Outcomes: m.Outcomes, Steps: m.Steps, Keys: m.Keys})
}

// unopened stands in for an open node while there is no ledger: it hears
// nobody and has nothing to give.
type unopened struct{}

func (unopened) Consensus(peer.Key, []byte)         {}
func (unopened) Transaction(peer.Key, []byte) error { return abi.CodeNotReady }
func (unopened) Head(peer.Key, []byte)              {}
func (unopened) Serve(context.Context, peer.Key, []byte, peer.Stream) error {
	return abi.CodeNotReady
}

// joinsFirst says whether a node asks its peers for a snapshot before it opens
// its ledger: one that follows does when it is new, and so does one whose chain
// began with a state that it has not; any other when it found that nobody keeps
// the blocks which it needs next.
func (n *node) joinsFirst(cfg config, genesis *chain.Genesis) bool {
	if cfg.Peer == "off" || cfg.Join == "blocks" || len(cfg.Peers) == 0 && !cfg.Local {
		return false
	}
	_, votes := genesis.Validators.ID(n.key.Public())
	return cfg.pruned || n.storeIsNew(cfg) && (cfg.Join == "snapshot" || !votes || genesis.Origin != nil)
}

// storeIsNew says whether the node has no database yet.
func (n *node) storeIsNew(cfg config) bool {
	stat := func(name string) error { _, err := os.Stat(name); return err }
	if disk := cfg.store.FS; disk != nil {
		stat = func(name string) error { _, err := disk.Stat(name); return err }
	}
	return errors.Is(stat(n.home.path("data")), fs.ErrNotExist)
}

// join makes the node's ledger of a snapshot, if a peer has one that is worth
// it. It opens the port between nodes for that time only.
func (n *node) join(ctx context.Context, cfg config, raw []byte, genesis *chain.Genesis) error {
	conn, err := n.listenPeers(cfg)
	if err != nil {
		return err
	}
	network, err := n.newNetwork(cfg, conn, chain.ChainID(raw), genesisClass(genesis), unopened{})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return network.Run(ctx) })
	group.Go(func() error {
		defer stop()
		return n.joinBy(ctx, cfg, network, raw, genesis)
	})
	return group.Wait()
}

func (n *node) joinBy(ctx context.Context, cfg config, network *peer.Network, raw []byte, genesis *chain.Genesis) error {
	sink := joining{ledger.NewJoin(n.place(cfg, "data"), raw)}
	above := cfg.above
	if cfg.Join == "auto" && !cfg.pruned && genesis.Origin == nil {
		above += genesis.Params.SnapshotInterval() // fewer blocks are executed as fast
	}
	err := blocksync.Join(ctx, blocksync.JoinConfig{
		Peers: network, Genesis: raw, Sink: sink, Above: above, Logger: n.log,
	})
	err = errors.Join(err, sink.Close())
	if errors.Is(err, blocksync.ErrNoSnapshot) || errors.Is(err, blocksync.ErrNoPeers) {
		n.log.Info("no snapshot to join by; going on with blocks", "cause", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("joining the chain: %w", err)
	}
	return nil
}

// genesisClass says of a key what the genesis says. Validators of later sets
// are strangers to it, from whom a joining node takes what proves itself.
func genesisClass(g *chain.Genesis) func(peer.Key) peer.Class {
	classes := map[peer.Key]peer.Class{}
	for i := range g.Accounts {
		if a := &g.Accounts[i]; len(a.Key) == len(peer.Key{}) && a.Roles&(abi.RoleGateway|abi.RoleValidator) != 0 {
			classes[peer.Key(a.Key)] = peer.Node
		}
	}
	for _, v := range g.Validators {
		classes[peer.Key(v.Key)] = peer.Validator
	}
	return func(k peer.Key) peer.Class { return classes[k] }
}
