package main

import "testing"

func TestDemangled(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"main.execute", "main.execute"},
		{`out-of-gas in "_ZN4evil3run17hd655438020cfb849E": no`, `out-of-gas in "evil::run": no`},
		{"_ZN69_$LT$postern..decision..Verdict$u20$as$u20$postern..codec..Encode$GT$6encode17he1e5ee9e2c310a71E", "<postern::decision::Verdict as postern::codec::Encode>::encode"},
		{"_ZN7postern7storage16Map$LT$K$C$V$GT$3get17hbb1b43fe1cb8faebE", "postern::storage::Map<K,V>::get"},
		{"_ZN9too_short17hd655438020cfb849E", "too_short"},
		{"_ZN99evil17hd655438020cfb849E", "_ZN99evil17hd655438020cfb849E"},
		{"_ZN4evil3run", "_ZN4evil3run"},
		{"_ZN4$u5317hd655438020cfb849E", "$u53"},
	} {
		if got := demangled(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}
