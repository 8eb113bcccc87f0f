package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/contracts"
)

var quotedCommand = regexp.MustCompile("`postern ([^`]*)`")

// TestPromises holds that docs/promises.md names commands and scenarios that
// there are, and forgets no standard contract and no scenario.
func TestPromises(t *testing.T) {
	raw, err := os.ReadFile("../../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for _, m := range quotedCommand.FindAllStringSubmatch(page, -1) {
		if lack := lackOf(strings.Fields(m[1])); lack != "" {
			t.Errorf("postern %s: %s", m[1], lack)
		}
	}
	for _, c := range contracts.Standard() {
		if !strings.Contains(page, "["+c.Name+"](../contracts/"+c.Name+"/README.md)") {
			t.Errorf("no promise names the contract %s", c.Name)
		}
		if _, err := os.Stat(filepath.Join("../../contracts", c.Name, "README.md")); err != nil {
			t.Error(err)
		}
	}
	for _, s := range contracts.Scenarios() {
		if !strings.Contains(page, "`postern scenario run "+s.Name+"`") {
			t.Errorf("no promise is shown by the scenario %s", s.Name)
		}
	}
}

// lackOf says what of a command line is not there: the command, or the scenario
// or standard contract that it names.
func lackOf(words []string) string {
	list, args := newApp().Commands, words
	for len(args) > 0 {
		i := slices.IndexFunc(list, func(c *cli.Command) bool { return c.Name == args[0] })
		if i < 0 {
			break
		}
		list, args = list[i].Subcommands, args[1:]
	}
	switch path := strings.Join(words[:len(words)-len(args)], " "); {
	case len(args) == len(words) || len(args) > 0 && len(list) > 0:
		return "there is no such command"
	case path == "scenario run" && len(args) == 1:
		if _, ok := contracts.ScenarioNamed(args[0]); !ok {
			return "there is no such scenario"
		}
	case path == "contract standard" && len(args) == 1:
		if _, ok := contracts.Named(args[0]); !ok {
			return "there is no such contract"
		}
	case len(args) > 0:
		return "it takes no such argument"
	}
	return ""
}

func TestLackOf(t *testing.T) {
	for command, want := range map[string]string{
		"device show":                "",
		"testnet":                    "",
		"scenario run behaviour":     "",
		"scenario run nothing":       "there is no such scenario",
		"contract standard nothing":  "there is no such contract",
		"contract standard":          "",
		"device paint":               "there is no such command",
		"paint":                      "there is no such command",
		"prove everything":           "it takes no such argument",
		"scenario run city lock":     "it takes no such argument",
		"contract standard lock now": "it takes no such argument",
	} {
		if got := lackOf(strings.Fields(command)); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}
