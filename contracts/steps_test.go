package contracts_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/net/senml"
	"github.com/seed79541315/postern/runtime/scratch"
)

// TestSteps plays every contract's test scripts in memory: the whole way, every
// refusal, and every attack.
func TestSteps(t *testing.T) {
	for _, c := range contracts.Standard() {
		scripts, err := filepath.Glob(filepath.Join(c.Name, "tests", "*.steps"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range scripts {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				playSteps(t, &c, file)
			})
		}
	}
}

func playSteps(t *testing.T, c *contracts.Contract, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script, err := scratch.ParseScript(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	trial := scratch.Trial{Name: c.Name, Code: c.Wasm, Schema: c.JSON, Dir: c.Name, Standard: standard, Resolve: resolve}
	report, err := trial.Play(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Steps {
		for _, f := range s.Failures {
			t.Errorf("line %d: %s: %s", s.Line, s.Text, f)
		}
	}
}

func standard(name string) (code, schema []byte, ok bool) {
	c, ok := contracts.Named(name)
	if !ok {
		return nil, nil, false
	}
	return c.Wasm, c.JSON, true
}

func resolve(pack []byte, now int64) ([]byte, error) {
	records, err := senml.Parse(senml.JSON, pack, now)
	return senml.AppendPayload(nil, records), err
}
