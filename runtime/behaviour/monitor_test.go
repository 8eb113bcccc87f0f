package behaviour

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/ledger"
)

func TestReportIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		w.bind(id(1), counts("guard", 0), says("other", abi.Judgement{Score: -7}))
		w.bind(id(2))
		w.report(id(1), abi.ObserveTelemetry)
		w.report(id(1), abi.ObserveFlows)
		w.report(id(2), abi.ObserveLocation)
		if want := []string{"guard telemetry", "other telemetry", "guard flows", "other flows"}; !slices.Equal(w.questions(), want) {
			t.Errorf("asked %q", w.questions())
		}
		if local, ok := w.watches.local(id(1), "guard"); !ok || local[0] != 2 {
			t.Errorf("the record is %x, %v", local, ok)
		}
		if s := w.Stats(); s.Reports[abi.LevelFine] != 2 || s.Unjudged != 1 || s.Watched != 1 || len(w.took()) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What cannot be an observation reaches no contract, and has a code.
func TestReportRefuses(t *testing.T) {
	w := newWorld(t).open()
	w.bind(id(1), counts("guard", 0))
	huge := cbor.AppendBytes(cbor.AppendArray(nil, 1), make([]byte, abi.MaxObservation))
	for _, c := range []struct {
		device  abi.Hash
		kind    abi.ObservationKind
		payload []byte
		want    abi.Code
	}{
		{id(1), abi.ObserveSilence, emptyArray, abi.CodeBadArgument},
		{id(1), abi.ObserveDenial, emptyArray, abi.CodeBadArgument},
		{id(1), 0, emptyArray, abi.CodeBadArgument},
		{id(1), 200, emptyArray, abi.CodeBadArgument},
		{id(1), abi.ObserveFlows, nil, abi.CodeMalformed},
		{id(1), abi.ObserveFlows, []byte{0xa0}, abi.CodeMalformed},
		{id(1), abi.ObserveFlows, []byte{0x80, 0x80}, abi.CodeMalformed},
		{id(1), abi.ObserveFlows, []byte(strings.Repeat("\x81", 60_000)), abi.CodeMalformed},
		{id(1), abi.ObserveFlows, huge, abi.CodeTooLarge},
		{id(9), abi.ObserveFlows, emptyArray, abi.CodeUnknownDevice},
	} {
		_, err := w.Report(context.Background(), c.device, &abi.Observation{Kind: c.kind, Payload: c.payload})
		if !errors.Is(err, c.want) {
			t.Errorf("%v of %d bytes: %v, want %v", c.kind, len(c.payload), err, c.want)
		}
	}
	if len(w.questions()) != 0 || w.Stats().Watched != 0 {
		t.Errorf("asked %q", w.questions())
	}
}

// The device and the time are this gateway's, whatever the observation says.
func TestReportIsStamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t).open()
		var seen abi.Observation
		w.bind(id(1), guard{"guard", func(o *abi.Observation, _ []byte) (x ledger.Opinion) { seen = *o; return x }})
		_, err := w.Report(context.Background(), id(1), &abi.Observation{Kind: abi.ObserveFlows, Device: id(2), Time: 5, Payload: emptyArray})
		if err != nil || seen.Device != id(1) || seen.Time != time.Now().UnixMilli() {
			t.Errorf("%+v, %v", seen, err)
		}
	})
}

func TestVerdictIsToldOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		alert := abi.Judgement{Level: abi.LevelAlert, Score: 4, ReasonID: "foreign-flow"}
		w.bind(id(1), says("a", alert), says("b", alert))
		w.bind(id(2), says("a", alert))
		for range 50 {
			w.report(id(1), abi.ObserveFlows)
			elapse(time.Second)
		}
		w.report(id(2), abi.ObserveFlows)
		elapse(5 * time.Second)
		list := w.took()
		if len(list) != 3 || list[0].verdict.Contract != "a" || list[1].verdict.Contract != "b" || list[2].verdict.Device != id(2) {
			t.Fatalf("%+v", list)
		}
		v := list[0].verdict
		if v.Device != id(1) || v.Level != abi.LevelAlert || v.Score != 4 || v.ReasonID != "foreign-flow" {
			t.Errorf("%+v", v)
		}
		exhibit, ok := w.Evidence(v.Evidence)
		o, err := abi.ParseObservation(exhibit)
		if !ok || err != nil || sha256.Sum256(exhibit) != v.Evidence || o.Device != id(1) || o.Kind != abi.ObserveFlows {
			t.Errorf("evidence %+v, %v, %v", o, ok, err)
		}
		// Another level is told at once, the same one after a minute.
		w.bind(id(1), says("a", abi.Judgement{Level: abi.LevelQuarantine}), says("b", alert))
		w.report(id(1), abi.ObserveFlows)
		if list := w.took(); len(list) != 1 || list[0].verdict.Level != abi.LevelQuarantine {
			t.Errorf("%+v", list)
		}
		elapse(10 * time.Second)
		w.report(id(1), abi.ObserveFlows)
		elapse(time.Second)
		if list := w.took(); len(list) != 1 || list[0].verdict.Contract != "b" {
			t.Errorf("%+v", list)
		}
	})
}

func TestGraveJudgementIsolates(t *testing.T) {
	for _, level := range []abi.Level{abi.LevelFine, abi.LevelAlert, abi.LevelSuspectedStolen, abi.LevelQuarantine} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.run()()
			w.bind(id(1), says("fine", abi.Judgement{}), says("guard", abi.Judgement{Level: level, ReasonID: "moved"}))
			w.report(id(1), abi.ObserveLocation)
			until, reason, ok := w.Isolated(id(1))
			if want := level >= abi.LevelSuspectedStolen; ok != want || w.changed() != map[bool]int{true: 1}[want] {
				t.Fatalf("%v: %v, changes %d", level, ok, w.changed())
			}
			if !ok {
				return
			}
			if until != time.Now().Add(IsolationTime) || reason != level.String()+": guard: moved" {
				t.Errorf("until %v: %s", until, reason)
			}
			if _, _, ok := w.Isolated(id(2)); ok {
				t.Error("a bystander is isolated")
			}
			elapse(IsolationTime - time.Minute)
			w.report(id(1), abi.ObserveLocation) // prolongs it
			elapse(IsolationTime - time.Second)
			if _, _, ok := w.Isolated(id(1)); !ok || w.changed() != 1 {
				t.Errorf("after %v: %v, changes %d", 2*IsolationTime, ok, w.changed())
			}
			elapse(time.Second)
			if _, _, ok := w.Isolated(id(1)); ok || w.changed() != 2 {
				t.Errorf("at the end: %v, changes %d", ok, w.changed())
			}
		})
	}
}

// The graver reason stays, and a jump of the wall clock ends nothing.
func TestIsolationAndClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		w.bind(id(1), says("a", abi.Judgement{Level: abi.LevelQuarantine}))
		w.report(id(1), abi.ObserveFlows)
		w.bind(id(1), says("b", abi.Judgement{Level: abi.LevelSuspectedStolen}))
		for _, jump := range []time.Duration{24 * time.Hour, -48 * time.Hour, 0} {
			w.with(func() { w.ahead = jump })
			w.report(id(1), abi.ObserveFlows)
			elapse(time.Minute)
			if _, reason, ok := w.Isolated(id(1)); !ok || reason != "quarantine: a" {
				t.Errorf("clock %v off: %v, %s", jump, ok, reason)
			}
		}
		w.Release(id(1))
		w.Release(id(1))
		if _, _, ok := w.Isolated(id(1)); ok || w.changed() != 2 {
			t.Errorf("released: %v, %d changes", ok, w.changed())
		}
		elapse(2 * IsolationTime)
		if w.changed() != 2 {
			t.Errorf("%d changes", w.changed())
		}
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		w.bind(id(1), counts("soon", 30*time.Second), counts("late", time.Hour), counts("never", 0))
		for range 10 { // each report sets the timer anew
			w.report(id(1), abi.ObserveTelemetry)
			elapse(29 * time.Second)
		}
		last := time.Now().Add(-29 * time.Second).UnixMilli()
		w.forget()
		var seen []byte
		w.bind(id(1), guard{"soon", func(o *abi.Observation, _ []byte) (x ledger.Opinion) { seen = slices.Clone(o.Payload); return x }}, counts("late", 0))
		elapse(time.Second)
		if !slices.Equal(w.questions(), []string{"soon silence"}) || !slices.Equal(seen, silencePayload(last)) {
			t.Errorf("asked %q, payload %x", w.questions(), seen)
		}
		elapse(time.Hour)
		if !slices.Equal(w.questions(), []string{"soon silence", "late silence"}) {
			t.Errorf("asked %q", w.questions())
		}
		elapse(100 * time.Hour)
		if len(w.questions()) != 2 || w.Stats().Alarms != 0 {
			t.Errorf("asked %q, %d alarms", w.questions(), w.Stats().Alarms)
		}
	})
}

// A contract that wants to be asked all the time is not, however it asks.
func TestTimersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		w.bind(id(1), says("eager", abi.Judgement{Timer: 1}))
		w.bind(id(2), says("patient", abi.Judgement{Timer: math.MaxInt64}))
		w.report(id(1), abi.ObserveFlows)
		w.report(id(2), abi.ObserveFlows)
		w.forget()
		elapse(minSilence - time.Millisecond)
		if len(w.questions()) != 0 {
			t.Errorf("asked %q", w.questions())
		}
		elapse(time.Hour)
		if n := len(w.questions()); n != 60 {
			t.Errorf("asked %d times in an hour", n)
		}
		w.bind(id(1))
		w.forget()
		elapse(maxSilence)
		if !slices.Equal(w.questions(), []string{"patient silence"}) || w.Stats().Alarms != 1 {
			t.Errorf("asked %q, %d alarms", w.questions(), w.Stats().Alarms)
		}
	})
}

// Where the node failed, a silence is not forgotten.
func TestSilenceIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		w.bind(id(1), counts("guard", time.Minute))
		w.report(id(1), abi.ObserveTelemetry)
		w.with(func() { w.err = abi.CodeInternal })
		elapse(5 * time.Minute)
		w.with(func() { w.err = nil })
		elapse(time.Minute)
		if !slices.Equal(w.questions(), []string{"guard telemetry", "guard silence"}) {
			t.Errorf("asked %q", w.questions())
		}
	})
}

func TestDenials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.run()()
		var seen []byte
		w.bind(id(1), guard{"guard", func(o *abi.Observation, _ []byte) (x ledger.Opinion) { seen = slices.Clone(o.Payload); return x }})
		w.Denied(id(1), "doors", abi.CodeDenied, "open", "door-1")
		synctest.Wait()
		want := (&denial{id(1), "doors", "open", "door-1", abi.CodeDenied}).payload()
		if !slices.Equal(w.questions(), []string{"guard denial"}) || !slices.Equal(seen, want) {
			t.Fatalf("asked %q, %x", w.questions(), seen)
		}
		for range 1000 { // as fast as it can, for a minute
			w.Denied(id(1), strings.Repeat("\u20ac", 1000), abi.CodeDenied, "open", "door-1")
			elapse(60 * time.Millisecond)
		}
		if n := len(w.questions()); n < 60 || n > 60+denialBurst+1 {
			t.Errorf("%d denials judged in a minute", n)
		}
		if err := cbor.Validate(seen); err != nil || len(seen) > 4*maxDenialText {
			t.Errorf("payload of %d bytes: %v", len(seen), err)
		}
		if s := w.Stats(); s.Denials+s.DenialsPassedOver != 1001 {
			t.Errorf("%+v", s)
		}
		w.Denied(id(9), "doors", abi.CodeDenied, "open", "door-1") // no device at all
		synctest.Wait()
		if w.Stats().Watched != 1 {
			t.Error("a stranger is watched")
		}
	})
}
