package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed79541315/postern/contracts"
)

// TestScenarios plays every scenario on nodes of its own, as a person would.
func TestScenarios(t *testing.T) {
	dir := t.TempDir()
	for _, s := range contracts.Scenarios() {
		script := fmt.Sprintf("exec postern scenario run %s\nstdout '(?m)^Every step held: [0-9]+ steps'\n! stdout FAILED\n", s.Name)
		if err := os.WriteFile(filepath.Join(dir, s.Name+".txt"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := scriptParams()
	p.Dir = dir
	testscript.Run(t, p)
}

func TestNameLast(t *testing.T) {
	for args, want := range map[string]string{
		"postern scenario run lock":                  "postern scenario run lock",
		"postern scenario run lock --node a --json":  "postern scenario run --node a --json lock",
		"postern scenario run --json lock":           "postern scenario run --json lock",
		"postern --json scenario run lock --home h":  "postern --json scenario run --home h lock",
		"postern scenario run lock city":             "postern scenario run lock city",
		"postern scenario list":                      "postern scenario list",
		"postern contract call scenario run --a --b": "postern contract call scenario run --a --b",
	} {
		if got := strings.Join(nameLast(strings.Fields(args)), " "); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
