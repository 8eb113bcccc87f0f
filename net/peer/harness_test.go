package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/seed79541315/postern/abi"
)

// world is a simulated network with its nodes, for a bubble of virtual time.
type world struct {
	t       testing.TB
	latency time.Duration
	delay   func(simnet.Packet) time.Duration // in place of latency, if set

	mu      sync.Mutex // guards what follows
	ports   map[netip.AddrPort]simnet.PacketReceiver
	classes map[Key]Class
	loses   func(from, to netip.AddrPort) bool // says whether a packet is lost
	packets int
	bytes   int // that were sent
}

func newWorld(t testing.TB) *world {
	return &world{t: t, latency: 5 * time.Millisecond, ports: map[netip.AddrPort]simnet.PacketReceiver{}, classes: map[Key]Class{}}
}

// simulate runs a test in virtual time.
func simulate(t *testing.T, run func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, newWorld(t)) })
}

// SendPacket implements simnet.Router.
func (w *world) SendPacket(p simnet.Packet) error {
	from, _ := addrPort(p.From)
	to, _ := addrPort(p.To)
	w.mu.Lock()
	w.packets++
	w.bytes += len(p.Data)
	receiver := w.ports[to]
	lost := w.loses != nil && w.loses(from, to)
	w.mu.Unlock()
	if receiver != nil && !lost {
		receiver.RecvPacket(p)
	}
	return nil
}

// AddNode implements simnet.Router.
func (w *world) AddNode(addr net.Addr, receiver simnet.PacketReceiver) {
	p, _ := addrPort(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[p] = receiver
}

// lose sets which packets are lost, nil for none.
func (w *world) lose(loses func(from, to netip.AddrPort) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loses = loses
}

// cut loses all that a host sends or gets.
func (w *world) cut(host int) {
	ip := at(host).Addr()
	w.lose(func(from, to netip.AddrPort) bool { return from.Addr() == ip || to.Addr() == ip })
}

func (w *world) sent() (packets, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.packets, w.bytes
}

func (w *world) set(k Key, c Class) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.classes[k] = c
}

func (w *world) class(k Key) Class {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.classes[k]
}

// at is the address of a host.
func at(host int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), 7423)
}

// socket is a socket of a host, which ends with the test.
func (w *world) socket(host int) net.PacketConn {
	addr := net.UDPAddrFromAddrPort(at(host))
	link := &simnet.SimulatedLink{Latency: w.latency, LatencyFunc: w.delay, UploadPacket: w}
	conn := simnet.NewBlockingSimConn(addr, link)
	link.Start()
	w.AddNode(addr, link)
	w.t.Cleanup(func() {
		conn.Close()
		link.Close()
	})
	return conn
}

// keyOf is the key of the node on a host.
func keyOf(host int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "node %d", host))
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(host int) Key { return publicKey(keyOf(host)) }

var testChain = abi.Hash{1, 2, 3}

// node is a running Network and what its Handler got.
type node struct {
	*Network
	host int
	stop func()

	mu           sync.Mutex // guards what follows
	consensus    [][]byte
	transactions [][]byte
	heads        [][]byte

	onConsensus   func()                                                    // called at each message
	onTransaction func(raw []byte) error                                    // nil: taken
	onServe       func(ctx context.Context, request []byte, s Stream) error // nil: echoes frames
}

func (n *node) Consensus(_ Key, m []byte) {
	n.mu.Lock()
	n.consensus = append(n.consensus, m)
	n.mu.Unlock()
	if n.onConsensus != nil {
		n.onConsensus()
	}
}

func (n *node) Transaction(_ Key, raw []byte) error {
	n.mu.Lock()
	n.transactions = append(n.transactions, raw)
	n.mu.Unlock()
	if n.onTransaction != nil {
		return n.onTransaction(raw)
	}
	return nil
}

func (n *node) Head(_ Key, head []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heads = append(n.heads, head)
}

func (n *node) Serve(ctx context.Context, _ Key, request []byte, s Stream) error {
	if n.onServe != nil {
		return n.onServe(ctx, request, s)
	}
	for frame := request; ; {
		if err := s.Send(frame); err != nil {
			return err
		}
		var err error
		if frame, err = s.Receive(); err != nil {
			return nil
		}
	}
}

// got copies what arrived.
func (n *node) got() (consensus, transactions, heads [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([][]byte(nil), n.consensus...), append([][]byte(nil), n.transactions...), append([][]byte(nil), n.heads...)
}

// start runs a node on a host as a validator that dials the given hosts; set
// changes its Config, or the node before it runs.
func (w *world) start(host int, dials []int, set func(*Config, *node)) *node {
	w.t.Helper()
	if w.class(idOf(host)) == Stranger {
		w.set(idOf(host), Validator)
	}
	return w.startAs(host, dials, set)
}

// startAs is start without making the node a validator.
func (w *world) startAs(host int, dials []int, set func(*Config, *node)) *node {
	w.t.Helper()
	n := &node{host: host}
	c := Config{Conn: w.socket(host), Key: keyOf(host), Chain: testChain, Class: w.class, Handler: n, Logger: testLog(w.t, host)}
	for _, d := range dials {
		c.Peers = append(c.Peers, at(d).String())
	}
	if set != nil {
		set(&c, n)
	}
	n.run(w.t, c)
	return n
}

func (n *node) run(t testing.TB, c Config) {
	t.Helper()
	n.prepare(t, c)
	n.begin(t)
}

func (n *node) prepare(t testing.TB, c Config) {
	t.Helper()
	var err error
	if n.Network, err = New(c); err != nil {
		t.Fatal(err)
	}
}

func (n *node) begin(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run of node %d: %v", n.host, err)
		}
	})
	t.Cleanup(n.stop)
}

// testLog shows the logs of nodes where PEER_LOG is set.
func testLog(t testing.TB, host int) *slog.Logger {
	if os.Getenv("PEER_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", host, "id", idOf(host))
}

// settled lets virtual time pass and everything that is due happen.
func settled(d time.Duration) {
	elapse(d)
	synctest.Wait()
}

// mustConnect fails the test unless all nodes are connected to each other.
func mustConnect(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b && a.lookup(b.key) == nil {
				t.Fatalf("node %d is not connected to node %d", a.host, b.host)
			}
		}
	}
}

// raw is a connection of a hostile or broken peer, byte for byte.
type raw struct {
	t testing.TB
	*quic.Conn
}

// dialRaw makes a QUIC connection to a host with the key of another.
func (w *world) dialRaw(from, to int) *raw {
	w.t.Helper()
	config, err := tlsConfig(keyOf(from))
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &quic.Transport{Conn: w.socket(from)}
	w.t.Cleanup(func() { transport.Close() })
	q, err := transport.Dial(w.t.Context(), net.UDPAddrFromAddrPort(at(to)), config, &quic.Config{MaxIdleTimeout: time.Hour, KeepAlivePeriod: 10 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	return &raw{t: w.t, Conn: q}
}

// uni opens a unidirectional stream and writes to it.
func (r *raw) uni(content ...[]byte) *quic.SendStream {
	r.t.Helper()
	s, err := r.OpenUniStreamSync(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := s.Write(bytes.Join(content, nil)); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// goodHello is what an honest dialler says.
func goodHello() hello {
	return hello{protocol: protocol, chain: testChain, instance: [instanceLen]byte{9}, dial: 1}
}

// greet opens the control stream with a hello.
func (r *raw) greet(h hello) *quic.SendStream {
	r.t.Helper()
	return r.uni([]byte{byte(kindControl)}, appendFrame(nil, appendHello(nil, &h)))
}

// closedWith waits for the connection's end and requires a code.
func (r *raw) closedWith(want abi.Code) {
	r.t.Helper()
	select {
	case <-r.Context().Done():
	case <-time.After(time.Minute):
		r.t.Fatalf("the connection stands, want it closed with %v", want)
	}
	if err := explain(context.Cause(r.Context())); codeOf(err) != quic.ApplicationErrorCode(want) {
		r.t.Fatalf("closed with %v, want %v", err, want)
	}
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
