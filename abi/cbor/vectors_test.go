package cbor

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// vector is one item of testdata/vectors.json, which other implementations
// check themselves against. A valid one with a JSON text is what AppendJSON
// makes of that text; an invalid one says why it is refused.
type vector struct {
	Name  string `json:"name"`
	Hex   string `json:"hex"`
	Valid bool   `json:"valid"`
	Why   string `json:"why,omitempty"`
	JSON  string `json:"json,omitempty"`
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestVectors(t *testing.T) {
	names := map[string]bool{}
	valid := 0
	for _, v := range loadVectors(t) {
		in := unhex(t, v.Hex)
		if names[v.Name] || v.Name == "" || v.Valid == (v.Why != "") {
			t.Errorf("%s: name is repeated, or the reason does not go with valid=%v", v.Name, v.Valid)
		}
		names[v.Name] = true
		err := Validate(in)
		if (err == nil) != v.Valid {
			t.Errorf("%s: Validate(%s) = %v, want valid=%v %s", v.Name, v.Hex, err, v.Valid, v.Why)
		}
		if err != nil && !strings.Contains(err.Error(), v.Why) {
			t.Errorf("%s: %v, the reason should be %q", v.Name, err, v.Why)
		}
		if v.Valid {
			valid++
		}
		if v.JSON == "" {
			continue
		}
		if got, err := AppendJSON(nil, []byte(v.JSON)); err != nil || string(got) != string(in) {
			t.Errorf("%s: AppendJSON(%s) = %x, %v, want %s", v.Name, v.JSON, got, err, v.Hex)
		}
	}
	if valid < 20 || len(names)-valid < 40 {
		t.Errorf("only %d valid and %d invalid vectors", valid, len(names)-valid)
	}
}
