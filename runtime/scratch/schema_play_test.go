package scratch_test

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/scratch"
)

// echoSchema names what the ledger's script contract is told to do and gives
// back; its execute takes no array, so calls stay raw.
const echoSchema = `{
	"name": "main", "about": "what it is told",
	"init": "[account]",
	"execute": {"hand_over": {"op": 3, "fields": [{"name": "item", "type": "text"}, {"name": "to", "type": "account"}]}},
	"query": {"item": {"op": 1, "fields": [{"name": "item", "type": "text"}], "result": "Item?"}},
	"events": {"moved": {"about": "it went", "data": "Item"}},
	"codes": {"7": {"name": "not-holder", "about": "somebody else holds it"}},
	"types": {"Item": {"record": [{"key": 1, "name": "holder", "type": "account"}, {"key": 2, "name": "at", "type": "time?"}]}}
}`

// spoken plays lines on the script contract with a schema.
func spoken(t *testing.T, lines ...string) (*scratch.Report, error) {
	t.Helper()
	s, err := scratch.ParseScript("test", strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	trial := trial(t)
	trial.Schema = []byte(echoSchema)
	trial.Resolve = func(pack []byte, _ int64) ([]byte, error) {
		if strings.Contains(string(pack), "bad") {
			return nil, errors.New("no SenML")
		}
		return cbor.AppendArray(nil, 0), nil
	}
	trial.Standard = func(name string) (code, schema []byte, ok bool) {
		return trial.Code, []byte(echoSchema), name == "echo"
	}
	return trial.Play(t.Context(), s)
}

// item is an Item of the schema, as a command of the script contract makes it.
func item(holder string) string {
	id := scratch.ID(holder)
	b := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), id[:])
	return string(cbor.AppendInt(cbor.AppendUint(b, 2), scratch.DefaultStart))
}

func TestNamesOfASchema(t *testing.T) {
	r, err := spoken(t,
		"# about: names",
		"say It speaks in names.",
		"account ann owner",
		"account bob",
		"deploy",
		"with second echo",
		"call ann "+do('e', 0, "moved", item("bob")),
		`  event moved {"holder": "${bob}", "at": "*"}`,
		"  save where event moved holder",
		"call ann "+do('e', 0, "moved", item("bob")),
		`  event moved {"holder": "${where}", "at": "2026-01-05T08:00:00Z"}`,
		"call ann "+do('e', 0, "moved", item("bob")),
		"  event moved *",
		"call ann @second "+do('e', 0, "moved", item("bob")),
		`  event moved {"holder": "${bob}", "at": 1767600000000}`,
		"call ann "+do('x', 7, "", ""),
		"  aborted not-holder",
		"let x 2",
		"hash h hex:00",
		"hash i @ Item {\"holder\": \"${ann}\", \"at\": \"now\"}",
		"sign s ann text:${h}",
		"call ann "+do('r', 0, "\x82\x01\x82\xf6\x02", ""),
		"  has 1.1 ${x}",
		`  has 1 [null, "*"]`,
		"  has . [1, [null, 2]]",
		"  save one 0",
		"call ann "+do('r', 0, "\x01", ""),
		"  result ${one}",
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		if len(s.Failures) > 0 {
			t.Fatalf("line %d: %s: %s: %v", s.Line, s.Text, s.Outcome, s.Failures)
		}
	}
	refused := r.Steps[9]
	if !refused.Expected || refused.AbortName != "not-holder" || refused.About != "somebody else holds it" || refused.Outcome != "aborted 7 not-holder" {
		t.Errorf("the refusal reads %+v", refused)
	}
	if e := r.Steps[5].Events; len(e) != 1 || e[0].Contract != "main" || e[0].Data != `{"holder":"bob","at":"2026-01-05T08:00:00Z"}` {
		t.Errorf("the event reads %+v", e)
	}
}

// TestSchemaPlayFails holds that what is expected in names can fail, and what is
// said then.
func TestSchemaPlayFails(t *testing.T) {
	moved := "call ann " + do('e', 0, "moved", item("bob"))
	for _, c := range []struct{ name, step, want, failure string }{
		{"another holder", moved, `event moved {"holder": "${ann}", "at": "*"}`, "events: want moved"},
		{"a field more", moved, `event moved {"holder": "${bob}", "at": "*", "by": "*"}`, "events: want moved"},
		{"a field less", moved, `event moved {"holder": "${bob}"}`, "events: want moved"},
		{"another topic", moved, "event went *", "events: want went *"},
		{"another refusal", "call ann " + do('x', 8, "", ""), "aborted not-holder", "want aborted not-holder, got aborted 8"},
		{"no such refusal", "call ann " + do('x', 7, "", ""), "aborted not-holde", `names no code "not-holde"`},
		{"no result", "call ann " + do('r', 0, "", ""), "result *", "want *, got none"},
		{"a part", "call ann " + do('r', 0, "\x81\x01", ""), "has 0 2", "0: want 2, got 1"},
		{"no part", "call ann " + do('r', 0, "\x81\x01", ""), "has 1 2", `there is no "1" in [1]`},
		{"nothing with parts", "call ann " + do('r', 0, "\x01", ""), "has 1 2", "there is nothing within 1"},
		{"nothing to save", "call ann", "save x holder", "save x: there is nothing of which holder would be a part"},
		{"no event to save", "call ann", "save x event moved holder", "save x: there is nothing"},
		{"what would be misread", "call ann " + do('r', 0, "\x63a\"b", ""), "save x .", "holds what a line would misread"},
		{"level", `report lamp [{"n":"a","v":1}]`, "level alert", "level: want alert, got fine"},
		{"status", "status lamp stolen", "", "status: want stolen, got active"},
		{"not the owner's", "set lamp suspended bob", "", "want ok, got not-permitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := []string{"account ann owner", "account bob", "device lamp ann", "deploy", c.step}
			if c.want != "" {
				lines = append(lines, "  "+c.want)
			}
			r, err := spoken(t, append(lines, "call nobody")...)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Failed() || len(r.Steps) != 5 {
				t.Fatalf("failed %v after %d steps", r.Failed(), len(r.Steps))
			}
			if got := strings.Join(r.Steps[4].Failures, "\n"); !strings.Contains(got, c.failure) {
				t.Errorf("it says %q, want %q in it", got, c.failure)
			}
		})
	}
}

// TestStepsThatCannotBe holds that a step which no chain in memory can play, or
// whose words its contract does not have, is an error that names the line.
func TestStepsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ step, want string }{
		{`call ann {"hand_over": {"item": 1, "to": "${ann}"}}`, "item"},
		{`call ann {"take": {}}`, `no operation "take"`},
		{`query {"item": {}}`, `field "item" is missing`},
		{`with other nothing.wasm`, "nothing.wasm"},
		{`with other ../../../nothing/nothing.wasm`, "nothing.wasm"},
		{`report lamp [{"n":"bad"}]`, "no SenML"},
		{`run version`, "commands need a node"},
		{`write x.json {}`, "commands need a node"},
		{`at 2`, "there is no node 2"},
		{`let x ${ann.file}`, "commands need a node"},
		{`let x ${ann.age}`, `"age" is nothing that a person has`},
		{`let x ${now+later}`, `"+later" is no duration`},
		{`sign s ann @ Thing {}`, `no type "Thing"`},
		{`sign s ann @other Item {}`, "has no schema"},
	} {
		_, err := spoken(t, "account ann owner", "device lamp ann", "deploy", c.step)
		if err == nil || !strings.HasPrefix(err.Error(), "test:4: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.step, err, c.want)
		}
	}
}

// TestReferences holds what stands for what.
func TestReferences(t *testing.T) {
	id := scratch.ID("ann")
	r, err := spoken(t,
		"account ann owner",
		"device lamp ann",
		"deploy",
		"let item text:${lamp.serial} ${@} ${@other} ${hour} ${hour+13h}",
		"call ann "+do('r', 0, string(cbor.AppendText(nil, "text:lamp main other 08:00 21:00")), ""),
		`  result "${item}"`,
		"let at ${now+5s}",
		"hash at @ Item {\"holder\": \"${ann}\", \"at\": ${at}}",
		"call ann "+do('r', 0, string(cbor.AppendText(nil, hex.EncodeToString(id[:]))), ""),
		`  result "${ann}"`,
		"set lamp suspended ann found open",
		"status lamp suspended",
		"decide lamp "+opening,
		"  deny device-inactive",
		"  save why decision",
		"call ann "+do('r', 0, string(cbor.AppendText(nil, "deny")), ""),
		`  result "${why}"`,
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		if len(s.Failures) > 0 {
			t.Errorf("line %d: %s: %s: %v", s.Line, s.Text, s.Outcome, s.Failures)
		}
	}
}

// TestParseSteps holds the mistakes that are found before anything is played.
func TestParseSteps(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"# nodes: 17\naccount ann", `test:1: nodes: "17" is no number from 1 to 16`},
		{"bind", "name the device"},
		{"bind lamp conduct", "contracts are written @NAME"},
		{"report lamp", "say what was seen"},
		{"report lamp loudly []", `"loudly": write by WHO`},
		{"report lamp by ann signed []", "only the device itself signs"},
		{"report lamp [", "report: "},
		{"set lamp", "name the device, its new status and who sets it"},
		{"set lamp broken ann", `"broken" is no status`},
		{"status lamp broken", `"broken" is no status`},
		{"at 0", "no number of a node"},
		{"let x", "write let NAME VALUE"},
		{"sign x ann", "write sign NAME WHO VALUE"},
		{"hash x", "write hash NAME VALUE"},
		{"hash x {", "hash: "},
		{"run", "name a command"},
		{"run say 'it", "a quote is not closed"},
		{"write ../x y", "a file of the script's own"},
		{"write /etc/x y", "a file of the script's own"},
		{"call ann ${}", "it refers to nothing"},
		{"call ann\n  has holder", "write has PATH VALUE"},
		{"call ann\n  save x", "write save NAME PATH"},
		{"call ann\n  event", "name the event's topic"},
		{"call ann\n  level high", `level "high"`},
		{"call ann\n  stdout x", "said of run"},
		{"call ann\n  fails", "said of run"},
		{"run x\n  stdout (", "no regular expression"},
		{strings.Repeat("${a}", 90), "at most 89 things"},
	} {
		_, err := scratch.ParseScript("test", c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	s, err := scratch.ParseScript("test", "# about: it\n# about: again\n# nodes: 4\naccount ann\n# nodes: 99\n")
	if err != nil || s.About != "it" || s.Nodes != 4 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestFlows holds that flows are told by their names.
func TestFlows(t *testing.T) {
	for _, c := range []struct{ flows, want string }{
		{`[{"direction":1,"protocol":6,"address":"192.0.2.1","remote_port":443,"local_port":1,"bytes":2,"packets":3,"remote_name":"x","begun_by_device":true}]`, ""},
		{`[{"address":"nowhere"}]`, "flows are"},
		{`[{"port":1}]`, `unknown field "port"`},
	} {
		_, err := spoken(t, "account ann owner", "device lamp ann", "deploy", "report lamp flows "+c.flows, "  level fine")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.flows, err, c.want)
		}
	}
}

// TestSchemaBeside holds that a module in a folder of its own brings its schema.
func TestSchemaBeside(t *testing.T) {
	dir := t.TempDir()
	code := trial(t).Code
	for file, text := range map[string][]byte{"own/own.wasm": code, "own/schema.json": []byte(echoSchema)} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "own"), 0o700), os.WriteFile(filepath.Join(dir, file), text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := scratch.ParseScript("test", "account ann\nwith own own/own.wasm\ncall ann @own "+do('x', 7, "", "")+"\n  aborted not-holder")
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&scratch.Trial{Name: "main", Code: code, Dir: dir}).Play(t.Context(), s)
	if err != nil || r.Failed() {
		t.Errorf("%+v, %v", r, err)
	}
}
