package chain

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Validator is a key that votes. IDs are positive and never used again.
type Validator struct {
	ID  uint64
	Key []byte // ed25519
}

// ValidatorSet is the validators of a height in ascending order of ID: an
// array of [id, key].
type ValidatorSet []Validator

// Append appends the encoding of s.
func (s ValidatorSet) Append(b []byte) []byte {
	b = cbor.AppendArray(b, len(s))
	for _, v := range s {
		b = cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(b, 2), v.ID), v.Key)
	}
	return b
}

// Hash names the set in headers.
func (s ValidatorSet) Hash() abi.Hash { return sha256.Sum256(s.Append(nil)) }

// Key finds a validator's key by its id.
func (s ValidatorSet) Key(id uint64) ([]byte, bool) {
	for _, v := range s {
		if v.ID == id {
			return v.Key, true
		}
	}
	return nil, false
}

// ID finds the id of the validator with a key.
func (s ValidatorSet) ID(key []byte) (id uint64, ok bool) {
	for i := range s {
		if string(s[i].Key) == string(key) {
			return s[i].ID, true
		}
	}
	return 0, false
}

// Faults is f, how many of n validators may lie: floor((n-1)/3).
func (s ValidatorSet) Faults() int { return max(0, (len(s)-1)/3) }

// Quorum is how many of n signatures certify a block: ceil((n+f+1)/2).
func (s ValidatorSet) Quorum() int { return (len(s) + s.Faults() + 2) / 2 }

// ParseValidatorSet reads a set and checks order and keys.
func ParseValidatorSet(b []byte) (ValidatorSet, error) {
	r := cbor.NewReader(b)
	s := readValidatorSet(&r)
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	return s, nil
}

func readValidatorSet(r *cbor.Reader) ValidatorSet {
	var s ValidatorSet
	last := uint64(0)
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		v := Validator{ID: r.Uint(), Key: r.BytesN(Ed25519KeySize)}
		if r.Err() == nil && (v.ID <= last || !ValidKey(v.Key)) {
			r.Fail(fmt.Errorf("validator %d is out of order or has a bad key: %w", v.ID, abi.CodeMalformed))
		}
		last = v.ID
		s = append(s, v)
	}
	return s
}
