package consensus

import (
	"fmt"
	"testing"
	"time"
)

// Five seconds after its leader's death the chain goes on, also if one of the
// three that are left is behind at that moment: it missed some blocks, or has
// just started and could reach nobody.
func TestSimulationLeaderDiesOneLags(t *testing.T) {
	for behind := 1; behind < 4; behind++ {
		for lag := range 4 {
			for _, anew := range []bool{false, true} {
				t.Run(fmt.Sprintf("validator=%d/blocks=%d/restarted=%v", behind+1, lag, anew), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						s := newSimulation(t, 4, *firstSeed)
						s.decided(s.nodes[1], 5*time.Second)
						elapse(time.Second)
						s.lose(s.nodes[behind], lag, anew)
						s.endLeader(s.nodes[0])
						s.goesOn(s.nodes[1])
						s.nodes[0].start()
						s.settle(5 * time.Second)
					})
				})
			}
		}
	}
}

// The same when views have changed before, and the one that was away starts
// again some time before its leader's death, or after.
func TestSimulationLeaderDiesOneStarts(t *testing.T) {
	forSeeds(t, 4, 1, func(s *simulation) {
		s.run(time.Second, 100*time.Millisecond)
		for range 3 {
			leader := s.leader()
			late := s.nodes[(int(leader.id)+s.rng.IntN(3))%4]
			s.lose(late, s.rng.IntN(4), true)
			if s.rng.IntN(2) == 0 {
				s.links.heal()
				elapse(time.Duration(s.rng.IntN(2000)) * time.Millisecond)
			}
			s.endLeader(leader)
			if s.rng.IntN(2) == 0 {
				if err := late.stop(); err != nil {
					t.Error(err)
				}
				elapse(time.Duration(s.rng.IntN(4000)) * time.Millisecond)
				late.start()
				<-late.alive().engine.Ready()
			}
			s.goesOn(s.nodes[leader.id%4])
			leader.start()
			s.settle(5 * time.Second)
		}
	})
}

// lose cuts a validator off while the others decide some blocks. If it is to
// start anew it does so before it can reach anybody.
func (s *simulation) lose(v *validator, blocks int, anew bool) {
	side := make([]int, len(s.nodes))
	side[v.id-1] = 1
	s.links.split(side, false)
	if anew {
		if err := v.stop(); err != nil {
			s.t.Fatal(err)
		}
	}
	for range blocks {
		s.decided(s.nodes[v.id%4], 5*time.Second)
	}
	elapse(10 * time.Millisecond) // the other two have the last one as well
	if anew {
		v.start()
		<-v.alive().engine.Ready()
	}
}

// endLeader stops the leader when the links become whole again.
func (s *simulation) endLeader(leader *validator) {
	if err := leader.stop(); err != nil {
		s.t.Error(err)
	}
	s.links.heal()
}

// goesOn requires a block of those who are left.
func (s *simulation) goesOn(at *validator) {
	s.t.Helper()
	s.t.Logf("without its leader: %v", s.decided(at, 5*time.Second))
}
