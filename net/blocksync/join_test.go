package blocksync

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/peer"
)

// joinWorld is a chain with snapshots at two heights.
type joinWorld struct {
	h          *history
	old, new   *state
	guards     [][]byte
	oldM, newM []byte
}

const (
	oldHeight = 20
	newHeight = 40
)

func newJoinWorld(keys int) *joinWorld {
	w := &joinWorld{old: newState(keys/2, 20), new: newState(keys, 20), guards: guardPages(23)}
	w.h = buildOver("test", newHeight+5, 10, map[uint64][]seat{10: seats(3, 4, 5, 6), newHeight: seats(4, 5, 6, 7)},
		map[uint64]abi.Hash{oldHeight: w.old.root(), newHeight: w.new.root()})
	w.oldM, w.newM = manifestAt(w.h, oldHeight, w.old), manifestAt(w.h, newHeight, w.new)
	return w
}

// source has both snapshots and offers the newer one.
func (w *joinWorld) source(most int) *snapshots {
	return &snapshots{most: most, manifest: w.newM, guards: w.guards, states: map[uint64]*state{oldHeight: w.old, newHeight: w.new}}
}

// stale has only the older one.
func (w *joinWorld) stale() *snapshots {
	return &snapshots{manifest: w.oldM, guards: w.guards, states: map[uint64]*state{oldHeight: w.old}}
}

// serving is a peer that has snapshots.
func serveFrom(t testing.TB, source SnapshotSource) server {
	s := syncer(t, newNetwork("nobody"), newLedger(t, build(1, 1, nil), 1))
	s.cfg.Snapshots = source
	return s.Serve
}

func (w *joinWorld) join(t testing.TB, n *network, k *sink) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	return Join(ctx, JoinConfig{Peers: n, Genesis: genesisOf(w.h), Sink: k, Logger: quiet})
}

// mustJoin requires that the sink gets the whole snapshot.
func (w *joinWorld) mustJoin(t testing.TB, n *network, k *sink) {
	t.Helper()
	if err := w.join(t, n, k); err != nil || !k.finished {
		t.Fatalf("finished %v: %v", k.finished, err)
	}
}

// onJoin runs a test of a node that joins a chain with so many keys, in virtual
// time.
func onJoin(t *testing.T, keys int, test func(t *testing.T, w *joinWorld, n *network, k *sink)) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newJoinWorld(keys), newNetwork("self")
		defer n.stop()
		test(t, w, n, newSink(t, w.new, w.guards))
	})
}

// wantLiarBanned finds that the peer called liar was reported, and honest was not.
func wantLiarBanned(t testing.TB, n *network) {
	t.Helper()
	if n.isBanned("liar") == nil || n.isBanned("honest") != nil {
		t.Errorf("reported: %v", n.banned)
	}
}

func TestJoin(t *testing.T) {
	for _, keys := range []int{0, 1, 2, 50, 5000} {
		for _, most := range []int{0, 700, 20000} {
			onJoin(t, keys, func(t *testing.T, w *joinWorld, n *network, k *sink) {
				for _, name := range []string{"a", "b", "c"} {
					n.connect(name, peer.Stranger, serveFrom(t, w.source(most)))
				}
				n.connect("older", peer.Stranger, serveFrom(t, w.stale()))
				if err := w.join(t, n, k); err != nil || !k.finished || k.manifest.Header.Height != newHeight {
					t.Fatalf("%d keys in chunks of %d bytes: %v", keys, most, err)
				}
				if len(n.banned) > 0 {
					t.Errorf("honest peers were reported: %v", n.banned)
				}
			})
		}
	}
}

func TestJoinWithoutSnapshots(t *testing.T) {
	onJoin(t, 5, func(t *testing.T, w *joinWorld, n *network, _ *sink) {
		if err := w.join(t, n, newSink(t, w.new, nil)); !errors.Is(err, ErrNoPeers) {
			t.Errorf("nobody there: %v", err)
		}
		n.connect("a", peer.Validator, honest(t, newLedger(t, w.h, 3)))
		n.connect("b", peer.Validator, serveFrom(t, &snapshots{}))
		if err := w.join(t, n, newSink(t, w.new, nil)); !errors.Is(err, ErrNoSnapshot) {
			t.Errorf("nobody has one: %v", err)
		}
		n.connect("c", peer.Validator, serveFrom(t, w.stale()))
		err := Join(t.Context(), JoinConfig{Peers: n, Genesis: genesisOf(w.h), Sink: newSink(t, w.old, nil), Above: oldHeight, Logger: quiet})
		if !errors.Is(err, ErrNoSnapshot) || len(n.banned) > 0 {
			t.Errorf("none above what is there: %v, reported %v", err, n.banned)
		}
	})
}

// forged is a source that lies in one way.
type forged struct {
	*snapshots
	manifest func() []byte
	chunk    func(raw []byte, prefix uint64, depth uint8) ([]byte, error)
	pages    func(pages [][]byte) [][]byte
}

func (f *forged) Manifest() ([]byte, bool) {
	if f.manifest != nil {
		return f.manifest(), true
	}
	return f.snapshots.Manifest()
}

func (f *forged) Chunk(height, prefix uint64, depth uint8) ([]byte, error) {
	raw, err := f.snapshots.Chunk(height, prefix, depth)
	if err == nil && f.chunk != nil {
		return f.chunk(raw, prefix, depth)
	}
	return raw, err
}

func (f *forged) Guards(height uint64, after []byte) (page, next []byte, err error) {
	honest := f.snapshots
	if f.pages != nil {
		honest = &snapshots{states: honest.states, guards: f.pages(honest.guards)}
	}
	return honest.Guards(height, after)
}

func TestJoinDespiteLiars(t *testing.T) {
	respell := func(change func(m *Manifest)) func(w *joinWorld) *forged {
		return func(w *joinWorld) *forged {
			return &forged{snapshots: w.source(0), manifest: func() []byte {
				m, _ := ParseManifest(w.newM)
				change(m)
				return m.Append(nil)
			}}
		}
	}
	rechunk := func(change func(w *joinWorld, c *proof.Chunk)) func(w *joinWorld) *forged {
		return func(w *joinWorld) *forged {
			return &forged{snapshots: w.source(0), chunk: func(raw []byte, _ uint64, _ uint8) ([]byte, error) {
				c, _ := proof.ParseChunk(raw)
				change(w, &c)
				return c.Append(nil), nil
			}}
		}
	}
	repage := func(change func(pages [][]byte) [][]byte) func(w *joinWorld) *forged {
		return func(w *joinWorld) *forged { return &forged{snapshots: w.source(0), pages: change} }
	}
	for name, liar := range map[string]func(w *joinWorld) *forged{
		"certified by too few": respell(func(m *Manifest) { m.Certificate = certify(&m.Header, seats(3, 4, 5, 6), 2) }),
		"no steps":             respell(func(m *Manifest) { m.Steps = nil }),
		"a value changed":      rechunk(func(_ *joinWorld, c *proof.Chunk) { c.Entries[0].Value = []byte("x") }),
		"an entry left out":    rechunk(func(_ *joinWorld, c *proof.Chunk) { c.Entries = c.Entries[1:] }),
		"an entry twice":       rechunk(func(_ *joinWorld, c *proof.Chunk) { c.Entries = append(c.Entries[:1:1], c.Entries...) }),
		"chunks of another snapshot": func(w *joinWorld) *forged {
			return &forged{snapshots: w.source(0), chunk: func(_ []byte, prefix uint64, depth uint8) ([]byte, error) {
				return w.old.chunk(prefix, depth).Append(nil), nil
			}}
		},
		"chunks of another place": func(w *joinWorld) *forged {
			return &forged{snapshots: w.source(0), chunk: func(_ []byte, prefix uint64, depth uint8) ([]byte, error) {
				return w.new.chunk(prefix^1<<63, depth).Append(nil), nil
			}}
		},
		"chunks of rubbish": func(w *joinWorld) *forged {
			return &forged{snapshots: w.source(0), chunk: func(raw []byte, _ uint64, _ uint8) ([]byte, error) { return raw[1:], nil }}
		},
		"guards left out":     repage(func(p [][]byte) [][]byte { return p[1:] }),
		"no guards":           repage(func(p [][]byte) [][]byte { return p[len(p)-1:] }),
		"guards twice":        repage(func(p [][]byte) [][]byte { return append(p[:1:1], p...) }),
		"guards of rubbish":   repage(func(p [][]byte) [][]byte { return [][]byte{{0xff}} }),
		"guards out of order": repage(func(p [][]byte) [][]byte { return [][]byte{p[1], p[0], p[2]} }),
	} {
		t.Run(name, func(t *testing.T) {
			onJoin(t, 5000, func(t *testing.T, w *joinWorld, n *network, k *sink) {
				n.connect("liar", peer.Validator, serveFrom(t, liar(w)))
				k.onChunk = func(int) error { return nil }
				time.AfterFunc(3*time.Second, func() { n.connect("honest", peer.Node, serveFrom(t, w.source(0))) })
				err := w.join(t, n, k)
				if errors.Is(err, ErrNoSnapshot) { // the liar was the only one with a manifest then
					elapse(3 * time.Second)
					err = w.join(t, n, k)
				}
				if err != nil || !k.finished {
					t.Fatal(err)
				}
				wantLiarBanned(t, n)
			})
		})
	}
}

func TestJoinDespiteWhatIsNoManifest(t *testing.T) {
	w := newJoinWorld(100)
	far, _ := ParseManifest(w.newM)
	far.Header.Height = 1 << 40
	far.Block = chain.AppendBlock(nil, &chain.Block{Header: far.Header})
	for name, c := range map[string]struct {
		offer    []byte
		manifest [][]byte
	}{
		"rubbish for an offer":   {offer: []byte{0x83}},
		"no offer":               {offer: []byte{}},
		"a length beyond bounds": {offer: appendOffer(nil, offer{newHeight + 1, maxManifest + 1})},
		"rubbish":                {appendOffer(nil, offer{newHeight + 1, 10}), [][]byte{{1, 2, 3}}},
		"nothing":                {appendOffer(nil, offer{newHeight + 1, 10}), nil},
		"another height":         {appendOffer(nil, offer{newHeight + 1, 10}), [][]byte{w.newM}},
		"cut short":              {appendOffer(nil, offer{newHeight, 10}), [][]byte{w.newM[:len(w.newM)-1]}},
		"a height of nobody":     {appendOffer(nil, offer{1 << 40, 10}), [][]byte{far.Append(nil)}},
		"without end":            {appendOffer(nil, offer{newHeight + 1, 10}), slices.Repeat([][]byte{make([]byte, peer.MaxFrame)}, 40)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork("self")
				defer n.stop()
				n.connect("liar", peer.Validator, func(_ context.Context, _ peer.Key, request []byte, st peer.Stream) error {
					frames := [][]byte{c.offer}
					if q, _ := parseRequest(request); q.kind == kindManifest {
						frames = c.manifest
					}
					return sendAll(st, frames)
				})
				n.connect("honest", peer.Validator, serveFrom(t, w.source(0)))
				w.mustJoin(t, n, newSink(t, w.new, w.guards))
				wantLiarBanned(t, n)
			})
		})
	}
}

func sendAll(st peer.Stream, frames [][]byte) error {
	for _, f := range frames {
		if err := st.Send(f); err != nil {
			return err
		}
	}
	return nil
}

// Validators that were voted out can certify a chain of their own, which no
// genesis tells from the real one. What they cannot make is its state.
func TestJoinDespiteAChainOfFormerValidators(t *testing.T) {
	onJoin(t, 5000, func(t *testing.T, w *joinWorld, n *network, k *sink) {
		fork := build(60, 10, nil)
		n.connect("former", peer.Validator, serveFrom(t, &forged{snapshots: w.source(0), manifest: func() []byte { return manifestAt(fork, 60, w.new) }}))
		n.connect("honest", peer.Validator, serveFrom(t, w.source(0)))
		if err := w.join(t, n, k); err != nil || !k.finished || k.manifest.Header.Height != newHeight {
			t.Fatal(err)
		}
	})
}

func TestJoinFromAPeerThatCallsAllTooLarge(t *testing.T) {
	onJoin(t, 5000, func(t *testing.T, w *joinWorld, n *network, k *sink) {
		var requests atomic.Int64
		refuses := &forged{snapshots: w.source(0), chunk: func([]byte, uint64, uint8) ([]byte, error) {
			requests.Add(1)
			return nil, abi.CodeTooLarge
		}}
		n.connect("liar", peer.Validator, serveFrom(t, refuses))
		n.connect("honest", peer.Validator, serveFrom(t, w.source(0)))
		w.mustJoin(t, n, k)
		if k.chunks > 2*8 || requests.Load() > 1000 {
			t.Errorf("%d chunks, the liar was asked for %d", k.chunks, requests.Load())
		}
	})
}

func TestAnInterruptedJoinGoesOn(t *testing.T) {
	onJoin(t, 20000, func(t *testing.T, w *joinWorld, n *network, k *sink) {
		n.connect("a", peer.Validator, serveFrom(t, w.source(3000)))
		n.connect("b", peer.Validator, serveFrom(t, w.source(3000)))
		ctx, interrupt := context.WithCancel(t.Context())
		k.onChunk = func(chunks int) error {
			if chunks == 150 {
				interrupt()
			}
			return nil
		}
		err := Join(ctx, JoinConfig{Peers: n, Genesis: genesisOf(w.h), Sink: k, Logger: quiet})
		if !errors.Is(err, context.Canceled) || k.finished {
			t.Fatalf("interrupted: %v", err)
		}
		first := k.chunks
		w.mustJoin(t, n, k)
		before := newSink(t, w.new, w.guards)
		if err := w.join(t, n, before); err != nil {
			t.Fatal(err)
		}
		if all := before.chunks; k.chunks > all+8 || first < 150 {
			t.Errorf("%d chunks, %d of them before the interruption, %d without one", k.chunks, first, all)
		}
	})
}

func TestJoinWhenPeersLeave(t *testing.T) {
	onJoin(t, 20000, func(t *testing.T, w *joinWorld, n *network, k *sink) {
		n.connect("a", peer.Validator, serveFrom(t, w.source(3000)))
		n.connect("b", peer.Validator, serveFrom(t, w.source(3000)))
		k.onChunk = func(chunks int) error {
			switch chunks {
			case 100:
				n.disconnect(keyOf("a"))
			case 200:
				n.disconnect(keyOf("b"))
				time.AfterFunc(20*time.Second, func() { n.connect("c", peer.Validator, serveFrom(t, w.source(3000))) })
			}
			return nil
		}
		w.mustJoin(t, n, k)
	})
}

func TestJoinWhenTheSnapshotIsReplaced(t *testing.T) {
	onJoin(t, 20000, func(t *testing.T, w *joinWorld, n *network, k *sink) {
		source := w.stale()
		n.connect("a", peer.Validator, serveFrom(t, source))
		k.onChunk = func(chunks int) error {
			if chunks == 5 { // the peer keeps the newest only
				source.mu.Lock()
				source.manifest, source.states = w.newM, map[uint64]*state{newHeight: w.new}
				source.mu.Unlock()
			}
			return nil
		}
		if err := w.join(t, n, k); err != nil || !k.finished || k.manifest.Header.Height != newHeight {
			t.Fatal(err)
		}
		if len(n.banned) > 0 {
			t.Errorf("reported: %v", n.banned)
		}
	})
}

func TestTheSinksErrorEndsAJoin(t *testing.T) {
	onJoin(t, 5000, func(t *testing.T, w *joinWorld, n *network, _ *sink) {
		n.connect("a", peer.Validator, serveFrom(t, w.source(0)))
		k, full := newSink(t, w.new, w.guards), errors.New("disk full")
		k.onChunk = func(int) error { return full }
		if err := w.join(t, n, k); !errors.Is(err, full) || len(n.banned) > 0 {
			t.Fatalf("%v, reported %v", err, n.banned)
		}
	})
}
