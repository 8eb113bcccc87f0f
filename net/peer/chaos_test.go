package peer

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

var seeds = flag.Int("seeds", 2, "how many seeds TestChaos runs")

// weather is a network that loses, doubles, delays and cuts at random.
type weather struct {
	mu     sync.Mutex // guards what follows
	random *rand.Rand
	loss   float64
	apart  map[[2]netip.Addr]bool // pairs, in one direction, between which nothing passes
}

// change makes new weather for some hosts: now and then a fine day.
func (x *weather) change(hosts []int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.loss, x.apart = 0, map[[2]netip.Addr]bool{}
	if x.random.IntN(4) == 0 {
		return
	}
	x.loss = 0.3 * x.random.Float64()
	for _, a := range hosts {
		for _, b := range hosts {
			if x.random.IntN(4) == 0 {
				x.apart[[2]netip.Addr{at(a).Addr(), at(b).Addr()}] = true
			}
		}
	}
}

func (x *weather) loses(from, to netip.AddrPort) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.apart[[2]netip.Addr{from.Addr(), to.Addr()}] || x.random.Float64() < x.loss
}

// delay is a packet's time on its way: so different that packets pass each
// other.
func (x *weather) delay(simnet.Packet) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Millisecond + time.Duration(x.random.ExpFloat64()*float64(10*time.Millisecond))
}

// ordered checks what a node gets from each other: numbers that rise, one at a
// time.
type ordered struct {
	*node
	t    testing.TB
	mu   sync.Mutex // guards what follows
	last map[Key]uint64
	busy map[Key]bool
	pace func() time.Duration
}

func (o *ordered) Consensus(from Key, m []byte) {
	o.mu.Lock()
	number := binary.BigEndian.Uint64(m)
	if number <= o.last[from] {
		o.t.Errorf("node %d got message %d of %v after %d", o.host, number, from, o.last[from])
	}
	if o.busy[from] {
		o.t.Errorf("node %d got message %d of %v while it was handling another", o.host, number, from)
	}
	o.last[from], o.busy[from] = number, true
	o.mu.Unlock()
	elapse(o.pace())
	o.mu.Lock()
	o.busy[from] = false
	o.mu.Unlock()
}

// TestChaos runs four nodes in bad weather, with a crash now and then, and
// requires that messages keep their order, and that all are connected again 15
// seconds after it cleared.
func TestChaos(t *testing.T) {
	for seed := range uint64(*seeds) {
		synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func chaos(t *testing.T, seed uint64) {
	w := newWorld(t)
	x := &weather{random: rand.New(rand.NewPCG(seed, 1)), apart: map[[2]netip.Addr]bool{}}
	w.loses, w.delay = x.loses, x.delay
	choices := rand.New(rand.NewPCG(seed, 2))
	hosts := []int{1, 2, 3, 4}
	nodes := make([]*node, len(hosts))
	checks := make([]*ordered, len(hosts))
	start := func(i int) {
		nodes[i] = w.start(hosts[i], hosts, func(c *Config, n *node) {
			if checks[i] == nil {
				checks[i] = &ordered{t: t, last: map[Key]uint64{}, busy: map[Key]bool{}, pace: func() time.Duration {
					return time.Duration(rand.IntN(5)) * time.Millisecond
				}}
			}
			checks[i].node = n
			c.Handler = checks[i]
		})
	}
	for i := range hosts {
		start(i)
	}
	number, sent := uint64(0), 0
	for range 12 {
		x.change(hosts)
		for range 20 + choices.IntN(200) {
			for _, a := range nodes {
				for _, b := range nodes {
					number++
					sent++
					a.Send(b.key, binary.BigEndian.AppendUint64(make([]byte, 0, 300), number)[:8+choices.IntN(292)])
				}
			}
			settled(50 * time.Millisecond)
		}
		if i := choices.IntN(len(nodes)); choices.IntN(4) == 0 {
			nodes[i].stop()
			settled(time.Duration(choices.IntN(3000)) * time.Millisecond)
			start(i)
		}
	}
	x.mu.Lock()
	x.loss, x.apart = 0, nil
	x.mu.Unlock()
	settled(15 * time.Second)
	mustConnect(t, nodes...)
	got := 0
	for _, n := range nodes {
		s := n.Stats()
		got += int(s.Traffic[kindConsensus-1].Received)
		if s.Misbehaved != 0 {
			t.Errorf("node %d takes an honest one for a liar", n.host)
		}
	}
	t.Logf("seed %d: of %d messages %d arrived at the last runs of the nodes", seed, sent, got)
}
