package blocksync

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// catchUp lets a node at a height sync from peers that connect adds, and says
// what came of it and how long it took.
func catchUp(t *testing.T, h *history, height int, connect func(n *network)) (l *ledger, n *network, took time.Duration, err error) {
	l, n = newLedger(t, h, height), newNetwork("self")
	connect(n)
	defer n.stop()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	err = syncer(t, n, l).Sync(ctx)
	return l, n, time.Since(begun), err
}

func TestSync(t *testing.T) {
	small := build(3000, 10, nil)
	large := build(60, 200<<10, nil)
	changing := build(400, 10, map[uint64][]seat{
		3: seats(2, 3, 4, 5), 4: seats(2, 3, 4), 200: seats(9), 201: seats(9, 10, 11, 12, 13, 14, 15), 399: seats(9, 10, 11, 12)})
	for name, c := range map[string]struct {
		h     *history
		from  int
		peers []int // the heights of honest peers
	}{
		"from the genesis":          {small, 0, []int{3000}},
		"from several":              {small, 100, []int{3000, 3000, 3000}},
		"peers of other heights":    {small, 100, []int{50, 100, 1000, 1003, 2999, 3000}},
		"one block":                 {small, 2999, []int{3000}},
		"level already":             {small, 3000, []int{3000, 2999}},
		"large blocks":              {large, 0, []int{60, 60}},
		"validators change":         {changing, 0, []int{400}},
		"and from several at once":  {changing, 2, []int{400, 400, 400}},
		"the change is the newest":  {changing, 0, []int{201, 201}},
		"the change is our newest":  {changing, 200, []int{400}},
		"nobody has more than this": {small, 20, []int{0, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := c.from
				l, n, took, err := catchUp(t, c.h, c.from, func(n *network) {
					for i, height := range c.peers {
						n.connect(string(rune('a'+i)), peer.Validator, honest(t, newLedger(t, c.h, height)))
						want = max(want, height)
					}
				})
				if err != nil || l.height() != uint64(want) {
					t.Fatalf("at height %d of %d: %v", l.height(), want, err)
				}
				if len(n.banned) > 0 {
					t.Errorf("honest peers were reported: %v", n.banned)
				}
				if took > settleAfter+tick {
					t.Errorf("took %v of waiting", took)
				}
			})
		})
	}
}

func TestSyncWithoutPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(3, 10, nil)
		_, _, took, err := catchUp(t, h, 1, func(*network) {})
		if !errors.Is(err, ErrNoPeers) || took > aloneAfter+2*tick {
			t.Fatalf("%v after %v", err, took)
		}
		l, n := newLedger(t, h, 1), newNetwork("self")
		time.AfterFunc(time.Second, func() { n.connect("late", peer.Node, honest(t, newLedger(t, h, 3))) })
		if err := syncer(t, n, l).Sync(t.Context()); err != nil || l.height() != 3 {
			t.Fatalf("a peer that comes a second later: height %d, %v", l.height(), err)
		}
		n.stop()
	})
}

// TestSyncWaitsOnceForTheDead: a peer that lost its power counts as connected for
// seconds. A validator that lags behind a busy chain must not wait for it at
// each of its syncs: it would never come level.
func TestSyncWaitsOnceForTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(100, 10, nil)
		l, n, source := newLedger(t, h, 0), newNetwork("self"), newLedger(t, h, 10)
		for _, name := range []string{"a", "b"} {
			n.connect(name, peer.Validator, honest(t, source))
		}
		answers := make(chan struct{})
		n.connect("dead", peer.Validator, func(ctx context.Context, from peer.Key, q []byte, st peer.Stream) error {
			select {
			case <-answers:
				return honest(t, source)(ctx, from, q, st)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		s := syncer(t, n, l)
		took := func() time.Duration {
			source.grow(h, 10)
			begun := time.Now()
			if err := s.Sync(t.Context()); err != nil || l.height() != source.height() {
				t.Fatalf("height %d of %d: %v", l.height(), source.height(), err)
			}
			return time.Since(begun)
		}
		if first, second := took(), took(); first > lateAfter+2*tick || second > 0 {
			t.Errorf("the first sync took %v, the next one %v", first, second)
		}
		close(answers)
		took()
		if took(); len(s.silent) > 0 {
			t.Error("it is not waited for again when it answers")
		}
		n.stop()
	})
}

func TestSyncOfTheOnlyValidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(3, 10, map[uint64][]seat{1: seats(1)})
		_, _, took, err := catchUp(t, h, 2, func(*network) {})
		if err != nil || took > lateAfter+2*tick {
			t.Errorf("nobody there: %v after %v", err, took)
		}
		l, _, _, err := catchUp(t, h, 2, func(n *network) { n.connect("follower", peer.Node, honest(t, newLedger(t, h, 3))) })
		if err != nil || l.height() != 3 {
			t.Errorf("a follower has more, as after a restored backup: height %d, %v", l.height(), err)
		}
	})
}

func TestSyncIsAsFastAsTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(2000, 400, nil)
		l, n := newLedger(t, h, 0), newNetwork("self")
		l.cost = 5 * time.Millisecond
		for _, name := range []string{"a", "b", "c"} {
			serve := honest(t, newLedger(t, h, 2000))
			n.connect(name, peer.Validator, func(ctx context.Context, from peer.Key, q []byte, st peer.Stream) error {
				elapse(100 * time.Millisecond) // a round trip
				return serve(ctx, from, q, st)
			})
		}
		begun := time.Now()
		if err := syncer(t, n, l).Sync(t.Context()); err != nil || l.height() != 2000 {
			t.Fatalf("height %d: %v", l.height(), err)
		}
		if took, alone := time.Since(begun), 2000*l.cost; took > alone+time.Second {
			t.Errorf("took %v, the ledger alone %v", took, alone)
		}
		n.stop()
	})
}

func TestPrunedPeers(t *testing.T) {
	h := build(100, 10, nil)
	pruned := func(base uint64) server {
		l := newLedger(t, h, 100)
		l.prune(base)
		return honest(t, l)
	}
	synctest.Test(t, func(t *testing.T) {
		l, _, _, err := catchUp(t, h, 20, func(n *network) {
			n.connect("a", peer.Validator, pruned(60))
			n.connect("b", peer.Validator, pruned(22))
		})
		if !errors.Is(err, ErrPruned) || l.height() != 20 {
			t.Fatalf("nobody keeps block 21: height %d, %v", l.height(), err)
		}
		l, n, _, err := catchUp(t, h, 20, func(n *network) {
			n.connect("a", peer.Validator, pruned(60))
			time.AfterFunc(prunedAfter/2, func() { n.connect("b", peer.Validator, pruned(21)) })
		})
		if err != nil || l.height() != 100 || len(n.banned) > 0 {
			t.Fatalf("one keeps block 21: height %d, %v, reported %v", l.height(), err, n.banned)
		}
	})
}

func TestTheLedgersErrorIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(20, 10, nil)
		l, n := newLedger(t, h, 0), newNetwork("self")
		l.refuse = abi.CodeInternal
		n.connect("a", peer.Validator, honest(t, newLedger(t, h, 20)))
		s := syncer(t, n, l)
		if err := s.Sync(t.Context()); !errors.Is(err, ErrLedger) || !errors.Is(err, abi.CodeInternal) {
			t.Errorf("Sync: %v", err)
		}
		if err := s.Follow(t.Context()); !errors.Is(err, ErrLedger) {
			t.Errorf("Follow: %v", err)
		}
		if len(n.banned) > 0 {
			t.Errorf("the peer was blamed: %v", n.banned)
		}
		n.stop()
	})
}
