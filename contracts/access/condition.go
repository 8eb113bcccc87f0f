package access

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/seed79541315/postern/abi/cbor"
)

// operators are the contract's numbers of the operators.
var operators = map[string]uint64{
	"eq": 1, "ne": 2, "lt": 3, "le": 4, "gt": 5, "ge": 6, "in": 7, "contains": 8,
	"exists": 9, "all": 10, "any": 11, "not": 12,
}

// root is where a path starts: its words, and whether names follow.
type root struct {
	words []string
	open  bool
}

// roots are the starts of paths by the contract's numbers; 0 is a constant.
var roots = []root{
	1:  {[]string{"subject", "type"}, false},
	2:  {[]string{"subject", "id"}, false},
	3:  {[]string{"subject", "properties"}, true},
	4:  {[]string{"subject", "roles"}, false},
	5:  {[]string{"action", "name"}, false},
	6:  {[]string{"action", "properties"}, true},
	7:  {[]string{"resource", "type"}, false},
	8:  {[]string{"resource", "id"}, false},
	9:  {[]string{"resource", "properties"}, true},
	10: {[]string{"resource", "owner"}, false},
	11: {[]string{"context"}, true},
}

// findRoot returns the number of a path's root and the names behind it; 0 if
// the path has none of the known forms.
func findRoot(path []string) (uint64, []string) {
	for i, root := range roots {
		n := len(root.words)
		if n == 0 || len(path) < n || !slices.Equal(path[:n], root.words) {
			continue
		}
		names := path[n:]
		if root.open == (len(names) > 0) && len(names) <= MaxPath {
			return uint64(i), names
		}
	}
	return 0, nil
}

// splitPath splits at dots; a backslash keeps the next character as it is.
func splitPath(text string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			part.WriteByte(text[i])
		case text[i] == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(text[i])
		}
	}
	return append(parts, part.String())
}

// joinPath is the inverse of splitPath.
func joinPath(parts []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `.`, `\.`)
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = escape.Replace(p)
	}
	return strings.Join(escaped, ".")
}

// condition reads {"operator": operands}; an array stands for all of it.
func (r *reader) condition(n *node, path string, depth int, nodes *int) Condition {
	if *nodes++; depth >= MaxDepth || *nodes > MaxNodes {
		r.fail(n.line, path, "a condition nests at most %d deep and holds at most %d expressions", MaxDepth, MaxNodes)
		return Condition{}
	}
	if n.value == json.Delim('[') {
		return Condition{Op: "all", Terms: r.terms(n, path, depth, nodes)}
	}
	if n.value != json.Delim('{') || len(n.fields) != 1 {
		r.fail(n.line, path, "want an object with one operator: %s", strings.Join(sortedKeys(operators), ", "))
		return Condition{}
	}
	op, operands := n.fields[0].name, n.fields[0].node
	c := Condition{Op: op}
	at := join(path, op)
	switch op {
	case "all", "any":
		c.Terms = r.terms(operands, at, depth, nodes)
	case "not":
		c.Terms = []Condition{r.condition(operands, at, depth+1, nodes)}
	case "exists":
		c.Left = r.path(operands, at)
	default:
		r.comparison(&c, n.fields[0].line, operands, at)
	}
	return c
}

func (r *reader) terms(n *node, path string, depth int, nodes *int) []Condition {
	var terms []Condition
	r.list(n, path, MaxNodes, func(n *node, path string) {
		terms = append(terms, r.condition(n, path, depth+1, nodes))
	})
	return terms
}

func (r *reader) comparison(c *Condition, line int, n *node, path string) {
	if operators[c.Op] == 0 {
		r.fail(line, path, "unknown operator; known: %s", strings.Join(sortedKeys(operators), ", "))
		return
	}
	if n.value != json.Delim('[') || len(n.items) != 2 {
		r.fail(n.line, path, "want [path, value]")
		return
	}
	c.Left = r.path(n.items[0], path+"[0]")
	c.Right = r.operand(n.items[1], path+"[1]")
	if c.Op == "in" && len(c.Right.Path) == 0 && n.items[1].value != json.Delim('[') {
		r.fail(n.items[1].line, path+"[1]", "want an array of values, or a path")
	}
}

func (r *reader) path(n *node, path string) Operand {
	text, ok := n.value.(string)
	if !ok {
		r.fail(n.line, path, "found %s, want a path such as subject.properties.role", n.kind())
		return Operand{}
	}
	parts := splitPath(text)
	if number, _ := findRoot(parts); number == 0 {
		r.fail(n.line, path, "unknown path %q; known: subject.type, subject.id, subject.roles, subject.properties.…, "+
			"action.name, action.properties.…, resource.type, resource.id, resource.owner, resource.properties.…, context.…", text)
	}
	return Operand{Path: parts}
}

// operand reads a constant, or {"path": "…"}; {"value": …} is a constant that
// looks like one of these two.
func (r *reader) operand(n *node, path string) Operand {
	if n.value == json.Delim('{') && len(n.fields) == 1 {
		switch f := n.fields[0]; f.name {
		case "path":
			return r.path(f.node, join(path, f.name))
		case "value":
			return Operand{Value: r.encoded(f.node, join(path, f.name))}
		}
	}
	return Operand{Value: r.encoded(n, path)}
}

func appendCondition(b []byte, c *Condition) []byte {
	number := operators[c.Op]
	switch c.Op {
	case "all", "any", "not":
		b = cbor.AppendUint(cbor.AppendArray(b, 1+len(c.Terms)), number)
		for i := range c.Terms {
			b = appendCondition(b, &c.Terms[i])
		}
		return b
	case "exists":
		return appendOperand(cbor.AppendUint(cbor.AppendArray(b, 2), number), &c.Left)
	}
	b = cbor.AppendUint(cbor.AppendArray(b, 3), number)
	return appendOperand(appendOperand(b, &c.Left), &c.Right)
}

func appendOperand(b []byte, o *Operand) []byte {
	if len(o.Path) == 0 {
		return append(cbor.AppendUint(cbor.AppendArray(b, 2), 0), o.Value...)
	}
	number, names := findRoot(o.Path)
	b = cbor.AppendUint(cbor.AppendArray(b, 1+len(names)), number)
	for _, name := range names {
		b = cbor.AppendText(b, name)
	}
	return b
}

func parseCondition(r *cbor.Reader) Condition {
	n := r.Array()
	number := r.Uint()
	var c Condition
	for name, op := range operators {
		if op == number {
			c.Op = name
		}
	}
	switch c.Op {
	case "":
		r.Fail(errUnknownForm)
	case "all", "any", "not":
		for i := 1; i < n && r.Err() == nil; i++ {
			c.Terms = append(c.Terms, parseCondition(r))
		}
	case "exists":
		c.Left = parseOperand(r)
	default:
		c.Left, c.Right = parseOperand(r), parseOperand(r)
	}
	return c
}

func parseOperand(r *cbor.Reader) Operand {
	n := r.Array()
	number := r.Uint()
	if number == 0 {
		return Operand{Value: r.Raw()}
	}
	if number >= uint64(len(roots)) {
		r.Fail(errUnknownForm)
		return Operand{}
	}
	path := slices.Clone(roots[number].words)
	for i := 1; i < n && r.Err() == nil; i++ {
		path = append(path, r.Text())
	}
	return Operand{Path: path}
}
