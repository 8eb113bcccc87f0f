package main

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/peer"
)

// liar is a node of the ledger that tells others lies about the chain: it
// passes on what an honest one would say, changed.
type liar struct {
	honest *simulatedNode
	answer func(ctx context.Context, request []byte, s peer.Stream, truth func(peer.Stream) error) error
	asked  atomic.Int64
}

func (l *liar) Consensus(peer.Key, []byte)         {}
func (l *liar) Transaction(peer.Key, []byte) error { return nil }
func (l *liar) Head(peer.Key, []byte)              {}

func (l *liar) Serve(ctx context.Context, from peer.Key, request []byte, s peer.Stream) error {
	l.asked.Add(1)
	return l.answer(ctx, request, s, func(s peer.Stream) error {
		return l.honest.live().peering.sync.Serve(ctx, from, request, s)
	})
}

// changed is a stream whose frames are changed on their way.
type changed struct {
	peer.Stream
	change func(frame []byte) []byte
}

func (c changed) Send(frame []byte) error { return c.Stream.Send(c.change(bytes.Clone(frame))) }

// The requests and frames of net/blocksync that liars treat differently.
const (
	askManifest = 4
	askChunk    = 5
	askGuards   = 6
	standsAt    = 1 // the kind of a frame that says where a chain stands
)

// kindOf is what a request or a frame begins with, zero for none.
func kindOf(b []byte) uint64 {
	r := cbor.NewReader(b)
	r.Array()
	return r.Uint()
}

// spoiled flips a bit in the middle of a frame.
func spoiled(frame []byte) []byte {
	frame[len(frame)/2] ^= 4
	return frame
}

// spoils is a liar that spoils the answers to some requests.
func spoils(kinds ...uint64) func(context.Context, []byte, peer.Stream, func(peer.Stream) error) error {
	return func(_ context.Context, request []byte, s peer.Stream, truth func(peer.Stream) error) error {
		if !slices.Contains(kinds, kindOf(request)) {
			return truth(s)
		}
		return truth(changed{s, spoiled})
	}
}

var lies = map[string]func(context.Context, []byte, peer.Stream, func(peer.Stream) error) error{
	"nothing": func(ctx context.Context, _ []byte, _ peer.Stream, _ func(peer.Stream) error) error {
		<-ctx.Done()
		return nil
	},
	"corrupt manifest": spoils(askManifest),
	"corrupt chunks":   spoils(askChunk),
	"corrupt guards":   spoils(askGuards),
	"corrupt blocks": func(_ context.Context, _ []byte, s peer.Stream, truth func(peer.Stream) error) error {
		return truth(changed{s, func(frame []byte) []byte {
			if kindOf(frame) == standsAt {
				return frame
			}
			return spoiled(frame)
		}})
	},
	"a height that nobody has": func(_ context.Context, _ []byte, s peer.Stream, truth func(peer.Stream) error) error {
		return truth(changed{s, func(frame []byte) []byte {
			if kindOf(frame) != standsAt {
				return frame
			}
			return cbor.AppendUint(append(cbor.AppendArray(nil, 3), standsAt, 1), 1<<40)
		}})
	},
}

// TestJoinDespiteLiars: one of each kind of liar answers the nodes that catch
// up: a follower that joins by a snapshot, another by blocks, and a validator
// that was away. All come level, with the others' blocks.
func TestJoinDespiteLiars(t *testing.T) {
	bubble(t, func(t *testing.T) {
		params := chain.DefaultParams()
		params.SnapshotBlocks = 8
		s := newSimulationWith(t, *simSeed, 4, 2+len(lies), params)
		liars := s.enlist(s.nodes[6:])
		s.nodes = s.nodes[:6]
		validators, bySnapshot, byBlocks := s.nodes[:4], s.nodes[4], s.nodes[5]
		for _, n := range validators {
			n.begin()
		}
		validators[0].mustCommit(5, healed)
		validators[3].end()
		validators[0].mustCommit(20, healed)

		validators[3].start()
		bySnapshot.start()
		if base := bySnapshot.node.ledger.Base(); base <= 8 {
			t.Errorf("%s has blocks from %d on: it did not join by a snapshot", bySnapshot.name, base)
		}
		s.tune = func(c *config) { c.Join = "blocks" }
		byBlocks.start()
		byBlocks.mustCommit(1, healed)
		s.await(validators[0].node.ledger.Head().Height, level)
		s.agree()
		for lie, l := range liars {
			t.Logf("%s: asked %d times", lie, l.asked.Load())
		}
		caught := uint64(0)
		for _, n := range s.nodes {
			caught += n.node.peering.network.Stats().Misbehaved
		}
		if caught == 0 {
			t.Error("nobody was caught lying")
		}
	})
}

// enlist makes a liar of each kind out of nodes that do not run otherwise.
func (s *simulation) enlist(nodes []*simulatedNode) map[string]*liar {
	liars := map[string]*liar{}
	var addresses []string
	for i, lie := range slices.Sorted(maps.Keys(lies)) {
		n := nodes[i]
		addresses = append(addresses, n.peerAddr())
		liars[lie] = &liar{honest: s.nodes[0], answer: lies[lie]}
		s.lie(n, liars[lie])
	}
	s.tune = func(c *config) { c.Peers = append(addresses, c.Peers...) }
	return liars
}

// lie runs a liar on the network.
func (s *simulation) lie(n *simulatedNode, l *liar) {
	conn, err := s.air.listen(n.peerAddr())
	s.check(err)
	network, err := peer.New(peer.Config{
		Conn: conn, Key: n.loadKey(nodeKeyFile).Private(), Chain: chain.ChainID(s.genesis), Handler: l,
		Class: func(peer.Key) peer.Class { return peer.Validator }, Logger: newLogger("error").With("node", n.name),
	})
	s.check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- network.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("a liar's network: %v", err)
		}
	})
}
