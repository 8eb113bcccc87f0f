package cbor

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
)

func TestAppendJSON(t *testing.T) {
	tests := map[string]string{
		`null`:                              "f6",
		`[true,false]`:                      "82 f5 f4",
		`{"b":1,"a":2}`:                     "a2 6161 02 6162 01",
		`{"aa":1,"b":2}`:                    "a2 6162 02 626161 01", // shorter keys first (RFC 8949 section 4.2.1)
		`{"":{}}`:                           "a1 60 a0",
		` [ -1 , 2.5 , 1e2 ] `:              "83 20 c4 82 20 1819 1864",
		`"\ud83d\ude00 \u00e9 \\ud800"`:     "6e f09f9880 20 c3a9 20 5c 7564383030",
		`"a\nb\u0000\"\/"`:                  "66 61 0a 62 00 22 2f",
		`"` + strings.Repeat("x", 24) + `"`: "7818" + strings.Repeat("78", 24),
	}
	for in, want := range tests {
		got, err := AppendJSON(nil, []byte(in))
		if err != nil || !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("AppendJSON(%s) = %x, %v, want %s", in, got, err, want)
		}
	}
}

// TestAppendJSONRefuses: nothing is guessed, repaired or rounded, and the
// error says where it lies.
func TestAppendJSONRefuses(t *testing.T) {
	tests := map[string]string{
		``:                                       "JSON value: unexpected EOF",
		`[1,`:                                    "[1]: unexpected EOF",
		`[1,]`:                                   "[1]: ",
		`[1 2]`:                                  "[1]: ",
		`{"a":1,}`:                               "JSON value: ",
		`{"a" 1}`:                                ".a: ",
		`{1:2}`:                                  "JSON value: ",
		`[1}`:                                    "JSON value: ",
		`]`:                                      "JSON value: ",
		`1 2`:                                    "more than one value",
		`{} x`:                                   "more than one value",
		`{"a":1,"a":1}`:                          `JSON value: key "a" is repeated`,
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
	for in, want := range tests {
		got, err := AppendJSON(nil, []byte(in))
		if err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("AppendJSON(%.50s) = %x, %v, want an error with %q", in, got, err, want)
		}
	}
}

// TestAppendJSONCostsNoPaths: a path is made only where an error lies;
// otherwise a long key before many items would cost their product.
func TestAppendJSONCostsNoPaths(t *testing.T) {
	in := []byte(`{"` + strings.Repeat("k", 30<<10) + `":[` + strings.Repeat("0,", 10<<10) + `0]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := AppendJSON(nil, in); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 100*uint64(len(in)) {
		t.Errorf("%d bytes allocated for %d bytes of JSON", got, len(in))
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
