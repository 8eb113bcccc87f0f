package ledger

import (
	"context"
	_ "embed"
	"errors"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// observeWasm is testdata/observe.wat: its observe does what the payload says.
//
//go:embed testdata/observe.wasm
var observeWasm []byte

// observed is a chain with a lock to which contracts of observeWasm are bound.
func observed(t testing.TB, contracts ...string) *world {
	t.Helper()
	w := newWorld(t, inhabited)
	code := w.upload(developer, observeWasm)
	for _, name := range contracts {
		w.must(developer, chain.OpDeploy, &chain.Deploy{Name: name, Code: code})
	}
	if len(contracts) > 0 {
		w.tickOver()
	}
	w.enrol("lock", nil)
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: contracts})
	return w
}

// does is an observation of a device whose contracts do something.
func does(device person, mode uint64) *Watch {
	o := &abi.Observation{Kind: abi.ObserveTelemetry, Device: device.id(), Time: start, Payload: cbor.AppendUint(cbor.AppendArray(nil, 1), mode)}
	return &Watch{Observation: o, Encoded: abi.AppendObservation(nil, o), Local: func(string) ([]byte, bool) { return nil, false }}
}

func (w *world) observe(x *Watch) Judged {
	w.t.Helper()
	j, err := w.l.Observe(context.Background(), x)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func TestObserveJoinsOpinions(t *testing.T) {
	w := observed(t, "first", "second")
	x := does("lock", 8)
	j := w.observe(x)
	want := abi.Judgement{Level: abi.LevelAlert, Timer: 30_000, Findings: []string{"odd", "odd"}}
	if j.Joined.Level != want.Level || j.Joined.Timer != want.Timer || !slices.Equal(j.Joined.Findings, want.Findings) || len(j.Opinions) != 2 {
		t.Errorf("%+v", j)
	}
	if j.Opinions[0].Contract != "first" || j.Opinions[1].Contract != "second" || len(j.Opinions[0].Judgement.Findings) != 1 || j.Owner != owner.id() {
		t.Errorf("%+v", j.Opinions)
	}
	x.Only = "second"
	if j := w.observe(x); len(j.Opinions) != 1 || j.Opinions[0].Contract != "second" {
		t.Errorf("%+v", j)
	}
	x.Only = "third"
	if _, err := w.l.Observe(context.Background(), x); !errors.Is(err, abi.CodeNotBound) {
		t.Error(err)
	}
}

func TestObserveJoin(t *testing.T) {
	opinion := func(level abi.Level, score int64, timer uint64, findings ...string) Opinion {
		return Opinion{Judgement: abi.Judgement{Level: level, Score: score, Timer: timer, Findings: findings}}
	}
	j := Judged{Opinions: []Opinion{opinion(1, 5, 0, "a"), opinion(3, 6, 900), opinion(3, 7, 300, "b"), opinion(0, 8, 400, "c")}}
	j.join()
	if o := j.Joined; o.Level != 3 || o.Score != 6 || o.Timer != 300 || !slices.Equal(o.Findings, []string{"a", "b", "c"}) {
		t.Errorf("%+v", o)
	}
	if !slices.Equal(j.Opinions[0].Judgement.Findings, []string{"a"}) {
		t.Errorf("an opinion changed: %+v", j.Opinions[0])
	}
}

// Nobody judges a device to which nothing is bound, and that is told; a device
// that is not there is another matter.
func TestObserveUnbound(t *testing.T) {
	w := observed(t)
	if j := w.observe(does("lock", 6)); j.Joined.Level != abi.LevelFine || j.Joined.ReasonID != abi.CodeNotBound.Name() || len(j.Opinions) != 0 {
		t.Errorf("%+v", j)
	}
	if _, err := w.l.Observe(context.Background(), does("stranger", 6)); !errors.Is(err, abi.CodeUnknownDevice) {
		t.Error(err)
	}
}

// Whatever a device's status, what it does is judged.
func TestObserveEveryStatus(t *testing.T) {
	w := observed(t, "watch")
	for _, s := range []abi.Status{abi.StatusSuspended, abi.StatusQuarantined, abi.StatusStolen} {
		w.must(owner, chain.OpDeviceStatus, set("lock", s))
		if j := w.observe(does("lock", 6)); j.Joined.Level != abi.LevelQuarantine || j.Joined.ReasonID != "theft" || j.Status != s {
			t.Errorf("%v: %+v", s, j)
		}
	}
}

// A contract that fails is an alert with a code, leaves the record as it was,
// and silences no other.
func TestObserveFailures(t *testing.T) {
	w := observed(t, "first", "second")
	for _, c := range []struct {
		mode   uint64
		code   abi.Code
		reason uint64
	}{
		{2, abi.CodeUnreachable, 0}, {3, abi.CodeAborted, 7}, {4, abi.CodeOutOfGas, 0}, {5, abi.CodeBadResult, 0}, {7, abi.CodeNotAllowedHere, 0},
	} {
		j := w.observe(does("lock", c.mode))
		if len(j.Opinions) != 2 {
			t.Fatalf("%d: %+v", c.mode, j)
		}
		for _, o := range append(j.Opinions, Opinion{Judgement: j.Joined, Code: c.code}) {
			if o.Code != c.code || o.Judgement.Level != abi.LevelAlert || o.Judgement.ReasonID != c.code.Name() || o.Judgement.Reason != c.reason || o.Written {
				t.Errorf("%d: %+v", c.mode, o)
			}
		}
	}
}

// A contract without observe, and one whose upgrade failed, alert too.
func TestObserveByContractsThatCannot(t *testing.T) {
	w := newWorld(t, inhabited)
	w.deploy(developer, "script")
	code := w.upload(developer, judgeWasm) // it has no observe
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "judge", Code: code})
	w.tickOver()
	w.enrol("lock", nil)
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"judge"}})
	if j := w.observe(does("lock", 0)); j.Joined.Level != abi.LevelAlert || j.Opinions[0].Code != abi.CodeNoEntryPoint {
		t.Errorf("%+v", j)
	}
}

// Each contract has its own record, which the caller keeps.
func TestObserveLocalRecords(t *testing.T) {
	w := observed(t, "first", "second")
	x := does("lock", 1)
	records := map[string][]byte{"second": {10}}
	x.Local = func(contract string) ([]byte, bool) { b, ok := records[contract]; return b, ok }
	for n := int64(1); n <= 3; n++ {
		j := w.observe(x)
		for i, score := range []int64{n, 10 + n} {
			o := &j.Opinions[i]
			if o.Judgement.Score != score || !o.Written || o.Local[0] != byte(score) {
				t.Fatalf("%d: %+v", n, o)
			}
			records[o.Contract] = o.Local
		}
	}
}

func TestObserveClock(t *testing.T) {
	w := observed(t, "watch")
	for _, trusted := range []bool{true, false} {
		w.trusted = trusted
		if j := w.observe(does("lock", 9)); (j.Joined.Score == 1) != trusted {
			t.Errorf("clock %v: %+v", trusted, j)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, c := range []struct {
		name      string
		contracts []string
	}{{"unbound", nil}, {"one", []string{"a"}}, {"four", []string{"a", "b", "c", "d"}}} {
		b.Run(c.name, func(b *testing.B) {
			w := observed(b, c.contracts...)
			x := does("lock", 1)
			record := []byte{1}
			x.Local = func(string) ([]byte, bool) { return record, true }
			for b.Loop() {
				w.observe(x)
			}
		})
	}
}
