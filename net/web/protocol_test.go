package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

const (
	alice   = `"subject":{"type":"user","id":"alice"}`
	bob     = `"subject":{"type":"user","id":"bob"}`
	admin   = `"subject":{"type":"user","id":"bob","properties":{"role":"admin"}}`
	read    = `"action":{"name":"read"}`
	write   = `"action":{"name":"write"}`
	record1 = `"resource":{"type":"record","id":"record-1"}`
	record2 = `"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}`
	goodAsk = `{` + alice + `,` + read + `,` + record1 + `}`
)

func object(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

// TestCertification asks what the certification scenario asks at the levels
// Basic and Batch, core and properties.
func TestCertification(t *testing.T) {
	action := func(soft string) string { return `"action":{"name":"delete","properties":{"soft":` + soft + `}}` }
	evaluations := func(list ...string) string { return `"evaluations":[` + strings.Join(list, ",") + `]` }
	for _, c := range []struct{ name, path, body, want string }{
		{"permit", evaluationPath, goodAsk, "+"},
		{"alice writes", evaluationPath, object(alice, write, record1), "+"},
		{"bob reads", evaluationPath, object(bob, read, record1), "+"},
		{"bob does not write", evaluationPath, object(bob, write, record1), "-"},
		{"context", evaluationPath, object(alice, read, record1, `"context":{"time":"2025-06-27T18:03-07:00","ip":"192.168.1.1"}`), "+"},
		{"archived", evaluationPath, object(alice, write, record2), "-"},
		{"archived by admin", evaluationPath, object(admin, write, record2), "+"},
		{"soft delete", evaluationPath, object(alice, action("true"), record1), "+"},
		{"hard delete", evaluationPath, object(alice, action("false"), record1), "-"},
		{"more properties", evaluationPath, `{"subject":{"type":"user","id":"alice","properties":{"department":"Sales","role":"manager"}},
			"action":{"name":"read","properties":{"method":"GET"}},
			"resource":{"type":"record","id":"record-1","properties":{"status":"active","owner":"bob"}}}`, "+"},
		{"unknown fields", evaluationPath, object(alice, read, record1, `"foo":"bar","futureField":{"nested":true}`), "+"},
		{"unknown fields inside", evaluationPath, `{"subject":{"type":"user","id":"alice","x":[1]},"action":{"name":"read","y":null},` + record1 + `}`, "+"},
		{"empty maps", evaluationPath, `{"subject":{"type":"user","id":"alice","properties":{}},` + read + `,` + record1 + `,"context":{}}`, "+"},

		{"batch", evaluationsPath, object(alice, read, evaluations(object(record1), object(record2))), "[+-]"},
		{"batch in order", evaluationsPath, object(bob, record1, evaluations(object(read), object(write))), "[+-]"},
		{"batch resource properties", evaluationsPath, object(alice, write, evaluations(object(record1), object(record2))), "[+-]"},
		{"batch subject properties", evaluationsPath, object(write, record2, evaluations(object(alice), object(admin))), "[-+]"},
		{"batch without defaults", evaluationsPath, object(evaluations(goodAsk, object(bob, write, record1))), "[+-]"},
		{"batch context", evaluationsPath, object(alice, read, `"context":{"time":"x"}`, evaluations(object(record1), object(record1, `"context":{"source":"y"}`))), "[++]"},
		{"batch item incomplete", evaluationsPath, object(alice, read, evaluations(object(record1), `{}`)), "[+-]"},
		{"batch default incomplete but unused", evaluationsPath, object(alice, write, `"resource":{"type":"record"}`, evaluations(object(record1))), "[+]"},
		{"no evaluations", evaluationsPath, goodAsk, "+"},
		{"empty evaluations", evaluationsPath, object(alice, read, record1, `"evaluations":[]`), "+"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, &fakeNode{}, nil)
			for range 3 { // idempotent
				resp := call(s, "POST", c.path, c.body)
				got := decode(t, resp)
				if resp.StatusCode != 200 || got.decisions() != c.want {
					t.Fatalf("status %d, decisions %s, want %s; %+v", resp.StatusCode, got.decisions(), c.want, got)
				}
			}
		})
	}
}

// TestDefaultsReplaceWhole holds that nothing of a default entity reaches an
// item that brings its own.
func TestDefaultsReplaceWhole(t *testing.T) {
	node := &fakeNode{}
	s, _ := newServer(t, node, nil)
	resp := call(s, "POST", evaluationsPath, object(admin, write,
		`"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}`, `"context":{"a":1}`,
		`"evaluations":[{},
			{"subject":{"type":"user","id":"bob"}},
			{"subject":{"id":"bob"}},
			{"resource":{"id":"record-1"}},
			{"action":{"properties":{"soft":true}}},
			{"context":{}}]`))
	got := decode(t, resp)
	if got.decisions() != "[+----+]" {
		t.Fatalf("decisions %s", got.decisions())
	}
	asked := node.questions()
	if len(asked) != 3 {
		t.Fatalf("the node was asked %d times, want 3", len(asked))
	}
	if asked[1].request.Subject.Properties != nil {
		t.Error("the default subject's properties reached an item with its own subject")
	}
	if asked[0].request.Context == nil || asked[2].request.Context != nil {
		t.Error("an item's empty context does not replace the default")
	}
	for i, field := range map[int]string{2: "subject.type", 3: "resource.type", 4: "action.name"} {
		e := got.Evaluations[i].Context.Error
		if e == nil || e.Field != field || e.Status != 400 || e.Code != "bad-argument" {
			t.Errorf("item %d: error %+v, want field %s", i, e, field)
		}
	}
}

func TestSemantics(t *testing.T) {
	yes, no, bad := object(record1), object(record2), `{"resource":7}`
	for _, c := range []struct {
		semantic string
		items    []string
		want     string
		asked    int
	}{
		{"", []string{yes, no, yes}, "[+-+]", 3},
		{"execute_all", []string{no, yes, bad, yes}, "[-+-+]", 3},
		{"deny_on_first_deny", []string{yes, no, yes}, "[+-]", 2},
		{"deny_on_first_deny", []string{yes, bad, yes}, "[+-]", 1},
		{"deny_on_first_deny", []string{yes, yes}, "[++]", 2},
		{"permit_on_first_permit", []string{no, bad, yes, no}, "[--+]", 2},
		{"permit_on_first_permit", []string{no, no}, "[--]", 2},
	} {
		node := &fakeNode{}
		s, _ := newServer(t, node, nil)
		options := `"options":{"other":[1]}`
		if c.semantic != "" {
			options = `"options":{"evaluations_semantic":"` + c.semantic + `","x":1}`
		}
		got := decode(t, call(s, "POST", evaluationsPath, object(alice, write, options, `"evaluations":[`+strings.Join(c.items, ",")+`]`)))
		if got.decisions() != c.want || len(node.questions()) != c.asked {
			t.Errorf("%q %v: %s with %d questions, want %s with %d", c.semantic, c.items, got.decisions(), len(node.questions()), c.want, c.asked)
		}
	}
}

// TestBadRequests holds the status, the code and the blamed field of every
// refusal, and that the node is never asked.
func TestBadRequests(t *testing.T) {
	many := strings.Repeat("{},", abi.MaxBatch) + "{}"
	for _, c := range []struct {
		name, path, body string
		status           int
		code             abi.Code
		field            string
	}{
		{"no subject", evaluationPath, object(read, record1), 400, abi.CodeBadArgument, "subject"},
		{"no action", evaluationPath, object(alice, record1), 400, abi.CodeBadArgument, "action"},
		{"no resource", evaluationPath, object(alice, read), 400, abi.CodeBadArgument, "resource"},
		{"no subject type", evaluationPath, object(`"subject":{"id":"alice"}`, read, record1), 400, abi.CodeBadArgument, "subject.type"},
		{"no subject id", evaluationPath, object(`"subject":{"type":"user"}`, read, record1), 400, abi.CodeBadArgument, "subject.id"},
		{"no action name", evaluationPath, object(alice, `"action":{}`, record1), 400, abi.CodeBadArgument, "action.name"},
		{"no resource type", evaluationPath, object(alice, read, `"resource":{"id":"record-1"}`), 400, abi.CodeBadArgument, "resource.type"},
		{"no resource id", evaluationPath, object(alice, read, `"resource":{"type":"record"}`), 400, abi.CodeBadArgument, "resource.id"},
		{"subject is text", evaluationPath, object(`"subject":"alice"`, read, record1), 400, abi.CodeBadArgument, "subject"},
		{"subject is null", evaluationPath, object(`"subject":null`, read, record1), 400, abi.CodeBadArgument, "subject"},
		{"subject is a list", evaluationPath, object(`"subject":[]`, read, record1), 400, abi.CodeBadArgument, "subject"},
		{"type is null", evaluationPath, object(`"subject":{"type":null,"id":"alice"}`, read, record1), 400, abi.CodeBadArgument, "subject.type"},
		{"id is a number", evaluationPath, object(`"subject":{"type":"user","id":1}`, read, record1), 400, abi.CodeBadArgument, "subject.id"},
		{"id is empty", evaluationPath, object(`"subject":{"type":"user","id":""}`, read, record1), 400, abi.CodeBadArgument, "subject.id"},
		{"name is a number", evaluationPath, object(alice, `"action":{"name":123}`, record1), 400, abi.CodeBadArgument, "action.name"},
		{"action is true", evaluationPath, object(alice, `"action":true`, record1), 400, abi.CodeBadArgument, "action"},
		{"resource id is a map", evaluationPath, object(alice, read, `"resource":{"type":"record","id":{}}`), 400, abi.CodeBadArgument, "resource.id"},
		{"properties are text", evaluationPath, object(`"subject":{"type":"user","id":"alice","properties":"x"}`, read, record1), 400, abi.CodeBadArgument, "subject.properties"},
		{"action properties are a list", evaluationPath, object(alice, `"action":{"name":"read","properties":[]}`, record1), 400, abi.CodeBadArgument, "action.properties"},
		{"context is a list", evaluationPath, object(alice, read, record1, `"context":[]`), 400, abi.CodeBadArgument, "context"},
		{"wrong beats missing", evaluationPath, object(alice, `"resource":7`), 400, abi.CodeBadArgument, "resource"},
		{"Subject is not subject", evaluationPath, object(`"Subject":{"type":"user","id":"alice"}`, read, record1), 400, abi.CodeBadArgument, "subject"},

		{"batch default mistyped", evaluationsPath, object(`"subject":"alice"`, read, `"evaluations":[`+goodAsk+`]`), 400, abi.CodeBadArgument, "subject"},
		{"batch default id mistyped", evaluationsPath, object(`"subject":{"id":4}`, read, `"evaluations":[`+goodAsk+`]`), 400, abi.CodeBadArgument, "subject.id"},
		{"batch is a map", evaluationsPath, object(alice, read, record1, `"evaluations":{}`), 400, abi.CodeBadArgument, "evaluations"},
		{"batch is null", evaluationsPath, object(alice, read, record1, `"evaluations":null`), 400, abi.CodeBadArgument, "evaluations"},
		{"batch too long", evaluationsPath, object(alice, read, record1, `"evaluations":[`+many+`]`), 400, abi.CodeTooLarge, "evaluations"},
		{"single incomplete", evaluationsPath, object(alice, read, `"evaluations":[]`), 400, abi.CodeBadArgument, "resource"},
		{"options is text", evaluationsPath, object(`"options":"execute_all"`, `"evaluations":[`+goodAsk+`]`), 400, abi.CodeBadArgument, "options"},
		{"unknown semantic", evaluationsPath, object(`"options":{"evaluations_semantic":"all"}`, `"evaluations":[`+goodAsk+`]`), 400, abi.CodeBadArgument, "options.evaluations_semantic"},
		{"semantic is a number", evaluationsPath, object(`"options":{"evaluations_semantic":1}`, `"evaluations":[`+goodAsk+`]`), 400, abi.CodeBadArgument, "options.evaluations_semantic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := &fakeNode{}
			s, _ := newServer(t, node, nil)
			resp := call(s, "POST", c.path, c.body)
			wantProblem(t, resp, c.status, c.code, c.field)
			if n := len(node.questions()); n != 0 {
				t.Errorf("the node was asked %d times", n)
			}
		})
	}
}

func wantProblem(t *testing.T, resp *http.Response, status int, code abi.Code, field string) {
	t.Helper()
	got := decode(t, resp)
	if resp.StatusCode != status || got.Error == nil || got.Decision != nil || got.Evaluations != nil {
		t.Fatalf("status %d, answer %+v, want status %d and an error", resp.StatusCode, got, status)
	}
	e := got.Error
	if e.Code != code.Name() || e.Number != int(code) || e.Field != field || e.Message == "" {
		t.Fatalf("error %+v, want code %s and field %q", e, code.Name(), field)
	}
}

func TestContentType(t *testing.T) {
	for value, ok := range map[string]bool{
		"application/json":                     true,
		"application/json; charset=utf-8":      true,
		"application/json;charset=UTF-8":       true,
		"Application/JSON; profile=x":          true,
		"":                                     false,
		"text/plain":                           false,
		"application/jsonp":                    false,
		"application/problem+json":             false,
		"application/x-www-form-urlencoded":    false,
		"application/json; charset=utf-16":     false,
		"application/json, text/plain":         false,
		"application/json; charset=utf-8; =":   false,
		"application/json; charset=a; charset": false,
	} {
		s, _ := newServer(t, &fakeNode{}, nil)
		resp := call(s, "POST", evaluationPath, goodAsk, "Content-Type: "+value)
		if ok {
			if got := decode(t, resp); got.decisions() != "+" {
				t.Errorf("%q: %+v", value, got)
			}
		} else {
			wantProblem(t, resp, 400, abi.CodeBadArgument, "")
		}
	}
}

func TestAuthentication(t *testing.T) {
	for _, c := range []struct {
		name, path, header string
		status             int
		code               abi.Code
		challenge          string
	}{
		{"none", evaluationPath, "Authorization: ", 401, abi.CodeNotAuthenticated, `Bearer realm="postern"`},
		{"unknown", evaluationPath, "Authorization: Bearer nobody", 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"basic", evaluationPath, "Authorization: Basic " + goodToken, 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"empty", evaluationPath, "Authorization: Bearer", 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"two words", evaluationPath, "Authorization: Bearer " + goodToken + " x", 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"leading space", evaluationPath, "Authorization: Bearer  " + goodToken, 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"padding only", evaluationPath, "Authorization: Bearer ===", 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"not ASCII", evaluationPath, "Authorization: Bearer g\u00f6od", 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"too long", evaluationPath, "Authorization: Bearer " + strings.Repeat("a", maxToken+1), 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"in the query", evaluationPath + "?access_token=" + goodToken, "Authorization: ", 401, abi.CodeNotAuthenticated, `Bearer realm="postern"`},
		{"other domain", "/domains/annex" + evaluationPath, "Authorization: Bearer " + goodToken, 403, abi.CodeNotPermitted, `Bearer realm="postern", error="insufficient_scope"`},
		{"default domain with another's", evaluationPath, "Authorization: Bearer " + annexToken, 403, abi.CodeNotPermitted, `Bearer realm="postern", error="insufficient_scope"`},
		{"unknown domain, no token", "/domains/nope" + evaluationPath, "Authorization: ", 401, abi.CodeNotAuthenticated, `Bearer realm="postern"`},
		{"unknown domain, bad token", "/domains/nope" + evaluationPath, "Authorization: Bearer x", 401, abi.CodeNotAuthenticated, `Bearer realm="postern", error="invalid_token"`},
		{"unknown domain", "/domains/nope" + evaluationPath, "Authorization: Bearer " + goodToken, 404, abi.CodeNoDomain, ""},
		{"token of a domain that is gone", "/domains/ghost" + evaluationPath, "Authorization: Bearer " + ghostToken, 404, abi.CodeNoDomain, ""},
		{"batch of a domain that is gone", "/domains/ghost" + evaluationsPath, "Authorization: Bearer " + ghostToken, 404, abi.CodeNoDomain, ""},
		{"node not ready", evaluationPath, "Authorization: Bearer " + lateToken, 503, abi.CodeNotReady, ""},
		{"look-up fails", evaluationPath, "Authorization: Bearer " + brokenToken, 500, abi.CodeInternal, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, log := newServer(t, &fakeNode{}, nil)
			body := goodAsk
			if strings.HasSuffix(c.path, "s") {
				body = `{"evaluations":[` + goodAsk + `]}`
			}
			resp := call(s, "POST", c.path, body, c.header)
			wantProblem(t, resp, c.status, c.code, "")
			if got := resp.Header.Get("WWW-Authenticate"); got != c.challenge {
				t.Errorf("challenge %q, want %q", got, c.challenge)
			}
			if strings.Contains(log.String(), goodToken) {
				t.Error("a token is in the log")
			}
			if c.status == 500 && !strings.Contains(log.String(), errDisk.Error()) {
				t.Error("the cause is not in the log")
			}
		})
	}
}

func TestTwoAuthorizationHeaders(t *testing.T) {
	h := http.Header{"Authorization": {"Bearer " + goodToken, "Bearer " + goodToken}}
	if _, p := bearer(h); p != problemBadToken {
		t.Fatalf("problem %+v", p)
	}
}

func TestDomainOfItsOwn(t *testing.T) {
	node := &fakeNode{}
	s, _ := newServer(t, node, nil)
	for _, c := range []struct{ path, token string }{
		{"/domains/annex" + evaluationPath, annexToken},
		{"/domains/default" + evaluationPath, goodToken},
		{evaluationPath, goodToken},
	} {
		if got := decode(t, call(s, "POST", c.path, goodAsk, "Authorization: bearer "+c.token)); got.decisions() != "+" {
			t.Fatalf("%s: %+v", c.path, got)
		}
	}
	for i, want := range []question{
		{caller: abi.Caller{Account: abi.Hash{2}}, domain: "annex"},
		{caller: abi.Caller{Account: abi.Hash{1}}, domain: "default"},
		{caller: abi.Caller{Account: abi.Hash{1}}, domain: "default"},
	} {
		if got := node.questions()[i]; got.caller.Key != nil || got.caller.Account != want.caller.Account || got.domain != want.domain {
			t.Errorf("question %d: %+v", i, got)
		}
	}
}

func TestPathsAndMethods(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", evaluationPath, 405, "POST"},
		{"PUT", evaluationsPath, 405, "POST"},
		{"OPTIONS", evaluationPath, 405, "POST"},
		{"GET", "/domains/annex" + evaluationPath, 405, "POST"},
		{"POST", wellKnown, 405, "GET, HEAD"},
		{"DELETE", "/healthz", 405, "GET, HEAD"},
		{"POST", "/metrics", 405, "GET, HEAD"},
		{"POST", "/", 404, ""},
		{"POST", "/access/v1/search/subject", 404, ""},
		{"POST", evaluationPath + "/", 404, ""},
		{"POST", "/" + evaluationPath, 404, ""},
		{"POST", "/access/v1/../v1/evaluation", 404, ""},
		{"POST", "/access/v1/%65valuation", 404, ""},
		{"POST", "/access%2Fv1%2Fevaluation", 404, ""},
		{"POST", "/domains/../access/v1/evaluation", 404, ""},
		{"POST", "/domains/%2e%2e/access/v1/evaluation", 404, ""},
		{"POST", "/domains/./access/v1/evaluation", 404, ""},
		{"POST", "/domains//access/v1/evaluation", 404, ""},
		{"POST", "/domains/access/v1/evaluation", 404, ""},
		{"POST", "/domains/annex/../default/access/v1/evaluation", 404, ""},
		{"POST", "/domains/ANNEX/access/v1/evaluation", 404, ""},
		{"POST", "/domains/annex%00/access/v1/evaluation", 404, ""},
		{"POST", "/domains/annex%2faccess/access/v1/evaluation", 404, ""},
		{"POST", "/domains/annex%20/access/v1/evaluation", 404, ""},
		{"POST", "/domains/" + strings.Repeat("a", abi.MaxName+1) + "/access/v1/evaluation", 404, ""},
		{"POST", "/domains/annex/domains/annex/access/v1/evaluation", 404, ""},
		{"GET", "/domains/annex", 404, ""},
		{"GET", wellKnown + "/", 404, ""},
		{"GET", wellKnown + evaluationPath, 404, ""},
		{"GET", wellKnown + "/domains/../x", 404, ""},
		{"GET", "/.well-known/authzen-configurations", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
	} {
		s, _ := newServer(t, &fakeNode{}, nil)
		resp := call(s, c.method, c.target, goodAsk)
		code := abi.CodeNotFound
		if c.status == 405 {
			code = abi.CodeUnknownOp
		}
		t.Run(c.method+" "+c.target, func(t *testing.T) {
			wantProblem(t, resp, c.status, code, "")
			if got := resp.Header.Get("Allow"); got != c.allow {
				t.Errorf("Allow %q, want %q", got, c.allow)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, nil)
	for _, target := range []string{evaluationPath, "/lost", "/healthz", wellKnown} {
		method := "GET"
		if target == evaluationPath {
			method = "POST"
		}
		resp := call(s, method, target, goodAsk, "X-Request-ID: bfe9eb29 \u00e9 \"x\"")
		if got := resp.Header.Get("X-Request-ID"); got != "bfe9eb29 \u00e9 \"x\"" {
			t.Errorf("%s: X-Request-ID %q", target, got)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options":    "nosniff",
			"Cache-Control":             "no-store",
			"Referrer-Policy":           "no-referrer",
			"Content-Security-Policy":   "default-src 'none'; frame-ancestors 'none'",
			"Strict-Transport-Security": "",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s %q, want %q", target, name, got, want)
			}
		}
	}
	if resp := call(s, "POST", evaluationPath, goodAsk); resp.Header["X-Request-Id"] != nil {
		t.Error("an X-Request-ID that nobody sent came back")
	}
}
