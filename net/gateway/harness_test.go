package gateway_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
)

// node is a Node whose answers a test sets. The methods that a test does not
// set answer abi.CodeNotFound.
type node struct {
	mu       sync.Mutex
	standing map[string]abi.Standing // by key; others are other
	other    abi.Standing

	decide func(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer
	submit func(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error)
	prove  func(key []byte) ([]byte, error)
	query  func(message []byte) ([]byte, error)
	scan   func(limit int) ([][2][]byte, bool)
	block  func(height uint64) ([]byte, []byte, []byte, error)
	tx     func(id abi.Hash) (abi.TxResult, error)
	steps  func(after uint64, limit int) ([][]byte, bool, error)

	devices map[abi.Hash]chain.Device
	report  func(o *abi.Observation, statement []byte) (abi.Judgement, error)
	receipt func(caller abi.Standing, record uint64, now bool) ([]byte, error)
	events  []abi.EventFrame // of heights up to height
	height  uint64
	base    uint64 // blocks up to here are not kept
	commit  chan struct{}
}

var active = abi.Standing{Known: true, Account: abi.Hash{7}}

// newNode knows every key as an active account and permits everything.
func newNode() *node {
	return &node{
		standing: map[string]abi.Standing{}, other: active, height: 5, commit: make(chan struct{}),
		devices: map[abi.Hash]chain.Device{},
		decide: func(context.Context, abi.Caller, string, []byte) abi.Answer {
			return abi.Answer{Permit: true, Height: 5}
		},
	}
}

func (n *node) set(key []byte, s abi.Standing) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.standing[string(key)] = s
}

func (n *node) with(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
}

func (n *node) Standing(key []byte) (abi.Standing, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, ok := n.standing[string(key)]; ok {
		return s, nil
	}
	return n.other, nil
}

func (n *node) Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
	return n.decide(ctx, caller, domain, request)
}

func (n *node) Submit(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error) {
	if n.submit == nil {
		return abi.TxResult{}, abi.CodeNotFound
	}
	return n.submit(ctx, raw, wait)
}

func (n *node) Status() abi.NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return abi.NodeStatus{Name: "test", Height: n.height, Chain: abi.Hash{3}}
}

func (n *node) Prove(key []byte) ([]byte, error) {
	if n.prove == nil {
		return nil, abi.CodeNotFound
	}
	return n.prove(key)
}

func (n *node) Query(_ context.Context, _ string, message []byte) ([]byte, uint64, error) {
	if n.query == nil {
		return nil, 0, abi.CodeNotFound
	}
	out, err := n.query(message)
	return out, 5, err
}

func (n *node) Scan(_, _ []byte, limit int) ([][2][]byte, bool, uint64, error) {
	if n.scan == nil {
		return nil, false, 0, abi.CodeNotFound
	}
	pairs, more := n.scan(limit)
	return pairs, more, 5, nil
}

func (n *node) Block(height uint64) ([]byte, []byte, []byte, error) {
	if n.block == nil {
		return nil, nil, nil, abi.CodeNotFound
	}
	return n.block(height)
}

func (n *node) Tx(id abi.Hash) (abi.TxResult, error) {
	if n.tx == nil {
		return abi.TxResult{}, abi.CodeNotFound
	}
	return n.tx(id)
}

func (n *node) Steps(after uint64, limit int) ([][]byte, bool, error) {
	if n.steps == nil {
		return nil, false, abi.CodeNotFound
	}
	return n.steps(after, limit)
}

func (n *node) Device(id abi.Hash) (chain.Device, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d, ok := n.devices[id]
	if !ok {
		return d, abi.CodeUnknownDevice
	}
	return d, nil
}

func (n *node) Report(_ context.Context, o *abi.Observation, statement []byte) (abi.Judgement, error) {
	if n.report == nil {
		return abi.Judgement{}, abi.CodeNotFound
	}
	return n.report(o, statement)
}

func (n *node) Receipt(_ context.Context, caller abi.Standing, record uint64, now bool) ([]byte, error) {
	if n.receipt == nil {
		return nil, abi.CodeNotFound
	}
	return n.receipt(caller, record, now)
}

// add commits a block with events of a topic.
func (n *node) add(topics ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.height++
	for i, topic := range topics {
		n.events = append(n.events, abi.EventFrame{Height: n.height, Index: uint64(i), ID: abi.Hash{1}, Topic: []byte(topic)})
	}
	close(n.commit)
	n.commit = make(chan struct{})
}

// maxNodeBlocks is how many blocks the test's node looks at in one call.
const maxNodeBlocks = 4

func (n *node) Events(after uint64, f *abi.EventFilter) (list []abi.EventFrame, upTo uint64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if after < n.base {
		return nil, 0, abi.CodeNotFound
	}
	upTo = max(after, min(n.height, after+maxNodeBlocks))
	for _, e := range n.events {
		if e.Height > after && e.Height <= upTo && (f.Topic == nil || string(f.Topic) == string(e.Topic)) {
			list = append(list, e)
		}
	}
	return list, upTo, nil
}

func (n *node) Committed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.commit
}

// port is a running server and the network that leads to it.
type port struct {
	*gateway.Server
	addr net.Addr
	dial func(t testing.TB) net.PacketConn // a client's socket, of an address of its own
	stop func()
}

// serve runs a server on the loopback interface; set changes its Config.
func serve(t testing.TB, n gateway.Node, set func(*gateway.Config)) *port {
	t.Helper()
	p := &port{dial: func(t testing.TB) net.PacketConn { return listen(t) }}
	p.run(t, listen(t), n, set)
	return p
}

func listen(t testing.TB) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serveSim runs a server on a simulated network, for tests in a bubble of
// virtual time.
func serveSim(t testing.TB, n gateway.Node, set func(*gateway.Config)) *port {
	t.Helper()
	sockets := simulated(t, 2)
	p := &port{dial: func(testing.TB) net.PacketConn { return sockets[1] }}
	p.run(t, sockets[0], n, set)
	return p
}

// simulated makes sockets on a simulated network, one a host.
func simulated(t testing.TB, hosts int) (sockets []net.PacketConn) {
	t.Helper()
	network := &simnet.Simnet{Router: &simnet.PerfectRouter{}}
	link := simnet.NodeBiDiLinkSettings{Latency: 5 * time.Millisecond}
	for host := range hosts {
		sockets = append(sockets, network.NewEndpoint(&net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(host+1)), Port: 4433}, link))
	}
	if err := network.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range sockets {
			s.Close()
		}
		network.Close()
	})
	return sockets
}

func (p *port) run(t testing.TB, conn net.PacketConn, n gateway.Node, set func(*gateway.Config)) {
	t.Helper()
	config := gateway.Config{Conn: conn, Key: newKey(t), Account: abi.Hash{9}, Node: n, RequestRate: -1, HandshakeRate: 10_000}
	if set != nil {
		set(&config)
	}
	s, err := gateway.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	p.Server, p.addr = s, s.Addr()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(p.stop)
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key ed25519.PrivateKey) []byte { return key.Public().(ed25519.PublicKey) }

func certificate(t testing.TB, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func clientTLS(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{abi.ALPN}, Certificates: certificates, MinVersion: tls.VersionTLS13}
}

// connect makes a connection with a key. It fails the test if the handshake
// does, but not yet if the server refuses the key after it.
func (p *port) connect(t testing.TB, key crypto.Signer) *quic.Conn {
	t.Helper()
	return p.connectWith(t, key, nil)
}

func (p *port) connectWith(t testing.TB, key crypto.Signer, qc *quic.Config) *quic.Conn {
	t.Helper()
	c, err := p.handshake(t, clientTLS(certificate(t, key)), qc)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *port) handshake(t testing.TB, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
	t.Helper()
	transport := &quic.Transport{Conn: p.dial(t)}
	t.Cleanup(func() { transport.Close() })
	return transport.Dial(t.Context(), p.addr, config, qc)
}

// wire is a stream as a client has it, byte for byte.
type wire struct {
	t testing.TB
	*quic.Stream
	in *bufio.Reader
}

func open(t testing.TB, c *quic.Conn) *wire {
	t.Helper()
	s, err := c.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &wire{t: t, Stream: s, in: bufio.NewReader(s)}
}

func frame(content []byte) []byte { return abi.EndFrame(append(abi.BeginFrame(nil), content...), 0) }

func request(id uint64, op abi.Operation, body []byte) []byte {
	return frame(abi.AppendRequest(nil, &abi.Request{ID: id, Op: op, Body: body}))
}

// send writes frames in one piece.
func (w *wire) send(frames ...[]byte) {
	w.t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	if _, err := w.Write(all); err != nil {
		w.t.Fatal(err)
	}
}

// receive reads one response.
func (w *wire) receive() abi.Response {
	w.t.Helper()
	content, err := abi.ReadFrame(w.in, nil)
	if err != nil {
		w.t.Fatalf("reading a response: %v", err)
	}
	p, err := abi.ParseResponse(content)
	if err != nil {
		w.t.Fatalf("response %x: %v", content, err)
	}
	return p
}

// ask sends a request and reads its response.
func (w *wire) ask(id uint64, op abi.Operation, body []byte) abi.Response {
	w.t.Helper()
	w.send(request(id, op, body))
	p := w.receive()
	if p.ID != id {
		w.t.Fatalf("response to %d, want %d", p.ID, id)
	}
	return p
}

func decideBody() []byte {
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), "lab")
	return abi.AppendDecisionRequest(cbor.AppendUint(body, 2), decision())
}

func decision() *abi.DecisionRequest {
	return &abi.DecisionRequest{Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "front-door-7"}}
}

func batchBody(n int, s abi.Semantics) []byte {
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 3), 1), "lab")
	body = cbor.AppendArray(cbor.AppendUint(body, 2), n)
	for range n {
		body = abi.AppendDecisionRequest(body, decision())
	}
	return cbor.AppendUint(cbor.AppendUint(body, 3), uint64(s))
}

var empty = cbor.AppendMap(nil, 0)

// bytesBody is a body {1: bytes}.
func bytesBody(b []byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), b)
}

func queryBody(message []byte) []byte {
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), "echo"), 2), message)
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
