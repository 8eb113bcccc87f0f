package gateway_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/gateway"
)

// initials makes first packets of connections that are never completed, as whoever
// forges addresses sends them: RFC 9001 section 5.2 with a real ClientHello.
type initials struct {
	t       testing.TB
	payload []byte // CRYPTO frame, padded
	scid    []byte
}

func newInitials(t testing.TB) *initials {
	t.Helper()
	i := &initials{t: t, scid: []byte{1, 2, 3, 4, 5, 6, 7, 8}}
	config := clientTLS()
	config.ServerName, config.CurvePreferences = "gate", []tls.CurveID{tls.X25519} // so that it fits into one packet
	hello := tls.QUICClient(&tls.QUICConfig{TLSConfig: config})
	defer hello.Close()
	hello.SetTransportParameters(append([]byte{0x0f, byte(len(i.scid))}, i.scid...)) // initial_source_connection_id
	if err := hello.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for e := hello.NextEvent(); e.Kind != tls.QUICNoEvent; e = hello.NextEvent() {
		if e.Kind == tls.QUICWriteData {
			i.payload = append(i.payload, e.Data...)
		}
	}
	i.payload = append(binary.BigEndian.AppendUint16([]byte{6, 0}, 0x4000|uint16(len(i.payload))), i.payload...)
	i.payload = append(i.payload, make([]byte, 1200-len(i.payload)-initialOverhead)...) // PADDING
	return i
}

// initialOverhead is what stands around the payload: the header and the tag.
const initialOverhead = 1 + 4 + 9 + 9 + 1 + 2 + 4 + 16

// number makes the packet of one connection.
func (i *initials) number(n uint64) []byte {
	dcid := binary.BigEndian.AppendUint64(nil, n)
	b := append([]byte{0xc3, 0, 0, 0, 1, 8}, dcid...)
	b = append(append(b, byte(len(i.scid))), i.scid...)
	b = append(b, 0) // no token
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(4+len(i.payload)+16))
	at := len(b)
	b = append(b, 0, 0, 0, 0) // packet number
	secret, err := hkdf.Extract(sha256.New, dcid, initialSalt)
	if err != nil {
		i.t.Fatal(err)
	}
	client := i.expand(secret, "client in", 32)
	block, _ := aes.NewCipher(i.expand(client, "quic key", 16))
	seal, _ := cipher.NewGCM(block)
	b = seal.Seal(b, i.expand(client, "quic iv", 12), i.payload, b)
	hide, _ := aes.NewCipher(i.expand(client, "quic hp", 16))
	mask := make([]byte, 16)
	hide.Encrypt(mask, b[at+4:at+20])
	b[0] ^= mask[0] & 0x0f
	for k := range 4 {
		b[at+k] ^= mask[1+k]
	}
	return b
}

var initialSalt = []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func (i *initials) expand(secret []byte, label string, n int) []byte {
	info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		i.t.Fatal(err)
	}
	return out
}

// flooded is a socket into which packets of any origin can be put. What goes to
// these origins is counted, not sent.
type flooded struct {
	net.PacketConn
	packets chan packet
	over    chan struct{}
	end     sync.Once

	mu      sync.Mutex
	answers map[string]int // bytes, by origin; guarded by mu
}

type packet struct {
	data []byte
	from net.Addr
}

func newFlooded(t testing.TB) *flooded {
	f := &flooded{PacketConn: listen(t), packets: make(chan packet), over: make(chan struct{}), answers: map[string]int{}}
	go func() {
		for {
			buf := make([]byte, 2000)
			n, from, err := f.PacketConn.ReadFrom(buf)
			if err != nil {
				return
			}
			f.put(buf[:n], from)
		}
	}()
	return f
}

func (f *flooded) put(data []byte, from net.Addr) {
	select {
	case f.packets <- packet{data, from}:
	case <-f.over:
	}
}

func (f *flooded) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-f.packets:
		return copy(b, p.data), p.from, nil
	case <-f.over:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (f *flooded) WriteTo(b []byte, to net.Addr) (int, error) {
	if udp, ok := to.(*net.UDPAddr); ok && udp.IP.IsLoopback() {
		return f.PacketConn.WriteTo(b, to)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[to.String()] += len(b)
	return len(b), nil
}

// SetReadDeadline is how quic-go ends reading.
func (f *flooded) SetReadDeadline(time.Time) error {
	f.end.Do(func() { close(f.over) })
	return nil
}

// origin is a forged address of which there are many.
func origin(n int) net.Addr {
	return &net.UDPAddr{IP: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n)), Port: 4433}
}

// attacks counts what Config.Attack is told.
type attacks struct {
	mu    sync.Mutex
	kinds map[string]int // guarded by mu
	from  string         // the last; guarded by mu
}

func (a *attacks) attack(kind, from string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kinds == nil {
		a.kinds = map[string]int{}
	}
	a.kinds[kind]++
	a.from = from
}

func (a *attacks) count(kind string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kinds[kind]
}

// TestForgedInitials: ten thousand first packets within about a second, each of
// another address, and then from one: they cost little memory, are answered with
// Retries and never with more than they brought, and do not keep a client that
// is real from its decisions.
func TestForgedInitials(t *testing.T) {
	const packets = 10_000
	make10k := newInitials(t)
	for name, from := range map[string]func(int) net.Addr{
		"of many addresses": origin,
		"of one address":    func(int) net.Addr { return origin(1) },
	} {
		t.Run(name, func(t *testing.T) {
			socket, seen := newFlooded(t), &attacks{}
			p := &port{dial: func(t testing.TB) net.PacketConn { return listen(t) }}
			p.run(t, socket, newNode(), func(c *gateway.Config) { c.HandshakeRate, c.Attack = 5, seen.attack })
			early := open(t, p.connect(t, newKey(t)))
			early.ask(1, abi.OpDecide, decideBody())
			before := inUse()

			began := time.Now()
			for n := range packets {
				socket.put(make10k.number(uint64(n)), from(n))
			}
			took := time.Since(began)
			if got := early.ask(2, abi.OpDecide, decideBody()); got.Code != abi.OK {
				t.Errorf("a client that was connected: %v", got.Code)
			}
			if got := open(t, p.connect(t, newKey(t))).ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
				t.Errorf("a client that connects: %v", got.Code)
			}
			grown, st := inUse()-before, p.Stats()
			t.Logf("%d packets in %v, %d Retries, heap and stacks grown by %d KiB", packets, took, st.Retries, grown>>10)
			// 50 handshakes are begun at once and 50 more each second; what quic-go
			// cannot queue it drops.
			if int(st.Retries) < packets*9/10 {
				t.Errorf("%d Retries for %d packets", st.Retries, packets)
			}
			if grown > 16<<20 {
				t.Errorf("%d KiB were taken", grown>>10)
			}
			if seen.count(gateway.AttackHandshakeFlood) < packets/2 {
				t.Errorf("attacks that were told: %v", seen.kinds)
			}
			socket.mu.Lock()
			defer socket.mu.Unlock()
			for to, bytes := range socket.answers {
				// RFC 9000 section 8.1 says three times; quic-go looks before a packet.
				if name == "of many addresses" && bytes > 4*1200 {
					t.Fatalf("%d bytes were sent to %s, which brought 1200", bytes, to)
				}
			}
		})
	}
}

// TestRestartIsNoAttack: devices that all come back at once are made to prove
// their addresses, and do.
func TestRestartIsNoAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &attacks{}
		p := serveSim(t, newNode(), func(c *gateway.Config) { c.HandshakeRate, c.Attack = 5, seen.attack })
		transport := &quic.Transport{Conn: p.dial(t)}
		defer transport.Close()
		var all sync.WaitGroup
		for range 200 {
			<-time.After(2 * time.Millisecond) // the simulated socket drops what comes all at once
			all.Go(func() {
				c, err := transport.Dial(t.Context(), p.addr, clientTLS(certificate(t, newKey(t))), nil)
				if err != nil {
					t.Error(err)
					return
				}
				open(t, c).ask(1, abi.OpStatus, empty)
			})
		}
		all.Wait()
		if n, st := seen.count(gateway.AttackHandshakeFlood), p.Stats(); n > 0 || st.Retries < 150 {
			t.Errorf("%d attacks were told, with %d Retries", n, st.Retries)
		}
		p.stop()
	})
}

// TestNestedFrames: CBOR of any depth and length is refused without a trace of
// what it would take to build it.
func TestNestedFrames(t *testing.T) {
	seen := &attacks{}
	p := serve(t, newNode(), func(c *gateway.Config) { c.Attack = seen.attack })
	c := p.connect(t, newKey(t))
	nest := func(item string, n int) []byte { return append([]byte(strings.Repeat(item, n)), 0) }
	inRequest := func(op abi.Operation, body []byte) []byte {
		return append(append([]byte{0xa3, 1, 7, 2, byte(op), 3}, body...), []byte{}...)
	}
	refused := 0
	for name, content := range map[string][]byte{
		"arrays":                       nest("\x81", 64<<10),
		"maps":                         nest("\xa1\x00", 32<<10),
		"tags":                         nest("\xc4", 64<<10),
		"in a decision":                inRequest(abi.OpDecide, append([]byte{0xa2, 1, 0x61, 'x', 2}, nest("\x81", 64<<10)...)),
		"in a report's payload":        inRequest(abi.OpReport, append([]byte{0xa2, 1, 1, 2}, nest("\x81", 64<<10)...)),
		"in a subscription's filter":   inRequest(abi.OpSubscribe, append([]byte{0xa1, 2}, nest("\xa1\x00", 32<<10)...)),
		"arrays that are never filled": []byte(strings.Repeat("\x9a\xff\xff\xff\xff", 13_000)),
	} {
		w := open(t, c)
		began, before := time.Now(), inUse()
		w.send(frame(content))
		if got := w.receive(); got.Code != abi.CodeMalformed && got.Code != abi.CodeTooLarge {
			t.Errorf("%s: %v", name, got.Code)
		}
		if took, grown := time.Since(began), inUse()-before; took > time.Second || grown > 1<<20 {
			t.Errorf("%s: took %v and %d bytes", name, took, grown)
		}
		w.CancelRead(0)
		w.Close()
		refused++
	}
	if got := seen.count(gateway.AttackMalformedFrames); got != refused || seen.from != "127.0.0.1/32" {
		t.Errorf("%d of %d were told, from %s", got, refused, seen.from)
	}
}

// TestAttacksAreTold: what else tells of an attack.
func TestAttacksAreTold(t *testing.T) {
	seen := &attacks{}
	n := newNode()
	n.submit = func(context.Context, []byte, bool) (abi.TxResult, error) { return abi.TxResult{}, abi.CodeBadSignature }
	n.query = func([]byte) ([]byte, error) { return nil, abi.CodeUnknownContract }
	n.decide = func(_ context.Context, _ abi.Caller, domain string, _ []byte) abi.Answer {
		return abi.Answer{Code: abi.CodeNoDomain}
	}
	p := serve(t, n, func(c *gateway.Config) { c.Attack = seen.attack })
	w := open(t, p.connect(t, newKey(t)))
	w.ask(1, abi.OpSubmit, bytesBody([]byte{1}))
	w.ask(2, abi.OpQuery, queryBody(nil))
	w.ask(3, abi.OpDecide, decideBody())
	w.ask(4, abi.OpStatus, empty)
	key := newKey(t)
	c, err := p.handshake(t, clientTLS(tls.Certificate{Certificate: certificate(t, key).Certificate, PrivateKey: forger{newKey(t), key.Public()}}), nil)
	if refused(t, c, err) == nil {
		t.Fatal("a handshake that the key did not sign was accepted")
	}
	eventually(t, func() bool { return seen.count(gateway.AttackBadSignatures) == 2 })
	if got := seen.count(gateway.AttackUnknownContracts); got != 2 {
		t.Errorf("%d unknown contracts", got)
	}
	if got := seen.count(gateway.AttackMalformedFrames) + seen.count(gateway.AttackHandshakeFlood); got != 0 {
		t.Errorf("also told: %v", seen.kinds)
	}
}
