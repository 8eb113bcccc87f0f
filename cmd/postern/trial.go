package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/net/senml"
	"github.com/seed79541315/postern/runtime/scratch"
	"github.com/seed79541315/postern/runtime/wasm"
)

const testDescription = `It builds the project in DIR (the present directory by default), or takes a
module, and plays the scripts in tests/*.steps beside it on a chain in memory:
the same host, ledger, gas and quotas as on a real one. It ends with exit code
1 when something does not hold. A script:

   account ann owner
   deploy
   call ann {"add": 2}
     result 2
     event added 2
     gas < 200000
   query {"get": true}
     result 2
   decide ann {"action":{"name":"open"},"resource":{"type":"door","id":"1"}}
     deny denied
   wait 1h
     no events
   state "count" 2

Where schema.json lies beside the module, messages, results, events and refusals
are written in its names. docs/scenarios.md describes every step. Examples:

   postern contract test
   postern contract test --script tests/one.steps counter.wasm`

func contractTestCommand() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "play test scripts against a contract, without a node", ArgsUsage: "[DIR|FILE]",
		Description: testDescription,
		Flags: []cli.Flag{
			jsonFlag, engineFlag,
			&cli.StringSliceFlag{Name: "script", Usage: "play this `FILE` only; may be repeated"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show every step"},
		},
		Action: contractTest,
	}
}

var engineFlag = &cli.StringFlag{Name: "engine", Usage: "auto, compiler or interpreter", Value: "auto"}

// stepOutput is a step as contract test prints it.
type stepOutput struct {
	Line     int      `json:"line"`
	Step     string   `json:"step"`
	Outcome  string   `json:"outcome"`
	Gas      uint64   `json:"gas"`
	Trap     string   `json:"trap,omitempty"`
	Logs     []string `json:"logs,omitempty"`
	Failures []string `json:"failures,omitempty"`
}

type scriptOutput struct {
	Script string       `json:"script"`
	Passed bool         `json:"passed"`
	Steps  []stepOutput `json:"steps"`
}

// entryOutput tells how an entry point was used.
type entryOutput struct {
	Entry  string `json:"entry"`
	Calls  int    `json:"calls"`
	MaxGas uint64 `json:"max_gas"`
	Pages  int    `json:"memory_pages"`
}

type testOutput struct {
	Contract string         `json:"contract"`
	Profile  string         `json:"profile"`
	Passed   bool           `json:"passed"`
	Scripts  []scriptOutput `json:"scripts"`
	Entries  []entryOutput  `json:"entries"`
}

func contractTest(c *cli.Context) error {
	out := printer(c)
	s, trial, err := trialOf(c, out)
	if err != nil {
		return err
	}
	if len(s.scripts) == 0 {
		return usagef("there are no scripts in %s; write one (see postern contract test --help), or name it with --script", filepath.Join(s.dir, "tests"))
	}
	v := testOutput{Contract: s.name, Profile: profileName(s.profile), Passed: true}
	used := make(map[abi.Entry]scratch.EntryReport)
	for _, file := range s.scripts {
		r, err := playFile(c, trial, file)
		if err != nil {
			return err
		}
		row := scriptRow(r)
		v.Scripts = append(v.Scripts, row)
		v.Passed = v.Passed && row.Passed
		merge(used, r.Entries)
		out.progressf("%s", scriptText(&row, c.Bool("verbose")))
	}
	if v.Entries, err = coverage(s, used); err != nil {
		return err
	}
	if err := out.show(v, "%s", coverageText(v.Entries)); err != nil {
		return err
	}
	if !v.Passed {
		return &quietExit{exitFailed}
	}
	return nil
}

// trialOf makes the trial that test and bench share.
func trialOf(c *cli.Context, out output) (*subject, *scratch.Trial, error) {
	engine, ok := engines[c.String("engine")]
	if !ok {
		return nil, nil, usagef("--engine %q: auto, compiler or interpreter", c.String("engine"))
	}
	s, err := subjectOf(c, out)
	if err != nil {
		return nil, nil, err
	}
	if named := c.StringSlice("script"); len(named) > 0 {
		s.scripts = named
	}
	return s, &scratch.Trial{
		Name: s.name, Code: s.code, Schema: s.schema, Dir: s.dir, Engine: engine, Profile: s.profile,
		Standard: standardContract, Resolve: resolveSenML,
	}, nil
}

// standardContract gives scripts the standard contracts by their names.
func standardContract(name string) (code, schema []byte, ok bool) {
	c, ok := contracts.Named(name)
	if !ok {
		return nil, nil, false
	}
	return c.Wasm, c.JSON, true
}

// resolveSenML reads what a script reports of a device.
func resolveSenML(pack []byte, now int64) ([]byte, error) {
	records, err := senml.Parse(senml.JSON, pack, now)
	return senml.AppendPayload(nil, records), err
}

func parseFile(file string) (*scratch.Script, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return scratch.ParseScript(file, string(text))
}

func playFile(c *cli.Context, t *scratch.Trial, file string) (*scratch.Report, error) {
	script, err := parseFile(file)
	if err != nil {
		return nil, err
	}
	return t.Play(c.Context, script)
}

func scriptRow(r *scratch.Report) scriptOutput {
	v := scriptOutput{Script: r.Script, Passed: !r.Failed(), Steps: []stepOutput{}}
	for _, s := range r.Steps {
		v.Steps = append(v.Steps, stepOutput{s.Line, s.Text, s.Outcome, s.Gas, s.Trap, s.Logs, s.Failures})
	}
	return v
}

// scriptText shows a script: what failed, or every step.
func scriptText(v *scriptOutput, verbose bool) string {
	var b strings.Builder
	word := "ok    "
	if !v.Passed {
		word = "FAILED"
	}
	fmt.Fprintf(&b, "%s  %s (%d steps)", word, v.Script, len(v.Steps))
	for _, s := range v.Steps {
		if !verbose && len(s.Failures) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n  line %d: %s\n    %s, gas %d", s.Line, s.Step, s.Outcome, s.Gas)
		if s.Trap != "" {
			fmt.Fprintf(&b, "\n    trap: %s", s.Trap)
		}
		for _, l := range s.Logs {
			fmt.Fprintf(&b, "\n    log: %s", l)
		}
		for _, f := range s.Failures {
			fmt.Fprintf(&b, "\n    FAILED %s", f)
		}
	}
	return b.String()
}

func merge(into, more map[abi.Entry]scratch.EntryReport) {
	for e, r := range more {
		sum := into[e]
		sum.Calls += r.Calls
		sum.MaxGas, sum.Pages = max(sum.MaxGas, r.MaxGas), max(sum.Pages, r.Pages)
		into[e] = sum
	}
}

// coverage lists every entry point of the module, those that no script ran
// among them.
func coverage(s *subject, used map[abi.Entry]scratch.EntryReport) ([]entryOutput, error) {
	info, err := wasm.Check(s.code, s.profile)
	if err != nil {
		return nil, err
	}
	entries := slices.Sorted(slices.Values(info.Entries))
	rows := make([]entryOutput, len(entries))
	for i, e := range entries {
		rows[i] = entryOutput{e.String(), used[e].Calls, used[e].MaxGas, used[e].Pages}
	}
	return rows, nil
}

func coverageText(rows []entryOutput) string {
	var b strings.Builder
	covered := 0
	for _, r := range rows {
		if r.Calls == 0 {
			fmt.Fprintf(&b, "  %-8s not run by any script\n", r.Entry)
			continue
		}
		covered++
		fmt.Fprintf(&b, "  %-8s run %d times, at most %d gas and %d KiB\n", r.Entry, r.Calls, r.MaxGas, r.Pages*64)
	}
	return fmt.Sprintf("%sentry points covered: %d of %d", b.String(), covered, len(rows))
}

// repeatTime is how long bench repeats a step unless it is told.
const repeatTime = 2 * time.Second

func contractBenchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure a contract's calls: microseconds, gas, memory", ArgsUsage: "[DIR|FILE]",
		Description: `It plays a script as test does, then repeats its last decide, query or call, and
prints the median of many runs. A call is measured with its transaction's
signature and its block, in memory; decide and query as the ledger answers them.

Example:

   postern contract bench --script tests/decide.steps`,
		Flags: []cli.Flag{
			jsonFlag, engineFlag,
			&cli.StringSliceFlag{Name: "script", Usage: "measure the last decide, query or call of this `FILE`; may be repeated"},
			&cli.DurationFlag{Name: "time", Usage: "how long each step is repeated", Value: repeatTime},
		},
		Action: contractBench,
	}
}

type benchOutput struct {
	Script string  `json:"script"`
	Step   string  `json:"step"`
	Runs   int     `json:"runs"`
	Micros float64 `json:"median_us"`
	Gas    uint64  `json:"gas"`
	Pages  int     `json:"memory_pages"`
}

func contractBench(c *cli.Context) error {
	out := printer(c)
	s, trial, err := trialOf(c, out)
	if err != nil {
		return err
	}
	if len(s.scripts) == 0 {
		return usagef("there are no scripts in %s; name one with --script", filepath.Join(s.dir, "tests"))
	}
	rows := []benchOutput{}
	var lines []string
	for _, file := range s.scripts {
		script, err := parseFile(file)
		if err != nil {
			return err
		}
		b, err := trial.Repeat(c.Context, script, c.Duration("time"))
		if errors.Is(err, scratch.ErrNotRepeatable) && len(c.StringSlice("script")) == 0 {
			continue // a test that is none of a benchmark
		}
		if err != nil {
			return err
		}
		row := benchOutput{file, b.Step, b.Runs, float64(b.Median.Nanoseconds()) / 1000, b.Gas, b.Pages}
		rows = append(rows, row)
		lines = append(lines, fmt.Sprintf("%s\t%.1f\t%d\t%d KiB\t%d\t%s", filepath.Base(file), row.Micros, row.Gas, row.Pages*64, row.Runs, row.Step))
	}
	if len(rows) == 0 {
		return usagef("no script has a decide, query or call that could be repeated")
	}
	return out.table(rows, "SCRIPT\tµs\tGAS\tMEMORY\tRUNS\tSTEP", lines)
}
