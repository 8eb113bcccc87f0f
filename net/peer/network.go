package peer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/mdns/v2"
	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/seed79541315/postern/abi"
)

// Transport parameters between nodes.
const (
	handshakeTimeout = 5 * time.Second
	keepAlive        = 15 * time.Second // of the dialling side; watch finds what is dead long before idleTimeout
	idleTimeout      = 45 * time.Second
	connectionIDLen  = 8

	// What a stream may hold unread. Consensus must never wait for a stream
	// whose handler is busy, so the connection's window is that of all streams
	// together, by more than the quarter that quic-go lets pass before it
	// grants anew.
	initialStreamWindow = 64 << 10
	streamWindow        = 256 << 10
	uniStreams          = 3 // control, consensus, transactions
	connectionWindow    = (uniStreams + 2*maxRequests) * streamWindow * 4 / 3
)

// maxStrangers is how many connections to keys that the ledger does not know
// are kept besides those to configured addresses.
const maxStrangers = 4

// Network is a node's connections to others.
type Network struct {
	config    Config
	log       *slog.Logger
	key       Key
	instance  [instanceLen]byte
	tls       *tls.Config
	transport *quic.Transport // set by Run before anything uses it
	stats     counters
	admission *admission
	book      *book
	bans      *bans
	dials     atomic.Uint64 // connections dialled so far
	wake      chan struct{} // holds a token when seek may have something new to do
	banned    chan struct{} // holds a token when a ban is to be saved
	tasks     sync.WaitGroup
	local     func(ctx context.Context, found func(mdns.ServiceEvent)) error // multicast; another in tests

	mu      sync.Mutex // guards what follows
	conns   map[Key]*conn
	turns   map[Key]*turn // of listed connections and of those whose handlers are busy yet
	kept    map[Key]bool  // keys that answer at configured addresses
	changed chan struct{} // closed at the next change of conns or of a class
}

// New checks the configuration and reads the state file. Nothing runs before
// Run.
func New(c Config) (*Network, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	config, err := tlsConfig(c.Key)
	if err != nil {
		return nil, err
	}
	n := &Network{
		config: c, log: c.Logger, key: publicKey(c.Key), tls: config,
		book: newBook(), bans: newBans(),
		wake: make(chan struct{}, 1), banned: make(chan struct{}, 1),
		conns: map[Key]*conn{}, turns: map[Key]*turn{}, kept: map[Key]bool{}, changed: make(chan struct{}),
	}
	n.local = n.multicast
	n.admission = newAdmission(&n.config, &n.stats)
	if _, err := rand.Read(n.instance[:]); err != nil {
		return nil, err
	}
	n.recall()
	return n, nil
}

// Addr is the address of the socket.
func (n *Network) Addr() net.Addr { return n.config.Conn.LocalAddr() }

// Run accepts and dials peers until ctx ends, then closes all connections with
// abi.CodeShuttingDown and the socket, waits for the Handler's calls and
// returns nil. It returns an error if the socket fails. It can be called once.
func (n *Network) Run(ctx context.Context) error {
	defer n.config.Conn.Close()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := n.listen()
	if err != nil {
		return err
	}
	for _, address := range n.config.Peers {
		n.tasks.Go(func() { n.keep(running, address) })
	}
	n.tasks.Go(func() { n.watch(running) })
	n.tasks.Go(func() { n.remember(running) })
	if n.config.Learn || n.config.Local {
		n.tasks.Go(func() { n.seek(running) })
	}
	if n.config.Local {
		n.tasks.Go(func() { n.findLocal(running) })
	}
	err = n.accept(running, listener)
	cancel()
	n.tasks.Wait()
	_ = listener.Close() // always nil
	if cerr := n.transport.Close(); ctx.Err() != nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("network of nodes: %w", err)
	}
	return nil
}

func (n *Network) listen() (*quic.Listener, error) {
	n.transport = &quic.Transport{
		Conn:                n.config.Conn,
		ConnectionIDLength:  connectionIDLen,
		StatelessResetKey:   resetKey(n.config.Key),
		VerifySourceAddress: n.admission.mustRetry,
		ConnContext:         n.admission.open,
	}
	listener, err := n.transport.Listen(n.tls, quicConfig(0))
	if err != nil {
		return nil, fmt.Errorf("network of nodes: %w", err)
	}
	return listener, nil
}

func quicConfig(keepAlive time.Duration) *quic.Config {
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           handshakeTimeout,
		MaxIdleTimeout:                 idleTimeout,
		KeepAlivePeriod:                keepAlive,
		InitialStreamReceiveWindow:     initialStreamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
		MaxIncomingStreams:             maxRequests,
		MaxIncomingUniStreams:          uniStreams,
	}
}

// accept takes in connections until ctx ends or the socket fails.
func (n *Network) accept(ctx context.Context, listener *quic.Listener) error {
	for {
		q, err := listener.Accept(ctx)
		if err != nil {
			return err
		}
		n.stats.accepted.Add(1)
		n.tasks.Go(func() {
			c := n.newConn(q)
			err := n.greet(ctx, c, 0)
			n.admission.settle(q.Context())
			if err != nil {
				n.log.Debug("a peer was refused", "addr", q.RemoteAddr(), "err", err)
				return
			}
			n.serve(ctx, c)
		})
	}
}

func (n *Network) newConn(q *quic.Conn) *conn {
	return &conn{
		network: n, quic: q, since: time.Now(),
		queues: [kindRequest]*queue{
			kindControl:     newQueue(controlCount, controlBytes),
			kindConsensus:   newQueue(n.config.QueueCount, n.config.QueueBytes),
			kindTransaction: newQueue(n.config.QueueCount, transactionBytes),
		},
		requests: make(chan struct{}, maxRequests),
		tells:    rate.NewLimiter(rate.Limit(float64(learnPerMin)/60), learnBurst),
		asked:    rate.NewLimiter(rate.Limit(n.config.RequestRate), n.config.RequestRate),
		gone:     make(chan struct{}),
	}
}

// greet finds out who the other side is and lists the connection, or closes it
// with the reason. dial is the number of an own dial.
func (n *Network) greet(ctx context.Context, c *conn, dial uint64) error {
	err := n.admit(c)
	if err == nil {
		c.dial = dial
		err = c.exchange(ctx, &hello{
			protocol: protocol, chain: n.config.Chain, instance: n.instance, dial: dial, address: n.config.Advertise,
		})
	}
	if err == nil {
		err = n.register(c)
	}
	if err != nil {
		c.close(err)
		return explain(err)
	}
	return nil
}

// admit refuses, by its key, a peer that is not wanted.
func (n *Network) admit(c *conn) error {
	state := c.quic.ConnectionState().TLS
	key, err := provedKey(&state)
	if err != nil {
		return err
	}
	if key == n.key {
		return errSelf
	}
	if c.outbound && c.key != (Key{}) && c.key != key {
		return errOtherKey
	}
	c.key = key
	if left := n.bans.refused(key, time.Now()); left > 0 {
		n.stats.refusedBanned.Add(1)
		return fmt.Errorf("it misbehaved, refused for %v: %w", left.Round(time.Second), abi.CodeNotPermitted)
	}
	class := n.config.Class(key)
	c.class.Store(uint32(class))
	if class == Stranger && !c.outbound {
		n.stats.refusedStrangers.Add(1)
		return abi.CodeUnknownKey
	}
	return nil
}

// register lists a connection. Of several to one peer one is kept.
func (n *Network) register(c *conn) error {
	n.mu.Lock()
	old := n.conns[c.key]
	var err error
	var displaced *conn
	switch {
	case old != nil && old.quic.Context().Err() == nil && !better(n.key, c, old):
		err = errDuplicate
	case old == nil:
		displaced, err = n.room(c)
	}
	if err == nil {
		n.list(c)
	}
	n.mu.Unlock()
	if errors.Is(err, errDuplicate) {
		n.stats.duplicates.Add(1)
	}
	if err != nil {
		return err
	}
	if old != nil {
		n.stats.duplicates.Add(1)
		old.close(errDuplicate)
	}
	if displaced != nil {
		displaced.close(abi.CodeBusy)
	}
	n.reclass(c) // the ledger may have changed in between
	if c.standing() != Stranger {
		n.admission.met(c.quic.RemoteAddr())
	}
	n.log.Info("peer connected", "key", c.key, "class", c.standing(), "addr", c.quic.RemoteAddr(), "outbound", c.outbound)
	c.tell(n.reachable())
	return nil
}

// room says whether one more connection may be listed, if need be in the place
// of one of a lower class. n.mu is held.
func (n *Network) room(c *conn) (displaced *conn, err error) {
	strangers := 0
	for _, other := range n.conns {
		if other.standing() == Stranger && !other.isKept {
			strangers++
		}
		if displaced == nil || other.standing() < displaced.standing() {
			displaced = other
		}
	}
	if c.standing() == Stranger && !c.isKept && strangers >= maxStrangers {
		n.stats.refusedStrangers.Add(1)
		return nil, abi.CodeUnknownKey
	}
	if len(n.conns) < n.config.MaxPeers {
		return nil, nil
	}
	if displaced.standing() >= c.standing() {
		n.stats.refusedFull.Add(1)
		return nil, abi.CodeBusy
	}
	delete(n.conns, displaced.key)
	return displaced, nil
}

// list enters a connection; n.mu is held.
func (n *Network) list(c *conn) {
	n.conns[c.key] = c
	if n.turns[c.key] == nil {
		n.turns[c.key] = newTurn()
	}
	c.turn = n.turns[c.key]
	c.turn.conns++
	n.announce()
}

// unlist takes a connection that ended off the list.
func (n *Network) unlist(c *conn) {
	n.mu.Lock()
	if n.conns[c.key] == c {
		delete(n.conns, c.key)
		n.announce()
	}
	n.mu.Unlock()
	close(c.gone)
	n.log.Info("peer left", "key", c.key, "class", c.standing(), "reason", explain(context.Cause(c.quic.Context())))
	n.poke()
}

// serve runs a listed connection to its end.
func (n *Network) serve(ctx context.Context, c *conn) {
	c.run(ctx, func() { n.unlist(c) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.turn.conns--; c.turn.conns == 0 {
		delete(n.turns, c.key)
	}
}

// announce tells those who wait for Changed; n.mu is held.
func (n *Network) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// poke lets seek look again.
func (n *Network) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// lookup finds the connection to a peer, nil if there is none.
func (n *Network) lookup(k Key) *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns[k]
}

// all lists the connections in order of their keys.
func (n *Network) all() []*conn {
	n.mu.Lock()
	list := make([]*conn, 0, len(n.conns))
	for _, c := range n.conns {
		list = append(list, c)
	}
	n.mu.Unlock()
	slices.SortFunc(list, func(a, b *conn) int { return bytes.Compare(a.key[:], b.key[:]) })
	return list
}

// Send queues a consensus message for a peer; it must not change any more. It
// never blocks: what cannot be sent is dropped and counted. That is the
// message if the peer is not connected, else the oldest that wait for it.
func (n *Network) Send(to Key, message []byte) { n.send(kindConsensus, to, message, MaxMessage) }

// SendTransaction queues a transaction as Send does, on a stream of its own.
func (n *Network) SendTransaction(to Key, raw []byte) {
	n.send(kindTransaction, to, raw, MaxTransaction)
}

func (n *Network) send(k kind, to Key, m []byte, limit int) {
	c := n.lookup(to)
	if c == nil || len(m) > limit {
		n.stats.traffic[k].dropped.Add(1)
		return
	}
	c.queue(k, m)
}

// SendHead queues an encoded signed head for all connected nodes.
func (n *Network) SendHead(head []byte) {
	frame := append([]byte{controlHead}, head...)
	for _, c := range n.all() {
		if c.standing() != Stranger && len(head) <= MaxHead {
			c.queue(kindControl, frame)
		}
	}
}

// Connected lists the connected peers in order of their keys.
func (n *Network) Connected() []Info {
	conns := n.all()
	list := make([]Info, len(conns))
	for i, c := range conns {
		list[i] = c.info()
	}
	return list
}

// Changed returns a channel that is closed when a peer comes, goes or changes
// its class after this call.
func (n *Network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Misbehaved drops a peer and refuses it for a time that grows with each call,
// over restarts where there is a StateFile.
func (n *Network) Misbehaved(key Key, why error) {
	n.stats.misbehaved.Add(1)
	length := n.bans.strike(key, time.Now())
	n.log.Warn("a peer misbehaved and is refused", "key", key, "for", length.Round(time.Second), "reason", why)
	select {
	case n.banned <- struct{}{}:
	default:
	}
	if c := n.lookup(key); c != nil {
		c.close(fmt.Errorf("misbehaved: %w", abi.CodeNotPermitted))
	}
}

// Recheck asks Class again for all peers and drops those that became
// strangers.
func (n *Network) Recheck() {
	for _, c := range n.all() {
		n.reclass(c)
	}
	n.poke()
}

// reclass asks Class again for one peer. A stranger from the beginning is one
// that this side dialled for requests.
func (n *Network) reclass(c *conn) {
	class := n.config.Class(c.key)
	if old := Class(c.class.Swap(uint32(class))); old == class {
		return
	}
	n.mu.Lock()
	n.announce()
	n.mu.Unlock()
	if class == Stranger {
		n.log.Info("the ledger no longer knows a peer", "key", c.key)
		c.close(abi.CodeUnknownKey)
	}
}
