package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/runtime/scratch"
)

func scenarioCommand() *cli.Command {
	return &cli.Command{
		Name:  "scenario",
		Usage: "see what the standard contracts are for, on a real node",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the scenarios that come with the program",
				Description: example("postern scenario list"), Flags: []cli.Flag{jsonFlag}, Action: scenarioList,
			},
			{
				Name: "run", Usage: "play a scenario, step by step", ArgsUsage: "NAME",
				Description: `It plays the scenario on a node of its own, in a temporary home that is removed at
the end; one that needs several nodes starts a network. With --node or --home it
plays on a node that runs: contracts and devices get fresh names there, and stay.
(POSTERN_HOME alone does not do that.) Each step says what is done and what came of it, refusals that belong to
the story with their reason. The exit code is 0 only if every step held.

--file plays a script of yours; files for its commands lie beside it in a folder of
its name.
docs/scenarios.md describes the language. With --json each step is one line, and
the last says how all went.

Examples:

   postern scenario run lock
   postern scenario run --json lock
   postern scenario run lock --home home --node 127.0.0.1:7433
   postern scenario run --file mine.steps`,
				Flags: withConnect(
					&cli.StringFlag{Name: "file", Usage: "play this `FILE` instead of a scenario of the program's"},
				),
				Action: scenarioRun,
			},
		},
	}
}

// nameLast lets a scenario's name stand before the flags of its command: it is
// the only argument, so that nothing else can be meant.
func nameLast(args []string) []string {
	for i := 0; i+3 < len(args); i++ {
		if args[i] == "scenario" && args[i+1] == "run" {
			if name := args[i+2]; !strings.HasPrefix(name, "-") && strings.HasPrefix(args[i+3], "-") {
				return append(slices.Delete(slices.Clone(args), i+2, i+3), name)
			}
			break
		}
	}
	return args
}

type scenarioRow struct {
	Name     string `json:"name"`
	About    string `json:"about"`
	Contract string `json:"contract,omitempty"`
	Nodes    int    `json:"nodes"`
}

func scenarioList(c *cli.Context) error {
	rows := []scenarioRow{}
	var lines []string
	for _, s := range contracts.Scenarios() {
		script, err := scratch.ParseScript(s.Name, s.Steps)
		if err != nil {
			return err
		}
		row := scenarioRow{Name: s.Name, About: s.About(), Nodes: script.Nodes}
		if s.Contract != nil {
			row.Contract = s.Contract.Name
		}
		rows = append(rows, row)
		lines = append(lines, fmt.Sprintf("%s\t%s", row.Name, row.About))
	}
	return printer(c).table(rows, "NAME\tABOUT", lines)
}

// play is a scenario that is about to be played.
type play struct {
	name     string
	about    string
	script   *scratch.Script
	contract *contracts.Contract // nil where it deploys by name only
	files    fs.FS               // where the script lies
	folder   string              // of the files that it names, beside it
}

// playOf finds the scenario that a command names.
func playOf(c *cli.Context) (*play, error) {
	file := c.String("file")
	switch {
	case file != "" && c.NArg() == 0:
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(file), ".steps")
		return newPlay(&contracts.Scenario{Name: name, Steps: string(text), Files: os.DirFS(filepath.Dir(file)), Folder: name})
	case file != "" || c.NArg() != 1:
		return nil, usagef("name one scenario, or a script with --file; see postern scenario list")
	}
	s, ok := contracts.ScenarioNamed(c.Args().First())
	if !ok {
		return nil, usagef("there is no scenario %q; see postern scenario list", c.Args().First())
	}
	return newPlay(s)
}

func newPlay(s *contracts.Scenario) (*play, error) {
	script, err := scratch.ParseScript(s.Name, s.Steps)
	return &play{name: s.Name, about: s.About(), script: script, contract: s.Contract, files: s.Files, folder: s.Folder}, err
}

// scenarioTimeout bounds a scenario: the longest takes some ten seconds.
const scenarioTimeout = 3 * time.Minute

func scenarioRun(c *cli.Context) error {
	p, err := playOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, scenarioTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "postern-scenario-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := &teller{out: printer(c), began: time.Now()}
	t.opening(p)
	stage, err := p.stage(ctx, c, dir, t.out)
	if err != nil {
		return err
	}
	w, err := newNodeWorld(filepath.Join(dir, "world"), stage)
	if err == nil {
		err = w.furnish(p.files, p.folder)
	}
	if err == nil {
		err = p.play(ctx, w, t)
		w.close()
	}
	return errors.Join(err, stage.end())
}

// play plays the script and tells each step as it ends.
func (p *play) play(ctx context.Context, w *nodeWorld, t *teller) error {
	player := &scratch.Player{
		World: w, Standard: standardContract, Resolve: resolveSenML, Done: t.step,
		Read: func(file string) ([]byte, error) { return fs.ReadFile(p.files, file) },
	}
	if p.contract != nil {
		player.Contract, player.Code, player.Schema = p.contract.Name, p.contract.Wasm, p.contract.JSON
	}
	report, err := player.Play(ctx, p.script)
	if err != nil {
		return err
	}
	return t.ending(p, report)
}
