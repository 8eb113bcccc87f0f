package blocksync

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/peer"
)

// liar answers requests about blocks with what it likes. Its blocks go out one
// a frame.
type liar struct {
	at     standing
	blocks []stored // by height; nil: none
	pace   time.Duration
	after  func(sent int, st peer.Stream) error // each block; nil: goes on
}

func (l *liar) serve(_ context.Context, _ peer.Key, raw []byte, st peer.Stream) error {
	q, err := parseRequest(raw)
	if err != nil || q.kind > kindLive {
		return abi.CodeNotFound
	}
	if err := st.Send(appendStanding(nil, l.at)); err != nil {
		return err
	}
	for sent := uint64(0); q.kind == kindLive || sent < q.count; sent++ {
		height := q.height + sent
		if height >= uint64(len(l.blocks)) {
			return nil
		}
		elapse(l.pace)
		b := l.blocks[height]
		if err := st.Send(appendBlocks(nil, []pair{{b.block, b.certificate}})); err != nil {
			return err
		}
		if l.after != nil {
			if err := l.after(int(sent)+1, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// spoil changes one block of a history.
func spoil(h *history, height int, change func(b *stored)) []stored {
	blocks := slices.Clone(h.blocks)
	change(&blocks[height])
	return blocks
}

func flipped(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

// lyingServers are peers that send what proves them wrong.
func lyingServers(h *history) map[string]server {
	top := uint64(len(h.blocks) - 1)
	at := standing{1, top}
	lie := func(change func(b *stored)) server {
		return (&liar{at: at, blocks: spoil(h, 50, change)}).serve
	}
	body := func(change func(k *chain.Block)) server {
		return lie(func(b *stored) {
			k, _ := chain.ParseBlock(b.block)
			change(k)
			b.block = chain.AppendBlock(nil, k)
		})
	}
	frames := func(list ...[]byte) server {
		return func(_ context.Context, _ peer.Key, _ []byte, st peer.Stream) error { return sendAll(st, list) }
	}
	foreign := buildOver("foreign", int(top), 10, nil, nil).blocks
	shifted := slices.Concat(h.blocks[:50], h.blocks[51:])
	swapped := slices.Clone(h.blocks)
	swapped[50], swapped[51] = swapped[51], swapped[50]
	own := buildOwnChain(int(top))
	return map[string]server{
		"a height that is not there":    (&liar{at: standing{1, math.MaxUint64 - 1}, blocks: h.blocks}).serve,
		"a height, and no blocks":       (&liar{at: at}).serve,
		"another's transactions":        body(func(k *chain.Block) { k.Txs = [][]byte{[]byte("other")} }),
		"a transaction more":            body(func(k *chain.Block) { k.Txs = append(k.Txs, []byte("more")) }),
		"no transactions":               body(func(k *chain.Block) { k.Txs = nil }),
		"another state root":            body(func(k *chain.Block) { k.Header.State[3] ^= 1 }),
		"another time":                  body(func(k *chain.Block) { k.Header.Time++ }),
		"another parent":                body(func(k *chain.Block) { k.Header.Parent[0] ^= 1 }),
		"another chain's id":            body(func(k *chain.Block) { k.Header.Chain[0] ^= 1 }),
		"another height":                body(func(k *chain.Block) { k.Header.Height = 99 }),
		"a block cut short":             lie(func(b *stored) { b.block = b.block[:len(b.block)-1] }),
		"a block with a tail":           lie(func(b *stored) { b.block = append(slices.Clone(b.block), 0) }),
		"a flipped bit of a block":      lie(func(b *stored) { b.block = flipped(b.block, len(b.block)/2) }),
		"no block":                      lie(func(b *stored) { b.block = nil }),
		"no certificate":                lie(func(b *stored) { b.certificate = nil }),
		"a flipped bit of a signature":  lie(func(b *stored) { b.certificate = flipped(b.certificate, len(b.certificate)-1) }),
		"certified by too few":          lie(func(b *stored) { b.certificate = certify(&b.header, seats(1, 2, 3), 2) }),
		"certified by one many times":   lie(func(b *stored) { b.certificate = certify(&b.header, seats(1, 1, 1), 3) }),
		"certified by strangers":        lie(func(b *stored) { b.certificate = certify(&b.header, seats(7, 8, 9), 3) }),
		"certified for its neighbour":   lie(func(b *stored) { b.certificate = h.blocks[49].certificate }),
		"a chain of its own validators": (&liar{at: at, blocks: own.blocks}).serve,
		"blocks of another chain":       (&liar{at: at, blocks: foreign}).serve,
		"a block left out":              (&liar{at: at, blocks: shifted}).serve,
		"valid blocks in a wrong order": (&liar{at: at, blocks: swapped}).serve,
		"rubbish":                       frames([]byte{1, 2, 3}),
		"an empty frame":                frames([]byte{}),
		"blocks instead of a standing":  frames(appendBlocks(nil, []pair{{h.blocks[1].block, h.blocks[1].certificate}})),
		"a standing instead of blocks":  frames(appendStanding(nil, at), appendStanding(nil, at)),
		"a frame of no blocks":          frames(appendStanding(nil, at), appendBlocks(nil, nil)),
		"a frame that is too large":     frames(appendStanding(nil, at), appendBlocks(nil, slices.Repeat([]pair{{make([]byte, 100<<10), nil}}, 10))),
		"a base above its height":       frames(appendStanding(nil, standing{9, 3})),
		"without end": func(_ context.Context, _ peer.Key, _ []byte, st peer.Stream) error {
			if err := st.Send(appendStanding(nil, at)); err != nil {
				return err
			}
			for {
				if err := st.Send(appendBlocks(nil, []pair{{h.blocks[1].block, h.blocks[1].certificate}})); err != nil {
					return err
				}
			}
		},
	}
}

// buildOwnChain is a chain with the same genesis that other validators sign.
func buildOwnChain(n int) *history {
	h := build(0, 10, nil)
	for range n {
		h.add(seats(5, 6, 7, 8), seats(5, 6, 7, 8), []byte("x"))
	}
	return h
}

func TestSyncDespiteLiars(t *testing.T) {
	h := build(100, 10, nil)
	for name, serve := range lyingServers(h) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, n, _, err := catchUp(t, h, 0, func(n *network) { n.connect("liar", peer.Validator, serve) })
				if err == nil && name != "a height that is not there" {
					t.Errorf("only a liar there: height %d, no error", l.height())
				}
				if n.isBanned("liar") == nil {
					t.Errorf("only a liar there, and it was not reported: %v", err)
				}
				l, n, took, err := catchUp(t, h, 0, func(n *network) {
					n.connect("liar", peer.Validator, serve)
					n.connect("honest", peer.Validator, honest(t, newLedger(t, h, 100)))
				})
				if err != nil || l.height() != 100 {
					t.Fatalf("at height %d: %v", l.height(), err)
				}
				if n.isBanned("honest") != nil {
					t.Errorf("the honest peer was reported: %v", n.isBanned("honest"))
				}
				if took > 10*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestFollowDespiteLiars(t *testing.T) {
	h := build(100, 10, nil)
	for name, serve := range lyingServers(h) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, source := newNetwork("self"), newLedger(t, h, 60)
				defer n.stop()
				live := func(ctx context.Context, from peer.Key, raw []byte, st peer.Stream) error {
					if q, _ := parseRequest(raw); q.kind == kindLive { // lies only here
						return serve(ctx, from, raw, st)
					}
					return honest(t, source)(ctx, from, raw, st)
				}
				n.connect("liar", peer.Validator, live)
				n.connect("honest", peer.Node, honest(t, source))
				l := newLedger(t, h, 40)
				stop := follow(t, n, l)
				defer stop()
				for range 40 {
					elapse(time.Second)
					source.grow(h, 1)
				}
				elapse(30 * time.Second)
				if l.height() != 100 || n.isBanned("honest") != nil {
					t.Errorf("at height %d, honest peer reported: %v", l.height(), n.isBanned("honest"))
				}
			})
		})
	}
}

// follow runs Follow until stop is called.
func follow(t *testing.T, n Peers, l Ledger) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := syncer(t, n, l)
	go func() { done <- s.Follow(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	}
}

func TestSyncDespiteSlowPeers(t *testing.T) {
	h := build(3000, 200, nil)
	at := standing{1, 3000}
	silent := func(ctx context.Context, _ peer.Key, _ []byte, _ peer.Stream) error { <-ctx.Done(); return nil }
	for name, serve := range map[string]server{
		"says nothing at all": silent,
		"says where it stands, then nothing": func(ctx context.Context, from peer.Key, raw []byte, st peer.Stream) error {
			if err := st.Send(appendStanding(nil, at)); err != nil {
				return err
			}
			if q, _ := parseRequest(raw); q.count == 0 {
				return nil
			}
			return silent(ctx, from, raw, st)
		},
		"one block a second":      (&liar{at: at, blocks: h.blocks, pace: time.Second}).serve,
		"one block every 4.9 s":   (&liar{at: at, blocks: h.blocks, pace: 4900 * time.Millisecond}).serve,
		"breaks after ten blocks": (&liar{at: at, blocks: h.blocks, after: func(sent int, _ peer.Stream) error { return breakAfter(sent, 10) }}).serve,
		"refuses":                 func(context.Context, peer.Key, []byte, peer.Stream) error { return abi.CodeBusy },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, n, took, err := catchUp(t, h, 0, func(n *network) {
					n.connect("slow", peer.Validator, serve)
					n.connect("honest", peer.Validator, honest(t, newLedger(t, h, 3000)))
				})
				if err != nil || l.height() != 3000 || took > 8*time.Second {
					t.Errorf("at height %d after %v: %v", l.height(), took, err)
				}
				if len(n.banned) > 0 {
					t.Errorf("what may be the network's fault was reported: %v", n.banned)
				}
				_, _, took, err = catchUp(t, h, 2990, func(n *network) { n.connect("slow", peer.Validator, serve) })
				if took > 2*time.Minute {
					t.Errorf("alone with it: %v after %v", err, took)
				}
			})
		})
	}
}

func breakAfter(sent, most int) error {
	if sent == most {
		return abi.CodeInternal
	}
	return nil
}

func TestAPeerThatDisappears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(2000, 10, nil)
		l, n := newLedger(t, h, 0), newNetwork("self")
		l.cost = time.Millisecond
		n.connect("a", peer.Validator, (&liar{at: standing{1, 2000}, blocks: h.blocks, pace: time.Millisecond}).serve)
		n.connect("b", peer.Validator, (&liar{at: standing{1, 2000}, blocks: h.blocks, pace: time.Millisecond}).serve)
		time.AfterFunc(500*time.Millisecond, func() { n.disconnect(keyOf("a")) })
		if err := syncer(t, n, l).Sync(t.Context()); err != nil || l.height() != 2000 {
			t.Fatalf("at height %d: %v", l.height(), err)
		}
		n.stop()
	})
}

func TestTwoCertifiedChainsAreAFork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, other := build(30, 10, nil), build(30, 11, nil)
		l, n, _, err := catchUp(t, h, 20, func(n *network) {
			n.connect("a", peer.Validator, honest(t, newLedger(t, other, 30)))
		})
		if !errors.Is(err, ErrFork) || l.height() != 20 || len(n.banned) > 0 {
			t.Errorf("at height %d: %v, reported %v", l.height(), err, n.banned)
		}
	})
}

func TestFormerValidatorsCertifyNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Both chains agree up to 10, where the validators change. Those who
		// left go on as if they had not.
		changes := map[uint64][]seat{10: seats(5, 6, 7, 8)}
		h, fork := build(30, 10, changes), build(10, 10, changes)
		for range 20 {
			fork.add(seats(1, 2, 3, 4), seats(1, 2, 3, 4), []byte("x"))
		}
		for _, from := range []int{0, 9, 10} {
			l, n, _, err := catchUp(t, h, from, func(n *network) {
				n.connect("former", peer.Validator, honest(t, newLedger(t, fork, 30)))
				n.connect("honest", peer.Validator, honest(t, newLedger(t, h, 30)))
			})
			if err != nil || l.height() != 30 || n.isBanned("honest") != nil {
				t.Errorf("from %d: at height %d: %v, reported %v", from, l.height(), err, n.banned)
			}
			_, n, _, _ = catchUp(t, h, from, func(n *network) { n.connect("former", peer.Validator, honest(t, newLedger(t, fork, 30))) })
			if n.isBanned("former") == nil {
				t.Errorf("from %d: blocks of former validators were not reported", from)
			}
		}
	})
}
