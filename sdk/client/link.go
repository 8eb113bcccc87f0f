package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/certificate"
)

// The gateway allows 8 streams. Requests that are answered at once share a
// few; those that may take long have others, so that a decision never waits
// behind a commit; and a subscription has one to itself.
const (
	quickLanes    = 2
	slowLanes     = 4
	followStreams = 2
)

// link is one connection to a gateway that was found to be the chain's.
type link struct {
	quic    *quic.Conn
	address int         // index of the gateway's address
	account abi.Hash    // the gateway's, as its hello proved
	broken  atomic.Bool // quic-go may not have said so yet
	left    atomic.Bool // for another gateway

	watch   atomic.Pointer[watch] // over the permits that are kept; nil: none yet
	checked atomic.Int64          // when its staleness was found small enough, ms since 1970

	mu        sync.Mutex // guards what follows
	quick     []*lane
	slow      []*lane
	follows   int            // subscriptions
	watched   bool           // a watch runs
	unwatched time.Time      // when the last one ended
	closed    bool           // no more lanes
	done      sync.WaitGroup // the lanes' readers
}

// slow says which operations may take long to answer.
func slow(op abi.Operation) bool {
	switch op {
	case abi.OpSubmit, abi.OpQuery, abi.OpScan, abi.OpBlock, abi.OpReport, abi.OpReceipt, abi.OpSearch:
		return true
	}
	return false
}

// roundTrip sends a request and waits for its answer.
func (l *link) roundTrip(ctx context.Context, op abi.Operation, body []byte) ([]byte, error) {
	ln, err := l.lane(ctx, op)
	if err != nil {
		return nil, err
	}
	c, err := ln.send(op, body)
	if err != nil {
		return nil, err
	}
	return c.wait(ctx)
}

// lane picks the lane with the fewest requests under way and opens another as
// long as that is not none.
func (l *link) lane(ctx context.Context, op abi.Operation) (*lane, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set, most := &l.quick, quickLanes
	if slow(op) {
		set, most = &l.slow, slowLanes
	}
	if l.closed {
		return nil, fmt.Errorf("%w: %w", errLost, abi.CodeUnavailable)
	}
	*set = withoutBroken(*set)
	best, load := leastLoaded(*set)
	if best != nil && (load == 0 || len(*set) == most) {
		return best, nil
	}
	// Streams that just broke count at the gateway until it has seen it.
	q, err := l.quic.OpenStream()
	if err != nil && best != nil {
		return best, nil
	}
	if err != nil {
		if q, err = l.quic.OpenStreamSync(ctx); err != nil {
			return nil, lost(err)
		}
	}
	ln := &lane{quic: q}
	*set = append(*set, ln)
	l.done.Go(ln.read)
	return ln, nil
}

func withoutBroken(lanes []*lane) []*lane {
	kept := lanes[:0]
	for _, l := range lanes {
		if l.failure() == nil {
			kept = append(kept, l)
		}
	}
	clear(lanes[len(kept):])
	return kept
}

func leastLoaded(lanes []*lane) (best *lane, load int) {
	for _, l := range lanes {
		if n := l.load(); best == nil || n < load {
			best, load = l, n
		}
	}
	return best, load
}

// alive says whether the connection still stands.
func (l *link) alive() bool { return !l.broken.Load() && l.quic.Context().Err() == nil }

// suspect marks the connection as broken unless the error is of one stream
// alone. A gateway that ends streams is about to leave.
func (l *link) suspect(err error) {
	var stream *quic.StreamError
	if !errors.As(err, &stream) || errors.Is(err, abi.CodeShuttingDown) {
		l.broken.Store(true)
	}
}

// close ends the connection and waits for the readers.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.quic.CloseWithError(0, "")
	l.done.Wait()
}

// dial connects to one address and requires that the ledger names the peer.
func (c *Client) dial(ctx context.Context, index int) (*link, error) {
	address := c.addresses[index]
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w: %w", address, abi.CodeUnavailable, err)
	}
	q, err := c.transport.Dial(ctx, addr, c.tls, &quic.Config{
		Versions:              []quic.Version{quic.Version1},
		HandshakeIdleTimeout:  c.config.Timeout,
		MaxIdleTimeout:        idleTimeout,
		KeepAlivePeriod:       c.config.KeepAlive,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", address, dialError(ctx, err))
	}
	l := &link{quic: q, address: index}
	err = c.authenticate(ctx, l)
	if err == nil && c.config.MaxStaleness > 0 {
		err = c.checkStaleness(ctx, l)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("gateway %s: %w", address, err)
	}
	return l, nil
}

func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var transport *quic.TransportError
	if errors.As(err, &transport) && transport.ErrorCode.IsCryptoError() {
		return fmt.Errorf("%w: %w", abi.CodeNotAuthenticated, err)
	}
	return lost(err)
}

// authenticate checks that the peer is a gateway of the chain.
func (c *Client) authenticate(ctx context.Context, l *link) error {
	state := l.quic.ConnectionState().TLS
	tlsKey, err := certificate.Key(&state)
	if err != nil {
		return err
	}
	floor := c.light.Height()
	after := c.light.StepsAfter(math.MaxUint64)
	raw, err := l.roundTrip(ctx, abi.OpHello, cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), after))
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	hello, err := abi.ParseHello(raw)
	if err == nil {
		err = c.introduced(ctx, l, &hello, tlsKey, floor)
	}
	if err != nil {
		return fmt.Errorf("it is not a gateway of this chain: %w: %w", ErrNotGateway, err)
	}
	return nil
}

// introduced checks a gateway's hello, and asks for further steps if those in
// it do not reach.
func (c *Client) introduced(ctx context.Context, l *link, hello *abi.Hello, tlsKey []byte, floor uint64) error {
	for _, step := range hello.Steps {
		if err := c.light.Advance(step); err != nil {
			return err
		}
	}
	l.account = hello.Account
	return c.led(ctx, l, math.MaxUint64, func() error { return c.light.gateway(hello, tlsKey, floor) })
}

// led checks something of a height, and once more if steps were missing that
// the gateway has.
func (c *Client) led(ctx context.Context, l *link, height uint64, check func() error) error {
	err := check()
	if !errors.Is(err, ErrUnknownValidators) {
		return err
	}
	if walked := c.walk(ctx, l, height); walked != nil {
		return errors.Join(err, walked)
	}
	return check()
}

// ErrNotGateway is what a call returns, wrapped, when the peer could not prove
// that the chain's ledger names it as a gateway.
var ErrNotGateway = errors.New("peer not proved")

// tlsConfig is the client's side of the handshake. The peer's certificate
// proves a key and nothing else; the ledger says whose it is.
func tlsConfig(own tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{abi.ALPN},
		Certificates:           []tls.Certificate{own},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // the name in it means nothing; authenticate checks the key
		VerifyConnection:       certificate.Verify,
	}
}

// idleTimeout is how long a connection lives without any packet; the
// gateway's own is 90 s.
const idleTimeout = 90 * time.Second
