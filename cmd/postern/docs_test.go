package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestDocs runs what docs/quickstart.md shows: the commands of its console
// blocks, in order, with the output that stands under each; and its named
// JSON blocks as files.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	script, commands := scriptOf(string(text))
	if commands < 10 {
		t.Fatalf("found only %d commands in the page", commands)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "quickstart.txt"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scriptParams()
	p.Dir = dir
	testscript.Run(t, p)
}

var fence = regexp.MustCompile("(?ms)^```(console|json (\\S+))\n(.*?)^```$")

// scriptOf turns a page into a script of testscript.
func scriptOf(page string) (script string, commands int) {
	var body, files strings.Builder
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		if m[1] != "console" {
			fmt.Fprintf(&files, "-- %s --\n%s", m[2], m[3])
			continue
		}
		for line := range strings.Lines(m[3]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				body.WriteString(commandOf(command) + "\n")
				commands++
			} else if line != "…" {
				pattern := strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
				fmt.Fprintf(&body, "stdout '(?m)^%s$'\n", strings.ReplaceAll(pattern, "'", "''"))
			}
		}
	}
	return body.String() + files.String(), commands
}

// commandOf is one command of a page as a line of a script.
func commandOf(command string) string {
	if rest, ok := strings.CutSuffix(command, " &"); ok {
		return strings.Replace(rest, "postern", "node shown", 1) + " --quic 127.0.0.1:0 --web 127.0.0.1:0"
	}
	prefix := ""
	if rest, ok := strings.CutPrefix(command, "! "); ok {
		prefix, command = "! ", rest
	}
	return prefix + "exec " + strings.ReplaceAll(command, `"`, `'`)
}
