package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// bufferSize is what a stream reads into and answers from while it is at
// work, in bytes: some dozen pipelined decisions. A frame that does not fit
// is large: it takes one of a limited number of slots.
const bufferSize = 4 << 10

// frameHead is the length of a frame's length (abi.BeginFrame).
const frameHead = 4

// flushAt is how many bytes of answers are collected before they are written.
const flushAt = bufferSize - 1<<10

// stream is one persistent stream. One goroutine owns it.
type stream struct {
	conn *conn
	quic *quic.Stream

	first    [1]byte   // what an idle stream waits for; here so that it is not allocated
	*buffers           // nil while the stream is idle
	unread   []byte    // of in: what has arrived and is not answered yet
	large    bool      // holds a slot for a large frame
	writeEnd time.Time // the write deadline that is set
	writeErr error     // a write failed: nothing may follow on this stream
	domain   string    // of the last decision: a device asks the same one again
	abort    uint16    // the contract's own code behind the last abi.CodeAborted

	following *subscription // nil until the last request, a subscribe
}

// buffers are what a busy stream works with.
type buffers struct {
	in   []byte // requests as they arrived
	out  []byte // whole answers, not yet written
	body []byte // the body of the answer in the making
}

var bufferPool = sync.Pool{New: func() any {
	return &buffers{in: make([]byte, bufferSize), out: make([]byte, 0, bufferSize), body: make([]byte, 0, bufferSize)}
}}

// refusal ends a stream after a last answer with its code.
type refusal abi.Code

func (r refusal) Error() string { return abi.Code(r).Error() }

// serveStream answers the requests of one stream until the client ends it,
// breaks the rules or stops reading.
func (c *conn) serveStream(q *quic.Stream) {
	c.server.stats.streams.Add(1)
	defer c.server.stats.streams.Add(-1)
	// A server that shuts down reads no more, but finishes what it has begun.
	stop := context.AfterFunc(c.run, func() { q.CancelRead(quic.StreamErrorCode(abi.CodeShuttingDown)) })
	defer stop()
	st := &stream{conn: c, quic: q}
	err := st.loop()
	if writeErr := st.flush(); writeErr != nil {
		err = writeErr
	}
	st.shrink()
	st.end(err)
}

// end closes both directions. What was written is still delivered, unless the
// client was too slow to send a frame or to take an answer in.
func (st *stream) end(err error) {
	code := abi.CodeMalformed // a frame cut short; at the clean end of a stream no code is sent
	var r refusal
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		code = abi.CodeTimeout
		st.quic.CancelWrite(quic.StreamErrorCode(code))
	case errors.As(err, &r):
		code = abi.Code(r)
	}
	_ = st.quic.Close() // fails only if the stream is gone already
	st.quic.CancelRead(quic.StreamErrorCode(code))
}

// loop reads and answers frames. It returns io.EOF when the client has ended
// the stream between two frames.
func (st *stream) loop() error {
	for {
		frame, err := st.next()
		if err != nil {
			return err
		}
		if err := st.answer(frame); err != nil {
			return err
		}
		if st.following != nil {
			return st.follow(st.following)
		}
		if len(st.out) >= flushAt {
			if err := st.flush(); err != nil {
				return err
			}
		}
	}
}

// next returns the next frame. Before it waits for one, it writes the answers
// so far; while it waits for a first byte the stream holds no buffers.
func (st *stream) next() ([]byte, error) {
	if frame, ok := st.take(); ok {
		return frame, nil
	}
	if err := st.flush(); err != nil {
		return nil, err
	}
	if len(st.unread) == 0 {
		if err := st.wait(); err != nil {
			return nil, err
		}
		if frame, ok := st.take(); ok {
			return frame, nil
		}
	}
	return st.complete()
}

// take cuts the next frame off what has arrived, if it is whole.
func (st *stream) take() ([]byte, bool) {
	if len(st.unread) < frameHead {
		return nil, false
	}
	n := int64(binary.BigEndian.Uint32(st.unread))
	if int64(len(st.unread)-frameHead) < n {
		return nil, false
	}
	frame := st.unread[frameHead : frameHead+n]
	st.unread = st.unread[frameHead+n:]
	return frame, true
}

// wait gives the buffers back, waits until something has arrived and reads it.
func (st *stream) wait() error {
	st.shrink()
	if _, err := st.quic.Peek(st.first[:]); err != nil {
		return err
	}
	st.buffers = bufferPool.Get().(*buffers)
	n, err := st.quic.Read(st.in)
	st.unread = st.in[:n]
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// complete reads the rest of a frame that has arrived in part. It has to come
// within FrameTimeout.
func (st *stream) complete() ([]byte, error) {
	if err := st.quic.SetReadDeadline(time.Now().Add(st.conn.server.config.FrameTimeout)); err != nil {
		return nil, err
	}
	st.unread = st.in[:copy(st.in, st.unread)]
	if err := st.fill(frameHead); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(st.unread)
	if err := st.admitLarge(n); err != nil {
		return nil, err
	}
	if st.large { // it may have waited for its slot
		if err := st.quic.SetReadDeadline(time.Now().Add(st.conn.server.config.FrameTimeout)); err != nil {
			return nil, err
		}
	}
	if err := st.fill(frameHead + int(n)); err != nil {
		return nil, err
	}
	frame, _ := st.take()
	return frame, st.quic.SetReadDeadline(time.Time{})
}

// fill reads until n bytes are unread. The buffer must hold them.
func (st *stream) fill(n int) error {
	have := len(st.unread)
	if have >= n {
		return nil
	}
	// Behind a large frame nothing is read, so that its buffer can go.
	m, err := io.ReadAtLeast(st.quic, st.in[have:], n-have)
	st.unread = st.in[:have+m]
	return err
}

// admitLarge makes room for a frame of n bytes. One above abi.MaxFrame, or
// above bufferSize from a key that may do nothing with it, is refused unread.
func (st *stream) admitLarge(n uint32) error {
	if n <= bufferSize-frameHead {
		return nil
	}
	standing, err := st.conn.server.config.Node.Standing(st.conn.account.key)
	if n > abi.MaxFrame || err != nil || !standing.Active() {
		return st.refuse(0, abi.CodeFrameTooLarge)
	}
	if !st.holdLarge() {
		return st.refuse(0, abi.CodeBusy)
	}
	in := make([]byte, frameHead+n)
	st.unread = in[:copy(in, st.unread)]
	st.in = in
	return nil
}

// holdLarge waits for a slot for a large frame, its own or its answer, which
// the stream keeps until its answers are written.
func (st *stream) holdLarge() bool {
	if st.large {
		return true
	}
	ctx, cancel := context.WithTimeout(st.conn.ctx, st.conn.server.config.FrameTimeout)
	defer cancel()
	if !st.conn.account.large.acquire(ctx) {
		return false
	}
	if !st.conn.server.large.acquire(ctx) {
		st.conn.account.large.release()
		return false
	}
	st.large = true
	return true
}

// flush writes the answers in one piece and gives a large slot back.
func (st *stream) flush() error {
	if st.buffers == nil || len(st.out) == 0 || st.writeErr != nil {
		return st.writeErr
	}
	// Moving the deadline takes a lock, so it is moved in half steps.
	timeout := st.conn.server.config.WriteTimeout
	if now := time.Now(); st.writeEnd.Sub(now) < timeout {
		st.writeEnd = now.Add(timeout + timeout/2)
		st.writeErr = st.quic.SetWriteDeadline(st.writeEnd)
	}
	if st.writeErr == nil {
		_, st.writeErr = st.quic.Write(st.out)
	}
	st.out = st.out[:0]
	st.dropLarge()
	return st.writeErr
}

// dropLarge goes back to small buffers. What is unread fits: nothing is read
// behind a large frame.
func (st *stream) dropLarge() {
	if !st.large {
		return
	}
	small := bufferPool.Get().(*buffers)
	small.out = small.out[:0]
	st.unread = small.in[:copy(small.in, st.unread)]
	st.buffers = small
	st.releaseLarge()
}

func (st *stream) releaseLarge() {
	if st.large {
		st.large = false
		st.conn.server.large.release()
		st.conn.account.large.release()
	}
}

// shrink gives the buffers and the slot for a large frame back.
func (st *stream) shrink() {
	if st.buffers != nil && len(st.in) == bufferSize && cap(st.out) == bufferSize && cap(st.body) == bufferSize {
		st.out = st.out[:0]
		bufferPool.Put(st.buffers)
	}
	st.buffers, st.unread = nil, nil
	st.releaseLarge()
}

// answer gives one request its response. An error ends the stream.
func (st *stream) answer(frame []byte) error {
	q, err := abi.ParseRequest(frame)
	if err != nil {
		return st.refuse(requestID(frame), codeOf(err))
	}
	body, code := st.dispatch(&q)
	st.respond(&abi.Response{ID: q.ID, Code: code, Body: body, Abort: st.abort})
	if st.following != nil {
		st.following.request = q.ID
	}
	return nil
}

// refuse answers what is no request, and ends the stream.
func (st *stream) refuse(id uint64, code abi.Code) error {
	st.conn.server.stats.request(0, code)
	if code != abi.CodeBusy {
		st.conn.attacked(AttackMalformedFrames)
	}
	st.respond(&abi.Response{ID: id, Code: code})
	return refusal(code)
}

// respond appends a response to the answers that are written next.
func (st *stream) respond(p *abi.Response) {
	start := len(st.out)
	st.out = abi.AppendResponse(abi.BeginFrame(st.out), p)
	if len(st.out)-start-frameHead > abi.MaxFrame {
		p = &abi.Response{ID: p.ID, Code: abi.CodeTooLarge}
		st.out = abi.AppendResponse(abi.BeginFrame(st.out[:start]), p)
	}
	st.out = abi.EndFrame(st.out, start)
}

// requestID reads the id of a frame that is not a good request, 0 if there is
// none to be read.
func requestID(frame []byte) uint64 {
	r := cbor.NewReader(frame)
	f := r.Fields()
	if !f.Next() || f.Key() != 1 {
		return 0
	}
	if id := r.Uint(); r.Err() == nil {
		return id
	}
	return 0
}

// codeOf is the code that a party outside gets for an error.
func codeOf(err error) abi.Code {
	var code abi.Code
	switch {
	case errors.As(err, &code):
		return code
	case errors.Is(err, cbor.ErrMalformed):
		return abi.CodeMalformed
	case errors.Is(err, context.DeadlineExceeded):
		return abi.CodeTimeout
	case errors.Is(err, context.Canceled):
		return abi.CodeUnavailable
	}
	return abi.CodeInternal
}
