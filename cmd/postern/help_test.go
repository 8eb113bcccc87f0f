package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestHelpHasExamples: every command that does something shows how, in an
// example that calls it by its full name and with flags that it has.
func TestHelpHasExamples(t *testing.T) {
	var walk func(name string, list []*cli.Command)
	walk = func(name string, list []*cli.Command) {
		for _, c := range list {
			full := name + " " + c.Name
			walk(full, c.Subcommands)
			if len(c.Subcommands) == 0 {
				checkExamples(t, full, c)
			}
		}
	}
	walk("postern", newApp().Commands)
}

func checkExamples(t *testing.T, full string, c *cli.Command) {
	_, examples, ok := strings.Cut(c.Description, "Example")
	if !ok || !strings.Contains(examples, full) {
		t.Errorf("%s --help has no example of it", full)
		return
	}
	known := map[string]bool{"help": true, "json": true}
	for _, f := range c.Flags {
		for _, name := range f.Names() {
			known[name] = true
		}
	}
	for _, line := range strings.Split(examples, "\n") {
		_, args, ok := strings.Cut(strings.TrimSpace(line), full+" ")
		if !ok {
			continue
		}
		for _, word := range strings.Fields(args) {
			if name, isFlag := strings.CutPrefix(word, "--"); isFlag && !known[strings.SplitN(name, "=", 2)[0]] {
				t.Errorf("an example of %s gives it %s, which it does not have", full, word)
			}
		}
	}
}
