package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi/cbor"
)

// maxErrors is how many mistakes one parse reports.
const maxErrors = 20

// Mistake is what is wrong with a document, and where.
type Mistake struct {
	Line  int
	Field string // such as rules[2].hours.zone
	Text  string
}

func (m *Mistake) Error() string {
	if m.Field == "" {
		return fmt.Sprintf("line %d: %s", m.Line, m.Text)
	}
	return fmt.Sprintf("line %d: %s: %s", m.Line, m.Field, m.Text)
}

// node is a JSON value that knows its line.
type node struct {
	line   int
	value  any // nil, bool, string, json.Number, or a json.Delim
	items  []*node
	fields []field
}

type field struct {
	name string
	line int
	node *node
}

// kind says in words what the node is.
func (n *node) kind() string {
	switch v := n.value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "text"
	case json.Number:
		return "a number"
	case json.Delim:
		if v == '[' {
			return "an array"
		}
	}
	return "an object"
}

// treeReader builds nodes from the decoder's tokens.
type treeReader struct {
	dec   *json.Decoder
	lines []int // offsets of the line ends
}

// parseTree reads one JSON value. It refuses repeated keys, invalid UTF-8,
// trailing bytes and nesting beyond cbor.MaxDepth.
func parseTree(src []byte) (*node, error) {
	t := &treeReader{dec: json.NewDecoder(bytes.NewReader(src))}
	t.dec.UseNumber()
	for i, c := range src {
		if c == '\n' {
			t.lines = append(t.lines, i)
		}
	}
	if i := invalidUTF8(src); i >= 0 {
		return nil, t.mistake(int64(i), "", "text is not valid UTF-8")
	}
	root, err := t.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := t.dec.Token(); err != io.EOF {
		return nil, t.mistake(t.dec.InputOffset(), "", "something follows the document")
	}
	return root, nil
}

func invalidUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

func (t *treeReader) line(offset int64) int {
	return 1 + sort.SearchInts(t.lines, int(offset))
}

func (t *treeReader) mistake(offset int64, path, text string) error {
	return &Mistake{Line: t.line(offset), Field: path, Text: text}
}

func (t *treeReader) token(path string) (json.Token, error) {
	tok, err := t.dec.Token()
	if err == nil {
		return tok, nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return nil, t.mistake(syntax.Offset-1, path, syntax.Error())
	}
	return nil, t.mistake(t.dec.InputOffset(), path, "the document ends too early")
}

func (t *treeReader) value(path string, depth int) (*node, error) {
	tok, err := t.token(path)
	if err != nil {
		return nil, err
	}
	n := &node{value: tok, line: t.line(t.dec.InputOffset() - 1)}
	if depth > cbor.MaxDepth {
		return nil, &Mistake{n.line, path, "nested too deeply"}
	}
	switch tok {
	case json.Delim('['):
		err = t.array(n, path, depth)
	case json.Delim('{'):
		err = t.object(n, path, depth)
	}
	return n, err
}

func (t *treeReader) array(n *node, path string, depth int) error {
	for t.dec.More() {
		item, err := t.value(path+"["+strconv.Itoa(len(n.items))+"]", depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := t.token(path)
	return err
}

func (t *treeReader) object(n *node, path string, depth int) error {
	seen := map[string]bool{}
	for t.dec.More() {
		tok, err := t.token(path)
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		f := field{name: name, line: t.line(t.dec.InputOffset() - 1)}
		if seen[name] {
			return &Mistake{f.line, join(path, name), "the field is repeated"}
		}
		seen[name] = true
		if f.node, err = t.value(join(path, name), depth+1); err != nil {
			return err
		}
		n.fields = append(n.fields, f)
	}
	_, err := t.token(path)
	return err
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// reader turns nodes into values and collects the mistakes.
type reader struct{ mistakes []error }

func (r *reader) fail(line int, path, format string, args ...any) {
	if len(r.mistakes) < maxErrors {
		r.mistakes = append(r.mistakes, &Mistake{line, path, fmt.Sprintf(format, args...)})
	}
}

// object hands each field to its parser and refuses fields that have none.
func (r *reader) object(n *node, path string, parsers map[string]func(*node, string)) {
	if n.value != json.Delim('{') {
		r.fail(n.line, path, "found %s, want an object", n.kind())
		return
	}
	for _, f := range n.fields {
		parse, ok := parsers[f.name]
		if !ok {
			r.fail(f.line, join(path, f.name), "unknown field; known here: %s", strings.Join(sortedKeys(parsers), ", "))
			continue
		}
		parse(f.node, join(path, f.name))
	}
}

// need refuses an object that lacks one of the fields.
func (r *reader) need(n *node, path string, names ...string) {
	if n.value != json.Delim('{') {
		return
	}
	for _, name := range names {
		if n.field(name) == nil {
			r.fail(n.line, join(path, name), "the field is missing")
		}
	}
}

func (n *node) field(name string) *node {
	for _, f := range n.fields {
		if f.name == name {
			return f.node
		}
	}
	return nil
}

// list hands each item of an array of 1 to most items to parse.
func (r *reader) list(n *node, path string, most int, parse func(*node, string)) {
	if n.value != json.Delim('[') {
		r.fail(n.line, path, "found %s, want an array", n.kind())
		return
	}
	if len(n.items) == 0 || len(n.items) > most {
		r.fail(n.line, path, "has %d items, want 1 to %d", len(n.items), most)
	}
	for i, item := range n.items {
		parse(item, path+"["+strconv.Itoa(i)+"]")
	}
}

// text reads text of 1 to most bytes.
func (r *reader) text(most int, into *string) func(*node, string) {
	return func(n *node, path string) {
		s, ok := n.value.(string)
		switch {
		case !ok:
			r.fail(n.line, path, "found %s, want text", n.kind())
		case s == "":
			r.fail(n.line, path, "is empty")
		case len(s) > most:
			r.fail(n.line, path, "has %d bytes, want at most %d", len(s), most)
		}
		*into = s
	}
}

// texts reads an array of 1 to most different texts.
func (r *reader) texts(most, bytes int, into *[]string) func(*node, string) {
	return func(n *node, path string) {
		seen := map[string]bool{}
		r.list(n, path, most, func(n *node, path string) {
			var s string
			r.text(bytes, &s)(n, path)
			if seen[s] {
				r.fail(n.line, path, "%q is repeated", s)
			}
			seen[s] = true
			*into = append(*into, s)
		})
	}
}

// milliseconds reads a whole number from 0 to MaxAge.
func (r *reader) milliseconds(into *uint64) func(*node, string) {
	return func(n *node, path string) {
		num, _ := n.value.(json.Number)
		v, err := strconv.ParseUint(string(num), 10, 64)
		if err != nil || v > MaxAge {
			r.fail(n.line, path, "want a whole number of milliseconds from 0 to %d", MaxAge)
		}
		*into = v
	}
}

// encoded reads any value as canonical CBOR.
func (r *reader) encoded(n *node, path string) []byte {
	switch v := n.value.(type) {
	case bool:
		return cbor.AppendBool(nil, v)
	case string:
		return cbor.AppendText(nil, v)
	case json.Number:
		d, err := cbor.ParseDecimal(v.String())
		if err != nil {
			r.fail(n.line, path, "%s: %v", v, err)
		}
		return cbor.AppendDecimal(nil, d)
	case json.Delim:
		if v == '[' {
			return r.encodedArray(n, path)
		}
		return r.encodedMap(n, path)
	}
	return cbor.AppendNull(nil)
}

func (r *reader) encodedArray(n *node, path string) []byte {
	b := cbor.AppendArray(nil, len(n.items))
	for i, item := range n.items {
		b = append(b, r.encoded(item, path+"["+strconv.Itoa(i)+"]")...)
	}
	return b
}

func (r *reader) encodedMap(n *node, path string) []byte {
	pairs := make([][2][]byte, 0, len(n.fields))
	for _, f := range n.fields {
		pairs = append(pairs, [2][]byte{cbor.AppendText(nil, f.name), r.encoded(f.node, join(path, f.name))})
	}
	sort.Slice(pairs, func(i, j int) bool { return bytes.Compare(pairs[i][0], pairs[j][0]) < 0 })
	b := cbor.AppendMap(nil, len(pairs))
	for _, p := range pairs {
		b = append(append(b, p[0]...), p[1]...)
	}
	return b
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
