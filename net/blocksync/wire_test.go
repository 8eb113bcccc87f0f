package blocksync

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// wire is a simulated network of hosts, for a bubble of virtual time.
type wire struct {
	t *testing.T

	mu    sync.Mutex // guards what follows
	ports map[netip.Addr]simnet.PacketReceiver
	loses func(from netip.Addr) bool // says whether a packet is lost
}

func onWire(t *testing.T, run func(t *testing.T, w *wire)) {
	synctest.Test(t, func(t *testing.T) { run(t, &wire{t: t, ports: map[netip.Addr]simnet.PacketReceiver{}}) })
}

// SendPacket implements simnet.Router.
func (w *wire) SendPacket(p simnet.Packet) error {
	from, to := p.From.(*net.UDPAddr).AddrPort().Addr().Unmap(), p.To.(*net.UDPAddr).AddrPort().Addr().Unmap()
	w.mu.Lock()
	receiver := w.ports[to]
	lost := w.loses != nil && w.loses(from)
	w.mu.Unlock()
	if receiver != nil && !lost {
		receiver.RecvPacket(p)
	}
	return nil
}

// AddNode implements simnet.Router.
func (w *wire) AddNode(addr net.Addr, r simnet.PacketReceiver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[addr.(*net.UDPAddr).AddrPort().Addr().Unmap()] = r
}

func (w *wire) lose(loses func(from netip.Addr) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loses = loses
}

func hostAddr(host int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), 7423)
}

func hostKey(host int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "host %d", host))
	return ed25519.NewKeyFromSeed(seed[:])
}

func hostID(host int) peer.Key { return peer.Key(hostKey(host).Public().(ed25519.PublicKey)) }

// answers is a peer.Handler that only serves.
type answers struct{ serve server }

func (answers) Consensus(peer.Key, []byte)         {}
func (answers) Transaction(peer.Key, []byte) error { return nil }
func (answers) Head(peer.Key, []byte)              {}
func (a answers) Serve(ctx context.Context, from peer.Key, request []byte, st peer.Stream) error {
	return a.serve(ctx, from, request, st)
}

// host starts a node that dials all hosts below it.
func (w *wire) host(host int, id abi.Hash, serve server) *peer.Network {
	link := &simnet.SimulatedLink{Latency: 10 * time.Millisecond, UploadPacket: w}
	conn := simnet.NewBlockingSimConn(net.UDPAddrFromAddrPort(hostAddr(host)), link)
	w.AddNode(net.UDPAddrFromAddrPort(hostAddr(host)), link)
	link.Start()
	cfg := peer.Config{Conn: conn, Key: hostKey(host), Chain: id, Class: func(peer.Key) peer.Class { return peer.Validator }, Handler: answers{serve}}
	for below := 1; below < host; below++ {
		cfg.Peers = append(cfg.Peers, hostAddr(below).String())
	}
	n, err := peer.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("host %d: %v", host, err)
		}
		conn.Close()
		link.Close()
	})
	return n
}

func nobody(context.Context, peer.Key, []byte, peer.Stream) error { return abi.CodeNotFound }

func TestSyncOverQUIC(t *testing.T) {
	h := build(1500, 1000, map[uint64][]seat{700: seats(5, 6, 7, 8)})
	onWire(t, func(t *testing.T, w *wire) {
		id := h.blocks[0].header.Chain
		w.host(1, id, honest(t, newLedger(t, h, 1500)))
		w.host(2, id, honest(t, newLedger(t, h, 1400)))
		bare := slices.Clone(h.blocks)
		for i := range bare {
			bare[i].certificate = nil
		}
		w.host(3, id, (&liar{at: standing{1, 1500}, blocks: bare}).serve)
		n := w.host(4, id, nobody)
		elapse(2 * time.Second)
		if got := len(n.Connected()); got != 3 {
			t.Fatalf("%d connections", got)
		}
		l := newLedger(t, h, 0)
		begun := time.Now()
		if err := syncer(t, n, l).Sync(t.Context()); err != nil || l.height() != 1500 {
			t.Fatalf("at height %d: %v", l.height(), err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		for _, i := range n.Connected() {
			if i.Key == hostID(3) {
				t.Error("the liar is still connected")
			}
		}
	})
}

func TestFollowOverQUIC(t *testing.T) {
	h := build(600, 100, map[uint64][]seat{300: seats(5, 6, 7, 8)})
	onWire(t, func(t *testing.T, w *wire) {
		id := h.blocks[0].header.Chain
		source := newLedger(t, h, 200)
		w.host(1, id, honest(t, source))
		second := newLedger(t, h, 0) // follows the first, and is followed
		n2 := w.host(2, id, honest(t, second))
		n3 := w.host(3, id, nobody)
		third := newLedger(t, h, 0)
		stop2, stop3 := follow(t, n2, second), follow(t, n3, third)
		elapse(3 * time.Second)
		for source.height() < 400 {
			source.grow(h, 10)
			elapse(time.Second)
			if second.height() != source.height() || third.height() != source.height() {
				t.Fatalf("at %d and %d of %d", second.height(), third.height(), source.height())
			}
		}
		elapse(10 * time.Minute) // idle
		first := hostAddr(1).Addr()
		w.lose(func(from netip.Addr) bool { return from == first }) // it disappears
		source.grow(h, 100)
		elapse(time.Minute)
		w.lose(nil)
		elapse(time.Minute)
		if second.height() != 500 || third.height() != 500 {
			t.Errorf("after a cut: at %d and %d of 500", second.height(), third.height())
		}
		stop2()
		stop3()
	})
}

// TestFollowLeavesTheDeadSoon: of as many as may fail the one that is followed
// loses its power, and those that would be asked or followed next, while the
// others go on.
func TestFollowLeavesTheDeadSoon(t *testing.T) {
	h := build(300, 100, nil)
	for _, c := range []struct {
		validators, dead int
		within           time.Duration
	}{{4, 1, 2500 * time.Millisecond}, {7, 2, 4 * time.Second}} {
		for first := range c.validators { // one of those who die is the one that is followed
			onWire(t, func(t *testing.T, w *wire) {
				source := newLedger(t, h, 100)
				var gone []netip.Addr
				for host := 1; host <= c.validators; host++ {
					w.host(host, source.id, honest(t, source))
					if (host-1-first+c.validators)%c.validators < c.dead {
						gone = append(gone, hostAddr(host).Addr())
					}
				}
				n, l := w.host(c.validators+1, source.id, nobody), newLedger(t, h, 0)
				defer follow(t, n, l)()
				for range 50 {
					source.grow(h, 1)
					elapse(100 * time.Millisecond)
				}
				w.lose(func(from netip.Addr) bool { return slices.Contains(gone, from) })
				for lost := time.Now(); time.Since(lost) < c.within; {
					source.grow(h, 1)
					elapse(100 * time.Millisecond)
				}
				if l.height() != source.height() {
					t.Errorf("%v after %v died: at height %d of %d", c.within, gone, l.height(), source.height())
				}
			})
		}
	}
}

func TestSyncOverQUICFromAPeerThatTrickles(t *testing.T) {
	h := build(800, 1000, nil)
	onWire(t, func(t *testing.T, w *wire) {
		id := h.blocks[0].header.Chain
		w.host(1, id, honest(t, newLedger(t, h, 800)))
		w.host(2, id, honest(t, newLedger(t, h, 700)))
		n := w.host(3, id, nobody)
		elapse(time.Second)
		slow, last := hostAddr(1).Addr(), time.Now()
		w.lose(func(from netip.Addr) bool { // one packet a second
			if from != slow || time.Since(last) > time.Second {
				last = time.Now()
				return false
			}
			return true
		})
		l := newLedger(t, h, 0)
		begun := time.Now()
		err := syncer(t, n, l).Sync(t.Context())
		if took := time.Since(begun); l.height() < 700 || took > time.Minute {
			t.Errorf("at height %d after %v: %v", l.height(), took, err)
		}
	})
}

func TestJoinOverQUIC(t *testing.T) {
	jw := newJoinWorld(20000)
	onWire(t, func(t *testing.T, w *wire) {
		id := jw.h.blocks[0].header.Chain
		spoilt := &forged{snapshots: jw.source(50000), chunk: func(raw []byte, _ uint64, _ uint8) ([]byte, error) { return flipped(raw, len(raw)-1), nil }}
		w.host(1, id, serveFrom(t, jw.source(50000)))
		w.host(2, id, serveFrom(t, jw.source(50000)))
		w.host(3, id, serveFrom(t, spoilt))
		w.host(4, id, nobody)
		n := w.host(5, id, nobody)
		k := newSink(t, jw.new, jw.guards)
		begun := time.Now()
		if err := Join(t.Context(), JoinConfig{Peers: n, Genesis: genesisOf(jw.h), Sink: k, Logger: quiet}); err != nil || !k.finished {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		for _, i := range n.Connected() {
			if i.Key == hostID(3) {
				t.Error("the liar is still connected")
			}
		}
	})
}

func TestErrorsCrossQUIC(t *testing.T) {
	jw := newJoinWorld(2000)
	onWire(t, func(t *testing.T, w *wire) {
		id := jw.h.blocks[0].header.Chain
		w.host(1, id, serveFrom(t, jw.source(100)))
		n := w.host(2, id, nobody)
		elapse(time.Second)
		for want, q := range map[abi.Code]request{
			abi.CodeTooLarge: {kind: kindChunk, height: newHeight},
			abi.CodeNotFound: {kind: kindChunk, height: 7},
		} {
			a, err := ask(t.Context(), n, hostID(1), &q, patience)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.next(); !errors.Is(err, want) {
				t.Errorf("%v instead of %v", err, want)
			}
			a.close()
		}
		a, err := ask(t.Context(), n, hostID(1), &request{kind: kindLive, height: 2}, patience)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.standing(); err != nil {
			t.Fatal(err)
		}
		a.patience = time.Second // the next frame comes with the heartbeat
		begun := time.Now()
		if _, err := a.next(); !errors.Is(err, errStalled) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		a.close()
	})
}
