package scratch

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/schema"
)

// speech is how a contract's messages are written: in its schema's words, or
// raw where it has none.
type speech struct {
	schema *schema.Schema // nil where there is none
	now    time.Time
}

func (s speech) call(text string) ([]byte, error) {
	if s.schema == nil || isRaw(text) {
		return rawValue(text)
	}
	return s.schema.Call([]byte(text), s.now)
}

func (s speech) ask(text string) ([]byte, error) {
	if s.schema == nil || isRaw(text) {
		return rawValue(text)
	}
	return s.schema.Ask([]byte(text), s.now)
}

// start takes an array as the plain message as well.
func (s speech) start(text string) ([]byte, error) {
	if s.schema == nil || isRaw(text) {
		return rawValue(text)
	}
	message, err := s.schema.Start([]byte(text), s.now)
	if err != nil && text[0] == '[' {
		return rawValue(text)
	}
	return message, err
}

// typed reads a value of a type that the schema names.
func (s speech) typed(text, name string) ([]byte, error) {
	if name == "" {
		return rawValue(text)
	}
	if s.schema == nil {
		return nil, fmt.Errorf("the contract has no schema that would name a type %q", name)
	}
	t, err := s.schema.Type(name)
	if err != nil {
		return nil, err
	}
	return t.Encode([]byte(text), s.now)
}

func isRaw(text string) bool {
	return text == "" || strings.HasPrefix(text, "hex:") || strings.HasPrefix(text, "text:")
}

// event is the type of an event's data, or nil.
func (s speech) event(topic string) *schema.Type {
	if s.schema == nil || s.schema.Events[topic] == nil {
		return nil
	}
	return s.schema.Events[topic].Data
}

// code is the schema's name for a refusal, "" where there is none.
func (s speech) code(n uint16) schema.Code {
	if s.schema == nil {
		return schema.Code{}
	}
	return s.schema.Codes[n]
}

// known says whether a script's word for a refusal means one.
func (s speech) known(word string) bool {
	if word == "" || word[0] >= '0' && word[0] <= '9' {
		return true
	}
	if s.schema == nil {
		return false
	}
	_, ok := s.schema.CodeNamed(word)
	return ok
}

// refused says whether a refusal is the one that a script names or numbers.
func (s speech) refused(want string, got uint16) bool {
	return want == "" || want == strconv.Itoa(int(got)) || want == s.code(got).Name
}

// show is bytes in the words of their type, or as Show has them.
func show(b []byte, t *schema.Type) string {
	if t != nil && len(b) > 0 {
		if text, err := t.JSON(b); err == nil {
			return string(text)
		}
	}
	return Show(b)
}

// Show is bytes as a script writes them: CBOR as JSON, others in hex.
func Show(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	if text, err := cbor.AppendAsJSON(nil, b); err == nil {
		return string(text)
	}
	return "hex:" + hex.EncodeToString(b)
}

// matches says whether bytes are what a script expects: its bytes, its JSON in
// the words of the type or raw, with "*" for any value.
func (s speech) matches(want string, got []byte, t *schema.Type) bool {
	switch {
	case want == "*":
		return len(got) > 0
	case want == "none" || want == "":
		return len(got) == 0
	}
	if s.same(want, got, t) {
		return true
	}
	if isRaw(want) || !strings.Contains(want, `"*"`) {
		return false
	}
	wanted, err := tree(want)
	if err != nil {
		return false
	}
	shown, err := tree(show(got, t))
	if err != nil {
		return false
	}
	filled, err := json.Marshal(fill(wanted, shown))
	return err == nil && (s.same(string(filled), got, t) || bytes.Equal(filled, marshal(shown)))
}

// same says whether a value without "*" encodes as these bytes.
func (s speech) same(want string, got []byte, t *schema.Type) bool {
	if t != nil && !isRaw(want) {
		if b, err := t.Encode([]byte(want), s.now); err == nil && bytes.Equal(b, got) {
			return true
		}
	}
	b, err := rawValue(want)
	return err == nil && bytes.Equal(b, got)
}

// tree is a JSON value with its numbers as they are written.
func tree(text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: JSON that was read cannot be written: " + err.Error())
	}
	return b
}

// fill puts what came in place of each "*".
func fill(want, came any) any {
	switch w := want.(type) {
	case string:
		if w == "*" && came != nil {
			return came
		}
	case map[string]any:
		if c, ok := came.(map[string]any); ok {
			for k := range w {
				w[k] = fill(w[k], c[k])
			}
		}
	case []any:
		if c, ok := came.([]any); ok && len(c) == len(w) {
			for i := range w {
				w[i] = fill(w[i], c[i])
			}
		}
	}
	return want
}

// at is the value that a path leads to, such as holder or items.0.name; "." is
// the whole.
func at(v any, path string) (any, error) {
	if path == "." {
		return v, nil
	}
	for step := range strings.SplitSeq(path, ".") {
		switch inner := v.(type) {
		case map[string]any:
			next, ok := inner[step]
			if !ok {
				return nil, fmt.Errorf("there is no %q in %s", step, marshal(v))
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(inner) {
				return nil, fmt.Errorf("there is no %q in %s", step, marshal(v))
			}
			v = inner[i]
		default:
			return nil, fmt.Errorf("there is nothing within %s", marshal(v))
		}
	}
	return v, nil
}

// plain is a JSON value as a reference to it reads: a text without its quotes.
func plain(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	return string(marshal(v))
}
