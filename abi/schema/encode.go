package schema

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
)

// Encode turns a JSON value of the type into canonical CBOR. Times relative to
// now are allowed where now is not zero.
func (t *Type) Encode(src []byte, now time.Time) ([]byte, error) {
	generic, err := cbor.AppendJSON(nil, src)
	if err != nil {
		return nil, err
	}
	e := encoder{now}
	return e.value(nil, generic, t)
}

// encoder turns values as JSON has them, in CBOR, into those of types.
type encoder struct{ now time.Time }

func (e encoder) value(b, src []byte, t *Type) ([]byte, error) {
	r := cbor.NewReader(src)
	if t.form == formOptional {
		if r.Kind() == cbor.KindNull {
			return cbor.AppendNull(b), nil
		}
		return e.value(b, src, t.of)
	}
	switch t.form {
	case formList:
		return e.list(b, &r, t)
	case formMap:
		return e.dictionary(b, &r, t)
	case formRecord:
		return e.record(b, src, t.fields)
	case formTuple:
		return e.items(cbor.AppendArray(b, len(t.fields)), src, t.fields)
	case formEnum:
		return e.enum(b, &r, t)
	case formBits:
		return e.bits(b, &r, t)
	}
	return e.basic(b, src, t)
}

func wants(t *Type, what string) error { return fmt.Errorf("want %s: %s", t, what) }

func (e encoder) list(b []byte, r *cbor.Reader, t *Type) (_ []byte, err error) {
	if r.Kind() != cbor.KindArray {
		return nil, wants(t, "an array")
	}
	n := r.Array()
	b = cbor.AppendArray(b, n)
	for i := range n {
		if b, err = e.value(b, r.Raw(), t.of); err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
	}
	return b, nil
}

// dictionary keeps the order of keys, which is canonical already.
func (e encoder) dictionary(b []byte, r *cbor.Reader, t *Type) (_ []byte, err error) {
	if r.Kind() != cbor.KindMap {
		return nil, wants(t, "an object")
	}
	n := r.Map()
	b = cbor.AppendMap(b, n)
	for range n {
		key := r.Text()
		b = cbor.AppendText(b, key)
		if b, err = e.value(b, r.Raw(), t.of); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return b, nil
}

// record encodes the fields that are there, by their keys.
func (e encoder) record(b, src []byte, fields []Field) ([]byte, error) {
	given, err := object(src, fields)
	if err != nil {
		return nil, err
	}
	b = cbor.AppendMap(b, len(given))
	for _, f := range fields {
		value, ok := given[f.Name]
		if !ok {
			if f.Type.form != formOptional {
				return nil, missing(f)
			}
			continue
		}
		b = cbor.AppendUint(b, f.Key)
		if b, err = e.value(b, value, f.Type); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return b, nil
}

// items encodes all fields of an object in their order.
func (e encoder) items(b, src []byte, fields []Field) ([]byte, error) {
	given, err := object(src, fields)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		value, ok := given[f.Name]
		switch {
		case ok:
			if b, err = e.value(b, value, f.Type); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
		case f.Type.form == formOptional:
			b = cbor.AppendNull(b)
		default:
			return nil, missing(f)
		}
	}
	return b, nil
}

func missing(f Field) error { return fmt.Errorf("field %q is missing (%s)", f.Name, f.Type) }

// object reads the fields of an object; a null is an absent one.
func object(src []byte, fields []Field) (map[string][]byte, error) {
	r := cbor.NewReader(src)
	if r.Kind() != cbor.KindMap {
		return nil, fmt.Errorf("want an object with %s", fieldNames(fields))
	}
	given := map[string][]byte{}
	for range r.Map() {
		name := r.Text()
		value := r.Raw()
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no field %q: %s", name, fieldNames(fields))
		}
		if v := cbor.NewReader(value); v.Kind() != cbor.KindNull || fields[i].Type.text == basicNull || fields[i].Type.text == basicAny {
			given[name] = value
		}
	}
	return given, r.Done()
}

func fieldNames(fields []Field) string {
	list := make([]string, 0, len(fields))
	for _, f := range fields {
		list = append(list, fmt.Sprintf("%s (%s)", f.Name, f.Type))
	}
	if len(list) == 0 {
		return "no fields"
	}
	return strings.Join(list, ", ")
}

func (e encoder) enum(b []byte, r *cbor.Reader, t *Type) ([]byte, error) {
	if r.Kind() == cbor.KindText {
		if n, ok := t.names[r.Text()]; ok {
			return cbor.AppendUint(b, n), nil
		}
	}
	return nil, wants(t, fmt.Sprintf("one of %q", slices.Sorted(maps.Keys(t.names))))
}

func (e encoder) bits(b []byte, r *cbor.Reader, t *Type) ([]byte, error) {
	wrong := wants(t, fmt.Sprintf("an array of some of %q", slices.Sorted(maps.Keys(t.names))))
	if r.Kind() != cbor.KindArray {
		return nil, wrong
	}
	var set uint64
	for range r.Array() {
		if r.Kind() != cbor.KindText {
			return nil, wrong
		}
		n, ok := t.names[r.Text()]
		if !ok || set&(1<<n) != 0 {
			return nil, wrong
		}
		set |= 1 << n
	}
	return cbor.AppendUint(b, set), nil
}

func (e encoder) basic(b, src []byte, t *Type) ([]byte, error) {
	r := cbor.NewReader(src)
	kind := r.Kind()
	switch {
	case t.text == basicAny, t.text == basicBool && kind == cbor.KindBool, t.text == basicText && kind == cbor.KindText,
		t.text == basicNull && kind == cbor.KindNull, t.text == basicUint && kind == cbor.KindUint,
		(t.text == basicInt || t.text == basicTime || t.text == basicDuration) && integer(kind),
		t.text == basicDecimal && (integer(kind) || kind == cbor.KindTag):
		return append(b, src...), nil
	case t.text == basicBytes && kind == cbor.KindMap:
		return e.otherBytes(b, &r)
	case kind == cbor.KindText && slices.Contains([]string{basicBytes, basicHash, basicAccount, basicDevice, basicKey}, t.text):
		return hexBytes(b, r.Text(), t)
	case kind == cbor.KindText && t.text == basicTime:
		ms, err := e.time(r.Text())
		return cbor.AppendInt(b, ms), err
	case kind == cbor.KindText && t.text == basicDuration:
		ms, err := parseDuration(r.Text())
		return cbor.AppendInt(b, ms), err
	}
	return nil, wants(t, "not "+kind.String())
}

func integer(k cbor.Kind) bool { return k == cbor.KindUint || k == cbor.KindNint }

func hexBytes(b []byte, text string, t *Type) ([]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, wants(t, "hexadecimal digits")
	}
	switch n := len(raw); {
	case t.text == basicKey && n != 32 && n != 33:
		return nil, wants(t, "32 bytes of an ed25519 key or 33 of a compressed P-256 key")
	case t.text != basicBytes && t.text != basicKey && n != 32:
		return nil, wants(t, "64 hexadecimal digits")
	}
	return cbor.AppendBytes(b, raw), nil
}

// otherBytes are those of {"text": …} and {"base64": …}.
func (e encoder) otherBytes(b []byte, r *cbor.Reader) ([]byte, error) {
	wrong := errors.New(`want hexadecimal digits, {"text": …} or {"base64": …}`)
	if r.Map() != 1 {
		return nil, wrong
	}
	name := r.Text()
	if r.Kind() != cbor.KindText {
		return nil, wrong
	}
	switch text := r.Text(); name {
	case "text":
		return cbor.AppendBytes(b, []byte(text)), nil
	case "base64":
		raw, err := base64.StdEncoding.DecodeString(text)
		return cbor.AppendBytes(b, raw), err
	}
	return nil, wrong
}

// time reads RFC 3339, or now with what is added to it or taken off.
func (e encoder) time(text string) (int64, error) {
	rest, relative := strings.CutPrefix(text, "now")
	if !relative {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return 0, fmt.Errorf("%q is no time: want RFC 3339, ms since 1970, or now+90s", text)
		}
		return at.UnixMilli(), nil
	}
	if e.now.IsZero() {
		return 0, fmt.Errorf("%q: a time cannot be relative here", text)
	}
	if rest == "" {
		return e.now.UnixMilli(), nil
	}
	if rest[0] != '+' && rest[0] != '-' {
		return 0, fmt.Errorf("%q is no time: want now+90s or now-1h", text)
	}
	ms, err := parseDuration(rest[1:])
	if rest[0] == '-' {
		ms = -ms
	}
	return e.now.UnixMilli() + ms, err
}

// maxDuration is a hundred years, in ms: what time.Duration can hold.
const maxDuration = 100 * 365 * dayMS

// parseDuration reads Go's form, and whole days: 7d.
func parseDuration(text string) (int64, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err == nil && n >= 0 && n <= maxDuration/dayMS {
			return n * dayMS, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d%time.Millisecond == 0 && d >= 0 && d.Milliseconds() <= maxDuration {
		return d.Milliseconds(), nil
	}
	return 0, fmt.Errorf("%q is no duration: want 250ms, 90s, 2h or 7d, of at most %d days", text, maxDuration/dayMS)
}

const dayMS = 24 * 60 * 60 * 1000
