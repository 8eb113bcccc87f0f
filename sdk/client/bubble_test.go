package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// air is a network for bubbles of virtual time, on which hosts can be cut off.
type air struct {
	t     testing.TB
	mu    sync.Mutex
	ports map[string]simnet.PacketReceiver // guarded by mu
	cut   map[string]bool                  // by host; guarded by mu
	hosts int
}

func newAir(t testing.TB) *air {
	return &air{t: t, ports: map[string]simnet.PacketReceiver{}, cut: map[string]bool{}}
}

// AddNode implements simnet.Router.
func (a *air) AddNode(addr net.Addr, r simnet.PacketReceiver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ports[addr.String()] = r
}

// SendPacket implements simnet.Router.
func (a *air) SendPacket(p simnet.Packet) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.ports[p.To.String()]
	if r == nil || a.cut[p.From.String()] || a.cut[p.To.String()] {
		return nil
	}
	p.Data = bytes.Clone(p.Data)
	time.AfterFunc(5*time.Millisecond, func() { r.RecvPacket(p) })
	return nil
}

// socket opens a port on a host of its own.
func (a *air) socket() net.PacketConn {
	a.hosts++
	s := simnet.NewSimConn(&net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(a.hosts)), Port: 7433}, a)
	a.t.Cleanup(func() { s.Close() })
	return s
}

// cutOff has nothing come from or to an address any more.
func (a *air) cutOff(addr string, off bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut[addr] = off
}

// site is a gateway on the air.
type site struct {
	*gateway.Server
	addr string
	stop func()
}

// gateway runs a gateway of an account's key on a socket.
func (a *air) gateway(n gateway.Node, by *key.Key, conn net.PacketConn) *site {
	a.t.Helper()
	s, err := gateway.New(gateway.Config{Conn: conn, Key: by.Private(), Account: by.AccountID(), Node: n, RequestRate: -1, HandshakeRate: 10_000})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			a.t.Errorf("gateway: %v", err)
		}
	})
	a.t.Cleanup(stop)
	return &site{s, conn.LocalAddr().String(), stop}
}

// closing is the address of a gateway that closes each connection as it does when
// the device is not active, with a text.
func closing(a *air, l *ledger, text string) string {
	certificate, err := l.gateway.Certificate()
	if err != nil {
		a.t.Fatal(err)
	}
	conn := a.socket()
	listener, err := quic.Listen(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{abi.ALPN}, ClientAuth: tls.RequireAnyClientCert}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	ended := make(chan bool)
	a.t.Cleanup(func() { listener.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			_ = c.CloseWithError(quic.ApplicationErrorCode(abi.CodeDeviceInactive), text)
		}
	}()
	return conn.LocalAddr().String()
}

// addGateway makes a key that of another gateway.
func (l *ledger) addGateway(k *key.Key) {
	record := chain.Account{Key: k.Public(), Roles: abi.RoleGateway}
	l.commit(map[string][]byte{string(chain.AccountKey(k.AccountID())): record.Append(nil)}, nil, nil)
}

// device is an enrolled device that knows the gateways at the addresses.
func (a *air) device(l *ledger, addrs ...string) (*client.Client, *key.Key) {
	a.t.Helper()
	k := newKey(a.t)
	l.enrol(k, abi.StatusActive)
	return a.client(l, k, client.Config{}, addrs...), k
}

func (a *air) client(l *ledger, k *key.Key, config client.Config, addrs ...string) *client.Client {
	a.t.Helper()
	config.Bundle, config.Key, config.PacketConn = &client.Bundle{Genesis: l.raw, Gateways: addrs}, k, a.socket()
	c, err := client.New(config)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return c
}

// bubble runs a test in virtual time, with a ledger and a gateway of it.
func bubble(t *testing.T, test func(t *testing.T, a *air, l *ledger, g *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, l := newAir(t), newLedger(t)
		test(t, a, l, a.gateway(l, l.gateway, a.socket()))
	})
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}

// statusEvent is what the ledger tells when a device's status changes.
func statusEvent(device abi.Hash, s abi.Status) abi.EventFrame {
	n := chain.Notice{Subject: device, Level: uint8(s), Reason: "test"}
	return abi.EventFrame{Topic: []byte(chain.TopicDeviceStatus), Data: n.Append(nil)}
}

// counted answers every request with a permit that lives for some time, and counts.
type counted struct {
	mu    sync.Mutex
	asked int // guarded by mu
}

func (n *counted) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *counted) permit(l *ledger, ttl time.Duration) func(context.Context, abi.Caller, string, []byte) abi.Answer {
	return func(context.Context, abi.Caller, string, []byte) abi.Answer {
		n.mu.Lock()
		n.asked++
		n.mu.Unlock()
		return abi.Answer{Permit: true, Height: l.height(), TTL: uint64(ttl.Milliseconds()), Contract: "access"}
	}
}

// require fails the test unless err has the code.
func require(t testing.TB, err error, want abi.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// many runs something some times at once and waits.
func many(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// name is a short name for a number.
func name(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }
