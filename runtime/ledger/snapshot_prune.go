package ledger

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage"
)

// pruneStep is how many blocks go at a time. Commits wait for one step: their
// transactions are read for their ids.
const pruneStep = 16

// Prune removes the blocks below a height, block 0 and the head excepted, and
// the places of their transactions, in steps between which blocks are
// committed. Changes of the validator set stay, so what is kept still
// verifies. It may be interrupted anywhere.
func (l *Ledger) Prune(ctx context.Context, below uint64) error {
	below = min(below, l.Head().Height)
	for l.Base() < below {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.pruneSome(min(below, l.Base()+pruneStep)); err != nil {
			return fmt.Errorf("pruning: %w", err)
		}
	}
	return nil
}

func (l *Ledger) pruneSome(below uint64) error {
	l.mu.Lock() // no commit may write a place while it is looked at
	defer l.mu.Unlock()
	v, err := l.store.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	var places [][]byte
	for height := l.Base(); height < below; height++ {
		if places, err = l.placesIn(v, height, places); err != nil {
			return err
		}
	}
	return l.store.Prune(below, places)
}

// placesIn appends the keys of the places that stand in a block. A refusal
// leaves the place to a later outcome of the same transaction, so where gas
// was not charged the record itself is asked.
func (l *Ledger) placesIn(v *storage.View, height uint64, keys [][]byte) ([][]byte, error) {
	_, _, raw, err := l.store.Block(height)
	if err != nil {
		return nil, err
	}
	outcomes, err := chain.ParseOutcomes(raw)
	if err != nil {
		return nil, fmt.Errorf("outcomes of block %d: %w", height, err)
	}
	for _, encoded := range outcomes {
		o, err := chain.ParseOutcome(encoded)
		if err != nil {
			return nil, fmt.Errorf("outcomes of block %d: %w", height, err)
		}
		key := chain.TxIndexKey(o.ID)
		if o.Gas == 0 {
			place, ok, err := v.Plain(key)
			if err != nil {
				return nil, err
			}
			if !ok || len(place) < 8 || binary.BigEndian.Uint64(place) != height {
				continue
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}
