package main

import (
	"fmt"
	"os"
	"path/filepath"
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
