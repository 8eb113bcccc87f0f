package contract

// Key is how values of a type are written into state keys, so that the order
// of the keys is that of the values and no encoding begins with another one.
type Key[K any] struct {
	Append func(b []byte, k K) []byte
	// Read takes one key off the front of b; false when there is none.
	Read func(b []byte) (k K, rest []byte, ok bool)
}

// Keys of plain types. Integers take 8 bytes, hashes 32; texts and bytes
// their length and 1, and 1 more for each byte below 2.
var (
	Uint64Key = Key[uint64]{appendUint64Key, readUint64Key}
	Int64Key  = Key[int64]{appendInt64Key, readInt64Key}
	TextKey   = Key[string]{appendTextKey, readTextKey}
	BytesKey  = Key[[]byte]{appendBytesKey, readBytesKey}
	HashKey   = Key[Hash]{appendHashKey, readHashKey}
)

// Pair is two values that make one key.
type Pair[A, B any] struct {
	First  A
	Second B
}

// PairKey orders pairs by the first and then by the second value. Pairs nest.
func PairKey[A, B any](first Key[A], second Key[B]) Key[Pair[A, B]] {
	return Key[Pair[A, B]]{
		Append: func(b []byte, p Pair[A, B]) []byte { return second.Append(first.Append(b, p.First), p.Second) },
		Read: func(b []byte) (p Pair[A, B], rest []byte, ok bool) {
			if p.First, rest, ok = first.Read(b); ok {
				p.Second, rest, ok = second.Read(rest)
			}
			return p, rest, ok
		},
	}
}

func appendUint64Key(b []byte, k uint64) []byte {
	return append(b, byte(k>>56), byte(k>>48), byte(k>>40), byte(k>>32), byte(k>>24), byte(k>>16), byte(k>>8), byte(k))
}

func readUint64Key(b []byte) (k uint64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	for _, c := range b[:8] {
		k = k<<8 | uint64(c)
	}
	return k, b[8:], true
}

const signBit = 1 << 63 // flipped, so that negative numbers come first

func appendInt64Key(b []byte, k int64) []byte { return appendUint64Key(b, uint64(k)^signBit) }

func readInt64Key(b []byte) (k int64, rest []byte, ok bool) {
	u, rest, ok := readUint64Key(b)
	return int64(u ^ signBit), rest, ok
}

func appendHashKey(b []byte, h Hash) []byte { return append(b, h[:]...) }

func readHashKey(b []byte) (h Hash, rest []byte, ok bool) {
	if len(b) < len(h) {
		return h, nil, false
	}
	return Hash(b), b[len(h):], true
}

// A text or byte string ends with endOfText. A byte below 2 within it is
// escaped as escape and itself plus 1, which is above every endOfText and in
// order.
const (
	endOfText = 0
	escape    = 1
)

func appendTextKey(b []byte, k string) []byte {
	return append(appendEscaped(b, k), endOfText)
}

func appendEscaped[S string | []byte](b []byte, k S) []byte {
	for i := range len(k) {
		c := k[i]
		if c <= escape {
			b = append(b, escape)
			c++
		}
		b = append(b, c)
	}
	return b
}

func readTextKey(b []byte) (k string, rest []byte, ok bool) {
	plain, rest, ok := readBytesKey(b)
	return string(plain), rest, ok
}

func appendBytesKey(b, k []byte) []byte { return append(appendEscaped(b, k), endOfText) }

func readBytesKey(b []byte) (k, rest []byte, ok bool) {
	k = make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == endOfText:
			return k, b[i+1:], true
		case c > escape:
			k = append(k, c)
		case i+1 == len(b) || b[i+1] < 1 || b[i+1] > 2:
			return nil, nil, false
		default:
			i++
			k = append(k, b[i]-1)
		}
	}
	return nil, nil, false
}
