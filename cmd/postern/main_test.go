package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestExitCodes holds the codes that the help text promises to scripts.
func TestExitCodes(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	made := filepath.Join(t.TempDir(), "home")
	for _, c := range []struct {
		args string
		want int
	}{
		{"version", exitOK},
		{"init --home " + made, exitOK},
		{"init --home " + made, exitFailed},
		{"frobnicate", exitUsage},
		{"device frobnicate", exitUsage},
		{"decide --action open", exitUsage},
		{"decide --no-such-flag", exitUsage},
		{"contract deploy access", exitUsage},
		{"init stray --home " + none, exitUsage},
		{"version stray", exitUsage},
		{"block show 3 --json", exitUsage},
		{"token new --life -5s --home " + made, exitUsage},
		{"contract deploy --name ../x --home " + made + " access", exitUsage},
		{"policy check", exitUsage},
		{"decide --subject-properties {} --action a --resource b:c", exitUsage},
		{"prove", exitUsage},
		{"tx show 12", exitUsage},
		{"contract check main.go", exitRefused},
		{"policy check main.go", exitRefused},
		{"start --home " + none, exitFailed},
		{"verify --home " + none, exitFailed},
		{"status --home " + made + " --node 127.0.0.1:9", exitOffline},
	} {
		args := append([]string{"postern"}, strings.Fields(c.args)...)
		if got := run(t.Context(), args); got != c.want {
			t.Errorf("postern %s: exit code %d, want %d", c.args, got, c.want)
		}
	}
}

// TestHelpIsComplete holds every command to having a usage, and every flag
// too; and every command that prints results to having --json.
func TestHelpIsComplete(t *testing.T) {
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, c := range commands {
			name := path + " " + c.Name
			if c.Usage == "" {
				t.Errorf("%s has no usage", name)
			}
			json := false
			for _, f := range c.Flags {
				json = json || f.Names()[0] == "json"
				if d, ok := f.(cli.DocGenerationFlag); !ok || d.GetUsage() == "" {
					t.Errorf("%s: flag --%s has no usage", name, f.Names()[0])
				}
			}
			if len(c.Subcommands) == 0 && c.Name != "completion" && !json {
				t.Errorf("%s has no --json", name)
			}
			walk(name, c.Subcommands)
		}
	}
	walk("postern", newApp().Commands)
}
