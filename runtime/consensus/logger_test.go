package consensus

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// A debug log is for whoever writes contracts: SmartBFT's several lines a
// block are not among what it shows, its warnings are.
func TestDebugLogIsReadable(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelDebug: 2, levelTrace: 3} {
		out := &bytes.Buffer{}
		l := &logger{slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})), nil}
		l.Debugf("a step")
		l.Infof("a block %d", 1)
		l.Warnf("a slow leader")
		l.Errorf("no leader")
		if n := strings.Count(out.String(), "\n"); n != want {
			t.Errorf("at %v: %d lines, want %d:\n%s", level, n, want, out)
		}
	}
}

// TestLogHoldsNoBinary: what SmartBFT prints of keys and messages does not reach
// a terminal.
func TestLogHoldsNoBinary(t *testing.T) {
	out := &bytes.Buffer{}
	l := &logger{slog.New(slog.NewTextHandler(out, nil)), nil}
	l.Errorf("Node %d got %s from %v, later", 1, "\x00\xff\x1b[31m", []byte("ok")[0:0])
	if got := out.String(); !strings.Contains(got, `msg="Node 1 got …[31m from [], later"`) {
		t.Errorf("logged %s", got)
	}
	out.Reset()
	l.Errorf("%s", strings.Repeat("ü", maxText)) // cut within a letter
	if got := out.String(); strings.Contains(got, `\x`) {
		t.Errorf("logged %s", got)
	}
}
