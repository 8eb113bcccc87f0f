package contract

import (
	"github.com/seed79541315/postern/abi/cbor"
)

// Codec is how values of a type are written to the state and read from it:
// one CBOR item. A struct of a contract's own brings the two functions:
//
//	type seat struct {
//		by    contract.Hash
//		until int64
//	}
//
//	func appendSeat(b []byte, s seat) []byte {
//		b = cbor.AppendArray(b, 2)
//		b = cbor.AppendBytes(b, s.by[:])
//		return cbor.AppendInt(b, s.until)
//	}
//
//	func readSeat(r *cbor.Reader) (s seat) {
//		r.ArrayN(2)
//		return seat{contract.ReadHash(r), r.Int()}
//	}
//
//	var seats = contract.NewMap("seats/", contract.TextKey, contract.Codec[seat]{appendSeat, readSeat})
//
// Read need not check for errors: the caller asks the reader at the end. A
// later version of a contract may read what an earlier one wrote, by the
// array's length or by r.Kind.
type Codec[T any] struct {
	Append func(b []byte, v T) []byte
	Read   func(r *cbor.Reader) T
}

// Codecs of plain types.
var (
	Uint64Value  = Codec[uint64]{cbor.AppendUint, (*cbor.Reader).Uint}
	Int64Value   = Codec[int64]{cbor.AppendInt, (*cbor.Reader).Int}
	BoolValue    = Codec[bool]{cbor.AppendBool, (*cbor.Reader).Bool}
	TextValue    = Codec[string]{cbor.AppendText, (*cbor.Reader).Text}
	BytesValue   = Codec[[]byte]{cbor.AppendBytes, (*cbor.Reader).Bytes}
	DecimalValue = Codec[cbor.Decimal]{cbor.AppendDecimal, (*cbor.Reader).Decimal}
	HashValue    = Codec[Hash]{appendHash, ReadHash}
)

func appendHash(b []byte, h Hash) []byte { return cbor.AppendBytes(b, h[:]) }

// ReadHash reads a byte string of 32 bytes.
func ReadHash(r *cbor.Reader) (h Hash) {
	readHash(r, &h)
	return h
}
