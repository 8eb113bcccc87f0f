package contracts_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/runtime/scratch"
)

// schemaOf reads a contract's schema, and says what is wrong with it: the program
// would go without.
func schemaOf(t *testing.T, c *contracts.Contract) *schema.Schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Name, "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every standard contract has names for all that it says and is told, small
// enough for the smallest gateway.
func TestSchemas(t *testing.T) {
	list := contracts.Standard()
	if len(list) < 2 {
		t.Fatalf("%d standard contracts", len(list))
	}
	for i := range list {
		c := &list[i]
		t.Run(c.Name, func(t *testing.T) {
			s := schemaOf(t, c)
			if s.Name != c.Name {
				t.Errorf("it is named %q", s.Name)
			}
			if len(c.Wasm) > 64<<10 {
				t.Errorf("the module has %d bytes", len(c.Wasm))
			}
			for _, lack := range lacks(s, readmeOf(t, c)) {
				t.Errorf("README.md does not tell of %s", lack)
			}
			for _, lack := range unplayed(s, stepsOf(t, c)) {
				t.Errorf("no script of tests/ shows %s", lack)
			}
		})
	}
}

func readmeOf(t *testing.T, c *contracts.Contract) string {
	text, err := os.ReadFile(filepath.Join(c.Name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func stepsOf(t *testing.T, c *contracts.Contract) string {
	var all strings.Builder
	files, err := filepath.Glob(filepath.Join(c.Name, "tests", "*.steps"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
		all.WriteByte('\n')
	}
	return all.String()
}

// lacks lists the names of a schema that a page does not tell of.
func lacks(s *schema.Schema, page string) (list []string) {
	for _, name := range slices.Concat(names(s.Execute), names(s.Query), names(s.Events), codeNames(s.Codes), codeNames(s.Reasons)) {
		if !regexp.MustCompile(`(^|[^a-z0-9_-])` + regexp.QuoteMeta(name) + `($|[^a-z0-9_-])`).MatchString(page) {
			list = append(list, strconv.Quote(name))
		}
	}
	return list
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func codeNames(m map[uint16]schema.Code) (list []string) {
	for _, n := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[n].Name)
	}
	return list
}

// unplayed lists the operations and codes of a schema that no script brings
// about.
func unplayed(s *schema.Schema, steps string) (list []string) {
	for _, name := range names(s.Execute) {
		if !strings.Contains(steps, `{"`+name+`"`) && !regexp.MustCompile(`(?m)^call .*"`+name+`"`).MatchString(steps) {
			list = append(list, "operation "+name)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(s.Codes)) {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)aborted (%s|%d)($|[^a-z0-9-])`, regexp.QuoteMeta(s.Codes[n].Name), n)).MatchString(steps) {
			list = append(list, "code "+s.Codes[n].Name)
		}
	}
	return list
}

// TestScenarios holds that every contract has a scenario, and every scenario a
// line that says what it shows. That they hold on nodes, cmd/postern tests.
func TestScenarios(t *testing.T) {
	for _, c := range contracts.Standard() {
		if _, ok := contracts.ScenarioNamed(c.Name); !ok {
			t.Errorf("%s has no scenario", c.Name)
		}
	}
	for _, s := range contracts.Scenarios() {
		if s.About() == "" {
			t.Errorf("%s does not say what it shows", s.Name)
		}
		if _, err := scratch.ParseScript(s.Name, s.Steps); err != nil {
			t.Error(err)
		}
	}
}

// The schema that docs/contracts.md shows is one, and says what the page says.
func TestSchemaOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```json\n")
	document, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("docs/contracts.md shows no schema")
	}
	s, err := schema.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Call([]byte(`{"add": {"by": 2}}`), time.Time{}); err != nil || string(b) != "\x82\x01\x02" {
		t.Errorf("%x, %v", b, err)
	}
	if b, err := s.Ask([]byte(`"count"`), time.Time{}); err != nil || string(b) != "\x81\x01" {
		t.Errorf("%x, %v", b, err)
	}
}

// What the checks above look for they find missing, too.
func TestSchemaChecks(t *testing.T) {
	s, err := schema.Parse([]byte(`{"name": "n", "about": "a",
		"execute": {"hand": {"op": 1}, "hand_over": {"op": 2}}, "codes": {"2": {"name": "not", "about": "x"}, "20": {"name": "not-holder", "about": "y"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := lacks(s, "`hand_over` and not-holder"); !slices.Equal(got, []string{`"hand"`, `"not"`}) {
		t.Errorf("a page lacks %v", got)
	}
	got := unplayed(s, "call ann {\"hand_over\": {}}\n  aborted not-holder\n")
	if !slices.Equal(got, []string{"operation hand", "code not"}) {
		t.Errorf("scripts lack %v", got)
	}
}
