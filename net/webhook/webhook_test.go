package webhook_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/webhook"
)

var testKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// source is a chain of blocks with events.
type source struct {
	mu     sync.Mutex
	blocks []int // events of each; guarded by mu
	base   uint64
	next   chan struct{} // guarded by mu
}

func newSource(blocks ...int) *source { return &source{blocks: blocks, next: make(chan struct{})} }

func (s *source) ChainID() abi.Hash { return abi.Hash{9} }

func (s *source) Height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.blocks))
}

func (s *source) Committed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

func (s *source) Events(after uint64, _ *abi.EventFilter) (list []abi.EventFrame, upTo uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after < s.base {
		return nil, 0, abi.CodeNotFound
	}
	for upTo = after; upTo < uint64(len(s.blocks)) && upTo < after+3; upTo++ {
		for i := range s.blocks[upTo] {
			list = append(list, abi.EventFrame{Height: upTo + 1, Index: uint64(i), ID: abi.Hash{1}, Contract: "lock", Topic: []byte("opened")})
		}
	}
	return list, upTo, nil
}

func (s *source) block(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks = append(s.blocks, events)
	close(s.next)
	s.next = make(chan struct{})
}

// receiver is the target: it answers by script, 204 behind its end.
type receiver struct {
	mu       sync.Mutex
	allowed  string          // guarded by mu; the handshake's answer
	rate     string          // guarded by mu
	answers  []any           // guarded by mu; a status, an error, or a *http.Response
	got      []string        // guarded by mu; ids of events
	at       []time.Time     // guarded by mu; when they came
	requests []*http.Request // guarded by mu
	bodies   [][]byte        // guarded by mu
	asked    int             // guarded by mu; handshakes
}

func (r *receiver) RoundTrip(q *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	resp := &http.Response{StatusCode: 204, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: q}
	if q.Method == http.MethodOptions {
		r.asked++
		resp.Header.Set("WebHook-Allowed-Origin", r.allowed)
		resp.Header.Set("WebHook-Allowed-Rate", r.rate)
		return resp, nil
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	var e struct{ ID string }
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	r.got, r.at, r.requests, r.bodies = append(r.got, e.ID), append(r.at, time.Now()), append(r.requests, q), append(r.bodies, body)
	if len(r.answers) == 0 {
		return resp, nil
	}
	answer := r.answers[0]
	r.answers = r.answers[1:]
	switch a := answer.(type) {
	case error:
		return nil, a
	case *http.Response:
		a.Body = resp.Body
		return a, nil
	}
	resp.StatusCode = answer.(int)
	return resp, nil
}

func (r *receiver) ids() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, " ")
}

func (r *receiver) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

const url = "https://hooks.test/postern"

// begin runs a sender to one target.
func begin(t *testing.T, dir string, s *source, r *receiver) (w *webhook.Sender, end func()) {
	t.Helper()
	w, err := webhook.New(webhook.Config{
		Targets: []webhook.Target{{Name: "police", URL: url}}, Source: s, Dir: dir, Key: testKey, KeyID: "gate", Origin: "gate.test",
		Client: &http.Client{Transport: r},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	synctest.Wait()
	return w, func() { stop(); <-done }
}

func wantIDs(t *testing.T, r *receiver, want string) {
	t.Helper()
	synctest.Wait()
	if got := r.ids(); got != want {
		t.Errorf("delivered %q, want %q", got, want)
	}
}

func wantDead(t *testing.T, dir, want string) {
	t.Helper()
	ids, err := webhook.DeadLetters(dir, "police")
	if got := strings.Join(ids, " "); err != nil || got != want {
		t.Errorf("dead letters %q, %v; want %q", got, err, want)
	}
}

// TestOrder sends what is committed from the start of a new target on, in order,
// and goes on where it was.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(4, 4), &receiver{allowed: "gate.test"}
		_, end := begin(t, dir, s, r)
		s.block(2)
		s.block(0)
		s.block(1)
		wantIDs(t, r, "3-0 3-1 5-0")
		end()
		s.block(1)
		_, end = begin(t, dir, s, r)
		wantIDs(t, r, "3-0 3-1 5-0 6-0")
		if r.asked != 2 {
			t.Errorf("%d handshakes in two runs", r.asked)
		}
		end()
	})
}

// TestStoppedWithinBlock comes back to the event that was not delivered.
func TestStoppedWithinBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "*", answers: []any{204, 503}}
		_, end := begin(t, dir, s, r)
		s.block(3)
		wantIDs(t, r, "1-0 1-1")
		end()
		_, end = begin(t, dir, s, r)
		wantIDs(t, r, "1-0 1-1 1-1 1-2")
		end()
	})
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"90"}}}
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "*", answers: []any{errors.New("no route"), 500, later, 408}}
		w, end := begin(t, dir, s, r)
		defer end()
		s.block(1)
		<-time.After(time.Hour)
		wantIDs(t, r, "1-0 1-0 1-0 1-0 1-0")
		for i, pause := range []time.Duration{time.Second, 2 * time.Second, 90 * time.Second, 8 * time.Second} {
			if got := r.at[i+1].Sub(r.at[i]); got != pause {
				t.Errorf("pause %d: %v, want %v", i, got, pause)
			}
		}
		wantDead(t, dir, "")
		if c := w.Counts()[0]; c != (webhook.Counts{Target: "police", Delivered: 1, Retried: 4}) {
			t.Errorf("counted %+v", c)
		}
	})
}

// TestDeadLetters lays aside what the target refuses for good, a redirect among
// it, and goes on; a letter can be sent again.
func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elsewhere := &http.Response{StatusCode: 307, Header: http.Header{"Location": {"http://169.254.169.254/"}}}
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "*", answers: []any{400, elsewhere}}
		_, end := begin(t, dir, s, r)
		defer end()
		s.block(3)
		wantIDs(t, r, "1-0 1-1 1-2")
		wantDead(t, dir, "1-0 1-1")
		letter, err := webhook.DeadLetter(dir, "police", "1-1")
		if err != nil || !json.Valid(letter) {
			t.Fatalf("%s, %v", letter, err)
		}
		c := webhook.Config{Key: testKey, KeyID: "gate", Client: &http.Client{Transport: r}}
		if err := webhook.Redeliver(t.Context(), c, webhook.Target{Name: "police", URL: url}, letter); err != nil {
			t.Error(err)
		}
		wantIDs(t, r, "1-0 1-1 1-2 1-1")
	})
}

// TestGivesUp lays all events aside when nothing got through for a day, without
// another day for each, and goes on when the target is back.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "other.test"}
		_, end := begin(t, dir, s, r)
		defer end()
		s.block(2)
		<-time.After(25 * time.Hour)
		wantIDs(t, r, "") // not before the target agrees
		wantDead(t, dir, "1-0 1-1")
		r.set(func() { r.allowed = "*" })
		s.block(1)
		wantIDs(t, r, "2-0")
	})
}

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "*", answers: []any{410}}
		_, end := begin(t, dir, s, r)
		s.block(2)
		<-time.After(time.Hour)
		wantIDs(t, r, "1-0")
		wantDead(t, dir, "")
		end()
		_, end = begin(t, dir, s, r)
		wantIDs(t, r, "1-0 1-0 1-1")
		end()
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "*", rate: "30"}
		_, end := begin(t, dir, s, r)
		defer end()
		s.block(5)
		<-time.After(time.Minute)
		wantIDs(t, r, "1-0 1-1 1-2 1-3 1-4")
		if took := r.at[4].Sub(r.at[0]); took != 8*time.Second {
			t.Errorf("five events at 30 a minute took %v", took)
		}
	})
}

func TestPruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(1, 1), &receiver{allowed: "*"}
		_, end := begin(t, dir, s, r)
		end()
		s.block(1)
		s.block(1)
		s.base = 3
		_, end = begin(t, dir, s, r)
		defer end()
		s.block(1)
		wantIDs(t, r, "5-0")
	})
}

// TestSignature has a receiver take what the gateway sent, and nothing else.
func TestSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newSource(), &receiver{allowed: "*"}
		_, end := begin(t, t.TempDir(), s, r)
		defer end()
		s.block(1)
		synctest.Wait()
		sent, body := r.requests[0], r.bodies[0]
		public := testKey.Public().(ed25519.PublicKey)
		if webhook.KeyID(sent) != "gate" {
			t.Errorf("key id %q", webhook.KeyID(sent))
		}
		if err := webhook.Verify(sent, url, body, public, time.Now()); err != nil {
			t.Fatal(err)
		}
		other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize))).Public().(ed25519.PublicKey)
		bend := func(header, from, to string) *http.Request {
			q := sent.Clone(context.Background())
			q.Header.Set(header, strings.Replace(q.Header.Get(header), from, to, 1))
			return q
		}
		twice := sent.Clone(context.Background())
		twice.Header.Add("Signature", twice.Header.Get("Signature"))
		get := sent.Clone(context.Background())
		get.Method = "GET"
		for name, err := range map[string]error{
			"body":       webhook.Verify(sent, url, append([]byte(" "), body...), public, time.Now()),
			"target":     webhook.Verify(sent, url+"?to=other", body, public, time.Now()),
			"key":        webhook.Verify(sent, url, body, other, time.Now()),
			"no key":     webhook.Verify(sent, url, body, nil, time.Now()),
			"old":        webhook.Verify(sent, url, body, public, time.Now().Add(6*time.Minute)),
			"early":      webhook.Verify(sent, url, body, public, time.Now().Add(-6*time.Minute)),
			"digest":     webhook.Verify(bend("Content-Digest", "sha-256", "sha-512"), url, body, public, time.Now()),
			"type":       webhook.Verify(bend("Content-Type", "json", "xml"), url, body, public, time.Now()),
			"created":    webhook.Verify(bend("Signature-Input", "created=9", "created=8"), url, body, public, time.Now()),
			"components": webhook.Verify(bend("Signature-Input", `"content-digest" `, ""), url, body, public, time.Now()),
			"signature":  webhook.Verify(bend("Signature", "=:", "=:AA"), url, body, public, time.Now()),
			"twice":      webhook.Verify(twice, url, body, public, time.Now()),
			"method":     webhook.Verify(get, url, body, public, time.Now()),
			"none":       webhook.Verify(&http.Request{Method: "POST", Header: http.Header{}}, url, body, public, time.Now()),
		} {
			if !errors.Is(err, webhook.ErrSignature) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []struct{ name, url, why string }{
		{"Police", "https://x.test", "a name has"},
		{"../up", "https://x.test", "a name has"},
		{"p", "http://x.test/", "want https"},
		{"p", "https://user:secret@x.test/", "no user"},
		{"p", "https:///path", "want https"},
		{"p", "file:///etc/passwd", "want https"},
		{"p", "https://x.test/#top", "no fragment"},
		{"p", "https://x.test/%zz", "invalid URL escape"},
	} {
		target := webhook.Target{Name: c.name, URL: c.url}
		if err := target.Validate(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s %s: %v", c.name, c.url, err)
		}
	}
	for _, ok := range []string{"http://127.0.0.1:8080/x", "http://[::1]/x", "http://localhost/x", "https://x.test"} {
		target := webhook.Target{Name: "p", URL: ok}
		if err := target.Validate(); err != nil {
			t.Error(err)
		}
	}
	c := webhook.Config{Source: newSource(), Dir: "x", Key: testKey, Targets: []webhook.Target{{Name: "p", URL: url}, {Name: "p", URL: url}}}
	if _, err := webhook.New(c); err == nil {
		t.Error("two targets of one name")
	}
}

// TestFullOfDeadLetters drops the oldest.
func TestFullOfDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(), &receiver{allowed: "*"}
		_, end := begin(t, dir, s, r)
		defer end()
		for i := range 1000 {
			name := filepath.Join(dir, "police", "dead", fmt.Sprintf("1-%d.json", i))
			if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.set(func() { r.answers = []any{400} })
		s.block(1001) // the first is there already; of the others none is refused
		synctest.Wait()
		r.set(func() { r.answers = []any{400} })
		s.block(1)
		synctest.Wait()
		ids, err := webhook.DeadLetters(dir, "police")
		if err != nil || len(ids) != 1000 || ids[0] != "1-1" || ids[999] != "2-0" {
			t.Errorf("%d letters from %s to %s, %v", len(ids), ids[0], ids[len(ids)-1], err)
		}
	})
}

// TestDamagedPlace rests instead of sending everything or nothing.
func TestDamagedPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s, r := t.TempDir(), newSource(1), &receiver{allowed: "*"}
		if err := os.MkdirAll(filepath.Join(dir, "police"), 0o700); err != nil {
			t.Fatal(err)
		}
		sent := filepath.Join(dir, "police", "sent")
		if err := os.WriteFile(sent, []byte("what"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, end := begin(t, dir, s, r)
		defer end()
		s.block(1)
		wantIDs(t, r, "")
		if err := os.Remove(sent); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		s.block(1)
		wantIDs(t, r, "3-0")
	})
}
