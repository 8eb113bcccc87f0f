package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/gateway"
)

// subscribe sends a subscribe and returns the height behind which events come.
func (w *wire) subscribe(id uint64, s *abi.Subscription) uint64 {
	w.t.Helper()
	got := w.ask(id, abi.OpSubscribe, abi.AppendSubscription(nil, s))
	if got.Code != abi.OK {
		w.t.Fatalf("subscribe: %v", got.Code)
	}
	e, err := abi.ParseEventFrame(got.Body)
	if err != nil || !e.Mark() {
		w.t.Fatalf("answered %x, %v", got.Body, err)
	}
	return e.Height
}

// event reads a frame of a subscription: "height.index topic", or "height" for a
// mark.
func (w *wire) event(id uint64) string {
	w.t.Helper()
	p := w.receive()
	if p.ID != id || p.Code != abi.OK {
		w.t.Fatalf("response %d with %v", p.ID, p.Code)
	}
	e, err := abi.ParseEventFrame(p.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if e.Mark() {
		return fmt.Sprint(e.Height)
	}
	return fmt.Sprintf("%d.%d %s", e.Height, e.Index, e.Topic)
}

// requireEvents reads frames and holds them against the wanted ones.
func (w *wire) requireEvents(id uint64, want ...string) {
	w.t.Helper()
	for _, s := range want {
		if got := w.event(id); got != s {
			w.t.Errorf("got %q, want %q", got, s)
		}
	}
}

func TestSubscribeGivesWhatIsAndWhatComes(t *testing.T) {
	n := newNode()
	n.add("ring", "stop")
	n.add()
	n.add("ring")
	c := serve(t, n, nil).connect(t, newKey(t))
	after := uint64(5)
	all, rings, now := open(t, c), open(t, c), open(t, c)
	if got := all.subscribe(7, &abi.Subscription{After: &after}); got != 5 {
		t.Errorf("begins behind %d", got)
	}
	rings.subscribe(1, &abi.Subscription{After: &after, Filter: abi.EventFilter{Topic: []byte("ring")}})
	if got := now.subscribe(1, &abi.Subscription{}); got != 8 {
		t.Errorf("begins behind %d", got)
	}
	all.requireEvents(7, "6.0 ring", "6.1 stop", "8.0 ring", "8")
	rings.requireEvents(1, "6.0 ring", "8.0 ring", "8")
	n.add("stop")
	n.add("ring")
	all.requireEvents(7, "9.0 stop")
	now.requireEvents(1, "9.0 stop")
	for _, w := range []*wire{all, rings, now} {
		id := uint64(1)
		if w == all {
			id = 7
		}
		for w.event(id) != "10.0 ring" {
		}
		if got := w.event(id); got != "10" {
			t.Errorf("got %q behind the last event", got)
		}
	}
}

// TestSubscribeReadsHistoryInSteps: what one step does not give the next does.
func TestSubscribeReadsHistoryInSteps(t *testing.T) {
	n := newNode()
	const blocks = 10 * maxNodeBlocks
	for range blocks {
		n.add("ring")
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	after := uint64(5)
	w.subscribe(1, &abi.Subscription{After: &after})
	events := 0
	for last := fmt.Sprint(5 + blocks); ; {
		got := w.event(1)
		if strings.HasSuffix(got, "ring") {
			events++
		}
		if got == last {
			break
		}
	}
	if events != blocks {
		t.Errorf("%d events of %d blocks", events, blocks)
	}
}

func TestSubscribeBeatsWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		p := serveSim(t, n, nil)
		key := newKey(t)
		w := open(t, p.connectWith(t, key, &quic.Config{KeepAlivePeriod: 20 * time.Second}))
		w.subscribe(1, &abi.Subscription{})
		for range 20 {
			began := time.Now()
			w.requireEvents(1, "5")
			if wait := time.Since(began); wait < 14*time.Second || wait > 16*time.Second {
				t.Errorf("a beat after %v", wait)
			}
		}
		n.add()
		w.requireEvents(1, "6") // the next beat tells the height
		p.stop()
	})
}

func TestSubscribeEnds(t *testing.T) {
	t.Run("when the device may not listen any more", func(t *testing.T) {
		n := newNode()
		key := newKey(t)
		n.set(public(key), abi.Standing{Known: true, Account: abi.Hash{1}, Device: abi.StatusActive})
		w := open(t, serve(t, n, nil).connect(t, key))
		w.subscribe(1, &abi.Subscription{})
		n.set(public(key), abi.Standing{Known: true, Account: abi.Hash{1}, Device: abi.StatusSuspended})
		n.add("secret")
		if got := w.receive(); got.Code != abi.CodeDeviceInactive || got.ID != 1 {
			t.Errorf("%+v", got)
		}
		w.requireEnd()
	})
	t.Run("where blocks are not kept", func(t *testing.T) {
		n := newNode()
		n.base = 3
		w := open(t, serve(t, n, nil).connect(t, newKey(t)))
		after := uint64(2)
		w.subscribe(1, &abi.Subscription{After: &after})
		if got := w.receive(); got.Code != abi.CodeNotFound || got.ID != 1 {
			t.Errorf("%+v", got)
		}
		w.requireEnd()
	})
	t.Run("with the server", func(t *testing.T) {
		p := serve(t, newNode(), nil)
		w := open(t, p.connect(t, newKey(t)))
		w.subscribe(1, &abi.Subscription{})
		go p.stop()
		if got := w.receive(); got.Code != abi.CodeShuttingDown || got.ID != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("when the client reads no more", func(t *testing.T) {
		p := serve(t, newNode(), nil)
		w := open(t, p.connect(t, newKey(t)))
		w.subscribe(1, &abi.Subscription{})
		w.CancelRead(0)
		eventually(t, func() bool { return p.Stats().Streams == 0 })
	})
}

// TestSubscriptionsAreBounded: by key and in all; what ends gives its place back.
func TestSubscriptionsAreBounded(t *testing.T) {
	p := serve(t, newNode(), func(c *gateway.Config) { c.MaxSubscriptions = 8 })
	body := abi.AppendSubscription(nil, &abi.Subscription{})
	var first []*wire
	for range 4 {
		c := p.connect(t, newKey(t))
		for range 2 { // a quarter of eight
			w := open(t, c)
			w.subscribe(1, &abi.Subscription{})
			first = append(first, w)
		}
		w := open(t, c)
		if got := w.ask(1, abi.OpSubscribe, body); got.Code != abi.CodeBusy {
			t.Errorf("a third of one key: %v", got.Code)
		}
		if got := w.ask(2, abi.OpStatus, empty); got.Code != abi.OK {
			t.Errorf("the stream of a refused subscribe: %v", got.Code)
		}
	}
	w := open(t, p.connect(t, newKey(t)))
	if got := w.ask(1, abi.OpSubscribe, body); got.Code != abi.CodeBusy {
		t.Errorf("a ninth: %v", got.Code)
	}
	first[0].CancelRead(0)
	id := uint64(1)
	eventually(t, func() bool { id++; return w.ask(id, abi.OpSubscribe, body).Code == abi.OK })
}

// TestHistoryTakesTokens: reading old blocks, also where a filter lets nothing
// pass, is bounded by the key's bucket.
func TestHistoryTakesTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		const blocks = 1000
		for range blocks {
			n.add()
		}
		p := serveSim(t, n, func(c *gateway.Config) { c.RequestRate = 100 })
		w := open(t, p.connect(t, newKey(t)))
		after := uint64(5)
		began := time.Now()
		w.subscribe(1, &abi.Subscription{After: &after, Filter: abi.EventFilter{Topic: []byte("none")}})
		n.add("none")
		w.requireEvents(1, fmt.Sprintf("%d.0 none", 5+blocks+1))
		if took := time.Since(began); took < 8*time.Second || took > 12*time.Second {
			t.Errorf("%d blocks at 100 a second were read in %v", blocks, took)
		}
		p.stop()
	})
}

// TestSlowSubscriber: who reads nothing loses the stream, and holds up nobody.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		big := strings.Repeat("x", 4000)
		for range 200 {
			n.add(big, big)
		}
		p := serveSim(t, n, nil)
		key := newKey(t)
		c := p.connectWith(t, key, &quic.Config{
			KeepAlivePeriod: 20 * time.Second, InitialStreamReceiveWindow: 1 << 10, MaxStreamReceiveWindow: 1 << 10,
		})
		after := uint64(5)
		slow := open(t, c)
		slow.send(request(1, abi.OpSubscribe, abi.AppendSubscription(nil, &abi.Subscription{After: &after})))
		other := open(t, c)
		for range 60 {
			if got := other.ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
				t.Fatal(got.Code)
			}
			<-time.After(time.Second)
		}
		if n := p.Stats().Streams; n != 1 {
			t.Errorf("%d streams are open", n)
		}
		p.stop()
	})
}
