package access_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/access"
)

// rule makes a document of one valid rule with a field replaced or added.
func rule(fields string) string {
	return `{"rules":[
		{"id":"r","effect":"permit","actions":["open"],"resource":{"type":"lock"},
		` + fields + `}]}`
}

func TestMistakesNameLineAndField(t *testing.T) {
	for _, test := range []struct{ src, want string }{
		{``, "line 1: the document ends too early"},
		{"{\n\"rules\": [\n", "line 2: rules: the document ends too early"},
		{"{\n\"rules\" [\n", "line 2: "},
		{`[]`, "line 1: found an array, want an object"},
		{`{}`, "line 1: rules: the field is missing"},
		{`{"rules":[]} x`, "line 1: something follows the document"},
		{"{\"rules\":[\n\xff]}", "line 2: text is not valid UTF-8"},
		{"{\n\"rules\":[],\n\"rules\":[]}", "line 3: rules: the field is repeated"},
		{"{\"rules\":[],\n\"rule\":[]}", "line 2: rule: unknown field; known here: entities, roles, rules, title"},
		{"{\"rules\":[\n{}]}", "line 2: rules[0].id: the field is missing"},
		{"{\"rules\":[],\"entities\":[{\n\"type\":\"a\",\n\"id\":7}]}", "line 3: entities[0].id: found a number, want text"},
		{`{"rules":[],"entities":[{"type":"a","id":"b","owner":"AB"}]}`, "entities[0].owner: want an account id"},
		{`{"rules":[],"entities":[{"type":"a","id":"b","properties":[]}]}`, "entities[0].properties: found an array, want an object"},
		{`{"rules":[],"entities":[{"type":"a","id":"b","properties":{"x":0.1234567890123456789}}]}`, "entities[0].properties.x: 0.1234567890123456789: number has no exact"},
		{"{\"rules\":[],\"entities\":[{\"type\":\"a\",\"id\":\"b\",\"properties\":{\n\"x\":1e400}}]}", "line 2: entities[0].properties.x: 1e400: number has no exact"},
		{"{\"rules\":[],\"entities\":[{\"type\":\"a\",\"id\":\"b\"},\n{\"type\":\"a\",\"id\":\"b\"}]}", `line 2: entities[1]: a "b" stands on line 1 already`},
		{rule(`"effect":"allow"`), "line 3: rules[0].effect: the field is repeated"},
		{strings.Replace(rule(`"reason":"x"`), `"permit"`, `"allow"`, 1), `line 2: rules[0].effect: want "permit" or "deny"`},
		{rule(`"subjects":{}`), "line 3: rules[0].subjects: unknown field"},
		{rule(`"subject":{"roles":[]}`), "line 3: rules[0].subject.roles: has 0 items, want 1 to 64"},
		{rule(`"subject":{"roles":["a","a"]}`), `rules[0].subject.roles[1]: "a" is repeated`},
		{rule(`"subject":{"roles":[""]}`), "rules[0].subject.roles[0]: is empty"},
		{rule(`"reason":"` + strings.Repeat("x", 65) + `"`), "rules[0].reason: has 65 bytes, want at most 64"},
		{rule(`"hours":{"zone":"Europe/Wien","from":"07:00","to":"18:00"}`), `rules[0].hours.zone: unknown time zone "Europe/Wien"`},
		{rule(`"hours":{"zone":"Local","from":"07:00","to":"18:00"}`), "rules[0].hours.zone: want an IANA time zone"},
		{rule(`"hours":{"zone":"UTC","from":"7:00","to":"18:00"}`), "rules[0].hours.from: want a time such as 07:30"},
		{rule(`"hours":{"zone":"UTC","from":"24:00","to":"18:00"}`), "rules[0].hours.from: want a time such as 07:30"},
		{rule(`"hours":{"zone":"UTC","from":"07:60","to":"24:01"}`), "rules[0].hours.to: want a time such as 07:30"},
		{rule(`"hours":{"zone":"UTC","from":"07:00","to":"18:00","days":["mo"]}`), "rules[0].hours.days[0]: want a day"},
		{rule(`"ttl_ms":-1`), "rules[0].ttl_ms: want a whole number of milliseconds from 0 to 86400000"},
		{rule(`"ttl_ms":1.5`), "rules[0].ttl_ms: want a whole number"},
		{rule(`"max_staleness_ms":86400001`), "rules[0].max_staleness_ms: want a whole number"},
		{rule(`"obligations":{}`), "rules[0].obligations: found an object, want an array"},
		{rule(`"when":{"equals":["context.x",1]}`), "rules[0].when.equals: unknown operator"},
		{rule(`"when":{"eq":["context.x",1],"ne":["context.x",2]}`), "rules[0].when: want an object with one operator"},
		{rule(`"when":{"eq":["context.x"]}`), "rules[0].when.eq: want [path, value]"},
		{rule(`"when":{"eq":["contxt.x",1]}`), `rules[0].when.eq[0]: unknown path "contxt.x"`},
		{rule(`"when":{"eq":["subject.name",1]}`), `rules[0].when.eq[0]: unknown path "subject.name"`},
		{rule(`"when":{"eq":["subject.type.x",1]}`), `rules[0].when.eq[0]: unknown path "subject.type.x"`},
		{rule(`"when":{"eq":["subject.properties",1]}`), `rules[0].when.eq[0]: unknown path "subject.properties"`},
		{rule(`"when":{"eq":[1,"context.x"]}`), "rules[0].when.eq[0]: found a number, want a path"},
		{rule(`"when":{"in":["context.x","a"]}`), "rules[0].when.in[1]: want an array of values, or a path"},
		{rule(`"when":{"all":[{"any":[{"exists":"context"}]}]}`), `rules[0].when.all[0].any[0].exists: unknown path "context"`},
		{rule(`"when":` + strings.Repeat(`{"not":`, 9) + `{"exists":"context.x"}` + strings.Repeat("}", 9)), "a condition nests at most 8 deep"},
		{rule(`"when":[` + strings.Repeat(`{"exists":"context.x"},`, 64) + `{"exists":"context.x"}]`), "a condition nests at most 8 deep and holds at most 64"},
		{rule(`"when":{"eq":["context.x","` + strings.Repeat("x", 4200) + `"]}`), "bytes encoded, want at most 4096"},
	} {
		_, err := access.ParseDocument([]byte(test.src))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got %v\nwant %s", test.src, err, test.want)
		}
		var mistake *access.Mistake
		if !errors.As(err, &mistake) || mistake.Line < 1 {
			t.Errorf("%s: no *Mistake with a line: %v", test.src, err)
		}
	}
}

func TestSeveralMistakesAreReportedAtOnce(t *testing.T) {
	_, err := access.ParseDocument([]byte(`{"titel":"x","rules":[{"id":"a"},{"id":"a","effect":1}]}`))
	if n := strings.Count(fmt.Sprint(err), "\n"); n < 5 {
		t.Fatalf("%v", err)
	}
}

// everything uses each field of a document.
const everything = `{
  "title": "Everything <&> \"at once\"",
  "entities": [
    {"type": "user", "id": "ü/1", "roles": ["b", "a"], "properties": {"n": -1.50, "big": 9223372036854775807, "nested": {"a.b": [true, null, {}]}},
     "relations": {"member_of": [{"type": "group", "id": "z"}, {"type": "group", "id": "a"}], "friend_of": [{"type": "user", "id": "x"}]}},
    {"type": "lock", "id": "l", "owner": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}
  ],
  "rules": [
    {"id": "z-first", "description": "d", "effect": "deny", "actions": ["open", "close"],
     "resource": {"type": "lock", "ids": ["l"]},
     "subject": {"types": ["user"], "ids": ["ü/1"], "roles": ["a"], "groups": {"member_of": [{"type": "group", "id": "a"}]}},
     "relation": "friend_of",
     "when": {"any": [
       {"not": {"exists": "subject.properties.a\\.b.c\\\\d"}},
       {"eq": ["resource.owner", {"path": "subject.id"}]},
       {"ne": ["context.x", {"value": {"path": "p"}}]},
       {"lt": ["action.properties.n", 0.000000000000000001]}, {"le": ["context.n", 1]},
       {"gt": ["context.n", -2.5]}, {"ge": ["context.n", 3]},
       {"in": ["action.name", ["open"]]}, {"contains": ["subject.roles", "a"]}]},
     "hours": {"zone": "America/New_York", "days": ["fri-mon"], "from": "22:00", "to": "06:00"},
     "reason": "why", "obligations": [{"log": true}], "ttl_ms": 5, "max_staleness_ms": 0},
    {"id": "a-second", "effect": "permit", "actions": ["open"], "resource": {"type": "lock"},
     "hours": {"zone": "Asia/Kolkata", "from": "00:00", "to": "24:00"}}
  ]
}`

func TestJSONRoundTrip(t *testing.T) {
	for _, src := range []string{everything, `{"rules":[]}`, largePolicy(1000, 4)} {
		first := parse(t, src)
		written, err := first.JSON()
		if err != nil {
			t.Fatal(err)
		}
		second := parse(t, string(written))
		if first.Digest() != second.Digest() || first.Count() != second.Count() {
			t.Fatalf("digest or count changed in %.2000s", written)
		}
	}
}

func TestMessagesAreCanonicalAndSmall(t *testing.T) {
	d := parse(t, largePolicy(1000, 20))
	messages := d.Messages(2, 1)
	if len(messages) < 8 {
		t.Fatalf("%d messages", len(messages))
	}
	for i, m := range messages {
		if err := cbor.Validate(m); err != nil || len(m) > 25<<10 {
			t.Fatalf("message %d of %d bytes: %v", i, len(m), err)
		}
	}
}

func TestDigestDependsOnEverything(t *testing.T) {
	base := parse(t, everything).Digest()
	for _, change := range [][2]string{
		{"Everything", "Anything"}, {`"roles": ["b", "a"]`, `"roles": ["a", "b"]`}, {"-1.50", "-1.51"},
		{`"deny"`, `"permit"`}, {`"ids": ["l"]`, `"ids": ["m"]`}, {`"to": "06:00"`, `"to": "06:01"`},
		{"fri-mon", "fri-tue"}, {"America/New_York", "America/Chicago"}, {`"reason": "why"`, `"reason": "who"`},
		{"z-first", "b-first"}, {`"max_staleness_ms": 0`, `"max_staleness_ms": 1`}, {`"description": "d"`, `"description": "e"`},
	} {
		changed := strings.Replace(everything, change[0], change[1], 1)
		if changed == everything || parse(t, changed).Digest() == base {
			t.Errorf("%q to %q leaves the digest", change[0], change[1])
		}
	}
}

func TestZoneTables(t *testing.T) {
	d := parse(t, everything)
	if len(d.Zones) != 2 || d.Zones[0].Name != "America/New_York" || d.Zones[1].Name != "Asia/Kolkata" {
		t.Fatalf("%+v", d.Zones)
	}
	// 2025-03-09 07:00 UTC is when New York's clocks went forward.
	if s := d.Zones[0].Steps[1]; s != (access.Step{Start: 1741503600, Offset: -4 * 3600}) {
		t.Fatalf("%+v", s)
	}
	if len(d.Zones[0].Steps) != 41 || len(d.Zones[1].Steps) != 1 {
		t.Fatalf("%d and %d steps", len(d.Zones[0].Steps), len(d.Zones[1].Steps))
	}
}

func TestCheckFindings(t *testing.T) {
	src := `{"entities":[{"type":"user","id":"a","roles":["staff"],"relations":{"member_of":[{"type":"group","id":"g"}]}},{"type":"lock","id":"l"}],
	"rules":[
	{"id":"ok","effect":"permit","actions":["open","close"],"resource":{"type":"lock","ids":["l"]},"subject":{"types":["user"],"ids":["a"],"roles":["staff"],"groups":{"member_of":[{"type":"group","id":"g"}]}},"relation":"member_of"},
	{"id":"role","effect":"permit","actions":["open"],"resource":{"type":"lock"},"subject":{"roles":["stuff"]}},
	{"id":"relation","effect":"permit","actions":["open"],"resource":{"type":"lock"},"relation":"owner_of"},
	{"id":"group","effect":"permit","actions":["open"],"resource":{"type":"lock"},"subject":{"groups":{"member_of":[{"type":"group","id":"h"}]}}},
	{"id":"resource","effect":"permit","actions":["open"],"resource":{"type":"lock","ids":["m"]}},
	{"id":"subject","effect":"permit","actions":["open"],"resource":{"type":"lock"},"subject":{"types":["user"],"ids":["b"]}},
	{"id":"twice","effect":"permit","actions":["open"],"resource":{"type":"lock"},"subject":{"types":["user"],"ids":["b"]},"reason":"again"},
	{"id":"all","effect":"permit","actions":["wipe","burn"],"resource":{"type":"lock"}},
	{"id":"late","effect":"permit","actions":["burn"],"resource":{"type":"lock"},"subject":{"types":["user"]}},
	{"id":"none","effect":"deny","actions":["wipe"],"resource":{"type":"lock"}}]}`
	want := map[string]string{
		"role": `role "stuff"`, "relation": `relation "owner_of"`, "group": `group "h"`,
		"resource": `lock "m"`, "subject": `subject "b"`, "twice": `repeats rule "subject"`,
		"late": `rule "all" permits all`,
	}
	got := map[string]string{}
	for _, f := range parse(t, src).Check() {
		got[f.Rule] += f.String()
	}
	for id, text := range want {
		if !strings.Contains(got[id], text) {
			t.Errorf("rule %s: %q, want %q", id, got[id], text)
		}
		delete(got, id)
	}
	if len(got) > 0 {
		t.Errorf("unexpected: %v", got)
	}
	shadowed := `{"rules":[{"id":"a","effect":"permit","actions":["x"],"resource":{"type":"t"},"subject":{"types":["u"]}},{"id":"b","effect":"deny","actions":["x","y"],"resource":{"type":"t"}}]}`
	if f := parse(t, shadowed).Check(); len(f) != 1 || f[0].Rule != "a" || f[0].Line != 1 {
		t.Errorf("%v", f)
	}
}

func TestFixturesHaveNoFindings(t *testing.T) {
	for _, name := range []string{"todo.json", "certification.json", "building.json"} {
		if f := parseFile(t, name).Check(); len(f) > 0 {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// FuzzParseDocument: whatever parses is written, parsed and encoded alike, and
// its messages are canonical.
func FuzzParseDocument(f *testing.F) {
	f.Add(everything)
	f.Add(rule(`"when":{"eq":["context.x",1e3]}`))
	f.Add("{\"rules\":[\n")
	f.Fuzz(func(t *testing.T, src string) {
		d, err := access.ParseDocument([]byte(src))
		if err != nil {
			return
		}
		for _, m := range d.Messages(1, 0) {
			if err := cbor.Validate(m); err != nil {
				t.Fatal(err)
			}
		}
		written, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := access.ParseDocument(written)
		if err != nil {
			t.Fatalf("%v in %s", err, written)
		}
		if again.Digest() != d.Digest() {
			t.Fatalf("digest changed by %s", written)
		}
	})
}
