package access_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

// searchGas is what a node grants a call of search.
const searchGas = 20_000_000

// search follows a search to its end, in pages of at most limit.
func (c *chain) search(what abi.Sought, q *abi.DecisionRequest, limit uint64) (found []string) {
	c.t.Helper()
	call := abi.SearchCall{What: what, Request: abi.AppendDecisionRequest(nil, q), Limit: limit, Now: -1}
	if !c.env.now.IsZero() {
		call.Now = c.env.now.UnixMilli()
	}
	for range 10_000 {
		page, next, err := abi.ParseSearchAnswer(c.must(abi.EntrySearch, abi.AppendSearchCall(nil, &call)))
		if err != nil || uint64(len(page)) > limit {
			c.t.Fatalf("%q %v", page, err)
		}
		if c.used > searchGas {
			c.t.Fatalf("a page takes %d gas", c.used)
		}
		found = append(found, page...)
		if call.Cursor = next; next == nil {
			return found
		}
	}
	c.t.Fatal("the search does not end")
	return nil
}

// dice makes random policies that use everything.
type dice struct{ *rand.Rand }

func (d dice) one(list ...string) string { return list[d.IntN(len(list))] }

func (d dice) some(n int, name string) string {
	var list []string
	for i := range n {
		if d.IntN(3) == 0 {
			list = append(list, fmt.Sprintf("%q", name+fmt.Sprint(i)))
		}
	}
	if len(list) == 0 {
		list = []string{fmt.Sprintf("%q", name+"0")}
	}
	return strings.Join(list, ",")
}

func (d dice) entity(kind string, i int) string {
	fields := []string{fmt.Sprintf(`"type": %q, "id": "%s%d"`, kind, kind[:1], i)}
	if d.IntN(2) == 0 {
		fields = append(fields, `"roles": [`+d.some(4, "role")+`]`)
	}
	if d.IntN(2) == 0 {
		fields = append(fields, fmt.Sprintf(`"properties": {"level": %d, "tag": %q}`, d.IntN(4), d.one("x", "y")))
	}
	if d.IntN(2) == 0 {
		fields = append(fields, fmt.Sprintf(`"relations": {%q: [{"type": %q, "id": "%s%d"}], "up": [{"type": %q, "id": "%s%d"}]}`,
			d.one("sees", "owns"), "doc", "d", d.IntN(6), kind, kind[:1], d.IntN(6)))
	}
	if kind == "doc" && d.IntN(3) == 0 {
		fields = append(fields, fmt.Sprintf(`"owner": %q`, hex.EncodeToString(someone[:])))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func (d dice) rule(i int) string {
	fields := []string{
		fmt.Sprintf(`"id": "r%d", "effect": %q`, i, d.one("permit", "permit", "permit", "deny")),
		`"actions": [` + d.some(4, "act") + `]`,
		fmt.Sprintf(`"resource": {"type": %q%s}`, d.one("doc", "doc", "door"), d.one("", "", `, "ids": ["d1", "d3"]`)),
	}
	add := func(one int, field string) {
		if d.IntN(one) == 0 {
			fields = append(fields, field)
		}
	}
	add(2, `"subject": {"roles": [`+d.some(5, "role")+`]}`)
	relation := d.IntN(3) == 0
	if relation {
		fields = append(fields, fmt.Sprintf(`"relation": %q`, d.one("sees", "owns")))
		add(2, d.one(`"through": {"subject": "up"}`, `"through": {"resource": "up"}`, `"through": {"subject": "up", "resource": "up"}`))
	}
	add(3, fmt.Sprintf(`"when": {%q: [%q, %d]}`, d.one("ge", "lt"), d.one("subject.properties.level", "resource.properties.level"), d.IntN(4)))
	add(4, `"hours": {"zone": "Europe/Vienna", "days": ["mon-fri"], "from": "07:00", "to": "18:00"}`)
	if strings.Contains(fields[0], `"permit"`) {
		add(5, `"break_glass_ms": 60000`)
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func (d dice) policy() string {
	var entities, rules []string
	for i := range 6 {
		entities = append(entities, d.entity("user", i), d.entity("doc", i))
	}
	for i := range 2 + d.IntN(10) {
		rules = append(rules, d.rule(i))
	}
	return fmt.Sprintf(`{"roles": {"role1": ["role2"], "role2": ["role3", "role1"]}, "entities": [%s], "rules": [%s]}`,
		strings.Join(entities, ",\n"), strings.Join(rules, ",\n"))
}

// What a search finds is what decisions permit, among all that the policy holds,
// each once and whatever the size of the pages.
func TestSearchAgreesWithDecisions(t *testing.T) {
	for seed := range uint64(60) {
		d := dice{rand.New(rand.NewPCG(seed, 7))}
		src := d.policy()
		c := newChain(t, wasm.EngineAuto)
		c.load(parse(t, src), 0)
		c.env.now = time.UnixMilli(1_700_000_000_000 + int64(d.IntN(7*24))*3600_000)
		c.input.Time = c.env.now.UnixMilli()
		if d.IntN(5) == 0 {
			c.env.now = time.Time{}
		}
		c.delegateSome(d)
		c.breakSome(d)
		c.agree(d, src)
	}
}

var (
	everyUser   = []string{"u0", "u1", "u2", "u3", "u4", "u5"}
	everyDoc    = []string{"d0", "d1", "d2", "d3", "d4", "d5"}
	everyAction = []string{"act0", "act1", "act2", "act3", "lent"}
)

func (c *chain) delegateSome(d dice) {
	c.input.Caller = &someone
	for range 6 {
		until := c.input.Time + int64(1+d.IntN(2))*1000
		message := access.Delegate(access.Ref{Type: "doc", ID: d.one(everyDoc...)}, access.Ref{Type: "user", ID: d.one(everyUser...)}, d.one(everyAction...), until)
		_, _, _ = c.call(abi.EntryExecute, message) // refused where someone does not own it
	}
	if !c.env.now.IsZero() {
		c.env.now = c.env.now.Add(1000 * time.Millisecond) // at the edge of half of them
	}
}

func (c *chain) breakSome(d dice) {
	c.input.Roles = abi.RoleEnforcementPoint
	for range 6 {
		_, _, _ = c.call(abi.EntryExecute, access.BreakGlass(could("user:"+d.one(everyUser...), d.one(everyAction...), "doc:"+d.one(everyDoc...)), "x"))
	}
}

func (c *chain) agree(d dice, src string) {
	c.t.Helper()
	permitted := func(user, action, doc string) bool { return c.decide(could("user:"+user, action, "doc:"+doc)).Permit }
	check := func(what abi.Sought, q *abi.DecisionRequest, all []string, permit func(string) bool) {
		c.t.Helper()
		var want []string
		for _, x := range all {
			if permit(x) {
				want = append(want, x)
			}
		}
		got := c.search(what, q, uint64(1+d.IntN(8)))
		if slices.Sort(got); !slices.Equal(got, want) {
			c.t.Fatalf("%v of %+v: found %q, permitted are %q, of\n%s", what, q, got, want, src)
		}
	}
	for range 6 {
		user, action, doc := d.one(everyUser...), d.one(everyAction...), d.one(everyDoc...)
		q := could("user:"+user, action, "doc:"+doc)
		q.Subject.ID = ""
		check(abi.SoughtSubjects, q, everyUser, func(x string) bool { return permitted(x, action, doc) })
		q = could("user:"+user, action, "doc:"+doc)
		check(abi.SoughtResources, q, everyDoc, func(x string) bool { return permitted(user, action, x) })
		q.Action.Name = ""
		check(abi.SoughtActions, q, everyAction, func(x string) bool { return permitted(user, x, doc) })
	}
}

// A search over more than one call may look at comes in pages, whose cursors
// hold until the policy changes.
func TestSearchPages(t *testing.T) {
	var entities []string
	var want []string
	for i := range 500 {
		entities = append(entities, fmt.Sprintf(`{"type": "user", "id": "u%03d", "properties": {"n": %d}}`, i, i%3))
		if i%3 == 1 {
			want = append(want, fmt.Sprintf("u%03d", i))
		}
	}
	src := `{"entities": [` + strings.Join(entities, ",") + `], "rules": [{"id": "r", "effect": "permit", "actions": ["go"], "resource": {"type": "room"}, "when": {"eq": ["subject.properties.n", 1]}}]}`
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, src), 0)
	q := could("user:", "go", "room:1")
	for _, limit := range []uint64{1, 7, 64} {
		if got := c.search(abi.SoughtSubjects, q, limit); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %d found, want %d", limit, len(got), len(want))
		}
	}
	call := abi.SearchCall{What: abi.SoughtSubjects, Request: abi.AppendDecisionRequest(nil, q), Limit: 5, Now: -1}
	_, cursor, err := abi.ParseSearchAnswer(c.must(abi.EntrySearch, abi.AppendSearchCall(nil, &call)))
	if err != nil || cursor == nil {
		t.Fatal(err)
	}
	c.must(abi.EntryExecute, access.DeleteEntity(1, access.Ref{Type: "user", ID: "u499"}))
	call.Cursor = cursor
	if _, code, err := c.call(abi.EntrySearch, abi.AppendSearchCall(nil, &call)); err == nil || code != abi.AbortSearchOutdated {
		t.Errorf("a cursor from before: %v, code %d", err, code)
	}
	// Forged cursors lead nowhere else than among the candidates.
	d := dice{rand.New(rand.NewPCG(1, 1))}
	for range 300 {
		forged := bytes.Clone(cursor)
		for range 1 + d.IntN(6) {
			forged[d.IntN(len(forged))] = byte(d.IntN(256))
		}
		call.Cursor = forged[:d.IntN(len(forged)+1)]
		out, _, err := c.call(abi.EntrySearch, abi.AppendSearchCall(nil, &call))
		if err != nil {
			continue
		}
		page, _, err := abi.ParseSearchAnswer(out)
		for _, id := range page {
			if !slices.Contains(want, id) || err != nil {
				t.Fatalf("a forged cursor finds %q, %v", id, err)
			}
		}
	}
}

// Rules that fill many pages do not take a search beyond its gas or memory.
func TestSearchAmongManyRules(t *testing.T) {
	var rules, entities []string
	for i := range 1500 {
		rules = append(rules, fmt.Sprintf(`{"id": "r%d", "effect": "permit", "actions": ["go"], "resource": {"type": "room"}, "subject": {"ids": ["u%d"]}, "description": "x", "obligations": [%q]}`,
			i, i*7, strings.Repeat("o", 200)))
	}
	for i := range 300 {
		entities = append(entities, fmt.Sprintf(`{"type": "user", "id": "u%d"}`, i))
	}
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, `{"entities": [`+strings.Join(entities, ",")+`], "rules": [`+strings.Join(rules, ",")+`]}`), 0)
	if got := c.search(abi.SoughtSubjects, could("user:", "go", "room:1"), 64); len(got) != 43 {
		t.Errorf("%d found, want 43", len(got))
	}
	if got := c.search(abi.SoughtActions, could("user:u7", "", "room:1"), 64); !slices.Equal(got, []string{"go"}) {
		t.Errorf("found %q", got)
	}
}
