package fake

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/sdk/contract/internal/script"
)

const scriptGuest = "github.com/seed79541315/postern/sdk/contract/internal/script/guest"

// steps encodes a script: each step a list of int, string, []byte and
// abi.Hash, the operation first.
func steps(list ...[]any) []byte {
	b := cbor.AppendArray(nil, len(list))
	for _, items := range list {
		b = cbor.AppendArray(b, len(items))
		for _, item := range items {
			b = appendAny(b, item)
		}
	}
	return b
}

func appendAny(b []byte, item any) []byte {
	switch v := item.(type) {
	case int:
		return cbor.AppendInt(b, int64(v))
	case int64:
		return cbor.AppendInt(b, v)
	case abi.Code:
		return cbor.AppendInt(b, int64(v))
	case text:
		return cbor.AppendText(b, string(v))
	case string:
		return cbor.AppendBytes(b, []byte(v))
	case []byte:
		return cbor.AppendBytes(b, v)
	case abi.Hash:
		return cbor.AppendBytes(b, v[:])
	}
	panic(fmt.Sprintf("no item: %T", item))
}

type (
	text string // a text string; plain strings are byte strings
	s    = []any
)

var scriptCode = Code{
	Init: script.Run, Migrate: script.Run, Execute: script.Run, Timer: script.Run,
	Query: script.Run, Search: script.Run, Observe: script.Run, Decide: script.Decide,
}

// world is a chain with two contracts of the script, alice's "a" and bob's
// "b", and a transcript of all that happens.
type world struct {
	t          testing.TB
	chain      *Chain
	a, b       *Contract
	alice, bob abi.Hash
	device     abi.Hash // alice's
	foreign    abi.Hash // bob's device
	said       strings.Builder
}

func newWorld(t testing.TB, e entries) *world {
	w := &world{t: t, chain: New()}
	w.alice = w.chain.Account("alice", abi.RoleOwner|abi.RoleDeveloper)
	w.bob = w.chain.Account("bob", 0)
	w.device = w.chain.Enrol("device", Device{
		Owner: w.alice, Manufacturer: "Acme", Model: "M1", Serial: "7", Labels: map[string]string{"floor": "2", "zone": "é"},
	})
	w.foreign = w.chain.Enrol("foreign", Device{Owner: w.bob, Status: abi.StatusSuspended, Reason: "lost"})
	for _, d := range []struct {
		to    **Contract
		name  string
		owner abi.Hash
	}{{&w.a, "a", w.alice}, {&w.b, "b", w.bob}} {
		c, err := w.chain.deploy(d.name, d.owner, e, steps(s{script.Set, "deployed", d.name}, s{script.Context}))
		w.note("deploy", nil, err)
		*d.to = c
	}
	return w
}

// note adds to the transcript what a call gave. Texts are the contract's own
// where it aborted, and this host's elsewhere.
func (w *world) note(what string, out []byte, err error) {
	failure, failed := errors.AsType[*Failure](err)
	switch {
	case failed && failure.Code == abi.CodeAborted:
		fmt.Fprintf(&w.said, "%s: aborted with %d %q\n", what, failure.Abort, failure.Text)
	case failed:
		fmt.Fprintf(&w.said, "%s: %s\n", what, failure.Code.Name())
	case err != nil:
		w.t.Fatalf("%s: %v", what, err)
	default:
		fmt.Fprintf(&w.said, "%s: %x\n", what, out)
	}
}

func (w *world) execute(list ...[]any) {
	out, err := w.a.Execute(w.alice, steps(list...))
	w.note("execute", out, err)
}

func (w *world) query(list ...[]any) {
	out, err := w.a.Query(steps(list...))
	w.note("query", out, err)
}

func (w *world) decide(caller abi.Hash, list ...[]any) {
	v, err := w.a.Decide(caller, abi.DecisionRequest{
		Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "1"},
		Context: cbor.AppendBytes(cbor.AppendText(cbor.AppendMap(nil, 1), "script"), steps(list...)),
	})
	w.note("decide", fmt.Appendf(nil, "%+v", v), err)
}

func (w *world) observe(list ...[]any) {
	out, err := w.a.Observe(w.device, steps(list...))
	w.note("observe", out, err)
}

// end is the transcript with the state that is left.
func (w *world) end(logs bool) string {
	for _, c := range []*Contract{w.a, w.b} {
		for _, k := range c.Keys() {
			fmt.Fprintf(&w.said, "%s[%x] = %x\n", c.name, k, c.Get(k))
		}
	}
	fmt.Fprintf(&w.said, "events %+v\ntimers %+v\n", w.chain.Events, w.chain.timers)
	for _, id := range []abi.Hash{w.device, w.foreign} {
		fmt.Fprintf(&w.said, "%+v\n", w.chain.devices[id])
	}
	if logs {
		fmt.Fprintf(&w.said, "logs %q\n", w.chain.Logs)
	}
	return w.said.String()
}

var long = strings.Repeat("x", 70<<10)

// scenarios are what both hosts must agree on. In noLogs ones Go's runtime
// writes its last words to the node's log.
var scenarios = []struct {
	name   string
	noLogs bool
	run    func(w *world)
}{
	{name: "state", run: func(w *world) {
		w.execute(s{script.Set, "k", "v"}, s{script.Get, "k"}, s{script.Get, "none"}, s{script.Has, "k"}, s{script.Has, "none"})
		w.execute(s{script.Set, "k", ""}, s{script.Get, "k"}, s{script.Delete, "k"}, s{script.Delete, "k"}, s{script.Get, "k"})
		w.execute(s{script.Set, "undone", "v"}, s{script.Refuse, 9, text("no")})
		w.query(s{script.Get, "deployed"}, s{script.Get, "undone"})
	}},
	{name: "limits of state", run: func(w *world) {
		w.execute(s{script.Set, long[:abi.MaxKey], long[:abi.MaxValue]}, s{script.Get, long[:abi.MaxKey]}, s{script.Delete, long[:abi.MaxKey]})
		for _, bad := range [][]any{
			{script.Set, "", "v"}, {script.Get, ""}, {script.Delete, ""}, {script.Has, ""},
			{script.Set, long[:abi.MaxKey+1], "v"}, {script.Get, long[:abi.MaxKey+1]}, {script.Delete, long[:abi.MaxKey+1]},
			{script.Set, "k", long[:abi.MaxValue+1]},
			{script.Scan, long[:abi.MaxKey+1], "", 1}, {script.Scan, "", long[:abi.MaxKey+1], 1},
		} {
			w.execute(bad)
		}
		w.execute(s{script.Scan, long[:abi.MaxKey], long[:abi.MaxKey], 1})
	}},
	{name: "scans", run: func(w *world) {
		w.execute(s{script.Set, "a/1", "1"}, s{script.Set, "a/2", long[:abi.MaxValue]}, s{script.Set, "a/3", ""}, s{script.Set, "a", "x"}, s{script.Set, "b", "y"})
		w.query(s{script.Scan, "a/", "", 99}, s{script.Scan, "", "a/3", 2})
		w.query(s{script.Scan, "a/", "b", 99}, s{script.Scan, "\xff", "", 99}, s{script.Scan, "", "", 0})
		one := s{script.Scan, "a/3", "", 1}
		w.query(one, one, one, one, one, one, one, one)
		w.query(one, one, one, one, one, one, one, one, one)
	}},
	{name: "typed state", run: func(w *world) {
		w.execute(s{script.Tally, text("b"), 5}, s{script.Tally, text(""), -7}, s{script.Tally, text("a\x00\x01"), 1}, s{script.Tally, text("a"), 1})
		w.execute(s{script.Tally, text(long[:200]), 1}, s{script.Tally, text("b"), int64(1) << 40})
		w.execute(s{script.Pairs, text("p"), 3}, s{script.Pairs, text("p"), -3}, s{script.Pairs, text("p\x00"), 9}, s{script.Pairs, text("p"), 0})
		w.execute(s{script.Set, "total", "\xff"}, s{script.Tally, text("b"), 1})
		w.execute(s{script.Tally, text(long[:300]), 1})
		w.execute(s{script.Set, "tally/no end", "\x00"}, s{script.Tally, text("b"), 1})
	}},
	{name: "events", run: func(w *world) {
		w.execute(s{script.Emit, text("topic"), "data"}, s{script.Emit, text(""), ""}, s{script.Emit, text(long[:abi.MaxTopic]), long[:abi.MaxEvent]})
		w.execute(s{script.Emit, text(long[:abi.MaxTopic+1]), ""})
		w.execute(s{script.Emit, text("t"), long[:abi.MaxEvent+1]})
		w.execute(slices.Repeat([][]any{{script.Emit, text("t"), "x"}}, abi.MaxEvents)...)
		w.execute(slices.Repeat([][]any{{script.Emit, text("t"), "x"}}, abi.MaxEvents+1)...)
	}},
	{name: "permissions", run: func(w *world) {
		for _, op := range [][]any{
			{script.Get, "k"}, {script.Scan, "", "", 9}, {script.Set, "k", "v"}, {script.Delete, "k"}, {script.LocalGet}, {script.LocalSet, "v"},
			{script.Emit, text("t"), "d"}, {script.Call, text("b"), steps()}, {script.Query, text("b"), steps()}, {script.Device, w.device},
			{script.SetStatus, w.device, int(abi.StatusSuspended), text("why")}, {script.Schedule, 1, steps()}, {script.Now},
			{script.SHA256, "x"}, {script.Verify, "k", "m", "s"}, {script.Log, text("hello")}, {script.Context},
		} {
			w.execute(op)
			w.query(op)
			w.decide(w.device, op)
			w.observe(op)
			out, err := w.a.Search(steps(op))
			w.note("search", out, err)
			out, err = w.a.change(abi.EntryMigrate, w.chain.input(w.a, &abi.Input{Caller: &w.alice, Message: steps(op)}))
			w.note("migrate", out, err)
			_, err = w.a.Execute(w.alice, steps(s{script.Schedule, 0, steps(op)}))
			w.note("schedule", nil, err)
			for _, err := range w.chain.Advance(5) {
				w.note("timer", nil, err)
			}
		}
	}},
	{name: "local records", run: func(w *world) {
		w.observe(s{script.LocalGet}, s{script.LocalSet, "one"}, s{script.LocalGet}, s{script.LocalSet, long[:abi.MaxLocal]})
		w.observe(s{script.LocalGet}, s{script.LocalSet, "undone"}, s{script.Refuse, 9, text("no")})
		w.observe(s{script.LocalGet}, s{script.LocalSet, ""}, s{script.LocalGet})
		w.observe(s{script.LocalSet, long[:abi.MaxLocal+1]})
		w.observe(s{script.LocalGet}, s{script.Query, text("b"), steps(s{script.LocalGet})})
		out, err := w.a.Observe(w.foreign, steps(s{script.LocalGet}, s{script.Context}))
		w.note("another device", out, err)
		out, err = w.b.Observe(w.device, steps(s{script.LocalGet}))
		w.note("another contract", out, err)
		out, err = w.a.Evidence(w.alice, w.device, steps(s{script.Context}, s{script.LocalGet}))
		w.note("evidence", out, err)
	}},
	{name: "calls", run: func(w *world) {
		w.execute(s{script.Call, text("b"), steps(s{script.Set, "k", "by a"}, s{script.Context})}, s{script.Query, text("b"), steps(s{script.Get, "k"})})
		w.execute(s{script.Call, text("b"), steps(s{script.Set, "k", "undone"}, s{script.Emit, text("t"), "undone"}, s{script.Abort, 7, text("no")})}, s{script.Set, "went", "on"})
		w.execute(s{script.Query, text("b"), steps(s{script.Set, "k", "v"})})
		w.execute(s{script.Call, text("nobody"), steps()}, s{script.Call, text(""), steps()}, s{script.Call, text("NOT A NAME"), steps()}, s{script.Query, text(long[:65]), steps()})
		w.execute(s{script.Call, text("a"), steps()}, s{script.Call, text("b"), steps(s{script.Call, text("a"), steps()})})
		w.execute(s{script.Call, text("b"), steps(s{script.Bytes, abi.MaxResult - 10})})
		w.execute(s{script.Call, text("b"), steps(s{script.Bytes, abi.MaxResult})})
		w.execute(s{script.Call, text("b"), "not CBOR"}, s{script.Query, text("b"), ""})
		w.query(s{script.Query, text("b"), steps(s{script.Context}, s{script.Get, "k"})})
	}},
	{name: "devices", run: func(w *world) {
		w.execute(s{script.Device, w.device}, s{script.Device, w.foreign}, s{script.Device, w.alice})
		for _, test := range [][]any{
			{script.SetStatus, w.device, 2, text("quarantine é")}, {script.SetStatus, w.device, 0, text("")}, {script.SetStatus, w.device, 6, text("")},
			{script.SetStatus, w.foreign, 2, text("")}, {script.SetStatus, w.alice, 2, text("")}, {script.SetStatus, w.device, 2, text("a\nb")},
			{script.SetStatus, w.device, 2, text(long[:abi.MaxAbortText])}, {script.SetStatus, w.device, 2, text(long[:abi.MaxAbortText+1])},
			{script.SetStatus, w.device, 5, text("for good")}, {script.SetStatus, w.device, 1, text("back")},
		} {
			w.execute(test)
		}
	}},
	{name: "timers", run: func(w *world) {
		at := w.chain.Time
		w.execute(s{script.Schedule, at + 10_000, steps(s{script.Set, "t", "late"})}, s{script.Schedule, 0, steps(s{script.Set, "t", "now"}, s{script.Context})})
		w.execute(s{script.Schedule, at + 5000, steps(s{script.Set, "t", "undone"}, s{script.Abort, 3, text("in a timer")})})
		w.execute(s{script.Schedule, 0, long[:abi.MaxValue+1]})
		for range 3 {
			for _, err := range w.chain.Advance(5000) {
				w.note("timer", nil, err)
			}
			w.query(s{script.Get, "t"})
		}
		w.execute(slices.Repeat([][]any{{script.Schedule, at, ""}}, MaxTimers+1)...)
	}},
	{name: "decisions", run: func(w *world) {
		w.decide(w.device, s{script.Context}, s{script.Now}, s{script.Get, "deployed"})
		w.decide(w.alice, s{script.Context})
		w.chain.Untrusted = true
		w.decide(w.device, s{script.Now})
		w.decide(w.device, s{script.Refuse, int(abi.AbortNoPolicy), text("none")})
		v, err := w.a.Decide(w.device, abi.DecisionRequest{Action: abi.Action{Name: "x"}, Resource: abi.Entity{Type: "y", ID: "z"}})
		w.note("without a script", fmt.Appendf(nil, "%+v", v), err)
		out, err := w.a.run(abi.EntryDecide, w.chain.input(w.a, &abi.Input{Caller: &w.device, Message: []byte("no question")}), nil)
		w.note("no question", out, err)
	}},
	{name: "signatures and digests", run: func(w *world) {
		key := ed25519.NewKeyFromSeed(make([]byte, 32))
		public := []byte(key.Public().(ed25519.PublicKey))
		good := ed25519.Sign(key, []byte("message"))
		bad := slices.Clone(good)
		bad[3] ^= 1
		w.query(s{script.Verify, public, "message", good}, s{script.Verify, public, "message", bad}, s{script.Verify, public, "massage", good},
			s{script.Verify, public[1:], "message", good}, s{script.Verify, public, "message", good[1:]}, s{script.Verify, "", "", ""},
			s{script.Verify, "\x02" + long[:32], "m", long[:64]}, s{script.SHA256, ""}, s{script.SHA256, long})
	}},
	{name: "refusals", run: func(w *world) {
		w.execute(s{script.Abort, 2, text("abort")})
		w.execute(s{script.Refuse, 65_534, text(long[:300])})
		w.execute(s{script.Fail, abi.CodeUnknownContract})
		w.execute(s{999})
		w.execute(s{script.Refuse})
		for _, message := range []string{"", "\x80", "\x81", "\x81\x80", "\x81\x81\x01\x00", "\xff", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", long[:abi.MaxTransaction]} {
			out, err := w.a.Execute(w.bob, []byte(message))
			w.note("hostile", out, err)
		}
		w.execute(s{script.Bytes, abi.MaxResult - 4})
		w.execute(s{script.Bytes, abi.MaxResult})
		w.execute(s{script.Log, text("after all that")}, s{script.Log, text(long[:5000])})
	}},
	{name: "panics", noLogs: true, run: func(w *world) {
		w.execute(s{script.Set, "k", "undone"}, s{script.Panic, text("on purpose")})
		w.execute(s{script.Index, int64(1) << 40})
		w.execute(s{script.Call, text("b"), steps(s{script.Panic, text("inside")})})
		w.execute(s{script.Get, "k"}, s{script.Recurse, 50})
	}},
}

// guests are the module of today's SDK, and those that must always run.
func guests(t testing.TB) map[string][]byte {
	t.Helper()
	list := map[string][]byte{"today": buildGuest(t, scriptGuest)}
	kept, err := filepath.Glob("../testdata/*.wasm")
	if err != nil || len(kept) == 0 {
		t.Fatalf("no guests are kept: %v", err)
	}
	for _, name := range kept {
		blob, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(blob, list["today"]) {
			delete(list, "today")
		}
		list[filepath.Base(name)] = blob
	}
	return list
}

// TestGuests runs each guest on each engine of the real host.
func TestGuests(t *testing.T) {
	for name, blob := range guests(t) {
		for _, engine := range engines() {
			n := newNode(t, engine)
			guest := n.entries(t, blob)
			t.Run(name+"/"+engine.String()+"/agrees", func(t *testing.T) { testAgreement(t, guest) })
			t.Run(name+"/"+engine.String()+"/traps", func(t *testing.T) { testTraps(t, n, guest) })
			t.Run(name+"/"+engine.String()+"/inputs", func(t *testing.T) { testInputs(t, n, guest, blob) })
			t.Run(name+"/"+engine.String()+"/garbage", func(t *testing.T) { testGarbage(t, guest) })
		}
	}
}

// testAgreement runs each scenario here and on the real host, and compares
// all that can be seen.
func testAgreement(t *testing.T, guest entries) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			here, there := newWorld(t, scriptCode.entries()), newWorld(t, guest)
			sc.run(here)
			sc.run(there)
			compare(t, here.end(!sc.noLogs), there.end(!sc.noLogs))
		})
	}
}

func compare(t *testing.T, here, there string) {
	t.Helper()
	a, b := strings.Split(here, "\n"), strings.Split(there, "\n")
	for i := range max(len(a), len(b)) {
		x, y := line(a, i), line(b, i)
		if x != y {
			t.Errorf("line %d\nhere:  %.400s\nthere: %.400s", i, x, y)
		}
	}
}

func line(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(nothing)"
}

// testTraps: a guest that goes wrong ends with a code, names its function and
// says in the log why; the next call finds nothing of it.
func testTraps(t *testing.T, n *node, guest entries) {
	const pkg = "github.com_seed79541315_postern_sdk_contract_internal_script."
	w := newWorld(t, guest)
	for _, test := range []struct {
		step     []any
		code     abi.Code
		function string
		log      string
	}{
		{s{script.Panic, text("on purpose")}, abi.CodeUnreachable, "ends", "panic: on purpose"},
		{s{script.Index, int64(1) << 40}, abi.CodeUnreachable, "ends", "panic: runtime error: index out of range [1099511627776] with length 2"},
		{s{script.Recurse, 1 << 20}, abi.CodeStackLimit, "recurse", ""},
		{s{script.Bytes, int64(1) << 40}, abi.CodeUnreachable, "step", "panic: runtime error: makeslice: len out of range"},
		{s{script.Bytes, 64 << 20}, abi.CodeMemoryLimit, "step", ""},
		{s{script.Abort, 2, text("why")}, abi.CodeAborted, "ends", ""},
	} {
		w.chain.Logs, n.trap = nil, nil
		_, err := w.a.Execute(w.alice, steps(s{script.Set, "k", "undone"}, test.step))
		if err == nil || n.trap == nil || n.trap.Code != test.code || n.trap.Func != strconv.Quote(pkg+test.function) {
			t.Errorf("%v: %v, trap %+v", test.step, err, n.trap)
		}
		if test.log != "" && !slices.Contains(w.chain.Logs, test.log) {
			t.Errorf("%v: log %q", test.step, w.chain.Logs)
		}
		if out, err := w.a.Query(steps(s{script.Get, "k"})); err != nil || !bytes.Equal(out, []byte{0x81, 0xf6}) {
			t.Errorf("after %v: %x, %v", test.step, out, err)
		}
	}
	n.gas = 200_000
	defer func() { n.gas = plenty }()
	if _, err := w.a.Execute(w.alice, steps(s{script.Garbage, 1 << 20})); !errors.Is(err, abi.CodeOutOfGas) || n.used != n.gas {
		t.Errorf("%v, gas %d", err, n.used)
	}
}

// testInputs: what no host says is refused, and harms no later call.
func testInputs(t *testing.T, n *node, guest entries, blob []byte) {
	w := newWorld(t, guest)
	good := abi.AppendInput(nil, w.chain.input(w.a, &abi.Input{Message: steps()}))
	for _, test := range []struct {
		input string
		code  abi.Code
		abort uint16
	}{
		{"", abi.CodeAborted, 1},
		{"\xff", abi.CodeAborted, 1},
		{"\x82\xa0\x40", abi.CodeAborted, 8}, // without what is always there
		{"\x82\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x40", abi.CodeAborted, 1},
		{string(good) + "\x00", abi.CodeAborted, 1},
		{strings.Repeat("\x00", 2*abi.MaxTransaction), abi.CodeAborted, 1},
		{strings.Repeat("\x00", 2*abi.MaxTransaction+1), abi.CodeUnreachable, 0}, // alloc makes no room for it
		{strings.Repeat("\x00", 4<<20), abi.CodeUnreachable, 0},
	} {
		res, err := n.runtime.Call(context.Background(), wasm.Call{
			Code: sha256.Sum256(blob), Load: func() ([]byte, error) { return blob, nil },
			Entry: abi.EntryQuery, Input: []byte(test.input), Gas: plenty, Env: &env{&call{contract: w.a, entry: abi.EntryQuery}, n},
		})
		trap, ok := errors.AsType[*wasm.Trap](err)
		if !ok || trap.Code != test.code || res.AbortCode != test.abort {
			t.Errorf("%d bytes %.20x: %v, abort %d", len(test.input), test.input, err, res.AbortCode)
		}
		if out, err := w.a.Query(steps()); err != nil || !bytes.Equal(out, []byte{0x80}) {
			t.Errorf("after %d bytes %.20x: %x, %v", len(test.input), test.input, out, err)
		}
	}
}

// testGarbage: a guest may allocate more than its memory holds.
func testGarbage(t *testing.T, guest entries) {
	out, err := newWorld(t, guest).a.Query(steps(s{script.Garbage, 20 << 10}))
	if want := cbor.AppendUint([]byte{0x81}, 20<<20); err != nil || !bytes.Equal(out, want) {
		t.Errorf("%x, %v", out, err)
	}
}
