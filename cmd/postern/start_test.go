package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// TestLogIDs: an id in the log can be handed to a command as it stands.
func TestLogIDs(t *testing.T) {
	var out bytes.Buffer
	id := abi.Hash{0x0b, 0x41}
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: hashesInHex}))
	log.Warn("a device is isolated", "device", id, "in", 3)
	if want := " device=0b41" + strings.Repeat("00", 30) + " in=3\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q does not end with %q", out.String(), want)
	}
}
