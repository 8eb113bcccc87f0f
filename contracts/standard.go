package contracts

import (
	"crypto/sha256"
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/schema"
)

// files are the modules, schemas and scenarios of all standard contracts, and
// the scenarios that join several.
//
//go:embed */*.wasm */schema.json */scenario.steps */scenario scenarios
var files embed.FS

// Contract is a standard contract, as it comes with the program.
type Contract struct {
	Name   string
	Hash   abi.Hash // of Wasm: the name of its code on a chain
	Wasm   []byte
	JSON   []byte // its schema
	Schema *schema.Schema
}

// About is one line on what it is for.
func (c *Contract) About() string {
	if c.Schema == nil {
		return ""
	}
	return c.Schema.About
}

// Standard lists the standard contracts by their names. What it gives is shared.
func Standard() []Contract { return standard() }

var standard = sync.OnceValue(func() []Contract {
	modules, err := fs.Glob(files, "*/*.wasm")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	list := make([]Contract, 0, len(modules))
	for _, file := range modules {
		list = append(list, load(file))
	}
	slices.SortFunc(list, func(a, b Contract) int { return strings.Compare(a.Name, b.Name) })
	return list
})

// load takes a contract out of the program. A test holds that each has a schema;
// without one it would be known by its name alone.
func load(file string) Contract {
	c := Contract{Name: path.Dir(file), Wasm: must(file)}
	c.Hash = sha256.Sum256(c.Wasm)
	if document, err := files.ReadFile(c.Name + "/schema.json"); err == nil {
		if parsed, err := schema.Parse(document); err == nil {
			c.JSON, c.Schema = document, parsed
		}
	}
	return c
}

// must reads a file that was found before.
func must(file string) []byte {
	b, err := files.ReadFile(file)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// Named finds a standard contract by its name.
func Named(name string) (*Contract, bool) {
	return find(func(c *Contract) bool { return c.Name == name })
}

// Known finds a standard contract by the hash of its code.
func Known(code abi.Hash) (*Contract, bool) {
	return find(func(c *Contract) bool { return c.Hash == code })
}

func find(is func(*Contract) bool) (*Contract, bool) {
	list := Standard()
	for i := range list {
		if is(&list[i]) {
			return &list[i], true
		}
	}
	return nil, false
}

// Scenario is a story that is played on nodes: of one contract, or of several
// joined.
type Scenario struct {
	Name  string
	Steps string // the script
	// Contract is the one under test, nil where the script deploys by name only.
	Contract *Contract
	// Files hold what the script's steps name, as it lies beside the script: in a
	// folder of the script's own name.
	Files  fs.FS
	Folder string
}

// Scenarios lists the scenarios by their names.
func Scenarios() []Scenario {
	var list []Scenario
	for i := range Standard() {
		c := &Standard()[i]
		if steps, err := files.ReadFile(c.Name + "/scenario.steps"); err == nil {
			list = append(list, Scenario{c.Name, string(steps), c, folder(c.Name), "scenario"})
		}
	}
	joined, err := fs.Glob(files, "scenarios/*.steps")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for _, file := range joined {
		name := strings.TrimSuffix(path.Base(file), ".steps")
		list = append(list, Scenario{name, string(must(file)), nil, folder("scenarios"), name})
	}
	slices.SortFunc(list, func(a, b Scenario) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func folder(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return sub
}

// ScenarioNamed finds a scenario by its name.
func ScenarioNamed(name string) (*Scenario, bool) {
	list := Scenarios()
	i := slices.IndexFunc(list, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	return &list[i], true
}

// About is what a scenario shows, by its first comment or the contract's schema.
func (s *Scenario) About() string {
	for line := range strings.Lines(s.Steps) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		if text, ok := strings.CutPrefix(strings.TrimSpace(comment), "about:"); ok {
			return strings.TrimSpace(text)
		}
	}
	if s.Contract != nil {
		return s.Contract.About()
	}
	return ""
}
