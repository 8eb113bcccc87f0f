package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLogNamesRefusals holds that a refusal stands in the log with its name, and
// that nothing else is looked up or changed.
func TestLogNamesRefusals(t *testing.T) {
	var text bytes.Buffer
	asked := 0
	h := &wordyHandler{slog.NewTextHandler(&text, nil), func(contract string, own uint16) (string, bool) {
		asked++
		return "not-holder", contract == "custody" && own == 2
	}}
	log := slog.New(h).With("node", 1)
	log.Info("contract failed", "name", "custody", "own", uint64(2))
	log.Info("contract failed", "name", "custody", "code", "unreachable")
	log.Info("contract failed", "name", "other", "own", uint64(2))
	log.Info("something else", "name", "custody", "own", uint64(2))
	log.WithGroup("g").Info("contract failed", "name", "custody", "own", uint64(2))
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	for i, want := range []bool{true, false, false, false, true} {
		if got := strings.Contains(lines[i], "refusal=not-holder"); got != want {
			t.Errorf("%s: named %v", lines[i], got)
		}
	}
	if asked != 4 || !strings.Contains(lines[0], "node=1") {
		t.Errorf("asked %d times; %s", asked, lines[0])
	}
}
