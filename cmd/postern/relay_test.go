package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"
)

// relayedNodes are nodes that say to each other what the test wants.
type relayedNodes struct {
	t      *testing.T
	relays *relays
	conns  []*net.UDPConn
}

func newRelayedNodes(t *testing.T, n int) *relayedNodes {
	t.Helper()
	r, err := openRelays(n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the relays ended with %v", err)
		}
	})
	s := &relayedNodes{t: t, relays: r}
	for range n {
		s.conns = append(s.conns, s.listen())
	}
	for i := range n { // each says who it is; whom nobody knows yet gets nothing
		for j := range n {
			if i != j {
				s.introduce(i, j)
			}
		}
	}
	return s
}

func (s *relayedNodes) listen() *net.UDPConn {
	s.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// introduce waits until the relay knows where node i is, as seen towards j.
func (s *relayedNodes) introduce(i, j int) {
	s.t.Helper()
	p := s.relays.ports[i][j]
	own := s.conns[i].LocalAddr().(*net.UDPAddr).AddrPort()
	for p.node.Load() == nil || *p.node.Load() != own {
		seen := p.dropped.Load() + p.passed.Load()
		s.send(i, j, "hello")
		for p.dropped.Load()+p.passed.Load() == seen {
			s.pause(i)
		}
	}
}

func (s *relayedNodes) send(i, j int, text string) {
	s.t.Helper()
	to := s.relays.ports[i][j].conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := s.conns[i].WriteToUDPAddrPort([]byte(text), to); err != nil {
		s.t.Fatal(err)
	}
}

// receive is the next datagram of a node that is no greeting, and from which
// node it seems to come.
func (s *relayedNodes) receive(i int) (text string, from int) {
	s.t.Helper()
	s.conns[i].SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, maxDatagram)
	for {
		n, addr, err := s.conns[i].ReadFromUDPAddrPort(buf)
		if err != nil {
			s.t.Fatalf("node %d got nothing: %v", i, err)
		}
		if text = string(buf[:n]); text != "hello" {
			return text, s.nodeBehind(i, addr)
		}
	}
}

func (s *relayedNodes) nodeBehind(i int, addr netip.AddrPort) int {
	for j, p := range s.relays.ports[i] {
		if p != nil && p.conn.LocalAddr().String() == addr.String() {
			return j
		}
	}
	return -1
}

// expect holds the relay to carrying a datagram from i to j.
func (s *relayedNodes) expect(i, j int) {
	s.t.Helper()
	text := fmt.Sprintf("from %d to %d", i, j)
	s.send(i, j, text)
	if got, from := s.receive(j); got != text || from != i {
		s.t.Errorf("node %d got %q from %d, want %q from %d", j, got, from, text, i)
	}
}

// refuse holds the relay to dropping a datagram from i to j.
func (s *relayedNodes) refuse(i, j int) {
	s.t.Helper()
	p := s.relays.ports[i][j]
	passed, dropped := p.passed.Load(), p.dropped.Load()
	s.send(i, j, "secret")
	for p.dropped.Load() == dropped && p.passed.Load() == passed {
		s.pause(i)
	}
	if p.passed.Load() != passed {
		s.t.Errorf("a datagram went from node %d to node %d across a cut", i, j)
	}
}

func TestRelaysCarryBothWays(t *testing.T) {
	s := newRelayedNodes(t, 3)
	for i := range 3 {
		for j := range 3 {
			if i != j {
				s.expect(i, j)
			}
		}
	}
}

// TestCuts makes and mends partitions: 2 against 2, one node alone, and both.
func TestCuts(t *testing.T) {
	s := newRelayedNodes(t, 4)
	check := func(parts ...[]int) {
		t.Helper()
		if got := s.relays.islands(); !reflect.DeepEqual(got, parts) {
			t.Fatalf("the islands are %v, want %v", got, parts)
		}
		part := map[int]int{}
		for number, nodes := range parts {
			for _, i := range nodes {
				part[i] = number
			}
		}
		for i := range 4 {
			for j := range 4 {
				switch {
				case i == j:
				case part[i] == part[j]:
					s.expect(i, j)
				default:
					s.refuse(i, j)
				}
			}
		}
	}
	check([]int{0, 1, 2, 3})
	s.relays.cut([]int{2, 3})
	check([]int{0, 1}, []int{2, 3})
	s.relays.cut([]int{3})
	check([]int{0, 1}, []int{2}, []int{3})
	s.relays.rejoin([]int{2})
	check([]int{0, 1, 2}, []int{3})
	s.relays.cut([]int{0, 1, 2})
	check([]int{3}, []int{0, 1, 2})
	s.relays.rejoin([]int{0, 1, 2, 3})
	check([]int{0, 1, 2, 3})
}

// TestRelayFindsARestartedNode: it comes back on another port.
func TestRelayFindsARestartedNode(t *testing.T) {
	s := newRelayedNodes(t, 2)
	s.expect(0, 1)
	s.conns[1].Close()
	s.conns[1] = s.listen()
	s.introduce(1, 0)
	s.expect(0, 1)
	s.expect(1, 0)
}

// TestRelayPassesNothingCutShort: what does not fit a buffer is dropped, whole.
func TestRelayPassesNothingCutShort(t *testing.T) {
	s := newRelayedNodes(t, 2)
	p := s.relays.ports[0][1]
	dropped := p.dropped.Load()
	s.send(0, 1, string(bytes.Repeat([]byte{'x'}, maxDatagram+1)))
	s.expect(0, 1)
	if p.dropped.Load() != dropped+1 {
		t.Error("a datagram that is too long was not dropped")
	}
}

// TestRelaysUnderLoad cuts and mends while all send to all. What one node
// sends to another fits the buffer of a port, so nothing gets lost on the way.
func TestRelaysUnderLoad(t *testing.T) {
	const n, rounds = 4, 100
	s := newRelayedNodes(t, n)
	before := s.carried()
	var senders sync.WaitGroup
	for i := range n {
		senders.Go(func() {
			for range rounds {
				for j := range n {
					if i != j {
						s.send(i, j, "load")
					}
				}
			}
		})
	}
	for k := range rounds {
		s.relays.cut([]int{k % n})
		s.relays.rejoin([]int{k % n})
	}
	senders.Wait()
	for s.carried() < before+n*(n-1)*rounds {
		s.pause(0)
	}
	for i := range n {
		s.drain(i)
	}
	for i := range n {
		s.expect(i, (i+1)%n)
	}
}

// carried is how many datagrams the relays have seen.
func (s *relayedNodes) carried() (total uint64) {
	s.relays.each(func(_, _ int, p *relayPort) { total += p.passed.Load() + p.dropped.Load() })
	return total
}

// pause gives the relays time to run.
func (s *relayedNodes) pause(i int) {
	s.conns[i].SetReadDeadline(time.Now().Add(time.Millisecond))
	s.conns[i].Read(make([]byte, maxDatagram))
}

// drain reads what has arrived at a node.
func (s *relayedNodes) drain(i int) {
	s.conns[i].SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	for {
		if _, err := s.conns[i].Read(make([]byte, maxDatagram)); err != nil {
			return
		}
	}
}

// TestRelayEndsWhenAPortFails: a testnet with a dead link would mislead.
func TestRelayEndsWhenAPortFails(t *testing.T) {
	r, err := openRelays(2)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- r.run(context.Background()) }()
	r.ports[0][1].conn.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the relays ended with %v", err)
	}
}
