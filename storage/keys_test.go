package storage

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/tree"
)

func TestBucketRecords(t *testing.T) {
	var last []byte
	for _, b := range []tree.Bucket{
		{Start: 0, Depth: 64, Count: 1, Hash: abi.Hash{1}},
		{Start: 1, Depth: 64, Count: 0},
		{Start: 1 << 8, Depth: 56, Count: 1<<32 - 1, Hash: abi.Hash{2}},
		{Start: 1<<40 - 256, Depth: 56, Count: 300, Hash: abi.Hash{3}},
		{Start: 1 << 40, Depth: 24, Count: 3, Hash: abi.Hash{4}},
		{Start: 1 << 63, Depth: 1, Count: 24, Hash: abi.Hash{5}},
	} {
		key := bucketKey(b.Start)
		if bytes.Compare(last, key) >= 0 {
			t.Errorf("key %x of bucket %016x is not behind %x", key, b.Start, last)
		}
		last = key
		if got, err := parseBucket(key, appendBucket(nil, b)); err != nil || got != b {
			t.Errorf("bucket %+v is read as %+v, %v", b, got, err)
		}
	}
}

func TestStoredValues(t *testing.T) {
	for _, n := range []int{0, 1, hashedFrom - 1, hashedFrom, hashedFrom + 40, MaxValue} {
		value := bytes.Repeat([]byte{'v'}, n)
		hash := proof.ValueHash(value)
		got, said, err := parseStored(appendStored([]byte{}, value, hash))
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("value of %d bytes is read as %d bytes, %v", n, len(got), err)
		}
		if n < hashedFrom != (said == nil) || said != nil && abi.Hash(said) != hash {
			t.Errorf("value of %d bytes: hash %x", n, said)
		}
	}
}

func TestBucketRange(t *testing.T) {
	for _, b := range []tree.Bucket{{}, {Start: 1 << 63, Depth: 1}, {Start: 5 << 32, Depth: 32}, {Start: 1<<64 - 1, Depth: 64}} {
		lower, upper := bucketRange(b)
		if bytes.Compare(lower, upper) >= 0 || lower[0] != keyState || upper[0] > keyState+1 {
			t.Errorf("range of %+v is %x to %x", b, lower, upper)
		}
	}
}

// FuzzRecords reads damaged keys and values of every kind: none may panic,
// and what is read is what is written.
func FuzzRecords(f *testing.F) {
	f.Add(bucketKey(1<<40), appendBucket(nil, tree.Bucket{Depth: 9, Count: 3, Hash: abi.Hash{7}}))
	f.Add(storedAt([]byte("key")), bytes.Repeat([]byte{1}, 300))
	f.Add([]byte("k"), appendBlock(nil, []byte("block"), nil, []byte{1}))
	f.Add(headKey, appendHead(nil, 7, abi.Hash{9}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if b, err := parseBucket(key, value); err == nil {
			// A longer than shortest count is harmless: it is never hashed.
			if again, err := parseBucket(bucketKey(b.Start), appendBucket(nil, b)); err != nil || again != b {
				t.Fatalf("bucket %+v is written as %+v, %v", b, again, err)
			}
		}
		if k, hash, err := parseStateKey(key); err == nil && !bytes.Equal(appendStateKey(nil, hash, k)[1:], key[1:]) {
			t.Fatalf("state key %x is written differently", key)
		}
		if v, said, err := parseStored(value); err == nil && !bytes.Equal(append(bytes.Clone(v), said...), value) {
			t.Fatalf("stored value %x is read differently", value)
		}
		if block, cert, outcomes, err := parseBlock(value); err == nil && !bytes.Equal(appendBlock(nil, block, cert, outcomes), value) {
			t.Fatalf("block record %x is written differently", value)
		}
		if h, err := parseHead(value); err == nil && !bytes.Equal(appendHead(nil, h.Height, h.Root), value) {
			t.Fatalf("head %x is written differently", value)
		} else if err != nil && !errors.Is(err, errMalformedRecord) {
			t.Fatalf("head: %v", err)
		}
	})
}
