package gateway_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/gateway"
)

// refused waits until the server has ended a connection whose handshake may
// have looked complete to the client (TLS 1.3 clients finish first).
func refused(t *testing.T, c *quic.Conn, err error) error {
	t.Helper()
	if err != nil {
		return err
	}
	select {
	case <-c.Context().Done():
		return context.Cause(c.Context())
	case <-time.After(5 * time.Second):
		t.Fatal("the server keeps the connection")
		return nil
	}
}

func TestHandshakesThatProveNoKeyAreRefused(t *testing.T) {
	n := newNode()
	n.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
		t.Error("a contract ran")
		return abi.Answer{}
	}
	p := serve(t, n, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stolen := certificate(t, newKey(t))
	stolen.PrivateKey = newKey(t) // another's certificate
	two := certificate(t, newKey(t))
	two.Certificate = append(two.Certificate, certificate(t, newKey(t)).Certificate...)
	wrongALPN := clientTLS(certificate(t, newKey(t)))
	wrongALPN.NextProtos = []string{"h3"}
	noALPN := clientTLS(certificate(t, newKey(t)))
	noALPN.NextProtos = nil
	for name, config := range map[string]*tls.Config{
		"no certificate": clientTLS(), "RSA": clientTLS(certificate(t, rsaKey)), "P-384": clientTLS(certificate(t, p384)),
		"another's certificate": clientTLS(stolen), "two certificates": clientTLS(two), "wrong ALPN": wrongALPN, "no ALPN": noALPN,
	} {
		c, err := p.handshake(t, config, nil)
		err = refused(t, c, err)
		var transport *quic.TransportError
		if !errors.As(err, &transport) || !transport.ErrorCode.IsCryptoError() {
			t.Errorf("%s: %v, want a TLS alert", name, err)
		}
	}
	eventually(t, func() bool { return p.Stats().HandshakesFailed == 7 })
	if st := p.Stats(); st.Accepted != 0 {
		t.Errorf("%+v, want none accepted", st)
	}
}

func TestCallerIsTheProvedKey(t *testing.T) {
	n := newNode()
	callers := make(chan []byte, 1)
	n.decide = func(_ context.Context, c abi.Caller, _ string, _ []byte) abi.Answer {
		callers <- c.Key
		return abi.Answer{Permit: true}
	}
	p := serve(t, n, nil)
	edKey, ecKey := newKey(t), p256(t)
	for _, test := range []struct {
		key    crypto.Signer
		public []byte
	}{
		{edKey, public(edKey)}, {ecKey, elliptic.MarshalCompressed(elliptic.P256(), ecKey.X, ecKey.Y)},
	} {
		got := open(t, p.connect(t, test.key)).ask(1, abi.OpDecide, decideBody())
		if caller := <-callers; got.Code != abi.OK || !bytes.Equal(caller, test.public) {
			t.Errorf("%v, caller %x, want %x", got.Code, caller, test.public)
		}
	}
}

// cache counts the session tickets that a server hands out.
type cache struct {
	tls.ClientSessionCache
	put atomic.Int32
}

func (c *cache) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		c.put.Add(1)
	}
	c.ClientSessionCache.Put(key, state)
}

func TestNoSessionIsResumed(t *testing.T) {
	p := serve(t, newNode(), nil)
	tickets := &cache{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	config := clientTLS(certificate(t, newKey(t)))
	config.ClientSessionCache, config.ServerName = tickets, "gateway"
	for range 3 {
		c, err := p.handshake(t, config, &quic.Config{Allow0RTT: true})
		if err != nil {
			t.Fatal(err)
		}
		open(t, c).ask(1, abi.OpDecide, decideBody()) // whatever comes behind the handshake has come
		if st := c.ConnectionState(); st.TLS.DidResume || st.Used0RTT {
			t.Error("a session was resumed")
		}
		c.CloseWithError(0, "")
	}
	if n := tickets.put.Load(); n != 0 {
		t.Errorf("%d session tickets", n)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	n := newNode()
	n.prove = func([]byte) ([]byte, error) { return empty, nil }
	n.steps = func(uint64, int) ([][]byte, bool, error) { return nil, false, nil }
	p := serve(t, n, nil)
	height := []byte{0xa1, 1, 1}
	operations := []struct {
		op   abi.Operation
		body []byte
	}{
		{abi.OpHello, empty}, {abi.OpStatus, empty}, {abi.OpDecide, decideBody()}, {abi.OpBatch, batchBody(1, 0)},
		{abi.OpSubmit, bytesBody([]byte("tx"))}, {abi.OpProve, bytesBody([]byte("k"))}, {abi.OpQuery, queryBody(nil)},
		{abi.OpScan, bytesBody(nil)}, {abi.OpBlock, height}, {abi.OpTx, bytesBody(make([]byte, 32))}, {abi.OpSteps, height}, {99, empty},
	}
	for _, test := range []struct {
		standing abi.Standing
		refused  abi.Code // what all but hello, status and steps get
	}{
		{abi.Standing{}, abi.CodeUnknownKey},
		{abi.Standing{Known: true, Device: abi.StatusSuspended}, abi.CodeDeviceInactive},
		{abi.Standing{Known: true, Device: abi.StatusQuarantined}, abi.CodeDeviceInactive},
		{abi.Standing{Known: true, Device: abi.StatusStolen}, abi.CodeDeviceInactive},
		{abi.Standing{Known: true, Device: abi.StatusActive}, abi.OK},
		{abi.Standing{Known: true}, abi.OK},
	} {
		key := newKey(t)
		n.set(public(key), test.standing)
		w := open(t, p.connect(t, key))
		for i, o := range operations {
			got := w.ask(uint64(i+1), o.op, o.body).Code
			always := o.op == abi.OpHello || o.op == abi.OpStatus || o.op == abi.OpSteps
			switch {
			case always && got != abi.OK, !always && test.refused != abi.OK && got != test.refused:
				t.Errorf("%+v, operation %d: %v", test.standing, o.op, got)
			case !always && test.refused == abi.OK && (got == abi.CodeUnknownKey || got == abi.CodeDeviceInactive):
				t.Errorf("%+v, operation %d: %v", test.standing, o.op, got)
			}
		}
	}
}

func TestStatusChangeReachesAnOpenConnection(t *testing.T) {
	n := newNode()
	p := serve(t, n, nil)
	key := newKey(t)
	device := abi.Standing{Known: true, Account: abi.Hash{1}, Device: abi.StatusActive}
	n.set(public(key), device)
	c := p.connect(t, key)
	w := open(t, c)
	if got := w.ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
		t.Fatal(got.Code)
	}
	device.Device = abi.StatusStolen
	n.set(public(key), device)
	if got := w.ask(2, abi.OpDecide, decideBody()); got.Code != abi.CodeDeviceInactive {
		t.Errorf("stolen: %v", got.Code)
	}
	status, err := abi.ParseNodeStatus(w.ask(3, abi.OpStatus, empty).Body)
	if err != nil || status.Device != abi.StatusStolen || status.Account == nil {
		t.Errorf("status %+v, %v", status, err)
	}
	n.set(public(key), abi.Standing{}) // its key was replaced
	if got := w.ask(4, abi.OpDecide, decideBody()); got.Code != abi.CodeUnknownKey {
		t.Errorf("replaced key: %v", got.Code)
	}
	device.Device = abi.StatusRetired
	n.set(public(key), device)
	w.send(request(5, abi.OpStatus, empty))
	requireClosed(t, c, abi.CodeDeviceInactive)
	requireClosed(t, p.connect(t, key), abi.CodeDeviceInactive)
}

// requireClosed waits for the server to close a connection with a code.
func requireClosed(t *testing.T, c *quic.Conn, want abi.Code) {
	t.Helper()
	err := refused(t, c, nil)
	var app *quic.ApplicationError
	if !errors.As(err, &app) || abi.Code(app.ErrorCode) != want {
		t.Errorf("closed with %v, want %v", err, want)
	}
}

func TestConnectionCaps(t *testing.T) {
	t.Run("address", func(t *testing.T) {
		p := serve(t, newNode(), func(c *gateway.Config) { c.MaxPerAddress = 4 })
		var last *quic.Conn
		for range 4 {
			last = p.connect(t, newKey(t))
			open(t, last).ask(1, abi.OpDecide, decideBody())
		}
		c, err := p.handshake(t, clientTLS(certificate(t, newKey(t))), nil)
		var transport *quic.TransportError
		if err = refused(t, c, err); !errors.As(err, &transport) || transport.ErrorCode != quic.ConnectionRefused {
			t.Errorf("fifth connection: %v", err)
		}
		if st := p.Stats(); st.RefusedAddress == 0 || st.Retries == 0 {
			t.Errorf("%+v: want a refusal, and a Retry as it got crowded", st)
		}
		last.CloseWithError(0, "")
		eventually(t, func() bool {
			_, err := p.handshake(t, clientTLS(certificate(t, newKey(t))), nil)
			return err == nil
		})
	})
	t.Run("key", func(t *testing.T) {
		p := serve(t, newNode(), func(c *gateway.Config) { c.MaxPerKey = 2 })
		key := newKey(t)
		first := p.connect(t, key)
		open(t, first).ask(1, abi.OpDecide, decideBody())
		open(t, p.connect(t, key)).ask(1, abi.OpDecide, decideBody())
		requireClosed(t, p.connect(t, key), abi.CodeBusy)
		open(t, p.connect(t, newKey(t))).ask(1, abi.OpDecide, decideBody())
		if st := p.Stats(); st.RefusedKey != 1 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("unknown keys", func(t *testing.T) {
		n := newNode()
		p := serve(t, n, func(c *gateway.Config) { c.MaxConnections = 8 })
		known := newKey(t)
		n.set(public(known), active)
		n.with(func() { n.other = abi.Standing{} })
		for range 2 { // a quarter of all
			if got := open(t, p.connect(t, newKey(t))).ask(1, abi.OpStatus, empty); got.Code != abi.OK {
				t.Error(got.Code)
			}
		}
		requireClosed(t, p.connect(t, newKey(t)), abi.CodeBusy)
		if got := open(t, p.connect(t, known)).ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
			t.Error(got.Code)
		}
	})
	t.Run("all", func(t *testing.T) {
		p := serve(t, newNode(), func(c *gateway.Config) { c.MaxConnections = 2 })
		for range 2 {
			open(t, p.connect(t, newKey(t))).ask(1, abi.OpDecide, decideBody())
		}
		c, err := p.handshake(t, clientTLS(certificate(t, newKey(t))), nil)
		if err := refused(t, c, err); err == nil {
			t.Error("third connection")
		}
	})
}

// eventually retries what another goroutine brings about.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
		runtime.Gosched()
	}
}

func TestHandshakesThatComeTooFastMustRetry(t *testing.T) {
	p := serve(t, newNode(), func(c *gateway.Config) { c.HandshakeRate = 1 })
	for range 3 {
		open(t, p.connect(t, newKey(t))).ask(1, abi.OpDecide, decideBody())
	}
	if st := p.Stats(); st.Retries == 0 || st.Accepted != 3 {
		t.Errorf("%+v", st)
	}
}

// TestAResumedSessionOfAQuarantinedDevice: a session that the device had, even
// one that another server gave it with this gateway's key, opens nothing: the key
// is proved anew, and asked about anew.
func TestAResumedSessionOfAQuarantinedDevice(t *testing.T) {
	n, own := newNode(), newKey(t)
	p := serve(t, n, func(c *gateway.Config) { c.Key = own })
	lax := serverWithTickets(t, own)
	key := newKey(t)
	tickets := &cache{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	config := clientTLS(certificate(t, key))
	config.ClientSessionCache, config.ServerName = tickets, "gateway"
	transport := &quic.Transport{Conn: listen(t)}
	defer transport.Close()
	first, err := transport.Dial(t.Context(), lax, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return tickets.put.Load() > 0 })
	first.CloseWithError(0, "")

	n.set(public(key), device(abi.StatusQuarantined))
	c, err := transport.DialEarly(t.Context(), p.addr, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := open(t, c).ask(1, abi.OpDecide, decideBody()); got.Code != abi.CodeDeviceInactive {
		t.Errorf("%v", got.Code)
	}
	if st := c.ConnectionState(); st.TLS.DidResume || st.Used0RTT {
		t.Errorf("resumed %v, 0-RTT %v", st.TLS.DidResume, st.Used0RTT)
	}
}

// serverWithTickets gives session tickets that allow 0-RTT, and does nothing else.
func serverWithTickets(t *testing.T, key ed25519.PrivateKey) net.Addr {
	t.Helper()
	config := clientTLS(certificate(t, key))
	config.ClientAuth = tls.RequireAnyClientCert
	l, err := quic.ListenEarly(listen(t), config, &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			if _, err := l.Accept(context.Background()); err != nil {
				return
			}
		}
	}()
	return l.Addr()
}
