package cbor

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// What AppendJSON accepts, and makes of it, is what encoding/json reads once
// its repairs (U+FFFD for bad text, the last of two equal keys) are refused.

// oracleJSON is AppendJSON by the token reader of encoding/json.
func oracleJSON(b, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return nil, errors.New("JSON is not valid UTF-8")
	}
	// encoding/json would replace them by U+FFFD: never normalise.
	if hasLoneSurrogate(src) {
		return nil, errors.New("JSON escapes half a surrogate pair")
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	b, err := oracleValue(b, dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("JSON has more than one value")
	}
	return b, nil
}

// hasLoneSurrogate says whether an escape in src is half of a surrogate pair
// (RFC 8259 section 8.2).
func hasLoneSurrogate(src []byte) bool {
	for {
		i := bytes.IndexByte(src, '\\')
		if i < 0 {
			return false
		}
		src = src[i:]
		unit := oracleUnit(src)
		switch {
		case !utf16.IsSurrogate(unit):
			src = src[min(2, len(src)):]
		case utf16.DecodeRune(unit, oracleUnit(src[6:])) == utf8.RuneError:
			return true
		default:
			src = src[12:]
		}
	}
}

// oracleUnit reads \uXXXX at the start of s, or is -1.
func oracleUnit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	unit, err := hex.DecodeString(string(s[2:6]))
	if err != nil {
		return -1
	}
	return rune(binary.BigEndian.Uint16(unit))
}

func oracleValue(b []byte, dec *json.Decoder, depth int) ([]byte, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > MaxDepth {
		return nil, fmt.Errorf("nesting is deeper than %d", MaxDepth)
	}
	switch v := tok.(type) {
	case bool:
		return AppendBool(b, v), nil
	case string:
		return AppendText(b, v), nil
	case json.Number:
		d, err := ParseDecimal(v.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		return AppendDecimal(b, d), nil
	case json.Delim:
		if v == '[' {
			return oracleArray(b, dec, depth)
		}
		return oracleObject(b, dec, depth)
	}
	return AppendNull(b), nil
}

func oracleArray(b []byte, dec *json.Decoder, depth int) ([]byte, error) {
	var items []byte
	n := 0
	for ; dec.More(); n++ {
		var err error
		if items, err = oracleValue(items, dec, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	return append(AppendArray(b, n), items...), nil
}

func oracleObject(b []byte, dec *json.Decoder, depth int) ([]byte, error) {
	type pair struct {
		name       string
		key, value []byte
	}
	var pairs []pair
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("%v is no key of an object", tok)
		}
		value, err := oracleValue(nil, dec, depth+1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{name, AppendText(nil, name), value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	sort.Slice(pairs, func(i, j int) bool { return bytes.Compare(pairs[i].key, pairs[j].key) < 0 })
	b = AppendMap(b, len(pairs))
	for i, p := range pairs {
		if i > 0 && p.name == pairs[i-1].name {
			return nil, fmt.Errorf("key %q is repeated", p.name)
		}
		b = append(append(b, p.key...), p.value...)
	}
	return b, nil
}

// FuzzJSONOracle: both readers accept the same texts and make the same bytes
// of them. Of several errors they may find another first, so only that a
// number is inexact is compared, where nothing else is wrong.
func FuzzJSONOracle(f *testing.F) {
	for _, s := range jsonTexts() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		want, oracle := oracleJSON([]byte{1}, in)
		got, err := AppendJSON([]byte{1}, in)
		if (err == nil) != (oracle == nil) || !bytes.Equal(got, want) {
			t.Fatalf("%q became %x, %v; encoding/json makes it %x, %v", in, got, err, want, oracle)
		}
		if json.Valid(in) && !hasLoneSurrogate(in) && errors.Is(err, ErrInexact) != errors.Is(oracle, ErrInexact) {
			t.Fatalf("%q: %v; by encoding/json %v", in, err, oracle)
		}
	})
}

// TestJSONOracle: the same for texts longer than a fuzzer makes.
func TestJSONOracle(t *testing.T) {
	for name, in := range hostileJSON() {
		want, oracle := oracleJSON(nil, in)
		got, err := AppendJSON(nil, in)
		if (err == nil) != (oracle == nil) || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %.80v; by encoding/json %d bytes, %.80v", name, len(got), err, len(want), oracle)
		}
	}
}

// FuzzJSONString: text is written as encoding/json writes it.
func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00\b\t\n\f\r\x1f\x7f", `"\/`, "<a&b>", "\u2027\u2028\u2029\u202a", "\u1028\u20a8\ufffd\U0001f600", "\xe2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendJSONString(nil, []byte(s)); !bytes.Equal(got, want) {
			t.Fatalf("%q is written as %s, want %s", s, got, want)
		}
	})
}
