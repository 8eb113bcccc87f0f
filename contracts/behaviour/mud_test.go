package behaviour_test

import (
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/runtime/wasm"
)

// The descriptions of real devices load as they are, and what is not
// understood of them is told.
func TestRealMUDFilesLoad(t *testing.T) {
	list, err := os.ReadDir("testdata/mud")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 9 {
		t.Fatalf("%d files", len(list))
	}
	for _, f := range list {
		m := mudOf(t, f.Name())
		p := &behaviour.Profile{MUD: m}
		c := newChain(t, wasm.EngineAuto)
		c.load(p, 0)
		info, err := behaviour.ParseInfo(c.must(abi.EntryQuery, behaviour.Describe("it")))
		digest, _ := p.Digest()
		if err != nil || info.Version != 1 || info.Source != m.URL || info.Validity != 100 || info.Digest != digest || int(info.Count) != len(m.Entries) || len(info.Notes) != len(m.Notes) {
			t.Errorf("%s: %+v, %v", f.Name(), info, err)
		}
		if strings.Join(info.Classes, " ") != "controller:urn:ietf:params:mud:dns controller:urn:ietf:params:mud:gateway controller:urn:ietf:params:mud:ntp" {
			t.Errorf("%s: classes %q", f.Name(), info.Classes)
		}
		for _, n := range m.Notes {
			t.Log(f.Name(), n)
		}
	}
}
