package access_test

import (
	"os"
	"strings"
	"testing"
)

// The worked example of README.md is a valid document without findings.
func TestREADMEExample(t *testing.T) {
	src, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(src), "```json\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("README.md has no example")
	}
	if f := parse(t, example).Check(); len(f) > 0 {
		t.Fatal(f)
	}
}
