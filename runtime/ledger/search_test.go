package ledger

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

//go:embed testdata/search.wasm
var searchWasm []byte

// searching is a world whose default domain searches as it is told.
func searching(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.upload(developer, searchWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "policy", Code: sha256.Sum256(searchWasm)})
	w.tickOver()
	w.must(developer, chain.OpBind, &chain.Bind{Domain: abi.DefaultDomain, Contract: "policy"})
	w.enrol("lock", nil)
	return w
}

// tell says what the next searches answer.
func (w *world) tell(text []byte) {
	w.t.Helper()
	message := make([]byte, 512)
	copy(message, text)
	w.want(w.do(developer, chain.OpCall, &chain.Call{Contract: "policy", Message: message}), abi.OK)
}

// answerOf makes what tell takes of a page.
func answerOf(cursor string, found ...string) []byte {
	out := []byte{0x82, 0x80 | byte(len(found))}
	for _, f := range found {
		out = append(append(out, 0x60|byte(len(f))), f...)
	}
	if cursor == "" {
		out = append(out, 0xf6)
	} else {
		out = append(append(out, 0x40|byte(len(cursor))), cursor...)
	}
	return append(binary.LittleEndian.AppendUint16([]byte("r"), uint16(len(out))), out...)
}

func (w *world) search(who person, s abi.Search) (abi.SearchPage, error) {
	return w.l.Search(context.Background(), abi.Caller{Key: who.Public()}, &s)
}

func sought(what abi.Sought, subject *abi.Entity) abi.Search {
	q := abi.DecisionRequest{Subject: subject, Resource: abi.Entity{Type: "door", ID: "1"}}
	if what != abi.SoughtActions {
		q.Action.Name = "open"
	}
	if what == abi.SoughtResources {
		q.Resource.ID = ""
	}
	return abi.Search{What: what, Request: abi.AppendDecisionRequest(nil, &q)}
}

func TestSearch(t *testing.T) {
	w := searching(t)
	w.tell(answerOf("", "a", "b"))
	for _, s := range []abi.Search{sought(abi.SoughtActions, nil), sought(abi.SoughtResources, nil)} {
		page, err := w.search("lock", s)
		if err != nil || !slices.Equal(page.Found, []string{"a", "b"}) || page.Token != nil || page.Height != w.l.Head().Height {
			t.Errorf("%v: %+v, %v", s.What, page, err)
		}
	}
	page, err := w.search(door, sought(abi.SoughtSubjects, &abi.Entity{Type: "user"}))
	if err != nil || len(page.Found) != 2 {
		t.Errorf("subjects: %+v, %v", page, err)
	}
}

// Who may search for whom is who may ask for a decision.
func TestSearchRefuses(t *testing.T) {
	w := searching(t)
	w.tell(answerOf("", "a"))
	self := func(who person) *abi.Entity {
		id := who.id()
		return &abi.Entity{Type: "device", ID: hex.EncodeToString(id[:])}
	}
	other := &abi.Entity{Type: "user", ID: "ann"}
	broken := sought(abi.SoughtActions, nil)
	broken.Request = broken.Request[:len(broken.Request)-1]
	nothing := sought(abi.SoughtActions, nil)
	nothing.What = 4
	typeless := sought(abi.SoughtSubjects, &abi.Entity{})
	large := sought(abi.SoughtActions, nil)
	large.Request = make([]byte, abi.MaxTransaction+1)
	nowhere := sought(abi.SoughtActions, nil)
	nowhere.Domain = "nowhere"
	longToken := sought(abi.SoughtActions, nil)
	longToken.Token = make([]byte, abi.MaxSearchToken+1)
	for _, c := range []struct {
		name string
		who  person
		s    abi.Search
		want abi.Code
	}{
		{"oneself", "lock", sought(abi.SoughtActions, self("lock")), abi.OK},
		{"somebody else", "lock", sought(abi.SoughtActions, other), abi.CodeSubjectNotCaller},
		{"subjects", "lock", sought(abi.SoughtSubjects, &abi.Entity{Type: "user"}), abi.CodeSubjectNotCaller},
		{"an enforcement point for somebody else", door, sought(abi.SoughtResources, other), abi.OK},
		{"a stranger", "stranger", sought(abi.SoughtActions, nil), abi.CodeUnknownKey},
		{"a torn request", "lock", broken, abi.CodeMalformed},
		{"nothing that is", "lock", nothing, abi.CodeBadArgument},
		{"subjects of no type", door, typeless, abi.CodeBadArgument},
		{"too large", "lock", large, abi.CodeTooLarge},
		{"no domain", "lock", nowhere, abi.CodeNoDomain},
		{"a long token", "lock", longToken, abi.CodeBadArgument},
	} {
		_, err := w.search(c.who, c.s)
		var code abi.Code
		if errors.As(err, &code); code != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A device that decisions deny everything is not found, and finds nothing.
func TestSearchLeavesOutInactiveDevices(t *testing.T) {
	w := searching(t)
	gone := w.enrol("gone", nil)
	w.must(owner, chain.OpDeviceStatus, set("gone", abi.StatusStolen))
	w.tell(answerOf("", "short"))
	name := hex.EncodeToString(gone[:])
	page, err := w.search(door, sought(abi.SoughtActions, &abi.Entity{Type: "device", ID: name}))
	if err != nil || len(page.Found) != 0 {
		t.Errorf("a stolen device may do %+v, %v", page, err)
	}
	if _, err := w.search("gone", sought(abi.SoughtActions, nil)); !errors.Is(err, abi.CodeDeviceInactive) {
		t.Errorf("a stolen device searches: %v", err)
	}
	lock := person("lock").id()
	answer := []byte{0x82, 0x82, 0x78, 64}
	answer = append(append(append(answer, name...), 0x78, 64), hex.EncodeToString(lock[:])...)
	answer = append(answer, 0xf6)
	w.tell(append(binary.LittleEndian.AppendUint16([]byte("r"), uint16(len(answer))), answer...))
	page, err = w.search(door, sought(abi.SoughtSubjects, &abi.Entity{Type: "device"}))
	if err != nil || !slices.Equal(page.Found, []string{hex.EncodeToString(lock[:])}) {
		t.Errorf("found %+v, %v", page, err)
	}
}

// What a contract gives that is no page is an error, never a finding.
func TestSearchOfBadContracts(t *testing.T) {
	w := searching(t)
	raw := func(b ...byte) []byte {
		return append(binary.LittleEndian.AppendUint16([]byte("r"), uint16(len(b))), b...)
	}
	long := append([]byte{0x82, 0x81, 0x79, 1, 1}, make([]byte, 257)...)
	for name, c := range map[string]struct {
		text []byte
		want abi.Code
	}{
		"nothing":             {raw(), abi.CodePolicyFailed},
		"garbage":             {raw(0xff), abi.CodePolicyFailed},
		"a name that is none": {answerOf("", ""), abi.CodePolicyFailed},
		"a number":            {raw(0x82, 0x81, 1, 0xf6), abi.CodePolicyFailed},
		"a name too long":     {raw(append(long, 0xf6)...), abi.CodePolicyFailed},
		"an empty cursor":     {raw(0x82, 0x80, 0x40), abi.CodePolicyFailed},
		"too many":            {answerOf("", "a", "b", "c"), abi.CodePolicyFailed},
		"a loop":              {[]byte("l"), abi.CodePolicyFailed},
		"a write":             {[]byte("s"), abi.CodePolicyFailed},
		"an abort":            {[]byte{'x', 7}, abi.CodePolicyFailed},
		"no policy":           {[]byte{'x', 0xff}, abi.CodeNoPolicy},
		"an outdated cursor":  {[]byte{'x', 0xfe}, abi.CodeSearchOutdated},
	} {
		w.tell(c.text)
		s := sought(abi.SoughtActions, nil)
		s.Limit = 2
		page, err := w.search("lock", s)
		if !errors.Is(err, c.want) || page.Found != nil {
			t.Errorf("%s: %+v, %v, want %v", name, page, err, c.want)
		}
	}
	w.deploy(developer, "mute") // it has no search
	w.must(developer, chain.OpBind, &chain.Bind{Domain: "mute", Contract: "mute"})
	s := sought(abi.SoughtActions, nil)
	s.Domain = "mute"
	if _, err := w.search("lock", s); !errors.Is(err, abi.CodeNoEntryPoint) {
		t.Errorf("a contract that does not search: %v", err)
	}
}

// A contract whose pages never end does not hold a node up.
func TestSearchIsBounded(t *testing.T) {
	w := searching(t)
	w.tell(answerOf("on", "a"))
	page, err := w.search("lock", sought(abi.SoughtActions, nil))
	if err != nil || len(page.Found) != maxSearchCalls || string(page.Token) != "on" {
		t.Errorf("%d found, token %q, %v; want one of each of %d calls", len(page.Found), page.Token, err, maxSearchCalls)
	}
	s := sought(abi.SoughtActions, nil)
	s.Limit = 3
	if page, err = w.search("lock", s); err != nil || len(page.Found) != 3 || page.Token == nil {
		t.Errorf("%+v, %v; want a page of 3", page, err)
	}
	w.tell(answerOf("on"))
	if page, err = w.search("lock", s); err != nil || len(page.Found) != 0 || page.Token == nil {
		t.Errorf("%+v, %v; want an empty page that is not the last", page, err)
	}
}
