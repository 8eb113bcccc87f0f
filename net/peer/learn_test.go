package peer

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/mdns/v2"
)

func TestLearn(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		learn := func(c *Config, _ *node) { c.Learn = true }
		var nodes []*node
		for host := 1; host <= 6; host++ {
			nodes = append(nodes, w.start(host, []int{1}, learn)) // all know the first alone
			settled(300 * time.Millisecond)
		}
		settled(10 * time.Second)
		mustConnect(t, nodes...)
		w.cut(1) // whom they learnt from is not needed any more
		settled(30 * time.Second)
		nodes[2].stop()
		settled(time.Second)
		nodes[2] = w.start(3, []int{4}, learn)
		settled(3 * time.Minute)
		mustConnect(t, nodes[1:]...)
	})
}

// TestLearnFollowers has followers hold connections to the validators and to a
// few others, not to all.
func TestLearnFollowers(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		learn := func(c *Config, _ *node) { c.Learn = true }
		validators := []*node{w.start(1, nil, learn), w.start(2, []int{1}, learn)}
		var followers []*node
		for host := 11; host < 23; host++ {
			w.set(idOf(host), Node)
			followers = append(followers, w.startAs(host, []int{1}, learn))
		}
		settled(6 * time.Minute)
		for _, f := range followers {
			mustConnect(t, f, validators[0])
			mustConnect(t, f, validators[1])
			if dialled := f.Stats().Dials; dialled > 3*wantNodes {
				t.Errorf("node %d dialled %d times", f.host, dialled)
			}
		}
	})
}

// TestAdvertise has a node say where it is reached: behind a relay it is seen
// elsewhere.
func TestAdvertise(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a := w.start(1, nil, func(c *Config, _ *node) { c.Learn = true })
		b := w.start(2, []int{1}, func(c *Config, _ *node) { c.Advertise = "gateway-2.example.org:9000" })
		settled(time.Second)
		mustConnect(t, a, b)
		list := a.reachable()
		if len(list) != 1 || list[0] != (nodeAddress{b.key, "gateway-2.example.org:9000"}) {
			t.Errorf("reachable: %v", list)
		}
	})
}

func TestAddressesRemembered(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		file := t.TempDir() + "/peers"
		set := func(c *Config, _ *node) { c.Learn, c.StateFile = true, file }
		a := w.start(1, []int{2}, set)
		b, c := w.start(2, nil, nil), w.start(3, []int{2}, nil)
		settled(3 * tellEvery)
		mustConnect(t, a, b, c)
		a.stop()
		a = w.start(1, nil, set) // without a configured peer
		settled(10 * time.Second)
		mustConnect(t, a, c)
	})
}

// lan is a local network on which announcements reach everyone.
type lan struct {
	mu    sync.Mutex
	said  []mdns.ServiceEvent
	heard []func(mdns.ServiceEvent)
}

// join announces a node and hands on what is announced, as Network.multicast.
func (l *lan) join(n *Network, found func(mdns.ServiceEvent)) {
	own, _ := addrPort(n.Addr())
	l.announce(mdns.ServiceEvent{Addr: own.Addr(), Instance: mdns.ServiceInstance{
		Instance: n.key.String(), Service: localService, Port: own.Port(),
		Text: []mdns.TXTEntry{mdns.NewTXTString(chainText, n.chainTag())},
	}})
	l.mu.Lock()
	l.heard = append(l.heard, found)
	said := l.said
	l.mu.Unlock()
	for _, e := range said {
		found(e)
	}
}

func (l *lan) announce(e mdns.ServiceEvent) {
	l.mu.Lock()
	l.said = append(l.said, e)
	heard := l.heard
	l.mu.Unlock()
	for _, found := range heard {
		found(e)
	}
}

// startOn runs a node that finds others on a local network.
func (w *world) startOn(l *lan, host int, class Class) *node {
	w.t.Helper()
	w.set(idOf(host), class)
	n := &node{host: host}
	n.prepare(w.t, Config{Conn: w.socket(host), Key: keyOf(host), Chain: testChain, Class: w.class, Handler: n, Local: true, Logger: testLog(w.t, host)})
	n.local = func(ctx context.Context, found func(mdns.ServiceEvent)) error {
		l.join(n.Network, found)
		<-ctx.Done()
		return nil
	}
	n.begin(w.t)
	return n
}

func TestLocal(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		l := &lan{}
		a, b, c := w.startOn(l, 1, Validator), w.startOn(l, 2, Validator), w.startOn(l, 3, Node)
		settled(10 * time.Second)
		mustConnect(t, a, b, c)
	})
}

// TestLocalLies announces thousands of nodes that are not there, and some that
// are not of the ledger.
func TestLocalLies(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		l := &lan{}
		a := w.startOn(l, 1, Validator)
		lie := mdns.ServiceEvent{Instance: mdns.ServiceInstance{
			Service: localService, Port: 7423, Text: []mdns.TXTEntry{mdns.NewTXTString(chainText, a.chainTag())},
		}}
		for i := range 1000 {
			lie.Addr = netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)})
			l.announce(lie)
			if i%10 == 0 {
				settled(100 * time.Millisecond)
			}
		}
		a.book.mu.Lock()
		loose := len(a.book.loose)
		a.book.mu.Unlock()
		if loose > maxLoose {
			t.Errorf("%d addresses remembered", loose)
		}
		if dials := a.Stats().Dials; dials > 10*seekRate+seekTries {
			t.Errorf("%d tries within ten seconds", dials)
		}
		for host := 40; host < 47; host++ { // each knows node 1, which does not know them
			w.startOn(l, host, Stranger)
		}
		settled(time.Minute)
		if s := a.Stats(); s.Strangers > maxStrangers {
			t.Errorf("%d strangers are connected", s.Strangers)
		}
		b := w.startOn(l, 2, Validator)
		settled(30 * time.Second)
		mustConnect(t, a, b)
	})
}

func TestLocalAddress(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		text := []mdns.TXTEntry{mdns.NewTXTString("other", "x"), mdns.NewTXTString(chainText, n.chainTag())}
		good := mdns.ServiceEvent{Addr: netip.MustParseAddr("10.0.0.9"), Instance: mdns.ServiceInstance{
			Instance: "other", Service: localService, Port: 7423, Text: text,
		}}
		for _, c := range []struct {
			name  string
			spoil func(*mdns.ServiceEvent)
			want  string
		}{
			{"good", func(*mdns.ServiceEvent) {}, "10.0.0.9:7423"},
			{"IPv6 of the link", func(e *mdns.ServiceEvent) { e.Addr = netip.MustParseAddr("fe80::9%eth0") }, "[fe80::9%eth0]:7423"},
			{"itself", func(e *mdns.ServiceEvent) { e.Instance.Instance = n.key.String() }, ""},
			{"another service", func(e *mdns.ServiceEvent) { e.Instance.Service = "_http._tcp" }, ""},
			{"another chain", func(e *mdns.ServiceEvent) { e.Instance.Text = []mdns.TXTEntry{mdns.NewTXTString(chainText, "0000")} }, ""},
			{"no chain", func(e *mdns.ServiceEvent) { e.Instance.Text = nil }, ""},
			{"no address", func(e *mdns.ServiceEvent) { e.Addr = netip.Addr{} }, ""},
			{"no port", func(e *mdns.ServiceEvent) { e.Instance.Port = 0 }, ""},
			{"everybody", func(e *mdns.ServiceEvent) { e.Addr = netip.MustParseAddr("224.0.0.251") }, ""},
			{"the reader's machine", func(e *mdns.ServiceEvent) { e.Addr = netip.MustParseAddr("127.0.0.1") }, ""},
			{"the same, mapped", func(e *mdns.ServiceEvent) { e.Addr = netip.MustParseAddr("::ffff:127.0.0.1") }, ""},
		} {
			e := good
			c.spoil(&e)
			if address, ok := n.localAddress(&e); ok != (c.want != "") || ok && address != c.want {
				t.Errorf("%s: %q, %v", c.name, address, ok)
			}
		}
	})
}

func TestResolve(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:7423":          "10.0.0.1:7423",
		"[::ffff:10.0.0.1]:7423": "10.0.0.1:7423",
		"[fd00::1]:1":            "[fd00::1]:1",
	} {
		if got, err := resolve(t.Context(), address, 3); err != nil || got.String() != want {
			t.Errorf("resolve(%q) = %v, %v", address, got, err)
		}
	}
	if _, err := resolve(t.Context(), strings.Repeat("x", 300)+":1", 0); err == nil {
		t.Error("a name that cannot be was resolved")
	}
}
