package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Node is what the service asks. All methods are called concurrently. Byte
// slices that are passed in are valid during the call only, but for the
// transaction of Submit, which the Node may keep. An error that wraps an
// abi.Code is answered with that code, any other with abi.CodeInternal.
type Node interface {
	// Decide answers a decision request; any failure is a denial.
	Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer
	// Standing is what the ledger says of a public key now. It is asked
	// before every request and must be cheap.
	Standing(key []byte) (abi.Standing, error)
	// Submit takes in a transaction and, with wait, returns when it is
	// committed.
	Submit(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error)
	// Status describes the node; the fields about the caller stay zero.
	Status() abi.NodeStatus
	// Prove returns the encoded proof.Entry of a state key.
	Prove(key []byte) ([]byte, error)
	Query(ctx context.Context, contract string, message []byte) (out []byte, height uint64, err error)
	// Scan returns at most limit pairs under prefix from start on.
	Scan(prefix, start []byte, limit int) (pairs [][2][]byte, more bool, height uint64, err error)
	Block(height uint64) (block, certificate, outcomes []byte, err error)
	Tx(id abi.Hash) (abi.TxResult, error)
	// Steps returns encoded proof.Steps above the height, at most limit of
	// them in ascending order, and whether others follow.
	Steps(after uint64, limit int) (steps [][]byte, more bool, err error)
	// Device is the ledger's record of a device.
	Device(id abi.Hash) (chain.Device, error)
	// Report has a device judged by what was seen of it. The statement is the
	// device's own signed word for the same, already checked, or nil.
	Report(ctx context.Context, o *abi.Observation, statement []byte) (abi.Judgement, error)
	// Receipt returns the encoded proof.Receipt of a decision, with now after
	// anchoring it if need be. It is for the Node to refuse a caller that is
	// neither who asked for the decision, nor owns its domain, nor is an auditor.
	Receipt(ctx context.Context, caller abi.Standing, record uint64, now bool) ([]byte, error)
	// Events returns the events of blocks above a height that pass the filter,
	// and the height up to which it looked, at a few blocks at a time. It keeps
	// nothing of the filter.
	Events(after uint64, filter *abi.EventFilter) (events []abi.EventFrame, upTo uint64, err error)
	// Committed is closed at the next block.
	Committed() <-chan struct{}
}

// Config configures a Server. Conn, Key and Node are required; a zero limit
// stands for its default.
type Config struct {
	Conn    net.PacketConn     // Run closes it
	Key     ed25519.PrivateKey // the key of the gateway's account
	Account abi.Hash           // the gateway's account, proved in hello
	Node    Node
	Logger  *slog.Logger // nil: none
	// Searcher answers searches; nil: the operation is not known.
	Searcher Searcher

	// ResetKey lets clients of an earlier process learn at once that their
	// connection is gone (RFC 9000 section 10.3). Keep it over restarts; with
	// all zeros the service sends no resets.
	ResetKey [32]byte

	// Anchors are the certificate authorities that vouch for the devices of a
	// manufacturer, by its name on the ledger. Certificates says what becomes of
	// them.
	Anchors      map[string]*x509.CertPool
	Certificates CertificateMode

	// Attack is told of what looks like an attack: its kind and the address, or
	// the IPv6 /64, that it comes from. It must not block. nil: nobody is.
	Attack func(kind, from string)

	MaxConnections int // at a time, about 60 KiB each; 512
	MaxPerAddress  int // connections of one IPv4 address or IPv6 /64; 256: many devices stand behind one NAT
	MaxPerKey      int // connections of one key; 16
	HandshakeRate  int // a second, above which an address must prove itself first; 50
	RequestRate    int // of one key a second, each item of a batch counted; 1000; negative: unlimited
	MaxLarge       int // frames above 4 KiB held at a time, with the answers up to 1 MiB each; 16
	MaxWaiting     int // submissions and receipts that wait for a block at a time; 256

	MaxSubscriptions int // at a time, a timer and an idle stream each; 128

	IdleTimeout   time.Duration // of a connection without any packet; 90 s
	FrameTimeout  time.Duration // from a frame's first byte to its last; 20 s: 80 KiB over a slow radio link
	WriteTimeout  time.Duration // for a client to take in an answer; 10 s
	SubmitTimeout time.Duration // for a submission that waits; 30 s
	DrainTimeout  time.Duration // for running requests when Run ends; 2 s
}

// validate checks c and fills in the defaults.
func (c *Config) validate() error {
	if c.Conn == nil || c.Node == nil || len(c.Key) != ed25519.PrivateKeySize {
		return errors.New("gateway: Conn, Node and an ed25519 Key are required")
	}
	if c.Certificates > RequireCertificates {
		return errors.New("gateway: unknown Certificates mode")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.MaxConnections, 512)
	orDefault(&c.MaxPerAddress, 256)
	orDefault(&c.MaxPerKey, 16)
	orDefault(&c.HandshakeRate, 50)
	orDefault(&c.RequestRate, 1000)
	orDefault(&c.MaxLarge, 16)
	orDefault(&c.MaxWaiting, 256)
	orDefault(&c.MaxSubscriptions, 128)
	orDefault(&c.IdleTimeout, 90*time.Second)
	orDefault(&c.FrameTimeout, 20*time.Second)
	orDefault(&c.WriteTimeout, 10*time.Second)
	orDefault(&c.SubmitTimeout, 30*time.Second)
	orDefault(&c.DrainTimeout, 2*time.Second)
	return nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
