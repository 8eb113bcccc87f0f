package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/sdk/client"
)

// testNode is a node in this process with a policy domain for each document.
type testNode struct {
	*node
	tokens map[string]string // by domain
	cl     *client.Client    // the operator's
	point  *client.Client    // the enforcement point's
}

// newTestNode starts a node and loads the documents, by domain.
func newTestNode(t *testing.T, policies map[string]string) *testNode {
	h := home(t.TempDir())
	if _, err := initHome(h, newHome{name: "test", clock: "trusted"}); err != nil {
		t.Fatal(err)
	}
	cfg := config{Quic: "127.0.0.1:0", Peer: "off", Web: "127.0.0.1:0", Clock: "trusted", RequestRate: -1}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n, err := openNode(ctx, h, cfg, newLogger("error"))
	if err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- n.run(ctx, func() error { close(ready); return nil }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	tn := &testNode{node: n, tokens: map[string]string{}}
	t.Cleanup(func() {
		tn.cl.Close()
		tn.point.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with: %v", err)
		}
	})
	if tn.cl, err = dialHome(ctx, h, n.quicAddr, operatorKeyFile); err != nil {
		t.Fatal(err)
	}
	if tn.point, err = dialHome(ctx, h, n.quicAddr, enforcementKeyFile); err != nil {
		t.Fatal(err)
	}
	for domain, file := range policies {
		tn.addDomain(t, domain, file)
	}
	return tn
}

func (n *testNode) addDomain(t *testing.T, domain, file string) {
	ctx := t.Context()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := "access-" + domain
	if err := deployAndBind(ctx, n.cl, client.Deployment{Name: name, Code: contracts.Access().Wasm}, domain); err != nil {
		t.Fatal(err)
	}
	if _, err := loadPolicy(ctx, n.cl, name, text, nil); err != nil {
		t.Fatal(err)
	}
	point, err := accountID(n.home.path(enforcementKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	token, err := issueToken(ctx, n.cl, point, domain, time.Hour, "test")
	if err != nil {
		t.Fatal(err)
	}
	n.tokens[domain] = token.Token
}

var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// post asks over HTTPS and returns the answer's JSON.
func (n *testNode) post(t *testing.T, domain, path string, body []byte) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.webURL()+"/domains/"+domain+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.tokens[domain])
	req.Header.Set("Content-Type", "application/json")
	resp, err := insecure.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", body, resp.StatusCode, text)
	}
	return v
}

// entityJSON is a subject, action or resource of the AuthZEN documents.
type entityJSON struct {
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Properties json.RawMessage `json:"properties"`
}

type requestJSON struct {
	Subject     *entityJSON   `json:"subject"`
	Action      *entityJSON   `json:"action"`
	Resource    *entityJSON   `json:"resource"`
	Evaluations []requestJSON `json:"evaluations"`
}

func mapOf(t *testing.T, text json.RawMessage) []byte {
	if text == nil {
		return nil
	}
	b, err := cbor.AppendJSON(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// native is the same question as it goes over QUIC.
func (q *requestJSON) native(t *testing.T, defaults *requestJSON) abi.DecisionRequest {
	pick := func(own, other *entityJSON) *entityJSON {
		if own != nil {
			return own
		}
		return other
	}
	s, a, r := pick(q.Subject, defaults.Subject), pick(q.Action, defaults.Action), pick(q.Resource, defaults.Resource)
	return abi.DecisionRequest{
		Subject:  &abi.Entity{Type: s.Type, ID: s.ID, Properties: mapOf(t, s.Properties)},
		Action:   abi.Action{Name: a.Name, Properties: mapOf(t, a.Properties)},
		Resource: abi.Entity{Type: r.Type, ID: r.ID, Properties: mapOf(t, r.Properties)},
	}
}

// TestAuthZENTodo asks the whole interoperability scenario of a whole node,
// over HTTPS and over QUIC.
func TestAuthZENTodo(t *testing.T) {
	const dir = "../../contracts/access/testdata/"
	n := newTestNode(t, map[string]string{"todo": dir + "todo.json"})
	text, err := os.ReadFile(dir + "authzen-todo-decisions.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Evaluation []struct {
			Request  json.RawMessage
			Expected bool
		}
		Evaluations []struct {
			Request  json.RawMessage
			Expected []struct{ Decision bool }
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Evaluation) != 40 || len(vectors.Evaluations) != 3 {
		t.Fatalf("%d single and %d batch requests, want 40 and 3", len(vectors.Evaluation), len(vectors.Evaluations))
	}
	for i, v := range vectors.Evaluation {
		if got := n.post(t, "todo", "/access/v1/evaluation", v.Request)["decision"]; got != v.Expected {
			t.Errorf("single %d over HTTPS: %v, want %v: %s", i, got, v.Expected, v.Request)
		}
		q := parseRequest(t, v.Request)
		native := q.native(t, q)
		a, err := n.point.Decide(t.Context(), "todo", &native)
		if err != nil || a.Permit != v.Expected {
			t.Errorf("single %d over QUIC: %v %v, want %v: %s", i, a, err, v.Expected, v.Request)
		}
	}
	for i, v := range vectors.Evaluations {
		q := parseRequest(t, v.Request)
		var natives []abi.DecisionRequest
		for _, item := range q.Evaluations {
			natives = append(natives, item.native(t, q))
		}
		answers, err := n.point.DecideBatch(t.Context(), "todo", natives, abi.ExecuteAll)
		if err != nil || len(answers) != len(v.Expected) {
			t.Fatalf("batch %d over QUIC: %d answers, %v", i, len(answers), err)
		}
		items := n.post(t, "todo", "/access/v1/evaluations", v.Request)["evaluations"].([]any)
		for k, want := range v.Expected {
			if got := items[k].(map[string]any)["decision"]; got != want.Decision {
				t.Errorf("batch %d item %d over HTTPS: %v, want %v", i, k, got, want.Decision)
			}
			if answers[k].Permit != want.Decision {
				t.Errorf("batch %d item %d over QUIC: %v, want %v", i, k, answers[k], want.Decision)
			}
		}
	}
}

func parseRequest(t *testing.T, text []byte) *requestJSON {
	var q requestJSON
	if err := json.Unmarshal(text, &q); err != nil {
		t.Fatal(err)
	}
	return &q
}

// TestAuthZENCertification asks what the certification scenario asks of its
// fixture: users alice and bob, records record-1 (active) and record-2
// (archived).
func TestAuthZENCertification(t *testing.T) {
	n := newTestNode(t, map[string]string{"cert": "../../contracts/access/testdata/certification.json"})
	for _, c := range []struct {
		name, subject, action, resource string
		want                            bool
	}{
		{"alice reads", `{"type":"user","id":"alice"}`, `{"name":"read"}`, `{"type":"record","id":"record-1"}`, true},
		{"alice writes", `{"type":"user","id":"alice"}`, `{"name":"write"}`, `{"type":"record","id":"record-1"}`, true},
		{"bob reads", `{"type":"user","id":"bob"}`, `{"name":"read"}`, `{"type":"record","id":"record-1"}`, true},
		{"bob does not write", `{"type":"user","id":"bob"}`, `{"name":"write"}`, `{"type":"record","id":"record-1"}`, false},
		{"archived in the request", `{"type":"user","id":"alice"}`, `{"name":"write"}`, `{"type":"record","id":"record-1","properties":{"status":"archived"}}`, false},
		{"archived as stored", `{"type":"user","id":"alice"}`, `{"name":"write"}`, `{"type":"record","id":"record-2"}`, false},
		{"admin in the request", `{"type":"user","id":"alice","properties":{"role":"admin"}}`, `{"name":"write"}`, `{"type":"record","id":"record-1","properties":{"status":"archived"}}`, true},
		{"admin as stored", `{"type":"user","id":"bob"}`, `{"name":"write"}`, `{"type":"record","id":"record-2"}`, true},
		{"soft delete", `{"type":"user","id":"alice"}`, `{"name":"delete","properties":{"soft":true}}`, `{"type":"record","id":"record-1"}`, true},
		{"hard delete", `{"type":"user","id":"alice"}`, `{"name":"delete","properties":{"soft":false}}`, `{"type":"record","id":"record-1"}`, false},
		{"delete", `{"type":"user","id":"alice"}`, `{"name":"delete"}`, `{"type":"record","id":"record-1"}`, false},
		{"a stranger", `{"type":"user","id":"carol"}`, `{"name":"read"}`, `{"type":"record","id":"record-1"}`, false},
		{"another type", `{"type":"robot","id":"alice"}`, `{"name":"read"}`, `{"type":"record","id":"record-1"}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := []byte(`{"subject":` + c.subject + `,"action":` + c.action + `,"resource":` + c.resource + `}`)
			if got := n.post(t, "cert", "/access/v1/evaluation", body)["decision"]; got != c.want {
				t.Errorf("over HTTPS: %v, want %v", got, c.want)
			}
			q := parseRequest(t, body)
			native := q.native(t, q)
			if a, err := n.point.Decide(t.Context(), "cert", &native); err != nil || a.Permit != c.want {
				t.Errorf("over QUIC: %+v %v, want %v", a, err, c.want)
			}
		})
	}
	t.Run("semantics", func(t *testing.T) { n.semantics(t) })
	t.Run("search", func(t *testing.T) { n.searches(t) })
	t.Run("discovery", func(t *testing.T) { n.discovers(t) })
}

// semantics asks permit, deny, permit under each of the three semantics.
func (n *testNode) semantics(t *testing.T) {
	const items = `"subject":{"type":"user","id":"bob"},"resource":{"type":"record","id":"record-1"},` +
		`"evaluations":[{"action":{"name":"read"}},{"action":{"name":"write"}},{"action":{"name":"read"}}]`
	for semantic, want := range map[string][]bool{
		"execute_all": {true, false, true}, "deny_on_first_deny": {true, false}, "permit_on_first_permit": {true},
	} {
		v := n.post(t, "cert", "/access/v1/evaluations", []byte(`{`+items+`,"options":{"evaluations_semantic":"`+semantic+`"}}`))
		got := v["evaluations"].([]any)
		if len(got) != len(want) {
			t.Errorf("%s: %d answers, want %d", semantic, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i].(map[string]any)["decision"] != want[i] {
				t.Errorf("%s: item %d is %v, want %v", semantic, i, got[i], want[i])
			}
		}
	}
}
