//go:build !race

package main

import (
	"fmt"
	"testing"
)

// TestCampaign has four validators, two followers and one that joins late
// live through rounds of random faults, while the protocol changes and
// validators are added, rotated, replaced and removed.
//
// It takes place in real time: SmartBFT holds a mutex while it waits for a sync,
// or for a change of the set, and while another of its goroutines wants that
// mutex, virtual time stands still for ever. The seed decides which faults come
// when; goroutines run in any order, so a seed that failed may need a few runs
// to fail again. It runs without the race detector, which finds a race within
// SmartBFT v1.0.1: Pool.ChangeOptions, called when the set changes, writes what
// Pool.onRequestTO reads when a request's timer fires.
//
//	go test ./cmd/postern -run Campaign -sim-seed 42 -sim-rounds 12 -v
//	go test ./cmd/postern -run Campaign -sim-seeds 200 -sim-rounds 12 -timeout 24h   # the long run
func TestCampaign(t *testing.T) {
	for i := range uint64(*simSeeds) {
		seed := *simSeed + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { playCampaign(t, seed) })
	}
}
