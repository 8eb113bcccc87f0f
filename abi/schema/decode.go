package schema

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
)

// JSON shows a value of the type in the schema's words. What is not of the type
// is an error: a contract may give what its schema does not say.
func (t *Type) JSON(src []byte) ([]byte, error) {
	r := cbor.NewReader(src)
	b, err := appendValue(nil, &r, t)
	if err != nil {
		return nil, err
	}
	return b, r.Done()
}

func appendValue(b []byte, r *cbor.Reader, t *Type) ([]byte, error) {
	switch t.form {
	case formOptional:
		if r.Kind() == cbor.KindNull {
			r.Null()
			return append(b, "null"...), nil
		}
		return appendValue(b, r, t.of)
	case formList:
		return appendList(b, r, t)
	case formMap:
		return appendDictionary(b, r, t)
	case formRecord:
		return appendRecord(b, r, t)
	case formTuple:
		if n := r.Array(); n != len(t.fields) {
			return nil, fmt.Errorf("%s: %d items, want %d", t, n, len(t.fields))
		}
		return appendMembers(b, r, t.fields)
	case formEnum:
		return appendName(b, r, t)
	case formBits:
		return appendBits(b, r, t)
	}
	return appendBasic(b, r, t)
}

func appendList(b []byte, r *cbor.Reader, t *Type) (_ []byte, err error) {
	b = append(b, '[')
	for i := range r.Array() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, r, t.of); err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
	}
	return append(b, ']'), r.Err()
}

func appendDictionary(b []byte, r *cbor.Reader, t *Type) (_ []byte, err error) {
	b = append(b, '{')
	for i := range r.Map() {
		if i > 0 {
			b = append(b, ',')
		}
		key := r.Text()
		b = append(appendText(b, key), ':')
		if b, err = appendValue(b, r, t.of); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return append(b, '}'), r.Err()
}

func appendText(b []byte, s string) []byte {
	b, err := cbor.AppendAsJSON(b, cbor.AppendText(nil, s))
	if err != nil {
		panic("BUG: text that was read is no text: " + err.Error())
	}
	return b
}

// appendMembers shows fields that follow one another.
func appendMembers(b []byte, r *cbor.Reader, fields []Field) (_ []byte, err error) {
	b = append(b, '{')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%q:", f.Name)
		if b, err = appendValue(b, r, f.Type); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return append(b, '}'), r.Err()
}

func appendRecord(b []byte, r *cbor.Reader, t *Type) (_ []byte, err error) {
	b = append(b, '{')
	first := true
	fields := r.Fields()
	for fields.Next() {
		i := slices.IndexFunc(t.fields, func(f Field) bool { return f.Key == fields.Key() })
		if i < 0 {
			return nil, fmt.Errorf("%s has no field with key %d", t, fields.Key())
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = fmt.Appendf(b, "%q:", t.fields[i].Name)
		if b, err = appendValue(b, r, t.fields[i].Type); err != nil {
			return nil, fmt.Errorf("%s: %w", t.fields[i].Name, err)
		}
	}
	return append(b, '}'), r.Err()
}

// appendName shows an enum's word, or the number where a newer contract has one
// that the schema does not know.
func appendName(b []byte, r *cbor.Reader, t *Type) ([]byte, error) {
	n := r.Uint()
	for _, name := range slices.Sorted(maps.Keys(t.names)) {
		if t.names[name] == n {
			return appendText(b, name), r.Err()
		}
	}
	return strconv.AppendUint(b, n, 10), r.Err()
}

func appendBits(b []byte, r *cbor.Reader, t *Type) ([]byte, error) {
	set := r.Uint()
	b = append(b, '[')
	for _, name := range slices.SortedFunc(maps.Keys(t.names), func(x, y string) int { return int(t.names[x]) - int(t.names[y]) }) {
		if set&(1<<t.names[name]) == 0 {
			continue
		}
		set &^= 1 << t.names[name]
		if b[len(b)-1] != '[' {
			b = append(b, ',')
		}
		b = appendText(b, name)
	}
	if set != 0 {
		return nil, fmt.Errorf("%s has no names for the bits %#x", t, set)
	}
	return append(b, ']'), r.Err()
}

func appendBasic(b []byte, r *cbor.Reader, t *Type) ([]byte, error) {
	switch t.text {
	case basicBytes, basicHash, basicAccount, basicDevice, basicKey:
		raw := r.Bytes()
		return fmt.Appendf(b, "%q", hex.EncodeToString(raw)), r.Err()
	case basicTime:
		return fmt.Appendf(b, "%q", time.UnixMilli(r.Int()).UTC().Format(time.RFC3339Nano)), r.Err()
	case basicDuration:
		return fmt.Appendf(b, "%q", durationText(r.Int())), r.Err()
	case basicUint:
		return strconv.AppendUint(b, r.Uint(), 10), r.Err()
	case basicInt:
		return strconv.AppendInt(b, r.Int(), 10), r.Err()
	case basicBool:
		return strconv.AppendBool(b, r.Bool()), r.Err()
	case basicNull:
		r.Null()
		return append(b, "null"...), r.Err()
	case basicText:
		s := r.Text()
		if r.Err() != nil {
			return nil, r.Err()
		}
		return appendText(b, s), nil
	}
	raw := r.Raw() // any, decimal
	if r.Err() != nil {
		return nil, r.Err()
	}
	return cbor.AppendAsJSON(b, raw)
}

// durationText is the form that parseDuration reads, whole days as such.
func durationText(ms int64) string {
	if ms != 0 && ms%dayMS == 0 {
		return strconv.FormatInt(ms/dayMS, 10) + "d"
	}
	if ms > maxDuration || ms < -maxDuration {
		return strconv.FormatInt(ms, 10) + "ms"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}
