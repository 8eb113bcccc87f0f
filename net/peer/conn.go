package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/seed79541315/postern/abi"
)

// How a connection is read and written.
const (
	helloTimeout = 5 * time.Second
	readBuffer   = 2 << 10  // bytes of each stream that is read
	batchBytes   = 16 << 10 // messages that are written together; a longer one is not copied

	// A message longer than readBuffer has to arrive within frameTimeout and a
	// second for each slowestRate bytes: so long it holds memory.
	frameTimeout = 20 * time.Second
	slowestRate  = 64 << 10

	controlRate  = 100 // control frames of a peer a second; the next ones wait
	controlBurst = 400

	controlCount     = 256      // heads that wait for one peer
	transactionBytes = 2 << 20  // of transactions that wait for one peer
	controlBytes     = 64 << 10 // of heads and addresses that wait for one peer
)

// conn is one connection to a peer whose key is proved.
type conn struct {
	network   *Network
	quic      *quic.Conn
	key       Key
	outbound  bool
	address   string // where it was dialled; "" if this side did not
	isKept    bool   // dialled from the configuration
	theirs    hello
	dial      uint64 // number of the connection among those that its dialler dialled
	since     time.Time
	class     atomic.Uint32
	queues    [kindRequest]*queue // by kind; the first is none
	control   *quic.SendStream
	inControl *bufio.Reader
	requests  chan struct{} // a place for each own request
	tells     *rate.Limiter // lists of addresses of the peer
	asked     *rate.Limiter // requests of the peer
	turn      *turn         // set when the connection is listed
	gone      chan struct{} // closed when the connection is no longer listed

	heard pulse // owned by watch
}

func (c *conn) standing() Class { return Class(c.class.Load()) }

// close ends the connection for a reason that the other side is told as a
// code. It may be called more than once.
func (c *conn) close(why error) {
	code := codeOf(why)
	text := ""
	if code <= 0xffff {
		text = abi.Code(code).Name()
	}
	_ = c.quic.CloseWithError(code, text) // always nil
}

// fail ends the connection for an error of one of its streams.
func (c *conn) fail(err error) {
	if violates(err) {
		c.network.Misbehaved(c.key, err)
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.close(err)
	}
}

// exchange says hello and hears the other side's, each as the first frame of
// its control stream, which is the first that it opens.
func (c *conn) exchange(ctx context.Context, own *hello) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	out, err := c.quic.OpenUniStream()
	if err != nil {
		return err
	}
	if _, err := out.Write(appendFrame([]byte{byte(kindControl)}, appendHello(nil, own))); err != nil {
		return err
	}
	in, err := c.quic.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	if err := in.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	c.control, c.inControl = out, bufio.NewReaderSize(in, readBuffer)
	if err := c.readHello(); err != nil {
		return err
	}
	return in.SetReadDeadline(time.Time{})
}

func (c *conn) readHello() error {
	if k, err := c.inControl.ReadByte(); err != nil || kind(k) != kindControl {
		return errors.Join(err, fmt.Errorf("first stream of kind %d: %w", k, abi.CodeMalformed))
	}
	frame, err := readFrame(c.inControl, maxHello)
	if err != nil {
		return err
	}
	if c.theirs, err = parseHello(frame); err != nil {
		return err
	}
	if !c.outbound {
		c.dial = c.theirs.dial
	}
	return c.theirs.check(c.network.config.Chain, !c.outbound)
}

// run reads and writes until the connection ends, and ends it when ctx does. It
// calls ended at its end, and returns when the Handler's calls are over.
func (c *conn) run(ctx context.Context, ended func()) {
	stop := context.AfterFunc(ctx, func() { c.close(abi.CodeShuttingDown) })
	defer stop()
	live := c.quic.Context()
	var streams sync.WaitGroup
	streams.Go(func() { c.write(live, kindControl, c.control) })
	streams.Go(func() { c.write(live, kindConsensus, nil) })
	streams.Go(func() { c.write(live, kindTransaction, nil) })
	streams.Go(func() { c.fail(c.readControl(live)) })
	streams.Go(func() { c.acceptStreams(live, &streams) })
	streams.Go(func() { c.acceptRequests(live) })
	<-live.Done()
	ended()
	streams.Wait()
}

// acceptStreams reads the streams that the peer opens besides control, one of a
// kind. The transport allows no more than are needed.
func (c *conn) acceptStreams(ctx context.Context, streams *sync.WaitGroup) {
	var seen [kindCount]atomic.Bool
	for {
		q, err := c.quic.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		streams.Go(func() {
			in := bufio.NewReaderSize(q, readBuffer)
			k, err := in.ReadByte()
			if err == nil {
				err = fmt.Errorf("stream of kind %d: %w", k, abi.CodeMalformed)
				if (kind(k) == kindConsensus || kind(k) == kindTransaction) && !seen[k].Swap(true) {
					err = c.readMessages(ctx, kind(k), q, in)
				}
			}
			c.fail(err)
		})
	}
}

// readMessages hands on what arrives on a stream of consensus messages or
// transactions. It returns why the stream ended, which a peer never does well.
func (c *conn) readMessages(ctx context.Context, k kind, q *quic.ReceiveStream, in *bufio.Reader) error {
	limit := MaxMessage
	if k == kindTransaction {
		limit = MaxTransaction
	}
	for {
		n, err := readLength(in, limit)
		if err != nil {
			return err
		}
		m, err := readMessage(q, in, n)
		if err != nil {
			return err
		}
		c.network.stats.traffic[k].in(n)
		if err := c.inTurn(ctx, k, m); err != nil {
			return err
		}
	}
}

// readMessage reads a message of n bytes, a long one within a time.
func readMessage(q *quic.ReceiveStream, in *bufio.Reader, n int) ([]byte, error) {
	if n <= readBuffer {
		return readContent(in, n)
	}
	limit := frameTimeout + time.Duration(n)*time.Second/slowestRate
	if err := q.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	m, err := readContent(in, n)
	if err != nil {
		return nil, err
	}
	return m, q.SetReadDeadline(time.Time{})
}

// turn keeps the order of messages when a peer has a new connection while the
// Handler is still busy with a message of the one before.
type turn struct {
	places [kindRequest]chan struct{} // by kind; who hands on a message holds the place
	conns  int                        // that use it; guarded by Network.mu
}

func newTurn() *turn {
	t := &turn{}
	for k := range t.places {
		t.places[k] = make(chan struct{}, 1)
	}
	return t
}

// inTurn hands on one message when none of the peer's other connections does,
// unless this one has ended meanwhile: then there is a newer one.
func (c *conn) inTurn(ctx context.Context, k kind, m []byte) error {
	select {
	case c.turn.places[k] <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-c.turn.places[k] }()
	if ctx.Err() != nil {
		return nil
	}
	return c.handle(k, m)
}

// handle hands on one message, if the peer's class may send it.
func (c *conn) handle(k kind, m []byte) error {
	class := c.standing()
	if class == Stranger || k == kindConsensus && class != Validator {
		c.network.stats.traffic[k].ignored.Add(1)
		return nil
	}
	if k == kindConsensus {
		c.network.config.Handler.Consensus(c.key, m)
		return nil
	}
	err := c.network.config.Handler.Transaction(c.key, m)
	if errors.Is(err, abi.CodeBadSignature) || errors.Is(err, abi.CodeMalformed) {
		return fmt.Errorf("transaction: %w", err)
	}
	return nil
}

// readControl hands on heads and addresses.
func (c *conn) readControl(ctx context.Context) error {
	limiter := rate.NewLimiter(controlRate, controlBurst)
	for {
		frame, err := readFrame(c.inControl, maxControl)
		if err != nil {
			return err
		}
		c.network.stats.traffic[kindControl].in(len(frame))
		if err := c.handleControl(frame); err != nil {
			return err
		}
		if err := limiter.Wait(ctx); err != nil {
			return nil // the connection ended
		}
	}
}

// write sends what is queued for one stream, which it opens with the first
// message unless it is open.
func (c *conn) write(ctx context.Context, k kind, out *quic.SendStream) {
	var batch [][]byte
	var buf []byte
	for {
		var err error
		if batch, err = c.queues[k].take(ctx, batch[:0], batchBytes); err != nil {
			return
		}
		buf = buf[:0]
		if out == nil {
			if out, err = c.quic.OpenUniStream(); err != nil {
				return
			}
			out.SetPriority(urgency(k), false)
			buf = append(buf, byte(k))
		}
		if buf, err = c.writeBatch(out, buf, batch); err != nil {
			c.fail(err)
			return
		}
		for _, m := range batch {
			c.network.stats.traffic[k].out(len(m))
		}
		clear(batch)
	}
}

// urgency is the place of a stream among those that have something to send:
// consensus before heads before requests, which have 3, before transactions.
func urgency(k kind) int8 {
	switch k {
	case kindConsensus:
		return 0
	case kindControl:
		return 1
	}
	return 4
}

// writeBatch writes messages with the least copying: short ones together, a
// long one, which comes first, from where it lies.
func (c *conn) writeBatch(out *quic.SendStream, buf []byte, batch [][]byte) ([]byte, error) {
	for _, m := range batch {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(m)))
		if len(m) <= batchBytes {
			buf = append(buf, m...)
			continue
		}
		if _, err := out.Write(buf); err != nil {
			return nil, err
		}
		buf = buf[:0]
		if _, err := out.Write(m); err != nil {
			return nil, err
		}
	}
	if len(buf) == 0 {
		return buf, nil
	}
	_, err := out.Write(buf)
	return buf, err
}

// queue puts a message in line and counts what gives way for it.
func (c *conn) queue(k kind, m []byte) {
	if dropped := c.queues[k].push(m); dropped > 0 {
		c.network.stats.traffic[k].dropped.Add(uint64(dropped))
	}
}

// info describes the connection.
func (c *conn) info() Info {
	return Info{
		Key: c.key, Class: c.standing(), Addr: c.quic.RemoteAddr().String(), Outbound: c.outbound,
		RTT: c.quic.ConnectionStats().SmoothedRTT, Since: c.since,
	}
}

// better says whether a new connection to a peer is to be kept, and not the one
// there is: both sides come to the same answer. A peer that started anew has
// lost the old one. Of two that one side dialled the later is kept, since it
// would not have dialled if it had the other; of two that crossed, the one
// that the lower key dialled.
func better(own Key, c, old *conn) bool {
	switch {
	case c.theirs.instance != old.theirs.instance:
		return true
	case c.outbound == old.outbound:
		return c.dial > old.dial
	}
	lower := string(own[:]) < string(c.key[:])
	return c.outbound == lower
}
