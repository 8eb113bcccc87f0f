package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/seed79541315/postern/abi"
)

// Limits of what crosses a connection.
const (
	MaxFrame       = 1 << 20  // bytes of a frame of a request stream
	MaxMessage     = 16 << 20 // bytes of a consensus message: a NewView carries a quorum of whole blocks
	MaxTransaction = 64 << 10 // bytes of a transaction
	MaxHead        = 1 << 10  // bytes of an encoded signed head
)

// Key is the raw ed25519 public key of a node.
type Key [32]byte

// Class is what the ledger says of a key.
type Class uint8

// Classes, from the least trusted.
const (
	Stranger  Class = iota // not known to the ledger
	Node                   // the key of an account that may run a node
	Validator              // a key of the current validator set
)

// Handler takes what peers send. Its methods are called from the goroutine
// that reads that stream of that peer: one that blocks holds up that stream
// alone. Byte slices that are passed in belong to the Handler.
type Handler interface {
	// Consensus takes a consensus message, in the order sent. Only keys of
	// class Validator are heard.
	Consensus(from Key, message []byte)
	// Transaction takes a transaction of any known node. A returned error that
	// wraps abi.CodeBadSignature or abi.CodeMalformed counts as misbehaviour:
	// an honest node passes on only what it has verified.
	Transaction(from Key, raw []byte) error
	// Head takes an encoded chain.SignedHead, the sender's own or one that it
	// passes on.
	Head(from Key, head []byte)
	// Serve answers one request of a known node. The stream is ended when it
	// returns: well with nil, else with the error's abi.Code.
	Serve(ctx context.Context, from Key, request []byte, s Stream) error
}

// Stream carries frames of at most MaxFrame bytes both ways. One goroutine may
// send while another receives.
type Stream interface {
	// Send writes a frame and returns when the transport has taken it in.
	Send(frame []byte) error
	// Receive returns the next frame, which belongs to the caller, or io.EOF
	// when the other side has ended well.
	Receive() ([]byte, error)
	// Close sends what is left and ends both ways.
	Close() error
}

// Info describes one connected peer.
type Info struct {
	Key      Key
	Class    Class
	Addr     string // as seen by this node
	Outbound bool   // dialled by this node
	RTT      time.Duration
	Since    time.Time
}

// Config configures a Network. Conn, Key, Class and Handler are required; a
// zero limit stands for its default.
type Config struct {
	Conn    net.PacketConn     // Run closes it
	Key     ed25519.PrivateKey // of the node's account
	Chain   abi.Hash
	Peers   []string        // host:port, dialled for ever; names are resolved at each try
	Class   func(Key) Class // the ledger's word: cheap, called from several goroutines
	Handler Handler

	Advertise string // host:port at which others reach this node; "": where they see it
	Learn     bool   // dial nodes that peers tell of
	Local     bool   // find nodes on the local network by mDNS
	StateFile string // keeps learnt addresses and misbehaviour over restarts; "": nothing is kept
	Logger    *slog.Logger

	MaxPeers      int // connections at a time; 64
	HandshakeRate int // a second, above which an address must prove itself first; 20
	RequestRate   int // requests of one peer a second, the next ones wait; 200
	QueueCount    int // consensus messages that wait for one peer; 2048
	QueueBytes    int // their bytes; 20 MiB, which is no less than one MaxMessage
}

func (c *Config) validate() error {
	if c.Conn == nil || c.Class == nil || c.Handler == nil || len(c.Key) != ed25519.PrivateKeySize {
		return errors.New("peer: Conn, Class, Handler and an ed25519 Key are required")
	}
	return nil
}
