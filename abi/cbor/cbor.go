// Package cbor is the one CBOR codec of host, clients and Go guests: core
// deterministic encoding (RFC 8949 section 4.2) written by appending, and a
// strict reader that borrows from its input. It uses no reflection and builds
// for Wasm.
//
// Only what Postern's formats use exists: integers, byte and text strings,
// arrays, maps, booleans, null and decimal fractions (tag 4). Floats,
// undefined, indefinite lengths, duplicate or unsorted map keys and longer
// than shortest heads are refused, never normalised. So are all other tags
// inside a value, because each brings rules of its own on what is canonical
// (a bignum that fits 64 bits, a date that is none); only a parser that
// expects a tag reads it, with Tag. Keys of maps are integers, byte or text
// strings, so that every decoder can hold them.
//
// A Reader is strict by itself: what it returns was canonical, and what Raw
// returns or Skip drops was checked as Validate checks. A parser that reads
// all of its message with one, map heads by Fields or RawTextMap, and ends
// with Done has refused every other encoding. Only Map leaves the order of the
// keys to the caller.
package cbor

import (
	"errors"
	"math"
)

// Major types (RFC 8949 section 3.1).
const (
	majorUint  = 0
	majorNint  = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	majorOther = 7
)

const (
	simpleFalse = 0xf4
	simpleTrue  = 0xf5
	simpleNull  = 0xf6
)

// TagDecimal is the tag of a decimal fraction [exponent, mantissa] (RFC 8949
// section 3.4.4).
const TagDecimal = 4

// MaxDepth is how deeply items may nest: the outermost one is at depth 0, and
// a decimal fraction counts as an atom. Device requests and policy values need
// fewer than ten levels; more only costs a parser stack.
const MaxDepth = 32

// MaxItems is how many items one validated message may hold, a decimal
// fraction counting as one. A 64 KiB transaction of one-byte items stays
// within it.
const MaxItems = 1 << 16

// ErrMalformed is the root of every error of a Reader.
var ErrMalformed = errors.New("malformed CBOR")

// Kind is what the next item of a Reader is.
type Kind uint8

// The kinds of items. KindNone stands for the end of the input or an error.
const (
	KindNone Kind = iota
	KindUint
	KindNint
	KindBytes
	KindText
	KindArray
	KindMap
	KindTag
	KindBool
	KindNull
)

var kindNames = [...]string{"end of input", "unsigned integer", "negative integer", "byte string", "text string", "array", "map", "tag", "boolean", "null"}

func (k Kind) String() string { return kindNames[k] }

func appendHead(b []byte, major byte, v uint64) []byte {
	major <<= 5
	switch {
	case v < 24:
		return append(b, major|byte(v))
	case v <= math.MaxUint8:
		return append(b, major|24, byte(v))
	case v <= math.MaxUint16:
		return append(b, major|25, byte(v>>8), byte(v))
	case v <= math.MaxUint32:
		return append(b, major|26, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return append(b, major|27, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32),
		byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// AppendUint appends an unsigned integer.
func AppendUint(b []byte, v uint64) []byte { return appendHead(b, majorUint, v) }

// AppendInt appends a signed integer.
func AppendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNint, uint64(-1-v))
	}
	return appendHead(b, majorUint, uint64(v))
}

// AppendBytes appends a byte string.
func AppendBytes(b, v []byte) []byte { return append(appendHead(b, majorBytes, uint64(len(v))), v...) }

// AppendText appends a text string, which must be valid UTF-8.
func AppendText(b []byte, v string) []byte {
	return append(appendHead(b, majorText, uint64(len(v))), v...)
}

// AppendArray appends the head of an array of n items; the caller appends them.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendMap appends the head of a map of n pairs; the caller appends keys and
// values, keys in ascending bytewise order of their encodings.
func AppendMap(b []byte, n int) []byte { return appendHead(b, majorMap, uint64(n)) }

// AppendTag appends a tag; the caller appends the tagged item.
func AppendTag(b []byte, tag uint64) []byte { return appendHead(b, majorTag, tag) }

// AppendBool appends a boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, simpleTrue)
	}
	return append(b, simpleFalse)
}

// AppendNull appends null.
func AppendNull(b []byte) []byte { return append(b, simpleNull) }
