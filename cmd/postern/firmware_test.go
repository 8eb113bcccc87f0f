package main

import (
	"encoding/json"
	"testing"
)

func TestParseStages(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "null"},
		{"100", `[{"percent":100}]`},
		{"0+ring=canary@1h,50,100", `[{"hold":"1h","label":"ring=canary","percent":0},{"percent":50},{"percent":100}]`},
		{"5@90s", `[{"hold":"90s","percent":5}]`},
	} {
		stages, err := parseStages(c.text)
		got, _ := json.Marshal(stages)
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"101", "-1", "x", "5,,6", "+ring=canary", "1e1"} {
		if stages, err := parseStages(text); err == nil {
			t.Errorf("%q is %v", text, stages)
		}
	}
}

func TestParseNeeds(t *testing.T) {
	needs, err := parseNeeds([]string{"boot=5", "radio=18446744073709551615"})
	got, _ := json.Marshal(needs)
	if want := `[{"line":"boot","sequence":5},{"line":"radio","sequence":18446744073709551615}]`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	for _, text := range []string{"boot", "boot=", "boot=05", "boot=-1", "boot=1x", "boot=18446744073709551616"} {
		if _, err := parseNeeds([]string{text}); err == nil {
			t.Errorf("%q needs something", text)
		}
	}
}

func TestReadingsOf(t *testing.T) {
	for _, c := range []struct {
		text string
		pack bool
		want string
	}{
		{"a\nb\r\n\n c \n", false, `["a","b"," c "]`},
		{"", false, "null"},
		{`[{"bn":"m:","bt":1700000000.5,"n":"e","u":"kWh","v":12.75},{"n":"on","vb":true},{"n":"d","vd":"AQI"},{"n":"t","vs":"x"},{"n":"s","s":3}]`, true,
			`["{\"n\":\"m:e\",\"t\":1700000000.5,\"u\":\"kWh\",\"v\":12.75}","{\"n\":\"m:on\",\"t\":1700000000.5,\"vb\":true}",` +
				`"{\"n\":\"m:d\",\"t\":1700000000.5,\"vd\":\"AQI\"}","{\"n\":\"m:t\",\"t\":1700000000.5,\"vs\":\"x\"}","{\"n\":\"m:s\",\"t\":1700000000.5,\"s\":3}"]`},
	} {
		readings, err := readingsOf([]byte(c.text), c.pack)
		got, _ := json.Marshal(readings)
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "{}", "[{}]", `[{"n":"x"}]`} {
		if readings, err := readingsOf([]byte(text), true); err == nil {
			t.Errorf("%q is %v", text, readings)
		}
	}
}
