package ledger

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// listen gives the ledger a log without times.
func (w *world) listen(level slog.Level) *bytes.Buffer {
	log := &bytes.Buffer{}
	w.l.cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return log
}

// Whoever reads the log of a node learns why a contract failed: which of them,
// where, with which code of its own, and in which transaction.
func TestFailuresAreLogged(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "b")
	log := w.listen(slog.LevelDebug)
	for _, c := range []struct {
		name string
		s    script
		want []string
	}{
		{"nothing", do('s', 0, "k", "v"), nil},
		{"abort", do('x', 7, "why", ""), []string{"name=a entry=execute code=aborted own=7 "}},
		{"trap", do('u', 0, "", ""), []string{"name=a entry=execute code=unreachable function="}},
		{"no such contract", do('c', 0, "none", ""), []string{"name=none entry=execute code=unknown-contract called_by=a "}},
		{"nested", do('c', 0, "b", string(do('x', 9, "", ""))), []string{"name=b entry=execute code=aborted own=9 "}},
		{"nested query, then its caller", do('q', 0, "b", string(do('u', 0, "", ""))).add('x', 1, "", ""),
			[]string{"name=b entry=query code=unreachable function=", "name=a entry=execute code=aborted own=1 "}},
		{"itself", do('c', 0, "a", ""), []string{"name=a entry=execute code=reentrant called_by=a "}},
	} {
		log.Reset()
		o := w.run(nobody, "a", c.s)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if c.want == nil {
			lines = lines[:len(lines)-1]
		}
		if len(lines) != len(c.want) {
			t.Fatalf("%s: %q", c.name, lines)
		}
		for i, want := range c.want {
			if !strings.Contains(lines[i], `level=DEBUG msg="contract failed" `+want) || !strings.Contains(lines[i], " transaction="+hex.EncodeToString(o.ID[:])) {
				t.Errorf("%s: %s", c.name, lines[i])
			}
		}
	}
}

// A block may be executed several times; what it says is said at its commit.
func TestFailuresAreLoggedOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a")
	log := w.listen(slog.LevelDebug)
	tx := w.tx(nobody, chain.OpCall, &chain.Call{Contract: "a", Message: do('x', 7, "", "")})
	for range 2 {
		if _, err := w.l.Propose(t.Context(), w.now, [][]byte{tx}); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(log.String(), "contract failed") {
		t.Errorf("before its commit: %s", log)
	}
	w.block(tx)
	if n := strings.Count(log.String(), "contract failed"); n != 1 {
		t.Errorf("%d times:\n%s", n, log)
	}
}

// Queries and timers are told too.
func TestFailuresOfOtherEntries(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a")
	log := w.listen(slog.LevelDebug)
	if _, _, err := w.l.Query(t.Context(), "a", do('x', 3, "", "")); err == nil {
		t.Error("the query succeeded")
	}
	w.want(w.run(nobody, "a", do('t', w.now+1, string(do('x', 4, "", "")), "")), abi.OK)
	w.tickOver()
	for _, want := range []string{"name=a entry=query code=aborted own=3 ", "name=a entry=timer code=aborted own=4 "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing in:\n%s", want, log)
		}
	}
}

// A contract cannot fill memory, or a log at its usual level, by failing.
func TestFailuresAreBounded(t *testing.T) {
	fs := failures{}
	for range maxFailures + 5 {
		fs.add(failure{contract: "a", err: abi.CodeUnreachable})
	}
	log := &bytes.Buffer{}
	fs.tell(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), 1)
	if n := strings.Count(log.String(), "\n"); len(fs.list) != maxFailures || n != maxFailures+1 || !strings.Contains(log.String(), "times=5") {
		t.Errorf("%d kept, %d lines", len(fs.list), n)
	}
	w := newWorld(t, nil)
	w.deploy(developer, "a")
	quiet := w.listen(slog.LevelInfo)
	w.run(nobody, "a", do('x', 7, "", ""))
	if strings.Contains(quiet.String(), "contract failed") {
		t.Error(quiet)
	}
}
