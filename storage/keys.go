package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/tree"
)

// The database is one ordered map. Its keys begin with:
//
//	b | start          -> bucket: depth, count, hash (start without trailing zero bytes)
//	j | start depth    -> count: a chunk that an import has
//	k | height         -> block, certificate, outcomes
//	m | "base"         -> the lowest height above 0 that is kept, where that is not 1
//	m | "carried"      -> root of the state that block 0 will begin with
//	m | "format"       -> format version
//	m | "head"         -> height, state root
//	m | "import"       -> height, state root that an import is to reach
//	o | key            -> nothing: the ordered index of state keys
//	p | key            -> plain record
//	r | height         -> digest of the record k | height
//	s | H(key)[:8] key -> state value
//
// Heights and starts are 8 bytes, big endian.
const (
	keyBucket = 'b'
	keyChunk  = 'j'
	keyBlock  = 'k'
	keyMeta   = 'm'
	keyIndex  = 'o'
	keyPlain  = 'p'
	keyDigest = 'r'
	keyState  = 's'
)

// Limits of one record. abi's are lower; these bound what a bucket can take
// to load, and leave room for the ledger's prefixes.
const (
	MaxKey   = 512
	MaxValue = proof.MaxProofValue
)

// formatVersion is the version of this layout; Open refuses any other.
const formatVersion = 1

var (
	formatKey = []byte{keyMeta, 'f', 'o', 'r', 'm', 'a', 't'}
	headKey   = []byte{keyMeta, 'h', 'e', 'a', 'd'}
	baseKey   = []byte{keyMeta, 'b', 'a', 's', 'e'}
	carryKey  = []byte{keyMeta, 'c', 'a', 'r', 'r', 'i', 'e', 'd'}
	importKey = []byte{keyMeta, 'i', 'm', 'p', 'o', 'r', 't'}
)

var errMalformedRecord = errors.New("record is malformed")

func heightKey(prefix byte, height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, height)
}

// appendStateKey appends the key of a state value: its bucket is the range of
// its neighbours.
func appendStateKey(b []byte, keyHash abi.Hash, key []byte) []byte {
	b = append(b, keyState)
	b = append(b, keyHash[:8]...)
	return append(b, key...)
}

// parseStateKey returns the state key in a database key and its hash.
func parseStateKey(k []byte) (key []byte, keyHash abi.Hash, err error) {
	if len(k) < 9 || len(k) > 9+MaxKey {
		return nil, abi.Hash{}, fmt.Errorf("%w: state key of %d bytes", errMalformedRecord, len(k))
	}
	key = k[9:]
	keyHash = proof.KeyHash(key)
	if !bytes.Equal(keyHash[:8], k[1:9]) {
		return nil, abi.Hash{}, fmt.Errorf("%w: state key %x stands in a wrong place", errMalformedRecord, key)
	}
	return key, keyHash, nil
}

// bucketRange is the range [lower, upper) of database keys of a bucket.
func bucketRange(b tree.Bucket) (lower, upper []byte) {
	end, last := b.End()
	if last {
		return heightKey(keyState, b.Start), []byte{keyState + 1}
	}
	return heightKey(keyState, b.Start), heightKey(keyState, end)
}

// hashedFrom is the length in bytes from which a stored value is followed by
// its hash: loading a bucket then need not hash its long values again.
const hashedFrom = 256

// appendStored appends a state value as it is stored: the value, and if that
// has hashedFrom bytes or more, its hash.
func appendStored(b, value []byte, valueHash abi.Hash) []byte {
	b = append(b, value...)
	if len(value) >= hashedFrom {
		b = append(b, valueHash[:]...)
	}
	return b
}

// parseStored returns the value and the hash that is stored with it, or nil
// if none is. Both alias b.
func parseStored(b []byte) (value, valueHash []byte, err error) {
	if len(b) < hashedFrom {
		return b, nil, nil
	}
	cut := len(b) - len(abi.Hash{})
	if cut < hashedFrom || cut > MaxValue {
		return nil, nil, fmt.Errorf("%w: state value of %d bytes", errMalformedRecord, len(b))
	}
	return b[:cut], b[cut:], nil
}

// bucketKey trims the zero bytes off the start's end: order and uniqueness
// stay, and most keys take three bytes.
func bucketKey(start uint64) []byte {
	return bytes.TrimRight(heightKey(keyBucket, start), "\x00")
}

// appendBucket appends a bucket's record: depth | uvarint count | hash.
func appendBucket(b []byte, k tree.Bucket) []byte {
	b = append(b, k.Depth)
	b = binary.AppendUvarint(b, uint64(k.Count))
	return append(b, k.Hash[:]...)
}

func parseBucket(key, value []byte) (tree.Bucket, error) {
	var start [8]byte
	if len(key) < 1 || len(key) > 9 || len(key) > 1 && key[len(key)-1] == 0 || len(value) < 2 {
		return tree.Bucket{}, fmt.Errorf("%w: bucket key %x", errMalformedRecord, key)
	}
	copy(start[:], key[1:])
	b := tree.Bucket{Start: binary.BigEndian.Uint64(start[:]), Depth: value[0]}
	count, n := binary.Uvarint(value[1:])
	if n <= 0 || count > 1<<32-1 || len(value) != 1+n+len(b.Hash) {
		return tree.Bucket{}, fmt.Errorf("%w: bucket %x", errMalformedRecord, key)
	}
	b.Count, b.Hash = uint32(count), abi.Hash(value[1+n:])
	return b, nil
}

// appendHead appends the head record: height | root.
func appendHead(b []byte, height uint64, root abi.Hash) []byte {
	return append(binary.BigEndian.AppendUint64(b, height), root[:]...)
}

func parseHead(b []byte) (Head, error) {
	if len(b) != 8+len(abi.Hash{}) {
		return Head{}, fmt.Errorf("%w: head of %d bytes", errMalformedRecord, len(b))
	}
	return Head{Height: binary.BigEndian.Uint64(b), Root: abi.Hash(b[8:])}, nil
}

// appendBlock appends a block's record: the CBOR array [block, certificate,
// outcomes] of byte strings.
func appendBlock(b []byte, block, certificate, outcomes []byte) []byte {
	b = cbor.AppendArray(b, 3)
	b = cbor.AppendBytes(b, block)
	b = cbor.AppendBytes(b, certificate)
	return cbor.AppendBytes(b, outcomes)
}

func parseBlock(b []byte) (block, certificate, outcomes []byte, err error) {
	r := cbor.NewReader(b)
	r.ArrayN(3)
	block, certificate, outcomes = r.Bytes(), r.Bytes(), r.Bytes()
	return block, certificate, outcomes, r.Done()
}

// digestSize is enough to tell a damaged block record; what makes a block
// right is its certificate, which the caller checks.
const digestSize = 16

func blockDigest(record []byte) []byte {
	h := proof.ValueHash(record)
	return h[:digestSize]
}
