package behaviour

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
)

// A million device ids that are none leave nothing behind, and a million devices
// no more than the budget.
func TestMillionDevices(t *testing.T) {
	w := newWorld(t).open()
	w.quiet = true
	o := &abi.Observation{Kind: abi.ObserveFlows, Payload: emptyArray}
	for n := range many {
		if _, err := w.Report(context.Background(), id(n), o); err != abi.CodeUnknownDevice {
			t.Fatal(err)
		}
	}
	if s := w.Stats(); s.Watched != 0 || s.WatchBytes != 0 || len(w.turns.queues) != 0 {
		t.Fatalf("%+v", s)
	}
	record := make([]byte, abi.MaxLocal)
	everyone := ledger.Judged{Opinions: []ledger.Opinion{{Contract: "guard", Judgement: abi.Judgement{Timer: 60_000}, Local: record, Written: true}}}
	for n := range many {
		s := sight{Observation: abi.Observation{Kind: abi.ObserveFlows, Device: id(n)}}
		if n%10 == 0 {
			record = make([]byte, n%abi.MaxLocal)
			everyone.Opinions[0].Local = record
		}
		w.watches.settle(&s, &everyone, w.now(), true)
	}
	s := w.Stats()
	if s.WatchBytes > DefaultWatchBytes || s.Watched+int(s.Forgotten) != many || s.Alarms != s.Watched || s.Watched < 900 {
		t.Errorf("%+v", s)
	}
	sum := 0
	for x := w.watches.oldest; x != nil; x = x.newer {
		sum += x.bytes()
	}
	if sum != s.WatchBytes {
		t.Errorf("%d bytes are counted, there are %d", s.WatchBytes, sum)
	}
}

// What is counted for a watch is what the heap has for it.
func TestWatchCost(t *testing.T) {
	for _, c := range []struct{ contracts, local int }{{1, 0}, {1, 200}, {4, 200}, {1, 4096}} {
		w := newWorld(t)
		w.cfg.WatchBytes = 1 << 30
		w.open()
		const devices = 2000
		before := heapBytes()
		for n := range devices {
			var j ledger.Judged
			for k := range c.contracts {
				j.Opinions = append(j.Opinions, ledger.Opinion{
					Contract: fmt.Sprint("guard-", k), Judgement: abi.Judgement{Timer: 60_000}, Local: make([]byte, c.local), Written: true,
				})
			}
			s := sight{Observation: abi.Observation{Kind: abi.ObserveFlows, Device: id(n)}}
			w.watches.settle(&s, &j, w.now(), true)
		}
		took, counted := int(heapBytes()-before), w.Stats().WatchBytes
		t.Logf("%d contracts with records of %d bytes: %d bytes a device, %d counted", c.contracts, c.local, took/devices, counted/devices)
		if took > counted*5/4 || took < counted/2 {
			t.Errorf("%d contracts with records of %d bytes: %d bytes, %d counted", c.contracts, c.local, took, counted)
		}
		runtime.KeepAlive(w)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Contracts that are bound no more are forgotten with their records and timers.
func TestUnbinding(t *testing.T) {
	w := newWorld(t).open()
	w.bind(id(1), counts("a", time.Hour), counts("b", time.Hour))
	w.report(id(1), abi.ObserveFlows)
	w.bind(id(1), counts("b", time.Hour), counts("c", 0))
	w.report(id(1), abi.ObserveFlows)
	if _, ok := w.watches.local(id(1), "a"); ok || w.Stats().Alarms != 1 {
		t.Errorf("a is known: %v, %d alarms", ok, w.Stats().Alarms)
	}
	if local, _ := w.watches.local(id(1), "b"); local[0] != 2 {
		t.Errorf("b's record is %x", local)
	}
	w.bind(id(1))
	w.report(id(1), abi.ObserveFlows)
	if s := w.Stats(); s.Watched != 0 || s.WatchBytes != 0 || s.Alarms != 0 {
		t.Errorf("%+v", s)
	}
}

// A failed contract's record stays, and so does its timer.
func TestFailureKeepsRecord(t *testing.T) {
	w := newWorld(t).open()
	w.bind(id(1), counts("guard", time.Hour))
	w.report(id(1), abi.ObserveFlows)
	w.bind(id(1), guard{"guard", func(*abi.Observation, []byte) ledger.Opinion {
		return ledger.Opinion{Code: abi.CodeOutOfGas, Judgement: abi.Judgement{Level: abi.LevelAlert, ReasonID: "out-of-gas"}}
	}})
	if j := w.report(id(1), abi.ObserveFlows); j.Level != abi.LevelAlert || w.outgoing.len() != 1 {
		t.Errorf("%+v, %d to be told", j, w.outgoing.len())
	}
	if local, ok := w.watches.local(id(1), "guard"); !ok || local[0] != 1 || w.Stats().Alarms != 1 {
		t.Errorf("record %x, %d alarms", local, w.Stats().Alarms)
	}
}

// What contracts said before the node failed counts.
func TestPartialJudgement(t *testing.T) {
	w := newWorld(t)
	w.cfg.Ledger = broken{ledger.Judged{Opinions: []ledger.Opinion{{Contract: "a", Judgement: abi.Judgement{Level: abi.LevelQuarantine}}}}}
	w.open()
	_, err := w.Report(context.Background(), id(1), &abi.Observation{Kind: abi.ObserveFlows, Payload: emptyArray})
	if _, _, ok := w.Isolated(id(1)); !ok || !errors.Is(err, abi.CodeInternal) || w.Stats().Failed != 1 {
		t.Errorf("%v, %v", ok, err)
	}
}

type broken struct{ judged ledger.Judged }

func (b broken) Observe(context.Context, *ledger.Watch) (ledger.Judged, error) {
	return b.judged, abi.CodeInternal
}

// A device's observations are judged one after the other; who waits may give up,
// and too many do not even wait.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Parallel = 2
		w.open()
		release := make(chan struct{})
		w.bind(id(1), guard{"slow", func(*abi.Observation, []byte) (x ledger.Opinion) { <-release; return x }})
		w.bind(id(2), counts("quick", 0))
		o := &abi.Observation{Kind: abi.ObserveFlows, Payload: emptyArray}
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan error, 100)
		for range maxWaiting + 1 {
			go func() { _, err := w.Report(ctx, id(1), o); results <- err }()
		}
		synctest.Wait()
		if _, err := w.Report(ctx, id(1), o); !errors.Is(err, abi.CodeBusy) {
			t.Errorf("one more: %v", err)
		}
		w.report(id(2), abi.ObserveFlows)
		cancel()
		synctest.Wait()
		if len(results) != maxWaiting {
			t.Errorf("%d gave up", len(results))
		}
		for range maxWaiting {
			if err := <-results; !errors.Is(err, abi.CodeTimeout) {
				t.Error(err)
			}
		}
		close(release)
		if err := <-results; err != nil || len(w.turns.queues) != 0 {
			t.Errorf("%v, %d queues", err, len(w.turns.queues))
		}
	})
}

// However many devices report to slow contracts, so many are judged at a time;
// whose time is over meanwhile hears of it.
func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Parallel = 2
		w.open()
		running, most := 0, 0
		slow := guard{"slow", func(*abi.Observation, []byte) (x ledger.Opinion) {
			w.with(func() { running++; most = max(most, running) })
			<-time.After(time.Second) // virtual
			w.with(func() { running-- })
			return x
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		results := make(chan error, 10)
		for n := range 10 {
			w.bind(id(n), slow)
			go func() {
				_, err := w.Report(ctx, id(n), &abi.Observation{Kind: abi.ObserveFlows, Payload: emptyArray})
				results <- err
			}()
		}
		judged := 0
		for range 10 {
			if err := <-results; err == nil {
				judged++
			} else if !errors.Is(err, abi.CodeTimeout) {
				t.Error(err)
			}
		}
		if most != 2 || judged != 6 || len(w.turns.queues) != 0 || len(w.slots) != 0 {
			t.Errorf("%d at a time, %d judged", most, judged)
		}
	})
}

// At most so many devices are isolated; others are told of all the same.
func TestIsolationIsBounded(t *testing.T) {
	w := newWorld(t).open()
	o := &ledger.Opinion{Contract: "guard", Judgement: abi.Judgement{Level: abi.LevelQuarantine}}
	for n := range maxIsolated + 5 {
		w.isolate(id(n), o)
	}
	if s := w.Stats(); s.Isolated != maxIsolated || s.IsolationsRefused != 5 || s.Alarms != maxIsolated {
		t.Errorf("%+v", s)
	}
	if _, _, ok := w.Isolated(id(0)); !ok {
		t.Error("the first is free")
	}
}

func TestAttacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		elapse(30 * time.Second)
		for n := range 100_000 { // a flood from everywhere, and one that is worse
			w.Attack(AttackHandshakeFlood, fmt.Sprint("198.51.100.", n))
			w.Attack(AttackHandshakeFlood, "203.0.113.7")
		}
		for range alertFrom - 1 {
			w.Attack(AttackBadSignatures, "a fault, no attack")
		}
		if list := w.took(); len(list) != 0 {
			t.Errorf("told at once: %+v", list)
		}
		elapse(30 * time.Second)
		list := w.took()
		if len(list) != 1 || list[0].alert.Kind != AttackHandshakeFlood || list[0].alert.Count != 200_000 {
			t.Fatalf("%+v", list)
		}
		exhibit, ok := w.Evidence(list[0].alert.Evidence)
		a, err := ParseAttackAccount(exhibit)
		if !ok || err != nil || a.Kind != AttackHandshakeFlood || a.Count != 200_000 || a.Sources[0].From != "203.0.113.7" || a.Until-a.Since != 30_000 {
			t.Errorf("evidence %+v, %v, %v", a, ok, err)
		}
		for range 10 * 60 { // ten minutes more
			for range alertFrom {
				w.Attack(AttackHandshakeFlood, "203.0.113.7")
			}
			elapse(time.Second)
		}
		if list := w.took(); len(list) != 10 {
			t.Errorf("told %d times in ten minutes", len(list))
		}
		elapse(time.Hour)
		if list := w.took(); len(list) != 0 {
			t.Errorf("told of nothing: %+v", list)
		}
	})
}

// Kinds and origins come from the program, but what they hold may not.
func TestHostileAttacks(t *testing.T) {
	w := newWorld(t).open()
	for n := range 1000 {
		w.Attack(fmt.Sprint("kind-", n), "")
		w.Attack(strings.Repeat("x", 1<<16), "")
		w.Attack("Not A Name", "")
		for range alertFrom {
			w.Attack(AttackMalformedFrames, strings.Repeat("\xff\xe2\x82", 1000)+fmt.Sprint(n))
		}
	}
	s := w.Stats()
	if len(s.Attacks) != chain.MaxAlertKinds {
		t.Errorf("%d kinds", len(s.Attacks))
	}
	_, account := w.attacks.end(AttackMalformedFrames, 0)
	if err := cbor.Validate(account); err != nil || len(account) > maxSources*(3*maxFrom+16)+100 {
		t.Errorf("%d bytes: %v", len(account), err)
	}
}

// What isolates devices goes before alerts and takes their place; the line is
// bounded.
func TestOutgoingIsBounded(t *testing.T) {
	var q outgoing
	q.init()
	lost := 0
	for range 3 * maxOutgoing {
		lost += q.put(message{})
	}
	for range 2 * maxOutgoing {
		lost += q.put(message{grave: true})
	}
	if q.len() != maxOutgoing || lost != 4*maxOutgoing {
		t.Errorf("%d wait, %d lost", q.len(), lost)
	}
	for range maxOutgoing {
		if x, ok := q.take(true); !ok || !x.grave {
			t.Fatal("an alert before a grave message")
		}
	}
}

// Alerts are paced, grave verdicts are not; what a busy ledger refuses is tried
// again until it is of no more use.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		for n := range 60 {
			level := abi.LevelAlert
			if n >= 30 {
				level = abi.LevelQuarantine
			}
			w.bind(id(n), says("guard", abi.Judgement{Level: level}))
			w.report(id(n), abi.ObserveFlows)
		}
		begin := time.Now()
		list := w.took()
		if len(list) != 31 {
			t.Errorf("%d at once", len(list))
		}
		elapse(time.Minute)
		list = w.took()
		if len(list) != 29 || list[28].at.Sub(begin) != 29*alertPace {
			t.Errorf("%d later, the last after %v", len(list), list[len(list)-1].at.Sub(begin))
		}
		w.with(func() { w.refuse = fmt.Errorf("full: %w", abi.CodeBusy) })
		w.report(id(40), abi.ObserveFlows)
		elapse(5 * time.Second)
		w.with(func() { w.refuse = nil })
		elapse(2 * retryEvery)
		if list := w.took(); len(list) != 1 || list[0].verdict.Device != id(40) {
			t.Errorf("after a busy time: %+v", list)
		}
		w.with(func() { w.refuse = abi.CodeBusy })
		w.report(id(41), abi.ObserveFlows)
		elapse(staleAfter + time.Minute)
		w.with(func() { w.refuse = abi.CodeNotReady })
		w.report(id(42), abi.ObserveFlows)
		elapse(time.Minute)
		w.with(func() { w.refuse = nil })
		elapse(time.Minute)
		if list := w.took(); len(list) != 0 || w.Stats().Lost != 2 {
			t.Errorf("%+v, %d lost", list, w.Stats().Lost)
		}
	})
}

// Everything at once, for the race detector, and the books balance at the end.
func TestHammer(t *testing.T) {
	w := newWorld(t)
	w.cfg.Dir, w.cfg.WatchBytes, w.cfg.EvidenceBytes, w.quiet = t.TempDir(), 64<<10, 32<<10, true
	stop := w.run()
	for n := range 200 {
		level := abi.Level(n % 4)
		w.bind(id(n), counts("a", time.Duration(n)*time.Millisecond), says("b", abi.Judgement{Level: level, Timer: 1}))
	}
	var all sync.WaitGroup
	for seed := range uint64(8) {
		all.Go(func() {
			g := rand.New(rand.NewPCG(seed, 1))
			for range 500 {
				device := id(g.IntN(220))
				switch g.IntN(8) {
				case 0:
					w.Denied(device, "doors", abi.CodeDenied, "open", "door")
				case 1:
					w.Attack(AttackBadSignatures, fmt.Sprint(g.IntN(50)))
				case 2:
					w.Isolated(device)
					w.Release(device)
				case 3:
					w.Stats()
				case 4:
					w.Evidence(id(1))
				default:
					w.Report(context.Background(), device, &abi.Observation{Kind: abi.ObserveFlows, Payload: emptyArray})
				}
			}
		})
	}
	all.Wait()
	stop()
	sum := 0
	for x := w.watches.oldest; x != nil; x = x.newer {
		sum += x.bytes()
	}
	if s := w.Stats(); sum != s.WatchBytes || s.WatchBytes > w.cfg.WatchBytes || len(w.turns.queues) != 0 {
		t.Errorf("%d bytes, %+v", sum, s)
	}
}
