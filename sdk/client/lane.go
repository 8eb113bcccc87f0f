package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
)

// readAhead is the buffer of a lane's reader in bytes.
const readAhead = 4 << 10

// writeTimeout is how long the gateway may leave a request unread.
const writeTimeout = 10 * time.Second

// lane is one persistent stream. Requests are pipelined on it and answered in
// order.
type lane struct {
	quic *quic.Stream

	// writing is held while a request is written, which may have to wait for
	// the gateway to read. Answers are taken in meanwhile: the gateway may be
	// waiting for that.
	writing sync.Mutex
	lastID  uint64
	frame   []byte

	mu      sync.Mutex // guards what follows; taken after writing, never held while waiting
	pending []*call    // oldest first, in the order in which they are written
	err     error      // the lane is broken
}

// call is one request under way. done is buffered, so that an answer which no
// one waits for any more is dropped.
type call struct {
	id   uint64
	done chan result
}

type result struct {
	code  abi.Code
	abort uint16 // the contract's own code, with abi.CodeAborted
	body  []byte
	err   error
}

// send writes a request and enters it among the pending ones.
func (l *lane) send(op abi.Operation, body []byte) (*call, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	c := &call{id: l.lastID + 1, done: make(chan result, 1)}
	frame := abi.AppendRequest(abi.BeginFrame(l.frame[:0]), &abi.Request{ID: c.id, Op: op, Body: body})
	if n := len(frame); n > abi.MaxFrame {
		return nil, fmt.Errorf("request of %d bytes: %w", n, abi.CodeFrameTooLarge)
	}
	// Entered before it is written: the answer may be quicker than the return.
	if err := l.enter(c); err != nil {
		return nil, err
	}
	l.lastID = c.id
	if cap(frame) <= readAhead {
		l.frame = frame
	}
	err := l.quic.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = l.quic.Write(abi.EndFrame(frame, 0))
	}
	if err != nil {
		l.fail(err)
		return nil, l.failure()
	}
	return c, nil
}

func (l *lane) enter(c *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.pending = append(l.pending, c)
	}
	return l.err
}

// failure is why the lane is broken.
func (l *lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// load is how many requests wait on the lane.
func (l *lane) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// read hands out answers until the stream ends.
func (l *lane) read() {
	in := bufio.NewReaderSize(l.quic, readAhead)
	var buf []byte
	for {
		frame, err := abi.ReadFrame(in, buf)
		if err != nil {
			l.fail(err)
			return
		}
		if err := l.deliver(frame); err != nil {
			l.fail(err)
			return
		}
		if buf = frame; cap(buf) > readAhead {
			buf = nil
		}
	}
}

// deliver hands an answer to the oldest pending request.
func (l *lane) deliver(frame []byte) error {
	p, err := abi.ParseResponse(frame)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.ID == 0 && p.Code != abi.OK {
		return fmt.Errorf("the gateway could not read a request: %w", p.Code)
	}
	if len(l.pending) == 0 || l.pending[0].id != p.ID {
		return fmt.Errorf("answer to request %d is out of order: %w", p.ID, abi.CodeMalformed)
	}
	c := l.pending[0]
	l.pending[0] = nil
	if l.pending = l.pending[1:]; len(l.pending) == 0 {
		l.pending = nil // or the array behind it would grow for ever
	}
	c.done <- result{code: p.Code, abort: p.Abort, body: bytes.Clone(p.Body)}
	return nil
}

// fail breaks the lane and every request on it. The first reason stays.
func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = reason(err)
		l.quic.CancelRead(0)
		l.quic.CancelWrite(0)
	}
	for _, c := range l.pending {
		c.done <- result{err: l.err}
	}
	l.pending = nil
}

// reason gives an error of a stream its code.
func reason(err error) error {
	var code abi.Code
	switch {
	case err == io.EOF:
		return fmt.Errorf("%w: %w: the gateway ended the stream", errLost, abi.CodeUnavailable)
	case errors.As(err, &code):
		return err // the gateway broke the rules
	}
	return lost(err)
}

// wait waits for the answer to c.
func (c *call) wait(ctx context.Context) ([]byte, error) {
	select {
	case r := <-c.done:
		if r.err != nil {
			return nil, r.err
		}
		if r.code == abi.CodeAborted {
			return nil, abi.Aborted(r.abort)
		}
		if r.code != abi.OK {
			return nil, r.code
		}
		return r.body, nil
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}
