package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"net/http"
	"strconv"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/cloudevent"
)

// How long is tried what may pass.
const (
	firstRetry  = time.Second
	lastRetry   = 5 * time.Minute
	giveUp      = 24 * time.Hour
	agreedFor   = 24 * time.Hour // how long a target's consent holds
	askedRate   = 600            // events a minute that the handshake asks for
	longestWait = 3600           // seconds that Retry-After may ask for
	batchPause  = time.Second    // between two looks at blocks that cannot be read
)

// errGone says that the target wants no more events (410).
var errGone = errors.New("the target wants no more events")

// answerError is an answer that is not 2xx.
type answerError struct {
	status int
	after  time.Duration // as Retry-After says
}

func (e *answerError) Error() string {
	return fmt.Sprintf("the target answered %d %s", e.status, http.StatusText(e.status))
}

// passing says whether the same request may do better later.
func (e *answerError) passing() bool {
	return e.status == http.StatusRequestTimeout || e.status == http.StatusTooManyRequests || e.status >= 500
}

// target is one target at work. Its goroutine owns the fields below the line.
type target struct {
	Target
	counters
	cfg   *Config
	log   *slog.Logger
	rate  throttle
	files files

	agreed  time.Time // when the target last consented; zero: not yet
	failing time.Time // since when nothing gets through; zero: it does
}

func newTarget(c *Config, t Target) *target {
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &target{Target: t, cfg: c, log: log.With("webhook", t.Name), files: files{c.Dir, t.Name}}
}

// diskPause is how long a target rests whose files cannot be written.
const diskPause = time.Minute

// run sends events until ctx ends or the target wants no more.
func (t *target) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := t.follow(ctx)
		if errors.Is(err, errGone) {
			t.log.Error("the target answered 410: it gets no more events until the node starts again")
			return
		}
		if err != nil {
			t.log.Error("the webhook's files fail: it rests", "for", diskPause, "err", err)
			sleep(ctx, diskPause)
		}
	}
}

// follow sends what is committed, in order. Its errors are errGone and the disk's.
func (t *target) follow(ctx context.Context) error {
	at, err := t.begin()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		committed := t.cfg.Source.Committed()
		events, upTo, err := t.cfg.Source.Events(at.height, &t.Filter)
		if errors.Is(err, abi.CodeNotFound) {
			t.log.Error("events were pruned before the target took them: it goes on behind the newest block", "after", at.height)
			at = place{height: t.cfg.Source.Height()}
			continue
		}
		if err != nil {
			t.log.Warn("events cannot be read now", "err", err)
			sleep(ctx, batchPause)
			continue
		}
		if at, err = t.sendAll(ctx, at, events, upTo); err != nil || ctx.Err() != nil {
			return err
		}
		if at.height < t.cfg.Source.Height() {
			continue
		}
		select {
		case <-committed:
		case <-ctx.Done():
		}
	}
	return nil
}

// begin reads how far the target is.
func (t *target) begin() (place, error) {
	at, known, err := t.files.place()
	if err != nil || known {
		return at, err
	}
	at = place{height: t.cfg.Source.Height()}
	return at, t.files.setPlace(at)
}

// sendAll sends what some blocks emitted and notes how far the target is: once
// for all of them, and once where it is stopped among them.
func (t *target) sendAll(ctx context.Context, at place, events []abi.EventFrame, upTo uint64) (place, error) {
	before := at
	for i := range events {
		e := &events[i]
		if e.Height == before.height+1 && e.Index < before.part {
			continue
		}
		if err := t.send(ctx, e); err != nil || ctx.Err() != nil {
			if at == before {
				return at, err
			}
			return at, errors.Join(err, t.files.setPlace(at))
		}
		at = place{e.Height - 1, e.Index + 1}
	}
	if len(events) == 0 { // not worth a write: the same is found again
		return place{height: upTo}, nil
	}
	at = place{height: upTo}
	return at, t.files.setPlace(at)
}

// send brings one event to the target or to the dead letters. After an error, or
// the end of ctx, it has done neither.
func (t *target) send(ctx context.Context, e *abi.EventFrame) error {
	body := cloudevent.Append(nil, t.cfg.Source.ChainID(), e)
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := t.deliver(ctx, body)
		var refused *answerError
		switch {
		case err == nil:
			t.delivered.Add(1)
			t.failing = time.Time{}
			return nil
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errGone):
			return err
		case errors.As(err, &refused) && !refused.passing(), !t.failing.IsZero() && time.Since(t.failing) > giveUp:
			return t.bury(cloudevent.ID(e), body, err)
		}
		if t.failing.IsZero() {
			t.failing = time.Now()
		}
		wait := pause
		if refused != nil {
			wait = max(wait, refused.after)
		}
		t.retried.Add(1)
		t.log.Warn("an event was not delivered and is tried again", "event", cloudevent.ID(e), "in", wait, "err", err)
		sleep(ctx, wait)
	}
}

// bury lays an event into the dead letters.
func (t *target) bury(id string, body []byte, cause error) error {
	t.dead.Add(1)
	dropped, err := t.files.bury(id, body)
	if err != nil {
		return fmt.Errorf("webhook %s: laying event %s into the dead letters: %w", t.Name, id, err)
	}
	t.log.Error("an event is among the dead letters; mend the target, then: postern webhook redeliver", "event", id, "err", cause)
	if dropped != "" {
		t.log.Error("the dead letters are full: the oldest is gone", "event", dropped)
	}
	return nil
}

// deliver posts one event, once the target has consented.
func (t *target) deliver(ctx context.Context, body []byte) error {
	if t.agreed.IsZero() || time.Since(t.agreed) > agreedFor {
		if err := t.handshake(ctx); err != nil {
			return err
		}
		t.agreed = time.Now()
	}
	if !t.rate.wait(ctx) {
		return ctx.Err()
	}
	return t.post(ctx, body)
}

// errNotAgreed is a passing failure: the operator of the target may see to it.
var errNotAgreed = errors.New("the target did not agree to be sent events: it has to answer OPTIONS with WebHook-Allowed-Origin")

// handshake asks the target for its consent.
func (t *target) handshake(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodOptions, t.URL, nil)
	if err != nil {
		return err
	}
	r.Header.Set("WebHook-Request-Origin", t.cfg.Origin)
	r.Header.Set("WebHook-Request-Rate", strconv.Itoa(askedRate))
	resp, err := t.cfg.Client.Do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	allowed := resp.Header.Get("WebHook-Allowed-Origin")
	if resp.StatusCode == http.StatusGone {
		return errGone
	}
	if resp.StatusCode/100 != 2 || allowed != "*" && allowed != t.cfg.Origin {
		return fmt.Errorf("%w (it answered %d, origin %q)", errNotAgreed, resp.StatusCode, allowed)
	}
	rate := 0
	if text := resp.Header.Get("WebHook-Allowed-Rate"); text != "" && text != "*" {
		rate, err = strconv.Atoi(text)
		if err != nil || rate <= 0 {
			return fmt.Errorf("%w: WebHook-Allowed-Rate %q", errNotAgreed, text)
		}
	}
	t.rate.set(rate)
	return nil
}

// post sends one signed event.
func (t *target) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", cloudevent.ContentType)
	sign(r, body, t.cfg.Key, t.cfg.KeyID, time.Now())
	resp, err := t.cfg.Client.Do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusGone:
		return errGone
	}
	return &answerError{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"))}
}

// retryAfter reads seconds, at most an hour; dates are not looked at.
func retryAfter(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(n, longestWait)) * time.Second
}
