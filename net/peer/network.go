package peer

import (
	"context"

	"github.com/seed79541315/postern/abi"
)

// Network is a node's connections to others.
type Network struct{ config Config }

// New checks the configuration. Nothing runs before Run.
func New(c Config) (*Network, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Network{config: c}, nil
}

// Run accepts and dials peers until ctx ends.
func (n *Network) Run(ctx context.Context) error {
	<-ctx.Done()
	return n.config.Conn.Close()
}

// Send queues a consensus message for a peer. It never blocks: the message is
// dropped, and counted, if the peer is not connected or its queue is full.
func (n *Network) Send(to Key, message []byte) {}

// SendTransaction queues a transaction like Send, on a stream of its own.
func (n *Network) SendTransaction(to Key, raw []byte) {}

// SendHead queues an encoded signed head for all connected nodes.
func (n *Network) SendHead(head []byte) {}

// Open sends a request to a connected peer and returns the stream of its answer.
func (n *Network) Open(ctx context.Context, to Key, request []byte) (Stream, error) {
	return nil, abi.CodeUnavailable
}

// Connected lists the connected peers in order of their keys.
func (n *Network) Connected() []Info { return nil }

// Changed returns a channel that is closed when a peer comes, goes or changes
// its class after this call.
func (n *Network) Changed() <-chan struct{} { return nil }

// Misbehaved drops a peer and refuses it for a time that grows with each call.
func (n *Network) Misbehaved(key Key, why error) {}

// Recheck asks Class again for all peers and drops those that became strangers.
func (n *Network) Recheck() {}

// Stats is a snapshot of a Network's counters.
type Stats struct{}

// Stats returns the counters as they are now.
func (n *Network) Stats() Stats { return Stats{} }
