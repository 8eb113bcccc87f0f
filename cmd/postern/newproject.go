package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern"
	"github.com/seed79541315/postern/abi"
)

func contractNewCommand() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "make a contract's project: sources, tests and the SDK, offline", ArgsUsage: "NAME",
		Description: `It writes a folder NAME with a small contract that builds and passes its tests.
The SDK comes with this program and goes into the folder postern/ in it.

   rust  some KB of Wasm, runs on every chain (lean profile)
   go    some MB, runs on chains of the wide profile; needs nothing but Go

Example:

   postern contract new --lang go counter && cd counter && postern contract test`,
		Flags: []cli.Flag{
			jsonFlag,
			&cli.StringFlag{Name: "lang", Usage: "rust or go", Value: "rust"},
			&cli.StringFlag{Name: "dir", Usage: "write it to `DIR` (default: NAME)"},
		},
		Action: contractNew,
	}
}

// template says of what sources a project is made.
type template struct {
	from  string                   // the template's folder among the sources
	sdk   []sdkPart                // what goes into the project's folder postern/
	tests string                   // how its native tests are run
	taken func(name string) string // why the language cannot take a name, "" if it can
	extra func(name string) []projectFile
}

// sdkPart is a file or folder among the sources and its place in postern/.
type sdkPart struct{ from, to string }

var templates = map[string]template{
	"rust": {
		from: "sdk/rust/template", sdk: []sdkPart{{"sdk/rust/Cargo.toml", "Cargo.toml"}, {"sdk/rust/src", "src"}},
		tests: "cargo test", taken: takenByRust, extra: func(string) []projectFile { return nil },
	},
	"go": {
		from: "sdk/contract/template", sdk: []sdkPart{{"abi", "abi"}, {"sdk/contract", "sdk/contract"}},
		tests: "go test", taken: func(string) string { return "" }, extra: goModules,
	},
}

// takenByRust says why Cargo takes no package of this name beside the SDK's.
func takenByRust(name string) string {
	switch {
	case name == "postern":
		return "the SDK has it"
	case name[0] >= '0' && name[0] <= '9':
		return "it begins with a digit"
	}
	return ""
}

// goModules are the go.mod files of a project and of the SDK within it. Paths
// that begin with "example" are nobody's: no name meets a package of Go's own.
func goModules(name string) []projectFile {
	const sdk = "github.com/seed79541315/postern"
	return []projectFile{
		{"go.mod", fmt.Appendf(nil, "module example/%s\n\ngo 1.26\n\nrequire %s v0.0.0\n\nreplace %s => ./postern\n", name, sdk, sdk)},
		{"postern/go.mod", fmt.Appendf(nil, "module %s\n\ngo 1.26\n", sdk)},
	}
}

type newOutput struct {
	Dir   string   `json:"dir"`
	Lang  string   `json:"lang"`
	Files []string `json:"files"`
}

func contractNew(c *cli.Context) error {
	name := c.Args().First()
	if !abi.ValidName(name) || strings.ContainsAny(name, "._") {
		return usagef("name the contract with a-z, 0-9 and '-', a letter or digit first: postern contract new NAME")
	}
	t, ok := templates[c.String("lang")]
	if !ok {
		return usagef("--lang %q: rust or go", c.String("lang"))
	}
	if why := t.taken(name); why != "" {
		return usagef("%s is no name for a %s project: %s", name, c.String("lang"), why)
	}
	dir := c.String("dir")
	if dir == "" {
		dir = name
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; choose another name, or --dir", dir)
	}
	files, err := t.files(name)
	if err != nil {
		return err
	}
	v := newOutput{Dir: dir, Lang: c.String("lang")}
	for _, f := range files {
		if err := writeProjectFile(filepath.Join(dir, filepath.FromSlash(f.name)), f.data); err != nil {
			return err
		}
		v.Files = append(v.Files, f.name)
	}
	return printer(c).show(v, "made %s (%d files); next:\n\n  cd %s\n  postern contract test", dir, len(v.Files), shellWord(dir))
}

// plainWord is what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellWord quotes a word for a shell where it needs that.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func writeProjectFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// projectFile is a file of a new project, its name relative and with slashes.
type projectFile struct {
	name string
	data []byte
}

// files are a new project's files: the template's under its new name, the SDK
// without its tests, and what ties the two together.
func (t *template) files(name string) (list []projectFile, err error) {
	err = fs.WalkDir(postern.Sources, t.from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := postern.Sources.ReadFile(p)
		if path.Base(p) == "Cargo.toml" {
			data = cargoName.ReplaceAll(data, []byte(`name = "`+name+`"`))
		}
		list = append(list, projectFile{strings.TrimPrefix(p, t.from+"/"), data})
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, part := range t.sdk {
		if list, err = appendSDK(list, part); err != nil {
			return nil, err
		}
	}
	list = append(list,
		projectFile{"README.md", fmt.Appendf(nil, projectReadme, name, t.tests)},
		projectFile{".gitignore", fmt.Appendf(nil, "/%s.wasm\n/target/\n", name)})
	return append(list, t.extra(name)...), nil
}

var cargoName = regexp.MustCompile(`(?m)^name = "[^"]*"`)

const projectReadme = `# %[1]s

A contract for a Postern ledger. The SDK that it is written with lies in
postern/.

    %-28[2]s native tests, without a node
    postern contract test        builds it and plays tests/*.steps
    postern contract bench       microseconds, gas, memory
    postern contract deploy --name %[1]s %[1]s.wasm
`

// appendSDK appends a part of the SDK, under postern/, without tests.
func appendSDK(list []projectFile, part sdkPart) ([]projectFile, error) {
	err := fs.WalkDir(postern.Sources, part.from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "template" || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(p, "_test.go") {
			return nil
		}
		data, err := postern.Sources.ReadFile(p)
		list = append(list, projectFile{path.Join("postern", part.to, strings.TrimPrefix(p, part.from)), data})
		return err
	})
	return list, err
}
