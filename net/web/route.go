package web

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi"
)

// wellKnown is the registered path of AuthZEN's metadata (Authorization API
// 1.0 section 9.2). Like RFC 8615's other users it stands between a decision
// point's host and path.
const wellKnown = "/.well-known/authzen-configuration"

const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
	domainsPath     = "/domains/"
)

// route is an endpoint as a request named it.
type route struct {
	label  string // in metrics; never a part of the path that a caller can choose
	post   bool   // POST, otherwise GET and HEAD
	domain string // the domain's name
	path   string // of the domain's decision point under the origin, "" for the default domain
	serve  func(*Server, http.ResponseWriter, *http.Request, *route)
}

var lostRoute = route{label: "other", serve: (*Server).serveLost}

// find maps a path to its endpoint. It is an exact match on what the client
// sent, with no cleaning and no redirects: no name that this server knows
// holds a dot segment, an empty segment or a character that needs escaping.
func find(r *http.Request) route {
	if r.URL.RawPath != "" {
		return lostRoute
	}
	path := r.URL.Path
	switch path {
	case "/healthz":
		return route{label: path, serve: (*Server).serveHealth}
	case "/readyz":
		return route{label: path, serve: (*Server).serveReady}
	case "/metrics":
		return route{label: path, serve: (*Server).serveMetrics}
	case eventsPath:
		return route{label: path, serve: (*Server).serveEvents}
	}
	if rest, ok := strings.CutPrefix(path, wellKnown); ok {
		return findPoint(rest, true)
	}
	return findPoint(path, false)
}

// findPoint maps a decision point's path: the domain's, then the endpoint's.
func findPoint(path string, discovery bool) route {
	rt := route{domain: abi.DefaultDomain}
	if rest, ok := strings.CutPrefix(path, domainsPath); ok {
		name, _, _ := strings.Cut(rest, "/")
		if !abi.ValidName(name) {
			return lostRoute
		}
		rt.domain, rt.path = name, domainsPath+name
		path = rest[len(name):]
	}
	switch {
	case discovery && path == "":
		rt.label, rt.serve = wellKnown, (*Server).serveDiscovery
	case !discovery && path == evaluationPath:
		rt.label, rt.post, rt.serve = path, true, (*Server).serveEvaluation
	case !discovery && path == evaluationsPath:
		rt.label, rt.post, rt.serve = path, true, (*Server).serveEvaluations
	case !discovery && searched[path] != 0:
		rt.label, rt.post, rt.serve = path, true, (*Server).serveSearch
	default:
		return lostRoute
	}
	return rt
}

// methods is the Allow header of the endpoint.
func (rt *route) methods() string {
	if rt.post {
		return http.MethodPost
	}
	return "GET, HEAD"
}

func (rt *route) allows(method string) bool {
	if rt.post {
		return method == http.MethodPost
	}
	return method == http.MethodGet || method == http.MethodHead
}

// ServeHTTP answers one request. A panic is a broken invariant: the request
// is answered with an error and Run ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rt := find(r)
	out := &statusWriter{ResponseWriter: w}
	defer func() {
		if cause := recover(); cause != nil {
			s.broken(out, r, cause)
		}
		s.metrics.request(rt.label, out.status, time.Since(start))
	}()
	s.commonHeaders(out.Header(), r)
	if !rt.allows(r.Method) && rt.label != lostRoute.label {
		out.Header().Set("Allow", rt.methods())
		s.refuse(out, r, problemMethod, nil)
		return
	}
	rt.serve(s, out, r, &rt)
}

// commonHeaders are on every answer. The request's id comes back as it was
// (Authorization API 1.0 section 10.1.3).
func (s *Server) commonHeaders(h http.Header, r *http.Request) {
	if id := r.Header.Values("X-Request-ID"); len(id) > 0 {
		h["X-Request-Id"] = id[:1]
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if s.base != "" { // a promise about a host name can only be made for one that the operator named
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func (s *Server) broken(w *statusWriter, r *http.Request, cause any) {
	s.log.Error("request met a broken invariant", "path", r.URL.Path, "cause", cause, "stack", string(debug.Stack()))
	select {
	case s.fault <- fmt.Errorf("web: request met a broken invariant: %v", cause):
	default: // one is enough to end Run
	}
	if w.status == 0 {
		s.refuse(w, r, problemInternal, nil)
	}
}

// statusWriter remembers the status for the metrics.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets net/http find the connection's own writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Server) serveLost(w http.ResponseWriter, r *http.Request, _ *route) {
	s.refuse(w, r, problemNotFound, nil)
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request, _ *route) {
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request, _ *route) {
	if err := s.node.Ready(); err != nil {
		s.refuse(w, r, problemNotReady, err)
		return
	}
	writeJSON(w, http.StatusOK, []byte(`{"status":"ready"}`))
}

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request, rt *route) {
	if s.prom == nil || !s.open && !fromLoopback(r) {
		s.serveLost(w, r, rt)
		return
	}
	s.prom.ServeHTTP(w, r)
}
