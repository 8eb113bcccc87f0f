package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// fakeEvents is a chain whose blocks tests make. Blocks up to base are pruned.
type fakeEvents struct {
	mu     sync.Mutex
	blocks [][]abi.EventFrame // guarded by mu
	base   uint64
	next   chan struct{} // guarded by mu
	err    error         // guarded by mu
}

func newFakeEvents() *fakeEvents { return &fakeEvents{next: make(chan struct{})} }

func (e *fakeEvents) ChainID() abi.Hash { return abi.Hash{9} }

func (e *fakeEvents) Height() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return uint64(len(e.blocks))
}

func (e *fakeEvents) Committed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next
}

// Events looks at two blocks at a time.
func (e *fakeEvents) Events(after uint64, f *abi.EventFilter) (list []abi.EventFrame, upTo uint64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if after < e.base {
		return nil, 0, abi.CodeNotFound
	}
	for upTo = after; upTo < uint64(len(e.blocks)) && upTo < after+2; upTo++ {
		for _, k := range e.blocks[upTo] {
			if f.Contract == nil || *f.Contract == k.Contract {
				list = append(list, k)
			}
		}
	}
	return list, upTo, e.err
}

// block commits one with events of these contracts.
func (e *fakeEvents) block(contracts ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var events []abi.EventFrame
	for i, c := range contracts {
		events = append(events, abi.EventFrame{Height: uint64(len(e.blocks) + 1), Index: uint64(i), ID: abi.Hash{1}, Contract: c, Topic: []byte("t")})
	}
	e.blocks = append(e.blocks, events)
	close(e.next)
	e.next = make(chan struct{})
}

// closeNotifyLimit is how long crypto/tls tries to say that it closes. Both ends
// of a pipe may try at once, and neither reads then.
const closeNotifyLimit = 6 * time.Second

// eventServer runs a server over in-memory connections.
func eventServer(t *testing.T, node Node, events Events) *http.Client {
	lis := newPipes()
	s, _ := newServer(t, node, func(c *Config) { c.Events, c.Listener = events, lis })
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return lis.dial(), nil },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-time.After(closeNotifyLimit)
	})
	return &http.Client{Transport: transport}
}

// eventStream is a client's end of a stream.
type eventStream struct {
	resp  *http.Response
	lines *bufio.Scanner
}

func follow(t *testing.T, c *http.Client, query, last string) *eventStream {
	t.Helper()
	r, err := http.NewRequest("GET", "https://postern.test/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+goodToken)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &eventStream{resp, bufio.NewScanner(resp.Body)}
}

// until reads ids of events up to one, or up to a comment where that is ":".
func (s *eventStream) until(want string) (ids []string) {
	for s.lines.Scan() {
		line := s.lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			ids = append(ids, id)
			if id == want {
				return ids
			}
		}
		if want == ":" && strings.HasPrefix(line, ":") {
			return ids
		}
	}
	return append(ids, "end")
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := newFakeEvents()
		for range 5 {
			events.block("lock", "", "weather")
		}
		c := eventServer(t, &fakeNode{}, events)

		all := follow(t, c, "after=3", "")
		if got := all.resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		want(t, all.until("5-2"), "4-0 4-1 4-2 5-0 5-1 5-2")
		coming := follow(t, c, "contract=lock", "")
		synctest.Wait()
		events.block("", "lock")
		want(t, coming.until("6-1"), "6-1")
		want(t, all.until("6-1"), "6-0 6-1")
		want(t, all.until(":"), "") // a mark within the heartbeat

		again := follow(t, c, "contract=", "4-1") // of the ledger's own it saw 4-1
		want(t, again.until("6-0"), "5-1 6-0")
		part := follow(t, c, "", "4-1")
		want(t, part.until("5-0"), "4-2 5-0")
	})
}

func want(t *testing.T, got []string, ids string) {
	t.Helper()
	if s := strings.Join(got, " "); s != ids {
		t.Errorf("got %s, want %s", s, ids)
	}
}

func TestEventsRefused(t *testing.T) {
	events := newFakeEvents()
	for range 9 {
		events.block("lock")
	}
	events.base = 4
	s, _ := newServer(t, &fakeNode{}, func(c *Config) { c.Events = events })
	for _, c := range []struct {
		target, header string
		status         int
	}{
		{"/events?contract=UPPER", "", 400}, {"/events?device=12", "", 400}, {"/events?device=" + strings.Repeat("zz", 32), "", 400},
		{"/events?topic=" + strings.Repeat("t", abi.MaxTopic+1), "", 400}, {"/events?after=-1", "", 400}, {"/events?after=1&after=2", "", 400},
		{"/events?other=1", "", 400}, {"/events?a;b", "", 400}, {"/events", "Last-Event-ID: 0-0", 400}, {"/events", "Last-Event-ID: x", 400},
		{"/events?after=3", "", 410}, {"/events", "Last-Event-ID: 4-0", 410},
		{"/events", "Authorization: Bearer wrong", 401}, {"/events", "Authorization: ", 401},
	} {
		resp := call(s, "GET", c.target, "", c.header)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.target, c.header, resp.StatusCode, c.status)
		}
	}
	if resp := call(s, "HEAD", "/events?after=3", ""); resp.StatusCode != 410 {
		t.Errorf("HEAD of what is pruned: %d", resp.StatusCode)
	}
	if resp := call(s, "HEAD", "/events", ""); resp.StatusCode != 200 {
		t.Errorf("HEAD: %d", resp.StatusCode)
	}
	bare, _ := newServer(t, &fakeNode{}, nil)
	if resp := call(bare, "GET", "/events", ""); resp.StatusCode != 404 {
		t.Errorf("without events: %d", resp.StatusCode)
	}
}

// revoked is a node whose tokens end.
type revoked struct {
	fakeNode
	mu   sync.Mutex
	gone bool // guarded by mu
}

func (n *revoked) Token(token abi.Hash) (chain.Token, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone {
		return chain.Token{}, abi.CodeNotAuthenticated
	}
	return n.fakeNode.Token(token)
}

func TestEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, events := &revoked{}, newFakeEvents()
		c := eventServer(t, node, events)
		s := follow(t, c, "", "")
		node.mu.Lock()
		node.gone = true
		node.mu.Unlock()
		began := time.Now()
		want(t, s.until("1-0"), "end")
		if took := time.Since(began); took > eventsHeartbeat {
			t.Errorf("a revoked token's stream went on for %v", took)
		}
	})
}

func TestEventsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := eventServer(t, &fakeNode{}, newFakeEvents())
		for i := range maxFollowers / followersShare {
			if s := follow(t, c, "", ""); s.resp.StatusCode != 200 {
				t.Fatalf("stream %d: status %d", i, s.resp.StatusCode)
			}
		}
		if s := follow(t, c, "", ""); s.resp.StatusCode != 503 {
			t.Errorf("one more: status %d", s.resp.StatusCode)
		}
		resp, err := c.Do(newRequest("https://postern.test"+evaluationPath, `{}`))
		if err != nil || resp.StatusCode != 400 {
			t.Fatalf("a decision beside full streams: %v, %v", resp, err)
		}
		resp.Body.Close()
	})
}

// TestEventsSlowReader ends the stream of a client that takes nothing in.
func TestEventsSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := newFakeEvents()
		c := eventServer(t, &fakeNode{}, events)
		s := follow(t, c, "", "")
		for range 2000 {
			events.block("lock", "lock", "lock")
		}
		<-time.After(2 * eventsWriteLimit)
		got := s.until(fmt.Sprintf("%d-2", 2000))
		if got[len(got)-1] != "end" {
			t.Error("a client that read nothing for long got everything")
		}
	})
}
