// Package postern_test holds the rules of the house: who may import whom. It
// stands at the root because it looks at every folder and belongs to none.
package postern_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seed79541315/postern"

// listed is a package as `go list -json` shows it, its import path and those
// of its own module shortened to the path below the module's root.
type listed struct {
	ImportPath   string
	Name         string
	Doc          string
	Standard     bool
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// layer is what the packages of a folder may import of this module. The
// longest prefix wins; a package may import what lies in its own layer.
type layer struct {
	folder string
	may    []string
	tests  []string // what its tests may import besides
	only   []string // where not nil: the modules of others it may import
}

// layers are the directions of imports: contracts between packages point down,
// and only cmd puts them together. abi/proof imports abi/chain, since a proof
// of an entry leads over a header and its certificate; not the other way.
var layers = []layer{
	{folder: "abi", may: []string{"abi/cbor"}, only: []string{}},
	{folder: "abi/cbor", only: []string{}},
	{folder: "abi/chain", may: []string{"abi", "abi/cbor"}, only: []string{"github.com/oasisprotocol/curve25519-voi", "golang.org/x/mod"}},
	{folder: "abi/certificate", may: []string{"abi", "abi/chain"}, only: []string{}},
	{folder: "abi/schema", may: []string{"abi/cbor"}, only: []string{}},
	{folder: "abi/sealed", may: []string{"abi", "abi/chain"}, only: []string{}},
	{folder: "abi/proof", may: []string{"abi", "abi/cbor", "abi/chain"}, only: []string{"github.com/oasisprotocol/curve25519-voi", "golang.org/x/mod"}},
	{folder: "sdk", may: []string{"abi"}, tests: []string{"net/gateway"}}, // a client is tested against a real gateway
	{folder: "sdk/contract", may: []string{"abi"}, tests: []string{"runtime/wasm"}, only: []string{}},
	{folder: "contracts", may: []string{"abi", "sdk"}, tests: []string{"runtime/wasm", "runtime/scratch", "net/flows", "net/capture", "net/senml"}}, // contracts are run, and judge real traffic
	{folder: "storage", may: []string{"abi"}},
	{folder: "runtime", may: []string{"abi", "storage"}, tests: []string{"contracts"}}, // the host is measured with real contracts
	{folder: "net", may: []string{"abi"}},
	{folder: "cmd", may: []string{"abi", "sdk", "contracts", "storage", "runtime", "net"}},
}

// owners are packages and modules that one folder hides from all others, tests
// included.
// Tests may name diskOfTests besides: storage.Config takes a disk.
var owners = map[string]string{
	"github.com/hyperledger-labs/SmartBFT": "runtime/consensus",
	"github.com/cometbft/cometbft-db":      "storage",
	"github.com/cockroachdb/pebble":        "storage",
	"github.com/dgraph-io/ristretto":       "storage",
	"github.com/tetratelabs/wazero":        "runtime/wasm",
	module:                                 "cmd/postern", // the sources that it carries
}

const diskOfTests = "github.com/cockroachdb/pebble/vfs"

// drawers are names of packages that say nothing of what they hold.
var drawers = []string{"util", "utils", "common", "helper", "helpers", "types", "pkg", "misc", "lib", "libs"}

func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func layerOf(p string) (found layer, ok bool) {
	for _, l := range layers {
		if within(p, l.folder) && len(l.folder) >= len(found.folder) {
			found, ok = l, true
		}
	}
	return found, ok
}

// violations lists what breaks the rules of the house.
func violations(packages []listed) (list []string) {
	for _, p := range packages {
		l, ok := layerOf(p.ImportPath)
		if !ok {
			list = append(list, p.ImportPath+" lies outside the house")
			continue
		}
		if p.Doc == "" && len(p.GoFiles) > 0 { // else it holds tests alone, of what is written in another language
			list = append(list, p.ImportPath+" has no doc comment")
		}
		if p.ImportPath == "runtime" || p.ImportPath == "net" {
			list = append(list, p.ImportPath+" shadows the standard library")
		}
		for _, part := range append(strings.Split(p.ImportPath, "/"), p.Name) {
			if slices.Contains(drawers, part) {
				list = append(list, p.ImportPath+" is named "+part)
			}
		}
		for _, i := range p.Imports {
			list = append(list, forbidden(p.ImportPath, i, l, false)...)
		}
		for _, i := range append(slices.Clone(p.TestImports), p.XTestImports...) {
			list = append(list, forbidden(p.ImportPath, i, l, true)...)
		}
	}
	return list
}

// forbidden says why the package may not import i, if it may not.
func forbidden(p, i string, l layer, test bool) []string {
	own, inside := strings.CutPrefix(i, module+"/")
	switch {
	case inside && !allowed(own, l, test):
		return []string{p + " imports " + own}
	case inside, !strings.Contains(strings.Split(i, "/")[0], "."): // the standard library
		return nil
	case l.only != nil && !test && !slices.ContainsFunc(l.only, func(m string) bool { return within(i, m) }):
		return []string{p + " imports " + i}
	}
	for m, owner := range owners {
		if within(i, m) && !within(p, owner) && !(test && i == diskOfTests) {
			return []string{p + " imports " + i + ", which belongs to " + owner}
		}
	}
	return nil
}

func allowed(own string, l layer, test bool) bool {
	target, _ := layerOf(own)
	if target.folder == l.folder {
		return true
	}
	may := l.may
	if test {
		may = append(slices.Clone(may), l.tests...)
	}
	return slices.ContainsFunc(may, func(m string) bool {
		// "abi" of an inner layer is the package itself, of an outer one the folder.
		if within(l.folder, "abi") {
			return own == m
		}
		return within(own, m)
	})
}

// list runs go list over the folders of the house.
func list(t *testing.T) []listed {
	t.Helper()
	folders := map[string]bool{}
	args := []string{"list", "-json=ImportPath,Name,Doc,Standard,Imports,TestImports,XTestImports"}
	for _, l := range layers {
		if top := strings.Split(l.folder, "/")[0]; !folders[top] {
			folders[top] = true
			args = append(args, "./"+top+"/...")
			readFolders(t, top)
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module+"/")
		packages = append(packages, p)
	}
}

// readFolders lists the folders below top, so that go test takes its result for
// stale when a file changes: of what go list reads it knows nothing.
func readFolders(t *testing.T, top string) {
	t.Helper()
	err := filepath.WalkDir(top, func(_ string, _ fs.DirEntry, err error) error { return err })
	if err != nil {
		t.Fatal(err)
	}
}

func TestLayers(t *testing.T) {
	packages := list(t)
	for _, v := range violations(packages) {
		t.Error(v)
	}
	for _, name := range []string{"abi", "abi/cbor", "abi/chain", "abi/proof", "storage", "runtime/ledger", "cmd/postern"} {
		if !slices.ContainsFunc(packages, func(p listed) bool { return p.ImportPath == name }) {
			t.Errorf("go list did not show %s", name)
		}
	}
}

// TestLayersAreHeld: the rules find what breaks them.
func TestLayersAreHeld(t *testing.T) {
	own := func(p ...string) []string {
		for i := range p {
			p[i] = path.Join(module, p[i])
		}
		return p
	}
	for _, p := range []listed{
		{ImportPath: "abi", Imports: own("abi/chain")},
		{ImportPath: "abi", Imports: []string{"golang.org/x/mod/sumdb/tlog"}},
		{ImportPath: "abi/cbor", Imports: own("abi")},
		{ImportPath: "abi/cbor", Imports: []string{"github.com/fxamacker/cbor/v2"}},
		{ImportPath: "abi/chain", Imports: own("abi/proof")},
		{ImportPath: "abi/chain", Imports: []string{"github.com/veraison/go-cose"}},
		{ImportPath: "abi/proof", Imports: own("storage/tree")},
		{ImportPath: "sdk/client", Imports: own("net/gateway")},
		{ImportPath: "contracts/access", Imports: own("runtime/wasm")},
		{ImportPath: "storage", Imports: own("runtime/ledger")},
		{ImportPath: "storage/tree", TestImports: own("runtime/ledger")},
		{ImportPath: "runtime/ledger", Imports: own("net/peer")},
		{ImportPath: "runtime/ledger", Imports: own("contracts/access")},
		{ImportPath: "runtime/ledger", Imports: []string{"github.com/hyperledger-labs/SmartBFT/pkg/types"}},
		{ImportPath: "runtime/ledger", XTestImports: []string{"github.com/tetratelabs/wazero/api"}},
		{ImportPath: "net/gateway", Imports: own("storage")},
		{ImportPath: "net/gateway", XTestImports: own("runtime/ledger")},
		{ImportPath: "net/web", Imports: own("sdk/client")},
		{ImportPath: "cmd/postern", Imports: []string{"github.com/dgraph-io/ristretto/v2"}},
		{ImportPath: "cmd/postern", Imports: []string{"github.com/cockroachdb/pebble/vfs"}},
		{ImportPath: "runtime/ledger", Imports: []string{diskOfTests}},
		{ImportPath: "runtime/scratch", Imports: []string{module}},
		{ImportPath: "net/util"}, {ImportPath: "storage/types"}, {ImportPath: "storage/tree", Name: "common"},
		{ImportPath: "runtime"}, {ImportPath: "net"}, {ImportPath: "pkg/thing"}, {ImportPath: "internal/x"},
	} {
		p.Doc = "Package documented."
		if len(violations([]listed{p})) != 1 {
			t.Errorf("%+v: found %q", p, violations([]listed{p}))
		}
	}
	if len(violations([]listed{{ImportPath: "abi", GoFiles: []string{"abi.go"}}})) != 1 {
		t.Error("a package without a doc comment is not found")
	}
	good := []listed{
		{ImportPath: "abi/proof", Doc: "d", Imports: own("abi", "abi/cbor", "abi/chain")},
		{ImportPath: "abi/cbor", Doc: "d", Imports: []string{"fmt", "unicode/utf8"}, XTestImports: []string{"github.com/fxamacker/cbor/v2"}},
		{ImportPath: "contracts/access", Doc: "d", Imports: own("abi/chain", "sdk/contract"), TestImports: own("runtime/wasm")},
		{ImportPath: "runtime/wasm/internal/module", Doc: "d", Imports: append(own("abi"), "github.com/tetratelabs/wazero")},
		{ImportPath: "cmd/postern", Doc: "d", Imports: own("net/web", "runtime/ledger", "storage", "contracts", "sdk/key")},
	}
	if v := violations(good); v != nil {
		t.Errorf("good packages are refused: %q", v)
	}
}

// TestGuestPackagesStandAlone: guests in Go import abi, abi/cbor and
// sdk/contract. They build for Wasm, copied into a project that has nothing
// else, and without what would weigh more than the contract.
func TestGuestPackagesStandAlone(t *testing.T) {
	guest := []string{"abi", "abi/cbor", "sdk/contract", "sdk/contract/internal/host"}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", "./sdk/contract/template", "./sdk/contract/example/...")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		own, inside := strings.CutPrefix(p, module+"/")
		example := within(own, "sdk/contract/template") || within(own, "sdk/contract/example")
		switch {
		case inside && !example && !slices.Contains(guest, own), strings.Contains(strings.Split(p, "/")[0], ".") && !inside:
			t.Errorf("a guest depends on %s", p)
		case p == "fmt", p == "reflect", p == "os", p == "time":
			t.Errorf("a guest depends on %s, which is large", p)
		}
	}
	cmd = exec.Command("go", "build", "-o", os.DevNull, "-buildmode=c-shared", "./sdk/contract/template")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
