package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// relays carry the datagrams between the nodes of a testnet, so that a cut
// between them needs no root: every node knows every other one by a port of
// its own here, and what comes in there leaves by the port that the other node
// knows the first one by.
//
//	node i  <->  ports[i][j] | ports[j][i]  <->  node j
//
// Nodes of one island reach each other.
type relays struct {
	ports  [][]*relayPort // nil where i is j
	island []atomic.Int32 // of each node
}

// relayPort is a port that faces one node.
type relayPort struct {
	conn *net.UDPConn
	node atomic.Pointer[netip.AddrPort] // where that node sends from; nil until it did

	passed, dropped atomic.Uint64 // datagrams from that node
}

// maxDatagram is more than any datagram of QUIC between nodes, in bytes:
// quic-go sends at most 1,452.
const maxDatagram = 2048

// openRelays opens the ports between n nodes on loopback.
func openRelays(n int) (*relays, error) {
	r := &relays{ports: make([][]*relayPort, n), island: make([]atomic.Int32, n)}
	for i := range r.ports {
		r.ports[i] = make([]*relayPort, n)
		for j := range r.ports[i] {
			if i == j {
				continue
			}
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				return nil, errors.Join(fmt.Errorf("opening a relay: %w", err), r.close())
			}
			r.ports[i][j] = &relayPort{conn: conn}
		}
	}
	return r, nil
}

func (r *relays) each(do func(i, j int, p *relayPort)) {
	for i, row := range r.ports {
		for j, p := range row {
			if p != nil {
				do(i, j, p)
			}
		}
	}
}

func (r *relays) close() error {
	var errs []error
	r.each(func(_, _ int, p *relayPort) { errs = append(errs, p.conn.Close()) })
	return errors.Join(errs...)
}

// addrs are the addresses at which node i knows the others.
func (r *relays) addrs(i int) []string {
	var list []string
	for _, p := range r.ports[i] {
		if p != nil {
			list = append(list, p.conn.LocalAddr().String())
		}
	}
	return list
}

// run carries datagrams until ctx ends, then closes the ports.
func (r *relays) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	r.each(func(i, j int, p *relayPort) {
		group.Go(func() error {
			if err := r.carry(i, j, p); ctx.Err() == nil {
				return err
			}
			return nil
		})
	})
	group.Go(func() error {
		<-ctx.Done()
		return r.close()
	})
	return group.Wait()
}

// carry takes what node i sends to node j.
func (r *relays) carry(i, j int, p *relayPort) error {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("relay from node %d to node %d: %w", i+1, j+1, err)
		}
		if known := p.node.Load(); known == nil || *known != from { // started, or started again
			p.node.Store(&from)
		}
		if n < len(buf) && r.pass(i, j, buf[:n]) {
			p.passed.Add(1)
		} else {
			p.dropped.Add(1)
		}
	}
}

// pass sends a datagram on. One that is lost is lost, as on any network.
func (r *relays) pass(i, j int, datagram []byte) bool {
	if !r.reaches(i, j) {
		return false
	}
	out := r.ports[j][i]
	to := out.node.Load()
	if to == nil {
		return false
	}
	_, err := out.conn.WriteToUDPAddrPort(datagram, *to)
	return err == nil
}

func (r *relays) reaches(i, j int) bool { return r.island[i].Load() == r.island[j].Load() }

// cut makes an island of some nodes: they reach each other, and nobody else
// does. Other cuts stay.
func (r *relays) cut(nodes []int) {
	newest := int32(0)
	for i := range r.island {
		newest = max(newest, r.island[i].Load())
	}
	for _, i := range nodes {
		r.island[i].Store(newest + 1)
	}
}

// rejoin brings nodes back to the mainland, which is where all begin.
func (r *relays) rejoin(nodes []int) {
	for _, i := range nodes {
		r.island[i].Store(0)
	}
}

// islands are the nodes of each part of the network, the mainland first.
func (r *relays) islands() [][]int {
	last := int32(0)
	for i := range r.island {
		last = max(last, r.island[i].Load())
	}
	var parts [][]int
	for number := range last + 1 {
		var part []int
		for i := range r.island {
			if r.island[i].Load() == number {
				part = append(part, i)
			}
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	return parts
}
