package client

import (
	"context"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Ask is the request of a device for itself: may I do this to that?
func Ask(action, resourceType, resourceID string) *abi.DecisionRequest {
	return &abi.DecisionRequest{Action: abi.Action{Name: action}, Resource: abi.Entity{Type: resourceType, ID: resourceID}}
}

// Check is Decide for a device that asks the same again and again: a permit is
// kept for the time to live that the policy gave it, and served without asking.
// What is kept stands and falls with a subscription on the same connection, which
// tells of the device's status and of new blocks: when the connection ends, when
// the status of the device changes, or when a block came after the permit (the
// policy may be another), the gateway is asked anew. It is told of a block within
// abi.EventHeartbeat, of its status at once. Denials are never kept, and nothing
// is that names a subject: of another's status the subscription tells nothing.
//
// An answer that was kept must not be modified. It has the record, height and time of the decision; its
// time to live is what is left of it, and its staleness has grown by its age.
// Without a connection, Check denies with the code that says why.
func (c *Client) Check(ctx context.Context, domain string, q *abi.DecisionRequest) (abi.Answer, error) {
	if domain == "" {
		domain = abi.DefaultDomain
	}
	if q.Subject != nil || c.config.MaxPermits < 0 {
		return c.Decide(ctx, domain, q)
	}
	name := domain + "\x00" + string(abi.AppendDecisionRequest(nil, q))
	w := c.watching()
	if w != nil {
		if a, ok := w.kept(name, c.config.MaxStaleness); ok {
			return a, nil
		}
	}
	began := time.Now()
	turn := w.turn()
	answer, l, err := c.decide(ctx, domain, q)
	if err == nil && w != nil && l == w.link {
		w.heard(answer.Height)
		w.keep(name, &permit{answer: answer, began: began}, turn)
	}
	if w == nil && l != nil {
		c.watch(l)
	}
	return answer, err
}

// watching is what watches over the permits of the current connection, nil if
// nothing does.
func (c *Client) watching() *watch {
	l := c.current.Load()
	if l == nil || !l.alive() {
		return nil
	}
	if w := l.watch.Load(); w != nil && w.stands() {
		return w
	}
	return nil
}

// watchPause is how long a connection is left alone after a subscription for
// permits ended: the gateway may not offer it.
const watchPause = 5 * time.Second

// watch begins to watch over the permits of a connection, if nothing does. The
// connection's end ends it, and waits for it.
func (c *Client) watch(l *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.watched || time.Since(l.unwatched) < watchPause {
		return
	}
	l.watched = true
	w := &watch{link: l, most: c.config.MaxPermits, permits: map[string]*permit{}}
	l.done.Go(func() {
		_ = w.run(l.quic.Context()) // there is nobody to tell: what is not kept is asked for
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watched, l.unwatched = false, time.Now()
	})
}

// permit is an answer that may be served again.
type permit struct {
	answer abi.Answer
	began  time.Time // before the request was sent
}

// age is the time since the request, by whichever clock says more: the monotonic
// one may stand still while the device sleeps, the other may be set back.
func (p *permit) age(now time.Time) time.Duration {
	return max(now.Sub(p.began), now.Round(0).Sub(p.began.Round(0)))
}

// watch keeps permits while a subscription stands on one connection.
type watch struct {
	link *link
	most int

	mu      sync.Mutex
	up      bool               // the subscription stands; guarded by mu
	number  uint64             // one more with whatever might change an answer; guarded by mu
	height  uint64             // newest block that it told of; guarded by mu
	permits map[string]*permit // by domain and request; guarded by mu
}

// run subscribes and drops what is outdated until the subscription ends.
func (w *watch) run(ctx context.Context) error {
	raw, err := w.link.roundTrip(ctx, abi.OpStatus, cbor.AppendMap(nil, 0))
	if err != nil {
		return err
	}
	s, err := abi.ParseNodeStatus(raw)
	if err != nil || s.Account == nil {
		return err
	}
	f, err := w.link.follow(ctx, &abi.Subscription{Filter: abi.EventFilter{Device: s.Account}})
	if err != nil {
		return err
	}
	defer f.close()
	defer w.end()
	w.begin(f.began)
	for {
		e, err := f.next(ctx)
		if err != nil {
			return err
		}
		w.outdate(e)
	}
}

func (w *watch) begin(height uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.height = true, height
	w.link.watch.Store(w)
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.permits = false, nil
}

func (w *watch) stands() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

// outdate drops what an event or mark makes doubtful: everything if it is about
// the device itself, and otherwise what was decided below its height.
func (w *watch) outdate(e *abi.EventFrame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	about := !e.Mark() && e.Contract == ""
	if !about && e.Height <= w.height {
		return
	}
	w.number++
	if about {
		clear(w.permits)
	}
	w.dropBelow(e.Height)
}

// heard drops what was decided below a height that an answer tells of.
func (w *watch) heard(height uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropBelow(height)
}

// dropBelow raises the height and drops what was decided below it. The caller holds
// mu.
func (w *watch) dropBelow(height uint64) {
	if height <= w.height {
		return
	}
	w.height = height
	for name, p := range w.permits {
		if p.answer.Height < height {
			delete(w.permits, name)
		}
	}
}

// turn is the number of changes so far: what was asked for before another is not
// kept. There is none without a watch.
func (w *watch) turn() uint64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.number
}

// keep keeps a permit that was asked for at a turn, if it may be kept.
func (w *watch) keep(name string, p *permit, turn uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.up || w.number != turn || p.answer.Height < w.height || !p.answer.Permit || p.answer.TTL == 0 || p.left(time.Now()) <= 0 {
		return
	}
	if _, there := w.permits[name]; !there && len(w.permits) >= w.most {
		w.evict()
	}
	w.permits[name] = p
}

// left is what is left of the time to live.
func (p *permit) left(now time.Time) time.Duration {
	const longest = 24 * time.Hour // what is longer would overflow, or outlive any connection
	return time.Duration(min(p.answer.TTL, uint64(longest.Milliseconds())))*time.Millisecond - p.age(now)
}

// evict drops the permit that would end first.
func (w *watch) evict() {
	now, first, least := time.Now(), "", time.Duration(0)
	for name, p := range w.permits {
		if left := p.left(now); first == "" || left < least {
			first, least = name, left
		}
	}
	delete(w.permits, first)
}

// kept finds a permit that still holds, no staler than the limit if there is one.
func (w *watch) kept(name string, limit time.Duration) (abi.Answer, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.permits[name]
	if p == nil || !w.up || !w.link.alive() {
		return abi.Answer{}, false
	}
	now := time.Now()
	left, a := p.left(now), p.answer
	if left <= 0 {
		delete(w.permits, name)
		return abi.Answer{}, false
	}
	a.TTL = uint64(left.Milliseconds())
	a.Staleness += uint64(p.age(now).Milliseconds())
	if limit > 0 && a.Staleness > uint64(limit.Milliseconds()) {
		return abi.Answer{}, false
	}
	return a, true
}
