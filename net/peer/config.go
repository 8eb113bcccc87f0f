package peer

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/seed79541315/postern/abi"
)

// Limits of what crosses a connection, in bytes.
const (
	MaxFrame       = 1 << 20  // of a frame of a request stream
	MaxRequest     = 64 << 10 // of the frame that opens one
	MaxMessage     = 16 << 20 // of a consensus message: a NewView carries a quorum of whole blocks
	MaxTransaction = 64 << 10 // of a transaction, as the ledger has it
	MaxHead        = 1 << 10  // of an encoded signed head, which has some 200
)

// Key is the raw ed25519 public key of a node.
type Key [32]byte

// String is the key's first bytes, for logs.
func (k Key) String() string { return hex.EncodeToString(k[:6]) }

// Class is what the ledger says of a key.
type Class uint8

// Classes, from the least trusted.
const (
	Stranger  Class = iota // not known to the ledger
	Node                   // the key of an account that may run a node
	Validator              // a key of the current validator set
)

// String names the class, for logs and status.
func (c Class) String() string {
	switch c {
	case Node:
		return "node"
	case Validator:
		return "validator"
	}
	return "stranger"
}

// Handler takes what peers send. Its methods are called from the goroutine
// that reads that stream of that peer: one that blocks holds up that stream
// alone. Byte slices that are passed in belong to the Handler. Run waits for
// all calls, so they have to return when the node stops.
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
	// Serve answers one request of a known node. ctx ends when the other side
	// leaves. When Serve returns, the stream is ended: well with nil, else
	// with the error's abi.Code, and then what was sent may be lost.
	Serve(ctx context.Context, from Key, request []byte, s Stream) error
}

// Stream carries frames of at most MaxFrame bytes both ways. One goroutine may
// send while another receives. Errors wrap an abi.Code: the other side's where
// it refused, abi.CodeTimeout if it takes nothing in, abi.CodeUnavailable if
// the connection is gone.
type Stream interface {
	// Send writes a frame and returns when the transport has taken it in.
	Send(frame []byte) error
	// Receive returns the next frame, which belongs to the caller, or io.EOF
	// when the other side has ended well.
	Receive() ([]byte, error)
	// Close ends the own direction well, what was sent still arrives, and
	// stops the other. A stream from Open must be closed.
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
	Class   func(Key) Class // the ledger's word: cheap, called from several goroutines, must not call the Network
	Handler Handler

	Advertise string       // host:port at which others reach this node; "": where they see it
	Learn     bool         // dial nodes that peers tell of
	Local     bool         // find nodes on the local network by mDNS
	StateFile string       // keeps learnt addresses and misbehaviour over restarts; "": nothing is kept
	Logger    *slog.Logger // nil: none

	MaxPeers      int // connections at a time; 64
	HandshakeRate int // a second, above which an address must prove itself first; 20
	RequestRate   int // requests of one peer a second, the next ones wait; 200
	QueueCount    int // consensus messages, and as many transactions, that wait for one peer; 2048
	QueueBytes    int // bytes of the consensus messages; 20 MiB. A message that alone is longer is dropped
}

// validate checks c and fills in the defaults.
func (c *Config) validate() error {
	if c.Conn == nil || c.Class == nil || c.Handler == nil || len(c.Key) != ed25519.PrivateKeySize {
		return errors.New("peer: Conn, Class, Handler and an ed25519 Key are required")
	}
	for _, address := range c.Peers {
		if !validAddress(address) {
			return fmt.Errorf("peer: %q is not host:port: %w", address, abi.CodeBadArgument)
		}
	}
	if c.Advertise != "" && !validAddress(c.Advertise) {
		return fmt.Errorf("peer: advertised address %q is not host:port: %w", c.Advertise, abi.CodeBadArgument)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.MaxPeers, 64)
	orDefault(&c.HandshakeRate, 20)
	orDefault(&c.RequestRate, 200)
	orDefault(&c.QueueCount, 2048)
	orDefault(&c.QueueBytes, 20<<20)
	return nil
}

func orDefault(field *int, value int) {
	if *field <= 0 {
		*field = value
	}
}
