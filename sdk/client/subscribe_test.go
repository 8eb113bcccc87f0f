package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/client"
)

// event is an event of a contract with a topic.
func event(topic string) abi.EventFrame {
	return abi.EventFrame{Contract: "c", Topic: []byte(topic), Data: []byte("x")}
}

// gather follows events until ctx ends, as "height.index topic".
func gather(ctx context.Context, s *client.Subscription) (list []string, err error) {
	for e, failed := range s.Events(ctx) {
		if failed != nil {
			return list, failed
		}
		list = append(list, fmt.Sprintf("%d.%d %s", e.Height, e.Index, e.Topic))
	}
	return list, nil
}

func at(height uint64) *uint64 { return &height }

func TestSubscriptionGivesEachEventOnceOverGateways(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		second := newKey(t)
		l.addGateway(second)
		other := a.gateway(l, second, a.socket())
		c, _ := a.device(l, g.addr, other.addr)
		l.happen(event("a"), event("b")) // block 2
		s := c.Subscribe(abi.EventFilter{}, at(0))
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan []string)
		go func() {
			list, err := gather(ctx, s)
			if err != nil {
				t.Error(err)
			}
			got <- list
		}()
		elapse(time.Second)
		l.happen(event("c"))
		l.happen()
		elapse(time.Second)
		g.stop()
		l.happen(event("d"), event("e")) // block 5, which nobody tells at once
		elapse(40 * time.Second)
		l.happen(event("f"))
		elapse(time.Minute)
		if s.After() != 6 {
			t.Errorf("after height %d", s.After())
		}
		cancel()
		want := []string{"2.0 a", "2.1 b", "3.0 c", "5.0 d", "5.1 e", "6.0 f"}
		if list := <-got; !slices.Equal(list, want) {
			t.Errorf("%v, want %v", list, want)
		}
	})
}

// A subscription that its user leaves goes on where it was, and so does another
// that is given the height.
func TestSubscriptionGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		c, _ := a.device(l, g.addr)
		l.happen(event("a"), event("b"), event("c"))
		s := c.Subscribe(abi.EventFilter{}, at(0))
		for e, err := range s.Events(t.Context()) {
			if err != nil || string(e.Topic) != "a" {
				t.Errorf("%+v, %v", e, err)
			}
			break
		}
		if s.After() != 0 {
			t.Errorf("after height %d, in the middle of block 1", s.After())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if list, err := gather(ctx, s); err != nil || !slices.Equal(list, []string{"1.1 b", "1.2 c"}) {
			t.Errorf("%v, %v", list, err)
		}
		l.happen(event("d"))
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if list, err := gather(ctx, c.Subscribe(abi.EventFilter{}, at(s.After()))); err != nil || !slices.Equal(list, []string{"2.0 d"}) {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// Without a height it begins with the next block, also when the connection is lost
// before one came.
func TestSubscriptionFromNow(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		conn := a.socket()
		second := newKey(t)
		l.addGateway(second)
		other := a.gateway(l, second, conn)
		c, _ := a.device(l, g.addr, other.addr)
		l.happen(event("old"))
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan []string)
		go func() {
			list, _ := gather(ctx, c.Subscribe(abi.EventFilter{Topic: []byte("new")}, nil))
			got <- list
		}()
		elapse(time.Second)
		g.stop()
		l.happen(event("new"), event("unasked"))
		elapse(time.Minute)
		cancel()
		if list := <-got; !slices.Equal(list, []string{"3.0 new"}) {
			t.Errorf("%v", list)
		}
	})
}

func TestSubscriptionEndsWhereItCannotGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		c, _ := a.device(l, g.addr)
		l.happen(event("a"))
		l.happen(event("b"))
		l.with(func() { l.pruned = 1 })
		_, err := gather(t.Context(), c.Subscribe(abi.EventFilter{}, at(0)))
		require(t, err, abi.CodeNotFound)
		stranger := a.client(l, newKey(t), client.Config{}, g.addr)
		_, err = gather(t.Context(), stranger.Subscribe(abi.EventFilter{}, at(1)))
		require(t, err, abi.CodeUnknownKey)
		c.Close()
		_, err = gather(t.Context(), c.Subscribe(abi.EventFilter{}, at(1)))
		require(t, err, abi.CodeUnavailable)
	})
}

// A third subscription on a connection waits for one of the two to end.
func TestSubscriptionsLeaveRoomForRequests(t *testing.T) {
	bubble(t, func(t *testing.T, a *air, l *ledger, g *site) {
		l.decide = permit
		c, _ := a.device(l, g.addr)
		l.happen(event("a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go gather(ctx, c.Subscribe(abi.EventFilter{}, at(0)))
		short, end := context.WithTimeout(t.Context(), 10*time.Second)
		defer end()
		go gather(short, c.Subscribe(abi.EventFilter{}, at(0)))
		elapse(time.Second)
		for range 20 {
			if _, err := c.Decide(t.Context(), "", request()); err != nil {
				t.Error(err)
			}
		}
		if list, err := gather(ctx, c.Subscribe(abi.EventFilter{}, at(0))); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// What a gateway that lies about events gets: it is left, and nothing twice or out
// of order reaches the caller.
func TestHostileEvents(t *testing.T) {
	frame := func(height, index uint64) []byte {
		return abi.AppendEventFrame(nil, &abi.EventFrame{Height: height, Index: index, ID: abi.Hash{1}, Topic: []byte("t")})
	}
	mark := func(height uint64) []byte { return abi.AppendEventFrame(nil, &abi.EventFrame{Height: height}) }
	for name, test := range map[string]struct {
		frames [][]byte
		id     uint64
		given  int
	}{
		"begins elsewhere":          {frames: [][]byte{mark(3), frame(4, 0)}},
		"an event instead":          {frames: [][]byte{frame(6, 0)}},
		"an event from before":      {frames: [][]byte{mark(5), frame(5, 0)}},
		"an event twice":            {frames: [][]byte{mark(5), frame(6, 0), frame(6, 0)}, given: 1},
		"events in the wrong order": {frames: [][]byte{mark(5), frame(6, 1), frame(6, 0)}, given: 1},
		"a mark backwards":          {frames: [][]byte{mark(5), frame(7, 0), mark(6)}, given: 1},
		"an event under a mark":     {frames: [][]byte{mark(5), mark(9), frame(8, 0)}},
		"another request's":         {frames: [][]byte{mark(5), frame(6, 0)}, id: 7},
		"no event at all":           {frames: [][]byte{mark(5), cbor.AppendUint(nil, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			tries := make(chan bool, 100)
			address := script(t, l, func(w *quic.Stream, q abi.Request) {
				for _, f := range test.frames {
					id := q.ID
					if test.id != 0 {
						id = test.id
					}
					respond(w, &abi.Response{ID: id, Body: f})
				}
				tries <- true
			})
			c, _ := dial(t, l, address)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-tries
				<-tries // it came again, so the first was over
				cancel()
			}()
			list, err := gather(ctx, c.Subscribe(abi.EventFilter{}, at(5)))
			if err != nil || len(list) != test.given {
				t.Errorf("given %v, %v", list, err)
			}
		})
	}
}

// The text that closes a connection reaches people, and nothing of it their
// terminals.
func TestInactiveErrorText(t *testing.T) {
	for text, want := range map[string]struct {
		status abi.Status
		reason string
	}{
		"quarantined: port scan":     {abi.StatusQuarantined, "port scan"},
		"stolen":                     {abi.StatusStolen, ""},
		"isolated: mud: port 23":     {0, "isolated: mud: port 23"},
		"":                           {0, ""},
		"suspended: \x1b[2Jbell\x07": {abi.StatusSuspended, "[2Jbell"},
		"\xff\xfe: x":                {0, ": x"},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLedger(t)
			a := newAir(t)
			c := a.client(l, newKey(t), client.Config{Timeout: time.Second}, closing(a, l, text))
			_, err := c.Status(t.Context())
			var inactive *client.InactiveError
			if !errors.As(err, &inactive) || inactive.Status != want.status || inactive.Reason != want.reason {
				t.Errorf("%q: %v", text, err)
			}
			if err != nil && strings.ContainsAny(inactive.Error(), "\x1b\x07") {
				t.Errorf("%q", err)
			}
			require(t, err, abi.CodeDeviceInactive)
		})
	}
}
