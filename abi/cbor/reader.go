package cbor

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Reader reads items one after another from a buffer that it borrows: byte
// and text strings alias the input. The first error sticks; every later read
// returns a zero value, so a caller checks Err or Done once at the end.
type Reader struct {
	buf     []byte
	off     int
	err     error
	borrow  bool // texts alias buf
	checked bool // buf is canonical
}

// NewReader reads from b.
func NewReader(b []byte) Reader { return Reader{buf: b} }

// NewBorrowingReader reads from b, which nobody may change any more: texts
// alias it like byte strings, so that nothing is allocated.
func NewBorrowingReader(b []byte) Reader { return Reader{buf: b, borrow: true} }

// NewCheckedReader is NewBorrowingReader for a buffer that was checked before
// as Validate checks, by the host that handed it to a guest. Texts, and items
// that are read whole, are not checked again; what is not canonical after all
// is read as something or other, within the buffer.
func NewCheckedReader(b []byte) Reader { return Reader{buf: b, borrow: true, checked: true} }

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Offset is the position of the next item in bytes from the start.
func (r *Reader) Offset() int { return r.off }

// Fail makes err the reader's error if it has none, so that a parser's own
// refusal ends the reading like a malformed item does.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Done returns the first error, or an error if bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && r.off != len(r.buf) {
		r.failN("# bytes left over", uint64(len(r.buf)-r.off))
	}
	return r.err
}

// malformed is what a Reader found wrong. Its text is put together when
// somebody reads it: a guest that only refuses pays for no formatting.
type malformed struct {
	offset int
	what   string
	n      uint64 // stands for the # in what
}

func (e *malformed) Error() string {
	what := e.what
	if i := strings.IndexByte(what, '#'); i >= 0 {
		what = what[:i] + strconv.FormatUint(e.n, 10) + what[i+1:]
	}
	return ErrMalformed.Error() + " at byte " + strconv.Itoa(e.offset) + ": " + what
}

func (e *malformed) Unwrap() error { return ErrMalformed }

// fail makes what is wrong at the present offset the reader's error.
func (r *Reader) fail(what string) { r.failN(what, 0) }

// failN is fail with a number that stands for the # in what.
func (r *Reader) failN(what string, n uint64) {
	if r.err == nil {
		r.err = &malformed{r.off, what, n}
	}
}

// failKind refuses the kind of the next item.
func (r *Reader) failKind(want string) {
	if r.err == nil {
		r.fail("found " + r.Kind().String() + ", want " + want)
	}
}

// head reads one head and returns its major type and argument. It refuses
// reserved and indefinite forms and heads that are not the shortest.
func (r *Reader) head() (major byte, arg uint64) {
	if r.err != nil {
		return 0xff, 0
	}
	if r.off >= len(r.buf) {
		r.fail("unexpected end of input")
		return 0xff, 0
	}
	first := r.buf[r.off]
	major, info := first>>5, first&31
	if info < 24 {
		r.off++
		return major, uint64(info)
	}
	if info > 27 {
		r.fail("reserved or indefinite head 0x" + strconv.FormatUint(uint64(first), 16))
		return 0xff, 0
	}
	size := 1 << (info - 24)
	if len(r.buf)-r.off-1 < size {
		r.fail("unexpected end of input")
		return 0xff, 0
	}
	for _, c := range r.buf[r.off+1 : r.off+1+size] {
		arg = arg<<8 | uint64(c)
	}
	if major == majorOther {
		r.fail("floats and extended simple values are not admitted (0x" + strconv.FormatUint(uint64(first), 16) + ")")
		return 0xff, 0
	}
	if size == 1 && arg < 24 || size > 1 && arg>>(size*4) == 0 {
		r.fail("head is not in its shortest form")
		return 0xff, 0
	}
	r.off += 1 + size
	return major, arg
}

// Kind tells what the next item is without reading it.
func (r *Reader) Kind() Kind {
	if r.err != nil || r.off >= len(r.buf) {
		return KindNone
	}
	first := r.buf[r.off]
	if first>>5 != majorOther {
		return Kind(first>>5) + KindUint
	}
	switch first {
	case simpleFalse, simpleTrue:
		return KindBool
	case simpleNull:
		return KindNull
	}
	return KindNone
}

// expect reads the head of an item of a kind that has an argument. Most heads
// are one byte; guests pay for every call.
func (r *Reader) expect(want Kind) (uint64, bool) {
	if r.err == nil && r.off < len(r.buf) {
		if arg := r.buf[r.off] ^ byte(want-KindUint)<<5; arg < 24 {
			r.off++
			return uint64(arg), true
		}
	}
	return r.expectLong(want)
}

// expectLong is expect for longer heads, and for what is not expected.
func (r *Reader) expectLong(want Kind) (uint64, bool) {
	if r.Kind() != want {
		r.failKind(want.String())
	}
	_, arg := r.head()
	return arg, r.err == nil
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 {
	v, _ := r.expect(KindUint)
	return v
}

// Int reads a signed integer of 64 bits.
func (r *Reader) Int() int64 {
	want := KindUint
	if r.Kind() == KindNint {
		want = KindNint
	}
	start := r.off
	v, ok := r.expect(want)
	if !ok {
		return 0
	}
	if v > math.MaxInt64 {
		r.off = start
		r.fail("integer does not fit in 64 bits")
		return 0
	}
	if want == KindNint {
		return -1 - int64(v)
	}
	return int64(v)
}

func (r *Reader) take(n uint64) []byte {
	if uint64(len(r.buf)-r.off) < n {
		r.failN("string of # bytes runs past the end", n)
		return nil
	}
	b := r.buf[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return b
}

// Bytes reads a byte string; it aliases the input.
func (r *Reader) Bytes() []byte {
	n, ok := r.expect(KindBytes)
	if !ok {
		return nil
	}
	return r.take(n)
}

// BytesN reads a byte string of exactly n bytes.
func (r *Reader) BytesN(n int) []byte {
	b := r.Bytes()
	if r.err == nil && len(b) != n {
		r.failN("byte string has # bytes, want "+strconv.Itoa(n), uint64(len(b)))
		return nil
	}
	return b
}

// TextBytes reads a text string as bytes that alias the input.
func (r *Reader) TextBytes() []byte {
	n, ok := r.expect(KindText)
	if !ok {
		return nil
	}
	return r.takeText(n)
}

func (r *Reader) takeText(n uint64) []byte {
	b := r.take(n)
	if !r.checked && !utf8.Valid(b) {
		r.fail("text is not valid UTF-8")
		return nil
	}
	return b
}

// Text reads a text string.
func (r *Reader) Text() string {
	b := r.TextBytes()
	if r.borrow {
		return unsafe.String(unsafe.SliceData(b), len(b))
	}
	return string(b)
}

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	if r.Kind() != KindBool {
		r.failKind("boolean")
		return false
	}
	v := r.buf[r.off] == simpleTrue
	r.off++
	return v
}

// Null reads null.
func (r *Reader) Null() {
	if r.Kind() != KindNull {
		r.failKind("null")
		return
	}
	r.off++
}

// Tag reads the head of a tagged item.
func (r *Reader) Tag() uint64 {
	v, _ := r.expect(KindTag)
	return v
}

func (r *Reader) count(want Kind, perItem int) int {
	n, ok := r.expect(want)
	if !ok {
		return 0
	}
	return r.fits(want, n, perItem)
}

// fits is n as a count, if that many items of at least perItem bytes each can
// follow.
func (r *Reader) fits(want Kind, n uint64, perItem int) int {
	if n > uint64(len(r.buf)-r.off)/uint64(perItem) {
		r.failN(want.String()+" of # runs past the end", n)
		return 0
	}
	return int(n)
}

// Array reads the head of an array and returns its length. The length never
// exceeds the bytes that are left, so it is safe to allocate by it.
func (r *Reader) Array() int { return r.count(KindArray, 1) }

// ArrayN reads the head of an array of exactly n items.
func (r *Reader) ArrayN(n int) {
	if got := r.Array(); r.err == nil && got != n {
		r.failN("array of # items, want "+strconv.Itoa(n), uint64(got))
	}
}

// Map reads the head of a map and returns its number of pairs. The caller
// checks the order of the keys, or has them checked by Raw before; see also
// Fields.
func (r *Reader) Map() int { return r.count(KindMap, 2) }

// Raw reads one item of any kind, nested ones included, and returns its
// encoding, which aliases the input. It is checked as Validate checks.
func (r *Reader) Raw() []byte {
	start := r.off
	if r.checked {
		r.pass()
		return r.since(start)
	}
	items := MaxItems
	r.skip(0, &items)
	return r.since(start)
}

// RawTextMap reads a map whose keys are text strings, like Raw. The keys of
// maps within it may be of any kind.
func (r *Reader) RawTextMap() []byte {
	start := r.off
	if got := r.Kind(); got != KindMap {
		r.failKind(KindMap.String())
	}
	if r.checked {
		return r.Raw()
	}
	items := MaxItems - 1
	r.skipPairs(r.Map(), 0, &items, true)
	return r.since(start)
}

func (r *Reader) since(start int) []byte {
	if r.err != nil {
		return nil
	}
	return r.buf[start:r.off:r.off]
}

// Skip reads one item of any kind and drops it.
func (r *Reader) Skip() { r.Raw() }

// pass moves behind one item by the lengths in its heads alone.
func (r *Reader) pass() {
	if r.err != nil {
		return
	}
	buf, off := r.buf, r.off
	for left := 1; left > 0; left-- {
		if left > len(buf)-off { // each takes a byte at least
			r.fail("unexpected end of input")
			return
		}
		major, arg := buf[off]>>5, uint64(buf[off]&31)
		off++
		if arg >= 24 {
			r.off = off - 1
			if _, arg = r.head(); r.err != nil {
				return
			}
			off = r.off
		}
		switch major {
		case majorBytes, majorText:
			if arg > uint64(len(buf)-off) {
				r.failN("string of # bytes runs past the end", arg)
				return
			}
			off += int(arg)
		case majorArray:
			left += int(min(arg, uint64(len(buf))))
		case majorMap:
			left += 2 * int(min(arg, uint64(len(buf))))
		case majorTag:
			left++
		}
	}
	r.off = off
}

func (r *Reader) skip(depth int, items *int) {
	if depth > MaxDepth {
		r.failN("nesting is deeper than #", MaxDepth)
		return
	}
	if *items--; *items < 0 {
		r.failN("more than # items", MaxItems)
		return
	}
	start := r.off
	major, arg := r.head()
	if r.err != nil {
		return
	}
	switch major {
	case majorBytes:
		r.take(arg)
	case majorText:
		r.takeText(arg)
	case majorArray:
		for n := r.fits(KindArray, arg, 1); n > 0 && r.err == nil; n-- {
			r.skip(depth+1, items)
		}
	case majorMap:
		r.skipPairs(r.fits(KindMap, arg, 2), depth, items, false)
	case majorTag:
		r.off = start
		r.Decimal()
	case majorOther:
		if first := r.buf[start]; first != simpleFalse && first != simpleTrue && first != simpleNull {
			r.off = start
			r.fail("simple value is not admitted")
		}
	}
}

// skipPairs skips the n pairs of a map that stands at depth.
func (r *Reader) skipPairs(n, depth int, items *int, textKeys bool) {
	var last []byte
	for ; n > 0 && r.err == nil; n-- {
		start := r.off
		if k := r.Kind(); textKeys && k != KindText || k > KindText {
			r.fail("a map key may not be a " + k.String() + " here")
			return
		}
		r.skip(depth+1, items)
		key := r.buf[start:r.off]
		if last != nil && string(key) <= string(last) {
			r.off = start
			r.fail("map key is out of order or repeated")
			return
		}
		last = key
		r.skip(depth+1, items)
	}
}

// Validate checks that b is exactly one item in core deterministic encoding
// within MaxDepth and MaxItems.
func Validate(b []byte) error {
	r := NewReader(b)
	r.Skip()
	return r.Done()
}

// Fields walks a map with unsigned integer keys in ascending order, the form
// of every record of the protocol:
//
//	for f := r.Fields(); f.Next(); {
//		switch f.Key() {
//		case 1:
//			x = r.Uint()
//		default:
//			r.Skip()
//		}
//	}
type Fields struct {
	r    *Reader
	left int
	last int64
}

// Fields reads the head of a map with unsigned integer keys.
func (r *Reader) Fields() Fields { return Fields{r: r, left: r.Map(), last: -1} }

// Next reads the next key; it is false at the end of the map or on an error.
func (f *Fields) Next() bool {
	if f.left == 0 || f.r.err != nil {
		return false
	}
	f.left--
	start := f.r.off
	key := f.r.Uint()
	if f.r.err != nil {
		return false
	}
	if key > math.MaxInt64 || int64(key) <= f.last {
		f.r.off = start
		f.r.failN("map key # is out of order or repeated", key)
		return false
	}
	f.last = int64(key)
	return true
}

// Key is the key that Next read.
func (f *Fields) Key() uint64 { return uint64(f.last) }
