package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed79541315/postern/net/webhook"
	"github.com/seed79541315/postern/sdk/key"
)

// hookReceiver is another's server. It takes what the gateway of a did:key has
// signed, and answers with what the file "answer" says.
type hookReceiver struct {
	url, dir string

	mu  sync.Mutex
	ids []string // guarded by mu: of events that were taken
}

// scriptReceiver: receiver starts a server, whose address is $HOOK; what it takes
// is read by "received N", which waits for that many events and prints them.
func scriptReceiver(ts *testscript.TestScript, _ bool, _ []string) {
	r := &hookReceiver{dir: ts.Getenv("WORK")}
	s := httptest.NewUnstartedServer(r)
	r.url = "http://" + s.Listener.Addr().String() + "/hook"
	s.Start()
	ts.Defer(s.Close)
	ts.Setenv("HOOK", r.url)
	ts.Value("nodes").(*scriptNodes).receiver = r
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodOptions {
		w.Header().Set("WebHook-Allowed-Origin", q.Header.Get("WebHook-Request-Origin"))
		return
	}
	body, err := io.ReadAll(io.LimitReader(q.Body, 1<<20))
	if err != nil {
		return
	}
	public, err := key.ParseDID(webhook.KeyID(q))
	if err == nil {
		err = webhook.Verify(q, r.url, body, public, time.Now())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if answer, err := os.ReadFile(filepath.Join(r.dir, "answer")); err == nil {
		status, err := strconv.Atoi(strings.TrimSpace(string(answer)))
		if err != nil {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
		return
	}
	var e struct{ ID, Type, Subject string }
	if json.Unmarshal(body, &e) == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ids = append(r.ids, e.Type+" "+e.Subject)
	}
	w.WriteHeader(http.StatusNoContent)
}

func scriptReceived(ts *testscript.TestScript, _ bool, args []string) {
	r := ts.Value("nodes").(*scriptNodes).receiver
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		r.mu.Lock()
		got := strings.Join(r.ids, "\n")
		have := len(r.ids)
		r.mu.Unlock()
		if have >= n {
			ts.Check(os.WriteFile(ts.MkAbs("received"), []byte(got+"\n"), 0o600))
			return
		}
	}
	ts.Fatalf("fewer than %d events came: %v", n, r.ids)
}

func TestWebhookConfig(t *testing.T) {
	contract := "Lock"
	for why, c := range map[string]webhookConfig{
		"want https":       {Name: "p", URL: "http://x.test"},
		"a name has":       {Name: "P", URL: "https://x.test"},
		"contract's name":  {Name: "p", URL: "https://x.test", Contract: &contract},
		"64 hexadecimal":   {Name: "p", URL: "https://x.test", Device: "12"},
		"as text or hex":   {Name: "p", URL: "https://x.test", Topic: "hex:1"},
		"at most 64 bytes": {Name: "p", URL: "https://x.test", Topic: strings.Repeat("t", 65)},
	} {
		if _, err := c.target(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	two := config{Webhooks: []webhookConfig{{Name: "p", URL: "https://x.test", Origin: "a"}, {Name: "q", URL: "https://x.test", Origin: "b"}}}
	if _, _, err := two.targets(); err == nil {
		t.Error("two origins are taken")
	}
}
