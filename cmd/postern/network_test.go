package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestNetwork: four validators and a follower agree over QUIC; the network
// goes on when one of them stops, and who comes back catches up.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
