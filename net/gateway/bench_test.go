package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/gateway"
)

// The load of the benchmarks: connections, and requests in flight on each.
const (
	benchConnections = 16
	benchInFlight    = 4
)

// benchNode is a Node that costs next to nothing.
type benchNode struct{ *node }

func (benchNode) Decide(context.Context, abi.Caller, string, []byte) abi.Answer { return benchAnswer }
func (benchNode) Standing([]byte) (abi.Standing, error)                         { return active, nil }

// benchAnswer has what a real answer has.
var benchAnswer = abi.Answer{
	Permit: true, ReasonID: "technicians-by-day", Record: 123_456, Height: 4711, Contract: "access",
	CodeHash: abi.Hash{1}, Now: 1_790_000_000_000,
}

// echo is a bare quic-go server that answers each frame with a given one: the
// same bytes in both directions, and nothing in between.
func echo(b *testing.B, answer []byte, readAhead int) *port {
	b.Helper()
	conn := listen(b)
	config := clientTLS(certificate(b, newKey(b)))
	config.ClientAuth, config.SessionTicketsDisabled = tls.RequireAnyClientCert, true
	listener, err := quic.Listen(conn, config, &quic.Config{
		InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 64 << 10,
		InitialConnectionReceiveWindow: 128 << 10, MaxConnectionReceiveWindow: 128 << 10,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go echoStream(s, answer, readAhead)
				}
			}()
		}
	}()
	return &port{addr: conn.LocalAddr(), dial: func(t testing.TB) net.PacketConn { return listen(t) }}
}

func echoStream(s *quic.Stream, answer []byte, readAhead int) {
	in := bufio.NewReaderSize(s, readAhead)
	var buf []byte
	for {
		var err error
		if buf, err = abi.ReadFrame(in, buf); err != nil {
			return
		}
		if _, err := s.Write(answer); err != nil {
			return
		}
	}
}

// drive has every connection keep benchInFlight requests under way until b.N
// are answered, and reports rate and CPU of the whole process.
func drive(b *testing.B, p *port, ask []byte, answerSize int) {
	b.Helper()
	streams := make([]*quic.Stream, benchConnections)
	for i := range streams {
		streams[i] = open(b, p.connect(b, newKey(b))).Stream
	}
	each := b.N/benchConnections + 1
	var all sync.WaitGroup
	b.ResetTimer()
	before, begin := cpuTime(b), time.Now()
	for _, s := range streams {
		all.Go(func() { driveStream(b, s, ask, answerSize, each) })
	}
	all.Wait()
	done := float64(each * benchConnections)
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/done/1e3, "cpu-µs/op")
	b.ReportMetric(done/time.Since(begin).Seconds(), "op/s")
}

func driveStream(b *testing.B, s *quic.Stream, ask []byte, answerSize, n int) {
	in := bufio.NewReaderSize(s, 4<<10)
	answer := make([]byte, answerSize)
	sent := 0
	for received := 0; received < n; received++ {
		for ; sent < n && sent < received+benchInFlight; sent++ {
			if _, err := s.Write(ask); err != nil {
				b.Error(err)
				return
			}
		}
		if _, err := io.ReadFull(in, answer); err != nil {
			b.Error(err)
			return
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecide compares decisions with a bare echo of the same frames. The
// client is in the same process and costs the same in both, so what the
// service adds is the difference of their cpu-µs/op.
func BenchmarkDecide(b *testing.B) {
	ask := request(1, abi.OpDecide, decideBody())
	answer := frame(abi.AppendResponse(nil, &abi.Response{ID: 1, Body: abi.AppendAnswer(nil, &benchAnswer)}))
	b.Run("echo", func(b *testing.B) { drive(b, echo(b, answer, 4<<10), ask, len(answer)) })
	b.Run("gateway", func(b *testing.B) {
		b.ReportAllocs()
		drive(b, serve(b, benchNode{newNode()}, nil), ask, len(answer))
	})
}

// BenchmarkConnection reports what a connected, idle device with two used streams
// holds on the server's side and the client's together, in heap and stacks, with
// 200 and 2,000 of them: the service's own part is the difference to the echo,
// which holds no more than the last frame. The devices come slower than the
// service makes them prove their addresses, which is not measured.
func BenchmarkConnection(b *testing.B) {
	ask := request(1, abi.OpDecide, decideBody())
	answer := frame(abi.AppendResponse(nil, &abi.Response{ID: 1, Body: abi.AppendAnswer(nil, &benchAnswer)}))
	hold := func(b *testing.B, p *port, connections int) float64 {
		quiet(b)
		before := inUse()
		for range connections {
			c := p.connectWith(b, newKey(b), &quic.Config{KeepAlivePeriod: 20 * time.Second})
			for range 2 {
				w := open(b, c)
				w.send(ask)
				w.receive()
			}
		}
		<-time.After(settle)
		return float64(inUse()-before) / float64(connections)
	}
	for _, connections := range []int{200, 2000} {
		var bare, ours float64
		b.Run("echo-"+strconv.Itoa(connections), func(b *testing.B) {
			bare = hold(b, echo(b, answer, 16), connections)
			b.ReportMetric(bare, "B/conn")
		})
		b.Run("gateway-"+strconv.Itoa(connections), func(b *testing.B) {
			ours = hold(b, serve(b, benchNode{newNode()}, func(c *gateway.Config) { c.MaxPerAddress, c.MaxConnections = 5000, 5000 }), connections)
			b.ReportMetric(ours, "B/conn")
			if bare > 0 { // it ran, too
				b.ReportMetric(ours-bare, "own-B/conn")
			}
		})
	}
}

// quiet waits until what earlier benchmarks left has ended: a server's side of a
// connection outlives a client that goes without a word.
func quiet(b *testing.B) {
	for end := time.Now().Add(2 * time.Minute); runtime.NumGoroutine() > 64; <-time.After(100 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%d goroutines are left of what ran before", runtime.NumGoroutine())
		}
	}
}

// settle is how long connections take to let go of what their handshakes needed.
const settle = 3 * time.Second

// BenchmarkHandshake compares whole connections, from the first packet to an
// answer and the end, with those to the bare echo: CPU of both sides together,
// and how many a second.
func BenchmarkHandshake(b *testing.B) {
	ask := request(1, abi.OpDecide, decideBody())
	answer := frame(abi.AppendResponse(nil, &abi.Response{ID: 1, Body: abi.AppendAnswer(nil, &benchAnswer)}))
	connect := func(b *testing.B, p *port) {
		transport := &quic.Transport{Conn: p.dial(b)}
		defer transport.Close()
		config := clientTLS(certificate(b, newKey(b)))
		b.ResetTimer()
		before, began := cpuTime(b), time.Now()
		for range b.N {
			c, err := transport.Dial(b.Context(), p.addr, config, nil)
			if err != nil {
				b.Fatal(err)
			}
			w := open(b, c)
			w.send(ask)
			w.receive()
			c.CloseWithError(0, "")
		}
		b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "op/s")
	}
	b.Run("echo", func(b *testing.B) { connect(b, echo(b, answer, 4<<10)) })
	for _, retry := range []bool{false, true} {
		b.Run(map[bool]string{false: "gateway", true: "gateway-retry"}[retry], func(b *testing.B) {
			connect(b, serve(b, benchNode{newNode()}, func(c *gateway.Config) {
				if c.HandshakeRate = 1 << 20; retry {
					c.HandshakeRate = 1
				}
			}))
		})
	}
}

// inUse is the bytes of live heap objects and of goroutines' stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go in the first
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}
