package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/blocksync"
	"github.com/seed79541315/postern/net/peer"
	"github.com/seed79541315/postern/runtime/heads"
)

// peering is this node among others: what consensus sends through, and what
// answers when others send.
type peering struct {
	n       *node
	network *peer.Network
	sync    *blocksync.Syncer
	heads   *heads.Tracker
	failed  chan error // capacity one
	relayed chan relayed
	stopped chan struct{} // closed when nobody takes from relayed any more
}

// Send implements consensus.Transport: validators are known by the keys of the
// set that signs next.
func (p *peering) Send(to uint64, message []byte) {
	if key, ok := p.n.ledger.ValidatorSet().Key(to); ok {
		p.network.Send(peer.Key(key), message)
	}
}

// SendTransaction implements consensus.Transport.
func (p *peering) SendTransaction(to uint64, raw []byte) {
	if key, ok := p.n.ledger.ValidatorSet().Key(to); ok {
		p.network.SendTransaction(peer.Key(key), raw)
	}
}

// errNoValidator comes from a follower that is cut off from all validators.
var errNoValidator = fmt.Errorf("no validator is connected: %w", abi.CodeUnavailable)

// toValidators sends a transaction to every validator that is connected.
func (p *peering) toValidators(raw []byte) error {
	sent := false
	for _, info := range p.network.Connected() {
		if info.Class == peer.Validator {
			p.network.SendTransaction(info.Key, raw)
			sent = true
		}
	}
	if !sent {
		return errNoValidator
	}
	return nil
}

// Sync implements consensus.Syncer. What cannot get better by itself ends the
// run of the node.
func (p *peering) Sync(ctx context.Context) error {
	err := p.sync.Sync(ctx)
	if errors.Is(err, blocksync.ErrPruned) || errors.Is(err, blocksync.ErrLedger) || errors.Is(err, blocksync.ErrFork) {
		select {
		case p.failed <- err:
		default:
		}
	}
	return err
}

// syncFailure waits for what Sync could not mend.
func (p *peering) syncFailure(ctx context.Context) error {
	select {
	case err := <-p.failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Consensus implements peer.Handler.
func (p *peering) Consensus(from peer.Key, message []byte) {
	engine := p.n.role.engine.Load()
	if id, ok := p.n.ledger.ValidatorSet().ID(from[:]); ok && engine != nil {
		engine.Handle(id, message)
	}
}

// relayed is a transaction that another node has let in.
type relayed struct {
	from peer.Key
	raw  []byte
}

// Bounds of transactions of other nodes: those that wait, beyond which the
// sender's stream waits, and those whose signatures are checked together.
const (
	maxRelayed   = 1024
	relayedBatch = 128
)

// Transaction implements peer.Handler. What is wrong with it shows later. Only
// a validator that votes has use for it: its sender tells all validators, and
// two that passed on what they hear while they may not vote would echo it for
// ever.
func (p *peering) Transaction(from peer.Key, raw []byte) error {
	if p.n.role.engine.Load() == nil {
		return nil
	}
	select {
	case p.relayed <- relayed{from, raw}:
		return nil
	case <-p.stopped:
		return abi.CodeShuttingDown
	}
}

// takeIn checks what other nodes let in, as much at once as has come.
func (p *peering) takeIn(ctx context.Context) error {
	defer close(p.stopped)
	for {
		var batch []relayed
		select {
		case r := <-p.relayed:
			batch = append(batch, r)
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(batch) < relayedBatch; {
			select {
			case r := <-p.relayed:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		p.admit(ctx, batch)
	}
}

// admit brings transactions of other nodes into line. A node passes on only
// what it has verified, so one with a bad signature is the sender's doing.
func (p *peering) admit(ctx context.Context, batch []relayed) {
	raws := make([][]byte, len(batch))
	for i := range batch {
		raws[i] = batch[i].raw
	}
	engine := p.n.role.engine.Load()
	if engine == nil {
		return
	}
	p.n.ledger.VerifyRelayed(raws)
	for _, r := range batch {
		err := engine.HandleTransaction(ctx, r.raw)
		if errors.Is(err, abi.CodeBadSignature) || errors.Is(err, abi.CodeMalformed) {
			p.network.Misbehaved(r.from, err)
		}
	}
}

// Head implements peer.Handler: what is new is passed on.
func (p *peering) Head(from peer.Key, head []byte) {
	fresh, err := p.heads.Take(head)
	switch {
	case errors.Is(err, abi.CodeMalformed), errors.Is(err, abi.CodeWrongChain):
		p.network.Misbehaved(from, err)
	case errors.Is(err, abi.CodeBadProof):
		p.n.log.Error("a validator holds another block than this node", "err", err)
	}
	if fresh {
		p.network.SendHead(head)
	}
	if height, behind := p.heads.Behind(); behind {
		if engine := p.n.role.engine.Load(); engine != nil {
			engine.Behind(height)
		}
	}
}

// Serve implements peer.Handler.
func (p *peering) Serve(ctx context.Context, from peer.Key, request []byte, s peer.Stream) error {
	return p.sync.Serve(ctx, from, request, s)
}

// maxServed is how many requests of peers are answered at a time.
const maxServed = 32

// listenPeers opens the port between nodes.
func (n *node) listenPeers(cfg config) (net.PacketConn, error) {
	conn, err := cfg.listen(cfg.Peer)
	if err != nil {
		return nil, portError("peer", cfg.Peer, err)
	}
	return conn, nil
}

// newNetwork makes the network of nodes on that port, for a chain and by what
// class says of keys.
func (n *node) newNetwork(cfg config, conn net.PacketConn, id abi.Hash, class func(peer.Key) peer.Class, handler peer.Handler) (*peer.Network, error) {
	shown, err := n.peerKey(cfg)
	if err != nil {
		return nil, err
	}
	network, err := peer.New(peer.Config{
		Conn: conn, Key: shown.Private(), Chain: id, Peers: cfg.Peers, Class: class, Handler: handler,
		Advertise: cfg.Advertise, Learn: cfg.Learn, Local: cfg.Local, StateFile: n.home.path("peers.cbor"), Logger: n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the port between nodes: %w", err)
	}
	return network, nil
}

// openPeering puts together what this node does among others.
func (n *node) openPeering(cfg config) (err error) {
	if cfg.Peer == "off" {
		return nil
	}
	p := &peering{n: n, failed: make(chan error, 1), relayed: make(chan relayed, maxRelayed), stopped: make(chan struct{})}
	conn, err := n.listenPeers(cfg)
	if err != nil {
		return err
	}
	n.peerAddr = conn.LocalAddr().String()
	if p.network, err = n.newNetwork(cfg, conn, n.ledger.ChainID(), n.class, p); err != nil {
		return errors.Join(err, conn.Close())
	}
	p.heads, err = heads.New(heads.Config{Ledger: n.ledger, Key: n.key, Clock: n.clock, Send: p.network.SendHead, Logger: n.log})
	if err == nil {
		p.sync, err = blocksync.New(blocksync.Config{
			Peers: p.network, Ledger: n.ledger, Snapshots: served{n.snapshots}, Ahead: n.ledger.CheckSignatures, Behind: p.heads.Behind,
			Logger: n.log, MaxRequests: maxServed,
		})
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	n.peering = p
	return nil
}

// recheckPause is between two looks at who the peers are: what the ledger says
// of them may change with every block.
const recheckPause = 250 * time.Millisecond

// recheck looks at who the peers are whenever the ledger may say otherwise.
func (p *peering) recheck(ctx context.Context) error {
	pause := time.NewTicker(recheckPause)
	defer pause.Stop()
	for {
		next := p.n.ledger.Committed()
		p.network.Recheck()
		select {
		case <-next:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// run runs the network and what goes over it.
func (p *peering) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return p.network.Run(ctx) })
	group.Go(func() error { return p.heads.Run(ctx) })
	group.Go(func() error { return p.syncFailure(ctx) })
	group.Go(func() error { return p.recheck(ctx) })
	group.Go(func() error { return p.takeIn(ctx) })
	group.Go(func() error { return p.n.untilShutOut(ctx) })
}

// staleness is for how long this node may have missed blocks, in ms. A node
// without others is never behind.
func (n *node) staleness() uint64 {
	if n.peering == nil {
		return 0
	}
	now, _ := n.clock()
	return n.peering.heads.Staleness(now)
}

// class is what the ledger says of a node's key.
func (n *node) class(key peer.Key) peer.Class {
	if _, ok := n.ledger.ValidatorSet().ID(key[:]); ok {
		return peer.Validator
	}
	s, err := n.ledger.Standing(key[:])
	if err == nil && s.Roles&(abi.RoleValidator|abi.RoleGateway) != 0 {
		return peer.Node
	}
	return peer.Stranger
}
