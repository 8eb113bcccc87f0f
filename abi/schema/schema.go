// Package schema gives names to what a contract says and is told. A contract's
// messages are arrays of an operation's number and its fields, and its outcomes
// hold codes; its schema, a JSON document beside its module, names operations,
// fields, results, events and codes, so that people and programs write
//
//	{"hand_over": {"item": "pallet-7", "to": "5b0e…"}}
//
// for the canonical CBOR [3, "pallet-7", h'5b0e…'], and read results, events and
// refusals in the same words. A schema has no part in consensus: nothing on the
// chain depends on it, and a wrong one misnames what it shows.
//
// The caller's duties: [Parse] the document once; [Schema.Call], [Schema.Ask]
// and [Schema.Start] make messages; the types of operations and events turn
// values into bytes and back.
package schema

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
)

// MaxBytes is the length of the longest schema that Parse reads: names and a line
// about each take a few kilobytes.
const MaxBytes = 256 << 10

// Schema is what a contract's document says.
type Schema struct {
	Name, About string
	// Init is the message of init, nil where that takes none.
	Init *Type
	// Execute and Query hold the operations by name.
	Execute, Query map[string]*Operation
	// Events hold what is told, by topic.
	Events map[string]*Event
	// Codes are those of refusals, Reasons those of decisions and verdicts.
	Codes, Reasons map[uint16]Code

	types *resolver
}

// Operation is a message of execute or query.
type Operation struct {
	Name, About string
	Op          uint64 // the number that stands first in the message
	Fields      []Field
	Result      *Type
}

// Field is a part of a message, a tuple or a record.
type Field struct {
	Name, About string
	Type        *Type
	Key         uint64 // in a record
}

// Event is what a contract tells under a topic.
type Event struct {
	About string
	Data  *Type
}

// Code is a contract's word for a number.
type Code struct{ Name, About string }

// document is the JSON form.
type document struct {
	Name    string                   `json:"name"`
	About   string                   `json:"about"`
	Init    string                   `json:"init"`
	Execute map[string]operationText `json:"execute"`
	Query   map[string]operationText `json:"query"`
	Events  map[string]eventText     `json:"events"`
	Codes   map[string]codeText      `json:"codes"`
	Reasons map[string]codeText      `json:"reasons"`
	Types   map[string]typeText      `json:"types"`
}

type operationText struct {
	Op     uint64      `json:"op"`
	About  string      `json:"about"`
	Fields []fieldText `json:"fields"`
	Result string      `json:"result"`
}

type fieldText struct {
	Key   *uint64 `json:"key"`
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	About string  `json:"about"`
}

type eventText struct {
	About string `json:"about"`
	Data  string `json:"data"`
}

type codeText struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

type typeText struct {
	About  string            `json:"about"`
	Record []fieldText       `json:"record"`
	Tuple  []fieldText       `json:"tuple"`
	Enum   map[string]uint64 `json:"enum"`
	Bits   map[string]uint64 `json:"bits"`
}

// Parse reads a schema. Errors name the part that is wrong.
func Parse(src []byte) (*Schema, error) {
	if len(src) > MaxBytes {
		return nil, fmt.Errorf("a schema of %d bytes; at most %d are read", len(src), MaxBytes)
	}
	if _, err := cbor.AppendJSON(nil, src); err != nil { // which refuses repeated names
		return nil, fmt.Errorf("schema: %w", err)
	}
	var d document
	decoder := json.NewDecoder(bytes.NewReader(src))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("schema: more than one value")
	}
	s, err := d.schema()
	if err != nil {
		return nil, fmt.Errorf("schema of %q: %w", d.Name, err)
	}
	return s, nil
}

func (d *document) schema() (*Schema, error) {
	s := &Schema{Name: d.Name, About: d.About, Events: map[string]*Event{}, types: &resolver{texts: d.Types, done: map[string]*Type{}}}
	if d.Name == "" || d.About == "" {
		return nil, errors.New("name and about are required")
	}
	types := s.types
	var err error
	if d.Init != "" {
		if s.Init, err = types.parse(d.Init); err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
	}
	if s.Execute, err = types.operations(d.Execute); err != nil {
		return nil, fmt.Errorf("execute: %w", err)
	}
	if s.Query, err = types.operations(d.Query); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for _, topic := range slices.Sorted(maps.Keys(d.Events)) {
		e := d.Events[topic]
		data, err := types.parse(cmp.Or(e.Data, "null"))
		if err != nil {
			return nil, fmt.Errorf("event %q: %w", topic, err)
		}
		s.Events[topic] = &Event{e.About, data}
	}
	if s.Codes, err = codes(d.Codes); err != nil {
		return nil, fmt.Errorf("codes: %w", err)
	}
	if s.Reasons, err = codes(d.Reasons); err != nil {
		return nil, fmt.Errorf("reasons: %w", err)
	}
	return s, types.all()
}

func codes(texts map[string]codeText) (map[uint16]Code, error) {
	list := map[uint16]Code{}
	names := map[string]bool{}
	for number, c := range texts {
		n, err := strconv.ParseUint(number, 10, 16)
		switch {
		case err != nil || strconv.FormatUint(n, 10) != number:
			return nil, fmt.Errorf("%q is no number of a code (0 to 65535)", number)
		case c.Name == "" || names[c.Name]:
			return nil, fmt.Errorf("code %s has the name %q, which is empty or another's", number, c.Name)
		}
		names[c.Name] = true
		list[uint16(n)] = Code(c)
	}
	return list, nil
}

var operationName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (r *resolver) operations(texts map[string]operationText) (map[string]*Operation, error) {
	list := map[string]*Operation{}
	numbers := map[uint64]string{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := texts[name]
		if !operationName.MatchString(name) {
			return nil, fmt.Errorf("%q is no name: lower-case letters, digits and _", name)
		}
		if other, ok := numbers[text.Op]; ok {
			return nil, fmt.Errorf("%s and %s have the same number %d", other, name, text.Op)
		}
		numbers[text.Op] = name
		fields, err := r.fields(text.Fields)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		result, err := r.parse(cmp.Or(text.Result, "null"))
		if err != nil {
			return nil, fmt.Errorf("%s: result: %w", name, err)
		}
		list[name] = &Operation{Name: name, About: text.About, Op: text.Op, Fields: fields, Result: result}
	}
	return list, nil
}

// CodeNamed is the number of a refusal's name.
func (s *Schema) CodeNamed(name string) (uint16, bool) {
	for n, c := range s.Codes {
		if c.Name == name {
			return n, true
		}
	}
	return 0, false
}

// Type is a type as the schema writes it: a basic one, one that it names, or one
// built of these.
func (s *Schema) Type(text string) (*Type, error) { return s.types.parse(text) }

// Call makes a message of execute from its JSON: {"operation": {"field": value}},
// "operation" where that has no fields, or the plain array of a message. Times
// relative to now are allowed where now is not zero.
func (s *Schema) Call(src []byte, now time.Time) ([]byte, error) { return message(s.Execute, src, now) }

// Ask makes a message of query, as Call does of execute.
func (s *Schema) Ask(src []byte, now time.Time) ([]byte, error) { return message(s.Query, src, now) }

// Start makes the message of init.
func (s *Schema) Start(src []byte, now time.Time) ([]byte, error) {
	if s.Init == nil {
		if len(bytes.TrimSpace(src)) > 0 {
			return nil, errors.New("init takes no message")
		}
		return nil, nil
	}
	return s.Init.Encode(src, now)
}

// Called is the operation of execute that a message names, or nil.
func (s *Schema) Called(message []byte) *Operation { return operationOf(s.Execute, message) }

// Asked is the operation of query that a message names, or nil.
func (s *Schema) Asked(message []byte) *Operation { return operationOf(s.Query, message) }

func operationOf(list map[string]*Operation, message []byte) *Operation {
	r := cbor.NewReader(message)
	if r.Kind() != cbor.KindArray || r.Array() == 0 || r.Kind() != cbor.KindUint {
		return nil
	}
	op := r.Uint()
	for _, o := range list {
		if o.Op == op {
			return o
		}
	}
	return nil
}

// message turns the JSON form into the array.
func message(list map[string]*Operation, src []byte, now time.Time) ([]byte, error) {
	generic, err := cbor.AppendJSON(nil, src)
	if err != nil {
		return nil, err
	}
	r := cbor.NewReader(generic)
	var name string
	fields := []byte{0xa0} // of an operation without: the empty map
	switch r.Kind() {
	case cbor.KindArray:
		return generic, nil
	case cbor.KindText:
		name = r.Text()
	case cbor.KindMap:
		if r.Map() != 1 {
			return nil, fmt.Errorf("want one operation: %s", names(list))
		}
		name, fields = r.Text(), r.Raw()
	default:
		return nil, fmt.Errorf("want {\"operation\": {…}}: %s", names(list))
	}
	o := list[name]
	if o == nil {
		return nil, fmt.Errorf("there is no operation %q: %s", name, names(list))
	}
	b := cbor.AppendArray(nil, 1+len(o.Fields))
	b = cbor.AppendUint(b, o.Op)
	e := encoder{now}
	if b, err = e.items(b, fields, o.Fields); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func names(list map[string]*Operation) string {
	return fmt.Sprintf("%q", slices.Sorted(maps.Keys(list)))
}

// JSON shows a message in the operation's words.
func (o *Operation) JSON(message []byte) ([]byte, error) {
	r := cbor.NewReader(message)
	if n := r.Array(); n != 1+len(o.Fields) {
		return nil, fmt.Errorf("%s has %d fields, the message %d", o.Name, len(o.Fields), n-1)
	}
	r.Uint()
	b := fmt.Appendf(nil, "{%q:", o.Name)
	b, err := appendMembers(b, &r, o.Fields)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	return append(b, '}'), r.Done()
}
