package schema

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

const lockers = `{
	"name": "lockers", "about": "lockers that people take",
	"init": "[account]?",
	"execute": {
		"take": {"op": 1, "fields": [{"name": "locker", "type": "uint"}, {"name": "until", "type": "time?"}, {"name": "for", "type": "Purpose"}], "result": "Lease"},
		"close": {"op": 2}
	},
	"query": {"list": {"op": 1, "fields": [{"name": "after", "type": "uint?"}], "result": "[Lease]"}},
	"events": {"taken": {"data": "Taken"}, "closed": {}},
	"codes": {"2": {"name": "is-taken", "about": "the locker is taken"}},
	"types": {
		"Purpose": {"enum": {"parcel": 0, "coat": 7}},
		"Days": {"bits": {"mon": 0, "tue": 1, "sun": 6}},
		"Taken": {"tuple": [{"name": "locker", "type": "uint"}, {"name": "by", "type": "account"}]},
		"Lease": {"record": [
			{"key": 1, "name": "by", "type": "account"}, {"key": 2, "name": "until", "type": "time?"},
			{"key": 3, "name": "every", "type": "duration?"}, {"key": 5, "name": "days", "type": "Days?"},
			{"key": 6, "name": "price", "type": "decimal?"}, {"key": 7, "name": "labels", "type": "{text}?"}, {"key": 8, "name": "more", "type": "any?"},
			{"key": 9, "name": "tag", "type": "bytes?"}]}
	}
}`

var (
	now  = time.UnixMilli(1_700_000_000_000)
	hash = strings.Repeat("ab", 32)
)

func read(t testing.TB) *Schema {
	t.Helper()
	s, err := Parse([]byte(lockers))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCall(t *testing.T) {
	s := read(t)
	for src, want := range map[string]string{
		`{"take": {"locker": 7, "for": "coat"}}`:                                 "840107f607",
		`{"take": {"locker": 7, "until": null, "for": "parcel"}}`:                "840107f600",
		`{"take": {"locker": 7, "until": "now+90s", "for": "coat"}}`:             "8401071b0000018bcfe6c79007",
		`{"take": {"locker": 7, "until": "2023-11-14T22:13:20Z", "for":"coat"}}`: "8401071b0000018bcfe5680007",
		`"close"`:       "8102",
		`{"close": {}}`: "8102",
		`[9, "raw"]`:    "820963726177",
	} {
		b, err := s.Call([]byte(src), now)
		if got := hex.EncodeToString(b); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", src, got, err, want)
		}
	}
}

func TestCallRefuses(t *testing.T) {
	s := read(t)
	for src, want := range map[string]string{
		`{"open": {}}`:                                              `no operation "open"`,
		`{"take": {"locker": 7}}`:                                   `"for" is missing`,
		`{"take": {"locker": -7, "for": "coat"}}`:                   `locker: want uint`,
		`{"take": {"locker": 7, "for": "hat"}}`:                     `one of ["coat" "parcel"]`,
		`{"take": {"locker": 7, "for": "coat", "until": "now+1w"}}`: `no duration`,
		`{"take": {"locker": 7, "for": "coat", "until": "now*2"}}`:  `no time`,
		`{"take": {"locker": 7, "for": "coat", "until": "soon"}}`:   `no time`,
		`{"take": {"locker": 7, "for": "coat", "at": 1}}`:           `no field "at"`,
		`{"take": {}, "close": {}}`:                                 `one operation`,
		`{"take": [7]}`:                                             `want an object`,
		`{"close": {"now": true}}`:                                  `no field "now": no fields`,
		`7`:                                                         `want {"operation"`,
		`{"take": {"locker": 7, "locker": 8, "for": "coat"}}`:       `locker`,
		`{`: `JSON`,
	} {
		if b, err := s.Call([]byte(src), now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %x, %v; want %s", src, b, err, want)
		}
	}
	if _, err := s.Call([]byte(`{"take": {"locker": 7, "for": "coat", "until": "now"}}`), time.Time{}); err == nil {
		t.Error("a relative time is taken where there is no now")
	}
	if _, err := read(t).Ask([]byte(`{"close": {}}`), now); err == nil {
		t.Error("query has the operations of execute")
	}
}

// What is shown can be said again, and is the same then.
func TestThereAndBack(t *testing.T) {
	lease := read(t).Execute["take"].Result
	for _, src := range []string{
		`{"by":"` + hash + `"}`,
		`{"by":"` + hash + `","until":"2023-11-14T22:13:20.005Z","every":"90s","days":["mon","sun"]}`,
		`{"by":"` + hash + `","every":"7d","price":1.5,"labels":{"a":"b"},"more":[1,{"x":null}],"tag":"00ff"}`,
		`{"by":"` + hash + `","every":250,"days":[],"price":-3,"tag":{"text":"abc"}}`,
		`{"by":"` + hash + `","tag":{"base64":"AAE="}}`,
	} {
		raw, err := lease.Encode([]byte(src), now)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		shown, err := lease.JSON(raw)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		again, err := lease.Encode(shown, time.Time{})
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s: shown as %s, which is %x, %v; want %x", src, shown, again, err, raw)
		}
	}
	o := read(t).Called([]byte{0x84, 1, 7, 0xf6, 7})
	if b, err := o.JSON([]byte{0x84, 1, 7, 0xf6, 7}); err != nil || string(b) != `{"take":{"locker":7,"until":null,"for":"coat"}}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestTypesRefuse(t *testing.T) {
	lease := read(t).Execute["take"].Result
	for src, want := range map[string]string{
		`{}`:                            `"by" is missing`,
		`{"by": "ab"}`:                  `64 hexadecimal digits`,
		`{"by": 7}`:                     `not unsigned integer`,
		`{"by":"` + hash + `","tag":1}`: `tag: want bytes`,
		`{"by":"` + hash + `","tag":{"hex":"00"}}`:   `want hexadecimal digits`,
		`{"by":"` + hash + `","days":["mon","mon"]}`: `array of some of`,
		`{"by":"` + hash + `","days":["wed"]}`:       `array of some of`,
		`{"by":"` + hash + `","days":1}`:             `array of some of`,
		`{"by":"` + hash + `","labels":["a"]}`:       `an object`,
		`{"by":"` + hash + `","labels":{"a":1}}`:     `a: want text`,
		`{"by":"` + hash + `","every":"40000d"}`:     `no duration`,
		`{"by":"` + hash + `","every":"1ns"}`:        `no duration`,
		`{"by":"` + hash + `","price":"1"}`:          `want decimal`,
	} {
		if b, err := lease.Encode([]byte(src), now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %x, %v; want %s", src, b, err, want)
		}
	}
	for _, raw := range [][]byte{{}, {0xa0, 0}, {0xa1, 4, 0}, {0xa1, 1, 0x41}, {0xa1, 1, 0}, {0x81, 0}} {
		if b, err := lease.JSON(raw); err == nil {
			t.Errorf("%x is shown as %s", raw, b)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for change, want := range map[[2]string]string{
		{`"name": "lockers"`, `"name": ""`}:                                        "name and about",
		{`"init": "[account]?"`, `"init": "[person]"`}:                             `no type "person"`,
		{`"close": {"op": 2}`, `"close": {"op": 1}`}:                               "same number 1",
		{`"close": {"op": 2}`, `"Close": {"op": 2}`}:                               `"Close" is no name`,
		{`"type": "time?"`, `"type": "time??"`}:                                    "optional twice",
		{`"type": "time?"}, {"name": "for"`, `"type": "time?"}, {"name": "until"`}: `"until": a name`,
		{`"2": {"name": "is-taken"`, `"02": {"name": "is-taken"`}:                  "no number of a code",
		{`"2": {"name": "is-taken"`, `"70000": {"name": "is-taken"`}:               "no number of a code",
		{`"2": {"name": "is-taken"`, `"2": {"name": ""`}:                           "is empty or another's",
		{`"coat": 7`, `"coat": 0`}:                                                 "same number",
		{`"sun": 6`, `"sun": 63`}:                                                  "above 62",
		{`{"key": 9,`, `{"key": 8,`}:                                               "ascending keys",
		{`{"key": 9,`, `{`}:                                                        "ascending keys",
		{`"Purpose": {"enum"`, `"Purpose": {"tuple": [], "enum"`}:                  "want one of",
		{`"type": "any?"`, `"type": "Lease?"`}:                                     "holds itself",
		{`"Days": {"bits"`, `"text": {"tuple": []}, "Days": {"bits"`}:              "basic type",
		{`"op": 2`, `"op": 2, "nummer": 3`}:                                        "nummer",
		{`"op": 2`, `"op": 2, "op": 3`}:                                            "op",
		{`"taken": {"data": "Taken"}`, `"taken": {"data": "Token"}`}:               `no type "Token"`,
	} {
		src := strings.Replace(lockers, change[0], change[1], 1)
		if src == lockers {
			t.Fatalf("%q is not in the schema", change[0])
		}
		if _, err := Parse([]byte(src)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", change[1], err, want)
		}
	}
	for _, src := range []string{"", "{}", lockers + "{}", "[]", strings.Repeat(" ", MaxBytes) + lockers} {
		if _, err := Parse([]byte(src)); err == nil {
			t.Errorf("%.20q is read", src)
		}
	}
}

func TestCodes(t *testing.T) {
	s := read(t)
	if n, ok := s.CodeNamed("is-taken"); !ok || n != 2 {
		t.Errorf("is-taken is %d, %v", n, ok)
	}
	if _, ok := s.CodeNamed("is-free"); ok {
		t.Error("a code that nobody named")
	}
	if b, err := s.Start([]byte(`["`+hash+`"]`), now); err != nil || len(b) != 35 {
		t.Errorf("init: %x, %v", b, err)
	}
	if b, err := s.Events["closed"].Data.Encode([]byte("null"), now); err != nil || !bytes.Equal(b, []byte{0xf6}) {
		t.Errorf("an event without data: %x, %v", b, err)
	}
	if s.Called([]byte{0x81, 9}) != nil || s.Called(nil) != nil || s.Called([]byte{0x80}) != nil || s.Asked([]byte{0x82, 1, 0xf6}) == nil {
		t.Error("messages are taken for others")
	}
}

// What is shown of any bytes is JSON that stands for the same bytes.
func FuzzJSON(f *testing.F) {
	s := read(f)
	lease := s.Execute["take"].Result
	seed, err := lease.Encode([]byte(`{"by":"`+hash+`","every":"7d","price":1.5,"labels":{"a":"b"},"more":[1,{"x":null}],"tag":"00ff","days":["sun"]}`), now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0xa1, 1, 0x58, 32})
	f.Fuzz(func(t *testing.T, raw []byte) {
		shown, err := lease.JSON(raw)
		if err != nil || bytes.Contains(shown, []byte(`"more"`)) {
			return // JSON has no bytes: what any value holds is not the same again
		}
		again, err := lease.Encode(shown, time.Time{})
		if err == nil && !bytes.Equal(again, raw) {
			t.Errorf("%x is shown as %s, which is %x", raw, shown, again)
		}
	})
}
