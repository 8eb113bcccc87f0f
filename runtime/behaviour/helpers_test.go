package behaviour

import (
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
)

// guard is a contract of tests: it gives the opinion that judge makes.
type guard struct {
	name  string
	judge func(o *abi.Observation, local []byte) ledger.Opinion
}

// world is what a Monitor of tests works with.
type world struct {
	t   testing.TB
	cfg Config
	*Monitor

	mu      sync.Mutex
	bound   map[abi.Hash][]guard // guarded by mu
	asked   []string             // contract and kind of each question; guarded by mu
	quiet   bool                 // asked is not kept; guarded by mu
	err     error                // of the ledger; guarded by mu
	refuse  error                // of Submit; guarded by mu
	sent    []sent               // guarded by mu
	changes []abi.Hash           // guarded by mu
	ahead   time.Duration        // of the wall clock; guarded by mu
}

type sent struct {
	at      time.Time
	verdict chain.Verdict // of OpVerdict
	alert   chain.Alert   // of OpAlert
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, bound: map[abi.Hash][]guard{}}
	w.cfg = Config{
		Ledger: w, Submit: w.submit, Clock: w.clock, Logger: slog.New(slog.DiscardHandler),
		Changed: func(device abi.Hash) { w.with(func() { w.changes = append(w.changes, device) }) },
	}
	return w
}

func (w *world) with(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) open() *world {
	w.t.Helper()
	m, err := Open(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Monitor = m
	return w
}

// run opens the Monitor and runs it until stop.
func (w *world) run() (stop func()) {
	w.t.Helper()
	w.open()
	return w.again()
}

func (w *world) again() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	return func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) clock() (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead).UnixMilli(), true
}

// bind has a device's contracts give these opinions from now on.
func (w *world) bind(device abi.Hash, guards ...guard) {
	w.with(func() { w.bound[device] = guards })
}

// Observe implements Ledger as the real one does, without contracts.
func (w *world) Observe(_ context.Context, x *ledger.Watch) (j ledger.Judged, err error) {
	w.mu.Lock()
	guards, ok := w.bound[x.Observation.Device]
	err = w.err
	w.mu.Unlock()
	switch {
	case err != nil:
		return j, err
	case !ok:
		return j, abi.CodeUnknownDevice
	}
	if x.Only != "" {
		guards = slices.DeleteFunc(slices.Clone(guards), func(g guard) bool { return g.name != x.Only })
		if len(guards) == 0 {
			return j, abi.CodeNotBound
		}
	}
	for _, g := range guards {
		w.with(func() {
			if !w.quiet {
				w.asked = append(w.asked, g.name+" "+x.Observation.Kind.String())
			}
		})
		local, _ := x.Local(g.name)
		o := g.judge(x.Observation, local)
		o.Contract = g.name
		j.Opinions = append(j.Opinions, o)
		if o.Judgement.Level >= j.Joined.Level {
			j.Joined = o.Judgement
		}
	}
	return j, nil
}

func (w *world) submit(_ context.Context, op chain.Op, args []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	s := sent{at: time.Now()}
	var err error
	switch op {
	case chain.OpVerdict:
		s.verdict, err = chain.ParseVerdict(args)
	case chain.OpAlert:
		s.alert, err = chain.ParseAlert(args)
	default:
		w.t.Errorf("operation %d", op)
	}
	if err != nil {
		w.t.Errorf("operation %d: %v", op, err)
	}
	w.sent = append(w.sent, s)
	return nil
}

// questions are those that contracts were asked, and changed is how many changes
// of isolations were told, since forget.
func (w *world) questions() (list []string) {
	w.with(func() { list = slices.Clone(w.asked) })
	return list
}

func (w *world) changed() (n int) {
	w.with(func() { n = len(w.changes) })
	return n
}

func (w *world) forget() { w.with(func() { w.asked, w.changes = nil, nil }) }

// took gives and forgets what was sent.
func (w *world) took() (list []sent) {
	synctest.Wait()
	w.with(func() { list, w.sent = w.sent, nil })
	return list
}

// report reports an observation of a kind.
func (w *world) report(device abi.Hash, kind abi.ObservationKind) abi.Judgement {
	w.t.Helper()
	j, err := w.Report(context.Background(), device, &abi.Observation{Kind: kind, Payload: emptyArray})
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

var emptyArray = cbor.AppendArray(nil, 0)

func id(n int) (h abi.Hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n))
	return h
}

// says is a guard that gives one judgement.
func says(name string, j abi.Judgement) guard {
	return guard{name, func(*abi.Observation, []byte) ledger.Opinion { return ledger.Opinion{Judgement: j} }}
}

// counts is a guard that counts in its local record, and scores the count.
func counts(name string, timer time.Duration) guard {
	return guard{name, func(_ *abi.Observation, local []byte) ledger.Opinion {
		n := byte(1)
		if len(local) > 0 {
			n = local[0] + 1
		}
		return ledger.Opinion{
			Judgement: abi.Judgement{Score: int64(n), Timer: uint64(timer / time.Millisecond)}, Local: []byte{n}, Written: true,
		}
	}}
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
	synctest.Wait()
}
