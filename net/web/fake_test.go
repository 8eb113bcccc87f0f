package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

const (
	goodToken   = "good-token"   // of account 1 for the default domain
	annexToken  = "annex-token"  // of account 2 for the domain annex
	ghostToken  = "ghost-token"  // of account 3 for a domain that does not exist
	brokenToken = "broken-token" // cannot be looked up
	lateToken   = "late-token"   // the node is not ready to look it up
)

// fakeNode decides by the certification fixture of the AuthZEN working group,
// and by table for what the fixture does not know.
type fakeNode struct {
	mu      sync.Mutex
	asked   []question                      // guarded by mu
	answers map[string]abi.Answer           // by resource id; before the policy
	policy  func(*abi.DecisionRequest) bool // nil: certified
	ready   error
	domains error
	block   chan struct{} // if set, Decide waits until it is closed
	entered chan struct{} // if set, Decide sends before it waits
	crash   bool          // Decide panics
}

type question struct {
	caller  abi.Caller
	domain  string
	request abi.DecisionRequest
}

func (n *fakeNode) Ready() error { return n.ready }

func (n *fakeNode) Domains() ([]string, error) {
	return []string{abi.DefaultDomain, "annex"}, n.domains
}

func (n *fakeNode) Token(token abi.Hash) (chain.Token, error) {
	switch token {
	case hashOf(goodToken):
		return chain.Token{Account: abi.Hash{1}, Domain: abi.DefaultDomain}, nil
	case hashOf(annexToken):
		return chain.Token{Account: abi.Hash{2}, Domain: "annex"}, nil
	case hashOf(ghostToken):
		return chain.Token{Account: abi.Hash{3}, Domain: "ghost"}, nil
	case hashOf(brokenToken):
		return chain.Token{}, errDisk
	case hashOf(lateToken):
		return chain.Token{}, abi.CodeNotReady
	}
	return chain.Token{}, abi.CodeNotAuthenticated
}

func hashOf(token string) abi.Hash { return sha256.Sum256([]byte(token)) }

type diskError struct{}

func (diskError) Error() string { return "reading /secret/path: disk is on fire" }

var errDisk = diskError{}

func (n *fakeNode) Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
	if n.crash {
		panic("BUG: the fake was told to crash")
	}
	if n.entered != nil {
		n.entered <- struct{}{}
	}
	if n.block != nil {
		<-n.block
	}
	q, err := abi.ParseDecisionRequest(request)
	if err != nil || cbor.Validate(request) != nil || q.Subject == nil {
		return abi.Answer{Code: abi.CodeInternal} // the tests look for this code
	}
	n.mu.Lock()
	n.asked = append(n.asked, question{caller, domain, q})
	n.mu.Unlock()
	if domain == "ghost" {
		return abi.Answer{Code: abi.CodeNoDomain}
	}
	if a, ok := n.answers[q.Resource.ID]; ok {
		return a
	}
	policy := certified
	if n.policy != nil {
		policy = n.policy
	}
	a := abi.Answer{Permit: policy(&q), Record: 7, Height: 42, Contract: "access", CodeHash: abi.Hash{0xab}, Staleness: 5, Now: 1700000000000}
	if !a.Permit {
		a.Code = abi.CodeDenied
	}
	return a
}

func (n *fakeNode) questions() []question {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]question(nil), n.asked...)
}

// certified is the policy of the certification scenario, section "Required
// Policy Behaviour".
func certified(q *abi.DecisionRequest) bool {
	role, status, soft := value(q.Subject.Properties, "role"), value(q.Resource.Properties, "status"), value(q.Action.Properties, "soft")
	switch who, what := q.Subject.ID, q.Action.Name; {
	case what == "write" && status == `"archived"`:
		return role == `"admin"`
	case what == "delete":
		return who == "alice" && soft == "true"
	case q.Resource.ID != "record-1":
		return false
	case what == "read":
		return who == "alice" || who == "bob"
	case what == "write":
		return who == "alice"
	}
	return false
}

func value(properties []byte, name string) string {
	if properties == nil {
		return ""
	}
	b, err := cbor.AppendAsJSON(nil, member(properties, name))
	if err != nil {
		return ""
	}
	return string(b)
}

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// testLog collects log lines.
type testLog struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// deaf is a listener for servers whose handler is called directly.
type deaf struct{ net.Listener }

func newServer(t testing.TB, node Node, change func(*Config)) (*Server, *testLog) {
	t.Helper()
	log := &testLog{}
	c := Config{
		Listener:    deaf{},
		Certificate: testCertificate(),
		Node:        node,
		Logger:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if c.Metrics != nil {
		c.Metrics.(*prometheus.Registry).MustRegister(s.Collectors()...)
	}
	return s, log
}

// call sends a request straight to the handler. Headers are "Name: value";
// an empty value removes the default.
func call(s *Server, method, target, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+goodToken)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

// newRequest is a request as a good client sends it.
func newRequest(url, body string) *http.Request {
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+goodToken)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// answer is the union of everything the server says.
type answer struct {
	Decision    *bool
	Evaluations []answer
	Context     struct {
		Code, Reason string
		CodeNumber   int             `json:"code_number"`
		ReasonNumber *int            `json:"reason_number"`
		Obligations  json.RawMessage `json:"obligations"`
		TTL          *int            `json:"ttl_ms"`
		Record       *int
		Height       *int
		Contract     *string
		CodeHash     *string `json:"code_hash"`
		Staleness    *int    `json:"staleness_ms"`
		Now          *int    `json:"now_ms"`
		Error        *problemBody
	}
	Error *problemBody
}

type problemBody struct {
	Status  int
	Code    string
	Number  int
	Message string
	Field   string
}

func decode(t testing.TB, resp *http.Response) answer {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	dec := json.NewDecoder(resp.Body)
	dec.DisallowUnknownFields()
	var a answer
	if err := dec.Decode(&a); err != nil {
		t.Fatalf("answer is no JSON of the documented form: %v", err)
	}
	return a
}

// decisions are the answer's in order: "+" for a permit, "-" for a denial.
func (a *answer) decisions() string {
	if a.Decision != nil {
		return map[bool]string{true: "+", false: "-"}[*a.Decision]
	}
	s := "["
	for i := range a.Evaluations {
		s += a.Evaluations[i].decisions()
	}
	return s + "]"
}
