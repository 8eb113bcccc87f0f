package symbol

import (
	"strings"
	"testing"
)

func TestDemangle(t *testing.T) {
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
		{"_RNvCs1234_4evil3run", "evil::run"},
		{`unreachable in "_RNvNtCslpZ3jP8mjxs_1a4evil3run"`, `unreachable in "a::evil::run"`},
		{"_RNCNvCslpZ3jP8mjxs_1a7execute0B3_", "a::execute::{closure#0}"},
		{"_RNvXNtCslpZ3jP8mjxs_1a4evilINtB2_3CmdKj3_ENtB2_2Go2goB4_", "<a::evil::Cmd<3> as a::evil::Go>::go"},
		{"_RNvMs5_NtCsihNoVIYWwLU_5alloc5boxedINtB5_3BoxShE4leakCslpZ3jP8mjxs_1a", "<alloc::boxed::Box<[u8]>>::leak"},
		{"_RINvNtCslpZ3jP8mjxs_1a4evil3genThRePxFhEbRDINtNtNtCs6IL9ONYDOZW_4core3ops8function2FnThEEp6OutputhEL_EAuj2_EB4_",
			"a::evil::gen<(u8, &str, *const i64, fn(u8) -> bool, &dyn core::ops::function::Fn<(u8)> Output=u8), [(); 2]>"},
		{"_RUNTIME", "_RUNTIME"},
		{"_RNvC4evil99run", "_RNvC4evil99run"},
		{"_RNvB_3run", "_RNvB_3run"}, // a reference to itself
		{"my_RNvC4evil3run", "my_RNvC4evil3run"},
	} {
		if got := Demangle(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// Names are the author's: references that double at each step end, and what
// is too long or too deep stays as it is.
func TestHostileNames(t *testing.T) {
	for what, name := range map[string]string{
		"deep":     "_R" + strings.Repeat("NvN", 1000) + "C1a",
		"doubling": "_RIC1a" + "T" + strings.Repeat("TB3_B3_E", 100) + "EE",
		"tuples":   "_RIC1aTTTTTTTTTThhEB9_EB8_EB7_EB6_EB5_EB4_EB3_EB2_EE",
		"digits":   "_RNvC1a" + strings.Repeat("9", 1000),
		"base":     "_RNvCs" + strings.Repeat("z", 1000) + "_1a1b",
	} {
		if got := Demangle(name); got != name && len(got) > maxName {
			t.Errorf("%s: %d bytes", what, len(got))
		}
	}
}

func TestInLibrary(t *testing.T) {
	for name, want := range map[string]bool{
		"":                  false,
		"execute":           false,
		"rust_begin_unwind": true,
		"__rust_alloc":      true,
		"_ZN4core9panicking5panic17h0123456789abcdefE":                                             true,
		"_RNvNtCs1_4core9panicking5panic":                                                          true,
		"_ZN7postern4host5abort17h0123456789abcdefE":                                               true,
		"_RNvNtCs1_7postern4host5abort":                                                            true,
		"_ZN4evil3run17h0123456789abcdefE":                                                         false,
		"_RNvMs5_NtCs1_5alloc5boxedINtB5_3BoxShE4leak":                                             true,
		"_ZN66_$LT$evil..Verdict$u20$as$u20$postern..codec..Encode$GT$6encode17he1e5ee9e2c310a71E": false,
		"_ZN40_$LT$u32$u20$as$u20$core..fmt..Debug$GT$3fmt17he1e5ee9e2c310a71E":                    true,
		"postern_like::run":                                                                        false,
		"runtime.gopanic":                                                                          true,
		"main.onExecute":                                                                           false,
		"github.com_seed79541315_postern_sdk_contract.Enter":                                       true,
		"github.com_seed79541315_postern_sdk_contractor.Go":                                        false,
	} {
		if got := InLibrary(Demangle(name)); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func FuzzDemangle(f *testing.F) {
	for _, s := range []string{
		"_ZN4evil3run17hd655438020cfb849E", "_RNvCs1234_4evil3run", "_RNvXNtCslpZ3jP8mjxs_1a4evilINtB2_3CmdKj3_ENtB2_2Go2goB4_",
		"_RIC1aTTTThhEB5_EB4_EB3_EE", "_RINvC1a1bFUKCyEuDC1cp1dhEL_Kpu3xyzE",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := Demangle("_R" + s)
		if symbols := strings.Count("_R"+s, "_R"); len(once) > 4*len(s)+symbols*maxName+maxName {
			t.Fatalf("%d bytes of %d", len(once), len(s))
		}
	})
}
