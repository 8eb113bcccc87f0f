package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/cloudevent"
)

// eventsPath is where events are streamed.
const eventsPath = "/events"

// Limits of event streams. One holds a connection for as long as it likes, so
// they have places of their own.
const (
	maxFollowers     = 32               // streams of all callers
	followersShare   = 4                // the part of them that one account may hold
	eventsHeartbeat  = 15 * time.Second // between two lines at least, so that proxies keep the stream
	eventsRetry      = 2 * time.Second  // what a client is told to wait before it comes again
	eventsWriteLimit = writeTimeout     // for a client to take in what was sent
)

// Events is where events of committed blocks come from.
type Events interface {
	// ChainID is the chain's id.
	ChainID() abi.Hash
	// Height is that of the newest block.
	Height() uint64
	// Committed is closed at the next commit.
	Committed() <-chan struct{}
	// Events returns what the blocks above a height emitted, as far as it
	// looked: up to upTo. abi.CodeNotFound says that these blocks are not kept.
	Events(after uint64, filter *abi.EventFilter) (events []abi.EventFrame, upTo uint64, err error)
}

var (
	problemFilter  = &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "the query has contract, device (64 hex digits), topic and after (a height), each once at most"}
	problemEventID = &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "Last-Event-ID is no id of an event", field: "Last-Event-ID"}
	problemPruned  = &problem{status: http.StatusGone, code: abi.CodeNotFound, message: "the node does not keep the blocks after this height any more"}
)

// followers counts event streams by account.
type followers struct {
	mu    sync.Mutex
	total int              // guarded by mu
	of    map[abi.Hash]int // guarded by mu
}

// enter takes a place for an account.
func (f *followers) enter(account abi.Hash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total >= maxFollowers || f.of[account] >= maxFollowers/followersShare {
		return false
	}
	f.total++
	f.of[account]++
	return true
}

func (f *followers) leave(account abi.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total--
	if f.of[account]--; f.of[account] == 0 {
		delete(f.of, account)
	}
}

// follower is one event stream.
type follower struct {
	server *Server
	out    http.ResponseWriter
	ctl    *http.ResponseController
	token  abi.Hash
	filter abi.EventFilter
	after  uint64 // everything up to this height was sent
	part   uint64 // events below this index of the block after that were sent, too
	buffer []byte
}

// serveEvents streams events as server-sent events (HTML Living Standard,
// section 9.2), each a CloudEvent, until the caller leaves, the token ends or
// the server does.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, rt *route) {
	if s.events == nil {
		s.serveLost(w, r, rt)
		return
	}
	text, token, p, err := s.identify(r)
	if p != nil {
		s.refuse(w, r, p, err)
		return
	}
	f := &follower{server: s, out: w, ctl: http.NewResponseController(w), token: sha256.Sum256([]byte(text))}
	if p, err := f.begin(r); p != nil {
		s.refuse(w, r, p, err)
		return
	}
	if r.Method == http.MethodHead {
		f.head()
		return
	}
	if !s.followers.enter(token.Account) {
		s.refuse(w, r, problemBusy, nil)
		return
	}
	defer s.followers.leave(token.Account)
	f.run(r)
}

// begin reads what the caller wants and checks that it can be had.
func (f *follower) begin(r *http.Request) (*problem, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problemFilter, err
	}
	after, given, ok := f.readQuery(q)
	if !ok {
		return problemFilter, nil
	}
	f.after = f.server.events.Height()
	if given {
		f.after = min(f.after, after)
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		height, index, err := cloudevent.ParseID(id)
		if err != nil || height == 0 {
			return problemEventID, err
		}
		f.after, f.part = min(f.after, height-1), index+1
	}
	switch _, _, err = f.server.events.Events(f.after, &f.filter); {
	case err == nil:
		return nil, nil
	case errors.Is(err, abi.CodeNotFound):
		return problemPruned, nil
	}
	return nodeProblem(err), err
}

// readQuery reads the filter and, if there is one, the height to begin after.
func (f *follower) readQuery(q url.Values) (after uint64, given, ok bool) {
	for name, values := range q {
		if len(values) != 1 {
			return 0, false, false
		}
		v := values[0]
		switch name {
		case "contract":
			f.filter.Contract = &v
			ok = v == "" || abi.ValidName(v)
		case "device":
			id, err := hex.DecodeString(v)
			ok = err == nil && len(id) == len(abi.Hash{})
			if ok {
				f.filter.Device = (*abi.Hash)(id)
			}
		case "topic":
			f.filter.Topic = []byte(v)
			ok = len(v) <= abi.MaxTopic
		case "after":
			n, err := strconv.ParseUint(v, 10, 64)
			after, given, ok = n, true, err == nil
		default:
			ok = false
		}
		if !ok {
			return 0, false, false
		}
	}
	return after, given, true
}

// head sends the headers of a stream.
func (f *follower) head() {
	h := f.out.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies that keep lines back
	f.out.WriteHeader(http.StatusOK)
}

// run sends events until either side ends it. A request's own deadline does not
// hold here; each write has one.
func (f *follower) run(r *http.Request) {
	_ = f.ctl.SetReadDeadline(time.Time{}) // not every writer has one
	f.head()
	f.buffer = fmt.Appendf(f.buffer, "retry: %d\n\n", eventsRetry.Milliseconds())
	beat := time.NewTimer(eventsHeartbeat)
	defer beat.Stop()
	ctx := r.Context()
	for ctx.Err() == nil {
		committed := f.server.events.Committed()
		more, err := f.next()
		if err == nil {
			err = f.flush()
		}
		if err != nil {
			f.server.log.Debug("an event stream ended", "remote", r.RemoteAddr, "err", err)
			return
		}
		if more {
			continue
		}
		if !f.wait(ctx, committed, beat) {
			return
		}
	}
}

// wait returns true when there may be something to send.
func (f *follower) wait(ctx context.Context, committed <-chan struct{}, beat *time.Timer) bool {
	select {
	case <-committed:
		return true
	case <-beat.C:
		beat.Reset(eventsHeartbeat)
		f.buffer = append(strconv.AppendUint(append(f.buffer, ": "...), f.after, 10), "\n\n"...)
		_, err := f.server.node.Token(f.token) // revoked or expired meanwhile
		return err == nil
	case <-ctx.Done():
	case <-f.server.closing:
	}
	return false
}

// next adds the events of the next blocks, and says whether there may be more.
func (f *follower) next() (more bool, err error) {
	events, upTo, err := f.server.events.Events(f.after, &f.filter)
	if err != nil {
		return false, err
	}
	chain := f.server.events.ChainID()
	for i := range events {
		e := &events[i]
		if e.Height == f.after+1 && e.Index < f.part {
			continue
		}
		f.buffer = append(append(f.buffer, "id: "...), cloudevent.ID(e)...)
		f.buffer = cloudevent.Append(append(f.buffer, "\ndata: "...), chain, e)
		f.buffer = append(f.buffer, "\n\n"...)
	}
	more = upTo > f.after
	if more {
		f.after, f.part = upTo, 0
	}
	return more, nil
}

// flush sends what was added.
func (f *follower) flush() error {
	if len(f.buffer) == 0 {
		return nil
	}
	_ = f.ctl.SetWriteDeadline(time.Now().Add(eventsWriteLimit))
	_, err := f.out.Write(f.buffer)
	if err == nil {
		err = f.ctl.Flush()
	}
	f.buffer = f.buffer[:0]
	return err
}
