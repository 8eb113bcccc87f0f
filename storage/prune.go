package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"
)

// Base is the lowest height above 0 whose block is kept, or will be: 1 as long
// as nothing was pruned and the store began with block 0.
func (s *Store) Base() uint64 {
	if v := s.current.Load(); v != nil {
		return v.base
	}
	return 1
}

// Prune removes the blocks below a height, block 0 excepted, and the plain
// records of plain, in one synced write that is small however many blocks go.
// The head's block cannot go. A height at or below the base removes nothing.
// A View that was taken before still reads them.
func (s *Store) Prune(below uint64, plain [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	head := s.current.Load()
	switch {
	case below >= head.version:
		return fmt.Errorf("pruning below block %d: the head is block %d", below, head.Height())
	case below <= head.base && len(plain) == 0:
		return nil
	}
	base := max(below, head.base)
	b := pruning{s.engine.db.NewBatch()}
	if err := b.fill(head.base, base, plain); err != nil {
		return errors.Join(err, b.Close())
	}
	return s.write(b, head.version, base, head.tree)
}

// pruning is a batch of the engine's own: cometbft-db's has no range to delete.
type pruning struct{ *pebble.Batch }

func (b pruning) WriteSync() error { return errors.Join(b.Commit(pebble.Sync), b.Close()) }

func (b pruning) fill(from, base uint64, plain [][]byte) error {
	err := errors.Join(
		b.DeleteRange(heightKey(keyBlock, from), heightKey(keyBlock, base), nil),
		b.DeleteRange(heightKey(keyDigest, from), heightKey(keyDigest, base), nil),
		b.Set(baseKey, binary.BigEndian.AppendUint64(nil, base), nil))
	for _, key := range plain {
		err = errors.Join(err, b.Delete(append([]byte{keyPlain}, key...), nil))
	}
	return err
}

func (v *View) readBase() (uint64, error) {
	record, err := v.store.engine.get(v.snap, baseKey)
	switch {
	case err != nil:
		return 0, readError("the lowest height", err)
	case record == nil:
		return 1, nil
	case len(record) != 8 || binary.BigEndian.Uint64(record) >= v.version:
		return 0, corrupt("the lowest height", fmt.Errorf("it is %x, the head is block %d", record, v.Height()))
	}
	return binary.BigEndian.Uint64(record), nil
}

// blocks is how many block records there are.
func (v *View) blocks() int {
	if v.version == 0 {
		return 0
	}
	return 1 + int(v.version-min(v.base, v.version))
}
