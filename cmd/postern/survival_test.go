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
	"golang.org/x/time/rate"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
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
	feedWithin = 5 * time.Second // a transaction that is lost on its way is given up after this
)

const (
	loadPause      = 20 * time.Millisecond // between two transactions of a node's client
	mostUnderFault = 100                   // transactions that one of the other nodes acknowledges before the heal
	joinEvery      = 5                     // in one of so many rounds a follower joins, while the fault lasts
	joinBlocks     = 256                   // between two snapshots, by which it does so
	readRate       = 500                   // blocks a second that the test asks a node for, which answers twice as often at most
)

// TestSurvival runs four validators and a follower as processes, has all of
// them take transactions, and kills, hangs and cuts off nodes meanwhile. After
// each round all nodes must hold the same blocks. No transaction that was
// acknowledged may be lost, and none may be applied twice. With -artifacts the
// homes stay.
func TestSurvival(t *testing.T) {
	s := startSurvival(t)
	rng := rand.New(rand.NewPCG(*survivalSeed, 0))
	for round := range *survivalRounds {
		s.round(rng, round)
	}
	s.stopLoad()
	s.agree(0)
	s.settle()
}

// survival is a network under load.
type survival struct {
	*fleet
	acks     chan ack
	load     *errgroup.Group
	stopLoad func()

	// Owned by the test's goroutine.
	known             []ack
	acked             uint64 // height of the newest of them
	chain             copyOfChain
	inFault, inHealed time.Duration // the longest that any node took nothing
}

// ack is a transaction that a node said is in a block.
type ack struct {
	node   int
	id     abi.Hash
	height uint64
}

func startSurvival(t *testing.T) *survival {
	t.Helper()
	dir := t.ArtifactDir()
	newFleetGenesis(t, dir, 1, func(p *chain.Params) { p.SnapshotBlocks = joinBlocks })
	s := &survival{fleet: startFleet(t, dir), acks: make(chan ack), chain: copyOfChain{done: map[abi.Hash][]uint64{}}}
	s.startLoad()
	return s
}

// round makes a fault, sees the others go on, heals it, and sees all go on.
func (s *survival) round(rng *rand.Rand, round int) {
	s.t.Helper()
	fault, nodes := s.chooseFault(rng, round)
	s.t.Logf("round %d: %s %v", round, fault, nodes)
	s.order(fault, nodes...)
	hasJoined := func() {}
	if len(nodes) < len(s.nodes) {
		took := s.await(slices.DeleteFunc(s.all(), func(i int) bool { return slices.Contains(nodes, memberName(i)) }), 2)
		s.inFault = max(s.inFault, took)
		if round%joinEvery == 0 {
			hasJoined = s.join(s.other(nodes))
		}
		s.await([]int{s.other(nodes)}, rng.IntN(mostUnderFault))
	}
	s.order("heal")
	s.inHealed = max(s.inHealed, s.await(s.all(), 2))
	hasJoined()
	s.agree(round % len(s.nodes))
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
		wait(ctx, loadPause)
	}
}

// await waits until each of some nodes has acknowledged so many transactions
// more, the first of which may have been under way, and tells how long it took.
func (s *survival) await(nodes []int, count int) time.Duration {
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
			s.known, s.acked = append(s.known, a), max(s.acked, a.height)
			if missing[a.node]--; missing[a.node] <= 0 {
				delete(missing, a.node)
			}
		case <-late.C:
			s.t.Fatalf("after %s no word from %v of %v", goOnWithin, missing, nodes)
		}
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	s.t.Logf("%v took %d more each within %s", nodes, count, took)
	return took
}

// copyOfChain is what the test has read of a chain, from height 1 on.
type copyOfChain struct {
	hashes []abi.Hash
	done   map[abi.Hash][]uint64 // heights at which a transaction changed something
}

// agree reads on from where one node was read before, and requires that all
// have the newest of these blocks, which names those before it.
func (s *survival) agree(from int) {
	s.t.Helper()
	if err := s.read(from); err != nil {
		s.t.Fatalf("reading %s: %v", s.nodes[from].Name, err)
	}
	height := uint64(len(s.chain.hashes))
	want := s.chain.hashes[height-1]
	var asking errgroup.Group
	for i, n := range s.nodes {
		asking.Go(func() error {
			got, err := s.hashAt(i, height)
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
			if got != want {
				return fmt.Errorf("at height %d %s has block %x, %s %x", height, s.nodes[from].Name, want, n.Name, got)
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// read reads the blocks of a node that none was asked for before, up to the
// newest in which something is that was acknowledged.
func (s *survival) read(i int) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), goOnWithin)
	defer cancel()
	cl, err := s.dial(ctx, i)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := s.reach(ctx, cl, s.acked); err != nil {
		return err
	}
	pace := rate.NewLimiter(readRate, 1)
	for h := uint64(len(s.chain.hashes)) + 1; h <= s.acked; h++ {
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		b, err := cl.Block(ctx, h)
		if err != nil {
			return fmt.Errorf("block %d: %w", h, err)
		}
		if err := s.chain.add(b); err != nil {
			return err
		}
	}
	return nil
}

// add takes the next block.
func (c *copyOfChain) add(b *client.BlockRecord) error {
	h := b.Block.Header.Height
	if n := len(c.hashes); n > 0 && b.Block.Header.Parent != c.hashes[n-1] {
		return fmt.Errorf("block %d follows block %x, and another node holds %x before it", h, b.Block.Header.Parent, c.hashes[n-1])
	}
	c.hashes = append(c.hashes, b.Block.Header.Hash())
	for _, o := range b.Outcomes {
		if o.Code == abi.OK {
			c.done[o.ID] = append(c.done[o.ID], h)
		}
	}
	return nil
}

// hashAt names a node's block once it has it.
func (s *survival) hashAt(i int, height uint64) (abi.Hash, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), goOnWithin)
	defer cancel()
	cl, err := s.dial(ctx, i)
	if err != nil {
		return abi.Hash{}, err
	}
	defer cl.Close()
	if err := s.reach(ctx, cl, height); err != nil {
		return abi.Hash{}, err
	}
	b, err := cl.Block(ctx, height)
	if err != nil {
		return abi.Hash{}, fmt.Errorf("block %d: %w", height, err)
	}
	return b.Block.Header.Hash(), nil
}

// settle looks for what was acknowledged in the chain that all nodes hold.
func (s *survival) settle() {
	s.t.Helper()
	for _, a := range s.known {
		if at := s.chain.done[a.id]; !slices.Equal(at, []uint64{a.height}) {
			s.t.Errorf("transaction %x was acknowledged by n%d at height %d and is at %v", a.id, a.node+1, a.height, at)
		}
	}
	for id, at := range s.chain.done {
		if len(at) > 1 {
			s.t.Errorf("transaction %x was applied at heights %v", id, at)
		}
	}
	s.t.Logf("%d blocks, %d transactions acknowledged of %d applied; a node took nothing for %s at most with a fault, for %s after a heal",
		len(s.chain.hashes), len(s.known), len(s.chain.done), s.inFault, s.inHealed)
}
