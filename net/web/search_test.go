package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// fakeSearch gives what it is told and remembers what it was asked.
type fakeSearch struct {
	mu     sync.Mutex
	page   abi.SearchPage
	err    error
	asked  []abi.Search // guarded by mu
	caller abi.Caller   // guarded by mu
}

func (f *fakeSearch) Search(_ context.Context, caller abi.Caller, s *abi.Search) (abi.SearchPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.caller = append(f.asked, *s), caller
	return f.page, f.err
}

func searchServer(t testing.TB, f *fakeSearch) *Server {
	s, _ := newServer(t, &fakeNode{}, func(c *Config) { c.Search = f })
	return s
}

const (
	whoReads   = `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`
	whatReads  = `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record"}}`
	whatAction = `{"subject":{"type":"user","id":"alice"},"resource":{"type":"record","id":"record-1"}}`
)

func answered(t *testing.T, s *Server, path, body string, status int) string {
	t.Helper()
	resp := call(s, "POST", path, body)
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s %s: %d %s, %v; want %d", path, body, resp.StatusCode, text, err, status)
	}
	return string(text)
}

func TestSearchAnswers(t *testing.T) {
	f := &fakeSearch{page: abi.SearchPage{Found: []string{"a\"b", "é"}, Token: []byte{0xff, 1}, Height: 9}}
	s := searchServer(t, f)
	for path, c := range map[string]struct{ body, want string }{
		searchSubjectPath:  {whoReads, `{"results":[{"type":"user","id":"a\"b"},{"type":"user","id":"é"}],"page":{"next_token":"_wE","count":2,"properties":{"height":9}}}`},
		searchResourcePath: {whatReads, `{"results":[{"type":"record","id":"a\"b"},{"type":"record","id":"é"}],"page":{"next_token":"_wE","count":2,"properties":{"height":9}}}`},
		searchActionPath:   {whatAction, `{"results":[{"name":"a\"b"},{"name":"é"}],"page":{"next_token":"_wE","count":2,"properties":{"height":9}}}`},
	} {
		if got := answered(t, s, path, c.body, 200); got != c.want {
			t.Errorf("%s: %s, want %s", path, got, c.want)
		}
	}
	f.page = abi.SearchPage{Height: 9}
	if got := answered(t, s, searchActionPath, whatAction, 200); got != `{"results":[],"page":{"next_token":"","count":0,"properties":{"height":9}}}` {
		t.Error(got)
	}
	if f.caller.Account != (abi.Hash{1}) || f.caller.Key != nil {
		t.Errorf("asked as %+v", f.caller)
	}
}

// What is asked is what the node gets: without the id of what is sought.
func TestSearchAsks(t *testing.T) {
	f := &fakeSearch{}
	s := searchServer(t, f)
	for _, c := range []struct {
		path, body string
		want       abi.Search
		same       string
	}{
		{searchSubjectPath, strings.Replace(whoReads, `"type":"user"`, `"type":"user","id":"bob"`, 1), abi.Search{What: abi.SoughtSubjects, Domain: abi.DefaultDomain}, whoReads},
		{searchResourcePath, strings.Replace(whatReads, `"type":"record"`, `"type":"record","id":7`, 1), abi.Search{What: abi.SoughtResources, Domain: abi.DefaultDomain}, whatReads},
		{searchActionPath, strings.Replace(whatAction, `{"subject"`, `{"action":[],"subject"`, 1), abi.Search{What: abi.SoughtActions, Domain: abi.DefaultDomain}, whatAction},
		{searchSubjectPath, strings.Replace(whoReads, `{"subject"`, `{"page":{"limit":3,"token":"_wE","sort":1},"x":[],"subject"`, 1),
			abi.Search{What: abi.SoughtSubjects, Domain: abi.DefaultDomain, Limit: 3, Token: []byte{0xff, 1}}, whoReads},
		{searchSubjectPath, strings.Replace(whoReads, `{"subject"`, `{"page":{"token":""},"subject"`, 1), abi.Search{What: abi.SoughtSubjects, Domain: abi.DefaultDomain}, whoReads},
	} {
		f.asked = nil
		answered(t, s, c.path, c.body, 200)
		answered(t, s, c.path, c.same, 200)
		got, same := f.asked[0], f.asked[1]
		if got.What != c.want.What || got.Domain != c.want.Domain || got.Limit != c.want.Limit || string(got.Token) != string(c.want.Token) || string(got.Request) != string(same.Request) {
			t.Errorf("%s asks %+v", c.body, got)
		}
		if cbor.Validate(got.Request) != nil {
			t.Errorf("%s: %x", c.body, got.Request)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	s := searchServer(t, &fakeSearch{})
	page := func(p string) string { return strings.Replace(whoReads, `{"subject"`, `{"page":`+p+`,"subject"`, 1) }
	for _, c := range []struct{ path, body, field string }{
		{searchSubjectPath, `{}`, "subject"},
		{searchSubjectPath, strings.Replace(whoReads, `"user"`, `""`, 1), "subject.type"},
		{searchSubjectPath, strings.Replace(whoReads, `"record-1"`, `null`, 1), "resource.id"},
		{searchSubjectPath, whatAction, "action"},
		{searchResourcePath, strings.Replace(whatReads, `"alice"`, `""`, 1), "subject.id"},
		{searchResourcePath, strings.Replace(whatReads, `"type":"record"`, `"id":"1"`, 1), "resource.type"},
		{searchActionPath, `{"subject":{"type":"user","id":"alice"}}`, "resource"},
		{searchActionPath, strings.Replace(whatAction, `"id":"alice"`, `"id":"alice","properties":[]`, 1), "subject.properties"},
		{searchSubjectPath, page(`7`), "page"},
		{searchSubjectPath, page(`{"limit":-1}`), "page.limit"},
		{searchSubjectPath, page(`{"limit":"many"}`), "page.limit"},
		{searchSubjectPath, page(`{"token":1}`), "page.token"},
		{searchSubjectPath, page(`{"token":"*"}`), "page.token"},
		{searchSubjectPath, page(`{"token":"AB"}`), "page.token"}, // bits left over: not as it was given
		{searchSubjectPath, page(`{"token":"` + strings.Repeat("A", 4*abi.MaxSearchToken) + `"}`), "page.token"},
		{searchSubjectPath, `[]`, ""},
		{searchSubjectPath, `{"subject":{"type":"a","type":"b"}}`, ""},
	} {
		var got struct{ Error struct{ Field string } }
		if err := json.Unmarshal([]byte(answered(t, s, c.path, c.body, 400)), &got); err != nil || got.Error.Field != c.field {
			t.Errorf("%s: field %q, %v; want %q", c.body, got.Error.Field, err, c.field)
		}
	}
}

// Errors of the node become statuses, and no cause gets out.
func TestSearchErrors(t *testing.T) {
	f := &fakeSearch{}
	s := searchServer(t, f)
	for _, c := range []struct {
		err    error
		status int
	}{
		{abi.CodeNoDomain, 404}, {abi.CodeBadArgument, 400}, {abi.CodeSearchOutdated, 400}, {abi.CodeSubjectNotCaller, 403},
		{abi.CodeDeviceInactive, 403}, {abi.CodeNoEntryPoint, 501}, {abi.CodeTimeout, 503}, {abi.CodeNotReady, 503},
		{abi.CodeBusy, 503}, {abi.CodePolicyFailed, 500}, {abi.CodeNoPolicy, 500}, {abi.CodeInternal, 500}, {errDisk, 500},
		{fmt.Errorf("reading /secret/path: %w", abi.CodeBusy), 503},
	} {
		f.err = c.err
		if text := answered(t, s, searchActionPath, whatAction, c.status); strings.Contains(text, "secret") {
			t.Errorf("%v: %s", c.err, text)
		}
	}
	f.err = errors.New("x")
	for _, path := range []string{"/domains/annex" + searchActionPath} {
		if resp := call(s, "POST", path, whatAction); resp.StatusCode != 403 {
			t.Errorf("another domain's token: %d", resp.StatusCode)
		}
	}
}

func TestSearchIsOptional(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, nil)
	answered(t, s, searchSubjectPath, whoReads, 404)
	with := searchServer(t, &fakeSearch{})
	for _, c := range []struct {
		s    *Server
		want bool
	}{{s, false}, {with, true}} {
		resp := call(c.s, "GET", wellKnown, "")
		text, err := io.ReadAll(resp.Body)
		if err != nil || strings.Contains(string(text), "search_subject_endpoint") != c.want {
			t.Errorf("%s %v", text, err)
		}
	}
}

// Whatever is sent, the node gets a whole search in canonical form, or nothing.
func FuzzSearch(f *testing.F) {
	for _, body := range []string{whoReads, whatReads, whatAction, `{"page":{"token":"_wE","limit":1}}`} {
		f.Add(uint8(0), []byte(body))
		f.Add(uint8(1), []byte(body))
		f.Add(uint8(2), []byte(body))
	}
	node := &fakeSearch{page: abi.SearchPage{Found: []string{"x"}}}
	s := searchServer(f, node)
	paths := []string{searchSubjectPath, searchResourcePath, searchActionPath}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		node.asked = nil
		resp := call(s, "POST", paths[int(which)%len(paths)], string(content))
		if (resp.StatusCode == 200) != (len(node.asked) == 1) {
			t.Fatalf("status %d, %d searches", resp.StatusCode, len(node.asked))
		}
		for _, q := range node.asked {
			if cbor.Validate(q.Request) != nil || q.Check() != nil || len(q.Token) > 0 && base64.RawURLEncoding.EncodeToString(q.Token) == "" {
				t.Fatalf("%+v", q)
			}
		}
	})
}
