package peer_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// printer prints what it hears.
type printer struct{ heard chan struct{} }

func (p printer) Consensus(_ peer.Key, message []byte) {
	fmt.Printf("consensus: %s\n", message)
	close(p.heard)
}

func (printer) Transaction(peer.Key, []byte) error { return nil }
func (printer) Head(peer.Key, []byte)              {}

func (printer) Serve(_ context.Context, _ peer.Key, request []byte, s peer.Stream) error {
	return s.Send(append([]byte("answer to "), request...))
}

// Two validators on the loopback interface: the second dials the first.
func Example() {
	keys := make([]ed25519.PrivateKey, 2)
	nodes := make([]*peer.Network, 2)
	heard := make(chan struct{})
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range nodes {
		keys[i] = ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i)))
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		config := peer.Config{
			Conn: conn, Key: keys[i], Chain: abi.Hash{1}, Handler: printer{heard},
			Class: func(peer.Key) peer.Class { return peer.Validator },
		}
		if i > 0 {
			config.Peers = []string{nodes[0].Addr().String()}
		}
		if nodes[i], err = peer.New(config); err != nil {
			panic(err)
		}
		running.Go(func() {
			if err := nodes[i].Run(ctx); err != nil {
				fmt.Println(err)
			}
		})
	}
	changed := nodes[1].Changed()
	for len(nodes[1].Connected()) == 0 {
		<-changed
		changed = nodes[1].Changed()
	}
	first := nodes[1].Connected()[0].Key

	s, err := nodes[1].Open(ctx, first, []byte("block 7"))
	if err != nil {
		panic(err)
	}
	answer, err := s.Receive()
	fmt.Printf("%s, %v\n", answer, err)
	s.Close()

	nodes[1].Send(first, []byte("vote"))
	<-heard
	cancel()
	running.Wait()
	// Output:
	// answer to block 7, <nil>
	// consensus: vote
}
