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
	"unicode/utf8"
)

// AppendJSON converts one JSON value to its canonical CBOR: objects become
// maps with sorted text keys, numbers become integers or decimal fractions.
// A number that has no exact form, a repeated key, invalid UTF-8 or nesting
// beyond MaxDepth is refused; the error names the path.
func AppendJSON(b, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return nil, errors.New("JSON is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	b, err := appendJSONValue(b, dec, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("JSON has more than one value")
	}
	return b, nil
}

func appendJSONValue(b []byte, dec *json.Decoder, path string, depth int) ([]byte, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pathOr(path), err)
	}
	if depth > MaxDepth {
		return nil, fmt.Errorf("%s: nesting is deeper than %d", pathOr(path), MaxDepth)
	}
	switch v := tok.(type) {
	case nil:
		return AppendNull(b), nil
	case bool:
		return AppendBool(b, v), nil
	case string:
		return AppendText(b, v), nil
	case json.Number:
		d, err := ParseDecimal(v.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", pathOr(path), v, err)
		}
		return AppendDecimal(b, d), nil
	case json.Delim:
		if v == '[' {
			return appendJSONArray(b, dec, path, depth)
		}
		return appendJSONObject(b, dec, path, depth)
	}
	return nil, fmt.Errorf("%s: unexpected %v", pathOr(path), tok)
}

func appendJSONArray(b []byte, dec *json.Decoder, path string, depth int) ([]byte, error) {
	var items []byte
	n := 0
	for ; dec.More(); n++ {
		var err error
		if items, err = appendJSONValue(items, dec, path+"["+strconv.Itoa(n)+"]", depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%s: %w", pathOr(path), err)
	}
	return append(AppendArray(b, n), items...), nil
}

func appendJSONObject(b []byte, dec *json.Decoder, path string, depth int) ([]byte, error) {
	type pair struct {
		name       string
		key, value []byte
	}
	var pairs []pair
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pathOr(path), err)
		}
		name, _ := tok.(string)
		value, err := appendJSONValue(nil, dec, path+"."+name, depth+1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{name, AppendText(nil, name), value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%s: %w", pathOr(path), err)
	}
	sort.Slice(pairs, func(i, j int) bool { return bytes.Compare(pairs[i].key, pairs[j].key) < 0 })
	b = AppendMap(b, len(pairs))
	for i, p := range pairs {
		if i > 0 && p.name == pairs[i-1].name {
			return nil, fmt.Errorf("%s: key %q is repeated", pathOr(path), p.name)
		}
		b = append(append(b, p.key...), p.value...)
	}
	return b, nil
}

func pathOr(path string) string {
	if path == "" {
		return "JSON value"
	}
	return path
}

// AppendAsJSON writes the canonical CBOR item src as JSON: byte strings as
// base64url without padding, decimal fractions as numbers, integer keys as
// their decimal text.
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
		b = append(b, '{')
		for i, n := 0, r.Map(); i < n && r.err == nil; i++ {
			if i > 0 {
				b = append(b, ',')
			}
			b = r.appendJSONKey(b)
			b = append(b, ':')
			b = r.appendJSON(b, depth+1)
		}
		return append(b, '}')
	}
	r.head()
	r.failf("item has no JSON form")
	return b
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
