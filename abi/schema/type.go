package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// basic types by name; what they are on the wire stands beside.
const (
	basicUint     = "uint"     // unsigned integer
	basicInt      = "int"      // signed 64-bit integer
	basicBool     = "bool"     // true or false
	basicText     = "text"     // text
	basicBytes    = "bytes"    // bytes; in JSON hexadecimal, {"text": …} or {"base64": …}
	basicHash     = "hash"     // 32 bytes; in JSON 64 hexadecimal digits
	basicAccount  = "account"  // the same
	basicDevice   = "device"   // the same
	basicKey      = "key"      // a public key's 32 or 33 bytes; in JSON hexadecimal
	basicTime     = "time"     // ms since 1970; in JSON that, RFC 3339, or now+90s
	basicDuration = "duration" // ms; in JSON that, or 90s, 2h, 7d
	basicDecimal  = "decimal"  // an integer or a decimal fraction (tag 4)
	basicAny      = "any"      // anything that JSON can say
	basicNull     = "null"     // nothing
)

var basics = []string{basicUint, basicInt, basicBool, basicText, basicBytes, basicHash, basicAccount, basicDevice,
	basicKey, basicTime, basicDuration, basicDecimal, basicAny, basicNull}

// form is how a type is built of others.
type form uint8

const (
	formBasic form = iota
	formOptional
	formList
	formMap
	formRecord
	formTuple
	formEnum
	formBits
)

// Type is the type of a field, a result or an event's data. Its text is a basic
// type's name, the name of a type of the schema, T? for one that may be null (in a
// record: absent), [T] for an array, {T} for a map from text.
type Type struct {
	text   string
	form   form
	of     *Type             // optional, list, map
	fields []Field           // record, tuple
	names  map[string]uint64 // enum, bits
}

// String is the type as the schema writes it.
func (t *Type) String() string { return t.text }

// Fields are those of a record or a tuple.
func (t *Type) Fields() []Field { return t.fields }

// resolver turns the texts of types into types.
type resolver struct {
	texts map[string]typeText
	done  map[string]*Type
	open  []string // named types that are being resolved: none may hold itself
}

// all resolves those that nothing names, too: they may be wrong.
func (r *resolver) all() error {
	for _, name := range slices.Sorted(maps.Keys(r.texts)) {
		if slices.Contains(basics, name) {
			return fmt.Errorf("%q is a basic type", name)
		}
		if _, err := r.named(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) parse(text string) (*Type, error) {
	switch {
	case slices.Contains(basics, text):
		return &Type{text: text}, nil
	case strings.HasSuffix(text, "?"):
		return r.built(text, formOptional, text[:len(text)-1])
	case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
		return r.built(text, formList, text[1:len(text)-1])
	case strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}"):
		return r.built(text, formMap, text[1:len(text)-1])
	}
	return r.named(text)
}

func (r *resolver) built(text string, f form, of string) (*Type, error) {
	inner, err := r.parse(of)
	if err == nil && f == formOptional && inner.form == formOptional {
		err = fmt.Errorf("type %q is optional twice", text)
	}
	return &Type{text: text, form: f, of: inner}, err
}

func (r *resolver) named(name string) (*Type, error) {
	if t := r.done[name]; t != nil {
		return t, nil
	}
	text, ok := r.texts[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no type %q", name)
	case slices.Contains(r.open, name):
		return nil, fmt.Errorf("type %q holds itself", name)
	}
	r.open = append(r.open, name)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	t, err := r.define(name, text)
	if err != nil {
		return nil, fmt.Errorf("type %q: %w", name, err)
	}
	r.done[name] = t
	return t, nil
}

func (r *resolver) define(name string, text typeText) (*Type, error) {
	said := 0
	for _, is := range []bool{text.Record != nil, text.Tuple != nil, text.Enum != nil, text.Bits != nil} {
		if is {
			said++
		}
	}
	if said != 1 {
		return nil, errors.New("want one of record, tuple, enum and bits")
	}
	t := &Type{text: name}
	var err error
	switch {
	case text.Record != nil:
		t.form = formRecord
		if t.fields, err = r.fields(text.Record); err == nil {
			err = keysAscend(text.Record)
		}
	case text.Tuple != nil:
		t.form = formTuple
		t.fields, err = r.fields(text.Tuple)
	case text.Enum != nil:
		t.form, t.names = formEnum, text.Enum
		err = distinct(text.Enum)
	default:
		t.form, t.names = formBits, text.Bits
		if err = distinct(text.Bits); err == nil {
			err = bitNumbers(text.Bits)
		}
	}
	return t, err
}

// keysAscend holds that a record's fields stand in the order of the wire.
func keysAscend(list []fieldText) error {
	for i, f := range list {
		if f.Key == nil || i > 0 && *f.Key <= *list[i-1].Key {
			return fmt.Errorf("field %q: a record's fields have ascending keys", f.Name)
		}
	}
	return nil
}

func distinct(names map[string]uint64) error {
	of := map[uint64]string{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if other, ok := of[names[name]]; ok {
			return fmt.Errorf("%s and %s are the same number", other, name)
		}
		of[names[name]] = name
	}
	return nil
}

func bitNumbers(names map[string]uint64) error {
	for name, n := range names {
		if n > 62 {
			return fmt.Errorf("bit %d of %s is above 62", n, name)
		}
	}
	return nil
}

func (r *resolver) fields(texts []fieldText) ([]Field, error) {
	list := make([]Field, 0, len(texts))
	known := map[string]bool{}
	for _, text := range texts {
		if !operationName.MatchString(text.Name) || known[text.Name] {
			return nil, fmt.Errorf("field %q: a name has lower-case letters, digits and _, and occurs once", text.Name)
		}
		known[text.Name] = true
		t, err := r.parse(text.Type)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", text.Name, err)
		}
		f := Field{Name: text.Name, About: text.About, Type: t}
		if text.Key != nil {
			f.Key = *text.Key
		}
		list = append(list, f)
	}
	return list, nil
}
