// Package webhook pushes the events of committed blocks to others' servers:
// CloudEvents in structured JSON (package cloudevent), one a request, in order,
// each signed with the gateway's key (RFC 9421), so that a receiver knows it by
// the ledger. Before the first one the target must agree to be sent events
// (CloudEvents, Abuse Protection, http-webhook.md section 4).
//
//	OPTIONS URL   WebHook-Request-Origin, WebHook-Request-Rate   asked at each start, and once a day
//	POST URL      Content-Type: application/cloudevents+json, Content-Digest, Signature-Input, Signature
//
// A delivery is done when the target answers 2xx. What may pass (no connection,
// 408, 429, 5xx) is tried again after a pause that doubles from a second to five
// minutes, or as Retry-After says. An event is laid into the target's dead letters
// when the answer is another, or when nothing got through for a day; then the next
// one goes out. 410 ends the target until the node starts again. Redirects are not
// followed, bodies of answers are not read.
//
// Events come at least once: after a crash those of the last seconds come again,
// under the same source and id. A new target gets what is committed from then on.
//
// The caller's duties: New, then Run until the node ends. Dead letters are files
// of the directory NAME/dead under Dir, one an event, which others may take away.
package webhook

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
)

// MaxTargets bounds the targets of a node: each is a goroutine and a connection.
const MaxTargets = 16

// Source is where events come from.
type Source interface {
	ChainID() abi.Hash
	Height() uint64
	Committed() <-chan struct{} // closed at the next commit
	// Events returns what blocks above a height emitted and up to where it
	// looked; abi.CodeNotFound says that these blocks are not kept any more.
	Events(after uint64, filter *abi.EventFilter) (events []abi.EventFrame, upTo uint64, err error)
}

// Target is where events go.
type Target struct {
	Name   string // its directory; as abi.ValidName has it
	URL    string // https, or http to a loopback address
	Filter abi.EventFilter
}

// Config is what a Sender works with. Client and Logger may be nil.
type Config struct {
	Targets []Target
	Source  Source
	Dir     string // holds a directory for each target; made if need be
	Key     ed25519.PrivateKey
	KeyID   string // names the key to receivers: its did:key
	Origin  string // names the sender in the handshake, a DNS name
	Client  *http.Client
	Logger  *slog.Logger
}

// Sender pushes events to all targets.
type Sender struct {
	cfg     Config
	targets []*target
}

// Counts is what became of the events of one target since the start.
type Counts struct {
	Target                   string
	Delivered, Retried, Dead uint64
}

// New checks the configuration.
func New(c Config) (*Sender, error) {
	if c.Source == nil || c.Dir == "" || len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("webhook: Source, Dir and an ed25519 Key are required")
	}
	if len(c.Targets) > MaxTargets {
		return nil, fmt.Errorf("webhook: %d targets, at most %d", len(c.Targets), MaxTargets)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Client = asClient(c.Client)
	s := &Sender{cfg: c}
	names := map[string]bool{}
	for _, t := range c.Targets {
		if err := t.Validate(); err != nil {
			return nil, err
		}
		if names[t.Name] {
			return nil, fmt.Errorf("webhook: two targets are named %q", t.Name)
		}
		names[t.Name] = true
		s.targets = append(s.targets, newTarget(&s.cfg, t))
	}
	return s, nil
}

// Validate checks name and address.
func (t *Target) Validate() error {
	if !abi.ValidName(t.Name) {
		return fmt.Errorf("webhook %q: a name has 1 to 64 of a-z, 0-9, '-', '.' and '_'", t.Name)
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", t.Name, err)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("webhook %s: %q: want https://host/path, or http to this host, with no user and no fragment", t.Name, t.URL)
	}
	return nil
}

// answerTimeout is how long a target may take over one event.
const answerTimeout = 10 * time.Second

// asClient is the client as targets are asked by: none may lead it elsewhere.
func asClient(c *http.Client) *http.Client {
	asked := &http.Client{Timeout: answerTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: true,
	}}
	if c != nil {
		*asked = *c
	}
	asked.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return asked
}

// Run sends until ctx ends, and returns nil: a target that fails, and a disk that
// keeps no dead letters, are logged and do not end a gateway.
func (s *Sender) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for _, t := range s.targets {
		group.Go(func() { t.run(ctx) })
	}
	group.Wait()
	return nil
}

// Counts tells of all targets, in their order.
func (s *Sender) Counts() []Counts {
	var list []Counts
	for _, t := range s.targets {
		list = append(list, Counts{t.Name, t.delivered.Load(), t.retried.Load(), t.dead.Load()})
	}
	return list
}

// Redeliver posts one dead letter, once. It is for an operator's command.
func Redeliver(ctx context.Context, c Config, t Target, letter []byte) error {
	c.Client = asClient(c.Client)
	return newTarget(&c, t).post(ctx, letter)
}

// counters are read while the target runs.
type counters struct{ delivered, retried, dead atomic.Uint64 }

// throttle holds deliveries to the rate that the target allows.
type throttle struct {
	mu    sync.Mutex
	pause time.Duration // guarded by mu
	next  time.Time     // guarded by mu
}

// set takes events a minute; 0: as many as there are.
func (h *throttle) set(perMinute int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pause = 0
	if perMinute > 0 {
		h.pause = time.Minute / time.Duration(perMinute)
	}
}

// wait waits for the next turn.
func (h *throttle) wait(ctx context.Context) bool {
	h.mu.Lock()
	at := h.next
	h.next = time.Now().Add(max(0, time.Until(at)) + h.pause)
	h.mu.Unlock()
	return sleep(ctx, time.Until(at))
}

// sleep waits; false says that ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
