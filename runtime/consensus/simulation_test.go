package consensus

import (
	"flag"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi/chain"
)

// The simulations run validators with the real ledger and storage over a
// network and disks that fail, in virtual time. A seed decides which faults
// happen when; a failing one is printed and can be run again:
//
//	go test ./runtime/consensus -run Simulation -seeds 1 -seed 42 -v
var (
	seeds     = flag.Int("seeds", 3, "how many seeds a simulation runs; from 10 on crashes are tried at every step")
	firstSeed = flag.Uint64("seed", 1, "the first of them")
)

// forSeeds runs a simulation for each seed, or for one in so many.
func forSeeds(t *testing.T, nodes, in int, run func(s *simulation)) {
	for i := range uint64(max(1, *seeds/in)) {
		seed := *firstSeed + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { run(newSimulation(t, nodes, seed)) })
		})
	}
}

// bubble runs f in virtual time. The database keeps channels in pools of the
// process, and a channel of one bubble must not be used in the next: two
// collections empty them.
func bubble(t *testing.T, f func(t *testing.T)) {
	runtime.GC()
	runtime.GC()
	synctest.Test(t, f)
}

// Whatever happens to them, nodes never hold different blocks at a height, no
// transaction is lost or counts twice, and half a minute after the end of all
// faults there is progress.
func TestSimulation(t *testing.T) {
	forSeeds(t, 4, 1, func(s *simulation) {
		s.run(time.Second, 100*time.Millisecond)
		s.disasters(20)
		s.settle(30 * time.Second)
	})
}

// In the middle of it all the validators agree on a new protocol version, and
// nobody is left behind.
func TestSimulationUpgrade(t *testing.T) {
	for i := range uint64(max(1, *seeds/3)) {
		seed := *firstSeed + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				params := chain.DefaultParams()
				params.Protocol = chain.Protocol - 1
				upgrade(newSimulationOf(t, 4, seed, params), params)
			})
		})
	}
}

func upgrade(s *simulation, params chain.Params) {
	s.run(time.Second, 100*time.Millisecond)
	params.Protocol = chain.Protocol
	proposal := chain.Propose{Kind: chain.ProposeParams, Args: params.Append(nil), Reason: "a new version"}
	s.decide(1, chain.OpPropose, proposal.Append(nil))
	for id := uint64(2); id <= 3; id++ {
		s.disasters(5)
		s.decide(id, chain.OpApprove, (&chain.Vote{Proposal: 1}).Append(nil))
	}
	s.disasters(5)
	s.settle(30 * time.Second)
	for _, v := range s.nodes {
		if got := v.alive().ledger.Head().Protocol; got != chain.Protocol {
			s.t.Errorf("validator %d ends with protocol version %d", v.id, got)
		}
	}
}

// decide waits until what a validator decides is in a block, at most a minute
// while others send as well, of which ten seconds in spite of what is wrong.
func (s *simulation) decide(by uint64, op chain.Op, args []byte) {
	s.t.Helper()
	c := s.clientOf(0, newKey(by), op, args)
	for begin := time.Now(); s.height(c.id) == 0; {
		if time.Since(begin) > time.Minute {
			s.report()
			s.t.Fatalf("what validator %d decides is in no block after a minute", by)
		}
		if time.Since(begin) > 10*time.Second {
			s.mend()
		}
		s.run(time.Second, 200*time.Millisecond)
	}
}

// Five seconds after its leader's power fails the chain goes on.
func TestSimulationLeaderDies(t *testing.T) {
	forSeeds(t, 4, 2, func(s *simulation) {
		s.run(2*time.Second, 100*time.Millisecond)
		for range 3 {
			dead := s.leader()
			p := dead.alive()
			p.trap.Store(p.steps.Load() + 1 + s.rng.Int64N(30)) // at some step of a block
			for p.dead.Load() == false {
				s.newClient()
				s.send()
				elapse(time.Millisecond)
			}
			if err := dead.stop(); err != nil {
				t.Error(err)
			}
			s.t.Logf("without its leader: %v", s.decided(s.nodes[dead.id%4], 5*time.Second))
			dead.start()
			s.run(3*time.Second, 100*time.Millisecond)
		}
		s.settle(5 * time.Second)
	})
}

// What a validator took while it was cut off is in a block soon after it is
// back, though nobody heard of it, whether it led before or not.
func TestSimulationCutOff(t *testing.T) {
	forSeeds(t, 4, 2, func(s *simulation) {
		for _, of := range []int{0, 2} {
			s.run(2*time.Second, 100*time.Millisecond)
			side := make([]int, 4)
			side[of] = 1
			s.links.split(side, false)
			c := s.newClient()
			c.next = time.Now().Add(time.Hour)
			if _, err := s.nodes[of].alive().engine.Submit(s.t.Context(), c.raw); err != nil {
				s.t.Fatal(err)
			}
			s.run(time.Duration(1000+s.rng.IntN(9000))*time.Millisecond, 100*time.Millisecond)
			s.links.heal()
			begin := time.Now()
			for s.height(c.id) == 0 && time.Since(begin) < time.Minute {
				elapse(10 * time.Millisecond)
			}
			d := time.Since(begin)
			s.t.Logf("validator %d: %v", of+1, d)
			if d > 5*time.Second {
				s.t.Errorf("what validator %d took while it was cut off took %v", of+1, d)
			}
		}
		s.settle(5 * time.Second)
	})
}

// No half of the nodes decides anything; half a minute after they meet again
// there is progress.
func TestSimulationMinority(t *testing.T) {
	forSeeds(t, 4, 1, func(s *simulation) {
		s.run(2*time.Second, 100*time.Millisecond)
		s.links.split([]int{0, 0, 1, 1}, s.rng.IntN(2) == 0)
		elapse(time.Second) // what was decided before is known
		s.mu.Lock()
		before := s.top
		s.mu.Unlock()
		s.run(time.Duration(30+s.rng.IntN(90))*time.Second, 500*time.Millisecond)
		s.mu.Lock()
		after := s.top
		s.mu.Unlock()
		if after != before {
			t.Errorf("%d blocks were decided by halves", after-before)
		}
		s.settle(30 * time.Second)
	})
}

// everyStepFrom is the number of seeds from which on a crash is tried at every
// step, not at every third.
const everyStepFrom = 10

// A validator whose power fails at any step of a few blocks, a leader or not,
// goes on with the others, and signs nothing twice.
func TestSimulationCrashAtEveryStep(t *testing.T) {
	for _, victim := range []int{0, 3} {
		for step, done := int64(1), false; !done; step++ {
			if *seeds < everyStepFrom && step%3 != int64(*firstSeed)%3 {
				continue
			}
			t.Run(fmt.Sprintf("validator=%d/step=%d", victim+1, step), func(t *testing.T) {
				bubble(t, func(t *testing.T) { done = crashAt(newSimulation(t, 4, 1), victim, step) })
			})
		}
	}
}

// crashAt is true if the blocks took fewer steps.
func crashAt(s *simulation, victim int, step int64) (done bool) {
	v := s.nodes[victim]
	for range 2 {
		s.decided(s.nodes[1], 5*time.Second)
	}
	elapse(time.Second)
	p := v.alive()
	p.trap.Store(p.steps.Load() + step)
	for range 3 {
		s.decided(s.nodes[1], 10*time.Second)
		elapse(50 * time.Millisecond)
	}
	done = !p.dead.Load()
	elapse(time.Second)
	s.settle(10 * time.Second)
	return done
}
