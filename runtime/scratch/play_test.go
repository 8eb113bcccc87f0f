package scratch_test

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/scratch"
)

// do is a command of the ledger's script contract (its testdata/script.rs), as
// a message of a script.
func do(op byte, n int64, a, b string) string {
	s := binary.LittleEndian.AppendUint64([]byte{op}, uint64(n))
	s = append(binary.LittleEndian.AppendUint16(s, uint16(len(a))), a...)
	return "hex:" + hex.EncodeToString(append(binary.LittleEndian.AppendUint16(s, uint16(len(b))), b...))
}

func trial(t *testing.T) *scratch.Trial {
	t.Helper()
	code, err := os.ReadFile("../ledger/testdata/script.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return &scratch.Trial{Name: "main", Code: code, Dir: "../ledger/testdata"}
}

func play(t *testing.T, lines ...string) *scratch.Report {
	t.Helper()
	s, err := scratch.ParseScript("test", strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := trial(t).Play(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const opening = `{"action":{"name":"open"},"resource":{"type":"door","id":"1"}}`

func TestPlay(t *testing.T) {
	r := play(t,
		"# accounts and contracts",
		"account ann owner developer",
		`device lock ann {"zone": "north"}`,
		"deploy",
		"with other script.wasm "+do('s', 0, "k", "other"),
		"",
		"call ann "+do('s', 0, "k", "\x02"),
		"  ok",
		"  gas < 1_000_000",
		"state \"k\" 2",
		"state hex:6b 2",
		`state "absent" none`,
		"state @other \"k\" hex:6f74686572",
		"query "+do('g', 0, "k", ""),
		"  result 2",
		"query @other "+do('g', 0, "k", ""),
		"  result hex:6f74686572",
		"call ann \\",
		"  "+do('e', 0, "topic", "\x02"),
		"  event topic 2",
		"call ann "+do('x', 7, "why", ""),
		"  aborted 7",
		"  no events",
		"call ann "+do('u', 0, "", ""),
		"  unreachable",
		"query "+do('x', 9, "why", ""),
		"  aborted 9",
		"call nobody "+do('u', 0, "", ""),
		"  unknown-account",
		"call ann "+do('t', scratch.DefaultStart+3_600_000, do2('e', "late", "\x03"), ""),
		"wait 59m",
		"  no events",
		"wait 2m",
		"  event late 3",
		"decide lock "+opening,
		"  permit",
		`decide ann {"subject":{"type":"user","id":"bob"},"action":{"name":"open"},"resource":{"type":"door","id":"1"}}`,
		"  deny subject-not-caller",
	)
	for _, s := range r.Steps {
		if len(s.Failures) > 0 {
			t.Errorf("line %d: %s: %s: %v", s.Line, s.Text, s.Outcome, s.Failures)
		}
	}
	if n := r.Entries[abi.EntryExecute]; n.Calls != 5 || n.MaxGas == 0 || n.Pages == 0 {
		t.Errorf("execute: %+v", n)
	}
	if n := r.Entries[abi.EntryTimer].Calls; n != 1 {
		t.Errorf("timer ran %d times", n)
	}
}

// TestUpgrade holds that the new code answers, over the old state, and that
// one whose migrate fails does not.
func TestUpgrade(t *testing.T) {
	r := play(t,
		"account ann", "deploy",
		"call ann "+do('s', 0, "k", "\x02"),
		"query "+do('V', 0, "", ""),
		"  result hex:736372697074",
		"upgrade plain.wasm "+do('x', 3, "", ""),
		"  no-entry-point",
		"query "+do('V', 0, "", ""),
		"  result hex:736372697074",
		"upgrade plain.wasm",
		"query "+do('V', 0, "", ""),
		"  result hex:706c61696e",
		`state "k" 2`,
		"upgrade script.wasm "+do('x', 3, "", ""),
		"  aborted 3",
		"query "+do('V', 0, "", ""),
		"  result hex:706c61696e",
	)
	for _, s := range r.Steps {
		if len(s.Failures) > 0 {
			t.Errorf("line %d: %s: %s: %v", s.Line, s.Text, s.Outcome, s.Failures)
		}
	}
}

// do2 is do as bytes within another command.
func do2(op byte, a, b string) string {
	raw, err := hex.DecodeString(do(op, 0, a, b)[len("hex:"):])
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// TestPlayFails holds that each expectation can fail, and what is said then.
func TestPlayFails(t *testing.T) {
	head := []string{"account ann", "deploy"}
	for _, c := range []struct{ name, step, want, failure string }{
		{"unexpected refusal", "call ann " + do('x', 7, "", ""), "", "want ok, got aborted 7"},
		{"unexpected success", "call ann", "aborted 1", "want aborted, got ok"},
		{"other abort code", "call ann " + do('x', 7, "", ""), "aborted 8", "want aborted 8, got aborted 7"},
		{"result", "call ann " + do('r', 0, "\x02", ""), "result 3", "want 3, got 2"},
		{"no result", "call ann", "result 3", "want 3, got none"},
		{"unwanted result", "call ann " + do('r', 0, "\x02", ""), "result none", "want none, got 2"},
		{"event", "call ann " + do('e', 0, "t", "\x02"), "event t 3", "want t 3, got t 2"},
		{"missing event", "call ann", "event t 3", "want t 3, got no events"},
		{"unwanted event", "call ann " + do('e', 0, "t", "\x02"), "no events", "want no events, got t 2"},
		{"gas", "call ann", "gas < 5", "want less than 5"},
		{"permit", "decide ann " + opening, "deny", "want deny, got permit"},
		{"deny", "decide nobody " + opening, "permit", "want permit, got deny unknown-key"},
		{"deny with another code", "decide nobody " + opening, "deny denied", "want denied, got deny unknown-key"},
		{"state differs", `state "k" 1`, "", "want 1, got none"},
		{"role", "call nobody", "", "want ok, got unknown-account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := append(head[:2:2], c.step)
			if c.want != "" {
				lines = append(lines, "  "+c.want)
			}
			r := play(t, append(lines, "call ann", "  result 99")...)
			if !r.Failed() || len(r.Steps) != 3 {
				t.Fatalf("failed %v after %d steps", r.Failed(), len(r.Steps))
			}
			if got := strings.Join(r.Steps[2].Failures, "\n"); !strings.Contains(got, c.failure) {
				t.Errorf("it says %q, want %q in it", got, c.failure)
			}
		})
	}
}

// TestTrapIsNamed holds that a report tells which function failed, and that
// what the contract logged stands beside it.
func TestTrapIsNamed(t *testing.T) {
	r := play(t, "account ann", "deploy", "call ann "+do('u', 0, "", ""))
	if s := r.Steps[2]; !strings.Contains(s.Trap, "unreachable in ") {
		t.Errorf("the trap reads %q", s.Trap)
	}
}

func TestNamesInMessages(t *testing.T) {
	id := scratch.ID("ann")
	r := play(t, "account ann", "deploy", "call ann "+do('r', 0, string(id[:]), ""), "  result hex:${ann}")
	if r.Failed() {
		t.Errorf("%+v", r.Steps)
	}
}

func TestParseScript(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\n\ncal ann", `test:3: "cal" is no step`},
		{"  ok", "there is none above it"},
		{"account", "name the account"},
		{"account ann king", `"king" is no role; there are validator, operator`},
		{"device lock", "name the device and its owner"},
		{"with other", "name the contract and its file"},
		{"upgrade", "name the file"},
		{"call ann {", "call: "},
		{"call ann hex:0", "call: "},
		{"call ann\n  maybe", `"maybe" says nothing`},
		{"call ann\n  gas > 5", "gas: write gas < N"},
		{"call ann\n  no gas", "only \"no events\""},
		{"call ann\n  aborted 70000", "a number up to 65535"},
		{"call ann\n  aborted two!", `"two!" is no code of a contract`},
		{"wait soon", `"soon" is no duration, such as 90s`},
		{"wait -1s", "time does not go back"},
		{"state k 1", "write it in quotes"},
		{`state "k`, "quotes are not closed"},
		{`state "k"`, "say the value"},
		{"decide ann {}", "permit or deny"},
		{"decide ann {\"acton\":1}\n  permit", `unknown field "acton"; an AuthZEN request is {"action"`},
		{"decide ann {\"action\":\"open\"}\n  permit", "action is not a string; an AuthZEN request is"},
	} {
		_, err := scratch.ParseScript("test", c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("account ann owner\ndeploy {\"a\":1}\n  ok\ncall ann hex:00\n  event t 1\n")
	f.Add("state \"k\" none\nwait 1h\ndecide ann {\"action\":{\"name\":\"x\"}}\n  deny\n")
	f.Add("# about: x\n# nodes: 4\nsay it\nreport lamp by ann flows [{\"protocol\":6}]\n  level fine\nrun a 'b c'\n  stdout x\n  save y stdout .\n")
	f.Add("let x ${now+1s}\nsign s ann @c T {\"a\":\"${x}\"}\nset lamp stolen ann why\nstatus lamp stolen\nwrite f t\nat 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := scratch.ParseScript("fuzz", text)
		if (s == nil) == (err == nil) || err != nil && !strings.HasPrefix(err.Error(), "fuzz:") {
			t.Errorf("%v, %v: want a script, or an error that names the line", s, err)
		}
	})
}
