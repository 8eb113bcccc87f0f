package peer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
)

// honest checks that a node still serves an honest peer.
func honest(t testing.TB, w *world, n *node, host int) {
	t.Helper()
	b := w.start(host, []int{n.host}, nil)
	settled(30 * time.Second)
	mustConnect(t, n, b)
	before, _, _ := n.got()
	b.Send(n.key, []byte("honest"))
	s, err := b.Open(t.Context(), n.key, []byte("request"))
	if err != nil {
		t.Fatalf("an honest peer's request: %v", err)
	}
	if frame, err := s.Receive(); err != nil || string(frame) != "request" {
		t.Fatalf("an honest peer got %q, %v", frame, err)
	}
	s.Close()
	settled(time.Second)
	if after, _, _ := n.got(); len(after) != len(before)+1 {
		t.Errorf("an honest peer's message is not heard")
	}
	b.stop()
}

func TestStranger(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		r := w.dialRaw(2, 1)
		r.closedWith(abi.CodeUnknownKey)
		if n.Stats().RefusedStrangers != 1 || len(n.Connected()) != 0 {
			t.Errorf("%d refused, %d connected", n.Stats().RefusedStrangers, len(n.Connected()))
		}
		if n.bans.count(time.Now()) != 0 {
			t.Error("to be a stranger is no misbehaviour")
		}
		honest(t, w, n, 3)
	})
}

// TestJoining lets a node join that knows nobody, but is known: it may ask, and
// nobody may tell it anything else.
func TestJoining(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		joiner := w.start(1, []int{2}, func(c *Config, _ *node) {
			c.Class = func(Key) Class { return Stranger }
		})
		n := w.start(2, nil, nil)
		settled(time.Second)
		s, err := joiner.Open(t.Context(), n.key, []byte("blocks"))
		if err != nil {
			t.Fatal(err)
		}
		if frame, err := s.Receive(); err != nil || string(frame) != "blocks" {
			t.Errorf("%q, %v", frame, err)
		}
		s.Close()
		n.Send(joiner.key, []byte("consensus"))
		n.SendTransaction(joiner.key, []byte("transaction"))
		n.SendHead([]byte("head"))
		if s, err = n.Open(t.Context(), joiner.key, []byte("request")); err == nil {
			_, err = s.Receive()
			s.Close()
		}
		if !errors.Is(err, abi.CodeUnknownKey) {
			t.Errorf("a stranger's request was answered with %v", err)
		}
		settled(time.Second)
		if c, x, h := joiner.got(); len(c)+len(x)+len(h) != 0 {
			t.Errorf("heard of a stranger: %q %q %q", c, x, h)
		}
		settled(time.Minute)
		if i := joiner.Connected(); len(i) != 1 || i[0].Class != Stranger {
			t.Errorf("connected: %v", i)
		}
	})
}

func TestWrongChain(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		w.set(idOf(2), Validator)
		r := w.dialRaw(2, 1)
		h := goodHello()
		h.chain[0] ^= 1
		r.greet(h)
		r.closedWith(abi.CodeWrongChain)
		if len(n.Connected()) != 0 || n.bans.count(time.Now()) != 0 {
			t.Error("a node of another chain is connected, or banned")
		}
	})
}

// TestKeys tries to connect with certificates that prove nothing.
func TestKeys(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		w.set(idOf(2), Validator)
		victim, err := certificate.New(keyOf(2))
		if err != nil {
			t.Fatal(err)
		}
		swapped := victim
		swapped.PrivateKey = keyOf(3)
		p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, p256.Public(), p256)
		if err != nil {
			t.Fatal(err)
		}
		chain := victim
		chain.Certificate = append([][]byte{}, victim.Certificate[0], der)
		host := 10
		for name, certificates := range map[string][]tls.Certificate{
			"none":                  nil,
			"another's":             {swapped},
			"a key of another kind": {{Certificate: [][]byte{der}, PrivateKey: p256}},
			"two":                   {chain},
		} {
			host++
			transport := &quic.Transport{Conn: w.socket(host)}
			c, err := transport.Dial(t.Context(), net.UDPAddrFromAddrPort(at(1)), &tls.Config{
				InsecureSkipVerify: true, NextProtos: []string{alpn}, Certificates: certificates,
			}, nil)
			if err == nil {
				select {
				case <-c.Context().Done():
				case <-time.After(10 * time.Second):
					t.Errorf("certificate: %s: the connection stands", name)
				}
			}
			transport.Close()
		}
		if len(n.Connected()) != 0 || n.Stats().Accepted != 0 {
			t.Errorf("%d connected, %d accepted", len(n.Connected()), n.Stats().Accepted)
		}
	})
}

// TestProtocolBroken sends what no honest node sends, each from a node of its
// own. All of it is misbehaviour, and none harms others.
func TestProtocolBroken(t *testing.T) {
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	consensus, transactions := []byte{byte(kindConsensus)}, []byte{byte(kindTransaction)}
	for _, c := range []struct {
		name string
		do   func(r *raw, control *quic.SendStream)
	}{
		{"consensus message too long", func(r *raw, _ *quic.SendStream) { r.uni(consensus, length(MaxMessage+1)) }},
		{"longest length", func(r *raw, _ *quic.SendStream) { r.uni(consensus, length(1<<32-1)) }},
		{"transaction too long", func(r *raw, _ *quic.SendStream) { r.uni(transactions, length(MaxTransaction+1)) }},
		{"control frame too long", func(_ *raw, s *quic.SendStream) { s.Write(length(maxControl + 1)) }},
		{"head too long", func(_ *raw, s *quic.SendStream) {
			s.Write(appendFrame(nil, append([]byte{controlHead}, make([]byte, MaxHead+1)...)))
		}},
		{"empty control frame", func(_ *raw, s *quic.SendStream) { s.Write(length(0)) }},
		{"addresses that are none", func(_ *raw, s *quic.SendStream) { s.Write(appendFrame(nil, []byte{controlAddresses, 0x61})) }},
		{"torn length", func(r *raw, _ *quic.SendStream) { r.uni(consensus, []byte{0, 0}).Close() }},
		{"torn message", func(r *raw, _ *quic.SendStream) { r.uni(consensus, length(9), []byte("torn")).Close() }},
		{"stream ended", func(r *raw, _ *quic.SendStream) { r.uni(consensus).Close() }},
		{"stream without a kind", func(r *raw, _ *quic.SendStream) { r.uni().Close() }},
		{"stream reset", func(r *raw, _ *quic.SendStream) { r.uni(consensus, length(9)).CancelWrite(0) }},
		{"control reset", func(_ *raw, s *quic.SendStream) { s.CancelWrite(0) }},
		{"unknown kind", func(r *raw, _ *quic.SendStream) { r.uni([]byte{77}) }},
		{"second control stream", func(r *raw, _ *quic.SendStream) { r.uni([]byte{byte(kindControl)}) }},
		{"second consensus stream", func(r *raw, _ *quic.SendStream) { r.uni(consensus); r.uni(consensus) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				n := w.start(1, nil, nil)
				w.set(idOf(2), Validator)
				r := w.dialRaw(2, 1)
				control := r.greet(goodHello())
				settled(time.Second)
				if len(n.Connected()) != 1 {
					t.Fatal("the peer is not connected to begin with")
				}
				c.do(r, control)
				r.closedWith(abi.CodeNotPermitted)
				if n.bans.count(time.Now()) != 1 {
					t.Error("nobody is banned")
				}
				w.dialRaw(2, 1).closedWith(abi.CodeNotPermitted)
				honest(t, w, n, 3)
			})
		})
	}
}

// TestHelloBroken sends what is no hello.
func TestHelloBroken(t *testing.T) {
	good := goodHello()
	encoded := appendHello(nil, &good)
	noDial, badAddress, noProtocol := good, good, good
	noDial.dial, badAddress.address, noProtocol.protocol = 0, "0.0.0.0:1", 0
	for name, content := range map[string][]byte{
		"nothing":         {},
		"another kind":    append([]byte{byte(kindConsensus)}, appendFrame(nil, encoded)...),
		"too long":        append([]byte{byte(kindControl)}, appendFrame(nil, make([]byte, maxHello+1))...),
		"torn":            append([]byte{byte(kindControl)}, appendFrame(nil, encoded)[:30]...),
		"no map":          append([]byte{byte(kindControl)}, appendFrame(nil, []byte{0x61})...),
		"a field missing": append([]byte{byte(kindControl)}, appendFrame(nil, []byte{0xa1, 1, 1})...),
		"no dial":         append([]byte{byte(kindControl)}, appendFrame(nil, appendHello(nil, &noDial))...),
		"bad address":     append([]byte{byte(kindControl)}, appendFrame(nil, appendHello(nil, &badAddress))...),
		"no protocol":     append([]byte{byte(kindControl)}, appendFrame(nil, appendHello(nil, &noProtocol))...),
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				n := w.start(1, nil, nil)
				w.set(idOf(2), Validator)
				r := w.dialRaw(2, 1)
				s := r.uni(content)
				if name == "torn" {
					s.Close()
				}
				select {
				case <-r.Context().Done():
				case <-time.After(2 * helloTimeout):
					t.Error("the connection stands")
				}
				if len(n.Connected()) != 0 {
					t.Error("the peer is connected")
				}
				honest(t, w, n, 3)
			})
		})
	}
}

// TestMessageWithheld begins a long message and never ends it.
func TestMessageWithheld(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		w.set(idOf(2), Validator)
		var before, after runtime.MemStats
		r := w.dialRaw(2, 1)
		r.greet(goodHello())
		settled(time.Second)
		runtime.GC()
		runtime.ReadMemStats(&before)
		r.uni([]byte{byte(kindConsensus)}, binary.BigEndian.AppendUint32(nil, MaxMessage), []byte("begun"))
		settled(time.Second)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("a length alone made room for %d bytes", grown)
		}
		settled(10 * time.Minute)
		if len(n.Connected()) != 0 {
			t.Error("the peer is still waited for")
		}
		honest(t, w, n, 3)
	})
}

// TestRequestsHostile floods a node with requests that are opened and reset,
// never sent, or too long.
func TestRequestsHostile(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		w.set(idOf(2), Node)
		r := w.dialRaw(2, 1)
		r.greet(goodHello())
		ctx, cancel := context.WithCancel(t.Context())
		opened := make(chan int)
		go func() {
			count := 0
			for ; ; count++ {
				s, err := r.OpenStreamSync(ctx)
				if err != nil {
					break
				}
				s.Write([]byte{1})
				s.CancelWrite(7)
				s.CancelRead(7)
			}
			opened <- count
		}()
		settled(10 * time.Second)
		cancel()
		count := <-opened
		if most := 12 * n.config.RequestRate; count > most {
			t.Errorf("%d streams opened within 10 s, %d are allowed at most", count, most)
		}
		honest(t, w, n, 3)
		for _, content := range [][]byte{
			binary.BigEndian.AppendUint32(nil, MaxRequest+1),
			binary.BigEndian.AppendUint32(nil, 10),
		} {
			s, err := r.OpenStreamSync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Write(content)
			settled(2 * requestTimeout)
			if _, err := s.Read(make([]byte, 1)); !errors.As(err, new(*quic.StreamError)) {
				t.Errorf("a request that begins %x is answered with %v", content, err)
			}
		}
	})
}

// TestNeverReads connects a peer that never reads: nothing blocks, and what
// waits for it is bounded.
func TestNeverReads(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		good := w.start(3, []int{1}, nil)
		w.set(idOf(2), Validator)
		r := w.dialRaw(2, 1)
		r.greet(goodHello())
		settled(time.Second)
		message := make([]byte, 32<<10)
		for range 1000 {
			n.Send(idOf(2), message)
			n.SendTransaction(idOf(2), message)
			n.SendHead([]byte("head"))
			n.Send(good.key, message)
			settled(2 * time.Millisecond)
		}
		settled(10 * time.Second)
		if got, _, heads := good.got(); len(got) != 1000 || len(heads) != 1000 {
			t.Errorf("the other peer got %d messages and %d heads of 1000", len(got), len(heads))
		}
		s := n.Stats()
		for _, k := range s.Traffic[:3] {
			t.Logf("%s: %d wait with %d bytes, %d dropped", k.Kind, k.Waiting, k.WaitingBytes, k.Dropped)
		}
		if k := s.Traffic[kindConsensus-1]; k.WaitingBytes > n.config.QueueBytes || k.Dropped == 0 {
			t.Errorf("consensus: %d bytes wait, %d dropped", k.WaitingBytes, k.Dropped)
		}
		if k := s.Traffic[kindTransaction-1]; k.WaitingBytes > transactionBytes || k.Dropped == 0 {
			t.Errorf("transactions: %d bytes wait, %d dropped", k.WaitingBytes, k.Dropped)
		}
		if k := s.Traffic[kindControl-1]; k.Waiting > controlCount {
			t.Errorf("control: %d wait", k.Waiting)
		}
	})
}

// TestAnswerNeverRead asks and does not read: the one who answers is not held
// up for ever.
func TestAnswerNeverRead(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		ended := make(chan error, 1)
		n := w.start(1, nil, func(_ *Config, n *node) {
			n.onServe = func(_ context.Context, _ []byte, s Stream) error {
				for {
					if err := s.Send(make([]byte, MaxFrame)); err != nil {
						ended <- err
						return err
					}
				}
			}
		})
		b := w.start(2, []int{1}, nil)
		settled(time.Second)
		s, err := b.Open(t.Context(), n.key, []byte("all"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-ended; !errors.Is(err, abi.CodeTimeout) {
			t.Errorf("the answer ended with %v", err)
		}
		if took := time.Since(start); took > 2*sendTimeout {
			t.Errorf("it took %v", took)
		}
		s.Close()
	})
}

// TestBusyHandlers blocks every handler in turn; the other streams go on.
func TestBusyHandlers(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		goOn := sync.OnceFunc(func() { close(release) })
		defer goOn()
		n := w.start(1, nil, func(_ *Config, n *node) {
			n.onConsensus = func() { <-release }
			n.onServe = func(ctx context.Context, request []byte, s Stream) error {
				if string(request) == "block" {
					<-release
				}
				return s.Send(request)
			}
		})
		b := w.start(2, []int{1}, func(_ *Config, n *node) {
			n.onServe = func(_ context.Context, _ []byte, s Stream) error {
				return s.Send(make([]byte, 2*initialStreamWindow))
			}
		})
		settled(time.Second)
		var waiting []Stream
		fill := func(from, to *node, request string) Stream {
			s, err := from.Open(t.Context(), to.key, []byte(request))
			if err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, s)
			return s
		}
		for range maxRequests - 1 {
			s := fill(b, n, "block")
			go s.Send(make([]byte, 2*initialStreamWindow)) // more than fits
		}
		for range maxRequests {
			fill(n, b, "all") // and reads nothing
		}
		for range 100 {
			b.Send(n.key, make([]byte, 64<<10))
		}
		settled(10 * time.Second)
		b.SendTransaction(n.key, make([]byte, MaxTransaction/2))
		b.SendHead(make([]byte, MaxHead))
		quick, start := make([]byte, MaxRequest/2), time.Now()
		s, err := b.Open(t.Context(), n.key, quick)
		if err != nil {
			t.Fatal(err)
		}
		if frame, err := s.Receive(); err != nil || !bytes.Equal(frame, quick) {
			t.Errorf("%d bytes came back, %v", len(frame), err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("another request took %v", took)
		}
		s.Close()
		settled(time.Second)
		if c, x, h := n.got(); len(c) != 1 || len(x) != 1 || len(h) != 1 {
			t.Errorf("%d consensus messages, %d transactions, %d heads; want 1 each", len(c), len(x), len(h))
		}
		goOn()
		settled(10 * time.Second)
		if c, _, _ := n.got(); len(c) != 100 {
			t.Errorf("%d of 100 messages after the handler went on", len(c))
		}
		for _, s := range waiting {
			s.Close()
		}
	})
}

func TestBadTransaction(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, func(_ *Config, n *node) {
			n.onTransaction = func(raw []byte) error {
				switch string(raw) {
				case "forged":
					return fmt.Errorf("checking: %w", abi.CodeBadSignature)
				case "late":
					return fmt.Errorf("checking: %w", abi.CodeExpired)
				}
				return nil
			}
		})
		b := w.start(2, []int{1}, nil)
		settled(time.Second)
		b.SendTransaction(n.key, []byte("late"))
		settled(time.Second)
		mustConnect(t, n, b)
		b.SendTransaction(n.key, []byte("forged"))
		settled(time.Second)
		if n.lookup(b.key) != nil || n.Stats().Banned != 1 {
			t.Error("who sends forged transactions is still connected")
		}
		settled(firstBan + longestPause)
		mustConnect(t, n, b)
	})
}

func TestNodesAreNoValidators(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		w.set(idOf(2), Node)
		b := w.startAs(2, []int{1}, nil)
		settled(time.Second)
		b.Send(n.key, []byte("vote"))
		b.SendTransaction(n.key, []byte("transaction"))
		settled(time.Second)
		if c, x, _ := n.got(); len(c) != 0 || len(x) != 1 {
			t.Errorf("%d consensus messages and %d transactions of a follower", len(c), len(x))
		}
		if ignored := n.Stats().Traffic[kindConsensus-1].Ignored; ignored != 1 {
			t.Errorf("%d messages counted as ignored, want 1", ignored)
		}
	})
}

// TestHandshakeFlood begins handshakes from many addresses and from one, and
// never ends them.
func TestHandshakeFlood(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		good := w.start(2, []int{1}, nil)
		settled(time.Second)
		mustConnect(t, n, good)
		good.stop()
		ctx, cancel := context.WithCancel(t.Context())
		config, err := tlsConfig(keyOf(99))
		if err != nil {
			t.Fatal(err)
		}
		// What comes back from node 1 never reaches the flooders, but for a Retry.
		w.lose(func(from, to netip.AddrPort) bool { return from == at(1) && to.Addr().As4()[2] != 0 })
		for i := range 80 {
			transport := &quic.Transport{Conn: w.socket(256 + i)}
			go func() {
				defer transport.Close()
				for ctx.Err() == nil {
					transport.Dial(ctx, net.UDPAddrFromAddrPort(at(1)), config, &quic.Config{HandshakeIdleTimeout: 3 * time.Second})
				}
			}()
		}
		settled(10 * time.Second)
		n.admission.mu.Lock()
		strange := n.admission.strange
		n.admission.mu.Unlock()
		if strange > maxPending {
			t.Errorf("%d handshakes under way", strange)
		}
		s := n.Stats()
		t.Logf("%d handshakes under way, %d refused, %d addresses made to prove themselves", strange, s.RefusedPending, s.Retries)
		if s.Retries == 0 {
			t.Error("no address had to prove itself")
		}
		good = w.start(2, []int{1}, nil)
		settled(10 * time.Second)
		mustConnect(t, n, good)
		cancel()
		settled(10 * time.Second)
		honest(t, w, n, 3)
		n.admission.mu.Lock()
		defer n.admission.mu.Unlock()
		if n.admission.strange+n.admission.familiar != 0 || len(n.admission.addresses) != 0 {
			t.Errorf("places are not given back: %d, %d, %v", n.admission.strange, n.admission.familiar, n.admission.addresses)
		}
	})
}

// TestConnectionStorm has a node of the ledger make one connection after the
// other.
func TestConnectionStorm(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, nil)
		w.set(idOf(2), Validator)
		config, err := tlsConfig(keyOf(2))
		if err != nil {
			t.Fatal(err)
		}
		transport := &quic.Transport{Conn: w.socket(2)}
		defer transport.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for dial := uint64(1); ctx.Err() == nil; dial++ {
			c, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(at(1)), config, nil)
			if err != nil {
				settled(time.Millisecond)
				continue
			}
			h := goodHello()
			h.dial = dial
			(&raw{t: t, Conn: c}).greet(h)
		}
		most := uint64(strangeRate*n.config.HandshakeRate + 2*n.config.HandshakeRate + 10*n.config.HandshakeRate)
		if got := n.Stats().Accepted; got > most {
			t.Errorf("%d handshakes within 10 s, at most %d are allowed", got, most)
		}
		n.Network.mu.Lock()
		listed := len(n.conns)
		n.Network.mu.Unlock()
		if listed > 1 {
			t.Errorf("%d connections of one key", listed)
		}
		honest(t, w, n, 3)
	})
}

// TestFull fills a node with followers: validators displace them.
func TestFull(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, func(c *Config, _ *node) { c.MaxPeers = 3 })
		for host := 11; host < 16; host++ {
			w.set(idOf(host), Node)
			w.startAs(host, []int{1}, nil)
			settled(time.Second)
		}
		for host := 21; host < 24; host++ {
			w.start(host, []int{1}, nil)
		}
		settled(time.Minute)
		s := n.Stats()
		if s.Validators != 3 || s.Nodes != 0 || s.RefusedFull == 0 {
			t.Errorf("%d validators, %d nodes, %d refused", s.Validators, s.Nodes, s.RefusedFull)
		}
	})
}

func TestMisbehavedRemembered(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		file := t.TempDir() + "/peers"
		n := w.start(1, nil, func(c *Config, _ *node) { c.StateFile = file })
		b := w.start(2, []int{1}, nil)
		settled(time.Second)
		mustConnect(t, n, b)
		n.Misbehaved(b.key, errors.New("it lied"))
		settled(time.Second)
		if raw, err := os.ReadFile(file); err != nil {
			t.Errorf("a crash would make the node forget: %v", err)
		} else if s, err := parseState(raw); err != nil || s.bans[b.key].strikes != 1 {
			t.Errorf("a crash would make the node forget: %+v, %v", s, err)
		}
		n.stop()
		n = w.start(1, nil, func(c *Config, _ *node) { c.StateFile = file })
		settled(10 * time.Second)
		if n.lookup(b.key) != nil || n.Stats().RefusedBanned == 0 {
			t.Error("the ban is forgotten with the process")
		}
		settled(firstBan + longestPause)
		mustConnect(t, n, b)
	})
}

// TestOtherKeyAnswers learns an address at which somebody else answers.
func TestOtherKeyAnswers(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.set(idOf(9), Validator)
		n := w.start(1, nil, func(c *Config, _ *node) { c.Learn = true })
		w.start(2, nil, nil)
		n.book.hint(idOf(9), at(2).String(), idOf(3))
		n.poke()
		settled(time.Second)
		if len(n.Connected()) != 0 || n.book.count() != 0 {
			t.Errorf("%d connected, %d nodes remembered", len(n.Connected()), n.book.count())
		}
	})
}

// TestAddressesHostile has a peer tell of thousands of addresses, all lies.
func TestAddressesHostile(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, func(c *Config, _ *node) { c.Learn = true })
		for host := 2; host < 600; host++ {
			w.set(idOf(host), Validator)
		}
		r := w.dialRaw(2, 1)
		control := r.greet(goodHello())
		good := w.start(3, nil, nil)
		n.book.proved(good.key, at(3).String(), time.Now())
		n.poke()
		for round := range 100 {
			var list []nodeAddress
			for i := range maxAddresses {
				list = append(list, nodeAddress{idOf(3 + (round*maxAddresses+i)%590), fmt.Sprintf("10.9.%d.%d:7423", round, i)})
			}
			control.Write(appendFrame(nil, appendAddresses([]byte{controlAddresses}, list)))
			settled(100 * time.Millisecond)
		}
		known := n.book.count()
		if most := learnBurst*maxAddresses + maxAddresses + 1; known > most {
			t.Errorf("%d nodes are remembered, at most %d could be told of", known, most)
		}
		mustConnect(t, n, good)
		before := n.Stats().Dials
		settled(10 * time.Minute)
		s := n.Stats()
		t.Logf("%d lies remembered, %d after ten minutes and %d tries", known, s.Known, s.Dials-before)
		if s.Dials-before > 10*60*seekRate+seekTries {
			t.Errorf("%d tries within ten minutes", s.Dials-before)
		}
		if s.Known > 2 {
			t.Errorf("%d nodes are remembered, of whom all but one never answered", s.Known)
		}
		mustConnect(t, n, good)
	})
}

// TestAddressesIgnored tells of addresses that are not to be tried at all.
func TestAddressesIgnored(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, func(c *Config, _ *node) { c.Learn = true })
		w.set(idOf(2), Node)
		w.set(idOf(5), Node)
		r := w.dialRaw(2, 1)
		control := r.greet(goodHello())
		tell := func(list ...nodeAddress) {
			control.Write(appendFrame(nil, appendAddresses([]byte{controlAddresses}, list)))
			settled(50 * time.Millisecond)
		}
		tell(nodeAddress{idOf(3), at(3).String()}, nodeAddress{n.key, at(3).String()}, nodeAddress{idOf(5), "127.0.0.1:22"})
		if count := n.book.count(); count != 0 {
			t.Errorf("%d nodes are remembered of a stranger, the node itself, and an address of the reader's own machine", count)
		}
		tell(nodeAddress{idOf(5), at(5).String()})
		if count := n.book.count(); count != 1 {
			t.Errorf("%d nodes are remembered of a good one", count)
		}
	})
}

// TestBookBounded fills the book of addresses.
func TestBookBounded(t *testing.T) {
	b := newBook()
	now := time.Unix(1e9, 0)
	b.proved(Key{1}, "10.0.0.1:1", now)
	for i := range 2000 {
		b.hint(Key{2, byte(i), byte(i >> 8)}, "10.0.0.2:1", Key{byte(i)})
		b.hint(Key{1}, fmt.Sprintf("10.0.1.1:%d", i+1), Key{7, byte(i), byte(i >> 8)})
		b.find(fmt.Sprintf("10.0.2.1:%d", i+1), now.Add(time.Duration(i)))
	}
	if len(b.nodes) > maxKnown || len(b.nodes[Key{1}].hints) > maxHints || len(b.loose) > maxLoose {
		t.Errorf("%d nodes, %d hints, %d loose addresses", len(b.nodes), len(b.nodes[Key{1}].hints), len(b.loose))
	}
	if b.nodes[Key{1}].proved != "10.0.0.1:1" {
		t.Error("lies displaced what is known")
	}
	b = newBook()
	for i := range 10 {
		b.hint(Key{1}, fmt.Sprintf("10.0.1.1:%d", i+1), Key{7})
	}
	if hints := b.nodes[Key{1}].hints; len(hints) != 1 || hints[0].address != "10.0.1.1:10" {
		t.Errorf("of one teller: %v, want its last word", hints)
	}
}

// TestPlausible tells addresses that lead somewhere from others.
func TestPlausible(t *testing.T) {
	far, near := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, c := range []struct {
		address string
		teller  net.Addr
		want    bool
	}{
		{"10.0.0.2:7423", far, true},
		{"[fd00::1]:7423", far, true},
		{"[fe80::1%eth0]:7423", far, true},
		{"gateway-7.example.org:7423", far, true},
		{"127.0.0.1:7423", far, false},
		{"[::1]:7423", far, false},
		{"[::ffff:127.0.0.1]:7423", far, false},
		{"127.0.0.1:7423", near, true},
		{"0.0.0.0:7423", far, false},
		{"224.0.0.251:5353", far, false},
		{"10.0.0.2:0", far, false},
		{"10.0.0.2:07423", far, false},
		{"10.0.0.2:65536", far, false},
		{"10.0.0.2", far, false},
		{":7423", far, false},
		{"a b:7423", far, false},
		{"x\n:7423", far, false},
		{string(bytes.Repeat([]byte("x"), 300)) + ":1", far, false},
	} {
		if got := plausible(c.address, c.teller); got != c.want {
			t.Errorf("plausible(%q, %v) = %v", c.address, c.teller, got)
		}
	}
}
