package gateway_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/net/gateway"
)

// requireEnd reads the end of a stream that was closed after its last answer.
func (w *wire) requireEnd() {
	w.t.Helper()
	if b, err := w.in.ReadByte(); err != io.EOF {
		w.t.Errorf("read %x, %v, want the end of the stream", b, err)
	}
}

// requireReset waits for the server to reset a stream with a code.
func (w *wire) requireReset(want abi.Code) {
	w.t.Helper()
	_, err := io.Copy(io.Discard, w.in)
	var reset *quic.StreamError
	if !errors.As(err, &reset) || abi.Code(reset.ErrorCode) != want {
		w.t.Errorf("stream ended with %v, want a reset with %v", err, want)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	n := newNode()
	n.query = func(message []byte) ([]byte, error) { return bytes.Clone(message), nil }
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	var frames [][]byte
	big := make([]byte, 9000)
	const rounds = 200
	for id := uint64(1); id <= 4*rounds; id += 4 {
		frames = append(frames, request(id, abi.OpDecide, decideBody()), request(id+1, abi.OpQuery, queryBody(big)),
			request(id+2, abi.OpDecide, []byte{0xa0}), request(id+3, abi.OpStatus, empty))
	}
	go w.send(frames...)
	for id := uint64(1); id <= 4*rounds; id += 4 {
		for i, want := range []abi.Code{abi.OK, abi.OK, abi.CodeBadArgument, abi.OK} {
			if got := w.receive(); got.ID != id+uint64(i) || got.Code != want {
				t.Fatalf("response %d %v, want %d %v", got.ID, got.Code, id+uint64(i), want)
			}
		}
	}
}

// A frame may arrive in any pieces.
func TestFramesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, serveSim(t, newNode(), nil).connect(t, newKey(t)))
		all := slices.Concat(request(1, abi.OpDecide, decideBody()), request(2, abi.OpDecide, decideBody()))
		for _, b := range all {
			w.send([]byte{b})
			synctest.Wait() // each byte in a packet of its own
		}
		for id := range uint64(2) {
			if got := w.receive(); got.ID != id+1 || got.Code != abi.OK {
				t.Errorf("%+v", got)
			}
		}
	})
}

func TestFramesThatAreNoRequests(t *testing.T) {
	nested := bytes.Repeat([]byte{0x81}, 64<<10)
	deep := append(bytes.Repeat([]byte{0x81}, 40), 0x00)
	id7 := []byte{0xa3, 1, 7, 2, 2, 3} // {1: 7, 2: decide, 3: ...
	for name, test := range map[string]struct {
		content []byte
		id      uint64
		code    abi.Code
	}{
		"empty frame":           {nil, 0, abi.CodeMalformed},
		"garbage":               {[]byte("\xff\x00GET / HTTP/1.1\r\n"), 0, abi.CodeMalformed},
		"64 KiB of open arrays": {nested, 0, abi.CodeMalformed},
		"deep body":             {slices.Concat(id7, deep), 7, abi.CodeMalformed},
		"64 KiB deep body":      {slices.Concat(id7, nested), 7, abi.CodeMalformed},
		"huge array":            {slices.Concat(id7, []byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), 7, abi.CodeMalformed},
		"indefinite length":     {slices.Concat(id7, []byte{0xbf, 0xff}), 7, abi.CodeMalformed},
		"float":                 {slices.Concat(id7, []byte{0xfb, 0, 0, 0, 0, 0, 0, 0, 0}), 7, abi.CodeMalformed},
		"unsorted keys":         {slices.Concat(id7, []byte{0xa2, 2, 0, 1, 0}), 7, abi.CodeMalformed},
		"left-over bytes":       {slices.Concat(id7, []byte{0xa0, 0}), 7, abi.CodeMalformed},
		"unknown field":         {[]byte{0xa4, 1, 7, 2, 2, 3, 0xa0, 4, 0}, 7, abi.CodeMalformed},
		"no operation":          {[]byte{0xa1, 1, 7}, 7, abi.CodeBadArgument},
		"no id":                 {[]byte{0xa2, 2, 2, 3, 0xa0}, 0, abi.CodeBadArgument},
		"id that is a text":     {[]byte{0xa3, 1, 0x61, 'x', 2, 2, 3, 0xa0}, 0, abi.CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			n.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
				t.Error("a contract ran")
				return abi.Answer{}
			}
			c := serve(t, n, nil).connect(t, newKey(t))
			w := open(t, c)
			// Requests before the bad frame are answered, those behind it are not.
			w.send(request(1, abi.OpStatus, empty), frame(test.content), request(8, abi.OpDecide, decideBody()))
			if got := w.receive(); got.ID != 1 || got.Code != abi.OK {
				t.Errorf("%+v", got)
			}
			if got := w.receive(); got.ID != test.id || got.Code != test.code {
				t.Errorf("%d %v, want %d %v", got.ID, got.Code, test.id, test.code)
			}
			w.requireEnd()
			// The connection and other streams go on.
			if got := open(t, c).ask(1, abi.OpStatus, empty); got.Code != abi.OK {
				t.Error(got.Code)
			}
		})
	}
}

func TestOversizedFrameIsRefusedUnread(t *testing.T) {
	n := newNode()
	key := newKey(t)
	for name, test := range map[string]struct {
		size     uint32
		standing abi.Standing
	}{
		"one byte too many":        {abi.MaxFrame + 1, active},
		"4 GiB":                    {1<<32 - 1, active},
		"large, from a stranger":   {64 << 10, abi.Standing{}},
		"large, from a stolen one": {64 << 10, abi.Standing{Known: true, Device: abi.StatusStolen}},
	} {
		t.Run(name, func(t *testing.T) {
			n.set(public(key), test.standing)
			w := open(t, serve(t, n, nil).connect(t, key))
			w.send(binary.BigEndian.AppendUint32(nil, test.size)) // and not a byte of content
			if got := w.receive(); got.ID != 0 || got.Code != abi.CodeFrameTooLarge {
				t.Errorf("%+v", got)
			}
			w.requireEnd()
		})
	}
}

func TestLargestFrame(t *testing.T) {
	n := newNode()
	n.query = func(message []byte) ([]byte, error) { return []byte{byte(len(message) >> 8)}, nil }
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	overhead := len(request(1, abi.OpQuery, queryBody(make([]byte, 70_000)))) - 70_000 - 4
	message := make([]byte, abi.MaxFrame-overhead)
	for id := range uint64(3) {
		if got := w.ask(id+1, abi.OpQuery, queryBody(message)); got.Code != abi.OK {
			t.Error(got.Code)
		}
		if got := w.ask(id+1, abi.OpDecide, decideBody()); got.Code != abi.OK {
			t.Error(got.Code)
		}
	}
}

func TestHalfAFrameTimesOut(t *testing.T) {
	for name, part := range map[string][]byte{
		"half a length": {0, 0}, "a length": {0, 0, 0, 9}, "half a small frame": {0, 0, 0, 9, 0xa3}, "half a large frame": {0, 1, 0, 0, 0xa3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := serveSim(t, newNode(), func(c *gateway.Config) { c.FrameTimeout = 10 * time.Second })
				c := p.connect(t, newKey(t))
				w := open(t, c)
				w.send(request(1, abi.OpDecide, decideBody()), part)
				w.receive() // is not kept back by the half frame
				begin := time.Now()
				w.requireReset(abi.CodeTimeout)
				if took := time.Since(begin); took < 9*time.Second || took > 11*time.Second {
					t.Errorf("reset after %v", took)
				}
				if got := open(t, c).ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
					t.Error(got.Code)
				}
			})
		})
	}
}

// An idle stream is no half frame.
func TestIdleStreamsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serveSim(t, newNode(), nil)
		c, err := p.handshake(t, clientTLS(certificate(t, newKey(t))), &quic.Config{KeepAlivePeriod: 20 * time.Second, MaxIdleTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		w := open(t, c)
		for id := range uint64(5) {
			if got := w.ask(id+1, abi.OpDecide, decideBody()); got.Code != abi.OK {
				t.Error(got.Code)
			}
			<-time.After(10 * time.Minute) // virtual
		}
	})
}

func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.query = func([]byte) ([]byte, error) { return make([]byte, 60<<10), nil }
		p := serveSim(t, n, func(c *gateway.Config) { c.WriteTimeout, c.MaxLarge = 10*time.Second, 8 })
		key := newKey(t)
		// A client whose windows hold less than one answer, and that never reads.
		c, err := p.handshake(t, clientTLS(certificate(t, key)), &quic.Config{
			InitialStreamReceiveWindow: 8 << 10, MaxStreamReceiveWindow: 8 << 10, KeepAlivePeriod: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		stuck := open(t, c)
		var frames [][]byte
		for id := range uint64(20) {
			frames = append(frames, request(id+1, abi.OpQuery, queryBody(nil)))
		}
		stuck.send(frames...)
		// Its other streams are answered meanwhile, also where they need a slot
		// for a large frame.
		other := open(t, c)
		if got := other.ask(1, abi.OpQuery, queryBody(nil)); got.Code != abi.OK {
			t.Error(got.Code)
		}
		<-time.After(20 * time.Second)
		stuck.requireReset(abi.CodeTimeout)
		if got := other.ask(2, abi.OpDecide, decideBody()); got.Code != abi.OK {
			t.Error(got.Code)
		}
		if st := p.Stats(); st.Streams != 1 {
			t.Errorf("%d streams, want 1", st.Streams)
		}
	})
}

// Clients that hold every slot for large frames cannot keep others from
// decisions, and no single key can hold them all.
func TestLargeFramesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.query = func([]byte) ([]byte, error) { return []byte("ok"), nil }
		p := serveSim(t, n, func(c *gateway.Config) { c.MaxLarge, c.FrameTimeout = 4, 10*time.Second })
		transport := &quic.Transport{Conn: p.dial(t)}
		defer transport.Close()
		connect := func(key ...byte) *quic.Conn {
			c, err := transport.Dial(t.Context(), p.addr, clientTLS(certificate(t, newKey(t))), nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		half := request(1, abi.OpQuery, queryBody(make([]byte, 60<<10)))[:5000]
		greedy := connect()
		for range 8 {
			open(t, greedy).send(half) // 1 slot is the key's share of 4
		}
		synctest.Wait()
		honest := connect()
		w := open(t, honest)
		if got := w.ask(1, abi.OpQuery, queryBody(make([]byte, 60<<10))); got.Code != abi.OK {
			t.Errorf("while one key is greedy: %v", got.Code)
		}
		for range 3 {
			open(t, connect()).send(half)
		}
		synctest.Wait()
		if got := w.ask(2, abi.OpDecide, decideBody()); got.Code != abi.OK {
			t.Errorf("decision while all slots are taken: %v", got.Code)
		}
		// The holders time out, and then the large frame gets its slot.
		<-time.After(11 * time.Second)
		if got := w.ask(3, abi.OpQuery, queryBody(make([]byte, 60<<10))); got.Code != abi.OK {
			t.Errorf("after the holders timed out: %v", got.Code)
		}
	})
}

// Whatever a client sends ahead behind requests that take long, its other
// streams are answered.
func TestSlowStreamsDoNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.submit = func(ctx context.Context, _ []byte, _ bool) (abi.TxResult, error) {
			<-ctx.Done() // until the connection is gone
			return abi.TxResult{}, ctx.Err()
		}
		c := serveSim(t, n, nil).connect(t, newKey(t))
		var writers sync.WaitGroup
		for range 7 {
			w := open(t, c)
			w.send(request(1, abi.OpSubmit, bytesBody([]byte("tx"))))
			writers.Go(func() {
				_, _ = w.Write(make([]byte, 100_000)) // until the connection is gone
			})
		}
		synctest.Wait()
		w := open(t, c)
		for id := range uint64(3) {
			w.SetReadDeadline(time.Now().Add(10 * time.Second))
			if got := w.ask(id+1, abi.OpQuery, queryBody(make([]byte, 60_000))); got.Code != abi.CodeNotFound {
				t.Error(got.Code)
			}
		}
		c.CloseWithError(0, "")
		writers.Wait()
	})
}

func TestStreamChurn(t *testing.T) {
	p := serve(t, newNode(), nil)
	c := p.connect(t, newKey(t))
	for i := range 500 {
		w := open(t, c)
		switch i % 3 {
		case 0:
			w.send([]byte{0, 0})
			w.CancelWrite(1)
		case 1:
			w.send(request(1, abi.OpDecide, decideBody()))
			w.CancelRead(1)
			w.Close()
		case 2:
			w.ask(1, abi.OpDecide, decideBody())
			w.Close()
			w.requireEnd()
		}
		w.CancelRead(2)
	}
	eventually(t, func() bool { return p.Stats().Streams == 0 })
	if got := open(t, c).ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
		t.Error(got.Code)
	}
}

func TestStreamChurnIsRateLimited(t *testing.T) {
	p := serve(t, newNode(), func(c *gateway.Config) { c.RequestRate = 1 }) // the bucket holds a batch
	c := p.connect(t, newKey(t))
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		var s *quic.Stream
		if s, err = c.OpenStreamSync(t.Context()); err == nil {
			_, _ = s.Write([]byte{0}) // may fail: the connection is about to be closed
			s.CancelWrite(1)
			s.CancelRead(1)
		}
	}
	requireClosed(t, c, abi.CodeRateLimited)
}

func TestOnlyEightBidirectionalStreams(t *testing.T) {
	c := serve(t, newNode(), nil).connect(t, newKey(t))
	for range 8 {
		open(t, c).ask(1, abi.OpDecide, decideBody())
	}
	if _, err := c.OpenStream(); err == nil {
		t.Error("a ninth stream")
	}
	if _, err := c.OpenUniStream(); err == nil {
		t.Error("a unidirectional stream")
	}
}

func TestRequestsAreRateLimitedByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serveSim(t, newNode(), func(c *gateway.Config) { c.RequestRate = 100 })
		key := newKey(t)
		transport := &quic.Transport{Conn: p.dial(t)}
		defer transport.Close()
		connect := func() *wire {
			c, err := transport.Dial(t.Context(), p.addr, clientTLS(certificate(t, key)), nil)
			if err != nil {
				t.Fatal(err)
			}
			return open(t, c)
		}
		count := func(w *wire, n int) (done int) {
			var frames [][]byte
			for id := range n {
				frames = append(frames, request(uint64(id+1), abi.OpDecide, decideBody()))
			}
			w.send(frames...)
			for range n {
				if w.receive().Code == abi.OK {
					done++
				}
			}
			return done
		}
		first := connect()
		if n := count(first, 150); n < 90 || n > 110 {
			t.Errorf("%d of 150 requests at once, want about 100", n)
		}
		first.Close()
		// Another connection of the key does not begin with a full bucket.
		if n := count(connect(), 50); n > 20 {
			t.Errorf("%d of 50 requests after connecting anew", n)
		}
		<-time.After(time.Second)
		w := connect()
		if got := w.ask(1, abi.OpBatch, batchBody(64, abi.ExecuteAll)); got.Code != abi.OK {
			t.Errorf("a batch that the bucket holds: %v", got.Code)
		}
		if got := w.ask(2, abi.OpBatch, batchBody(64, abi.ExecuteAll)); got.Code != abi.CodeRateLimited {
			t.Errorf("a batch that it does not hold: %v", got.Code)
		}
	})
}

func TestBatchSemantics(t *testing.T) {
	n := newNode()
	var asked atomic.Int32
	n.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
		return abi.Answer{Permit: asked.Add(1)%3 == 0} // deny, deny, permit, ...
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	for s, want := range map[abi.Semantics]int32{abi.ExecuteAll: 7, abi.DenyOnFirstDeny: 1, abi.PermitOnFirstPermit: 3} {
		asked.Store(0)
		got := w.ask(1, abi.OpBatch, batchBody(7, s))
		answers, err := abi.ParseAnswers(got.Body)
		if err != nil || len(answers) != int(want) || asked.Load() != want {
			t.Errorf("semantics %d: %d answers of %d decisions, want %d (%v)", s, len(answers), asked.Load(), want, err)
		}
	}
	for name, body := range map[string][]byte{
		"no items": batchBody(0, 0), "65 items": batchBody(65, 0), "unknown semantics": batchBody(1, 3), "no field": empty,
	} {
		if got := w.ask(1, abi.OpBatch, body); got.Code != abi.CodeBadArgument && got.Code != abi.CodeTooLarge {
			t.Errorf("%s: %v", name, got.Code)
		}
	}
}

func TestBatchWhoseAnswersDoNotFitIsRefusedWhole(t *testing.T) {
	n := newNode()
	n.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
		return abi.Answer{Permit: true, Obligations: cbor.AppendBytes(cbor.AppendArray(nil, 1), make([]byte, 15<<10))}
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	if got := w.ask(1, abi.OpBatch, batchBody(4, 0)); got.Code != abi.OK {
		t.Error(got.Code)
	}
	if got := w.ask(2, abi.OpBatch, batchBody(64, 0)); got.Code != abi.CodeTooLarge || got.Body != nil {
		t.Error(got.Code)
	}
}

func TestRunningRequestsAreAnsweredBeforeShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		begun := make(chan bool, 1)
		n.submit = func(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error) {
			begun <- true
			select {
			case <-time.After(time.Second):
				return abi.TxResult{Height: 9}, nil
			case <-ctx.Done():
				return abi.TxResult{}, ctx.Err()
			}
		}
		p := serveSim(t, n, nil)
		c := p.connect(t, newKey(t))
		w := open(t, c)
		body := cbor.AppendBool(append(cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), []byte("tx")), 2), true)
		w.send(request(1, abi.OpSubmit, body))
		<-begun
		go p.stop()
		if got := w.receive(); got.ID != 1 || got.Code != abi.OK {
			t.Errorf("%+v", got)
		}
		requireClosed(t, c, abi.CodeShuttingDown)
		p.stop()
	})
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		begun := make(chan bool, 1)
		n.submit = func(ctx context.Context, _ []byte, _ bool) (abi.TxResult, error) {
			begun <- true
			<-ctx.Done() // until the connection is gone
			return abi.TxResult{}, ctx.Err()
		}
		p := serveSim(t, n, func(c *gateway.Config) { c.DrainTimeout = 3 * time.Second })
		w := open(t, p.connect(t, newKey(t)))
		w.send(request(1, abi.OpSubmit, bytesBody([]byte("tx"))))
		<-begun
		begin := time.Now()
		p.stop()
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("Run ended after %v", took)
		}
	})
}
