package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Key is the caller's identity: it signs transactions and makes the
// certificate of mutual TLS. *key.Key is one.
type Key interface {
	chain.Signer
	Certificate() (tls.Certificate, error)
}

// Config configures a Client. Bundle and Key are required.
type Config struct {
	Bundle *Bundle
	Key    Key
	Addr   string // of the gateway, host:port; empty: those of the bundle in turn

	PacketConn net.PacketConn // nil: an own UDP socket; one that is given stays open after Close
	Timeout    time.Duration  // for connecting, and for a request whose context has no deadline; 10 s
	KeepAlive  time.Duration  // how often an idle connection is kept open through a NAT; 20 s; negative: never
	Attempts   int            // rounds over the addresses before connecting fails; 3

	// MaxStaleness is how old a gateway's proof may be that it is not cut off
	// from the validators. One whose own is older is left for the next address;
	// when all are, requests fail with abi.CodeTooStale. It is the gateways'
	// word. 0: any.
	MaxStaleness time.Duration

	MaxPermits int // that Check keeps, a few hundred bytes each; 256; negative: none
}

// The delay before connecting again doubles from the first to the last.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 2 * time.Second
)

// Client talks to one gateway at a time. It is safe for concurrent use. When
// the connection is lost, the next request connects again.
type Client struct {
	config    Config
	addresses []string
	light     *LightClient
	tls       *tls.Config
	transport *quic.Transport
	ownConn   net.PacketConn // nil when the caller gave one

	turn    chan struct{} // held by who connects
	current atomic.Pointer[link]
	next    int         // index of the address to try; held by who connects
	stale   time.Time   // when all gateways were found stale; held by who connects
	closed  atomic.Bool // set once, by Close
	window  atomic.Int64
	params  atomic.Pointer[chain.Params] // the newest that were read; nil: the genesis's
}

var errClosed = fmt.Errorf("the client is closed: %w", abi.CodeUnavailable)

// New makes a client that connects with its first request: for a device that
// starts without a network.
func New(c Config) (*Client, error) { return newClient(c) }

// Dial connects to a gateway of the bundle's chain. It fails with
// ErrNotGateway if a peer answers that the ledger does not name, and with
// abi.CodeUnavailable if none answers.
func Dial(ctx context.Context, c Config) (*Client, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	if _, err := client.connect(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

func newClient(c Config) (*Client, error) {
	if c.Bundle == nil || c.Key == nil {
		return nil, fmt.Errorf("client: Bundle and Key are required: %w", abi.CodeBadArgument)
	}
	c.setDefaults()
	light, err := NewLight(c.Bundle)
	if err != nil {
		return nil, err
	}
	certificate, err := c.Key.Certificate()
	if err != nil {
		return nil, err
	}
	client := &Client{config: c, addresses: c.Bundle.Gateways, light: light, tls: tlsConfig(certificate), turn: make(chan struct{}, 1)}
	if c.Addr != "" {
		client.addresses = []string{c.Addr}
	}
	if len(client.addresses) == 0 {
		return nil, fmt.Errorf("client: neither Addr nor the bundle names a gateway: %w", abi.CodeBadArgument)
	}
	conn := c.PacketConn
	if conn == nil {
		if conn, err = net.ListenUDP("udp", nil); err != nil {
			return nil, fmt.Errorf("client: %w: %w", abi.CodeUnavailable, err)
		}
		client.ownConn = conn
	}
	client.transport = &quic.Transport{Conn: conn}
	return client, nil
}

func (c *Config) setDefaults() {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 20 * time.Second
	}
	c.KeepAlive = max(0, c.KeepAlive)
	if c.Attempts <= 0 {
		c.Attempts = 3
	}
	if c.MaxPermits == 0 {
		c.MaxPermits = 256
	}
}

// Close ends the connection. Requests under way fail.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if l := c.current.Load(); l != nil {
		l.close()
	}
	err := c.transport.Close() // and with it whatever is being dialled
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if l := c.current.Load(); l != nil {
		l.close()
	}
	if c.ownConn != nil {
		err = errors.Join(err, c.ownConn.Close())
	}
	return err
}

// Chain is the id of the chain.
func (c *Client) Chain() abi.Hash { return c.light.Chain() }

// Genesis is the chain's genesis. It must not be modified.
func (c *Client) Genesis() *chain.Genesis { return c.light.Genesis() }

// Height is the newest height that was proved to this client. A device that
// keeps it in its bundle is not deceived by older proofs after a restart.
func (c *Client) Height() uint64 { return c.light.Height() }

// Checkpoint is the newest one that was proved to this client, nil if the
// chain has had no block yet.
func (c *Client) Checkpoint() *Checkpoint { return c.light.Checkpoint() }

// Bundle is what the client would begin with now, as LightClient.Bundle has it.
func (c *Client) Bundle() *Bundle { return c.light.Bundle() }

// do sends a request and returns the body of the answer.
func (c *Client) do(ctx context.Context, op abi.Operation, body []byte) ([]byte, error) {
	var answer []byte
	err := c.ask(ctx, op, body, func(_ context.Context, _ *link, raw []byte) error {
		answer = raw
		return nil
	})
	return answer, err
}

// ask sends a request and checks the answer. A gateway whose answer does not
// pass is left for another, while there are others that were not asked.
func (c *Client) ask(ctx context.Context, op abi.Operation, body []byte, check func(ctx context.Context, l *link, answer []byte) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	for asked := 1; ; asked++ {
		began := time.Now()
		l, answer, err := c.exchange(ctx, op, body)
		if err != nil {
			if l != nil && ctx.Err() == context.DeadlineExceeded && time.Since(began) >= c.config.Timeout/2 {
				c.leave(l) // it is silent; this request has no time left, the next one will not wait for it
			}
			return err
		}
		err = check(ctx, l, answer)
		if err == nil || asked >= len(c.addresses) || ctx.Err() != nil || errors.Is(err, abi.CodeNotReady) {
			return err
		}
		c.leave(l)
	}
}

// leave has the next request go to another gateway, if there is another.
func (c *Client) leave(l *link) {
	if len(c.addresses) > 1 {
		l.left.Store(true)
		l.broken.Store(true)
	}
}

// exchange sends a request and takes in the answer. A request whose connection
// was lost is sent again once: decisions and reads change nothing, and the
// ledger refuses a transaction that it has already.
func (c *Client) exchange(ctx context.Context, op abi.Operation, body []byte) (*link, []byte, error) {
	for again := true; ; again = false {
		l, err := c.connect(ctx)
		if err != nil {
			return nil, nil, err
		}
		answer, err := l.roundTrip(ctx, op, body)
		if errors.Is(err, errLost) {
			l.suspect(err)
		}
		if err == nil || !again || !errors.Is(err, errLost) || refusal(CodeOf(err)) {
			return l, answer, err
		}
	}
}

// refusal says whether a gateway that closed the connection with this code
// would only do so again.
func refusal(code abi.Code) bool {
	return code != abi.CodeUnavailable && code != abi.CodeShuttingDown && code != abi.CodeTimeout
}

// connect returns the connection, and makes one if there is none that is good.
func (c *Client) connect(ctx context.Context) (*link, error) {
	if l := c.current.Load(); l != nil && l.alive() && c.fresh(ctx, l) {
		return l, nil
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	if l := c.current.Load(); l != nil && l.alive() {
		return l, nil
	}
	if c.closed.Load() {
		return nil, errClosed
	}
	return c.reconnect(ctx)
}

// reconnect tries every address in turn, some times over, with growing delay.
func (c *Client) reconnect(ctx context.Context) (*link, error) {
	if old := c.current.Load(); old != nil && old.left.Load() {
		c.next = (old.address + 1) % len(c.addresses)
	}
	if time.Since(c.stale) < staleFor {
		return nil, errAllStale
	}
	delay := firstDelay
	var failed error
	for try := range c.config.Attempts * len(c.addresses) {
		if try > 0 && try%len(c.addresses) == 0 {
			if err := pause(ctx, delay); err != nil {
				return nil, errors.Join(failed, err)
			}
			delay = min(2*delay, lastDelay)
		}
		l, err := c.dial(ctx, c.next)
		if err == nil {
			if old := c.current.Swap(l); old != nil {
				old.close()
			}
			return l, nil
		}
		c.next = (c.next + 1) % len(c.addresses)
		failed = err
		if ctx.Err() != nil || c.closed.Load() || len(c.addresses) == 1 && !errors.Is(err, abi.CodeUnavailable) {
			break // to try again would not help
		}
		if errors.Is(err, abi.CodeTooStale) && try == len(c.addresses)-1 {
			c.stale = time.Now()
			break // it takes the gateways longer than our rounds to catch up
		}
	}
	return nil, failed
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}
