package access_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

// read reads the active policy back.
func (c *chain) read() (*access.Document, access.Info) {
	c.t.Helper()
	d, info, err := access.ReadDocument(c.query)
	if err != nil {
		c.t.Fatal(err)
	}
	return d, info
}

func (c *chain) as(account abi.Hash) *chain {
	c.input.Caller = &account
	return c
}

func TestReadBackWhole(t *testing.T) {
	for _, src := range []string{everything, largePolicy(1000, 20), `{"rules":[]}`} {
		c := newChain(t, wasm.EngineAuto)
		d := parse(t, src)
		c.load(d, 0)
		got, info := c.read()
		if got.Digest() != d.Digest() || info.Digest != d.Digest() || info.Count != uint64(d.Count()) || info.Version != 1 {
			t.Fatalf("%+v, want digest %x", info, d.Digest())
		}
	}
}

func TestReadDocumentWithoutPolicy(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	if _, _, err := access.ReadDocument(c.query); !errors.Is(err, access.ErrNoPolicy) {
		t.Fatal(err)
	}
	if _, code, err := c.call(abi.EntryDecide, abi.AppendDecisionRequest(nil, ask("u", "a", "open", "l", "x"))); err == nil || access.Code(code) != access.CodeNoPolicy {
		t.Fatalf("%v, %v", err, code)
	}
}

func TestReadDocumentNoticesAChange(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, everything), 0)
	queries := 0
	_, _, err := access.ReadDocument(func(m []byte) ([]byte, error) {
		if queries++; queries == 2 {
			c.must(abi.EntryExecute, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "user", ID: "new"}}))
		}
		return c.query(m)
	})
	if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Fatal(err)
	}
}

func ask(subjectType, subject, action, resourceType, resource string) *abi.DecisionRequest {
	return &abi.DecisionRequest{
		Subject: &abi.Entity{Type: subjectType, ID: subject}, Action: abi.Action{Name: action},
		Resource: abi.Entity{Type: resourceType, ID: resource},
	}
}

func TestActivationNeedsBaseCountAndDigest(t *testing.T) {
	d := parse(t, everything)
	messages := d.Messages(1, 0)
	last := len(messages) - 1
	t.Run("missing part", func(t *testing.T) {
		c := newChain(t, wasm.EngineAuto)
		for i, m := range messages {
			if i != 1 && i != last {
				c.must(abi.EntryExecute, m)
			}
		}
		c.refuse(access.CodeIncomplete, messages[last])
		c.must(abi.EntryExecute, messages[1])
		// All is there, but in another order: the digest says so.
		c.refuse(access.CodeIncomplete, messages[last])
	})
	t.Run("moved base", func(t *testing.T) {
		c := newChain(t, wasm.EngineAuto)
		c.load(d, 0)
		two, three := d.Messages(2, 1), d.Messages(3, 1)
		for _, m := range append(two[:last:last], three[:last]...) {
			c.must(abi.EntryExecute, m)
		}
		c.must(abi.EntryExecute, three[last])
		c.refuse(access.CodeBaseMoved, two[last])
		c.must(abi.EntryExecute, access.Abandon(2))
		if _, info := c.read(); info.Version != 3 {
			t.Fatalf("%+v", info)
		}
	})
	t.Run("twice", func(t *testing.T) {
		c := newChain(t, wasm.EngineAuto)
		c.load(d, 0)
		c.refuse(access.CodeBadVersion, messages[0])
		c.refuse(access.CodeNotBuilding, messages[1])
		c.refuse(access.CodeNotBuilding, messages[last])
		c.refuse(access.CodeNotBuilding, access.Abandon(1))
	})
}

func TestPartsAreRefusedOnArrival(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	d := parse(t, everything)
	messages := d.Messages(1, 0)
	c.refuse(access.CodeNotBuilding, messages[1])
	c.must(abi.EntryExecute, messages[0])
	c.refuse(access.CodeBadVersion, messages[0])
	c.must(abi.EntryExecute, messages[1])
	c.refuse(access.CodeDuplicate, messages[1])
	c.must(abi.EntryExecute, messages[2])
	c.refuse(access.CodeDuplicate, messages[2])
}

// A mistake anywhere in a message leaves nothing of it.
func TestMutatedMessagesChangeNothingOrStayReadable(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	messages := parse(t, everything).Messages(1, 0)
	c.must(abi.EntryExecute, messages[0])
	for _, m := range messages[1 : len(messages)-1] {
		for i := range m {
			for _, flip := range []byte{1, 0x20, 0x80} {
				mutated := bytes.Clone(m)
				mutated[i] ^= flip
				before := len(c.env.state)
				_, code, err := c.call(abi.EntryExecute, mutated)
				if err == nil {
					// A change of a name or value is a valid message; take it back.
					c.env.state = map[string][]byte{}
					c.must(abi.EntryExecute, messages[0])
				} else if code == 0 || len(c.env.state) != before {
					t.Fatalf("byte %d ^ %#x: %v with code %d", i, flip, err, code)
				}
			}
		}
	}
}

func TestHostileMessages(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, everything), 0)
	good := access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "a", ID: "b"}})
	for _, test := range []struct {
		want    access.Code
		message []byte
	}{
		{access.CodeMalformed, nil},
		{access.CodeMalformed, []byte{0xff}},
		{access.CodeMalformed, good[:len(good)-1]},
		{access.CodeMalformed, append(bytes.Clone(good), 0)},
		{access.CodeMalformed, []byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{access.CodeUnknownOperation, []byte{0x81, 0}},
		{access.CodeUnknownOperation, []byte{0x81, 0x18, 99}},
		{access.CodeUnknownOperation, []byte{0x82, 1, 1}},
		{access.CodeBadVersion, access.Abandon(0)},
		{access.CodeNotActive, access.PutEntity(2, &access.Entity{Ref: access.Ref{Type: "a", ID: "b"}})},
		{access.CodeNotFound, access.DeleteEntity(1, access.Ref{Type: "no", ID: "one"})},
		{access.CodeNotFound, access.DeleteRule(1, "nothing")},
		{access.CodeBadName, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "", ID: "b"}})},
		{access.CodeBadName, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "a", ID: strings.Repeat("x", 161)}})},
		{access.CodeBadEntity, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "a", ID: "b"}, Owner: "me"})},
		{access.CodeBadEntity, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "a", ID: "b"}, Properties: []byte{0xa1, 1, 2}})},
		{access.CodeTooLarge, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "a", ID: "b"}, Properties: bigMap(9 << 10)})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{ID: "x", ResourceType: "a"})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{ID: "x", Actions: []string{"a"}})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{Actions: []string{"a"}, ResourceType: "a"})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{ID: "x", Actions: []string{"a", "a"}, ResourceType: "a"})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{ID: "x", Actions: many(33), ResourceType: "a"})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", SubjectRoles: many(65)})},
		{access.CodeBadRule, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", Obligations: []byte{0xa0}})},
		{access.CodeMalformed, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", TTL: access.MaxAge + 1})},
		{access.CodeUnknownZone, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", Hours: &access.Hours{Zone: "Mars", Days: 1}})},
		{access.CodeBadHours, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", Hours: &access.Hours{Zone: "Asia/Kolkata", Days: 0x80}})},
		{access.CodeBadHours, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", Hours: &access.Hours{Zone: "Asia/Kolkata", Days: 1, From: 1440}})},
		{access.CodeBadCondition, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", When: deep(9)})},
		{access.CodeBadCondition, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", When: wide(64)})},
		{access.CodeBadCondition, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", When: &access.Condition{Op: "all"}})},
		{access.CodeTooLarge, access.PutRule(1, &access.Rule{ID: "x", Actions: many(1), ResourceType: "a", When: &access.Condition{Op: "eq", Left: access.Operand{Path: []string{"subject", "id"}}, Right: access.Operand{Value: bigMap(5 << 10)}}})},
		{access.CodeBadZone, access.PutZone(1, &access.Zone{Name: "X", Until: 5, Steps: []access.Step{{Start: 5}}})},
		{access.CodeBadZone, access.PutZone(1, &access.Zone{Name: "X", Until: 5})},
		{access.CodeBadZone, access.PutZone(1, &access.Zone{Name: "X", Until: 9, Steps: []access.Step{{Start: 5}, {Start: 5}}})},
		{access.CodeBadZone, access.PutZone(1, &access.Zone{Name: "X", Until: 9, Steps: []access.Step{{Start: 5, Offset: 1 << 20}}})},
		{access.CodeBadAdmins, access.SetAdmins(make([]abi.Hash, 33))},
	} {
		before := len(c.env.state)
		c.refuse(test.want, test.message)
		if len(c.env.state) != before {
			t.Fatalf("%x left something", test.message)
		}
	}
}

func many(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("a", i)
	}
	return list
}

func bigMap(n int) []byte {
	return cbor.AppendBytes(cbor.AppendText(cbor.AppendMap(nil, 1), "x"), make([]byte, n))
}

func deep(n int) *access.Condition {
	c := access.Condition{Op: "exists", Left: access.Operand{Path: []string{"context", "x"}}}
	for range n - 1 {
		c = access.Condition{Op: "not", Terms: []access.Condition{c}}
	}
	return &c
}

func wide(n int) *access.Condition {
	c := access.Condition{Op: "any"}
	for range n {
		c.Terms = append(c.Terms, *deep(1))
	}
	return &c
}

func TestWhoMayAdminister(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.must(abi.EntryInit, access.Init([]abi.Hash{admin}))
	d := parse(t, everything)
	begin := d.Messages(1, 0)[0]
	c.as(someone).refuse(access.CodeNotAdmin, begin)
	c.as(admin).refuse(access.CodeNotAdmin, access.SetAdmins([]abi.Hash{someone}))
	c.as(admin).load(d, 0)
	c.as(owner).must(abi.EntryExecute, access.SetAdmins([]abi.Hash{someone}))
	c.as(admin).refuse(access.CodeNotAdmin, access.DeleteRule(1, "z-first"))
	c.input.ParentContract = "other"
	c.as(owner).refuse(access.CodeNested, access.DeleteRule(1, "z-first"))
	c.input.ParentContract = ""
	c.as(someone).must(abi.EntryExecute, access.DeleteRule(1, "z-first"))
	c.input.Caller = nil
	c.refuse(access.CodeNotAdmin, access.DeleteRule(1, "a-second"))
}

func TestOldVersionsAreDeletedInSteps(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	large := parse(t, largePolicy(1000, 20))
	c.load(large, 0)
	keys := len(c.env.state)
	c.load(parse(t, `{"rules":[]}`), 1)
	if ran := c.runTimers(); ran < keys/64 || ran > keys/64+2 {
		t.Fatalf("%d timers for %d keys", ran, keys)
	}
	// What is left: the active policy and the head of its version.
	if len(c.env.state) != 2 {
		t.Fatalf("%d keys are left", len(c.env.state))
	}
	if _, code, err := c.call(abi.EntryTimer, []byte{0, 0, 0, 2}); err == nil || access.Code(code) != access.CodeBadVersion {
		t.Fatalf("a timer for the active version: %v", err)
	}
}

func TestAbandonedVersionsAreDeleted(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	messages := parse(t, everything).Messages(7, 0)
	for _, m := range messages[:2] {
		c.must(abi.EntryExecute, m)
	}
	c.must(abi.EntryExecute, access.Abandon(7))
	c.refuse(access.CodeNotBuilding, messages[1])
	c.refuse(access.CodeBadVersion, messages[0])
	c.runTimers()
	if len(c.env.state) != 0 {
		t.Fatalf("%d keys are left", len(c.env.state))
	}
	c.must(abi.EntryExecute, messages[0])
}

// Rules and entities changed one by one leave what a load of the same would.
func TestSingleChanges(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, everything), 0)
	_, before := c.read()
	rule := &access.Rule{ID: "z-first", Permit: true, Actions: []string{"close", "wipe"}, ResourceType: "lock"}
	for _, m := range [][]byte{
		access.PutRule(1, rule),
		access.PutRule(1, &access.Rule{ID: "new", Actions: []string{"open"}, ResourceType: "lock", SubjectIDs: []string{"eve"}}),
		access.DeleteRule(1, "a-second"),
		access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "user", ID: "new"}, Roles: []string{"r"}}),
		access.DeleteEntity(1, access.Ref{Type: "lock", ID: "l"}),
		access.PutZone(1, &access.Zone{Name: "Mars", Until: 9, Steps: []access.Step{{Start: 5, Offset: 3}}}),
		access.PutZone(1, &access.Zone{Name: "Asia/Kolkata", Until: 9, Steps: []access.Step{{Start: 5, Offset: 3}}}),
	} {
		c.must(abi.EntryExecute, m)
		_, after := c.read()
		if after.Digest == before.Digest {
			t.Fatalf("%x leaves the digest", m)
		}
		before = after
	}
	d, _ := c.read()
	if len(d.Rules) != 2 || d.Rules[0].ID != "z-first" || d.Rules[1].ID != "new" || len(d.Entities) != 2 || len(d.Zones) != 3 {
		t.Fatalf("%+v", d)
	}
	for _, test := range []struct {
		subject, action string
		permit          bool
	}{{"bob", "wipe", true}, {"bob", "close", true}, {"bob", "open", false}} {
		if got := c.decide(ask("user", test.subject, test.action, "lock", "l")); got.Permit != test.permit {
			t.Errorf("%+v: %+v", test, got)
		}
	}
	if got := c.decide(ask("user", "eve", "open", "lock", "l")); access.Reason(got.Reason) != access.ReasonDenyRule || got.ReasonID != "new" {
		t.Errorf("%+v", got)
	}
}

// A list of rules that fills several pages keeps all of them through changes,
// and a decision reads one page more for each.
func TestManyRulesOnOneAction(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	d := &access.Document{}
	filler := access.Operand{Value: cbor.AppendBytes(nil, make([]byte, 3000))}
	for i := range 40 {
		d.Rules = append(d.Rules, access.Rule{
			ID: fmt.Sprint("r", i), Permit: true, Actions: []string{"open"}, ResourceType: "lock", SubjectIDs: []string{fmt.Sprint("s", i)},
			When: &access.Condition{Op: "ne", Left: access.Operand{Path: []string{"subject", "id"}}, Right: filler},
		})
	}
	c.load(d, 0)
	check := func(n int, want bool) {
		t.Helper()
		if got := c.decide(ask("user", fmt.Sprint("s", n), "open", "lock", "l")); got.Permit != want {
			t.Fatalf("rule %d: %+v", n, got)
		}
	}
	for i := range 40 {
		check(i, true)
	}
	if c.env.reads != 1+8 {
		t.Fatalf("%d reads over 8 pages", c.env.reads)
	}
	for i := 0; i < 40; i += 2 {
		c.must(abi.EntryExecute, access.DeleteRule(1, fmt.Sprint("r", i)))
	}
	grown := d.Rules[1]
	grown.Obligations = cbor.AppendBytes(cbor.AppendArray(nil, 1), make([]byte, 900))
	c.must(abi.EntryExecute, access.PutRule(1, &grown))
	for i := range 40 {
		check(i, i%2 == 1)
	}
	for i := 1; i < 40; i += 2 {
		c.must(abi.EntryExecute, access.DeleteRule(1, fmt.Sprint("r", i)))
	}
	if got, info := c.read(); got.Count() != 0 || info.Count != 0 {
		t.Fatalf("%+v", info)
	}
}

// Every message of a load stays within the gas that a chain's defaults allow a
// transaction, however small the entities and however full the pages are.
func TestGasOfALoad(t *testing.T) {
	const txGas = 20_000_000
	small := &access.Document{}
	for i := range 1500 {
		small.Entities = append(small.Entities, access.Entity{Ref: access.Ref{Type: "d", ID: fmt.Sprintf("%04d", i)}})
	}
	full := &access.Document{}
	for i := range 300 {
		full.Rules = append(full.Rules, access.Rule{
			ID: fmt.Sprintf("%03d", i), Actions: many(4), ResourceType: "t", SubjectIDs: []string{strings.Repeat("x", 150)},
		})
	}
	for _, d := range []*access.Document{small, full} {
		c := newChain(t, wasm.EngineAuto)
		for _, m := range d.Messages(1, 0) {
			c.must(abi.EntryExecute, m)
			if c.used > txGas*3/4 {
				t.Fatalf("operation %d costs %d gas", m[1], c.used)
			}
		}
		if got, _ := c.read(); got.Digest() != d.Digest() {
			t.Fatal("digest changed")
		}
	}
}

// TestReads holds the promise: at most six state reads a decision, however
// many rules do not concern it.
func TestReads(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	src := strings.Replace(largePolicy(1000, 20), `"rules":[`, `"rules":[
		{"id":"owned","effect":"deny","actions":["act-9"],"resource":{"type":"lock"},"subject":{"roles":["banned"]},"when":{"eq":["resource.properties.x",1]}},`, 1)
	src = strings.Replace(src, `"entities":[`, `"entities":[{"type":"lock","id":"mine","owner":"`+hexOf(someone)+`"},`, 1)
	c.load(parse(t, src), 0)
	subject := fmt.Sprintf("%064x", 711)
	for _, test := range []struct {
		q     *abi.DecisionRequest
		reads int
	}{
		{ask("device", subject, "act-3", "lock", "front-door"), 4}, // policy, page, subject; resource for its owner
		{ask("device", subject, "act-9", "lock", "mine"), 5},       // and a delegation
		{ask("device", subject, "nothing", "lock", "front-door"), 3},
		{ask("device", strings.Repeat("x", 300), "act-3", strings.Repeat("y", 300), "z"), 1},
	} {
		test.q.Context = properties(t, `{"mode":"other"}`)
		c.decide(test.q)
		if c.env.reads != test.reads || c.env.reads > 6 {
			t.Errorf("%s on %s: %d reads, want %d", test.q.Action.Name, test.q.Resource.ID, c.env.reads, test.reads)
		}
	}
}

func hexOf(h abi.Hash) string { return fmt.Sprintf("%x", h[:]) }

func TestDelegation(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	policy := `{"entities":[{"type":"lock","id":"l","owner":"` + hexOf(someone) + `"}],
		"rules":[{"id":"never","effect":"deny","actions":["open"],"resource":{"type":"lock"},"subject":{"ids":["eve"]}}]}`
	c.load(parse(t, policy), 0)
	lock := access.Ref{Type: "lock", ID: "l"}
	user := func(id string) access.Ref { return access.Ref{Type: "user", ID: id} }
	now := time.UnixMilli(c.input.Time)
	until := c.input.Time + 3600_000
	decide := func(id, action string) access.Reason {
		t.Helper()
		v := c.decide(ask("user", id, action, "lock", "l"))
		if v.Permit != (access.Reason(v.Reason) == access.ReasonDelegation) {
			t.Fatalf("%+v", v)
		}
		return access.Reason(v.Reason)
	}
	c.as(owner).refuse(access.CodeNotOwner, access.Delegate(lock, user("bob"), "open", until))
	c.as(someone)
	c.refuse(access.CodeNotOwner, access.Delegate(access.Ref{Type: "lock", ID: "other"}, user("bob"), "open", until))
	c.refuse(access.CodeBadExpiry, access.Delegate(lock, user("bob"), "open", c.input.Time))
	c.refuse(access.CodeBadExpiry, access.Delegate(lock, user("bob"), "open", c.input.Time+367*86400_000))
	c.must(abi.EntryExecute, access.Delegate(lock, user("bob"), "open", until))
	c.must(abi.EntryExecute, access.Delegate(lock, user("eve"), "open", until))
	for _, test := range []struct {
		now        time.Time
		id, action string
		want       access.Reason
	}{
		{now, "bob", "open", access.ReasonDelegation},
		{now, "bob", "close", access.ReasonNoRule},
		{now, "eve", "open", access.ReasonDenyRule},
		{now.Add(time.Hour), "bob", "open", access.ReasonNoRule},
		{time.Time{}, "bob", "open", access.ReasonTimeUnknown},
	} {
		c.env.now = test.now
		if got := decide(test.id, test.action); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	c.env.now = now
	// A delegation outlives a version of the policy, not a change of owner.
	c.as(owner).load(parse(t, policy), 1)
	if got := decide("bob", "open"); got != access.ReasonDelegation {
		t.Fatal(got)
	}
	c.must(abi.EntryExecute, access.PutEntity(2, &access.Entity{Ref: lock, Owner: hexOf(admin)}))
	if got := decide("bob", "open"); got != access.ReasonNoRule {
		t.Fatal(got)
	}
	c.must(abi.EntryExecute, access.PutEntity(2, &access.Entity{Ref: lock, Owner: hexOf(someone)}))
	c.as(admin).refuse(access.CodeNotOwner, access.Revoke(lock, user("bob"), "open"))
	c.as(someone).refuse(access.CodeNotFound, access.Revoke(lock, user("bob"), "close"))
	c.must(abi.EntryExecute, access.Revoke(lock, user("bob"), "open"))
	if got := decide("bob", "open"); got != access.ReasonNoRule {
		t.Fatal(got)
	}
	c.as(owner).must(abi.EntryExecute, access.Revoke(lock, user("eve"), "open"))
	for key := range c.env.state {
		if key[0] == 'd' {
			t.Fatalf("%x is left", key)
		}
	}
}

// A device cannot talk away what the policy knows of a resource; an
// enforcement point's word counts.
func TestDevicesDoNotOverruleStoredProperties(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, `{"entities":[{"type":"lock","id":"l","properties":{"zone":"restricted"}}],
		"rules":[{"id":"p","effect":"permit","actions":["open"],"resource":{"type":"lock"},"when":{"eq":["resource.properties.zone","public"]}}]}`), 0)
	q := ask("device", "d", "open", "lock", "l")
	q.Resource.Properties = properties(t, `{"zone":"public"}`)
	if !c.decide(q).Permit {
		t.Fatal("an enforcement point's word does not count")
	}
	c.input.Device = []byte{0xa0}
	if c.decide(q).Permit {
		t.Fatal("a device's word overrules the policy")
	}
	c.input.Roles = abi.RoleEnforcementPoint
	if !c.decide(q).Permit {
		t.Fatal("a device that is an enforcement point is not heard")
	}
	c.input.Roles = 0
	q.Resource.ID = "unknown"
	if !c.decide(q).Permit {
		t.Fatal("a device's word does not count where nothing is stored")
	}
}

// FuzzDecide: no request makes the contract trap; refusals are its own.
func FuzzDecide(f *testing.F) {
	f.Add(abi.AppendDecisionRequest(nil, ask("user", "alice", "read", "record", "record-1")))
	f.Add([]byte{0xa0})
	c := newChain(f, wasm.EngineAuto)
	c.load(parseFile(f, "certification.json"), 0)
	f.Fuzz(func(t *testing.T, message []byte) {
		c.t = t
		out, code, err := c.call(abi.EntryDecide, message)
		if err != nil {
			if code == 0 {
				t.Fatal(err)
			}
			return
		}
		if _, err := abi.ParseVerdict(out); err != nil {
			t.Fatal(err)
		}
		if err := cbor.Validate(message); err != nil {
			t.Fatalf("decided %x, which is no canonical CBOR", message)
		}
	})
}

// FuzzExecute: no message makes the contract trap, and what it took can be
// read back.
func FuzzExecute(f *testing.F) {
	d := parse(f, everything)
	for _, m := range d.Messages(2, 1) {
		f.Add(m)
	}
	f.Add(access.PutRule(1, &d.Rules[0]))
	f.Add(access.PutZone(1, &d.Zones[0]))
	f.Add(access.Delegate(access.Ref{Type: "lock", ID: "l"}, access.Ref{Type: "user", ID: "u"}, "open", 1_700_000_100_000))
	c := newChain(f, wasm.EngineAuto)
	c.load(d, 0)
	start := c.env.state
	f.Fuzz(func(t *testing.T, message []byte) {
		c.t = t
		c.env.state = make(map[string][]byte, len(start))
		for k, v := range start {
			c.env.state[k] = v
		}
		if _, code, err := c.call(abi.EntryExecute, message); err != nil && code == 0 {
			t.Fatal(err)
		}
		if _, _, err := access.ReadDocument(c.query); err != nil {
			t.Fatal(err)
		}
	})
}
