package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

var soughtPaths = map[string]abi.Sought{
	"/access/v1/search/subject": abi.SoughtSubjects, "/access/v1/search/resource": abi.SoughtResources, "/access/v1/search/action": abi.SoughtActions,
}

// searches asks what the certification scenario's levels Search Core and Search
// Properties ask.
func (n *testNode) searches(t *testing.T) {
	for _, c := range []struct {
		name, kind, body string
		want             []string
		without          []string
	}{
		{"who reads", "subject", `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`, []string{"alice", "bob"}, nil},
		{"the id of what is sought is ignored", "subject", `{"subject":{"type":"user","id":"bob"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`, []string{"alice", "bob"}, nil},
		{"what alice reads", "resource", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record"}}`, []string{"record-1"}, []string{"record-2"}},
		{"the id of the resource is ignored", "resource", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-9"}}`, []string{"record-1"}, nil},
		{"what alice does", "action", `{"subject":{"type":"user","id":"alice"},"resource":{"type":"record","id":"record-1"}}`, []string{"read", "write"}, []string{"delete"}},
		{"an action is ignored", "action", `{"subject":{"type":"user","id":"alice"},"action":{"name":"delete"},"resource":{"type":"record","id":"record-1"}}`, []string{"read", "write"}, []string{"delete"}},
		{"who writes what is archived", "subject", `{"subject":{"type":"user"},"action":{"name":"write"},"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}}`, []string{"bob"}, []string{"alice"}},
		{"an archived record-1", "subject", `{"subject":{"type":"user"},"action":{"name":"write"},"resource":{"type":"record","id":"record-1","properties":{"status":"archived"}}}`, []string{"bob"}, []string{"alice"}},
		{"what an admin writes", "resource", `{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"action":{"name":"write"},"resource":{"type":"record"}}`, []string{"record-2"}, []string{"record-1"}},
		{"what an admin does", "action", `{"subject":{"type":"user","id":"bob","properties":{"role":"admin"}},"resource":{"type":"record","id":"record-2"}}`, []string{"write"}, []string{"read"}},
		{"subjects of no type", "subject", `{"subject":{"type":"robot"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}`, nil, nil},
		{"resources of no type", "resource", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"moon"}}`, nil, nil},
		{"actions on nothing", "action", `{"subject":{"type":"user","id":"alice"},"resource":{"type":"moon","id":"1"}}`, nil, nil},
		{"an unknown action", "subject", `{"subject":{"type":"user"},"action":{"name":"shred"},"resource":{"type":"record","id":"record-1"}}`, nil, nil},
		{"a stranger", "action", `{"subject":{"type":"user","id":"carol"},"resource":{"type":"record","id":"record-1"}}`, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := "/access/v1/search/" + c.kind
			got := foundBy(t, n.post(t, "cert", path, []byte(c.body)))
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("over HTTPS: %q lacks %q", got, want)
				}
			}
			if len(c.want) == 0 && len(got) > 0 {
				t.Errorf("over HTTPS: %q, want nothing", got)
			}
			for _, no := range c.without {
				if slices.Contains(got, no) {
					t.Errorf("over HTTPS: %q has %q", got, no)
				}
			}
			n.sameOverQUIC(t, path, c.body, got)
		})
	}
	t.Run("pages", func(t *testing.T) { n.pages(t) })
	t.Run("tokens", func(t *testing.T) { n.searchTokens(t) })
}

// foundBy are the ids or names of results, which must differ.
func foundBy(t *testing.T, v map[string]any) (found []string) {
	t.Helper()
	for _, r := range v["results"].([]any) {
		o := r.(map[string]any)
		name, ok := o["id"].(string)
		if !ok {
			name = o["name"].(string)
		}
		if slices.Contains(found, name) {
			t.Errorf("%q stands twice", name)
		}
		found = append(found, name)
	}
	return found
}

func (n *testNode) sameOverQUIC(t *testing.T, path, body string, want []string) {
	t.Helper()
	q := parseRequest(t, []byte(body))
	request := abi.DecisionRequest{Subject: &abi.Entity{Type: q.Subject.Type, ID: q.Subject.ID, Properties: mapOf(t, q.Subject.Properties)}}
	if q.Action != nil {
		request.Action.Name = q.Action.Name
	}
	request.Resource = abi.Entity{Type: q.Resource.Type, ID: q.Resource.ID, Properties: mapOf(t, q.Resource.Properties)}
	page, err := n.point.Search(t.Context(), &abi.Search{Domain: "cert", What: soughtPaths[path], Request: abi.AppendDecisionRequest(nil, &request)})
	if err != nil || !slices.Equal(page.Found, want) || page.Token != nil {
		t.Errorf("over QUIC: %+v, %v; want %q", page, err, want)
	}
}

// pages follows pages of one result each.
func (n *testNode) pages(t *testing.T) {
	const body = `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"},"page":{"limit":1,"token":%q}}`
	var found []string
	for token, more := "", true; more; more = token != "" {
		v := n.post(t, "cert", "/access/v1/search/subject", fmt.Appendf(nil, body, token))
		page := v["page"].(map[string]any)
		got := foundBy(t, v)
		if len(got) > 1 || page["count"] != float64(len(got)) {
			t.Fatalf("%v", v)
		}
		found = append(found, got...)
		token = page["next_token"].(string)
	}
	if !slices.Equal(found, []string{"alice", "bob"}) {
		t.Errorf("pages hold %q", found)
	}
}

// searchTokens hands in tokens that are not of the search.
func (n *testNode) searchTokens(t *testing.T) {
	const body = `{"subject":{"type":"user"},"action":{"name":%q},"resource":{"type":"record","id":"record-1"},"page":{"limit":1,"token":%q}}`
	v := n.post(t, "cert", "/access/v1/search/subject", fmt.Appendf(nil, body, "read", ""))
	token := v["page"].(map[string]any)["next_token"].(string)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) == 0 {
		t.Fatalf("token %q: %v", token, err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x40
		n.refused(t, "/access/v1/search/subject", fmt.Sprintf(body, "read", base64.RawURLEncoding.EncodeToString(bad)), 400)
	}
	n.refused(t, "/access/v1/search/subject", fmt.Sprintf(body, "write", token), 400)
	n.refused(t, "/access/v1/search/subject", fmt.Sprintf(body, "read", "AAAA"), 400)
	n.refused(t, "/access/v1/search/subject", fmt.Sprintf(body, "read", "*"), 400)
	n.refused(t, "/access/v1/search/resource", `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record"},"page":{"token":"`+token+`"}}`, 400)
	// Another caller has no use for it, and the operator is no enforcement point.
	q := abi.DecisionRequest{Subject: &abi.Entity{Type: "user"}, Action: abi.Action{Name: "read"}, Resource: abi.Entity{Type: "record", ID: "record-1"}}
	s := abi.Search{Domain: "cert", What: abi.SoughtSubjects, Request: abi.AppendDecisionRequest(nil, &q), Token: raw, Limit: 1}
	if _, err := n.point.Search(t.Context(), &s); !isCode(err, abi.CodeBadArgument) {
		t.Errorf("the token of an HTTPS caller over QUIC: %v", err)
	}
	s.Token = nil
	if _, err := n.cl.Search(t.Context(), &s); !isCode(err, abi.CodeSubjectNotCaller) {
		t.Errorf("subjects for one who is no enforcement point: %v", err)
	}
	n.outdated(t, fmt.Sprintf(body, "read", token))
}

// outdated changes the policy and goes on with a token of before.
func (n *testNode) outdated(t *testing.T, body string) {
	file := filepath.Join(t.TempDir(), "policy.json")
	text, err := os.ReadFile("../../contracts/access/testdata/certification.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("certification scenario"), []byte("scenario"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	changed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loadPolicy(t.Context(), n.cl, "access-cert", changed, nil); err != nil {
		t.Fatal(err)
	}
	answer := n.refused(t, "/access/v1/search/subject", body, 400)
	if !strings.Contains(answer, "search-outdated") {
		t.Errorf("a token from before the policy changed: %s", answer)
	}
}

// refused posts what must be refused with a status.
func (n *testNode) refused(t *testing.T, path, body string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.webURL()+"/domains/cert"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.tokens["cert"])
	req.Header.Set("Content-Type", "application/json")
	resp, err := insecure.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Errorf("%s: %d %s %v, want %d", body, resp.StatusCode, text, err, status)
	}
	return string(text)
}

// discovers finds each endpoint that the metadata names.
func (n *testNode) discovers(t *testing.T) {
	resp, err := insecure.Get(n.webURL() + "/.well-known/authzen-configuration/domains/cert")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var metadata map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&metadata); err != nil {
		t.Fatal(err)
	}
	for member, path := range map[string]string{
		"access_evaluation_endpoint": "/access/v1/evaluation", "access_evaluations_endpoint": "/access/v1/evaluations",
		"search_subject_endpoint": "/access/v1/search/subject", "search_resource_endpoint": "/access/v1/search/resource",
		"search_action_endpoint": "/access/v1/search/action",
	} {
		if want := n.webURL() + "/domains/cert" + path; metadata[member] != want {
			t.Errorf("%s is %q, want %q", member, metadata[member], want)
		}
	}
}
