package gateway

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Transport parameters of the device port.
const (
	maxStreams   = 8        // persistent streams of a connection
	streamWindow = 16 << 10 // bytes a client may send ahead on a stream
	// What is sent ahead behind requests that take long counts against the
	// connection. It is more than all streams together, by more than the
	// quarter that quic-go lets pass before it grants anew: so no stream keeps
	// another from its window, and unread are 128 KiB at most.
	connectionWindow = 192 << 10
	connectionIDLen  = 12 // bytes; with fewer the packet of a small request is too small for quic-go to answer it with a reset
	handshakeTimeout = 5 * time.Second
)

// Server is the device port of one node.
type Server struct {
	config    Config
	stats     *counters
	admission *admission
	rechecks  *rechecks
	large     slots // frames above bufferSize in memory
	waiting   slots // requests that wait for a commit

	subscriptions slots
}

// New checks the configuration. Nothing runs before Run.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return newServer(c), nil
}

func newServer(c Config) *Server {
	s := &Server{
		config: c, stats: newCounters(), rechecks: newRechecks(),
		large: newSlots(c.MaxLarge), waiting: newSlots(c.MaxWaiting), subscriptions: newSlots(c.MaxSubscriptions),
	}
	s.admission = newAdmission(&s.config, s.stats)
	return s
}

// Addr is the address of the socket.
func (s *Server) Addr() net.Addr { return s.config.Conn.LocalAddr() }

// Run serves until ctx ends, then lets running requests finish within
// DrainTimeout, closes every connection with abi.CodeShuttingDown and the
// socket, and returns nil. It returns an error if the socket fails.
func (s *Server) Run(ctx context.Context) error {
	defer s.config.Conn.Close()
	transport, listener, err := s.listen()
	if err != nil {
		return err
	}
	rechecking, stopRechecks := context.WithCancel(ctx)
	defer stopRechecks()
	var conns sync.WaitGroup
	conns.Go(func() { s.runRechecks(rechecking) })
	for {
		q, acceptErr := listener.Accept(ctx)
		if acceptErr != nil {
			err = acceptErr
			break
		}
		conns.Go(func() { s.serve(ctx, q) })
	}
	if ctx.Err() == nil {
		transport.Close() // the socket broke: so did every connection
	}
	_ = listener.Close() // always nil
	stopRechecks()
	late := time.AfterFunc(s.config.DrainTimeout, func() { transport.Close() })
	conns.Wait()
	late.Stop()
	if cerr := transport.Close(); ctx.Err() != nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("device port: %w", err)
	}
	return nil
}

func (s *Server) listen() (*quic.Transport, *quic.Listener, error) {
	tlsConfig, err := s.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	transport := &quic.Transport{
		Conn:                s.config.Conn,
		ConnectionIDLength:  connectionIDLen,
		VerifySourceAddress: s.admission.mustRetry,
		ConnContext:         s.admission.open,
	}
	if s.config.ResetKey != [32]byte{} {
		key := quic.StatelessResetKey(s.config.ResetKey)
		transport.StatelessResetKey = &key
	}
	listener, err := transport.Listen(tlsConfig, &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           handshakeTimeout,
		MaxIdleTimeout:                 s.config.IdleTimeout,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
		MaxIncomingStreams:             maxStreams,
		MaxIncomingUniStreams:          -1,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("device port: %w", err)
	}
	return transport, listener, nil
}

// conn is one connection whose key is proved.
type conn struct {
	server  *Server
	quic    *quic.Conn
	peer    *peer
	account *account
	ctx     context.Context // ends with the connection
	run     context.Context // ends when the server shuts down

	standing abi.Standing // when it was last looked at; owned by runRechecks
	vouched  atomic.Bool  // its certificate was held against the ledger
}

// serve runs one connection to its end.
func (s *Server) serve(ctx context.Context, q *quic.Conn) {
	s.stats.accepted.Add(1)
	s.stats.connections.Add(1)
	defer s.stats.connections.Add(-1)
	c := &conn{server: s, quic: q, ctx: q.Context(), run: ctx}
	c.peer = c.ctx.Value(peerKey{}).(*peer)
	if code, why := c.claim(); code != abi.OK {
		c.abort(code, why)
		return
	}
	c.close(c.acceptStreams())
}

// claim counts the connection for the key that it proved. A retired device is
// told so and sent away, and so is one whose certificate does not vouch for it.
func (c *conn) claim() (code abi.Code, why string) {
	state := c.quic.ConnectionState().TLS
	key, err := c.server.keyOf(&state)
	if err != nil {
		return codeOf(err), ""
	}
	standing, err := c.server.config.Node.Standing(key)
	if err != nil {
		return codeOf(err), ""
	}
	if standing.Device == abi.StatusRetired {
		return abi.CodeDeviceInactive, standing.Why()
	}
	if code, why := c.vouch(&standing); code != abi.OK {
		return code, why
	}
	c.standing = standing
	id := standing.Account
	if !standing.Known {
		id = chain.AccountID(key) // what its account would be
	}
	if err := c.server.admission.claim(c, key, id); err != nil {
		return codeOf(err), ""
	}
	// A block may have changed what the Node said before the connection was
	// counted; from here on Recheck finds it.
	c.server.Recheck(id)
	return abi.OK, ""
}

// acceptStreams serves the streams that the client opens and waits for them.
// It returns the code with which the connection is to be closed.
func (c *conn) acceptStreams() abi.Code {
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		q, err := c.quic.AcceptStream(c.run)
		if err != nil {
			return abi.CodeShuttingDown // or the client left: then no one hears it
		}
		if !c.account.take(time.Now(), 1) {
			c.abort(abi.CodeRateLimited, "") // opening and dropping streams is no way around the bucket
			return abi.CodeRateLimited
		}
		streams.Go(func() { c.serveStream(q) })
	}
}

// take takes n tokens from the key's bucket.
func (acc *account) take(now time.Time, n int) bool {
	return acc.bucket == nil || acc.bucket.AllowN(now, n)
}

// wait waits for n tokens, a burst at a time, and is false if ctx ends first.
func (acc *account) wait(ctx context.Context, n int) bool {
	for acc.bucket != nil && n > 0 {
		some := min(n, acc.bucket.Burst())
		if acc.bucket.WaitN(ctx, some) != nil {
			return false
		}
		n -= some
	}
	return true
}

// close ends the connection with a code. When the server shuts down, the last
// answers get a moment to arrive: the client closes when it has them.
func (c *conn) close(code abi.Code) {
	if c.run.Err() != nil {
		select {
		case <-c.ctx.Done():
		case <-time.After(lastAnswers):
		}
	}
	c.abort(code, "")
}

// lastAnswers is how long the answers of a closing server may travel.
const lastAnswers = 200 * time.Millisecond

// maxReason is how much of a reason is sent: with its code it has to fit into
// one packet.
const maxReason = 512

// abort ends the connection at once, with a reason for people; without one the
// code's name stands for it.
func (c *conn) abort(code abi.Code, why string) {
	if why == "" {
		why = code.Name()
	}
	if len(why) > maxReason {
		why = strings.ToValidUTF8(why[:maxReason], "")
	}
	_ = c.quic.CloseWithError(quic.ApplicationErrorCode(code), why)
}
