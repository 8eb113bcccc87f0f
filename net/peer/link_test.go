package peer

import (
	"testing"
	"time"
)

func TestBothDial(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		var nodes []*node
		hosts := []int{1, 2, 3, 4, 5}
		for _, h := range hosts {
			nodes = append(nodes, w.start(h, hosts, nil)) // themselves included
		}
		settled(20 * time.Second)
		mustConnect(t, nodes...)
		since := map[*node][]time.Time{}
		for _, n := range nodes {
			for _, i := range n.Connected() {
				since[n] = append(since[n], i.Since)
			}
		}
		settled(10 * time.Minute)
		for _, n := range nodes {
			for i, info := range n.Connected() {
				if info.Since != since[n][i] {
					t.Errorf("node %d made a new connection to %v while there was one", n.host, info.Key)
				}
				other := nodes[0]
				for _, o := range nodes {
					if o.key == info.Key {
						other = o
					}
				}
				if back := other.lookup(n.key); back == nil || back.outbound == info.Outbound {
					t.Errorf("nodes %d and %d hold different connections", n.host, other.host)
				}
			}
		}
	})
}

// TestCrossingDials lets two nodes dial each other at the same moment, with
// all timings that a few latencies give.
func TestCrossingDials(t *testing.T) {
	for _, later := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond} {
		simulate(t, func(t *testing.T, w *world) {
			a := w.start(1, []int{2}, nil)
			elapse(later)
			b := w.start(2, []int{1}, nil)
			settled(5 * time.Second)
			mustConnect(t, a, b)
			a.Send(b.key, []byte("there"))
			b.Send(a.key, []byte("back"))
			settled(time.Second)
			there, _, _ := b.got()
			back, _, _ := a.got()
			if len(there) != 1 || len(back) != 1 {
				t.Errorf("dialled %v later: %d messages there, %d back", later, len(there), len(back))
			}
		})
	}
}

func TestReconnect(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b, c := w.start(1, []int{2, 3}, nil), w.start(2, []int{1, 3}, nil), w.start(3, nil, nil)
		settled(5 * time.Second)
		mustConnect(t, a, b, c)
		for _, outage := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, time.Minute, 10 * time.Minute} {
			w.cut(2)
			stop := time.Now().Add(outage)
			for time.Now().Before(stop) { // consensus never is silent for long
				a.Send(b.key, make([]byte, 300))
				b.Send(a.key, make([]byte, 300))
				elapse(500 * time.Millisecond)
			}
			if outage >= 20*time.Second && a.lookup(b.key) != nil {
				t.Errorf("after %v without a packet the connection stands", outage)
			}
			w.lose(nil)
			healed := time.Now()
			before, _, _ := b.got()
			for after := before; len(after) == len(before); after, _, _ = b.got() {
				if time.Since(healed) > 15*time.Second {
					t.Fatalf("no message %v after an outage of %v", time.Since(healed), outage)
				}
				a.Send(b.key, []byte("again"))
				settled(100 * time.Millisecond)
			}
			t.Logf("outage %v: first message %v after its end", outage, time.Since(healed))
			settled(20 * time.Second)
			mustConnect(t, a, b, c)
		}
	})
}

func TestRestart(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b := w.start(1, []int{2}, nil), w.start(2, nil, nil)
		settled(5 * time.Second)
		mustConnect(t, a, b)
		w.cut(2) // a crash: nobody hears of it
		b.stop()
		settled(time.Second)
		w.lose(nil)
		b = w.start(2, nil, nil)
		started := time.Now()
		for got, _, _ := b.got(); len(got) == 0; got, _, _ = b.got() {
			if time.Since(started) > time.Second {
				t.Fatal("the peer that started anew got nothing for a second")
			}
			a.Send(b.key, make([]byte, 100)) // long enough to be answered with a stateless reset
			settled(50 * time.Millisecond)
		}
		t.Logf("first message %v after the restart", time.Since(started))
	})
}

func TestIdle(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b := w.start(1, []int{2}, nil), w.start(2, nil, nil)
		settled(5 * time.Minute)
		since := a.Connected()[0].Since
		packets, bytes := w.sent()
		settled(time.Hour)
		mustConnect(t, a, b)
		if a.Connected()[0].Since != since {
			t.Error("an idle connection was made anew")
		}
		p, n := w.sent()
		t.Logf("an idle connection: %d packets and %d bytes of UDP payload an hour, both ways", p-packets, n-bytes)
		if n-bytes > 64<<10 {
			t.Errorf("%d bytes an hour", n-bytes)
		}
	})
}

func TestShutdown(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b := w.start(1, []int{2}, nil), w.start(2, nil, nil)
		settled(time.Second)
		changed := a.Changed()
		b.stop()
		settled(time.Second)
		select {
		case <-changed:
		default:
			t.Error("nobody heard that the peer left")
		}
		if a.lookup(b.key) != nil {
			t.Error("the peer that left is listed")
		}
		a.Send(b.key, []byte("lost"))
		if dropped := a.Stats().Traffic[kindConsensus-1].Dropped; dropped != 1 {
			t.Errorf("%d messages counted as dropped, want 1", dropped)
		}
	})
}

func TestRecheck(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b := w.start(1, nil, nil), w.start(2, []int{1}, nil)
		settled(time.Second)
		mustConnect(t, a, b)
		w.set(b.key, Node)
		a.Recheck()
		if i := a.Connected()[0]; i.Class != Node {
			t.Errorf("class %v, want a node", i.Class)
		}
		b.Send(a.key, []byte("no longer heard"))
		b.SendTransaction(a.key, []byte("heard"))
		settled(time.Second)
		if consensus, transactions, _ := a.got(); len(consensus) != 0 || len(transactions) != 1 {
			t.Errorf("a node that votes no more: %d consensus messages and %d transactions heard", len(consensus), len(transactions))
		}
		w.set(b.key, Stranger)
		a.Recheck()
		settled(100 * time.Millisecond)
		if a.lookup(b.key) != nil {
			t.Error("a stranger stays connected")
		}
		w.set(b.key, Validator)
		settled(10 * time.Second)
		mustConnect(t, a, b)
	})
}

func TestBetter(t *testing.T) {
	own, low, high := Key{5}, Key{1}, Key{9}
	link := func(k Key, outbound bool, dial uint64, instance byte) *conn {
		return &conn{key: k, outbound: outbound, dial: dial, theirs: hello{instance: [instanceLen]byte{instance}}}
	}
	for _, c := range []struct {
		name   string
		c, old *conn
		want   bool
	}{
		{"the peer started anew", link(low, true, 1, 2), link(low, false, 9, 1), true},
		{"own later dial", link(low, true, 4, 1), link(low, true, 3, 1), true},
		{"own earlier dial", link(low, true, 3, 1), link(low, true, 4, 1), false},
		{"its later dial", link(high, false, 4, 1), link(high, false, 3, 1), true},
		{"crossed, the peer is lower, it dialled", link(low, false, 1, 1), link(low, true, 7, 1), true},
		{"crossed, the peer is lower, own dial", link(low, true, 7, 1), link(low, false, 1, 1), false},
		{"crossed, the peer is higher, own dial", link(high, true, 7, 1), link(high, false, 1, 1), true},
		{"crossed, the peer is higher, it dialled", link(high, false, 1, 1), link(high, true, 7, 1), false},
	} {
		if got := better(own, c.c, c.old); got != c.want {
			t.Errorf("%s: better = %v", c.name, got)
		}
	}
}

func TestValidate(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		good := Config{Conn: w.socket(1), Key: keyOf(1), Class: w.class, Handler: &node{}}
		for name, spoil := range map[string]func(*Config){
			"no socket":      func(c *Config) { c.Conn = nil },
			"no key":         func(c *Config) { c.Key = nil },
			"no ledger":      func(c *Config) { c.Class = nil },
			"no handler":     func(c *Config) { c.Handler = nil },
			"a bad peer":     func(c *Config) { c.Peers = []string{"10.0.0.1"} },
			"a bad address":  func(c *Config) { c.Advertise = ":7423" },
			"a port of zero": func(c *Config) { c.Advertise = "host:0" },
		} {
			c := good
			spoil(&c)
			if _, err := New(c); err == nil {
				t.Errorf("%s: New took it", name)
			}
		}
		if _, err := New(good); err != nil {
			t.Error(err)
		}
	})
}

// TestOrderOverConnections has a new connection of a peer come while the
// Handler is busy with a message of the one before.
func TestOrderOverConnections(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		busy := 0
		a := w.start(1, nil, func(_ *Config, n *node) {
			n.onConsensus = func() {
				if busy++; busy > 1 {
					t.Errorf("%d messages of one peer are handled at a time", busy)
				}
				<-release
				busy--
			}
		})
		b := w.start(2, []int{1}, nil)
		settled(time.Second)
		b.Send(a.key, []byte("first"))
		b.Send(a.key, []byte("of the lost connection"))
		settled(time.Second)
		b.stop()
		b = w.start(2, []int{1}, nil)
		settled(5 * time.Second)
		mustConnect(t, a, b)
		b.Send(a.key, []byte("second"))
		b.SendTransaction(a.key, []byte("transaction")) // waits for nothing
		settled(5 * time.Second)
		if c, x, _ := a.got(); len(c) != 1 || len(x) != 1 {
			t.Errorf("%q and %q while the handler is busy", c, x)
		}
		release <- struct{}{}
		settled(time.Second)
		if c, _, _ := a.got(); len(c) != 2 || string(c[1]) != "second" {
			t.Errorf("got %q", c)
		}
		release <- struct{}{}
		settled(time.Second)
		b.stop()
		settled(time.Second)
		a.Network.mu.Lock()
		defer a.Network.mu.Unlock()
		if len(a.turns) != 0 {
			t.Errorf("%d turns are kept of peers that left", len(a.turns))
		}
	})
}
