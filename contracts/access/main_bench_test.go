package access_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

// crowd is a chain whose policy holds n people among 200 rules, some of whom
// hold a delegation and broke a glass.
func crowd(tb testing.TB, n int) *wasmtest.Chain {
	tb.Helper()
	c := wasmtest.New(tb, wasm.EngineAuto, "access", contracts.Access().Wasm)
	c.Input.Roles = abi.RoleEnforcementPoint
	var entities, rules []string
	for i := range n {
		entities = append(entities, fmt.Sprintf(`{"type": "user", "id": "u%06d", "roles": ["staff"], "properties": {"floor": %d}, "relations": {"member_of": [{"type": "group", "id": "g"}]}}`, i, i%40))
	}
	entities = append(entities, fmt.Sprintf(`{"type": "group", "id": "g", "relations": {"viewer": [{"type": "site", "id": "s"}]}}, {"type": "door", "id": "own", "owner": "%x"}`, wasmtest.Owner))
	for i := range 197 {
		rules = append(rules, fmt.Sprintf(`{"id": "r%d", "effect": "permit", "actions": ["act%d"], "resource": {"type": "door"}, "subject": {"roles": ["staff"]}, "when": {"ge": ["subject.properties.floor", 0]}}`, i, i))
	}
	rules = append(rules, `{"id": "implied", "effect": "permit", "actions": ["enter"], "resource": {"type": "door"}, "subject": {"roles": ["visitor"]}}`,
		`{"id": "through", "effect": "permit", "actions": ["view"], "resource": {"type": "site"}, "relation": "viewer", "through": {"subject": "member_of"}}`,
		`{"id": "glass", "effect": "permit", "actions": ["force"], "resource": {"type": "door"}, "subject": {"roles": ["staff"]}, "break_glass_ms": 600000}`)
	d := parse(tb, `{"roles": {"staff": ["visitor"]}, "entities": [`+strings.Join(entities, ",")+`], "rules": [`+strings.Join(rules, ",")+`]}`)
	for _, m := range d.Messages(1, 0) {
		c.Execute(m)
	}
	return c
}

// mainCalls are what the contract is mostly asked, by name.
func mainCalls(n int) map[string]struct {
	entry   abi.Entry
	message []byte
} {
	who := fmt.Sprintf("user:u%06d", n/2)
	decide := func(action, what string) []byte { return abi.AppendDecisionRequest(nil, could(who, action, what)) }
	search := func(what abi.Sought) []byte {
		return abi.AppendSearchCall(nil, &abi.SearchCall{What: what, Request: decide("act7", "door:1"), Limit: 10, Now: wasmtest.Start})
	}
	return map[string]struct {
		entry   abi.Entry
		message []byte
	}{
		"decide":          {abi.EntryDecide, decide("act7", "door:1")},
		"decide-implied":  {abi.EntryDecide, decide("enter", "door:1")},
		"decide-through":  {abi.EntryDecide, decide("view", "site:s")},
		"put-entity":      {abi.EntryExecute, access.PutEntity(1, &access.Entity{Ref: access.Ref{Type: "user", ID: "new"}, Roles: []string{"staff"}})},
		"delegate":        {abi.EntryExecute, access.Delegate(access.Ref{Type: "door", ID: "own"}, access.Ref{Type: "user", ID: "u000001"}, "open", wasmtest.Start+1000)},
		"break-glass":     {abi.EntryExecute, access.BreakGlass(could(who, "force", "door:1"), "smoke")},
		"search-subjects": {abi.EntrySearch, search(abi.SoughtSubjects)},
		"search-actions":  {abi.EntrySearch, search(abi.SoughtActions)},
	}
}

// BenchmarkMain measures the contract's calls with 10 and 100,000 people.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		c := crowd(b, n)
		for name, call := range mainCalls(n) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { c.Bench(b, call.entry, call.message) })
		}
	}
}

// No call costs more because there are many people.
func TestCostDoesNotGrow(t *testing.T) {
	gas := map[string]uint64{}
	for _, n := range []int{10, 10_000} {
		c := crowd(t, n)
		for name, call := range mainCalls(n) {
			c.Must(call.entry, call.message)
			if before, ok := gas[name]; ok && 2*c.Gas > 3*before {
				t.Errorf("%s: %d gas with 10 people, %d with %d", name, before, c.Gas, n)
			}
			gas[name] = c.Gas
		}
	}
}
