package custody

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sort"
	"strconv"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi/cbor"
)

// node is a JSON value that knows where it stands.
type node struct {
	line, start, end int
	value            any // nil, bool, string, json.Number, or a json.Delim
	items            []*node
	fields           []field
}

type field struct {
	name string
	line int
	node *node
}

func (n *node) field(name string) *node {
	for _, f := range n.fields {
		if f.name == name {
			return f.node
		}
	}
	return nil
}

// text is the node's text, "" where it is none.
func (n *node) text() string {
	if n == nil {
		return ""
	}
	text, _ := n.value.(string)
	return text
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
	src   []byte
	dec   *json.Decoder
	lines []int // offsets of the line ends
}

// parseTree reads one JSON value. It refuses repeated keys, invalid UTF-8, numbers
// that have no exact form, trailing bytes and nesting beyond cbor.MaxDepth.
func parseTree(src []byte) (*node, error) {
	t := &treeReader{src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	t.dec.UseNumber()
	for i, c := range src {
		if c == '\n' {
			t.lines = append(t.lines, i)
		}
	}
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return nil, t.mistake(i, "", "text is not valid UTF-8")
		}
		i += size
	}
	root, err := t.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := t.dec.Token(); err != io.EOF {
		return nil, t.mistake(int(t.dec.InputOffset()), "", "something follows the document")
	}
	return root, nil
}

func (t *treeReader) line(offset int) int { return 1 + sort.SearchInts(t.lines, offset) }

func (t *treeReader) mistake(offset int, path, text string) error {
	return &Mistake{Line: t.line(offset), Field: path, Text: text}
}

func (t *treeReader) token(path string) (json.Token, error) {
	tok, err := t.dec.Token()
	if err == nil {
		return tok, nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return nil, t.mistake(int(syntax.Offset)-1, path, syntax.Error())
	}
	return nil, t.mistake(int(t.dec.InputOffset()), path, "the document ends too early")
}

// next is where the next token begins.
func (t *treeReader) next() int {
	at := int(t.dec.InputOffset())
	for at < len(t.src) && bytes.IndexByte([]byte(" \t\r\n,:"), t.src[at]) >= 0 {
		at++
	}
	return at
}

func (t *treeReader) value(path string, depth int) (*node, error) {
	start := t.next()
	tok, err := t.token(path)
	if err != nil {
		return nil, err
	}
	n := &node{value: tok, start: start, line: t.line(start)}
	if depth > cbor.MaxDepth {
		return nil, &Mistake{n.line, path, "nested too deeply"}
	}
	switch v := tok.(type) {
	case json.Number:
		if _, err := cbor.ParseDecimal(v.String()); err != nil {
			return nil, &Mistake{n.line, path, v.String() + " has no exact form"}
		}
	case json.Delim:
		if v == '[' {
			err = t.array(n, path, depth)
		} else {
			err = t.object(n, path, depth)
		}
	}
	n.end = int(t.dec.InputOffset())
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
		line := t.line(t.next())
		tok, err := t.token(path)
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		if seen[name] {
			return &Mistake{line, join(path, name), "the field is repeated"}
		}
		seen[name] = true
		child, err := t.value(join(path, name), depth+1)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, field{name, line, child})
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
