package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
)

// Requests have a stream each.
const (
	maxRequests    = 8                // streams that one side has open towards the other
	requestTimeout = 10 * time.Second // for the frame that opens a stream
	sendTimeout    = 30 * time.Second // for the other side to take in a frame
)

// stream is one request, at either side.
type stream struct {
	conn    *conn
	quic    *quic.Stream
	in      *bufio.Reader
	out     []byte // of Send, reused
	release func() // gives back the place among maxRequests
}

func newStream(c *conn, q *quic.Stream, release func()) *stream {
	return &stream{conn: c, quic: q, in: bufio.NewReaderSize(q, readBuffer), release: release}
}

// Send implements Stream.
func (s *stream) Send(frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("frame of %d bytes: %w", len(frame), abi.CodeFrameTooLarge)
	}
	if err := s.quic.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return explain(err)
	}
	if err := s.write(frame); err != nil {
		return explain(err)
	}
	s.conn.network.stats.traffic[kindRequest].out(len(frame))
	return nil
}

// write writes a frame in one piece, unless copying it would cost more.
func (s *stream) write(frame []byte) error {
	if len(frame) <= batchBytes {
		s.out = appendFrame(s.out[:0], frame)
		_, err := s.quic.Write(s.out)
		return err
	}
	s.out = binary.BigEndian.AppendUint32(s.out[:0], uint32(len(frame)))
	if _, err := s.quic.Write(s.out); err != nil {
		return err
	}
	_, err := s.quic.Write(frame)
	return err
}

// Receive implements Stream.
func (s *stream) Receive() ([]byte, error) {
	frame, err := readFrame(s.in, MaxFrame)
	if err != nil {
		err = explain(err)
		s.conn.network.noteUnknown(err)
		return nil, err
	}
	s.conn.network.stats.traffic[kindRequest].in(len(frame))
	return frame, nil
}

// Close implements Stream.
func (s *stream) Close() error {
	err := s.quic.Close()
	s.quic.CancelRead(0)
	s.release()
	return explain(err)
}

// end ends both directions with the code of an error.
func (s *stream) end(err error) {
	if err == nil {
		_ = s.Close() // fails only if the other side is gone
		return
	}
	code := quic.StreamErrorCode(codeOf(err))
	s.quic.CancelWrite(code)
	s.quic.CancelRead(code)
	s.release()
}

// Open sends a request to a connected peer and returns the stream of its
// answer. It waits while maxRequests are under way with that peer. Without a
// connection it returns abi.CodeUnavailable.
func (n *Network) Open(ctx context.Context, to Key, request []byte) (Stream, error) {
	if len(request) > MaxRequest {
		return nil, fmt.Errorf("request of %d bytes: %w", len(request), abi.CodeFrameTooLarge)
	}
	c := n.lookup(to)
	if c == nil {
		return nil, fmt.Errorf("peer %v is not connected: %w", to, abi.CodeUnavailable)
	}
	select {
	case c.requests <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.gone:
		return nil, fmt.Errorf("peer %v left: %w", to, abi.CodeUnavailable)
	}
	release := sync.OnceFunc(func() { <-c.requests })
	q, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		release()
		return nil, explain(err)
	}
	s := newStream(c, q, release)
	if err := s.Send(request); err != nil {
		s.end(err)
		return nil, err
	}
	return s, nil
}

// acceptRequests serves the requests of a peer until the connection ends. One
// that asks faster than RequestRate is kept waiting by the transport.
func (c *conn) acceptRequests(ctx context.Context) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for c.asked.Wait(ctx) == nil {
		q, err := c.quic.AcceptStream(ctx)
		if err != nil {
			return
		}
		serving.Go(func() { c.serveRequest(q) })
	}
}

// serveRequest reads one request and has it answered.
func (c *conn) serveRequest(q *quic.Stream) {
	s := newStream(c, q, func() {})
	if c.standing() == Stranger {
		c.network.stats.traffic[kindRequest].ignored.Add(1)
		s.end(abi.CodeUnknownKey)
		return
	}
	if err := q.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		s.end(err)
		return
	}
	request, err := readFrame(s.in, MaxRequest)
	if err == nil {
		err = q.SetReadDeadline(time.Time{})
	}
	if err != nil {
		s.end(err)
		return
	}
	c.network.stats.traffic[kindRequest].in(len(request))
	s.end(c.network.config.Handler.Serve(q.Context(), c.key, request, s))
}
