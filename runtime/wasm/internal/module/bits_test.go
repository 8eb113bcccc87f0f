package module_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// typeOf reads "params:results" in the letters i, l, f, d.
func typeOf(text string) (t module.FuncType) {
	to := &t.Params
	for _, c := range text {
		switch c {
		case ':':
			to = &t.Results
		default:
			*to = append(*to, map[rune]module.ValType{'i': module.I32, 'l': module.I64, 'f': module.F32, 'd': module.F64}[c])
		}
	}
	return t
}

func equalTypes(a, b *module.FuncType) bool {
	return bytes.Equal(a.Params, b.Params) && bytes.Equal(a.Results, b.Results)
}

func TestBitTypes(t *testing.T) {
	for _, c := range []struct{ types, want []string }{
		{[]string{"i:l", ":"}, []string{"i:l", ":"}},
		{[]string{"f:d"}, []string{"i:l"}},
		{[]string{"f:", "i:", "f:", "i:"}, []string{"ii:", "i:", "ii:", "i:"}},
		{[]string{"d:", "l:", "li:", "ll:"}, []string{"lii:", "l:", "li:", "ll:"}},
		{[]string{"fi:", "if:", "ff:", "ii:"}, []string{"iii:", "iil:", "iiii:", "ii:"}},
		{[]string{":f", ":i", "i:i"}, []string{"l:i", ":i", "i:i"}},
		{[]string{"f:", "fi:", "ff:"}, []string{"i:", "ii:", "iii:"}},
	} {
		types := make([]module.FuncType, len(c.types))
		for i, text := range c.types {
			types[i] = typeOf(text)
		}
		for i, got := range module.BitTypes(types) {
			if want := typeOf(c.want[i]); !equalTypes(&got, &want) {
				t.Errorf("%v: type %d is %x, want %x", c.types, i, got, want)
			}
		}
	}
}

// Whatever the types, two become one only if they were one, those without
// floats remain, and what follows the parameters is short.
func TestBitTypesAreToldApart(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		alphabet := []string{"ilfd", "if", "ld", "iif"}[g.IntN(4)]
		var types []module.FuncType
		for range 1 + g.IntN(256) {
			text := ""
			for range g.IntN(9) {
				text += string(alphabet[g.IntN(len(alphabet))])
			}
			types = append(types, typeOf(text+":"+alphabet[:g.IntN(2)]))
		}
		hold(t, types)
	}
}

// The worst list: all types of eight parameters that become one.
func TestBitTypesOfManyAlike(t *testing.T) {
	var types []module.FuncType
	for n := range 256 {
		text := ""
		for bit := range 8 {
			text += string("fi"[n>>bit&1])
		}
		types = append(types, typeOf(text))
	}
	hold(t, types)
}

func hold(t *testing.T, types []module.FuncType) {
	t.Helper()
	out := module.BitTypes(types)
	for i := range types {
		n := len(types[i].Params)
		if extra := len(out[i].Params) - n; extra < 0 || extra > 8 || len(out[i].Results) != len(types[i].Results) {
			t.Fatalf("%x became %x", types[i], out[i])
		}
		floats := false
		for k, p := range append(bytes.Clone(types[i].Params), types[i].Results...) {
			got := append(bytes.Clone(out[i].Params[:n]), out[i].Results...)[k]
			floats = floats || p == module.F32 || p == module.F64
			if got != module.Bits(p) || got != module.I32 && got != module.I64 {
				t.Fatalf("%x became %x", types[i], out[i])
			}
		}
		if !floats && !equalTypes(&types[i], &out[i]) {
			t.Fatalf("%x became %x", types[i], out[i])
		}
		for j := range i {
			if equalTypes(&types[i], &types[j]) != equalTypes(&out[i], &out[j]) {
				t.Fatalf("%x and %x became %x and %x", types[i], types[j], out[i], out[j])
			}
		}
	}
}
