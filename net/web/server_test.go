package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
)

// pipes is a listener of in-memory connections, for synctest.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

func clientConfig(protocols ...string) *tls.Config {
	leaf, err := x509.ParseCertificate(testCertificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: protocols}
}

// running is a server in Run.
type running struct {
	*Server
	log  *testLog
	stop context.CancelFunc
	done chan error // Run's result
}

func run(t testing.TB, listener net.Listener, node Node, change func(*Config)) *running {
	t.Helper()
	s, log := newServer(t, node, func(c *Config) {
		c.Listener = listener
		if change != nil {
			change(c)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s, log, cancel, make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	return r
}

func (r *running) end(t testing.TB) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func client(t testing.TB, http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: clientConfig(), Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetHTTP2(http2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func ask(t testing.TB, c *http.Client, url string) *http.Response {
	t.Helper()
	r := newRequest(url, goodAsk)
	r.Header.Set("X-Request-ID", "42")
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestBothVersionsOfHTTP(t *testing.T) {
	s := run(t, listenTCP(t), &fakeNode{}, nil)
	defer s.end(t)
	for http2, want := range map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"} {
		resp := ask(t, client(t, http2), "https://"+s.Addr().String()+evaluationPath)
		if resp.Proto != want || resp.TLS.Version < tls.VersionTLS12 {
			t.Errorf("protocol %s over %s, want %s", resp.Proto, tls.VersionName(resp.TLS.Version), want)
		}
		if got := decode(t, resp); got.decisions() != "+" {
			t.Errorf("%s: %+v", want, got)
		}
		if resp.Header.Get("X-Request-ID") != "42" {
			t.Errorf("%s: X-Request-ID did not come back", want)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	s := run(t, listenTCP(t), &fakeNode{}, nil)
	defer s.end(t)
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c := clientConfig()
		c.MinVersion, c.MaxVersion = version, version
		conn, err := tls.Dial("tcp", s.Addr().String(), c)
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestPlainHTTPIsRefused(t *testing.T) {
	s := run(t, listenTCP(t), &fakeNode{}, nil)
	defer s.end(t)
	resp, err := http.Get("http://" + s.Addr().String() + "/healthz")
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestDeadlines holds that a client that stops sending is dropped, at which
// stage whatever, and when. Time is the bubble's.
func TestDeadlines(t *testing.T) {
	head := "POST " + evaluationPath + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + goodToken +
		"\r\nContent-Type: application/json\r\n"
	for _, c := range []struct {
		name, sent string
		raw        bool // before TLS
		within     time.Duration
	}{
		{"silent before TLS", "", true, headerTimeout},
		{"half a handshake", "\x16\x03\x01\x02", true, headerTimeout},
		{"silent after TLS", "", false, headerTimeout},
		{"half a request line", "POST /acc", false, headerTimeout},
		{"half the headers", head, false, headerTimeout},
		{"half the body", head + "Content-Length: 400\r\n\r\n{", false, readTimeout},
		{"half a chunk", head + "Transfer-Encoding: chunked\r\n\r\n100\r\n{", false, readTimeout},
		{"idle after an answer", head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(goodAsk), goodAsk), false, idleTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				s := run(t, p, &fakeNode{}, nil)
				defer s.end(t)
				conn := p.dial()
				defer conn.Close()
				if !c.raw {
					tc := tls.Client(conn, clientConfig("http/1.1"))
					if err := tc.Handshake(); err != nil {
						t.Fatal(err)
					}
					conn = tc
				}
				start := time.Now()
				if _, err := io.WriteString(conn, c.sent); err != nil {
					t.Fatal(err)
				}
				_, err := io.Copy(io.Discard, conn)
				if took := time.Since(start); took < c.within || took > c.within+time.Second {
					t.Errorf("dropped after %v (%v), want %v", took, err, c.within)
				}
			})
		})
	}
}

// TestDeafClient sends a request and never reads the answer.
func TestDeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := run(t, p, &fakeNode{}, nil)
		defer s.end(t)
		raw := p.dial()
		defer raw.Close()
		conn := tls.Client(raw, clientConfig("http/1.1"))
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-time.After(writeTimeout + stopTimeout + time.Second) // the farewell of TLS has 5 s of its own
		synctest.Wait()
		s.lis.mu.Lock()
		defer s.lis.mu.Unlock()
		if len(s.lis.open) != 0 {
			t.Error("the connection is still open")
		}
	})
}

// watcher remembers the context of the last decision.
type watcher struct {
	fakeNode
	ctx chan context.Context
}

func (w *watcher) Decide(ctx context.Context, _ abi.Caller, _ string, _ []byte) abi.Answer {
	w.ctx <- ctx
	<-ctx.Done()
	return abi.Answer{Code: abi.CodeTimeout}
}

// TestDecisionsEnd holds that a decision is told to end when its time is over
// and when nobody waits for it any more.
func TestDecisionsEnd(t *testing.T) {
	for name, leaves := range map[string]bool{"time is over": false, "client leaves": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := &watcher{ctx: make(chan context.Context, 1)}
				s, _ := newServer(t, node, nil)
				ctx, leave := context.WithCancel(context.Background())
				defer leave()
				start := time.Now()
				w := newRecorder()
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.ServeHTTP(w, newRequest("https://localhost"+evaluationPath, goodAsk).WithContext(ctx))
				}()
				<-node.ctx
				want := decideTimeout
				if leaves {
					leave()
					want = 0
				}
				<-done
				if took := time.Since(start); took != want {
					t.Errorf("ended after %v, want %v", took, want)
				}
				if !strings.Contains(string(w.body), `"decision":false`) {
					t.Errorf("answer %s", w.body)
				}
			})
		})
	}
}

// TestSlowBodyGivesItsPlaceBack holds that a body that stops arriving does not
// keep its place for longer than one request may take, over HTTP/2 too, where
// the connection lives on.
func TestSlowBodyGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := run(t, p, &fakeNode{}, func(c *Config) { c.MaxRequests = 1 })
		defer s.end(t)
		tr := &http.Transport{
			ForceAttemptHTTP2: true,
			TLSClientConfig:   clientConfig(),
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return p.dial(), nil },
		}
		defer tr.CloseIdleConnections()
		c := &http.Client{Transport: tr}
		slow, feed := io.Pipe()
		ended := make(chan struct{})
		start := time.Now()
		go func() {
			defer close(ended)
			r := newRequest("https://localhost"+evaluationPath, "")
			r.Body, r.ContentLength = slow, 400
			if resp, err := c.Do(r); err == nil {
				if resp.ProtoMajor != 2 || resp.StatusCode == 200 {
					t.Errorf("half a body over %s: status %d", resp.Proto, resp.StatusCode)
				}
				resp.Body.Close()
			}
		}()
		if _, err := io.WriteString(feed, "{"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if resp := ask(t, c, "https://localhost"+evaluationPath); resp.StatusCode != 503 {
			t.Errorf("while the only place is taken: status %d", resp.StatusCode)
		}
		<-ended
		if took := time.Since(start); took > readTimeout+time.Second {
			t.Errorf("the slow request ended after %v", took)
		}
		feed.Close()
		if resp := ask(t, c, "https://localhost"+evaluationPath); resp.StatusCode != 200 {
			t.Errorf("afterwards: status %d", resp.StatusCode)
		}
	})
}

// TestSlowHeaders sends a header line a second for ever.
func TestSlowHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := run(t, p, &fakeNode{}, nil)
		defer s.end(t)
		conn := tls.Client(p.dial(), clientConfig("http/1.1"))
		defer conn.Close()
		start := time.Now()
		go io.Copy(io.Discard, conn)
		_, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
		for tick := time.NewTicker(time.Second); err == nil; {
			<-tick.C
			_, err = io.WriteString(conn, "X-A: b\r\n")
		}
		if took := time.Since(start); took > headerTimeout+2*time.Second {
			t.Errorf("dropped after %v", took)
		}
	})
}

func TestHeaderFlood(t *testing.T) {
	s := run(t, listenTCP(t), &fakeNode{}, nil)
	defer s.end(t)
	for name, flood := range map[string]string{
		"one header":   "X-A: " + strings.Repeat("a", 64<<10) + "\r\n",
		"many headers": strings.Repeat("X-A: b\r\n", 8<<10),
	} {
		conn, err := tls.Dial("tcp", s.Addr().String(), clientConfig("http/1.1"))
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"+flood+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		conn.Close()
	}
}

func TestConnectionCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := run(t, p, &fakeNode{}, func(c *Config) { c.MaxConnections = 2 })
		defer s.end(t)
		first, second := p.dial(), p.dial()
		defer second.Close()
		third, start := p.dial(), time.Now()
		if _, err := third.Read(make([]byte, 1)); err != io.EOF || time.Since(start) != 0 {
			t.Fatalf("the connection above the cap: %v after %v", err, time.Since(start))
		}
		first.Close()
		synctest.Wait()
		fourth := tls.Client(p.dial(), clientConfig("http/1.1"))
		defer fourth.Close()
		if err := fourth.Handshake(); err != nil {
			t.Fatalf("after one has left: %v", err)
		}
	})
}

// TestBusy fills every place with a decision that does not end.
func TestBusy(t *testing.T) {
	node := &fakeNode{block: make(chan struct{}), entered: make(chan struct{})}
	s, _ := newServer(t, node, func(c *Config) { c.MaxRequests = 2 })
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if resp := call(s, "POST", evaluationPath, goodAsk); resp.StatusCode != 200 {
				t.Errorf("a request with a place: status %d", resp.StatusCode)
			}
		})
		<-node.entered
	}
	resp := call(s, "POST", evaluationPath, goodAsk)
	wantProblem(t, resp, 503, abi.CodeBusy, "")
	if resp.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
	}
	if resp := call(s, "POST", evaluationPath, goodAsk, "Authorization: Bearer nobody"); resp.StatusCode != 401 {
		t.Errorf("a stranger learns that the node is busy: status %d", resp.StatusCode)
	}
	if resp := call(s, "GET", "/healthz", ""); resp.StatusCode != 200 {
		t.Errorf("health while busy: status %d", resp.StatusCode)
	}
	close(node.block)
	wg.Wait()
	go func() { <-node.entered }()
	if resp := call(s, "POST", evaluationPath, goodAsk); resp.StatusCode != 200 {
		t.Errorf("after the others: status %d", resp.StatusCode)
	}
}

// TestBurst holds that requests above the cap wait a little before they are
// refused, and that none waits once its client has left.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{block: make(chan struct{}), entered: make(chan struct{}, 2)}
		s, _ := newServer(t, node, func(c *Config) { c.MaxRequests = 1 })
		start := time.Now()
		var wg sync.WaitGroup
		post := func(ctx context.Context, want int) {
			wg.Go(func() {
				w := newRecorder()
				s.ServeHTTP(w, newRequest("https://localhost"+evaluationPath, goodAsk).WithContext(ctx))
				if w.status != want {
					t.Errorf("status %d, want %d", w.status, want)
				}
			})
		}
		post(context.Background(), 200)
		synctest.Wait()
		left, leave := context.WithCancel(context.Background())
		post(left, 503)
		post(context.Background(), 200)
		synctest.Wait()
		leave()
		<-time.After(placeWait - time.Millisecond)
		close(node.block)
		wg.Wait()
		if took := time.Since(start); took != placeWait-time.Millisecond {
			t.Errorf("all ended after %v", took)
		}
	})
}

// TestShutdownFinishesRequests stops the server while a decision is under way.
func TestShutdownFinishesRequests(t *testing.T) {
	node := &fakeNode{block: make(chan struct{}), entered: make(chan struct{})}
	s := run(t, listenTCP(t), node, nil)
	url := "https://" + s.Addr().String() + evaluationPath
	answered := make(chan int, 1)
	c := client(t, false)
	go func() {
		resp := ask(t, c, url)
		answered <- resp.StatusCode
	}()
	<-node.entered
	s.stop()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(node.block)
	if status := <-answered; status != 200 {
		t.Errorf("status %d", status)
	}
	if err := <-s.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestShutdownCutsOffTheStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{block: make(chan struct{}), entered: make(chan struct{}, 1)}
		p := newPipes()
		s := run(t, p, node, nil)
		conn := tls.Client(p.dial(), clientConfig("http/1.1"))
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			evaluationPath, goodToken, len(goodAsk), goodAsk)
		<-node.entered
		start := time.Now()
		s.end(t)
		if took := time.Since(start); took < stopTimeout || took > stopTimeout+time.Second {
			t.Errorf("Run ended after %v", took)
		}
		close(node.block)
	})
}

// TestBrokenInvariantEndsRun holds that a panic answers its request, reaches
// no other and stops the node.
func TestBrokenInvariantEndsRun(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := run(t, listenTCP(t), &fakeNode{crash: true}, nil)
		resp := ask(t, client(t, http2), "https://"+s.Addr().String()+evaluationPath)
		wantProblem(t, resp, 500, abi.CodeInternal, "")
		if err := <-s.done; err == nil || !strings.Contains(err.Error(), "told to crash") {
			t.Errorf("Run: %v", err)
		}
		if !strings.Contains(s.log.String(), "goroutine") {
			t.Error("no stack in the log")
		}
		s.stop()
	}
}

type brokenListener struct{ deaf }

func (brokenListener) Accept() (net.Conn, error) { return nil, errDisk }
func (brokenListener) Close() error              { return nil }

func TestRunReportsABrokenListener(t *testing.T) {
	s, _ := newServer(t, &fakeNode{}, func(c *Config) { c.Listener = brokenListener{} })
	if err := s.Run(context.Background()); !errors.Is(err, errDisk) {
		t.Errorf("Run: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no listener":          func(c *Config) { c.Listener = nil },
		"no node":              func(c *Config) { c.Node = nil },
		"no certificate":       func(c *Config) { c.Certificate = tls.Certificate{} },
		"no key":               func(c *Config) { c.Certificate.PrivateKey = nil },
		"negative connections": func(c *Config) { c.MaxConnections = -1 },
		"negative requests":    func(c *Config) { c.MaxRequests = -1 },
		"plain base":           func(c *Config) { c.BaseURL = "http://host" },
		"base with a path":     func(c *Config) { c.BaseURL = "https://host/x" },
		"base with a query":    func(c *Config) { c.BaseURL = "https://host?x" },
		"base with a fragment": func(c *Config) { c.BaseURL = "https://host#x" },
		"base with a user":     func(c *Config) { c.BaseURL = "https://user@host" },
		"base without a host":  func(c *Config) { c.BaseURL = "https://" },
		"base is no URL":       func(c *Config) { c.BaseURL = "https://ho st" },
	} {
		c := Config{Listener: deaf{}, Node: &fakeNode{}, Certificate: testCertificate()}
		if _, err := New(c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
