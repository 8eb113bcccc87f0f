package behaviour

import "testing"

// The contract finds what this package lays down: its tests hold the same
// numbers.
func TestBucketNumbers(t *testing.T) {
	if n := bucketAny.number(false, nil, 1023); n != 19 {
		t.Error(n)
	}
	if n := bucketName.number(true, []byte("api.example.com"), 1023); n != 608 {
		t.Error(n)
	}
}
