package cbor

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendJSON converts one JSON value (RFC 8259) to its canonical CBOR: objects
// become maps with sorted text keys, numbers become integers or decimal
// fractions. A number that has no exact form, a repeated key, invalid UTF-8,
// half a surrogate pair or nesting beyond MaxDepth is refused; the error names
// the path. The caller bounds the length of src: the number of items is not
// limited to MaxItems. Time is at most n log n in that length for each level
// of nesting; memory is the output's, twice where keys are out of order, and
// three words for each key of the objects that are open at one time.
func AppendJSON(b, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return nil, errors.New("JSON is not valid UTF-8")
	}
	var room [32]jsonPair // on the stack, enough for a decision request
	s := jsonScanner{src: src, out: slices.Grow(b, len(src))}
	if err := s.value(0, room[:]); err != nil {
		return nil, err
	}
	if s.peek(); s.off < len(src) {
		return nil, errors.New("JSON has more than one value")
	}
	return s.out, nil
}

// jsonScanner reads a JSON text once, front to back, and appends its values to
// out as it meets them. Room for an object's pairs is handed down as an
// argument, what the outer objects left of it; in a field it could not lie on
// the stack.
type jsonScanner struct {
	src []byte
	off int // of the next byte in src
	out []byte
}

// jsonPair is where in the output a key, its value and their end lie.
type jsonPair struct{ key, value, end int }

// value appends the value that comes next, which stands at depth.
func (s *jsonScanner) value(depth int, room []jsonPair) error {
	c := s.peek()
	if depth > MaxDepth {
		return jsonError("nesting is deeper than " + strconv.Itoa(MaxDepth))
	}
	switch c {
	case '{':
		return s.object(depth, room)
	case '[':
		return s.array(depth, room)
	case '"':
		return s.text()
	case 't':
		return s.literal("true", simpleTrue)
	case 'f':
		return s.literal("false", simpleFalse)
	case 'n':
		return s.literal("null", simpleNull)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number()
	}
	return s.unexpected("a value")
}

func (s *jsonScanner) literal(word string, item byte) error {
	for i := range len(word) {
		if err := s.expect(word[i]); err != nil {
			return err
		}
	}
	s.out = append(s.out, item)
	return nil
}

func (s *jsonScanner) number() error {
	start := s.off
	s.accept('-')
	ok := s.accept('0') || s.digits()
	if ok && s.accept('.') {
		ok = s.digits()
	}
	if ok && (s.accept('e') || s.accept('E')) {
		_ = s.accept('+') || s.accept('-')
		ok = s.digits()
	}
	if !ok {
		return s.unexpected("a digit")
	}
	d, err := ParseDecimal(string(s.src[start:s.off]))
	if err != nil {
		return &pathError{err: inexact(s.src[start:s.off])}
	}
	s.out = AppendDecimal(s.out, d)
	return nil
}

// digits steps over a run of digits and says whether there was one.
func (s *jsonScanner) digits() bool {
	start := s.off
	for s.off < len(s.src) && s.src[s.off]-'0' <= 9 {
		s.off++
	}
	return s.off > start
}

func (s *jsonScanner) text() error {
	s.off++
	head := s.open()
	for {
		start := s.off
		for s.off < len(s.src) && s.src[s.off] >= ' ' && s.src[s.off] != '"' && s.src[s.off] != '\\' {
			s.off++
		}
		s.out = append(s.out, s.src[start:s.off]...)
		switch {
		case s.accept('"'):
			s.close(head, majorText, len(s.out)-head-1)
			return nil
		case !s.accept('\\'):
			return s.unexpected("its escape")
		}
		if err := s.escape(); err != nil {
			return err
		}
	}
}

// The characters that have a short escape, and what follows its backslash
// (RFC 8259 section 7). A writer need not escape the last.
const (
	jsonEscaped = "\"\\\b\f\n\r\t/"
	jsonEscapes = `"\bfnrt/`
)

// escape appends what the escape stands for whose backslash was read.
func (s *jsonScanner) escape() error {
	if s.accept('u') {
		return s.unicode()
	}
	if s.off == len(s.src) {
		return s.unexpected("an escape")
	}
	i := strings.IndexByte(jsonEscapes, s.src[s.off])
	if i < 0 {
		return s.unexpected("an escape")
	}
	s.off++
	s.out = append(s.out, jsonEscaped[i])
	return nil
}

// unicode appends the character of \uXXXX, or of two of them, whose first two
// bytes were read. Half a surrogate pair (RFC 8259 section 8.2) is no
// character and is never replaced by U+FFFD.
func (s *jsonScanner) unicode() error {
	rest := s.src[s.off-2:]
	char, size := escapedUnit(rest), 6
	if char < 0 {
		return jsonError(`\u wants four hexadecimal digits`)
	}
	if utf16.IsSurrogate(char) {
		char, size = utf16.DecodeRune(char, escapedUnit(rest[6:])), 12
		if char == utf8.RuneError {
			return jsonError("string escapes half a surrogate pair")
		}
	}
	s.off += size - 2
	s.out = utf8.AppendRune(s.out, char)
	return nil
}

// escapedUnit reads \uXXXX at the start of s, or is -1.
func escapedUnit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	v, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(v)
}

func (s *jsonScanner) array(depth int, room []jsonPair) error {
	s.off++
	head := s.open()
	n := 0
	for ; s.more(); n++ {
		if err := s.element(n, depth, room); err != nil {
			return under("["+strconv.Itoa(n)+"]", err)
		}
	}
	s.close(head, majorArray, n)
	return s.expect(']')
}

func (s *jsonScanner) element(n, depth int, room []jsonPair) error {
	if err := s.comma(n); err != nil {
		return err
	}
	return s.value(depth+1, room)
}

func (s *jsonScanner) object(depth int, room []jsonPair) error {
	s.off++
	head := s.open()
	pairs := room[:0]
	for s.more() {
		if err := s.comma(len(pairs)); err != nil {
			return err
		}
		p, err := s.pair(depth, pairs[len(pairs):cap(pairs)])
		if err != nil {
			return err
		}
		pairs = append(pairs, p)
	}
	if err := s.expect('}'); err != nil {
		return err
	}
	if err := s.sort(pairs); err != nil {
		return err
	}
	s.close(head, majorMap, len(pairs))
	return nil
}

func (s *jsonScanner) pair(depth int, room []jsonPair) (jsonPair, error) {
	p := jsonPair{key: len(s.out)}
	if s.peek() != '"' {
		return p, s.unexpected("a key")
	}
	if err := s.text(); err != nil {
		return p, err
	}
	p.value = len(s.out)
	if err := s.member(depth, room); err != nil {
		return p, under("."+s.name(p), err)
	}
	p.end = len(s.out)
	return p, nil
}

// member appends the value of the key that was read.
func (s *jsonScanner) member(depth int, room []jsonPair) error {
	s.peek()
	if err := s.expect(':'); err != nil {
		return err
	}
	return s.value(depth+1, room)
}

// name is the key of p.
func (s *jsonScanner) name(p jsonPair) string {
	r := NewReader(s.out[p.key:p.value])
	return r.Text()
}

// sort brings the pairs, which end the output, into ascending order of their
// keys and refuses two of one key. Keys are compared as encoded, so escapes
// hide none.
func (s *jsonScanner) sort(pairs []jsonPair) error {
	compare := func(p, q jsonPair) int { return bytes.Compare(s.out[p.key:p.value], s.out[q.key:q.value]) }
	sorted := slices.IsSortedFunc(pairs, compare)
	if !sorted {
		slices.SortFunc(pairs, compare)
	}
	for i := 1; i < len(pairs); i++ {
		if p := pairs[i]; compare(pairs[i-1], p) == 0 {
			return jsonError("key " + strconv.Quote(s.name(p)) + " is repeated")
		}
	}
	if !sorted {
		s.rearrange(pairs)
	}
	return nil
}

// rearrange makes the end of the output the pairs in their present order. What
// follows the output serves as scratch.
func (s *jsonScanner) rearrange(pairs []jsonPair) {
	end := len(s.out)
	for _, p := range pairs {
		s.out = append(s.out, s.out[p.key:p.end]...)
	}
	sorted := s.out[end:]
	s.out = s.out[:end]
	copy(s.out[end-len(sorted):], sorted)
}

// open appends a head of one byte for close to fill in.
func (s *jsonScanner) open() (head int) {
	s.out = append(s.out, 0)
	return len(s.out) - 1
}

// close writes the head at offset head; what follows gives way if n needs more
// than the head's one byte.
func (s *jsonScanner) close(head int, major byte, n int) {
	if n < 24 {
		s.out[head] = major<<5 | byte(n)
		return
	}
	var room [9]byte
	s.out = slices.Replace(s.out, head, head+1, appendHead(room[:0], major, uint64(n))...)
}

// more says whether the array or object goes on; what closes it, rightly or
// not, is left to be read.
func (s *jsonScanner) more() bool {
	c := s.peek()
	return c != ']' && c != '}' && s.off < len(s.src)
}

// comma steps over the comma before item n.
func (s *jsonScanner) comma(n int) error {
	if n == 0 {
		return nil
	}
	return s.expect(',')
}

// peek steps over white space and returns the byte after it, or 0 at the end.
func (s *jsonScanner) peek() byte {
	for ; s.off < len(s.src); s.off++ {
		switch c := s.src[s.off]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// accept steps over the next byte if it is c.
func (s *jsonScanner) accept(c byte) bool {
	if s.off == len(s.src) || s.src[s.off] != c {
		return false
	}
	s.off++
	return true
}

func (s *jsonScanner) expect(c byte) error {
	if s.accept(c) {
		return nil
	}
	return s.unexpected(strconv.QuoteRune(rune(c)))
}

func (s *jsonScanner) unexpected(want string) error {
	if s.off == len(s.src) {
		return &pathError{err: io.ErrUnexpectedEOF}
	}
	c, _ := utf8.DecodeRune(s.src[s.off:])
	return jsonError("found " + strconv.QuoteRune(c) + ", want " + want)
}

// inexact is the text of a number that has no exact form.
type inexact string

func (e inexact) Error() string { return string(e) + ": " + ErrInexact.Error() }

func (e inexact) Unwrap() error { return ErrInexact }

func jsonError(what string) error { return &pathError{err: errors.New(what)} }

// pathError says where in a JSON value an error lies. The path grows while the
// recursion unwinds, so that a value without errors pays nothing for it. Every
// error of a jsonScanner is one.
type pathError struct {
	path string // such as ".rules[3].id"; empty at the top
	err  error
}

func (e *pathError) Error() string {
	if e.path == "" {
		return "JSON value: " + e.err.Error()
	}
	return e.path + ": " + e.err.Error()
}

func (e *pathError) Unwrap() error { return e.err }

// under is a jsonScanner's err with its path begun one step further out.
func under(step string, err error) error {
	p := err.(*pathError)
	return &pathError{step + p.path, p.err}
}

// AppendAsJSON writes the canonical CBOR item src as JSON: byte strings as
// base64url without padding, decimal fractions as numbers, integer keys as
// their decimal text. Maps with other keys, or with keys of two kinds (1 and
// "1" would be one name), have no JSON form, nor have integers below -2^63.
func AppendAsJSON(b, src []byte) ([]byte, error) {
	r := NewReader(src)
	b = r.appendJSON(b, 0)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return b, nil
}

func (r *Reader) appendJSON(b []byte, depth int) []byte {
	if depth > MaxDepth {
		r.failN("nesting is deeper than #", MaxDepth)
		return b
	}
	switch r.Kind() {
	case KindUint:
		return strconv.AppendUint(b, r.Uint(), 10)
	case KindNint:
		return strconv.AppendInt(b, r.Int(), 10)
	case KindBytes:
		b = base64.RawURLEncoding.AppendEncode(append(b, '"'), r.Bytes())
		return append(b, '"')
	case KindText:
		return appendJSONString(b, r.TextBytes())
	case KindBool:
		return strconv.AppendBool(b, r.Bool())
	case KindNull:
		r.Null()
		return append(b, "null"...)
	case KindTag:
		return append(b, r.Decimal().String()...)
	case KindArray:
		b = append(b, '[')
		for i, n := 0, r.Array(); i < n && r.err == nil; i++ {
			if i > 0 {
				b = append(b, ',')
			}
			b = r.appendJSON(b, depth+1)
		}
		return append(b, ']')
	case KindMap:
		return r.appendJSONMap(b, depth)
	}
	r.head()
	r.fail("item has no JSON form")
	return b
}

func (r *Reader) appendJSONMap(b []byte, depth int) []byte {
	b = append(b, '{')
	var last []byte
	for i, n := 0, r.Map(); i < n && r.err == nil; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		start := r.off
		text := r.Kind() == KindText
		b = r.appendJSONKey(b)
		key := r.buf[start:r.off]
		if last != nil && string(key) <= string(last) {
			r.fail("map key is out of order or repeated")
		}
		if last != nil && text != (last[0]>>5 == majorText) {
			r.fail("map keys of two kinds have no JSON form")
		}
		last = key
		b = append(b, ':')
		b = r.appendJSON(b, depth+1)
	}
	return append(b, '}')
}

func (r *Reader) appendJSONKey(b []byte) []byte {
	if r.Kind() == KindText {
		return appendJSONString(b, r.TextBytes())
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, r.Int(), 10)
	return append(b, '"')
}

// appendJSONString writes valid UTF-8 as encoding/json does: what HTML or
// JavaScript would read as its own is escaped too.
func appendJSONString(b, s []byte) []byte {
	b = append(b, '"')
	for {
		n := plainJSON(s)
		b = append(b, s[:n]...)
		if n == len(s) {
			return append(b, '"')
		}
		b, s = appendJSONEscape(b, s[n:])
	}
}

// plainJSON is how many bytes at the start of s need no escape.
func plainJSON(s []byte) int {
	for i, c := range s {
		switch {
		case c < ' ', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return i
		case c == lineSeparator[0] && isLineSeparator(s[i:]):
			return i
		}
	}
	return len(s)
}

// lineSeparator is U+2028; the paragraph separator U+2029 differs in the last
// bit. Both end a line in older JavaScript.
const lineSeparator = "\u2028"

// isLineSeparator tells for s that starts with the separators' first byte,
// after which valid UTF-8 has two more.
func isLineSeparator(s []byte) bool {
	return s[1] == lineSeparator[1] && s[2]&^1 == lineSeparator[2]
}

// appendJSONEscape escapes the first character of s and returns what follows.
func appendJSONEscape(b, s []byte) (_, rest []byte) {
	const hex = "0123456789abcdef"
	c := s[0]
	if c == lineSeparator[0] {
		return append(b, '\\', 'u', '2', '0', '2', '8'+s[2]&1), s[3:]
	}
	if i := strings.IndexByte(jsonEscaped, c); i >= 0 {
		return append(b, '\\', jsonEscapes[i]), s[1:]
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15]), s[1:]
}
