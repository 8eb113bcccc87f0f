package symbol

import (
	"strconv"
	"strings"
)

// Bounds of one name: back references may nest, and repeat what they name.
const (
	maxDepth = 64
	maxName  = 1 << 10 // bytes
)

// v0 demangles a symbol of RFC 2603, without hashes and lifetimes; it returns
// what it cannot read as it is.
func v0(symbol string) string {
	p := v0Parser{in: symbol[len("_R"):]}
	p.path()
	if p.failed {
		return symbol
	}
	return p.out.String()
}

// v0Parser walks over a symbol and writes what it says. After a failure it
// reads nothing but ends.
type v0Parser struct {
	in     string // behind "_R": back references count from here
	off    int
	depth  int
	out    strings.Builder
	muted  int // of what is read, nothing is written unless 0
	failed bool
}

func (p *v0Parser) fail() { p.failed, p.off = true, len(p.in) }

// peek is the next byte, 0 at the end.
func (p *v0Parser) peek() byte {
	if p.off == len(p.in) {
		return 0
	}
	return p.in[p.off]
}

func (p *v0Parser) next() byte {
	c := p.peek()
	if c == 0 {
		p.fail()
		return 0
	}
	p.off++
	return c
}

// eat steps over c if it is the next byte.
func (p *v0Parser) eat(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.off++
	return true
}

func (p *v0Parser) write(s string) {
	if p.muted > 0 {
		return
	}
	if p.out.Len()+len(s) > maxName {
		p.fail()
		return
	}
	p.out.WriteString(s)
}

// silently reads what is not shown.
func (p *v0Parser) silently(read func()) {
	p.muted++
	read()
	p.muted--
}

// nest bounds the depth of what read reads.
func (p *v0Parser) nest(read func()) {
	if p.depth == maxDepth {
		p.fail()
		return
	}
	p.depth++
	read()
	p.depth--
}

// base62 reads digits up to "_": none is 0, and others are one less than
// their number, which for a crate's hash may be beyond what 64 bits hold.
func (p *v0Parser) base62() (n uint64) {
	if p.eat('_') {
		return 0
	}
	for {
		c := p.next()
		switch {
		case c >= '0' && c <= '9':
			n = n*62 + uint64(c-'0')
		case c >= 'a' && c <= 'z':
			n = n*62 + uint64(c-'a') + 10
		case c >= 'A' && c <= 'Z':
			n = n*62 + uint64(c-'A') + 36
		case c == '_':
			return n + 1
		default:
			p.fail()
			return 0
		}
	}
}

// disambiguator tells apart what has the same name: 0 where there is none.
func (p *v0Parser) disambiguator() uint64 {
	if !p.eat('s') {
		return 0
	}
	return p.base62() + 1
}

// identifier reads a name that stands behind its length. One with letters
// beyond ASCII is left in its punycode.
func (p *v0Parser) identifier() string {
	p.eat('u')
	digits := 0
	for p.off+digits < len(p.in) && p.in[p.off+digits] >= '0' && p.in[p.off+digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseUint(p.in[p.off:p.off+digits], 10, 16)
	p.off += digits
	p.eat('_')
	if err != nil || n > uint64(len(p.in)-p.off) {
		p.fail()
		return ""
	}
	name := p.in[p.off : p.off+int(n)]
	p.off += int(n)
	return name
}

// backReference reads again what stands at an earlier place.
func (p *v0Parser) backReference(read func()) {
	at, start := p.base62(), p.off-1
	if p.failed || at >= uint64(start) {
		p.fail()
		return
	}
	if p.muted > 0 {
		return // what nobody sees need not be followed
	}
	back := p.off
	p.off = int(at)
	p.nest(read)
	if !p.failed {
		p.off = back
	}
}

func (p *v0Parser) path() { p.nest(p.pathBody) }

func (p *v0Parser) pathBody() {
	switch p.next() {
	case 'C':
		p.disambiguator()
		p.write(p.identifier())
	case 'M':
		p.implPath()
		p.angled(p.typ)
	case 'X':
		p.implPath()
		p.angled(p.asTrait)
	case 'Y':
		p.angled(p.asTrait)
	case 'N':
		p.nested()
	case 'I':
		p.path()
		p.angled(func() { p.list(p.genericArg) })
	case 'B':
		p.backReference(p.path)
	default:
		p.fail()
	}
}

// implPath says where an impl stands, which its name need not.
func (p *v0Parser) implPath() {
	p.disambiguator()
	p.silently(p.path)
}

func (p *v0Parser) angled(read func()) {
	p.write("<")
	read()
	p.write(">")
}

func (p *v0Parser) asTrait() {
	p.typ()
	p.write(" as ")
	p.path()
}

// nested is what lies in a path: closures and the like bear no name.
func (p *v0Parser) nested() {
	space := p.next()
	p.path()
	number, name := p.disambiguator(), p.identifier()
	switch {
	case space == 'C':
		p.write("::{closure#" + strconv.FormatUint(number, 10) + "}")
	case space == 'S':
		p.write("::{shim:" + name + "}")
	case name != "":
		p.write("::" + name)
	}
}

// list reads items up to "E".
func (p *v0Parser) list(item func()) {
	for first := true; !p.eat('E') && !p.failed; first = false {
		if !first {
			p.write(", ")
		}
		item()
	}
}

func (p *v0Parser) genericArg() {
	switch {
	case p.eat('L'):
		p.base62()
		p.write("'_")
	case p.eat('K'):
		p.constant()
	default:
		p.typ()
	}
}

// basicTypes are the types of one letter.
var basicTypes = map[byte]string{
	'a': "i8", 'b': "bool", 'c': "char", 'd': "f64", 'e': "str", 'f': "f32", 'h': "u8", 'i': "isize", 'j': "usize",
	'l': "i32", 'm': "u32", 'n': "i128", 'o': "u128", 'p': "_", 's': "i16", 't': "u16", 'u': "()", 'v': "...",
	'x': "i64", 'y': "u64", 'z': "!",
}

// pointers are the signs of types that point to one.
var pointers = map[byte]string{'R': "&", 'Q': "&mut ", 'P': "*const ", 'O': "*mut "}

func (p *v0Parser) typ() { p.nest(p.typeBody) }

func (p *v0Parser) typeBody() {
	c := p.peek()
	if name, ok := basicTypes[c]; ok {
		p.off++
		p.write(name)
		return
	}
	if sign, ok := pointers[c]; ok {
		p.off++
		p.write(sign)
		if p.eat('L') {
			p.base62()
		}
		p.typ()
		return
	}
	p.compound(c)
}

func (p *v0Parser) compound(c byte) {
	if strings.IndexByte("ASTFDB", c) < 0 {
		p.path()
		return
	}
	p.off++
	switch c {
	case 'A', 'S':
		p.write("[")
		p.typ()
		if c == 'A' {
			p.write("; ")
			p.constant()
		}
		p.write("]")
	case 'T':
		p.write("(")
		p.list(p.typ)
		p.write(")")
	case 'F':
		p.signature()
	case 'D':
		p.dynamic()
	case 'B':
		p.backReference(p.typ)
	}
}

func (p *v0Parser) binder() {
	if p.eat('G') {
		p.base62()
	}
}

// signature is the type of a function.
func (p *v0Parser) signature() {
	p.binder()
	p.eat('U')
	if p.eat('K') && !p.eat('C') {
		p.identifier()
	}
	p.write("fn(")
	p.list(p.typ)
	p.write(")")
	if p.eat('u') {
		return
	}
	p.write(" -> ")
	p.typ()
}

// dynamic is a trait object.
func (p *v0Parser) dynamic() {
	p.binder()
	p.write("dyn ")
	for first := true; !p.eat('E') && !p.failed; first = false {
		if !first {
			p.write(" + ")
		}
		p.path()
		for p.eat('p') {
			p.write(" " + p.identifier() + "=")
			p.typ()
		}
	}
	if !p.eat('L') {
		p.fail()
		return
	}
	p.base62()
}

// constant is a value in hex behind its type, both of which are shown as one
// number where it is short.
func (p *v0Parser) constant() {
	switch {
	case p.eat('p'):
		p.write("_")
		return
	case p.eat('B'):
		p.backReference(p.constant)
		return
	}
	p.silently(p.typ)
	if p.eat('n') {
		p.write("-")
	}
	digits, _, found := strings.Cut(p.in[p.off:], "_")
	if !found {
		p.fail()
		return
	}
	p.off += len(digits) + 1
	if n, err := strconv.ParseUint(digits, 16, 64); err == nil {
		digits = strconv.FormatUint(n, 10)
	}
	p.write(digits)
}
