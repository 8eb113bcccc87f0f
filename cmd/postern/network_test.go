package main

import (
	"os"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi/chain"
)

// TestNetwork: four validators and a follower agree over QUIC; the network
// goes on when one of them stops, and who comes back catches up.
func TestNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 1)
		s.startAll()
		for _, n := range s.nodes {
			n.mustCommit(3, 30*time.Second)
		}
		s.nodes[0].end()
		s.nodes[4].mustCommit(3, 30*time.Second)
		s.nodes[0].start()
		s.nodes[0].mustCommit(3, 30*time.Second)
		s.await(s.nodes[1].node.ledger.Head().Height, 30*time.Second)
		s.agree()
	})
}

// TestJoinBySnapshot: a new follower takes the state from peers that keep few
// blocks, and goes on from there; a transaction from before is still refused
// as a replay by it and by all.
func TestJoinBySnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		params := chain.DefaultParams()
		params.SnapshotBlocks = 8
		s := newSimulationWith(t, *simSeed, 4, 1, params)
		s.tune = func(c *config) { c.KeepBlocks = 1 }
		late := s.nodes[4]
		for _, n := range s.nodes[:4] {
			n.begin()
		}
		for _, n := range s.nodes[:4] {
			<-n.node.role.ready
		}
		s.nodes[0].mustCommit(1, 30*time.Second)
		old := s.grant()
		if _, err := s.nodes[0].submit(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		s.nodes[1].mustCommit(30, 30*time.Second)
		late.start()
		late.mustCommit(2, 30*time.Second)
		if base := late.node.ledger.Base(); base <= 8 {
			t.Errorf("the follower has blocks from %d on: it did not join by a snapshot", base)
		}
		if _, err := late.submit(t.Context(), old); err == nil {
			t.Error("the follower takes in a replay")
		}
		s.await(s.nodes[0].node.ledger.Head().Height, 30*time.Second)
		s.agree()
	})
}

// TestNoEcho: validators that may not vote yet do not tell each other for ever
// of a transaction.
func TestNoEcho(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 0)
		s.startAll()
		s.nodes[0].mustCommit(1, healed)
		elapse(time.Second)
		s.air.partition(s.nodes[1].host, s.nodes[2].host) // so that they have to wait
		for _, n := range s.nodes[1:3] {
			n.end()
			s.check(os.RemoveAll(n.home.path("wal")))
			n.begin()
		}
		elapse(10 * time.Second)
		before := s.air.sent()
		if _, err := (service{s.nodes[1].node}).Submit(t.Context(), s.grant(), false); err != nil {
			t.Fatal(err)
		}
		elapse(10 * time.Second)
		sent := s.air.sent() - before
		t.Logf("%d packets", sent)
		if sent > 1000 {
			t.Errorf("one transaction led to %d packets", sent)
		}
		s.air.partition()
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		s.agree()
	})
}

// TestLostVotes: a validator whose record of votes is gone follows until the
// chain is past what it may have voted for, and then votes again: the others
// need it, since another one has stopped.
func TestLostVotes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 0)
		s.startAll()
		s.nodes[0].mustCommit(5, 30*time.Second)
		lost := s.nodes[3]
		lost.end()
		s.nodes[0].mustCommit(5, 30*time.Second)
		s.check(os.RemoveAll(lost.home.path("wal")))
		lost.begin()
		elapse(30 * time.Second)
		if lost.votes() {
			t.Fatal("it votes at once")
		}
		s.nodes[0].mustCommit(3, 30*time.Second)
		for !lost.votes() {
			elapse(time.Second)
		}
		s.nodes[2].end()
		s.nodes[0].mustCommit(3, time.Minute)
		s.await(s.nodes[0].node.ledger.Head().Height, 30*time.Second)
		s.agree()
	})
}
