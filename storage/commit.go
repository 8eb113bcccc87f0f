package storage

import (
	"bytes"
	"errors"
	"fmt"

	cmtdb "github.com/cometbft/cometbft-db"

	"github.com/seed79541315/postern/storage/tree"
)

// Block is what one commit writes. The store does not look into Block,
// Certificate and Outcomes.
type Block struct {
	Height                       uint64
	Block, Certificate, Outcomes []byte
	Update                       *Update  // from the View of the head; nil changes no state
	Plain                        []Change // records outside the root; keys must differ
}

// Commit writes a block with all its changes in one synced batch and
// publishes the View of its height. The height must follow the head, 0 on an
// empty store. If the write fails the store has failed: the error wraps
// ErrFatal and everything later is refused. Any other error wrote nothing.
func (s *Store) Commit(b Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	head := s.current.Load()
	if b.Height != head.version {
		return fmt.Errorf("block %d does not follow: the next height is %d", b.Height, head.version)
	}
	next := head.tree
	if b.Update != nil {
		if b.Update.base != head.tree {
			return fmt.Errorf("update of block %d was made on another state than the head's", b.Height)
		}
		next = b.Update.result.Tree
	}
	batch := batch{Batch: s.engine.kv.NewBatch()}
	if err := batch.fill(b, next); err != nil {
		return errors.Join(err, batch.Close())
	}
	s.raise(b, head.version+1)
	return s.write(&batch, head.version+1, head.base, next)
}

// raise tells the cache what changes, before anything can be read.
func (s *Store) raise(b Block, version uint64) {
	if b.Update == nil {
		return
	}
	for _, w := range b.Update.writes {
		if w.effect != tree.Nothing {
			s.cache.raise(w.Key, version)
		}
	}
}

// write is the only place where the ledger is written. It publishes the View
// of what it wrote.
func (s *Store) write(b interface{ WriteSync() error }, version, base uint64, next *tree.Tree) error {
	err := s.health.run(b.WriteSync)
	if err == nil {
		var v *View
		if v, err = s.newView(version, base, next); err == nil {
			s.current.Swap(v).Release()
			return nil
		}
	}
	s.health.fail(fmt.Errorf("writing a block: %w", err))
	return s.health.err()
}

// batch is a database batch that keeps its first error.
type batch struct {
	cmtdb.Batch
	err error
}

func (b *batch) set(key, value []byte) {
	if b.err == nil {
		b.err = b.Set(key, value)
	}
}

func (b *batch) remove(key []byte) {
	if b.err == nil {
		b.err = b.Delete(key)
	}
}

// fill collects all that the block writes.
func (b *batch) fill(k Block, next *tree.Tree) error {
	b.block(k.Height, Record{k.Block, k.Certificate, k.Outcomes})
	b.set(headKey, appendHead(nil, k.Height, next.Root()))
	if k.Height == 0 {
		b.remove(carryKey)
	}
	if k.Update != nil {
		b.state(k.Update)
	}
	return b.plain(k.Plain)
}

// block collects a block's record and its digest.
func (b *batch) block(height uint64, k Record) {
	record := appendBlock(nil, k.Block, k.Certificate, k.Outcomes)
	b.set(heightKey(keyBlock, height), record)
	b.set(heightKey(keyDigest, height), blockDigest(record))
}

// plain collects records outside the root.
func (b *batch) plain(changes []Change) error {
	for _, c := range changes {
		if err := c.validate(); err != nil {
			return err
		}
		b.change(append([]byte{keyPlain}, c.Key...), c.Value)
	}
	return b.err
}

func (b *batch) change(key, value []byte) {
	if value == nil {
		b.remove(key)
	} else {
		b.set(key, value)
	}
}

// state collects the changes of state values, their index and their buckets.
// The index is touched only where keys come and go.
func (b *batch) state(u *Update) {
	key, value := []byte{}, []byte{} // never nil, which the database takes for a deletion
	for i := range u.writes {
		w := &u.writes[i]
		key = appendStateKey(key[:0], w.keyHash, w.Key)
		switch w.effect {
		case tree.Inserted, tree.Replaced:
			value = appendStored(value[:0], w.Value, w.valueHash)
			b.set(key, value)
		case tree.Deleted:
			b.remove(key)
		}
		switch w.effect {
		case tree.Inserted:
			b.set(indexKey(w.Key), []byte{})
		case tree.Deleted:
			b.remove(indexKey(w.Key))
		}
	}
	for _, start := range u.result.Remove {
		b.remove(bucketKey(start))
	}
	for _, k := range u.result.Put {
		b.set(bucketKey(k.Start), appendBucket(nil, k))
	}
}

func indexKey(key []byte) []byte { return append([]byte{keyIndex}, key...) }

// Block returns what was committed at a height, or ErrNotFound.
func (s *Store) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	v, err := s.HeadView()
	if err != nil {
		return nil, nil, nil, err
	}
	defer v.Release()
	return v.block(height)
}

func (v *View) block(height uint64) (block, certificate, outcomes []byte, err error) {
	if height >= v.version || height > 0 && height < v.base {
		return nil, nil, nil, fmt.Errorf("block %d: %w", height, ErrNotFound)
	}
	what := fmt.Sprintf("block %d", height)
	record, err := v.store.engine.get(v.snap, heightKey(keyBlock, height))
	if err != nil {
		return nil, nil, nil, readError(what, err)
	}
	digest, err := v.store.engine.get(v.snap, heightKey(keyDigest, height))
	if err != nil {
		return nil, nil, nil, readError(what, err)
	}
	if err := checkBlock(record, digest); err != nil {
		return nil, nil, nil, corrupt(what, err)
	}
	return parseBlock(record)
}

func checkBlock(record, digest []byte) error {
	switch {
	case record == nil || digest == nil:
		return errors.New("its record is missing")
	case !bytes.Equal(blockDigest(record), digest):
		return errors.New("its record does not match its digest")
	}
	_, _, _, err := parseBlock(record)
	return err
}
