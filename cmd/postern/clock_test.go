package main

import (
	"testing"

	"github.com/seed79541315/postern/abi"
)

// TestUntrustedClock: a lone validator that does not know the time says so
// instead of letting transactions wait for blocks that never come.
func TestUntrustedClock(t *testing.T) {
	n := newTestNode(t, nil)
	good := service{n.node}
	if err := good.Ready(); err != nil {
		t.Fatalf("with a trusted clock: %v", err)
	}
	lost := *n.node
	lost.clock = func() (int64, bool) { return 1, false }
	s := service{&lost}
	if err := s.Ready(); err != abi.CodeNotReady {
		t.Errorf("ready: %v, want %v", err, abi.CodeNotReady)
	}
	if _, err := s.Submit(t.Context(), nil, true); err != abi.CodeClockUntrusted {
		t.Errorf("submit: %v, want %v", err, abi.CodeClockUntrusted)
	}
}

// TestClockOf: the operator's word is always believed, the kernel's asked.
func TestClockOf(t *testing.T) {
	if ms, trusted := clockOf("trusted")(); !trusted || ms < 1_700_000_000_000 {
		t.Errorf("trusted clock: %d %v", ms, trusted)
	}
	_, trusted := clockOf("auto")()
	if want := kernelTrusts() == 1; trusted != want {
		t.Errorf("the kernel's clock: %v, want %v", trusted, want)
	}
}
