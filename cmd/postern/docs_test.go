package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// pages are the pages whose commands are run, and how many there are at least.
var pages = map[string]int{"devices.md": 50, "governance.md": 26, "network.md": 14, "quickstart.md": 10, "tutorial-go.md": 15, "proofs.md": 12}

// rustPages are pages whose commands need a Rust compiler, which not every
// machine has: they are run with the flag -rust, as make check does.
var rustPages = map[string]int{"tutorial-rust.md": 15}

var withRust = flag.Bool("rust", false, "run the pages that need a Rust compiler, too")

// TestDocs runs what the pages show: the commands of their console blocks, in
// order, with the output that stands under each. A block that is named after
// its language is a file, which is written where it stands.
func TestDocs(t *testing.T) {
	dir := t.TempDir()
	run := maps.Clone(pages)
	if *withRust {
		maps.Copy(run, rustPages)
	}
	for page, least := range run {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		script, commands := scriptOf(string(text))
		if commands < least {
			t.Errorf("found only %d commands in %s", commands, page)
		}
		name := strings.TrimSuffix(page, ".md") + ".txt"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := scriptParams()
	p.Dir = dir
	testscript.Run(t, p)
}

var fence = regexp.MustCompile("(?ms)^```(console|\\w+ (\\S+))\n(.*?)^```$")

// scriptOf turns a page into a script of testscript.
func scriptOf(page string) (script string, commands int) {
	var body, files strings.Builder
	for i, m := range fence.FindAllStringSubmatch(page, -1) {
		if m[1] != "console" {
			fmt.Fprintf(&body, "cp $WORK/page/%d %s\n", i, m[2])
			fmt.Fprintf(&files, "-- page/%d --\n%s", i, m[3])
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

// assignment is NAME=$(COMMAND | sed -n 's/^PREFIX//p').
var assignment = regexp.MustCompile(`^([A-Z]+)=\$\((.*) \| sed -n 's/\^(.*)//p'\)$`)

// commandOf is one command of a page as a line of a script.
func commandOf(command string) string {
	if rest, ok := strings.CutSuffix(command, " &"); ok {
		line := strings.Replace(rest, "postern", "node shown", 1)
		if strings.HasPrefix(rest, "postern testnet") { // which chooses free ports itself
			return line
		}
		return line + " --quic 127.0.0.1:0 --web 127.0.0.1:0 --peer 127.0.0.1:0"
	}
	if strings.HasPrefix(command, "cd ") {
		return command
	}
	if m := assignment.FindStringSubmatch(command); m != nil {
		return "exec " + m[2] + "\nafter " + m[1] + " '" + m[3] + "'"
	}
	if made, file, ok := strings.Cut(command, " > "); ok {
		return commandOf(made) + "\ncp stdout " + file
	}
	prefix := ""
	if rest, ok := strings.CutPrefix(command, "! "); ok {
		prefix, command = "! ", rest
	}
	if !strings.Contains(command, "'") { // which testscript quotes with
		command = strings.ReplaceAll(command, `"`, "'")
	}
	return prefix + "exec " + command
}
