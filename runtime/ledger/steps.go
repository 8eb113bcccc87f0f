package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// Every change of the validator set is kept as a proof.Step among the plain
// records, written with the block that made it and never removed: whoever
// trusts the genesis walks them to the validators of any height, whatever
// blocks were pruned.

// maxStepBytes bounds one answer of Steps, so that it fits a frame.
const maxStepBytes = 48 << 10

// Steps gives the encoded changes of the validator set above a height, at most
// limit and in order; more says that there are others behind them. At least one
// is given if there is one.
func (l *Ledger) Steps(after uint64, limit int) (steps [][]byte, more bool, err error) {
	if limit <= 0 {
		return nil, false, abi.CodeBadArgument
	}
	v, _, err := l.take()
	if err != nil {
		return nil, false, err
	}
	defer v.Release()
	size := 0
	err = eachStep(v, after, func(_ uint64, step []byte) bool {
		size += len(step)
		if more = len(steps) == limit || len(steps) > 0 && size > maxStepBytes; more {
			return false
		}
		steps = append(steps, step)
		return true
	})
	if err != nil {
		return nil, false, l.unavailable(err)
	}
	return steps, more, nil
}

// signersAt is the set that signs the block of a height: that of the last step
// below it.
func signersAt(v *storage.View, g *chain.Genesis, height uint64) (chain.ValidatorSet, error) {
	var last []byte
	err := eachStep(v, 0, func(at uint64, step []byte) bool {
		if at < height {
			last = step
		}
		return at < height
	})
	if err != nil || last == nil {
		return g.Validators, err
	}
	s, err := proof.ParseStep(last)
	if err != nil {
		return nil, faultf("a change of the validators below block %d: %w", height, err)
	}
	return s.Next, nil
}

// eachStep hands the changes of the validator set above a height to fn, in the
// order of their heights, until it returns false.
func eachStep(v *storage.View, after uint64, fn func(height uint64, step []byte) (more bool)) error {
	if after == math.MaxUint64 {
		return nil
	}
	it := v.ScanPlainFrom(chain.StepPrefix(), chain.StepKey(after+1))
	defer it.Close()
	for it.Next() {
		key := it.Key()
		if len(key) != len(chain.StepKey(0)) {
			return faultf("plain record %x is no change of the validators", key)
		}
		if !fn(binary.BigEndian.Uint64(key[1:]), it.Value()) {
			return nil
		}
	}
	return it.Err()
}

// stepOf is the plain record of a block that changes the validator set; ok is
// false for any other block.
func stepOf(h *chain.Header, c *chain.Certificate, next chain.ValidatorSet) (record storage.Change, ok bool) {
	if h.NextValidators == h.Validators {
		return storage.Change{}, false
	}
	s := proof.Step{Header: *h, Next: next}
	if c != nil {
		s.Certificate = *c
	}
	return storage.Change{Key: chain.StepKey(h.Height), Value: s.Append(nil)}, true
}

// readSigners finds the set that signed the tip's block.
func (t *tip) readSigners(v *storage.View, g *chain.Genesis) (err error) {
	if t.validators.Hash() != t.header.NextValidators {
		return fmt.Errorf("validators of the state are not the header's: %w", abi.CodeBadProof)
	}
	if t.signers = t.validators; t.header.Validators == t.header.NextValidators {
		return nil
	}
	if t.signers, err = signersAt(v, g, t.header.Height); err != nil {
		return err
	}
	if t.signers.Hash() != t.header.Validators {
		return errors.Join(fmt.Errorf("block %d was signed by validators that no change names", t.header.Height), abi.CodeBadProof)
	}
	return nil
}
