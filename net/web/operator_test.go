package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed79541315/postern/abi"
)

func TestDiscovery(t *testing.T) {
	document := func(point string) string {
		return `{"policy_decision_point":"` + point + `","access_evaluation_endpoint":"` + point + `/access/v1/evaluation","access_evaluations_endpoint":"` + point + `/access/v1/evaluations"}`
	}
	for _, c := range []struct{ base, host, path, want string }{
		{"", "pdp.example", "", document("https://pdp.example")},
		{"", "pdp.example:8443", "/domains/annex", document("https://pdp.example:8443/domains/annex")},
		{"", "[::1]:8443", "/domains/default", document("https://[::1]:8443/domains/default")},
		{"", "pdp.example", "/domains/nope", document("https://pdp.example/domains/nope")},
		{"https://gate.example", "evil.example", "", document("https://gate.example")},
		{"https://gate.example:444/", "evil.example", "/domains/annex", document("https://gate.example:444/domains/annex")},
	} {
		s, _ := newServer(t, &fakeNode{}, func(cfg *Config) { cfg.BaseURL = c.base })
		r := httptest.NewRequest("GET", wellKnown+c.path, nil)
		r.Host = c.host
		r.Header.Set("X-Forwarded-Host", "evil.example")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.String() != c.want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%+v: status %d, %s", c, w.Code, w.Body)
		}
		cached := strings.Contains(w.Header().Get("Cache-Control"), "max-age=3600")
		if cached != (c.base != "") {
			t.Errorf("%+v: Cache-Control %q", c, w.Header().Get("Cache-Control"))
		}
		if (w.Header().Get("Strict-Transport-Security") != "") != (c.base != "") {
			t.Errorf("%+v: Strict-Transport-Security %q", c, w.Header().Get("Strict-Transport-Security"))
		}
	}
}

// TestDiscoveredEndpointsAnswer follows the document as a client would.
func TestDiscoveredEndpointsAnswer(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, nil)
	for path, token := range map[string]string{"": goodToken, "/domains/annex": annexToken} {
		document := body(t, call(s, "GET", "https://localhost"+wellKnown+path, ""))
		for _, endpoint := range strings.Split(document, `"`) {
			if !strings.Contains(endpoint, "/access/v1/") {
				continue
			}
			if got := decode(t, call(s, "POST", endpoint, goodAsk, "Authorization: Bearer "+token)); got.decisions() != "+" {
				t.Errorf("%s: %+v", endpoint, got)
			}
		}
	}
}

func TestHostileHost(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, nil)
	for _, host := range []string{"", "user@host", "host/path", "host?x", "host#x", `ho"st`, "ho st", "h\u00f6st", strings.Repeat("h", 300)} {
		r := httptest.NewRequest("GET", wellKnown, nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		wantProblem(t, w.Result(), 400, abi.CodeBadArgument, "")
	}
}

func TestHealthAndReadiness(t *testing.T) {
	node := &fakeNode{}
	s, log := newServer(t, node, nil)
	if resp := call(s, "GET", "/healthz", "", "Authorization: "); resp.StatusCode != 200 || body(t, resp) != `{"status":"ok"}` {
		t.Errorf("healthz: status %d", resp.StatusCode)
	}
	if resp := call(s, "GET", "/readyz", "", "Authorization: "); resp.StatusCode != 200 || body(t, resp) != `{"status":"ready"}` {
		t.Errorf("readyz: status %d", resp.StatusCode)
	}
	node.ready = errDisk
	resp := call(s, "GET", "/readyz", "", "Authorization: ")
	if resp.Header.Get("Retry-After") != "1" {
		t.Error("readyz: no Retry-After")
	}
	wantProblem(t, resp, 503, abi.CodeNotReady, "")
	if !strings.Contains(log.String(), errDisk.Error()) {
		t.Error("the cause is not in the log")
	}
	if resp := call(s, "GET", "/healthz", ""); resp.StatusCode != 200 {
		t.Errorf("healthz of a node that is not ready: status %d", resp.StatusCode)
	}
}

// TestCausesStayInside holds that no answer carries an error's text.
func TestCausesStayInside(t *testing.T) {
	node := &fakeNode{ready: errDisk, domains: errDisk}
	s, _ := newServer(t, node, nil)
	for _, resp := range []*http.Response{
		call(s, "GET", "/readyz", ""),
		call(s, "POST", evaluationPath, goodAsk, "Authorization: Bearer "+brokenToken),
		call(s, "POST", "/domains/annex"+evaluationPath, goodAsk),
	} {
		if text := body(t, resp); resp.StatusCode < 500 || strings.Contains(text, "disk") || strings.Contains(text, "secret") {
			t.Errorf("status %d: %s", resp.StatusCode, text)
		}
	}
}

func scrape(s *Server, remote string, header http.Header) *http.Response {
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.RemoteAddr = remote
	if header != nil {
		r.Header = header
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func TestWhoSeesMetrics(t *testing.T) {
	for _, c := range []struct {
		registry, open bool
		remote         string
		header         http.Header
		status         int
	}{
		{true, false, "127.0.0.1:1", nil, 200},
		{true, false, "[::1]:1", nil, 200},
		{true, false, "192.0.2.1:1", nil, 404},
		{true, false, "192.0.2.1:1", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, 404},
		{true, false, "127.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, 404},
		{true, false, "127.0.0.1:1", http.Header{"Forwarded": {"for=192.0.2.1"}}, 404},
		{true, false, "", nil, 404},
		{true, true, "192.0.2.1:1", nil, 200},
		{false, true, "127.0.0.1:1", nil, 404},
	} {
		s, _ := newServer(t, &fakeNode{}, func(cfg *Config) {
			cfg.ServeMetrics = c.open
			if c.registry {
				cfg.Metrics = prometheus.NewRegistry()
			}
		})
		if resp := scrape(s, c.remote, c.header); resp.StatusCode != c.status {
			t.Errorf("%+v: status %d", c, resp.StatusCode)
		}
	}
}

// TestMetrics holds names, units and that no caller can add a label.
func TestMetrics(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, func(c *Config) { c.Metrics = prometheus.NewRegistry() })
	call(s, "POST", evaluationPath, goodAsk)
	call(s, "POST", "/domains/default"+evaluationPath, object(bob, write, record1))
	call(s, "POST", evaluationsPath, object(alice, read, `"evaluations":[`+object(record1)+`,{},7]`))
	call(s, "POST", evaluationPath, goodAsk, "Authorization: ")
	call(s, "PROPFIND", "/healthz", "")
	for _, path := range []string{"/a", "/b", "/domains/a/x", "/domains/b/x"} {
		call(s, "GET", path, "")
	}
	text := body(t, scrape(s, "127.0.0.1:1", nil))
	for _, want := range []string{
		`postern_web_requests_total{code="200",path="/access/v1/evaluation"} 2`,
		`postern_web_requests_total{code="200",path="/access/v1/evaluations"} 1`,
		`postern_web_requests_total{code="401",path="/access/v1/evaluation"} 1`,
		`postern_web_requests_total{code="405",path="/healthz"} 1`,
		`postern_web_requests_total{code="404",path="other"} 4`,
		`postern_web_request_duration_seconds_count{path="/access/v1/evaluation"} 3`,
		`postern_web_decisions_total{decision="permit"} 2`,
		`postern_web_decisions_total{decision="deny"} 3`,
		`postern_web_connections 0`,
		`postern_web_connections_refused_total 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
