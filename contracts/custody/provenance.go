package custody

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// ErrChain is returned for steps that are not those of an item's life.
var ErrChain = errors.New("the steps are not those that the item's record commits to")

// ItemKey is the key of an item's record in the contract's state.
func ItemKey(item string) []byte { return append([]byte("i/"), item...) }

// Steps reads the steps of an item's life, encoded, from its first to its last.
func Steps(ask Ask, item string) (steps [][]byte, err error) {
	err = numbered(ask, func(after uint64) []byte {
		b := cbor.AppendText(message(askChain, 3), item)
		return cbor.AppendUint(cbor.AppendUint(b, after), pageLimit)
	}, func(_ uint64, r *cbor.Reader) { steps = append(steps, r.Raw()) })
	return steps, err
}

// VerifySteps checks that steps, encoded, are the whole life of an item as its
// record tells it. The record is the state's entry under ItemKey, which a proof
// of the state proves: its head is SHA-256 over the head before and the last
// step, and before the first step SHA-256 of the item's id.
func VerifySteps(item string, record []byte, steps [][]byte) error {
	var count uint64
	var want abi.Hash
	r := cbor.NewReader(record)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 4:
			count = r.Uint()
		case 5:
			want = readHash(&r)
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("%w: %w", ErrForm, err)
	}
	head := sha256.Sum256([]byte(item))
	for _, step := range steps {
		head = sha256.Sum256(append(head[:], step...))
	}
	if uint64(len(steps)) != count || head != want {
		return ErrChain
	}
	return nil
}
