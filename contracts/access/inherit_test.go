package access_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

func could(subject, action, resource string) *abi.DecisionRequest {
	s, r := splitRef(subject), splitRef(resource)
	return &abi.DecisionRequest{Subject: &s, Action: abi.Action{Name: action}, Resource: r}
}

func splitRef(s string) abi.Entity {
	kind, id, _ := strings.Cut(s, ":")
	return abi.Entity{Type: kind, ID: id}
}

// rolesPolicy lets "viewer" look and denies "banned" all; other roles imply them.
const rolesPolicy = `{
	"roles": {"admin": ["editor"], "editor": ["viewer", "author"], "a": ["b"], "b": ["c"], "c": ["a", "viewer"], "traitor": ["banned"]},
	"entities": [
		{"type": "user", "id": "admin", "roles": ["admin"]}, {"type": "user", "id": "editor", "roles": ["editor"]},
		{"type": "user", "id": "viewer", "roles": ["viewer"]}, {"type": "user", "id": "author", "roles": ["author"]},
		{"type": "user", "id": "circle", "roles": ["b"]}, {"type": "user", "id": "traitor", "roles": ["admin", "traitor"]},
		{"type": "user", "id": "none"}
	],
	"rules": [
		{"id": "look", "effect": "permit", "actions": ["look"], "resource": {"type": "doc"}, "subject": {"roles": ["viewer"]}},
		{"id": "edit", "effect": "permit", "actions": ["edit"], "resource": {"type": "doc"}, "when": {"contains": ["subject.roles", "author"]}},
		{"id": "banned", "effect": "deny", "actions": ["look", "edit"], "resource": {"type": "doc"}, "subject": {"roles": ["banned"]}}
	]}`

func TestRolesImplyRoles(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, rolesPolicy), 0)
	for who, may := range map[string]string{
		"admin": "look edit", "editor": "look edit", "viewer": "look", "author": "edit", "circle": "look", "traitor": "", "none": "", "nobody": "",
	} {
		for _, action := range []string{"look", "edit"} {
			if got := c.decide(could("user:"+who, action, "doc:1")); got.Permit != strings.Contains(may, action) {
				t.Errorf("%s %s: %+v", who, action, got)
			}
		}
	}
	// The table is changed in place, and gone.
	c.must(abi.EntryExecute, access.PutRoles(1, []access.Role{{Name: "none", Implies: []string{"viewer"}}, {Name: "viewer", Implies: []string{"banned"}}}))
	if got := c.decide(could("user:viewer", "look", "doc:1")); got.Permit || access.Reason(got.Reason) != access.ReasonDenyRule {
		t.Errorf("a viewer who is banned: %+v", got)
	}
	c.must(abi.EntryExecute, access.PutRoles(1, nil))
	if c.decide(could("user:admin", "look", "doc:1")).Permit || !c.decide(could("user:viewer", "look", "doc:1")).Permit {
		t.Error("roles imply others without a table")
	}
}

// A table of roles is bounded in rows and in what they imply, and comes in order.
func TestRolesAreChecked(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, rolesPolicy), 0)
	rows := func(n, each int) (list []access.Role) {
		for i := range n {
			row := access.Role{Name: fmt.Sprintf("r%03d", i)}
			for k := range each {
				row.Implies = append(row.Implies, fmt.Sprintf("x%d", k))
			}
			list = append(list, row)
		}
		return list
	}
	for name, bad := range map[string][]access.Role{
		"65 rows": rows(65, 1), "129 implied": rows(43, 3), "a row that implies nothing": rows(1, 0),
		"two of a name": {{Name: "a", Implies: []string{"b"}}, {Name: "a", Implies: []string{"c"}}},
		"out of order":  {{Name: "b", Implies: []string{"c"}}, {Name: "a", Implies: []string{"c"}}},
	} {
		t.Run(name, func(t *testing.T) { c.refuse(access.CodeBadRoles, access.PutRoles(1, bad)) })
	}
	c.must(abi.EntryExecute, access.PutRoles(1, rows(64, 2)))
	if _, err := access.ParseDocument([]byte(`{"roles": {"a": []}, "rules": []}`)); err == nil {
		t.Error("a role that implies nothing is a document's")
	}
}

// treePolicy: folders lie in folders, people are in groups in groups.
func treePolicy(deep int, rules string) string {
	var b strings.Builder
	b.WriteString(`{"entities": [`)
	for i := range deep {
		fmt.Fprintf(&b, `{"type": "folder", "id": "f%d", "relations": {"parent": [{"type": "folder", "id": "f%d"}]}},`, i, i+1)
		fmt.Fprintf(&b, `{"type": "group", "id": "g%d", "relations": {"member_of": [{"type": "group", "id": "g%d"}]}},`, i, i+1)
	}
	fmt.Fprintf(&b, `{"type": "group", "id": "g%d", "relations": {"viewer": [{"type": "folder", "id": "f%d"}]}},`, deep, deep)
	b.WriteString(`{"type": "folder", "id": "circle", "relations": {"parent": [{"type": "folder", "id": "circle"}, {"type": "folder", "id": "round"}]}},
		{"type": "folder", "id": "round", "relations": {"parent": [{"type": "folder", "id": "circle"}, {"type": "folder", "id": "f0"}]}},
		{"type": "user", "id": "ann", "relations": {"member_of": [{"type": "group", "id": "g0"}], "viewer": [{"type": "folder", "id": "own"}]}},
		{"type": "user", "id": "bob", "relations": {"viewer": [{"type": "folder", "id": "f2"}]}}],
		"rules": [` + rules + `]}`)
	return b.String()
}

const (
	throughBoth = `{"id": "look", "effect": "permit", "actions": ["look"], "resource": {"type": "folder"}, "relation": "viewer", "through": {"subject": "member_of", "resource": "parent"}},
		{"id": "write", "effect": "permit", "actions": ["write"], "resource": {"type": "folder"}, "relation": "viewer", "through": {"resource": "parent"}},
		{"id": "open", "effect": "permit", "actions": ["open"], "resource": {"type": "folder"}, "subject": {"groups": {"member_of": [{"type": "group", "id": "g3"}]}}, "through": {"subject": "member_of"}},
		{"id": "plain", "effect": "permit", "actions": ["plain"], "resource": {"type": "folder"}, "relation": "viewer"}`
	denyThrough = throughBoth + `, {"id": "no", "effect": "deny", "actions": ["look"], "resource": {"type": "folder"}, "relation": "banned_from", "through": {"subject": "member_of", "resource": "parent"}}`
)

func TestRelationsAreHandedOn(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, treePolicy(4, throughBoth)), 0)
	for _, test := range []struct {
		who, action, what string
		want              bool
	}{
		{"user:ann", "look", "folder:f4", true}, {"user:ann", "look", "folder:f0", true}, {"user:ann", "look", "folder:own", true},
		{"user:ann", "look", "folder:circle", true}, {"user:ann", "look", "folder:other", false},
		{"user:ann", "write", "folder:f0", false}, {"user:ann", "write", "folder:own", true},
		{"user:bob", "look", "folder:f0", true}, {"user:bob", "look", "folder:f2", true}, {"user:bob", "look", "folder:f3", false},
		{"user:bob", "write", "folder:f1", true}, {"user:bob", "write", "folder:circle", true},
		{"user:ann", "open", "folder:f9", true}, {"user:bob", "open", "folder:f9", false},
		{"group:g2", "open", "folder:f9", true}, {"group:g3", "open", "folder:f9", false},
		{"user:ann", "plain", "folder:f0", false}, {"user:bob", "plain", "folder:f2", true}, {"user:bob", "plain", "folder:f0", false},
		{"user:nobody", "look", "folder:f0", false},
	} {
		if got := c.decide(could(test.who, test.action, test.what)); got.Permit != test.want {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

// Eight steps up are seen, nine are not: then a permit does not hold, and a
// denial does.
func TestDeepInheritance(t *testing.T) {
	for deep, want := range map[int]bool{7: true, 8: false, 12: false} {
		c := newChain(t, wasm.EngineAuto)
		c.load(parse(t, treePolicy(deep, throughBoth)), 0)
		// Ann is one step below the first group.
		if got := c.decide(could("user:ann", "look", fmt.Sprintf("folder:f%d", deep))); got.Permit != want {
			t.Errorf("%d groups up: %+v", deep, got)
		}
		if c.env.reads > 40 {
			t.Errorf("%d reads", c.env.reads)
		}
		c = newChain(t, wasm.EngineAuto)
		c.load(parse(t, treePolicy(deep, denyThrough)), 0)
		if got := c.decide(could("user:bob", "look", "folder:f0")); got.Permit != (deep <= 8) {
			t.Errorf("a denial %d folders up: %+v", deep, got)
		}
	}
}

// A wide relation ends a climb after sixteen entities.
func TestWideInheritance(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"entities": [{"type": "user", "id": "ann", "relations": {"member_of": [`)
	for i := range 200 {
		fmt.Fprintf(&b, `{"type": "group", "id": "g%03d"},`, i)
	}
	b.WriteString(`{"type": "group", "id": "last"}]}}, {"type": "group", "id": "last", "relations": {"viewer": [{"type": "folder", "id": "f"}]}},
		{"type": "group", "id": "g003", "relations": {"viewer": [{"type": "folder", "id": "near"}]}}], "rules": [` + denyThrough + `]}`)
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, b.String()), 0)
	if c.decide(could("user:ann", "look", "folder:f")).Permit || c.decide(could("user:ann", "look", "folder:near")).Permit {
		t.Error("what was not seen was taken to be harmless")
	}
	if c.env.reads > 40 {
		t.Errorf("%d reads", c.env.reads)
	}
}

// A policy without roles and through is written as before they came: the
// ledger's benchmarks keep its messages.
func TestOldDocumentsKeepTheirMessages(t *testing.T) {
	file, err := os.ReadFile("../../runtime/ledger/testdata/building.policy")
	if err != nil {
		t.Fatal(err)
	}
	d := parseFile(t, "building.json")
	want := d.Messages(1, 0)
	r := cbor.NewReader(file)
	if n := r.Array(); n != len(want) {
		t.Fatalf("%d messages, want %d", len(want), n)
	}
	for i := range want {
		if got := r.Bytes(); !bytes.Equal(got, want[i]) {
			t.Errorf("message %d is %x, was %x", i, want[i], got)
		}
	}
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
}
