package chain

import (
	"fmt"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxText bounds free texts in records in bytes: reasons, notes, what devices
// say of themselves. They are one line, without control characters.
const MaxText = 256

// fields collects a map's pairs, keys ascending; absent ones are not added.
type fields struct {
	b []byte
	n int
}

func (f *fields) key(k uint64) []byte {
	f.n++
	return cbor.AppendUint(f.b, k)
}

func (f *fields) uint(k, v uint64) { f.b = cbor.AppendUint(f.key(k), v) }

func (f *fields) int(k uint64, v int64) { f.b = cbor.AppendInt(f.key(k), v) }

func (f *fields) text(k uint64, v string) { f.b = cbor.AppendText(f.key(k), v) }

func (f *fields) bytes(k uint64, v []byte) { f.b = cbor.AppendBytes(f.key(k), v) }

func (f *fields) raw(k uint64, v []byte) { f.b = append(f.key(k), v...) }

// The opt forms leave out a zero value.
func (f *fields) optUint(k, v uint64) {
	if v != 0 {
		f.uint(k, v)
	}
}

func (f *fields) optText(k uint64, v string) {
	if v != "" {
		f.text(k, v)
	}
}

func (f *fields) optBytes(k uint64, v []byte) {
	if len(v) > 0 {
		f.bytes(k, v)
	}
}

func (f *fields) appendTo(b []byte) []byte { return append(cbor.AppendMap(b, f.n), f.b...) }

// parseArgs walks the map b, hands each pair to read, refuses keys that read
// does not know, and requires the keys of the bit set.
func parseArgs(b []byte, required uint64, read func(key uint64, r *cbor.Reader) bool) error {
	r := cbor.NewReader(b)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); {
		if !read(f.Key(), &r) {
			r.Fail(abi.CodeBadArgument)
		}
		seen |= 1 << min(f.Key(), 63)
	}
	if err := r.Done(); err != nil {
		return abi.Malformed(err)
	}
	if seen&required != required {
		return abi.CodeBadArgument
	}
	return nil
}

// parseRecord walks the map b; read skips the keys it does not know.
func parseRecord(b []byte, read func(key uint64, r *cbor.Reader)) error {
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		read(f.Key(), &r)
	}
	if err := r.Done(); err != nil {
		return abi.Malformed(err)
	}
	return nil
}

func hashOf(r *cbor.Reader) (h abi.Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}

func hashRef(r *cbor.Reader) *abi.Hash {
	h := hashOf(r)
	return &h
}

func rawMap(r *cbor.Reader) []byte {
	if r.Kind() != cbor.KindMap {
		r.Fail(abi.CodeBadArgument)
	}
	return r.Raw()
}

func rawArray(r *cbor.Reader) []byte {
	if r.Kind() != cbor.KindArray {
		r.Fail(abi.CodeBadArgument)
	}
	return r.Raw()
}

func name(r *cbor.Reader) string {
	s := r.Text()
	if r.Err() == nil && !abi.ValidName(s) {
		r.Fail(abi.CodeBadArgument)
	}
	return s
}

// shortText reads a text of 1 to MaxText bytes on one line.
func shortText(r *cbor.Reader) string {
	s := r.Text()
	if r.Err() == nil && (s == "" || len(s) > MaxText || hasControl(s)) {
		r.Fail(abi.CodeBadArgument)
	}
	return s
}

// hasControl says whether s holds a control character (Unicode category Cc).
// They are refused in texts because a NUL separates manufacturer and serial in
// SerialKey, and because an escape would reach the operator's terminal.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c >= 0x7f && c < 0xa0 })
}

// An optional field that is zero or empty is left out, so that a message has
// one encoding only: nonZero and someBytes refuse it when it is there.

func nonZero(r *cbor.Reader) uint64 {
	v := r.Uint()
	if v == 0 {
		r.Fail(fmt.Errorf("zero field is left out: %w", abi.CodeMalformed))
	}
	return v
}

func someBytes(r *cbor.Reader) []byte {
	b := r.Bytes()
	if len(b) == 0 {
		r.Fail(fmt.Errorf("empty field is left out: %w", abi.CodeMalformed))
	}
	return b
}

// uintUpTo reads an unsigned integer that must fit a smaller type.
func uintUpTo(r *cbor.Reader, limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail(fmt.Errorf("%d is above %d: %w", v, limit, abi.CodeBadArgument))
		return 0
	}
	return v
}

// sub hands the next item to another parser.
func sub[T any](r *cbor.Reader, parse func([]byte) (T, error)) (v T) {
	raw := r.Raw()
	if r.Err() != nil {
		return v
	}
	v, err := parse(raw)
	if err != nil {
		r.Fail(err)
	}
	return v
}

func appendByteStrings(b []byte, list [][]byte) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, x := range list {
		b = cbor.AppendBytes(b, x)
	}
	return b
}

func readByteStrings(r *cbor.Reader) [][]byte {
	var list [][]byte
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Bytes())
	}
	return list
}

func appendTexts(b []byte, list []string) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, s := range list {
		b = cbor.AppendText(b, s)
	}
	return b
}

func readTexts(r *cbor.Reader) (list []string) {
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Text())
	}
	return list
}
