package cbor

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	fx "github.com/fxamacker/cbor/v2"
)

// strict is fxamacker/cbor set to what this package promises. Depths count
// differently there, so its cap is wider and inSubset applies ours.
var strict, deterministic = func() (fx.DecMode, fx.EncMode) {
	dec, err := fx.DecOptions{
		DupMapKey: fx.DupMapKeyEnforcedAPF, IndefLength: fx.IndefLengthForbidden, UTF8: fx.UTF8RejectInvalid,
		MaxNestedLevels: 256, MaxArrayElements: 1 << 20, MaxMapPairs: 1 << 20,
		DefaultByteStringType: reflect.TypeFor[fx.ByteString](),
	}.DecMode()
	if err != nil {
		panic(err)
	}
	enc, err := fx.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return dec, enc
}()

// inSubset says whether a decoded item is within what this package admits.
func inSubset(v any, depth int, items *int) bool {
	if *items--; depth > MaxDepth || *items < 0 {
		return false
	}
	switch v := v.(type) {
	case nil, bool, uint64, int64, string, fx.ByteString:
		return true
	case big.Int: // below -2^63, or a bignum
		return v.Sign() < 0 && new(big.Int).Not(&v).IsUint64()
	case []any:
		for _, x := range v {
			if !inSubset(x, depth+1, items) {
				return false
			}
		}
		return true
	case map[any]any:
		for k, x := range v {
			switch k.(type) {
			case uint64, int64, string, fx.ByteString:
			default:
				return false
			}
			if !inSubset(k, depth+1, items) || !inSubset(x, depth+1, items) {
				return false
			}
		}
		return true
	case fx.Tag:
		return v.Number == TagDecimal && canonicalDecimal(v.Content)
	}
	return false
}

func canonicalDecimal(v any) bool {
	pair, _ := v.([]any)
	if len(pair) != 2 {
		return false
	}
	exp, ok := pair[0].(int64)
	var mantissa int64
	switch m := pair[1].(type) {
	case int64:
		mantissa = m
	case uint64:
		mantissa = int64(m)
		ok = ok && mantissa >= 0
	default:
		return false
	}
	return ok && exp < 0 && exp >= -MaxDecimalPlaces && mantissa%10 != 0
}

// FuzzReader: what Validate accepts a strict decoder of another make accepts
// and encodes again to the same bytes; what that decoder finds canonical and
// within our subset, Validate accepts.
func FuzzReader(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ours := Validate(in)
		var v any
		theirs := strict.Unmarshal(in, &v)
		if _, key := errors.AsType[*fx.InvalidMapKeyTypeError](theirs); key && ours == nil {
			return // an integer below -2^63 as a key, which it cannot hold
		}
		items := MaxItems
		canonical := theirs == nil && inSubset(v, 0, &items)
		if canonical {
			again, err := deterministic.Marshal(v)
			canonical = err == nil && bytes.Equal(again, in)
		}
		if canonical != (ours == nil) {
			t.Fatalf("%x: canonical elsewhere: %v (%v), here: %v", in, canonical, theirs, ours)
		}
		if ours == nil {
			checkReads(t, in)
		}
	})
}

// checkReads reads a valid item in the ways there are and compares.
func checkReads(t *testing.T, in []byte) {
	r := NewReader(in)
	kind := r.Kind()
	if raw := r.Raw(); !bytes.Equal(raw, in) || r.Done() != nil {
		t.Fatalf("Raw(%x) = %x, %v", in, raw, r.Err())
	}
	var again []byte
	r = NewReader(in)
	switch kind {
	case KindUint:
		again = AppendUint(nil, r.Uint())
	case KindBytes:
		again = AppendBytes(nil, r.Bytes())
	case KindText:
		again = AppendText(nil, r.Text())
	case KindBool:
		again = AppendBool(nil, r.Bool())
	case KindTag:
		again = AppendDecimal(nil, r.Decimal())
	case KindNull:
		r.Null()
		again = AppendNull(nil)
	case KindArray:
		again = AppendArray(nil, r.Array())
		for r.Err() == nil && r.Offset() < len(in) {
			again = append(again, r.Raw()...)
		}
	case KindMap:
		again = AppendMap(nil, r.Map())
		for r.Err() == nil && r.Offset() < len(in) {
			again = append(again, r.Raw()...)
		}
	default: // below -2^63 it has no Int
		again = append(again, r.Raw()...)
	}
	if r.Done() != nil || !bytes.Equal(again, in) {
		t.Fatalf("%x reads and writes as %x, %v", in, again, r.Err())
	}
}

// FuzzJSON: JSON becomes valid CBOR, that becomes JSON of the same meaning,
// and that the same CBOR.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.50,-3e2,null,true],"b":{"":"\u00e9\ud83d\ude00"}}`, `[1,]`, `"\ud800"`, `{"a":1,"a":2}`,
		`-0`, `1e-18`, `123456789012345678901`, ` [] `, `{"a":{"b":[[]]}}`, `"<&>\u2028"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		enc, err := AppendJSON(nil, in)
		if err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q is no JSON but was accepted", in)
		}
		if err := Validate(enc); err != nil && !strings.Contains(err.Error(), "items") {
			t.Fatalf("%q became %x: %v", in, enc, err)
		}
		out, err := AppendAsJSON(nil, enc)
		if err != nil || !json.Valid(out) {
			t.Fatalf("%x has no JSON: %s, %v", enc, out, err)
		}
		if again, err := AppendJSON(nil, out); err != nil || !bytes.Equal(again, enc) {
			t.Fatalf("%q -> %x -> %q -> %x, %v", in, enc, out, again, err)
		}
		checkSameJSON(t, in, out)
	})
}

// checkSameJSON compares two JSON texts as encoding/json understands them,
// numbers as exact fractions.
func checkSameJSON(t *testing.T, a, b []byte) {
	decode := func(in []byte) any {
		dec := json.NewDecoder(bytes.NewReader(in))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		return exact(v)
	}
	if x, y := decode(a), decode(b); !reflect.DeepEqual(x, y) {
		t.Fatalf("%q means %v, %q means %v", a, x, b, y)
	}
}

func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		r, _ := new(big.Rat).SetString(v.String())
		return r.RatString()
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	}
	return v
}

// FuzzAsJSON: any bytes either have no JSON form or give valid JSON.
func FuzzAsJSON(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := AppendAsJSON(nil, in)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%x became %q", in, out)
		}
		if err := Validate(in); err != nil && !strings.Contains(err.Error(), "items") {
			t.Fatalf("%x is invalid (%v) but became %q", in, err, out)
		}
	})
}

// FuzzDecimal: ParseDecimal is exact, and accepts every number that has a
// canonical form.
func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.50", "2e3", "1e-18", "1e-19", "9223372036854775807", "-9223372036854775808", "92233720368547758070e-1",
		"0.000000000000000000000000000000", "00", "1.", "1e", "10000000000000000000000000e-30"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDecimal(s)
		number := len(s) > 0 && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s)) && strings.TrimSpace(s) == s
		_, exp, _ := strings.Cut(strings.ToLower(s), "e")
		if !number || len(exp) > 4 || len(s) > 1000 {
			if err == nil && !number {
				t.Fatalf("%q is no JSON number but is %v", s, d)
			}
			return // math/big is too slow for larger exponents
		}
		want, _ := new(big.Rat).SetString(s)
		if err != nil {
			if hasCanonicalForm(want) {
				t.Fatalf("%q was refused", s)
			}
			return
		}
		got, _ := new(big.Rat).SetString(d.String())
		if got.Cmp(want) != 0 || d != d.Canonical() || d.Exponent > 0 || d.Exponent < -MaxDecimalPlaces {
			t.Fatalf("%q became %v = %s", s, d, d)
		}
		r := NewReader(AppendDecimal(nil, d))
		if again := r.Decimal(); again != d || r.Done() != nil {
			t.Fatalf("%v reads back as %v, %v", d, again, r.Err())
		}
	})
}

// hasCanonicalForm says whether q is m*10^-e with an int64 m and e in 0..18.
func hasCanonicalForm(q *big.Rat) bool {
	scale, ten := big.NewInt(1), big.NewInt(10)
	for range MaxDecimalPlaces + 1 {
		m := new(big.Rat).Mul(q, new(big.Rat).SetInt(scale))
		if m.IsInt() {
			return m.Num().IsInt64()
		}
		scale.Mul(scale, ten)
	}
	return false
}
