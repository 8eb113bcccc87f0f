package blocksync

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/net/peer"
)

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(200, 10, map[uint64][]seat{150: seats(5, 6, 7, 8), 151: seats(9)})
		n, source := newNetwork("self"), newLedger(t, h, 100)
		defer n.stop()
		n.connect("a", peer.Validator, honest(t, source))
		l := newLedger(t, h, 0)
		defer follow(t, n, l)()
		elapse(time.Second)
		if l.height() != 100 {
			t.Fatalf("at height %d of 100 after a second", l.height())
		}
		for source.height() < 200 {
			source.grow(h, 1)
			synctest.Wait() // no time passes
			if l.height() != source.height() {
				t.Fatalf("at height %d, the source at %d", l.height(), source.height())
			}
			elapse(10 * time.Second)
		}
	})
}

func TestFollowersOfFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(300, 10, nil)
		source := newLedger(t, h, 50)
		before := source
		var chain []*ledger
		for range 5 {
			n, l := newNetwork("self"), newLedger(t, h, 0)
			n.connect("before", peer.Node, honest(t, before))
			defer n.stop()
			defer follow(t, n, l)()
			chain, before = append(chain, l), l
		}
		elapse(10 * time.Second)
		for range 50 {
			source.grow(h, 5)
			synctest.Wait()
			for i, l := range chain {
				if l.height() != source.height() {
					t.Fatalf("follower %d is at height %d of %d", i, l.height(), source.height())
				}
			}
			elapse(time.Second)
		}
	})
}

func TestFollowersThatListenToOneAnotherFindTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(300, 10, nil)
		source, a, b := newLedger(t, h, 50), newLedger(t, h, 0), newLedger(t, h, 0)
		na, nb := newNetwork("a"), newNetwork("b")
		defer na.stop()
		defer nb.stop()
		na.connect("b", peer.Node, honest(t, b)) // the nearest
		na.connect("source", peer.Node, honest(t, source))
		nb.connect("a", peer.Node, honest(t, a))
		defer follow(t, na, a)()
		defer follow(t, nb, b)()
		elapse(20 * time.Second)
		for range 10 {
			source.grow(h, 10)
			elapse(30 * time.Second)
			if a.height() != source.height() || b.height() != source.height() {
				t.Fatalf("at heights %d and %d of %d", a.height(), b.height(), source.height())
			}
		}
	})
}

func TestFollowLeavesAPeer(t *testing.T) {
	h := build(400, 10, nil)
	for name, c := range map[string]struct {
		first  func(t *testing.T, source *ledger) server // nearer than the other, and a validator
		within time.Duration                             // blocks that it lacks come
	}{
		"that is gone": {func(t *testing.T, source *ledger) server { return honest(t, source) }, time.Second},
		"that lags": {func(t *testing.T, source *ledger) server {
			return honest(t, newLedger(t, h, 100))
		}, 3 * lookAround},
		"that hangs": {func(t *testing.T, source *ledger) server {
			return onLive(honest(t, source), func(ctx context.Context, st peer.Stream) error {
				if err := st.Send(appendStanding(nil, standing{1, 100})); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			})
		}, silence + time.Second},
		"that is alive and sends nothing": {func(t *testing.T, source *ledger) server {
			return onLive(honest(t, source), func(ctx context.Context, st peer.Stream) error {
				for {
					if err := st.Send(appendStanding(nil, standing{1, source.height()})); err != nil {
						return err
					}
					elapse(heartbeat)
				}
			})
		}, 4 * heartbeat},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, source := newNetwork("self"), newLedger(t, h, 100)
				defer n.stop()
				n.connect("first", peer.Validator, c.first(t, source))
				n.connect("second", peer.Node, honest(t, source))
				l := newLedger(t, h, 0)
				defer follow(t, n, l)()
				elapse(5 * time.Second)
				if name == "that is gone" {
					n.disconnect(keyOf("first"))
				}
				source.grow(h, 100)
				elapse(c.within)
				if l.height() != 200 {
					t.Errorf("at height %d of 200", l.height())
				}
				if len(n.banned) > 0 {
					t.Errorf("what may be the network's fault was reported: %v", n.banned)
				}
			})
		})
	}
}

// TestFollowLeavesABusyPeerSoon: a peer whose power fails while blocks stream
// in is left within two seconds of the next block, long before its silence
// alone would tell. It led the others, who do nothing until it is deposed.
func TestFollowLeavesABusyPeerSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(400, 10, nil)
		n, source := newNetwork("self"), newLedger(t, h, 100)
		defer n.stop()
		fails := make(chan struct{})
		n.connect("first", peer.Validator, func(ctx context.Context, from peer.Key, raw []byte, st peer.Stream) error {
			return honest(t, source)(ctx, from, raw, mortal{st, ctx, fails})
		})
		n.connect("second", peer.Node, honest(t, source))
		l := newLedger(t, h, 0)
		defer follow(t, n, l)()
		for i := range 150 {
			if i == 80 {
				close(fails)
				elapse(3500 * time.Millisecond)
			}
			source.grow(h, 1)
			elapse(100 * time.Millisecond)
			if missed := source.height() - l.height(); missed > 20 {
				t.Fatalf("%d blocks behind after the peer fell silent", missed)
			}
		}
		if l.height() != source.height() {
			t.Errorf("at height %d of %d", l.height(), source.height())
		}
	})
}

// TestFollowStaysThoughItsOwnLedgerIsSlow: what the peer has sent is not missed.
func TestFollowStaysThoughItsOwnLedgerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(200, 10, nil)
		n, source := newNetwork("self"), newLedger(t, h, 100)
		defer n.stop()
		n.connect("first", peer.Validator, honest(t, source))
		n.connect("second", peer.Validator, honest(t, source))
		l := newLedger(t, h, 100)
		l.cost = 4 * time.Second
		s := syncer(t, n, l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Follow(ctx) }()
		elapse(time.Second)
		for range 20 {
			source.grow(h, 1)
			elapse(5 * time.Second)
		}
		if s.conduct.failures(keyOf("first"))+s.conduct.failures(keyOf("second")) > 0 || l.height() != source.height() {
			t.Errorf("a peer was left; at height %d of %d", l.height(), source.height())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// mortal is a stream of a peer that falls silent.
type mortal struct {
	peer.Stream
	ctx   context.Context
	fails <-chan struct{}
}

func (m mortal) Send(frame []byte) error {
	select {
	case <-m.fails:
		<-m.ctx.Done()
		return m.ctx.Err()
	default:
		return m.Stream.Send(frame)
	}
}

// onLive answers live requests in another way.
func onLive(serve server, live func(ctx context.Context, st peer.Stream) error) server {
	return func(ctx context.Context, from peer.Key, raw []byte, st peer.Stream) error {
		if q, err := parseRequest(raw); err == nil && q.kind == kindLive {
			return live(ctx, st)
		}
		return serve(ctx, from, raw, st)
	}
}

func TestSignedHeadsTellOfWhatAPeerKeepsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(200, 10, nil)
		n, source := newNetwork("self"), newLedger(t, h, 100)
		defer n.stop()
		held := newLedger(t, h, 100) // where the only peer in reach says that it is
		n.connect("first", peer.Validator, honest(t, held))
		l := newLedger(t, h, 0)
		s := syncer(t, n, l)
		s.cfg.Behind = func() (uint64, bool) { return source.height(), source.height() > l.height() }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Follow(ctx) }()
		elapse(5 * time.Second)
		source.grow(h, 100)
		elapse(3 * lookAround)
		if !s.conduct.resting(keyOf("first")) && s.conduct.patience(keyOf("first")) == patience {
			t.Error("the peer is still listened to as if nothing were")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFollowWhenAllHavePruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(100, 10, nil)
		n, source := newNetwork("self"), newLedger(t, h, 100)
		defer n.stop()
		source.prune(50)
		n.connect("a", peer.Validator, honest(t, source))
		l := newLedger(t, h, 20)
		s := syncer(t, n, l)
		done := make(chan error, 1)
		begun := time.Now()
		go func() { done <- s.Follow(t.Context()) }()
		elapse(30 * time.Second)
		if p := s.Progress(); !p.Pruned && !p.CatchUp {
			t.Errorf("progress: %+v", p)
		}
		if err := <-done; !errors.Is(err, ErrPruned) || time.Since(begun) < prunedFor || time.Since(begun) > 2*prunedFor {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(5000, 10, nil)
		n, source := newNetwork("self"), newLedger(t, h, 5000)
		defer n.stop()
		n.connect("a", peer.Validator, honest(t, source))
		l := newLedger(t, h, 0)
		l.cost = 10 * time.Millisecond
		s := syncer(t, n, l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Follow(ctx) }()
		elapse(20 * time.Second)
		p := s.Progress()
		if !p.CatchUp || p.Target != 5000 || p.Peers != 1 || p.Height < 1900 || p.Height > 2000 || p.Rate < 99 || p.Rate > 101 || p.Waiting == 0 || p.Fetched != p.Height {
			t.Errorf("while catching up: %+v", p)
		}
		elapse(time.Minute)
		if p := s.Progress(); p.CatchUp || !p.Live || p.Height != 5000 || p.Target != 5000 || p.Rate != 0 || p.Waiting != 0 {
			t.Errorf("level: %+v", p)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFollowTheOnlyPeerThoughItStreamsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(200, 10, nil)
		n, source := newNetwork("self"), newLedger(t, h, 100)
		defer n.stop()
		n.connect("only", peer.Validator, onLive(honest(t, source), func(_ context.Context, st peer.Stream) error {
			for {
				if err := st.Send(appendStanding(nil, standing{1, source.height()})); err != nil {
					return err
				}
				elapse(heartbeat)
			}
		}))
		l := newLedger(t, h, 0)
		defer follow(t, n, l)()
		elapse(5 * time.Second)
		source.grow(h, 100)
		elapse(4 * heartbeat)
		if l.height() != 200 {
			t.Errorf("at height %d of 200", l.height())
		}
	})
}
