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

// What is not understood, extensions above all, is named with its path: by who
// reads the file, and by the profile on the ledger.
func TestWhatIsNotUnderstoodIsNamed(t *testing.T) {
	m, err := behaviour.ParseMUD([]byte(`{"ietf-mud:mud": {"mud-version": 1, "mud-url": "https://x.example/m", "cache-validity": 72,
		"extensions": ["ol", "reporting"], "ol:ol": {"owners": ["x"]},
		"from-device-policy": {"access-lists": {"access-list": [{"name": "from"}]}}},
	"ietf-access-control-list:acls": {"acl": [{"name": "unused", "aces": {"ace": []}}, {"name": "from", "type": "mixed-eth-ipv4-acl-type", "aces": {"ace": [
		{"name": "a", "matches": {"ietf-mud:mud": {"local-networks": [null], "tide": 1}, "ipv4": {"ttl": 5}, "tcp": {"flags": "syn"}, "sctp": {}}, "actions": {"forwarding": "accept", "logging": "log-syslog"}},
		{"name": "b", "matches": {"quic": {}}, "actions": {"forwarding": "accept"}}]}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(m.Extensions, " ") != "ol reporting" || m.Validity != 72 {
		t.Errorf("extensions %q, valid for %d h", m.Extensions, m.Validity)
	}
	c := newChain(t, wasm.EngineAuto)
	c.load(&behaviour.Profile{MUD: m}, 0)
	info, err := behaviour.ParseInfo(c.must(abi.EntryQuery, behaviour.Describe("it")))
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(info.Notes, "\n")
	const ace = ".ietf-access-control-list:acls.acl[1].aces.ace"
	for _, want := range []string{
		".ietf-mud:mud.extensions[0]: the extension ol ", ".ietf-mud:mud.extensions[1]: the extension reporting ", ".ietf-mud:mud.ol:ol: ",
		".acl[0]: no policy names this list", ace + "[0].matches.ietf-mud:mud.tide: ", ace + "[0].matches.ipv4.ttl: ",
		ace + "[0].matches.tcp.flags: ", ace + "[0].matches.sctp: ", ace + "[0].actions.logging: ", ace + "[1]: none of its matches is understood",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	for _, e := range m.Entries {
		if e.Name == "b" {
			t.Error("an entry of which nothing is understood holds")
		}
	}
}
