package behaviour

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi/cbor"
)

// Decimal is an exact number.
type Decimal = cbor.Decimal

// number writes a small number.
func number[T uint8 | uint16](v T) string { return strconv.FormatUint(uint64(v), 10) }

// node is a JSON value and where it lies, such as ".acl[2].name". Errors are
// gathered, so that a file's mistakes are told at once.
type node struct {
	path   string
	value  any
	errors *[]error
}

// maxErrors bounds how many mistakes are told.
const maxErrors = 20

// parseJSON reads one JSON value of at most max bytes.
func parseJSON(src []byte, max int) (node, error) {
	if len(src) > max {
		return node{}, fmt.Errorf("%d bytes of JSON, more than %d", len(src), max)
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	n := node{errors: new([]error)}
	if err := d.Decode(&n.value); err != nil {
		return node{}, fmt.Errorf("JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return node{}, errors.New("JSON: more than one value")
	}
	return n, nil
}

// err is all that was wrong.
func (n node) err() error {
	if list := *n.errors; len(list) > maxErrors {
		return errors.Join(append(list[:maxErrors:maxErrors], fmt.Errorf("and %d more", len(list)-maxErrors))...)
	}
	return errors.Join(*n.errors...)
}

func (n node) fail(format string, args ...any) {
	path := n.path
	if path == "" {
		path = "."
	}
	*n.errors = append(*n.errors, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

// exists says whether there is a value; null is one.
func (n node) exists() bool { return n.value != missing }

var missing any = new(struct{ any })

// get is the member under the first of the names that an object has.
func (n node) get(names ...string) node {
	object, _ := n.value.(map[string]any)
	for _, name := range names {
		if v, ok := object[name]; ok {
			return node{n.path + "." + name, v, n.errors}
		}
	}
	return node{n.path + "." + names[0], missing, n.errors}
}

// members calls f for each member of an object, in the order of their names.
func (n node) members(f func(name string, member node)) {
	if !n.exists() {
		return
	}
	object, ok := n.value.(map[string]any)
	if !ok {
		n.fail("not an object")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		f(name, node{n.path + "." + name, object[name], n.errors})
	}
}

// items are the items of an array; a missing one has none.
func (n node) items() []node {
	if !n.exists() {
		return nil
	}
	array, ok := n.value.([]any)
	if !ok {
		n.fail("not an array")
		return nil
	}
	list := make([]node, len(array))
	for i, v := range array {
		list[i] = node{n.path + "[" + strconv.Itoa(i) + "]", v, n.errors}
	}
	return list
}

// text is a text, "" where it is missing.
func (n node) text() string {
	s, ok := n.value.(string)
	if !ok && n.exists() {
		n.fail("not a text")
	}
	return s
}

// required is a text that must be there.
func (n node) required() string {
	s := n.text()
	if s == "" && !n.exists() {
		n.fail("missing")
	}
	return s
}

func (n node) bool() bool {
	b, ok := n.value.(bool)
	if !ok && n.exists() {
		n.fail("neither true nor false")
	}
	return b
}

// uint is a whole number of at most max. Some MUD files write it as a text.
func (n node) uint(max uint64) uint64 {
	if !n.exists() {
		return 0
	}
	var digits string
	switch v := n.value.(type) {
	case json.Number:
		digits = v.String()
	case string:
		digits = strings.TrimSpace(v)
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || v > max {
		n.fail("%v is no whole number up to %d", n.value, max)
		return 0
	}
	return v
}

// decimal is an exact number, nil where it is missing.
func (n node) decimal() *Decimal {
	if !n.exists() {
		return nil
	}
	v, ok := n.value.(json.Number)
	if !ok {
		n.fail("not a number")
		return nil
	}
	d, err := cbor.ParseDecimal(v.String())
	if err != nil {
		n.fail("%s: %v", v, err)
		return nil
	}
	return &d
}
