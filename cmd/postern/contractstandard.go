package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts"
)

func contractStandardCommand() *cli.Command {
	return &cli.Command{
		Name: "standard", Usage: "list the contracts that come with the program, or tell what one understands", ArgsUsage: "[NAME]",
		Description: `Examples:

   postern contract standard
   postern contract standard behaviour
   postern contract standard --json behaviour   # its schema`,
		Flags: []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return listStandard(printer(c))
			}
			standard, ok := contracts.Named(c.Args().First())
			if !ok {
				return usagef("no standard contract is named %q; see postern contract standard", c.Args().First())
			}
			return showStandard(printer(c), standard)
		},
	}
}

type standardRow struct {
	Name     string   `json:"name"`
	About    string   `json:"about"`
	Bytes    int      `json:"bytes"`
	Code     hexBytes `json:"code"`
	Scenario bool     `json:"scenario"`
}

func listStandard(out output) error {
	rows := []standardRow{}
	var lines []string
	for i := range contracts.Standard() {
		c := &contracts.Standard()[i]
		_, scenario := contracts.ScenarioNamed(c.Name)
		rows = append(rows, standardRow{c.Name, c.About(), len(c.Wasm), c.Hash[:], scenario})
		lines = append(lines, fmt.Sprintf("%s\t%d\t%s", c.Name, len(c.Wasm), c.About()))
	}
	return out.table(rows, "NAME\tBYTES\tABOUT", lines)
}

// showStandard tells the words of a contract; for programs they are its schema.
func showStandard(out output, c *contracts.Contract) error {
	if out.json {
		_, err := out.w.Write(c.JSON)
		return err
	}
	return out.show(nil, "%s", standardText(c))
}

func standardText(c *contracts.Contract) string {
	var b strings.Builder
	s := c.Schema
	fmt.Fprintf(&b, "%s: %s\n%d bytes, code %x\n", c.Name, c.About(), len(c.Wasm), c.Hash)
	if s.Init != nil {
		fmt.Fprintf(&b, "\ninit takes %s\n", s.Init)
	}
	operationsText(&b, "call", s.Execute)
	operationsText(&b, "query", s.Query)
	if len(s.Events) > 0 {
		b.WriteString("\nevents\n")
	}
	for _, topic := range slices.Sorted(maps.Keys(s.Events)) {
		fmt.Fprintf(&b, "  %s %s\n      %s\n", topic, s.Events[topic].Data, s.Events[topic].About)
	}
	codesText(&b, "refusals", s.Codes)
	codesText(&b, "reasons", s.Reasons)
	typesText(&b, c.JSON)
	return strings.TrimRight(b.String(), "\n")
}

// typesText tells the types that a schema names, as it has them.
func typesText(b *strings.Builder, document []byte) {
	var d struct {
		Types map[string]json.RawMessage `json:"types"`
	}
	if err := json.Unmarshal(document, &d); err != nil || len(d.Types) == 0 { // it was parsed before
		return
	}
	b.WriteString("\ntypes\n")
	for _, name := range slices.Sorted(maps.Keys(d.Types)) {
		fmt.Fprintf(b, "  %s %s\n", name, typeText(d.Types[name]))
	}
}

// typeText is a type on one line: its fields, or its words.
func typeText(raw json.RawMessage) string {
	var t struct {
		Record, Tuple []struct{ Name, Type string }
		Enum, Bits    map[string]uint64
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return string(raw)
	}
	var fields []string
	for _, f := range slices.Concat(t.Record, t.Tuple) {
		fields = append(fields, fmt.Sprintf("%q: %s", f.Name, f.Type))
	}
	if len(fields) > 0 {
		return "{" + strings.Join(fields, ", ") + "}"
	}
	of := "one of"
	if t.Bits != nil {
		of, t.Enum = "some of", t.Bits
	}
	words := slices.SortedFunc(maps.Keys(t.Enum), func(x, y string) int { return cmp.Compare(t.Enum[x], t.Enum[y]) })
	return of + " " + strings.Join(words, ", ")
}

func operationsText(b *strings.Builder, heading string, list map[string]*schema.Operation) {
	fmt.Fprintf(b, "\n%s\n", heading)
	for _, name := range slices.Sorted(maps.Keys(list)) {
		o := list[name]
		var fields []string
		for _, f := range o.Fields {
			fields = append(fields, fmt.Sprintf("%q: %s", f.Name, f.Type))
		}
		fmt.Fprintf(b, "  {%q: {%s}}", name, strings.Join(fields, ", "))
		if o.Result.String() != "null" {
			fmt.Fprintf(b, " returns %s", o.Result)
		}
		fmt.Fprintf(b, "\n      %s\n", o.About)
	}
}

func codesText(b *strings.Builder, heading string, codes map[uint16]schema.Code) {
	if len(codes) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", heading)
	for _, n := range slices.Sorted(maps.Keys(codes)) {
		fmt.Fprintf(b, "  %d %s: %s\n", n, codes[n].Name, codes[n].About)
	}
}
