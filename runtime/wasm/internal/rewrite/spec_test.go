package rewrite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// specDir is the WebAssembly core test suite that the wazero module ships, in
// the form of wast2json.
func specDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest")
}

type specValue struct{ Type, Value string }

type specAction struct {
	Type, Module, Field string
	Args                []specValue
}

type specCommand struct {
	Type       string
	Line       int
	Name       string
	Filename   string
	As         string
	Text       string
	ModuleType string `json:"module_type"`
	Action     specAction
	Expected   []specValue
}

// optional are the codes that refuse what is valid WebAssembly, but more than
// a contract may use.
var optional = map[abi.Code]bool{
	abi.CodeModuleFeature: true, abi.CodeModuleImport: true, abi.CodeModuleTooManyResults: true, abi.CodeModuleTable: true,
	abi.CodeModuleMemory: true,
}

// stricter are reasons for which the checker refuses what the suite wants to
// validate: segments that do not fit, constants that name an imported global,
// and a br_table that is valid since version 2 of the specification only.
func stricter(refusal *module.Refusal) bool {
	return strings.Contains(refusal.Detail, "targets of br_table differ in type") || strings.Contains(refusal.Detail, "segment outside") || strings.Contains(refusal.Detail, "is no constant")
}

func admit(blob []byte) (*module.Module, []check.Func, *module.Refusal) {
	m, refusal := module.Parse(blob, &wide)
	if refusal != nil {
		return nil, nil, refusal
	}
	funcs, refusal := check.Module(m, &wide)
	return m, funcs, refusal
}

// specRun runs one file of the suite on one engine.
type specRun struct {
	t       *testing.T
	ctx     context.Context
	dir     string
	rc      wazero.RuntimeConfig
	current api.Module
	named   map[string]api.Module
	all     []api.Module
	counts  map[string]int
	track   bool
}

func TestSpec(t *testing.T) {
	for name, rc := range map[string]wazero.RuntimeConfig{"compiler": compilerConfig(), "interpreter": interpreterConfig()} {
		t.Run(name, func(t *testing.T) {
			counts := map[string]int{}
			for _, version := range []string{"v1", "v2"} {
				files, err := filepath.Glob(filepath.Join(specDir(t), version, "testdata", "*.json"))
				if err != nil || len(files) == 0 {
					t.Fatal("the test suite is missing", err)
				}
				for _, file := range files {
					if strings.HasPrefix(filepath.Base(file), "simd") {
						continue // vectors have another form in the scripts, and are not admitted
					}

					runSpecFile(t, file, rc, name == "compiler", counts)
				}
			}
			t.Log(counts)
			for what, least := range map[string]int{"assert_return": 25000, "assert_trap": 500, "assert_invalid": 1500, "assert_malformed": 300, "module": 800, "float results": 15000, "NaNs": 3700} {
				if counts[what] < least {
					t.Errorf("only %d of %s were run", counts[what], what)
				}
			}
		})
	}
}

func runSpecFile(t *testing.T, file string, rc wazero.RuntimeConfig, track bool, counts map[string]int) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script struct{ Commands []specCommand }
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(file, err)
	}
	ctx := context.Background()
	s := specRun{t: t, ctx: ctx, dir: filepath.Dir(file), rc: rc, named: map[string]api.Module{}, counts: counts, track: track}
	for i := range script.Commands {
		c := &script.Commands[i]
		if c.Type == "register" {
			return // from here on it is about modules that share things
		}
		if err := s.command(c); err != nil {
			t.Errorf("%s:%d %s: %v", filepath.Base(file), c.Line, c.Type, err)
		}
	}
}

// instantiate makes an engine for a rewritten module, with the functions of the
// suite that it imports: their types are the rewritten ones.
func (s *specRun) instantiate(bin []byte, name string) (api.Module, error) {
	r := newEngine(s.ctx, s.t, s.rc)
	compiled, err := r.CompileModule(s.ctx, bin)
	if err != nil {
		return nil, err
	}
	host := r.NewHostModuleBuilder("spectest")
	for _, f := range compiled.ImportedFunctions() {
		if from, name, _ := f.Import(); from == "spectest" && strings.HasPrefix(name, "print") {
			host.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), f.ParamTypes(), nil).Export(name)
		}
	}
	if _, err := host.Instantiate(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	return r.InstantiateModule(s.ctx, compiled, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
}

func (s *specRun) command(c *specCommand) error {
	switch c.Type {
	case "module":
		return s.module(c)
	case "assert_invalid", "assert_malformed":
		return s.refused(c)
	case "assert_return", "action":
		return s.returns(c)
	case "assert_trap":
		return s.traps(c)
	}
	return nil // what concerns linking is not ours
}

func (s *specRun) read(c *specCommand) []byte {
	blob, err := os.ReadFile(filepath.Join(s.dir, c.Filename))
	if err != nil {
		s.t.Fatal(err)
	}
	return blob
}

func (s *specRun) module(c *specCommand) error {
	s.current = nil
	m, funcs, refusal := admit(s.read(c))
	if refusal != nil {
		if optional[refusal.Code] || stricter(refusal) {
			s.counts["not admitted"]++
			return nil
		}
		return refusal
	}
	bin := rewrite.Module(m, funcs, rewrite.Options{Costs: testCosts, Limits: &wide, Keep: func(string) bool { return true }, Track: s.track})
	mod, err := s.instantiate(bin, c.Name)
	if err != nil {
		if strings.Contains(err.Error(), "not instantiated") || strings.Contains(err.Error(), "is not exported") {
			s.counts["imports missing"]++
			return nil
		}
		return err
	}
	s.counts["module"]++
	s.current = mod
	s.all = append(s.all, mod)
	if c.Name != "" {
		s.named[c.Name] = mod
	}
	if start := mod.ExportedFunction(rewrite.StartExport); start != nil {
		s.refill()
		_, err = start.Call(s.ctx)
	}
	return err
}

func (s *specRun) refused(c *specCommand) error {
	if c.ModuleType == "text" {
		return nil
	}
	s.counts[c.Type]++
	if _, _, refusal := admit(s.read(c)); refusal == nil {
		return fmt.Errorf("admitted, but %s", c.Text)
	}
	return nil
}

func (s *specRun) refill() {
	for _, mod := range s.all {
		refill(mod, plenty)
	}
}

var errNoModule = errors.New("no module")

func (s *specRun) act(a *specAction) ([]uint64, error) {
	mod := s.current
	if a.Module != "" {
		mod = s.named[a.Module]
	}
	if mod == nil {
		return nil, errNoModule
	}
	if a.Type == "get" {
		return []uint64{mod.ExportedGlobal(a.Field).Get()}, nil
	}
	f := mod.ExportedFunction(a.Field)
	if f == nil {
		return nil, errNoModule
	}
	args := make([]uint64, len(f.Definition().ParamTypes())) // dummies follow those of the suite
	for i, v := range a.Args {
		n, err := strconv.ParseUint(v.Value, 10, 64)
		if err != nil {
			return nil, err
		}
		args[i] = n
	}
	s.refill()
	return f.Call(s.ctx, args...)
}

func (s *specRun) returns(c *specCommand) error {
	got, err := s.act(&c.Action)
	if err == errNoModule {
		s.counts["without module"]++
		return nil
	}
	if err != nil {
		return err
	}
	s.counts["assert_return"]++
	for i, want := range c.Expected {
		if strings.HasPrefix(want.Type, "f") {
			s.counts["float results"]++
		}
		if strings.HasPrefix(want.Value, "nan") {
			s.counts["NaNs"]++
		}
		if !equalValue(want, got[i]) {
			return fmt.Errorf("%s%v = %d, want %v", c.Action.Field, c.Action.Args, got, want)
		}
	}
	return nil
}

// equalValue requires the canonical NaN wherever the suite leaves a choice:
// rewritten modules compute no other.
func equalValue(want specValue, got uint64) bool {
	switch {
	case strings.HasPrefix(want.Value, "nan"):
		return want.Type == "f32" && uint32(got) == 0x7fc00000 || want.Type == "f64" && got == 0x7ff8<<48
	case want.Type == "i32" || want.Type == "f32":
		n, err := strconv.ParseUint(want.Value, 10, 32)
		return err == nil && uint32(n) == uint32(got)
	}
	n, err := strconv.ParseUint(want.Value, 10, 64)
	return err == nil && n == got
}

// traps requires a trap and its text. Growth beyond the allowance and calls
// beyond the height are reported otherwise by a rewritten module, but none of
// the suite's traps comes from there.
func (s *specRun) traps(c *specCommand) error {
	_, err := s.act(&c.Action)
	if err == errNoModule {
		s.counts["without module"]++
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s%v returned, want: %s", c.Action.Field, c.Action.Args, c.Text)
	}
	s.counts["assert_trap"]++
	want := map[string]string{
		"undefined element": "invalid table access", "uninitialized": "invalid table access", "uninitialized element": "invalid table access",
		"unreachable executed": "unreachable", "undefined": "invalid table access", "out of bounds table access": "invalid table access",
		"indirect call": "indirect call type mismatch",
	}[c.Text]
	if want == "" {
		want = c.Text
	}
	if !strings.Contains(err.Error(), want) {
		return fmt.Errorf("%v, want: %s", err, want)
	}
	return nil
}
