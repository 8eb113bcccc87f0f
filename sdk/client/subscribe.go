package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
)

// silentFor is how long a subscription waits for a frame before its gateway is
// taken for dead: a heartbeat, and time for one that is late.
const silentFor = abi.EventHeartbeat*time.Millisecond + 5*time.Second

// Subscription follows the events of the chain over lost connections and from
// gateway to gateway. Make it with Client.Subscribe; one goroutine at a time
// ranges over Events.
type Subscription struct {
	client *Client
	filter abi.EventFilter
	begun  bool          // upTo is known
	upTo   atomic.Uint64 // all events up to this height were given
	given  position      // the last event that was given
}

// position is where an event stands in the chain.
type position struct {
	height, index uint64
	any           bool // false before the first event
}

func (p *position) before(e *abi.EventFrame) bool {
	return !p.any || p.height < e.Height || p.height == e.Height && p.index < e.Index
}

// Subscribe prepares to follow the events that pass the filter: those above a
// height, or, with nil, those of blocks that come from now on.
func (c *Client) Subscribe(filter abi.EventFilter, after *uint64) *Subscription {
	s := &Subscription{client: c, filter: filter, begun: after != nil}
	if after != nil {
		s.upTo.Store(*after)
	}
	return s
}

// After is the height up to which all events were given. Who keeps it goes on
// there another time, and has to expect events above it once more.
func (s *Subscription) After() uint64 { return s.upTo.Load() }

// Events gives the events in the order of height and index, each once, as the
// gateway tells them: blocks prove them. It connects again as often as it takes.
// It ends without an error when ctx ends, and otherwise with one that trying
// again does not mend: abi.CodeNotFound when events are not kept any more, an
// *InactiveError, abi.CodeUnknownKey, abi.CodeNotPermitted. Events may be called
// again, and goes on where it ended.
func (s *Subscription) Events(ctx context.Context) iter.Seq2[*abi.EventFrame, error] {
	return func(yield func(*abi.EventFrame, error) bool) {
		for delay := firstDelay; ctx.Err() == nil; {
			reached := s.upTo.Load()
			stopped, err := s.run(ctx, yield)
			if stopped || ctx.Err() != nil {
				return
			}
			if endsSubscription(err) {
				yield(nil, err)
				return
			}
			if s.upTo.Load() != reached {
				delay = firstDelay
			}
			if pause(ctx, delay) != nil {
				return
			}
			delay = min(2*delay, lastDelay)
		}
	}
}

// endsSubscription says whether an error would come again.
func endsSubscription(err error) bool {
	switch CodeOf(err) {
	case abi.CodeNotFound, abi.CodeDeviceInactive, abi.CodeUnknownKey, abi.CodeNotPermitted, abi.CodeMissingRole,
		abi.CodeKeyNotCurrent, abi.CodeBadArgument, abi.CodeUnknownOp, abi.CodeNotAuthenticated:
		return true
	}
	return errors.Is(err, errClosed)
}

// run follows one connection until it ends, or the caller has enough.
func (s *Subscription) run(ctx context.Context, yield func(*abi.EventFrame, error) bool) (stopped bool, err error) {
	l, err := s.client.connect(ctx)
	if err != nil {
		return false, err
	}
	q := abi.Subscription{Filter: s.filter}
	if s.begun {
		after := s.upTo.Load()
		q.After = &after
	}
	f, err := l.follow(ctx, &q)
	if err != nil {
		return false, s.leave(l, err)
	}
	defer f.close()
	if !s.begun {
		s.upTo.Store(f.upTo)
		s.begun = true
	}
	for {
		e, err := f.next(ctx)
		if err != nil {
			return false, s.leave(l, err)
		}
		if e.Mark() {
			s.upTo.Store(max(s.upTo.Load(), e.Height))
			continue
		}
		if !s.given.before(e) {
			continue
		}
		s.given = position{e.Height, e.Index, true}
		if !yield(e, nil) {
			return true, nil
		}
	}
}

// leave has the next try go elsewhere after what a gateway should not do.
func (s *Subscription) leave(l *link, err error) error {
	switch {
	case errors.Is(err, errLost):
		l.suspect(err)
	case CodeOf(err) == abi.CodeMalformed || CodeOf(err) == abi.CodeTimeout:
		s.client.leave(l)
	}
	return err
}

// follow is a subscription on one connection. One goroutine owns it.
type follow struct {
	link *link
	quic *quic.Stream
	in   *bufio.Reader
	buf  []byte

	began uint64 // no event comes at or below this height
	upTo  uint64 // everything up to this height came
	last  position

	unwatch func() bool
	release func()
}

// follow subscribes on a stream of its own. It returns once the gateway has
// said where it begins.
func (l *link) follow(ctx context.Context, s *abi.Subscription) (*follow, error) {
	if err := l.holdFollow(); err != nil {
		return nil, err
	}
	q, err := l.quic.OpenStreamSync(ctx)
	if err != nil {
		l.releaseFollow()
		return nil, lost(err)
	}
	f := &follow{link: l, quic: q, in: bufio.NewReaderSize(q, readAhead), release: sync.OnceFunc(l.releaseFollow)}
	f.unwatch = context.AfterFunc(ctx, func() { q.CancelRead(0) })
	if err := f.begin(ctx, s); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (l *link) holdFollow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.follows >= followStreams {
		return fmt.Errorf("the connection has %d subscriptions: %w", l.follows, abi.CodeBusy)
	}
	l.follows++
	return nil
}

func (l *link) releaseFollow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follows--
}

// followID is the request's id: it is the only one of its stream.
const followID = 1

// begin sends the request and takes in the answer.
func (f *follow) begin(ctx context.Context, s *abi.Subscription) error {
	body := abi.AppendSubscription(nil, s)
	frame := abi.EndFrame(abi.AppendRequest(abi.BeginFrame(nil), &abi.Request{ID: followID, Op: abi.OpSubscribe, Body: body}), 0)
	if _, err := f.quic.Write(frame); err != nil {
		return f.failed(ctx, err)
	}
	e, err := f.read(ctx)
	if err != nil {
		return err
	}
	if !e.Mark() || s.After != nil && e.Height != *s.After {
		return fmt.Errorf("a subscription that begins elsewhere: %w", abi.CodeMalformed)
	}
	f.began, f.upTo = e.Height, e.Height
	return nil
}

// next is the next event or mark. What is out of order is refused.
func (f *follow) next(ctx context.Context) (*abi.EventFrame, error) {
	e, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	if e.Mark() {
		if e.Height < f.upTo || f.last.any && e.Height < f.last.height {
			return nil, fmt.Errorf("a mark at height %d behind %d: %w", e.Height, f.upTo, abi.CodeMalformed)
		}
		f.upTo = e.Height
		return e, nil
	}
	if e.Height <= f.upTo || !f.last.before(e) {
		return nil, fmt.Errorf("event %d of block %d is out of order: %w", e.Index, e.Height, abi.CodeMalformed)
	}
	f.last = position{e.Height, e.Index, true}
	return e, nil
}

// read reads a frame, which nothing later holds.
func (f *follow) read(ctx context.Context) (*abi.EventFrame, error) {
	_ = f.quic.SetReadDeadline(time.Now().Add(silentFor)) // fails only on a stream that is gone
	frame, err := abi.ReadFrame(f.in, f.buf)
	if err != nil {
		return nil, f.failed(ctx, err)
	}
	f.buf = frame
	p, err := abi.ParseResponse(frame)
	switch {
	case err != nil:
		return nil, malformed(err)
	case p.Code != abi.OK:
		return nil, p.Code
	case p.ID != followID || p.Body == nil:
		return nil, fmt.Errorf("an answer to another request among events: %w", abi.CodeMalformed)
	}
	e, err := abi.ParseEventFrame(p.Body)
	if err != nil {
		return nil, malformed(err)
	}
	e.Topic, e.Data = bytes.Clone(e.Topic), bytes.Clone(e.Data)
	return &e, nil
}

// failed gives an error of the stream its code.
func (f *follow) failed(ctx context.Context, err error) error {
	var silent interface{ Timeout() bool }
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case err == io.EOF:
		return fmt.Errorf("%w: %w: the gateway ended the stream", errLost, abi.CodeUnavailable)
	case errors.As(err, &silent) && silent.Timeout() && f.link.quic.Context().Err() == nil:
		return fmt.Errorf("no frame for %v: %w", silentFor, abi.CodeTimeout)
	}
	return reason(err)
}

// close ends the subscription.
func (f *follow) close() {
	f.unwatch()
	f.quic.CancelRead(0)
	_ = f.quic.Close() // fails only on a stream that is gone
	f.release()
}
