package storage

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// checkpoint keeps the store as it is now in a new folder: table files are
// linked, not copied, so that it costs the flash little until the store has
// replaced them. It is whole and durable once the folder has its name.
// Commits wait meanwhile. An error leaves the store as it is, unless it wraps
// ErrFatal.
func (s *Store) checkpoint(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	err := s.engine.wait(func() error {
		err := s.writeCheckpoint(dir, dir+"-new")
		if err != nil {
			err = errors.Join(err, s.cfg.FS.RemoveAll(dir+"-new"))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("making checkpoint %s: %w", dir, err)
	}
	return nil
}

func (s *Store) writeCheckpoint(dir, aside string) error {
	disk := s.cfg.FS
	if err := errors.Join(disk.RemoveAll(aside), disk.MkdirAll(aside, 0o700)); err != nil {
		return err
	}
	// What is in memory goes to a table first: the log need not be copied
	// then, nor replayed by whoever opens the checkpoint.
	if err := s.engine.db.Flush(); err != nil {
		return err
	}
	if err := s.engine.db.Checkpoint(filepath.Join(aside, dbName+".db")); err != nil {
		return err
	}
	if err := syncDir(disk, aside); err != nil {
		return err
	}
	if err := disk.Rename(aside, dir); err != nil {
		return err
	}
	return syncDir(disk, filepath.Dir(dir))
}

// OpenCheckpoint opens a checkpoint, a folder of Snapshots, to read it. Commit
// and Prune are refused.
func OpenCheckpoint(cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.readOnly = true
	return open(cfg)
}

// chunkOverhead is what an entry of a chunk costs beyond its key and value, in
// bytes.
const chunkOverhead = 6

// Chunk returns the pairs whose key hash begins with the depth first bits of
// prefix, with what proves them under Root. More than maxBytes of keys and
// values, or of proof.MaxChunkEntries, is abi.CodeTooLarge: ask for its two
// halves. What is returned was compared with the root.
func (v *View) Chunk(prefix uint64, depth uint8, maxBytes int) (*proof.Chunk, error) {
	if !proof.ValidChunk(prefix, depth) {
		return nil, fmt.Errorf("chunk %016x/%d: %w", prefix, depth, abi.CodeBadArgument)
	}
	loader, err := v.newLoader()
	if err != nil {
		return nil, err
	}
	c, err := v.chunk(prefix, depth, maxBytes, loader)
	if err := errors.Join(err, loader.close()); err != nil {
		return nil, err
	}
	if err := c.Verify(v.Root(), prefix, depth); err != nil {
		return nil, corrupt(fmt.Sprintf("state chunk %016x/%d", prefix, depth), err)
	}
	return c, nil
}

func (v *View) chunk(prefix uint64, depth uint8, maxBytes int, l *loader) (*proof.Chunk, error) {
	r, err := v.tree.Range(prefix, depth, l.load)
	if err != nil {
		return nil, err
	}
	c := &proof.Chunk{Siblings: r.Siblings}
	if r.Other != nil {
		c.Other = &proof.OtherLeaf{Key: r.Other.Key, Value: r.Other.Value}
		return c, nil
	}
	if r.Count > proof.MaxChunkEntries {
		return nil, fmt.Errorf("chunk %016x/%d of %d entries: %w", prefix, depth, r.Count, abi.CodeTooLarge)
	}
	c.Entries, err = l.pairs(prefix, depth, int(r.Count), maxBytes)
	if err != nil {
		return nil, readError(fmt.Sprintf("state chunk %016x/%d", prefix, depth), err)
	}
	return c, nil
}

// pairs reads the pairs of a chunk in ascending order of key hashes.
func (l *loader) pairs(prefix uint64, depth uint8, count, maxBytes int) ([]proof.ChunkEntry, error) {
	entries := make([]proof.ChunkEntry, 0, count)
	hashes := make([]abi.Hash, 0, count)
	for ok := l.it.SeekGE(heightKey(keyState, prefix)); ok; ok = l.it.Next() {
		key, keyHash, err := parseStateKey(l.it.Key())
		if err != nil {
			return nil, err
		}
		if !proof.InChunk(keyHash, prefix, depth) {
			break
		}
		value, _, err := parseStored(l.it.Value())
		if err != nil {
			return nil, err
		}
		if maxBytes -= len(key) + len(value) + chunkOverhead; maxBytes < 0 {
			return nil, fmt.Errorf("chunk %016x/%d: %w", prefix, depth, abi.CodeTooLarge)
		}
		i := len(entries) // keys whose hashes share 8 bytes come in another order
		for i > 0 && bytes.Compare(hashes[i-1][:], keyHash[:]) > 0 {
			i--
		}
		hashes = append(hashes[:i], append([]abi.Hash{keyHash}, hashes[i:]...)...)
		entries = append(entries[:i], append([]proof.ChunkEntry{{Key: bytes.Clone(key), Value: bytes.Clone(value)}}, entries[i:]...)...)
	}
	return entries, l.it.Error()
}

// readCarried makes the head of a store without blocks: empty, or with the
// state that an import carried over.
func (v *View) readCarried() (Head, error) {
	record, err := v.store.engine.get(v.snap, carryKey)
	switch {
	case err != nil:
		return Head{}, readError("the state that was carried over", err)
	case record == nil:
		return Head{Empty: true}, nil
	case len(record) != len(abi.Hash{}):
		return Head{}, corrupt("the state that was carried over", fmt.Errorf("%w: root %x", errMalformedRecord, record))
	}
	return Head{Root: abi.Hash(record), Empty: true}, nil
}
