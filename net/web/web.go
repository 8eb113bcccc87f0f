// Package web is a node's HTTPS service: the OpenID AuthZEN Authorization API
// 1.0 for enforcement points, and health and metrics for operators.
//
//	POST /access/v1/evaluation                         one decision of the default domain
//	POST /access/v1/evaluations                        up to abi.MaxBatch decisions
//	POST /access/v1/search/subject                     who may do it; see Config.Search
//	POST /access/v1/search/resource                    what it may be done to
//	POST /access/v1/search/action                      what may be done
//	POST /domains/NAME/access/v1/evaluation            the same of the domain NAME
//	POST /domains/NAME/access/v1/evaluations
//	POST /domains/NAME/access/v1/search/…
//	GET  /.well-known/authzen-configuration            where these endpoints are
//	GET  /.well-known/authzen-configuration/domains/NAME
//	GET  /healthz                                      200 while the process serves
//	GET  /readyz                                       200 once the node can decide, else 503
//	GET  /metrics                                      Prometheus text; see Config.ServeMetrics
//	GET  /events                                       events of committed blocks, as they come
//
// # Callers
//
// A decision needs a bearer token in the Authorization header (RFC 6750
// section 2.1; a token in the query or the body is not looked at). The token
// is looked up by the SHA-256 of its text and stands for one account and one
// domain. What a caller may learn without a token is what the listing above
// says: whether a domain exists is told only to holders of a token, and the
// discovery document of a well-formed name is the same whether it exists or
// not.
//
// # Answers
//
// A decision is {"decision": bool, "context": {…}} with status 200, a denial
// for whatever reason included. The context holds
//
//	code, code_number      the node's code: "ok" for a permit, "denied" when the policy said no
//	reason, reason_number  the policy's own reason, absent when it gave none; where the policy
//	                       did not decide, the node's code again
//	obligations            array, what the caller must do to act on the decision
//	ttl_ms                 how long the decision may be cached, absent when not at all
//	record                 number of the decision's record on this node
//	height                 height of the state that was asked
//	contract, code_hash    who decided (SHA-256 of the code in hex), absent when nobody did
//	staleness_ms           how old that state may be
//	now_ms                 the node's clock, ms since 1970
//	error                  in a batch only: why this item could not be asked
//
// A decision is true only if the node permitted with no code and its
// obligations have a JSON form; everything else is false.
//
// A search is {"results": [{"type", "id"} or {"name"} …], "page": {"next_token",
// "count", "properties": {"height"}}}. The next page is asked for by the same
// search with {"page": {"token": next_token}}; an empty next_token is the end. A
// page holds at most page.limit results, and never more than
// abi.MaxSearchLimit; it may hold fewer, or none, and not be the last. A token is
// good for the same search of the same caller on this node, until the policy
// changes.
//
// Anything else is {"error": {"code", "number", "message", "field"}}: a code
// of package abi, a stable text, and, where one field is to blame, its path.
// The cause goes to the log alone.
//
// # Events
//
// GET /events takes a bearer token of any domain and answers with server-sent
// events (HTML Living Standard section 9.2), each one line of JSON: a CloudEvent
// as package cloudevent has it. The query chooses: contract (empty for the
// ledger's own events), device (an account id in hex: what it sent, and what the
// ledger says of it), topic, and after, a height to begin behind; without one,
// only what is yet to come is sent. A client that comes again with the
// Last-Event-ID of the last event that it saw misses none and sees none twice. A
// comment line every 15 s names the height up to which everything was sent. 410
// says that the blocks after the height are not kept any more: begin without it.
//
// # Requests
//
// A body is one JSON object in UTF-8 of at most MaxBody bytes. It is converted
// to canonical CBOR as a whole before anything is read from it, so a repeated
// key, a number without an exact 64-bit form or too deep nesting is refused
// wherever it stands, also in fields that are otherwise ignored. In a batch an
// item's subject, action, resource or context replaces the default of that
// name as a whole.
//
// # Metrics
//
// Server.Collectors gives them to the caller's registry. A path is one of the
// endpoints above without its domain, or "other": no caller can add a label.
//
//	postern_web_requests_total{path,code}              requests by status
//	postern_web_request_duration_seconds{path}         from the headers to the end of the answer
//	postern_web_decisions_total{decision}              "permit" or "deny", each item of a batch
//	postern_web_connections                            open connections
//	postern_web_connections_refused_total              closed on arrival, too many were open
//
// # The caller's duties
//
// Make the Server with New, register its Collectors, and keep Run in the
// node's group: an error of Run must end the node, since it means a failed
// listener or a broken invariant.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// MaxBody is how many bytes a request's body may have: a transaction's worth,
// which holds abi.MaxBatch items of a kilobyte.
const MaxBody = 64 << 10

// Limits of one connection. A request of an enforcement point arrives within
// milliseconds; whoever needs seconds only holds a place.
const (
	headerTimeout = 5 * time.Second  // TLS handshake, and one request's headers
	readTimeout   = 10 * time.Second // one whole request
	writeTimeout  = 20 * time.Second // from the end of the headers to the last byte of the answer
	idleTimeout   = 60 * time.Second // between two requests
	decideTimeout = 8 * time.Second  // all decisions of one request; below writeTimeout, so the answer still goes out
	stopTimeout   = 5 * time.Second  // for requests in flight when Run is told to stop
	maxHeader     = 8 << 10          // bytes of a request's line and headers, to which net/http adds 4 KiB
	maxStreams    = 32               // HTTP/2 requests in flight on one connection
)

// Limits of the whole server. An idle connection costs about 42 KiB of
// resident memory over HTTP/1.1 and 55 KiB over HTTP/2 (measured with 200), a
// request up to MaxBody and some copies of it; a node has 64 MiB for all.
const (
	defaultMaxConnections = 128
	defaultMaxRequests    = 32
	placeWait             = 250 * time.Millisecond // for one of the MaxRequests places: evens out bursts
)

// Node is what the service needs of the node behind it.
type Node interface {
	// Decide answers an encoded abi.DecisionRequest; any failure is a denial.
	Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer
	// Token finds a bearer token by its SHA-256. It returns
	// abi.CodeNotAuthenticated for one that is unknown, expired, revoked or
	// whose account may not use it.
	Token(token abi.Hash) (chain.Token, error)
	// Domains lists the policy domains.
	Domains() ([]string, error)
	// Ready is nil once the node can decide.
	Ready() error
}

// Config is what New needs.
type Config struct {
	// Listener is where connections come from; Run closes it. Required.
	Listener net.Listener
	// Certificate is the server's, with its private key. Required.
	Certificate tls.Certificate
	// Node answers. Required.
	Node Node
	// Search is what the search endpoints ask; nil: they do not exist.
	Search Search
	// Events is what /events serves; nil: /events does not exist.
	Events Events
	// Metrics is what /metrics serves; nil: /metrics does not exist.
	Metrics prometheus.Gatherer
	// ServeMetrics opens /metrics to everybody. Otherwise only peers on the
	// loopback interface get it, and not through a proxy that says so in a
	// Forwarded or X-Forwarded-For header: metrics tell how busy a building is.
	ServeMetrics bool
	// BaseURL is the origin that discovery names, "https://host[:port]" with
	// no path. Empty: the Host of each request.
	BaseURL string
	// MaxConnections caps open connections; more are closed on arrival.
	// 0: 128.
	MaxConnections int
	// MaxRequests caps authenticated requests in flight; one above waits a
	// quarter of a second for a place and then gets 503. 0: 32.
	MaxRequests int
	// Logger gets causes of errors; nil: nobody does.
	Logger *slog.Logger
}

func (c *Config) validate() error {
	if c.Listener == nil || c.Node == nil || len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil {
		return errors.New("web: Listener, Node and Certificate with its key are required")
	}
	if c.MaxConnections < 0 || c.MaxRequests < 0 {
		return errors.New("web: MaxConnections and MaxRequests must not be negative")
	}
	return c.validateBaseURL()
}

func (c *Config) validateBaseURL() error {
	if c.BaseURL == "" {
		return nil
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return fmt.Errorf("web: base URL: %w", err)
	}
	origin := url.URL{Scheme: "https", Host: u.Host}
	if !validHost(u.Host) || strings.TrimSuffix(c.BaseURL, "/") != origin.String() {
		return fmt.Errorf("web: base URL %q is not https://host[:port]", c.BaseURL)
	}
	return nil
}

// Server is the HTTPS service of one node.
type Server struct {
	node      Node
	search    Search // nil: none
	events    Events // nil: none
	followers followers
	closing   chan struct{} // closed when Run ends
	log       *slog.Logger
	base      string        // configured origin, or empty
	places    chan struct{} // one element for each request in flight
	metrics   *metrics
	prom      http.Handler // serves Config.Metrics, or nil
	open      bool         // ServeMetrics
	fault     chan error   // the first broken invariant met in a handler; ends Run
	lis       *listener
	http      http.Server
}

// New makes a server; Run serves.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		node:   c.Node,
		search: c.Search,
		events: c.Events, followers: followers{of: map[abi.Hash]int{}}, closing: make(chan struct{}),
		log:     log,
		base:    strings.TrimSuffix(c.BaseURL, "/"),
		places:  make(chan struct{}, orDefault(c.MaxRequests, defaultMaxRequests)),
		metrics: newMetrics(),
		open:    c.ServeMetrics,
		fault:   make(chan error, 1),
	}
	s.lis = newListener(c.Listener, orDefault(c.MaxConnections, defaultMaxConnections), s.metrics)
	if c.Metrics != nil {
		s.prom = metricsHandler(c.Metrics, log)
	}
	s.http = http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     MaxBody,
			MaxReceiveBufferPerConnection: 4 * MaxBody,
			WriteByteTimeout:              headerTimeout,
		},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{c.Certificate}, MinVersion: tls.VersionTLS12},
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(true)
	return s, nil
}

func orDefault(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.lis.Addr() }

// Collectors are the server's metrics, for the caller to register.
func (s *Server) Collectors() []prometheus.Collector { return s.metrics.collectors() }

// Run serves until ctx ends; then it takes no more connections, waits a few
// seconds for requests in flight and returns nil. It returns an error if the
// listener fails or a request met a broken invariant, which must stop the
// node. Run may be called once.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.ServeTLS(s.lis, "", "") }()
	var err error
	select {
	case err = <-served:
		return fmt.Errorf("serving HTTPS: %w", err)
	case err = <-s.fault:
	case <-ctx.Done():
	}
	close(s.closing)
	s.stop()
	<-served
	return err
}

// stop is the end of Run: polite first, then not.
func (s *Server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("requests were cut off at shutdown", "err", err)
		s.lis.cut()
		s.http.Close()
	}
}
