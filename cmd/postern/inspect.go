package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/symbol"
)

func contractCheckCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say whether a module would be admitted, without a node", ArgsUsage: "FILE",
		Description: `It finds the smallest profile that admits the module, lists imports, exports and
how near it is to each limit, and estimates what it costs. It ends with exit
code 4 on refusal and names code, function and offset.

Example:

   postern contract check counter.wasm`,
		Flags: []cli.Flag{jsonFlag, profileCheckFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("name one module: postern contract check FILE")
			}
			return checkModule(printer(c), c.Args().First(), c.String("profile"), true)
		},
	}
}

var profileCheckFlag = &cli.StringFlag{Name: "profile", Usage: "lean or wide (default: the smallest that admits it)"}

// checkOutput is what contract check prints.
type checkOutput struct {
	Admitted bool        `json:"admitted"`
	Profile  string      `json:"profile,omitempty"`
	NotLean  string      `json:"not_lean,omitempty"` // why, where a module only just missed it
	Code     string      `json:"code,omitempty"`
	Number   abi.Code    `json:"number,omitempty"`
	Function string      `json:"function,omitempty"`
	Offset   int         `json:"offset,omitempty"`
	Detail   string      `json:"detail,omitempty"`
	Bytes    int         `json:"bytes,omitempty"`
	Entries  []string    `json:"entries,omitempty"`
	Imports  []string    `json:"imports,omitempty"`
	Pages    uint32      `json:"memory_pages,omitempty"`
	Compiled int         `json:"compiled_bytes_estimate,omitempty"`
	Uses     []useOutput `json:"uses,omitempty"`
}

type useOutput struct {
	Name  string `json:"name"`
	Used  int    `json:"used"`
	Limit int    `json:"limit"`
}

// profileOf is the profile that a flag names, or the smallest that admits.
func profileOf(flag string, blob []byte) (abi.Profile, error) {
	switch flag {
	case "":
		p, _, err := admission(blob)
		return p, err
	case "lean":
		return abi.ProfileLean, nil
	case "wide":
		return abi.ProfileWide, nil
	}
	return 0, usagef("--profile %q: lean or wide", flag)
}

// checkModule shows whether the module in a file is admitted, and where whole
// is set how near it is to the limits.
func checkModule(out output, file, profile string, whole bool) error {
	blob, err := moduleBytes(file)
	if err != nil {
		return err
	}
	v, err := inspect(blob, profile)
	var refusal *wasm.Refusal
	if errors.As(err, &refusal) {
		v := checkOutput{Code: refusal.Code.Name(), Number: refusal.Code, Function: refusal.Func, Offset: refusal.Offset, Detail: refusal.Detail}
		if err := out.show(v, "refused: %s", symbol.Demangle(refusal.Error())); err != nil {
			return err
		}
		return &quietExit{exitRefused}
	}
	if err != nil {
		return err
	}
	row := checkOutput{
		Admitted: true, Profile: v.profile, NotLean: notLean(blob), Bytes: len(blob), Entries: entryNames(v.Info), Imports: []string{}, Pages: v.MemoryPages,
		Compiled: v.CompiledBytes, Uses: []useOutput{},
	}
	for _, im := range v.Imports {
		row.Imports = append(row.Imports, im.Name)
	}
	for _, u := range v.Uses {
		row.Uses = append(row.Uses, useOutput{u.Name, u.Used, u.Limit})
	}
	text := fmt.Sprintf("admitted to the %s profile, memory %d KiB, compiled about %d KiB", row.Profile, row.Pages*64, row.Compiled>>10)
	if whole {
		text = checkText(&row)
	}
	if row.NotLean != "" {
		text += "\nlean chains refuse it: " + symbol.Demangle(row.NotLean)
	}
	return out.show(row, "%s", text)
}

// notLean tells why the lean profile does not admit a module that was not made
// for the wide one.
func notLean(blob []byte) string {
	if _, err := wasm.Check(blob, abi.ProfileLean); err != nil && !madeForWide(blob) {
		return err.Error()
	}
	return ""
}

func checkText(v *checkOutput) string {
	var b strings.Builder
	fmt.Fprintf(&b, "admitted to the %s profile: %d bytes\nentry points  %s\nimports       %s\nmemory        %d KiB at the start\ncompiled      about %d KiB\nlimits",
		v.Profile, v.Bytes, strings.Join(v.Entries, ", "), strings.Join(v.Imports, ", "), v.Pages*64, v.Compiled>>10)
	for _, u := range v.Uses {
		fmt.Fprintf(&b, "\n  %-36s %7d of %7d  %3d%%", u.Name, u.Used, u.Limit, 100*u.Used/max(1, u.Limit))
	}
	return b.String()
}

func entryNames(info wasm.Info) (names []string) {
	for _, e := range info.Entries {
		names = append(names, e.String())
	}
	return names
}

// inspection is a module's description and the profile under which it holds.
type inspection struct {
	*wasm.Inspection
	profile string
}

func inspect(blob []byte, flag string) (*inspection, error) {
	p, err := profileOf(flag, blob)
	if err != nil {
		return nil, err
	}
	v, err := wasm.Inspect(blob, p)
	return &inspection{v, profileName(p)}, err
}

func contractInspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "show what is in a module: imports, exports, functions and their sizes", ArgsUsage: "FILE",
		Description: "Example:\n\n   postern contract inspect --functions 5 access",
		Flags: []cli.Flag{
			jsonFlag, profileCheckFlag,
			&cli.IntFlag{Name: "functions", Usage: "show the `N` largest functions; 0 shows all", Value: 20},
		},
		Action: contractInspect,
	}
}

type inspectOutput struct {
	Profile   string           `json:"profile"`
	Bytes     int              `json:"bytes"`
	Rewritten int              `json:"rewritten_bytes"`
	Data      int              `json:"data_bytes"`
	Pages     uint32           `json:"memory_pages"`
	MaxPages  uint32           `json:"max_memory_pages"`
	Table     uint32           `json:"table_elements"`
	Globals   int              `json:"globals"`
	Imports   []symbolOutput   `json:"imports"`
	Exports   []symbolOutput   `json:"exports"`
	Functions []functionOutput `json:"functions"`
}

type symbolOutput struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type functionOutput struct {
	Index  int    `json:"index"`
	Name   string `json:"name,omitempty"`
	Bytes  int    `json:"bytes"`
	Locals int    `json:"locals"`
	Blocks int    `json:"blocks"`
	Calls  int    `json:"calls"`
}

func contractInspect(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one module: postern contract inspect FILE")
	}
	blob, err := moduleBytes(c.Args().First())
	if err != nil {
		return err
	}
	m, err := inspect(blob, c.String("profile"))
	if err != nil {
		return fmt.Errorf("%s: %w", c.Args().First(), err)
	}
	v := inspectOutput{
		Profile: m.profile, Bytes: len(blob), Rewritten: m.RewrittenBytes, Data: m.Data, Pages: m.MemoryPages, MaxPages: m.MaxPages,
		Table: m.Table, Globals: m.Globals, Imports: symbols(m.Imports), Exports: symbols(m.Exports), Functions: []functionOutput{},
	}
	for _, f := range m.Functions {
		v.Functions = append(v.Functions, functionOutput{f.Index, f.Name, f.Bytes, f.Locals, f.Blocks, f.Calls})
	}
	return printer(c).show(v, "%s", inspectText(&v, c.Int("functions")))
}

func symbols(list []wasm.Symbol) []symbolOutput {
	rows := make([]symbolOutput, len(list))
	for i, s := range list {
		rows[i] = symbolOutput{s.Name, s.Type}
	}
	return rows
}

func inspectText(v *inspectOutput, most int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s profile, %d bytes (%d metered), %d of them data\nmemory %d to %d pages, table %d, globals %d\n",
		v.Profile, v.Bytes, v.Rewritten, v.Data, v.Pages, v.MaxPages, v.Table, v.Globals)
	for _, part := range []struct {
		title string
		rows  []symbolOutput
	}{{"imports", v.Imports}, {"exports", v.Exports}} {
		fmt.Fprintln(&b, part.title)
		for _, s := range part.rows {
			fmt.Fprintf(&b, "  %-28s %s\n", s.Name, s.Type)
		}
	}
	shown := len(v.Functions)
	if most > 0 {
		shown = min(shown, most)
	}
	fmt.Fprintf(&b, "functions (%d of %d, largest first)\n  %6s %7s %6s %6s %6s  NAME", shown, len(v.Functions), "INDEX", "BYTES", "LOCALS", "BLOCKS", "CALLS")
	for _, f := range v.Functions[:shown] {
		fmt.Fprintf(&b, "\n  %6d %7d %6d %6d %6d  %s", f.Index, f.Bytes, f.Locals, f.Blocks, f.Calls, symbol.Demangle(f.Name))
	}
	return b.String()
}
