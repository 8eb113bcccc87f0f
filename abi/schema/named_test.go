package schema_test

import (
	"testing"
	"time"

	"github.com/seed79541315/postern/abi/schema"
)

func TestType(t *testing.T) {
	s, err := schema.Parse([]byte(`{"name": "n", "about": "a", "types": {"Pair": {"tuple": [{"name": "x", "type": "uint"}, {"name": "y", "type": "text?"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"Pair": "\x82\x01\xf6", "[Pair]": "", "Pair?": "\x82\x01\xf6"} {
		typ, err := s.Type(text)
		if err != nil || typ.String() != text {
			t.Fatalf("%s: %v, %v", text, typ, err)
		}
		if b, err := typ.Encode([]byte(`{"x": 1}`), time.Time{}); string(b) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %x, %v", text, b, err)
		}
	}
	if _, err := s.Type("Triple"); err == nil {
		t.Error("a type that nobody named is one")
	}
}
