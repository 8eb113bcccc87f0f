package abi

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
)

// declaredCodes reads the names of all constants CodeXxx out of the source.
func declaredCodes(t *testing.T) (names []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			for _, n := range s.(*ast.ValueSpec).Names {
				if strings.HasPrefix(n.Name, "Code") {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// TestCodeTable: every constant has its own number, name and text.
// A contract's own code is told, and is CodeAborted to who asks for that.
func TestAborted(t *testing.T) {
	err := fmt.Errorf("query: %w", Aborted(7))
	var own Aborted
	if !errors.Is(err, CodeAborted) || !errors.As(err, &own) || own != 7 || !strings.HasSuffix(err.Error(), "own code 7") {
		t.Error(err)
	}
}

func TestCodeTable(t *testing.T) {
	declared := declaredCodes(t)
	if len(declared) < 100 || len(Codes()) != len(declared)+1 {
		t.Errorf("%d constants and OK, but %d entries in the table", len(declared), len(Codes()))
	}
	kebab := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	fallback := regexp.MustCompile(`^code-[0-9]+$`) // what Name makes of an unknown one
	names := map[string]Code{}
	last := -1
	for _, c := range Codes() {
		if int(c) <= last {
			t.Errorf("code %d is out of order", c)
		}
		last = int(c)
		if other, taken := names[c.Name()]; taken || !kebab.MatchString(c.Name()) || fallback.MatchString(c.Name()) {
			t.Errorf("code %d has the name %q, as %d has", c, c.Name(), other)
		}
		names[c.Name()] = c
		if c.Text() == "" || strings.HasSuffix(c.Text(), ".") || c.Text() != strings.TrimSpace(c.Text()) {
			t.Errorf("code %d has the text %q", c, c.Text())
		}
	}
	// CodeOutOfGas is "out-of-gas": whoever greps for one finds the other.
	for _, d := range declared {
		if _, ok := names[kebabOf(d)]; !ok {
			t.Errorf("%s has no entry named %s", d, kebabOf(d))
		}
	}
}

// kebabOf makes "module-br-table" of CodeModuleBrTable. "Funcs" is written out.
func kebabOf(constant string) string {
	s := regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(strings.TrimPrefix(constant, "Code"), "$1-$2")
	return strings.Replace(strings.ToLower(s), "-funcs", "-functions", 1)
}

func TestUnknownCode(t *testing.T) {
	if c := Code(999); c.Name() != "code-999" || c.Text() != "" {
		t.Errorf("unknown code: %q, %q", c.Name(), c.Text())
	}
	if got := CodeOutOfGas.Error(); got != "out-of-gas (151): the contract used up its gas" {
		t.Error(got)
	}
}

func TestMalformed(t *testing.T) {
	if err := Malformed(cbor.Validate(nil)); !errors.Is(err, CodeMalformed) || !errors.Is(err, cbor.ErrMalformed) {
		t.Errorf("reader's error: %v", err)
	}
	own := fmt.Errorf("key: %w", CodeBadKey)
	if err := Malformed(own); err != own {
		t.Errorf("an error with a code became %v", err)
	}
}

// codeRanges are the headings of docs/errors.md.
var codeRanges = []struct {
	from, to Code
	title    string
}{
	{0, 0, "Success"}, {1, 49, "Encoding and signatures"}, {50, 99, "Transactions"}, {100, 149, "Accounts, devices and contracts"},
	{150, 199, "What a running contract did"}, {200, 249, "Why a module is refused"}, {300, 349, "Decisions"}, {350, 399, "Service"},
}

// TestErrorsDocument: docs/errors.md is the table.
func TestErrorsDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Error codes\n\nOutcomes on the ledger, answers to devices, HTTPS problems and the command line\nname errors by these codes. A code never changes its meaning. This page is made\nfrom the table in `abi/code.go`.\n")
	listed := 0
	for _, r := range codeRanges {
		fmt.Fprintf(&b, "\n## %s\n\n| code | name | meaning |\n| ---: | --- | --- |\n", r.title)
		for _, c := range Codes() {
			if c >= r.from && c <= r.to {
				fmt.Fprintf(&b, "| %d | `%s` | %s |\n", c, c.Name(), c.Text())
				listed++
			}
		}
	}
	if listed != len(Codes()) {
		t.Errorf("%d of %d codes lie in the documented ranges", listed, len(Codes()))
	}
	checkFile(t, "../docs/errors.md", b.Bytes())
}
