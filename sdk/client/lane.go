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

	mu      sync.Mutex // guards what follows; held while a request is written
	lastID  uint64
	pending []*call // oldest first
	frame   []byte
	err     error // the lane is broken
}

// call is one request under way. done is buffered, so that an answer which no
// one waits for any more is dropped.
type call struct {
	id   uint64
	done chan result
}

type result struct {
	code abi.Code
	body []byte
	err  error
}

// send writes a request and enters it among the pending ones.
func (l *lane) send(op abi.Operation, body []byte) (*call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	l.lastID++
	c := &call{id: l.lastID, done: make(chan result, 1)}
	l.frame = abi.AppendRequest(abi.BeginFrame(l.frame[:0]), &abi.Request{ID: c.id, Op: op, Body: body})
	if n := len(l.frame); n > abi.MaxFrame {
		return nil, fmt.Errorf("request of %d bytes: %w", n, abi.CodeFrameTooLarge)
	}
	// Entered before it is written: the answer may be quicker than the return.
	l.pending = append(l.pending, c)
	if err := l.quic.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return nil, l.breakLocked(lost(err))
	}
	if _, err := l.quic.Write(abi.EndFrame(l.frame, 0)); err != nil {
		return nil, l.breakLocked(lost(err))
	}
	return c, nil
}

// load is how many requests wait on the lane.
func (l *lane) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// broken says whether the lane takes no more requests.
func (l *lane) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
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
	c.done <- result{code: p.Code, body: bytes.Clone(p.Body)}
	return nil
}

// fail breaks the lane and every request on it.
func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var own abi.Code
	if err == io.EOF {
		err = fmt.Errorf("%w: %w: the gateway ended the stream", errLost, abi.CodeUnavailable)
	} else if !errors.As(err, &own) {
		err = lost(err)
	}
	_ = l.breakLocked(err)
}

func (l *lane) breakLocked(err error) error {
	if l.err == nil {
		l.err = err
		l.quic.CancelRead(0)
		l.quic.CancelWrite(0)
	}
	for _, c := range l.pending {
		c.done <- result{err: l.err}
	}
	l.pending = nil
	return l.err
}

// wait waits for the answer to c.
func (c *call) wait(ctx context.Context) ([]byte, error) {
	select {
	case r := <-c.done:
		if r.err != nil {
			return nil, r.err
		}
		if r.code != abi.OK {
			return nil, r.code
		}
		return r.body, nil
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}
