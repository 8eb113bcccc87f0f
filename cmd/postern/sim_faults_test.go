package main

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// TestMinority: halves decide nothing, and neither do one of four and a
// follower. A gateway that is cut off says so in its decisions, and all go on
// soon after the heal.
func TestMinority(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 1)
		s.startAll()
		c := s.crowd(2, 500*time.Millisecond)
		s.nodes[0].mustCommit(1, healed)

		s.air.partition(s.nodes[2].host, s.nodes[3].host, s.nodes[4].host)
		s.mustStandStill(s.nodes, 40*time.Second)
		for _, n := range s.nodes {
			n.mustBeStale(30 * time.Second)
		}
		s.air.partition()
		s.nodes[4].mustCommit(1, healed)

		s.air.partition(s.nodes[3].host, s.nodes[4].host)
		s.nodes[0].mustCommit(2, 2*patience)
		s.mustStandStill(s.nodes[3:], 40*time.Second)
		for _, n := range s.nodes[3:] {
			n.mustBeStale(30 * time.Second)
		}
		s.nodes[1].mustBeFresh()
		s.air.partition()
		s.nodes[3].mustCommit(1, healed)
		c.stop()
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		elapse(levelWithin * time.Millisecond) // for two rounds of heads
		s.nodes[4].mustBeFresh()
		c.settle()
	})
}

// mustStandStill checks that nodes commit nothing for a time, but for what was
// on its way.
func (s *simulation) mustStandStill(nodes []*simulatedNode, d time.Duration) {
	s.t.Helper()
	elapse(time.Second)
	top := uint64(0)
	for _, n := range nodes {
		top = max(top, n.node.ledger.Head().Height)
	}
	elapse(d)
	for _, n := range nodes {
		if h := n.node.ledger.Head().Height; h > top {
			s.t.Errorf("%s went on from height %d to %d without a quorum", n.name, top, h)
		}
	}
}

// stale is what a decision of the node says of how stale it is.
func (n *simulatedNode) stale() time.Duration {
	a := service{n.node}.Decide(n.sim.t.Context(), abi.Caller{}, "doors", nil)
	return time.Duration(a.Staleness) * time.Millisecond
}

func (n *simulatedNode) mustBeStale(least time.Duration) {
	n.sim.t.Helper()
	if said := n.stale(); said < least {
		n.sim.t.Errorf("%s, cut off for %v, says that it is stale by %v", n.name, least, said)
	}
}

func (n *simulatedNode) mustBeFresh() {
	n.sim.t.Helper()
	if said := n.stale(); said > levelWithin*time.Millisecond {
		n.sim.t.Errorf("%s, with a quorum, says that it is stale by %v", n.name, said)
	}
}

// TestLeaderDies: within five seconds of a leader's death a transaction that
// comes at that moment is in a block.
func TestLeaderDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 0)
		s.startAll()
		c := s.crowd(2, 200*time.Millisecond)
		for range 3 {
			s.nodes[0].mustCommit(3, healed)
			leader := s.leader()
			leader.crash()
			other := s.nodes[(s.rng.IntN(3)+1+s.index(leader))%4]
			began := time.Now()
			other.mustCommit(1, 5*time.Second)
			t.Logf("%s led; on after %v", leader.name, time.Since(began))
			leader.start()
			s.await(other.node.ledger.Head().Height, healed)
			elapse(5 * time.Second) // until it takes part again: two that are away are no quorum
		}
		c.stop()
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		c.settle()
	})
}

func (s *simulation) index(n *simulatedNode) int {
	for i := range s.nodes {
		if s.nodes[i] == n {
			return i
		}
	}
	panic("BUG: the node is of another simulation")
}

// leader is the node that most say leads, of validators that nobody changed.
func (s *simulation) leader() *simulatedNode {
	said := map[uint64]int{}
	best := uint64(1)
	for _, n := range s.nodes {
		if engine := n.node.role.engine.Load(); engine != nil {
			id := engine.Stats().Leader
			if said[id]++; id != 0 && said[id] > said[best] {
				best = id
			}
		}
	}
	return s.nodes[best-1]
}

// TestSlowPeer: with one slow validator the others commit nine tenths of what
// they do without, in a time that only the network takes.
func TestSlowPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulation(t, *simSeed, 4, 0)
		s.air.delay = 20 * time.Millisecond
		s.startAll()
		s.nodes[0].mustCommit(1, healed)
		slow := s.nodes[(s.index(s.leader())+2)%4]
		alike := s.commitMany(4, slow, 150)
		s.air.slowDown(slow.host, 200*time.Millisecond)
		with := s.commitMany(4, slow, 150)
		t.Logf("150 transactions took %v, and %v with a peer that is 440 ms away", alike, with)
		if with > alike*10/9 {
			t.Error("one slow peer costs more than a tenth of the throughput")
		}
		s.air.slowDown(slow.host, 0)
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		s.agree()
	})
}

// commitMany brings transactions into blocks, so many at a time and by way of
// all running nodes but one, and says how long that took.
func (s *simulation) commitMany(atATime int, but *simulatedNode, count int64) time.Duration {
	began := time.Now()
	var left atomic.Int64
	left.Store(count)
	var done sync.WaitGroup
	for i := 0; atATime > 0; i++ {
		n := s.nodes[i%len(s.nodes)]
		if n == but || n.node == nil {
			continue
		}
		atATime--
		done.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := n.submit(context.Background(), s.grant()); err != nil {
					s.t.Errorf("%s: %v", n.name, err)
				}
			}
		})
	}
	done.Wait()
	return time.Since(began)
}

// TestReplay: more than a thousand transactions later nobody takes one again:
// not those that were there, not those that stopped or crashed in between, and
// not one that joined by a snapshot since.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		params := chain.DefaultParams()
		params.SnapshotBlocks = 8
		s := newSimulationWith(t, *simSeed, 4, 1, params)
		for _, n := range s.nodes {
			n.keep = 1
		}
		for _, n := range s.nodes[:4] {
			n.begin()
		}
		for _, n := range s.nodes[:4] {
			<-n.node.role.ready
		}
		old := s.grant()
		if _, err := s.nodes[0].submit(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		s.commitMany(32, nil, 1100)
		s.nodes[1].end()
		s.nodes[1].start()
		s.nodes[2].crash()
		s.nodes[2].start()
		s.nodes[4].start()
		if base := s.nodes[4].node.ledger.Base(); base <= 8 {
			t.Errorf("the follower has blocks from %d on: it did not join by a snapshot", base)
		}
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		s.mustRefuse(old)
		s.agree()
	})
}

// TestNarrowLink: a validator whose link was narrower for a while than what the
// others say to it takes transactions soon after it is whole again, and comes
// level. It takes place in real time, for the reason of TestCampaign.
func TestNarrowLink(t *testing.T) {
	s := newSimulation(t, *simSeed, 4, 0)
	s.startAll()
	s.nodes[0].mustCommit(1, healed)
	slow := s.nodes[(s.index(s.leader())+2)%4]
	s.air.narrowTo(slow.host, 16<<10)
	took := s.commitMany(32, slow, 1500)
	s.air.narrowTo(slow.host, 0)
	began := time.Now()
	slow.mustCommit(1, healed)
	t.Logf("the others took 1500 transactions in %v; on after %v", took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	s.await(s.nodes[0].node.ledger.Head().Height, healed)
	s.agree()
}
