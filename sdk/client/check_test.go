package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// asks requires that a check permits, and that the gateway is asked for it or not.
func asks(t *testing.T, c *client.Client, n *counted, asked int) {
	t.Helper()
	before := n.count()
	a, err := c.Check(t.Context(), "", request())
	if err != nil || !a.Permit {
		t.Errorf("Check: %+v, %v", a, err)
	}
	if got := n.count() - before; got != asked {
		t.Errorf("the gateway was asked %d times, want %d", got, asked)
	}
}

// settle lets the subscription come to stand and asks once, so that the permit is
// kept.
func settle(t *testing.T, c *client.Client, n *counted) {
	t.Helper()
	asks(t, c, n, 1)
	elapse(time.Second)
	asks(t, c, n, 1)
	asks(t, c, n, 0)
}

// holding runs a test of a device that keeps a permit of some life, which the
// gateway gave it.
func holding(t *testing.T, life time.Duration, test func(t *testing.T, h *holder)) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		h := &holder{air: a, ledger: l, gateway: g}
		l.decide = h.asked.permit(l, life)
		h.client, h.key = a.device(l, g.addr)
		settle(t, h.client, &h.asked)
		test(t, h)
	})
}

type holder struct {
	air     *air
	ledger  *ledger
	gateway *site
	client  *client.Client
	key     *key.Key
	asked   counted
}

// deniedForWantOfAGateway: the handshake and the request give up at the same time,
// and either may say so.
func deniedForWantOfAGateway(t *testing.T, answer abi.Answer, err error) {
	t.Helper()
	if answer.Permit || err == nil || answer.Code != abi.CodeTimeout && answer.Code != abi.CodeUnavailable || !errors.Is(err, answer.Code) {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestPermitsLiveForTheirTime(t *testing.T) {
	holding(t, 10*time.Second, func(t *testing.T, h *holder) {
		elapse(9 * time.Second)
		answer, err := h.client.Check(t.Context(), abi.DefaultDomain, request())
		if err != nil || answer.TTL > 1000 || answer.TTL < 900 || answer.Staleness < 9000 {
			t.Errorf("after nine seconds: %+v, %v", answer, err)
		}
		elapse(time.Second)
		asks(t, h.client, &h.asked, 1)
		other := request()
		other.Resource.ID = "8"
		if _, err := h.client.Check(t.Context(), "", other); err != nil || h.asked.count() != 4 {
			t.Errorf("another request: asked %d times, %v", h.asked.count(), err)
		}
		if _, err := h.client.Check(t.Context(), "garage", request()); err != nil || h.asked.count() != 5 {
			t.Errorf("another domain: asked %d times, %v", h.asked.count(), err)
		}
	})
}

// A status event of the device ends what is kept, at once.
func TestNoPermitAfterAStatusEvent(t *testing.T) {
	holding(t, time.Hour, func(t *testing.T, h *holder) {
		h.ledger.happen(statusEvent(h.key.AccountID(), abi.StatusQuarantined))
		h.ledger.with(func() {
			h.ledger.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
				return abi.Answer{Code: abi.CodeDeviceInactive}
			}
		})
		elapse(100 * time.Millisecond)
		if answer, err := h.client.Check(t.Context(), "", request()); answer.Permit || answer.Code != abi.CodeDeviceInactive {
			t.Errorf("after the quarantine: %+v, %v", answer, err)
		}
	})
}

// A quarantined device is sent away: the permit dies with the connection, and the
// device learns why.
func TestQuarantineTellsWhy(t *testing.T) {
	holding(t, time.Hour, func(t *testing.T, h *holder) {
		why := make(chan error, 1)
		go func() {
			for _, err := range h.client.Subscribe(abi.EventFilter{}, nil).Events(t.Context()) {
				why <- err
			}
		}()
		elapse(time.Second)
		h.ledger.with(func() {
			h.ledger.standing[string(h.key.Public())] = abi.Standing{Known: true, Account: h.key.AccountID(), Device: abi.StatusQuarantined, Reason: "scans the network"}
		})
		h.gateway.Recheck(h.key.AccountID())
		elapse(100 * time.Millisecond)
		var inactive *client.InactiveError
		if err := <-why; !errors.As(err, &inactive) || inactive.Status != abi.StatusQuarantined || inactive.Reason != "scans the network" {
			t.Errorf("the subscription ended with %v", err)
		}
		answer, err := h.client.Check(t.Context(), "", request())
		if answer.Permit || answer.Code != abi.CodeDeviceInactive {
			t.Errorf("%+v, %v", answer, err)
		}
		require(t, err, abi.CodeDeviceInactive)
		status, err := h.client.Status(t.Context())
		if err != nil || status.Device != abi.StatusQuarantined || status.Reason != "scans the network" {
			t.Errorf("Status: %+v, %v", status, err)
		}
	})
}

func TestNoPermitWithoutTheConnection(t *testing.T) {
	holding(t, time.Hour, func(t *testing.T, h *holder) {
		h.gateway.stop()
		answer, err := h.client.Check(t.Context(), "", request())
		deniedForWantOfAGateway(t, answer, err)
	})
}

// A gateway that falls silent is noticed by the heartbeats that do not come, long
// before the connection's own timeout.
func TestNoPermitFromASilentGateway(t *testing.T) {
	holding(t, time.Hour, func(t *testing.T, h *holder) {
		h.air.cutOff(h.gateway.addr, true)
		elapse(21 * time.Second)
		answer, err := h.client.Check(t.Context(), "", request())
		deniedForWantOfAGateway(t, answer, err)
	})
}

// What was decided before a block is asked anew once the block is known of: the
// policy may be another.
func TestNoPermitFromBeforeABlock(t *testing.T) {
	holding(t, time.Hour, func(t *testing.T, h *holder) {
		h.ledger.happen()
		elapse(abi.EventHeartbeat*time.Millisecond + time.Second)
		asks(t, h.client, &h.asked, 1)
		asks(t, h.client, &h.asked, 0)
	})
}

// An answer to anything else tells of the block as well.
func TestNoPermitFromBelowAnAnswer(t *testing.T) {
	holding(t, time.Hour, func(t *testing.T, h *holder) {
		h.ledger.happen()
		asks(t, h.client, &h.asked, 0) // it cannot know yet
		if _, err := h.client.Check(t.Context(), "", client.Ask("open", "door", "another")); err != nil {
			t.Fatal(err)
		}
		asks(t, h.client, &h.asked, 1)
		asks(t, h.client, &h.asked, 0)
	})
}

// A permit that was on its way while the status changed is not kept.
func TestPermitOvertakenByAnEventIsNotKept(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		var n counted
		quick := n.permit(l, time.Hour)
		l.decide = quick
		c, k := a.device(l, g.addr)
		asks(t, c, &n, 1)
		elapse(time.Second)
		l.with(func() {
			l.decide = func(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
				answer := quick(ctx, caller, domain, request)
				l.happen(statusEvent(k.AccountID(), abi.StatusActive))
				elapse(time.Second)
				answer.Height = l.height()
				return answer
			}
		})
		asks(t, c, &n, 1)
		l.with(func() { l.decide = quick })
		asks(t, c, &n, 1)
		asks(t, c, &n, 0)
	})
}

func TestWhatIsNeverKept(t *testing.T) {
	for name, test := range map[string]struct {
		answer abi.Answer
		ask    func(*abi.DecisionRequest)
		config client.Config
	}{
		"a denial":                     {answer: abi.Answer{Code: abi.CodeDenied, TTL: 60_000}},
		"a permit that may not live":   {answer: abi.Answer{Permit: true}},
		"a permit from an older state": {answer: abi.Answer{Permit: true, TTL: 60_000, Height: 1}},
		"a permit for somebody else": {answer: abi.Answer{Permit: true, TTL: 60_000, Height: 2},
			ask: func(q *abi.DecisionRequest) { q.Subject = &abi.Entity{Type: "user", ID: "ann"} }},
		"where none are kept": {answer: abi.Answer{Permit: true, TTL: 60_000, Height: 2}, config: client.Config{MaxPermits: -1}},
		"what has become too stale": {answer: abi.Answer{Permit: true, TTL: 60_000, Height: 2, Staleness: 900},
			config: client.Config{MaxStaleness: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
				l.happen()
				l.happen()
				var asked atomic.Int32
				l.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer { asked.Add(1); return test.answer }
				k := newKey(t)
				l.enrol(k, abi.StatusActive)
				c := a.client(l, k, test.config, g.addr)
				q := request()
				if test.ask != nil {
					test.ask(q)
				}
				for range 3 {
					if answer, err := c.Check(t.Context(), "", q); answer.Permit != test.answer.Permit {
						t.Errorf("%+v, %v", answer, err)
					}
					elapse(time.Second)
				}
				if n := asked.Load(); n != 3 {
					t.Errorf("the gateway was asked %d times of 3", n)
				}
			})
		})
	}
}

func TestPermitsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		var n counted
		l.decide = n.permit(l, time.Hour)
		k := newKey(t)
		l.enrol(k, abi.StatusActive)
		c := a.client(l, k, client.Config{MaxPermits: 2}, g.addr)
		asks(t, c, &n, 1)
		elapse(time.Second)
		for i := range 5 {
			if _, err := c.Check(t.Context(), "", client.Ask("open", "door", name("d", i))); err != nil {
				t.Fatal(err)
			}
			elapse(time.Second)
		}
		before := n.count()
		for i := range 5 {
			if _, err := c.Check(t.Context(), "", client.Ask("open", "door", name("d", 4-i))); err != nil {
				t.Fatal(err)
			}
		}
		if got := n.count() - before; got < 3 || got == 5 {
			t.Errorf("of five requests %d were asked again, and two permits may be kept", got)
		}
	})
}

// Without a gateway a device is denied, and told why.
func TestCheckOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, l := newAir(t), newLedger(t)
		c, _ := a.device(l, "10.9.9.9:7433")
		answer, err := c.Check(t.Context(), "", request())
		deniedForWantOfAGateway(t, answer, err)
	})
}

// Goroutines that check at once while permits come and go.
func TestCheckAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		var n counted
		l.decide = n.permit(l, 200*time.Millisecond)
		c, k := a.device(l, g.addr)
		many(8, func(i int) {
			for turn := range 50 {
				if answer, err := c.Check(t.Context(), "", client.Ask("open", "door", name("d", i%3))); err != nil || !answer.Permit {
					t.Errorf("%+v, %v", answer, err)
				}
				elapse(7 * time.Millisecond)
				if i == 0 && turn%10 == 0 {
					l.happen(statusEvent(k.AccountID(), abi.StatusActive))
				}
			}
		})
		if asked := n.count(); asked >= 400 {
			t.Errorf("nothing was kept: asked %d times", asked)
		}
	})
}
