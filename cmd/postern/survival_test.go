package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
)

var (
	survivalRounds = flag.Int("rounds", 1, "rounds of faults that a network of real processes must survive")
	survivalSeed   = flag.Uint64("survival-seed", 1, "what chooses the faults")
)

// Within goOnWithin a network must go on after a fault that leaves a quorum, and
// after a heal. Deposing a leader takes some 3 s; the rest is for machines that
// have other things to do. The log tells how long it took.
const (
	goOnWithin = 30 * time.Second
	feedWithin = 10 * time.Second // a transaction that is lost on its way is given up after this
)

// mostUnderFault is how many transactions one of the other nodes acknowledges
// at most before the network is healed: seconds of work.
const mostUnderFault = 200

// TestSurvival runs four validators and a follower as processes, has all of
// them take transactions, and kills, hangs and cuts off nodes meanwhile. No
// transaction that was acknowledged may be lost, none may be applied twice, and
// all nodes must end with the same blocks. With -artifacts the homes stay.
func TestSurvival(t *testing.T) {
	s := startSurvival(t)
	rng := rand.New(rand.NewPCG(*survivalSeed, 0))
	for round := range *survivalRounds {
		fault, nodes := s.chooseFault(rng, round)
		t.Logf("round %d: %s %v", round, fault, nodes)
		s.order(fault, nodes...)
		hasJoined := func() {}
		if len(nodes) < len(s.nodes) {
			s.await(slices.DeleteFunc(s.all(), func(i int) bool { return slices.Contains(nodes, memberName(i)) }), 2)
			if round%joinEvery == 0 {
				hasJoined = s.join(s.other(nodes))
			}
			s.await([]int{s.other(nodes)}, rng.IntN(mostUnderFault))
		}
		s.order("heal")
		s.await(s.all(), 2)
		hasJoined()
	}
	s.stopLoad()
	s.agree()
}

// joinEvery is in how many rounds a follower joins, while the fault lasts.
const joinEvery = 5

// survival is a network under load.
type survival struct {
	*fleet
	acks     chan ack
	load     *errgroup.Group
	stopLoad func()
	known    []ack // owned by the test's goroutine
}

// ack is a transaction that a node said is in a block.
type ack struct {
	node   int
	id     abi.Hash
	height uint64
}

func startSurvival(t *testing.T) *survival {
	t.Helper()
	s := &survival{fleet: startFleet(t, t.ArtifactDir()), acks: make(chan ack)}
	s.startLoad()
	return s
}

// chooseFault begins with the leader's death; every tenth round all die.
func (s *survival) chooseFault(rng *rand.Rand, round int) (fault string, nodes []string) {
	victim := []string{memberName(rng.IntN(len(s.nodes)))}
	switch {
	case round == 0:
		return "kill", []string{"n1"}
	case round%10 == 9:
		var all []string
		for i := range s.nodes {
			all = append(all, memberName(i))
		}
		return "kill", all
	}
	return []string{"kill", "pause", "partition"}[rng.IntN(3)], victim
}

// other is a node that has no fault.
func (s *survival) other(nodes []string) int {
	return slices.IndexFunc(s.nodes, func(n testnetMember) bool { return !slices.Contains(nodes, n.Name) })
}

// startLoad has every node take one transaction after another.
func (s *survival) startLoad() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.load = &errgroup.Group{}
	for i := range s.nodes {
		s.load.Go(func() error {
			for ctx.Err() == nil {
				s.feed(ctx, i)
			}
			return nil
		})
	}
	s.stopLoad = func() {
		cancel()
		s.load.Wait()
	}
	s.t.Cleanup(s.stopLoad)
}

// feed submits transactions to a node until one fails.
func (s *survival) feed(ctx context.Context, node int) {
	n := &s.nodes[node]
	cl, err := dialHome(ctx, home(n.Home), n.Quic, operatorKeyFile)
	if err != nil {
		return
	}
	defer cl.Close()
	for {
		within, cancel := context.WithTimeout(ctx, feedWithin)
		done, err := s.write(within, cl)
		cancel()
		if err != nil {
			return
		}
		select {
		case s.acks <- ack{node, done.ID, done.Height}:
		case <-ctx.Done():
			return
		}
	}
}

// await waits until each of some nodes has acknowledged so many transactions
// more; the first may have been under way.
func (s *survival) await(nodes []int, count int) {
	s.t.Helper()
	late := time.NewTimer(goOnWithin)
	defer late.Stop()
	missing := map[int]int{}
	for _, i := range nodes {
		missing[i] = count
	}
	began := time.Now()
	for count > 0 && len(missing) > 0 {
		select {
		case a := <-s.acks:
			s.known = append(s.known, a)
			if missing[a.node]--; missing[a.node] <= 0 {
				delete(missing, a.node)
			}
		case <-late.C:
			s.t.Fatalf("after %s no word from %v of %v", goOnWithin, missing, nodes)
		}
	}
	s.t.Logf("%v took %d more each within %s", nodes, count, time.Since(began).Round(10*time.Millisecond))
}

// agree compares all nodes' chains, and looks for what was acknowledged.
func (s *survival) agree() {
	s.t.Helper()
	chains := make([]*copyOfChain, len(s.nodes))
	var reading errgroup.Group
	height := s.top()
	for i := range s.nodes {
		reading.Go(func() (err error) {
			chains[i], err = s.read(i, height)
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		s.t.Fatal(err)
	}
	for i, c := range chains[1:] {
		for h := range c.hashes {
			if c.hashes[h] != chains[0].hashes[h] {
				s.t.Fatalf("at height %d n1 has block %x, %s %x", h+1, chains[0].hashes[h], s.nodes[i+1].Name, c.hashes[h])
			}
		}
	}
	for _, a := range s.known {
		if at := chains[0].done[a.id]; !slices.Equal(at, []uint64{a.height}) {
			s.t.Errorf("transaction %x was acknowledged by n%d at height %d and is at %v", a.id, a.node+1, a.height, at)
		}
	}
	for id, at := range chains[0].done {
		if len(at) > 1 {
			s.t.Errorf("transaction %x was applied at heights %v", id, at)
		}
	}
	s.t.Logf("%d blocks, %d transactions acknowledged of %d applied", height, len(s.known), len(chains[0].done))
}

// top is the greatest height of all nodes.
func (s *survival) top() (height uint64) {
	for i := range s.nodes {
		height = max(height, s.status(i).Height)
	}
	return height
}

// copyOfChain is what a node holds, from height 1 on.
type copyOfChain struct {
	hashes []abi.Hash
	done   map[abi.Hash][]uint64 // heights at which a transaction changed something
}

// read reads a node's blocks once it has them all.
func (s *survival) read(i int, height uint64) (*copyOfChain, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), goOnWithin)
	defer cancel()
	n := &s.nodes[i]
	cl, err := dialHome(ctx, home(n.Home), n.Quic, operatorKeyFile)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if err := s.reach(ctx, cl, height); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	return readChain(ctx, cl, height)
}

func readChain(ctx context.Context, cl *client.Client, height uint64) (*copyOfChain, error) {
	c := &copyOfChain{done: map[abi.Hash][]uint64{}}
	for h := uint64(1); h <= height; h++ {
		b, err := cl.Block(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", h, err)
		}
		c.hashes = append(c.hashes, b.Block.Header.Hash())
		for _, o := range b.Outcomes {
			if o.Code == abi.OK {
				c.done[o.ID] = append(c.done[o.ID], h)
			}
		}
	}
	return c, nil
}
