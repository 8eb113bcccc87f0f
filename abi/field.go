package abi

import (
	"math"
	"strconv"

	"github.com/seed79541315/postern/abi/cbor"
)

func codeOf(r *cbor.Reader) Code { return Code(uintUpTo(r, math.MaxUint16)) }

// uintUpTo reads an unsigned integer that must fit a smaller type.
func uintUpTo(r *cbor.Reader, limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail(because(CodeMalformed, strconv.FormatUint(v, 10)+" is above "+strconv.FormatUint(limit, 10)))
		return 0
	}
	return v
}

func hashOf(r *cbor.Reader) (h Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}

func rawArray(r *cbor.Reader) []byte {
	if r.Kind() != cbor.KindArray {
		r.Fail(because(CodeMalformed, "found "+r.Kind().String()+", want array"))
	}
	return r.Raw()
}

func appendByteStrings(b []byte, list [][]byte) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, x := range list {
		b = cbor.AppendBytes(b, x)
	}
	return b
}

func readByteStrings(r *cbor.Reader) (list [][]byte) {
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, r.Bytes())
	}
	return list
}
