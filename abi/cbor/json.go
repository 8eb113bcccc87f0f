package cbor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendJSON converts one JSON value to its canonical CBOR: objects become
// maps with sorted text keys, numbers become integers or decimal fractions.
// A number that has no exact form, a repeated key, invalid UTF-8, half a
// surrogate pair or nesting beyond MaxDepth is refused; the error names the
// path. The caller bounds the length of src: the number of items is not
// limited to MaxItems.
func AppendJSON(b, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return nil, errors.New("JSON is not valid UTF-8")
	}
	// encoding/json would replace them by U+FFFD: never normalise.
	if hasLoneSurrogate(src) {
		return nil, errors.New("JSON escapes half a surrogate pair")
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	b, err := appendJSONValue(b, dec, 0)
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
		unit := escapedUnit(src)
		switch {
		case !utf16.IsSurrogate(unit):
			src = src[min(2, len(src)):]
		case utf16.DecodeRune(unit, escapedUnit(src[6:])) == utf8.RuneError:
			return true
		default:
			src = src[12:]
		}
	}
}

// escapedUnit reads \uXXXX at the start of s, or is -1.
func escapedUnit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	v, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(v)
}

// pathError says where in a JSON value an error lies. The path grows while the
// recursion unwinds, so that a value without errors pays nothing for it.
type pathError struct {
	path string // such as ".rules[3].id"; empty at the top
	err  error
}

func (e *pathError) Error() string {
	if e.path == "" {
		return "JSON value: " + e.err.Error()
	}
	return e.path + ": " + e.err.Error()
}

func (e *pathError) Unwrap() error { return e.err }

func under(step string, err error) error {
	if p, ok := err.(*pathError); ok {
		return &pathError{step + p.path, p.err}
	}
	return &pathError{step, err}
}

func appendJSONValue(b []byte, dec *json.Decoder, depth int) ([]byte, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, under("", noEOF(err))
	}
	if depth > MaxDepth {
		return nil, under("", fmt.Errorf("nesting is deeper than %d", MaxDepth))
	}
	switch v := tok.(type) {
	case bool:
		return AppendBool(b, v), nil
	case string:
		return AppendText(b, v), nil
	case json.Number:
		d, err := ParseDecimal(v.String())
		if err != nil {
			return nil, under("", fmt.Errorf("%s: %w", v, err))
		}
		return AppendDecimal(b, d), nil
	case json.Delim:
		if v == '[' {
			return appendJSONArray(b, dec, depth)
		}
		return appendJSONObject(b, dec, depth)
	}
	return AppendNull(b), nil
}

func appendJSONArray(b []byte, dec *json.Decoder, depth int) ([]byte, error) {
	var items []byte
	n := 0
	for ; dec.More(); n++ {
		var err error
		if items, err = appendJSONValue(items, dec, depth+1); err != nil {
			return nil, under("["+strconv.Itoa(n)+"]", err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, under("", noEOF(err))
	}
	return append(AppendArray(b, n), items...), nil
}

func appendJSONObject(b []byte, dec *json.Decoder, depth int) ([]byte, error) {
	type pair struct {
		name       string
		key, value []byte
	}
	var pairs []pair
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, under("", noEOF(err))
		}
		name, ok := tok.(string)
		if !ok {
			return nil, under("", fmt.Errorf("%v is no key of an object", tok))
		}
		value, err := appendJSONValue(nil, dec, depth+1)
		if err != nil {
			return nil, under("."+name, err)
		}
		pairs = append(pairs, pair{name, AppendText(nil, name), value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, under("", noEOF(err))
	}
	sort.Slice(pairs, func(i, j int) bool { return bytes.Compare(pairs[i].key, pairs[j].key) < 0 })
	b = AppendMap(b, len(pairs))
	for i, p := range pairs {
		if i > 0 && p.name == pairs[i-1].name {
			return nil, under("", fmt.Errorf("key %q is repeated", p.name))
		}
		b = append(append(b, p.key...), p.value...)
	}
	return b, nil
}

// noEOF makes the end of the text within a value an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AppendAsJSON writes the canonical CBOR item src as JSON: byte strings as
// base64url without padding, decimal fractions as numbers, integer keys as
// their decimal text. Maps with other keys, or with keys of two kinds (1 and
// "1" would be one name), have no JSON form, nor have integers below -2^63.
func AppendAsJSON(b, src []byte) ([]byte, error) {
	r := NewReader(src)
	b = r.appendJSON(b, 0)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return b, nil
}

func (r *Reader) appendJSON(b []byte, depth int) []byte {
	if depth > MaxDepth {
		r.failf("nesting is deeper than %d", MaxDepth)
		return b
	}
	switch r.Kind() {
	case KindUint:
		return strconv.AppendUint(b, r.Uint(), 10)
	case KindNint:
		return strconv.AppendInt(b, r.Int(), 10)
	case KindBytes:
		return strconv.AppendQuote(b, base64.RawURLEncoding.EncodeToString(r.Bytes()))
	case KindText:
		return appendJSONString(b, r.Text())
	case KindBool:
		return strconv.AppendBool(b, r.Bool())
	case KindNull:
		r.Null()
		return append(b, "null"...)
	case KindTag:
		return append(b, r.Decimal().String()...)
	case KindArray:
		b = append(b, '[')
		for i, n := 0, r.Array(); i < n && r.err == nil; i++ {
			if i > 0 {
				b = append(b, ',')
			}
			b = r.appendJSON(b, depth+1)
		}
		return append(b, ']')
	case KindMap:
		return r.appendJSONMap(b, depth)
	}
	r.head()
	r.failf("item has no JSON form")
	return b
}

func (r *Reader) appendJSONMap(b []byte, depth int) []byte {
	b = append(b, '{')
	var last []byte
	for i, n := 0, r.Map(); i < n && r.err == nil; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		start := r.off
		text := r.Kind() == KindText
		b = r.appendJSONKey(b)
		key := r.buf[start:r.off]
		if last != nil && string(key) <= string(last) {
			r.failf("map key is out of order or repeated")
		}
		if last != nil && text != (last[0]>>5 == majorText) {
			r.failf("map keys of two kinds have no JSON form")
		}
		last = key
		b = append(b, ':')
		b = r.appendJSON(b, depth+1)
	}
	return append(b, '}')
}

func (r *Reader) appendJSONKey(b []byte) []byte {
	if r.Kind() == KindText {
		return appendJSONString(b, r.Text())
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, r.Int(), 10)
	return append(b, '"')
}

func appendJSONString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		panic("BUG: text does not marshal: " + err.Error())
	}
	return append(b, q...)
}
