package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// withPolicy is a world whose default domain is a script.
func withPolicy(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.deploy(developer, "policy")
	w.must(developer, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "policy"})
	w.enrol("lock", chain.Labels{"floor": "3"})
	return w
}

// policy makes the script that decides.
func (w *world) policy(s script) {
	w.t.Helper()
	w.want(w.run(developer, "policy", do('s', 0, "decide", string(s))), abi.OK)
}

// verdict makes the policy give a verdict.
func (w *world) verdict(v abi.Verdict) {
	w.t.Helper()
	w.policy(do('r', 0, string(abi.AppendVerdict(nil, &v)), ""))
}

func (w *world) decide(who person, request []byte) abi.Answer {
	return w.l.Decide(context.Background(), abi.Caller{Key: who.Public()}, "", request)
}

var open = ask("open", "door", "1")

func about(kind, id string) []byte {
	q := abi.DecisionRequest{Subject: &abi.Entity{Type: kind, ID: id, Properties: []byte{0xa1, 0x65, 'a', 'd', 'm', 'i', 'n', 0xf5}},
		Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "1"}}
	return abi.AppendDecisionRequest(nil, &q)
}

func TestDecide(t *testing.T) {
	w := withPolicy(t)
	last := uint64(0)
	check := func(name string, a abi.Answer, permit bool, code abi.Code, reason uint64) {
		t.Helper()
		if a.Permit != permit || a.Code != code || a.Reason != reason || a.Record <= last || a.Height != w.l.Head().Height || a.Now == 0 {
			t.Errorf("%s: %+v, want %v %v %d", name, a, permit, code, reason)
		}
		last = a.Record
	}
	check("no verdict stored", w.decide("lock", open), true, abi.OK, 0)
	w.verdict(abi.Verdict{Permit: true, Reason: 3, ReasonID: "rule", TTL: 500, Obligations: []byte{0x81, 0x01}})
	a := w.decide("lock", open)
	check("permit", a, true, abi.OK, 3)
	if a.ReasonID != "rule" || a.TTL != 500 || len(a.Obligations) != 2 || a.Contract != "policy" || a.CodeHash == (abi.Hash{}) {
		t.Errorf("answer is %+v", a)
	}
	w.verdict(abi.Verdict{Reason: 4, ReasonID: "no"})
	check("denial", w.decide("lock", open), false, abi.CodeDenied, 4)
	w.verdict(abi.Verdict{Permit: true, MaxStaleness: 1000})
	w.stale = 1000
	check("just fresh", w.decide("lock", open), true, abi.OK, 0)
	w.stale = 1001
	check("too stale", w.decide("lock", open), false, abi.CodeTooStale, 0)
	w.stale = 0
	w.verdict(abi.Verdict{Permit: true, ByTransaction: true})
	check("by transaction", w.decide("lock", open), false, abi.CodeByTransaction, 0)
	for _, c := range []struct {
		name   string
		s      script
		reason uint64
	}{
		{"abort", do('x', 44, "", ""), 44}, {"trap", do('u', 0, "", ""), 0}, {"loop", do('l', 0, "", ""), 0},
		{"write", do('s', 0, "k", "v"), 0}, {"no verdict", nil, 0}, {"garbage", do('r', 0, "\xff", ""), 0},
		{"verdict without decision", do('r', 0, "\xa0", ""), 0}, {"two verdicts", do('r', 0, "\xa1\x01\xf5\xa1\x01\xf5", ""), 0},
		{"permit and then abort", do('r', 0, "\xa1\x01\xf5", "").add('x', 1, "", ""), 1},
	} {
		w.policy(c.s)
		if c.s == nil {
			w.policy(do('r', 0, "", ""))
		}
		check(c.name, w.decide("lock", open), false, abi.CodePolicyFailed, c.reason)
	}
	w.policy(do('x', abi.AbortNoPolicy, "", ""))
	check("no policy", w.decide("lock", open), false, abi.CodeNoPolicy, 0)
	if w.count(chain.StatePrefix("policy")) != 1 {
		t.Error("a decision wrote to the state")
	}
}

// Who asks, about whom, and where: what is refused before any contract runs.
func TestDecideRefuses(t *testing.T) {
	w := withPolicy(t)
	lock := person("lock").id()
	hash := record(w, chain.ContractKey("policy"), chain.ParseContract).Code
	w.block(w.tx(developer, chain.OpDeploy, &chain.Deploy{Name: "late", Code: hash, Init: do('u', 0, "", "")}),
		w.tx(developer, chain.OpBind, &chain.Bind{Domain: "late", Contract: "late"}))
	ctx := context.Background()
	key := abi.Caller{Key: person("lock").Public()}
	pending := w.l.Decide(ctx, key, "late", open)
	w.tickOver()
	for _, c := range []struct {
		name string
		got  abi.Answer
		want abi.Code
	}{
		{"pending contract", pending, abi.CodeContractPending},
		{"failed contract", w.l.Decide(ctx, key, "late", open), abi.CodeContractFailed},
		{"unknown domain", w.l.Decide(ctx, key, "none", open), abi.CodeNoDomain},
		{"unknown key", w.decide("stranger", open), abi.CodeUnknownKey},
		{"key of no length", w.l.Decide(ctx, abi.Caller{Key: []byte{}}, "", open), abi.CodeUnknownKey},
		{"unknown account", w.l.Decide(ctx, abi.Caller{Account: abi.Hash{1}}, "", open), abi.CodeNotAuthenticated},
		{"garbage", w.decide("lock", []byte("hello")), abi.CodeMalformed},
		{"nothing", w.decide("lock", nil), abi.CodeMalformed},
		{"too much", w.decide("lock", make([]byte, abi.MaxTransaction+1)), abi.CodeTooLarge},
		{"no resource", w.decide("lock", []byte{0xa1, 0x02, 0xa1, 0x01, 0x61, 'x'}), abi.CodeBadArgument},
		{"another subject", w.decide("lock", about("user", "alice")), abi.CodeSubjectNotCaller},
		{"another device", w.decide("lock", about("device", hex.EncodeToString(make([]byte, 32)))), abi.CodeSubjectNotCaller},
		{"itself as another kind", w.decide("lock", about("user", hex.EncodeToString(lock[:]))), abi.CodeSubjectNotCaller},
		{"itself in capitals", w.decide("lock", about("device", upper(lock))), abi.CodeSubjectNotCaller},
		{"itself", w.decide("lock", about("device", hex.EncodeToString(lock[:]))), abi.OK},
		{"about a user, by the door", w.decide(door, about("user", "alice")), abi.OK},
		{"by its account", w.l.Decide(ctx, abi.Caller{Account: door.id()}, "", about("user", "alice")), abi.OK},
		{"an account about itself", w.decide(nobody, open), abi.OK},
	} {
		if c.got.Code != c.want || c.got.Permit != (c.want == abi.OK) {
			t.Errorf("%s: %+v, want %v", c.name, c.got, c.want)
		}
	}
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusQuarantined})
	if a := w.decide("lock", open); a.Code != abi.CodeDeviceInactive {
		t.Errorf("quarantined: %+v", a)
	}
	for _, id := range []string{hex.EncodeToString(lock[:]), upper(lock)} {
		if a := w.decide(door, about("device", id)); a.Permit || a.Code != abi.CodeDeviceInactive {
			t.Errorf("by the door, about who is quarantined: %+v", a)
		}
	}
	if a := w.decide(door, about("user", hex.EncodeToString(lock[:]))); !a.Permit {
		t.Errorf("a user with a name like a device's: %+v", a)
	}
	if s, err := w.l.Standing(person("lock").Public()); err != nil || s.Active() || s.Device != abi.StatusQuarantined {
		t.Errorf("standing %+v, %v", s, err)
	}
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusActive, Reason: "looked at"})
	if a := w.decide("lock", open); !a.Permit {
		t.Errorf("active again: %+v", a)
	}
	w.l.cfg.Isolated = func(id abi.Hash) bool { return id == lock }
	for name, a := range map[string]abi.Answer{
		"isolated here":               w.decide("lock", open),
		"by its account":              w.l.Decide(ctx, abi.Caller{Account: lock}, "", open),
		"by the door, about the lock": w.decide(door, about("device", hex.EncodeToString(lock[:]))),
	} {
		if a.Permit || a.Code != abi.CodeDeviceInactive {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := w.decide(door, about("user", "alice")); !a.Permit {
		t.Errorf("another, while one is isolated: %+v", a)
	}
}

func upper(h abi.Hash) string {
	b := []byte(hex.EncodeToString(h[:]))
	for i, c := range b {
		if c >= 'a' {
			b[i] = c - 32
		}
	}
	return string(b)
}

// told checks which request a policy gets: it puts the message into its
// verdict's obligations, {1: true, 4: [message]}.
func (w *world) told(name string, who person, request []byte, want *abi.Entity) {
	w.t.Helper()
	q, err := abi.ParseDecisionRequest(request)
	if err != nil {
		w.t.Fatal(err)
	}
	q.Subject = want
	message := abi.AppendDecisionRequest(nil, &q)
	head := cbor.AppendBytes(nil, message)
	w.policy(do('r', 0, "\xa2\x01\xf5\x04\x81"+string(head[:len(head)-len(message)]), "").add('m', 0, "", ""))
	a := w.decide(who, request)
	if !a.Permit || len(a.Obligations) == 0 || string(a.Obligations[1:]) != string(head) {
		w.t.Errorf("%s: the policy got %x, want %x", name, a.Obligations, head)
	}
}

// The subject that a policy sees of a caller is the ledger's word, never the
// caller's own.
func TestSubject(t *testing.T) {
	w := withPolicy(t)
	lock, account := person("lock").id(), nobody.id()
	id := hex.EncodeToString(lock[:])
	properties := cbor.AppendMap(nil, 4)
	properties = cbor.AppendText(cbor.AppendText(properties, "model"), "Lock 2")
	properties = cbor.AppendText(properties, "labels")
	properties = cbor.AppendText(cbor.AppendText(cbor.AppendMap(properties, 1), "floor"), "3")
	properties = cbor.AppendText(cbor.AppendText(properties, "serial"), "serial of lock")
	properties = cbor.AppendText(cbor.AppendText(properties, "manufacturer"), "Acme")
	device := &abi.Entity{Type: "device", ID: id, Properties: properties}
	w.told("absent", "lock", open, device)
	w.told("itself, with properties that it made up", "lock", about("device", id), device)
	w.told("account", nobody, open, &abi.Entity{Type: "account", ID: hex.EncodeToString(account[:])})
	alice, err := abi.ParseDecisionRequest(about("user", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	w.told("enforcement point about a user", door, about("user", "alice"), alice.Subject)
}

// A policy's clock is the gateway's, never behind the newest block, and none
// where the gateway does not know the time.
func TestDecideClock(t *testing.T) {
	w := withPolicy(t)
	// The verdict carries the clock's eight bytes as its obligations: the
	// policy writes {1: true, 4: [bytes(8)]}.
	w.policy(do('r', 0, "\xa2\x01\xf5\x04\x81\x48", "").add('w', 0, "", ""))
	clock := func() (ms int64) {
		t.Helper()
		a := w.decide("lock", open)
		if !a.Permit || len(a.Obligations) != 10 {
			t.Fatalf("%+v", a)
		}
		for i, b := range a.Obligations[2:] {
			ms |= int64(b) << (8 * i)
		}
		return ms
	}
	w.now += 5000
	if got := clock(); got != w.now {
		t.Errorf("clock %d, want %d", got, w.now)
	}
	w.now = start - 5000
	if got := clock(); got != w.l.Head().Time {
		t.Errorf("slow clock %d, want the block's %d", got, w.l.Head().Time)
	}
	w.trusted = false
	if got := clock(); got != -1 {
		t.Errorf("a clock that is not known to be right gives %d", got)
	}
}

// A follow-up is submitted before the answer; where it cannot be, there is no
// permit.
func TestFollowUp(t *testing.T) {
	w := withPolicy(t)
	w.verdict(abi.Verdict{Permit: true, FollowUp: []byte("log it")})
	if a := w.decide("lock", open); a.Permit || a.Code != abi.CodeUnavailable {
		t.Errorf("without a way to submit: %+v", a)
	}
	var got []byte
	var fails error
	w.submit = func(_ context.Context, call []byte) error { got = call; return fails }
	w.reopen()
	a := w.decide("lock", open)
	c, err := chain.ParseCall(got)
	if !a.Permit || err != nil || c.Contract != "policy" || string(c.Message) != "log it" {
		t.Errorf("%+v, submitted %+v, %v", a, c, err)
	}
	fails = errors.New("full")
	if a := w.decide("lock", open); a.Permit || a.Code != abi.CodeUnavailable {
		t.Errorf("not accepted: %+v", a)
	}
}

// Record numbers go on after a restart.
func TestRecordNumbers(t *testing.T) {
	w := withPolicy(t)
	first := w.decide("lock", open).Record
	w.now++
	w.reopen()
	if second := w.decide("lock", open).Record; second <= first {
		t.Errorf("record %d after %d", second, first)
	}
}

// While blocks change a device's status and the policy, every answer is the
// one of the height that it names.
func TestDecideWhileBlocksCommit(t *testing.T) {
	w := withPolicy(t)
	w.verdict(abi.Verdict{Permit: true, Reason: 1})
	lock := person("lock").id()
	want := map[uint64]abi.Answer{w.l.Head().Height: {Permit: true, Reason: 1}}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	answers := make([]map[uint64][]abi.Answer, 3)
	for i := range answers {
		answers[i] = map[uint64][]abi.Answer{}
		asking.Go(func() {
			for ctx.Err() == nil {
				a := w.decide("lock", open)
				if list := answers[i][a.Height]; len(list) < 100 {
					answers[i][a.Height] = append(list, a)
				}
			}
		})
	}
	state := abi.Answer{Permit: true, Reason: 1}
	for i := range 60 {
		switch i % 3 {
		case 0:
			w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusSuspended})
			state.Permit = false
		case 1:
			v := abi.Verdict{Permit: true, Reason: uint64(i + 2)}
			w.verdict(v)
			state.Reason = v.Reason
		case 2:
			w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: lock, Status: abi.StatusActive, Reason: "looked at"})
			state.Permit = true
		}
		want[w.l.Head().Height] = state
	}
	cancel()
	asking.Wait()
	seen := 0
	for _, byHeight := range answers {
		for height, list := range byHeight {
			for _, a := range list {
				seen++
				w := want[height]
				if a.Permit != w.Permit || a.Permit && a.Reason != w.Reason || !a.Permit && a.Code != abi.CodeDeviceInactive {
					t.Fatalf("at height %d: %+v, want %+v", height, a, w)
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d answers", seen)
	}
}
