package cbor

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// jsonAccepted has the canonical CBOR of texts.
var jsonAccepted = map[string]string{
	`null`:                          "f6",
	`[true,false]`:                  "82 f5 f4",
	`{"b":1,"a":2}`:                 "a2 6161 02 6162 01",
	`{"aa":1,"b":2}`:                "a2 6162 02 626161 01", // shorter keys first (RFC 8949 section 4.2.1)
	`{"":{}}`:                       "a1 60 a0",
	` [ -1 , 2.5 , 1e2 ] `:          "83 20 c4 82 20 1819 1864",
	`"\ud83d\ude00 \u00e9 \\ud800"`: "6e f09f9880 20 c3a9 20 5c 7564383030",
	`{"b":{"d":1,"c":2},"a":[{"f":0,"e":0}]}`: "a2 6161 81 a2 6165 00 6166 00 6162 a2 6163 02 6164 01",
	`"\u0041\uFFFD\b\f\n\r\t\ue000"`:          "6c 41 efbfbd 08 0c 0a 0d 09 ee8080",
	"\"\x7f\"":                                "61 7f",
	"\t\r\n 0.0e-5 ":                          "00",
	`[` + strings.Repeat(`0,`, 255) + `0]`:    "990100" + strings.Repeat("00", 256),
	`"a\nb\u0000\"\/"`:                        "66 61 0a 62 00 22 2f",
	`"` + strings.Repeat("x", 24) + `"`:       "7818" + strings.Repeat("78", 24),
}

func TestAppendJSON(t *testing.T) {
	for in, want := range jsonAccepted {
		got, err := AppendJSON(nil, []byte(in))
		if err != nil || !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("AppendJSON(%s) = %x, %v, want %s", in, got, err, want)
		}
	}
}

// jsonRefused has texts and a part of the error that each meets.
var jsonRefused = map[string]string{
	``:                                       "JSON value: unexpected EOF",
	`[1,`:                                    "[1]: unexpected EOF",
	`[1,]`:                                   "[1]: ",
	`[1 2]`:                                  "[1]: ",
	`{"a":1,}`:                               "JSON value: ",
	`{"a" 1}`:                                ".a: ",
	`{1:2}`:                                  "JSON value: ",
	`]`:                                      "JSON value: ",
	`1 2`:                                    "more than one value",
	`{} x`:                                   "more than one value",
	`{"a":1,"a":1}`:                          `JSON value: key "a" is repeated`,
	`{"b":1,"a":1,"\u0062":[]}`:              `JSON value: key "b" is repeated`,
	`{"\/":1,"/":1}`:                         `JSON value: key "/" is repeated`,
	`{"\ud83d\ude00":1,"😀":1}`:               "is repeated",
	`[tru`:                                   "[0]: unexpected EOF",
	`[trux]`:                                 "[0]: found 'x', want 'e'",
	`nulls`:                                  "more than one value",
	`-`:                                      "JSON value: unexpected EOF",
	`[-]`:                                    "[0]: found ']', want a digit",
	`-01`:                                    "more than one value",
	`.5`:                                     "JSON value: found '.', want a value",
	`[1.]`:                                   "[0]: found ']', want a digit",
	`[1.e1]`:                                 "[0]: found 'e', want a digit",
	`[1e+]`:                                  "[0]: found ']', want a digit",
	`"a`:                                     "JSON value: unexpected EOF",
	`"\`:                                     "JSON value: unexpected EOF",
	`"\u00`:                                  "JSON value: ",
	`"\u00g0"`:                               "four hexadecimal digits",
	`"\u+123"`:                               "four hexadecimal digits",
	`"\U0041"`:                               "found 'U', want an escape",
	"\"\x00\"":                               `found '\x00', want its escape`,
	"\"\x1f\"":                               `found '\x1f', want its escape`,
	"\x00":                                   "JSON value: found '\\x00', want a value",
	"[0\x00]":                                "[1]: found '\\x00'",
	"[\x00]":                                 "[0]: found '\\x00'",
	"\ufeff{}":                               "JSON value: ",
	"[0,\u00a00]":                            "[1]: ",
	"[0\v]":                                  "[1]: ",
	`[1}`:                                    "JSON value: found '}', want ']'",
	`{"a":1]`:                                "JSON value: found ']', want '}'",
	`{"a"`:                                   ".a: unexpected EOF",
	`{"a":1 "b":2}`:                          "JSON value: found '\"', want ','",
	`{,"a":1}`:                               "JSON value: found ',', want a key",
	`[,1]`:                                   "[0]: found ',', want a value",
	`{"r":[{"x":1},{"x":{"b":1,"b":2}}]}`:    `.r[1].x: key "b" is repeated`,
	`{"r":[0,{"n":0.12345678901234567890}]}`: ".r[1].n: 0.1",
	`{"r":[0,1e400]}`:                        ".r[1]: 1e400",
	"\"\xff\"":                               "UTF-8",
	`"\ud800"`:                               "surrogate",
	`"\udc00\ud800"`:                         "surrogate",
	`"\ud800\u0041"`:                         "surrogate",
	`"\\\ud800"`:                             "surrogate",
	`"\uD83D x"`:                             "surrogate",
	"\"a\nb\"":                               "JSON value: ",
	`"\x41"`:                                 "JSON value: ",
	`'a'`:                                    "JSON value: ",
	`01`:                                     "more than one value",
	`+1`:                                     "JSON value: ",
	`NaN`:                                    "JSON value: ",
	strings.Repeat("[", MaxDepth+2):          "nesting is deeper",
	strings.Repeat(`{"a":`, 1<<20):           "nesting is deeper",
}

// TestAppendJSONRefuses: nothing is guessed, repaired or rounded, and the
// error says where it lies.
func TestAppendJSONRefuses(t *testing.T) {
	for in, want := range jsonRefused {
		got, err := AppendJSON(nil, []byte(in))
		if err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("AppendJSON(%.50s) = %x, %v, want an error with %q", in, got, err, want)
		}
	}
}

// jsonTexts are all the texts of the tables.
func jsonTexts() []string {
	list := slices.AppendSeq(slices.Collect(maps.Keys(jsonAccepted)), maps.Keys(jsonRefused))
	return slices.DeleteFunc(list, func(s string) bool { return len(s) > 1<<10 })
}

// hostileJSON are texts of about 64 KiB that are dear to a careless reader.
func hostileJSON() map[string][]byte {
	var descending, ascending, equal bytes.Buffer
	for n := range 31 { // AppendJSON has room for one more
		fmt.Fprintf(&ascending, `"%02d":0,`, n)
	}
	for n := 1 << 13; n > 0; n-- {
		fmt.Fprintf(&descending, `,"%04x":0`, n)
		equal.WriteString(`,"":0`)
	}
	deep := func(open, inner, end string) string {
		return strings.Repeat(open, MaxDepth-1) + inner + strings.Repeat(end, MaxDepth-1)
	}
	texts := map[string]string{
		"long key before many items": `{"` + strings.Repeat("k", 30<<10) + `":[` + strings.Repeat("0,", 15<<10) + `0]}`,
		"descending keys":            "{" + descending.String()[1:] + "}",
		"equal keys":                 "{" + equal.String()[1:] + "}",
		"descending at each level":   deep(`{"b":0,"a":`, "["+strings.Repeat("0,", 30<<10)+"0]", "}"),
		"long heads at each level":   deep("["+strings.Repeat("0,", 1000), "0", "]"),
		"many long keys":             "{" + strings.Repeat(`"`+strings.Repeat("k", 1000)+`":0,`, 60) + `"k":0}`,
		"many small objects":         "[" + strings.Repeat(`{"b":0,"a":0},`, 4600) + "0]",
		"small objects in a large":   "{" + ascending.String() + `"last":[` + strings.Repeat(`{"b":0,"a":0},`, 4600) + "0]}",
		"escapes":                    `"` + strings.Repeat(`\u0000`, 10<<10) + `"`,
		"one long number":            strings.Repeat("1", 64<<10),
		"backslashes":                `"` + strings.Repeat(`\\`, 32<<10) + `"`,
		"no end in sight":            strings.Repeat(`{"`+strings.Repeat("k", 2000)+`":`, 32),
	}
	list := map[string][]byte{}
	for name, text := range texts {
		list[name] = []byte(text)
	}
	return list
}

// TestAppendJSONIsFrugal: hostile texts cost memory in proportion to their
// length. A path, for one, is made only where an error lies; otherwise a long
// key before many items would cost their product.
func TestAppendJSONIsFrugal(t *testing.T) {
	for name, in := range hostileJSON() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := AppendJSON(nil, in)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 40*uint64(len(in)) {
			t.Errorf("%s: %d bytes allocated for %d bytes of JSON (%.80v)", name, got, len(in), err)
		}
	}
}

// TestAppendJSONAllocatesNothing: into a buffer with room, text with sorted
// keys and whole numbers is converted on the stack.
func TestAppendJSONAllocatesNothing(t *testing.T) {
	in := []byte(`{"id":"a\u00e9","tags":["x",-12,true],"type":"door","properties":{"n":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}}`)
	buf := make([]byte, 0, 1<<10)
	got := testing.AllocsPerRun(100, func() {
		if _, err := AppendJSON(buf, in); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestAppendAsJSON(t *testing.T) {
	tests := map[string]string{
		"a2 01 43010203 20 f6":                         `{"1":"AQID","-1":null}`,
		"83 c4 82 21 1901f5 1bffffffffffffffff 623c3e": `[5.01,18446744073709551615,"\u003c\u003e"]`,
		"a1 6161 a0": `{"a":{}}`,
		"61 00":      `"\u0000"`,
	}
	for in, want := range tests {
		if got, err := AppendAsJSON(nil, unhex(t, in)); err != nil || string(got) != want {
			t.Errorf("AppendAsJSON(%s) = %s, %v, want %s", in, got, err, want)
		}
	}
	bad := []string{"", "00 00", "f7", "f93c00", "c1 00", "d2 00", "a2 6162 00 6161 00", "a2 6161 00 6161 00", "a2 01 00 6131 00", "a1 4100 00",
		"a1 f5 00", "3bffffffffffffffff", "a1 1bffffffffffffffff 00", "81", "1800"}
	for _, in := range bad {
		if got, err := AppendAsJSON(nil, unhex(t, in)); err == nil || got != nil {
			t.Errorf("AppendAsJSON(%s) = %s, %v", in, got, err)
		}
	}
	if _, err := AppendAsJSON(nil, nested(MaxDepth+1)); err == nil {
		t.Error("no cap on depth")
	}
}
