package storage

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/tree"
)

// View is the ledger at one height. It is safe for concurrent use; after
// Release it must not be used.
type View struct {
	store   *Store
	version uint64 // height + 1, 0 for the store before its first block
	base    uint64 // the lowest height above 0 whose block is kept
	tree    *tree.Tree
	snap    *pebble.Snapshot
	refs    atomic.Int64 // holders, the store being one while this is the newest
}

// retain adds a holder; false if the last one is gone.
func (v *View) retain() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives the View back. Each View that was handed out is released once.
func (v *View) Release() {
	switch n := v.refs.Add(-1); {
	case n < 0:
		panic("BUG: view released more often than taken")
	case n == 0:
		v.store.alive.Add(-1)
		if err := v.store.engine.wait(v.snap.Close); err != nil {
			v.store.health.fail(fmt.Errorf("closing a snapshot: %w", err))
		}
	}
}

// Height is the height of the View, 0 also before the first block.
func (v *View) Height() uint64 {
	if v.version == 0 {
		return 0
	}
	return v.version - 1
}

// Root is the state root at the View's height.
func (v *View) Root() abi.Hash { return v.tree.Root() }

// Keys is the number of state keys.
func (v *View) Keys() uint64 { return v.tree.Count() }

// Get reads a state value through the hot cache. ok is false if the key has
// none. The value must not be modified; it may be kept.
func (v *View) Get(key []byte) (value []byte, ok bool, err error) {
	cache := v.store.cache
	hash := cache.hash(key)
	if e := cache.get(hash, key, v.version); e != nil {
		return e.value, e.present, nil
	}
	value, ok, err = v.GetCold(key)
	if err == nil {
		cache.put(hash, &cacheEntry{version: v.version, key: bytes.Clone(key), value: value, present: ok})
	}
	return value, ok, err
}

// GetCold reads a state value past the cache and leaves the cache alone, for
// reads that must not warm it.
func (v *View) GetCold(key []byte) (value []byte, ok bool, err error) {
	hash := proof.KeyHash(key)
	if ref := v.tree.Find(hash); !ref.Checked() {
		if err := v.checkBucket(ref); err != nil {
			return nil, false, err
		}
	}
	var buf [128]byte
	raw, err := v.store.engine.get(v.snap, appendStateKey(buf[:0], hash, key))
	if err != nil {
		return nil, false, readError(fmt.Sprintf("state key %x", key), err)
	}
	if raw == nil {
		return nil, false, nil
	}
	value, _, err = parseStored(raw)
	if err != nil {
		return nil, false, readError(fmt.Sprintf("state key %x", key), err)
	}
	return value, true, nil
}

// Plain reads a record that stands outside the state root.
func (v *View) Plain(key []byte) (value []byte, ok bool, err error) {
	value, err = v.store.engine.get(v.snap, append([]byte{keyPlain}, key...))
	if err != nil {
		return nil, false, readError(fmt.Sprintf("plain key %x", key), err)
	}
	return value, value != nil, nil
}

// Prove proves the value of key, or that it has none, under Root.
func (v *View) Prove(key []byte) (proof.State, error) {
	loader, err := v.newLoader()
	if err != nil {
		return proof.State{}, err
	}
	p, err := v.prove(key, loader)
	return p, errors.Join(err, loader.close())
}

func (v *View) prove(key []byte, loader *loader) (proof.State, error) {
	hash := proof.KeyHash(key)
	siblings, leaf, err := v.tree.Prove(hash, loader.load)
	if err != nil {
		return proof.State{}, err
	}
	p := proof.State{Siblings: siblings}
	switch {
	case leaf == nil:
	case leaf.Key != hash:
		p.Other = &proof.OtherLeaf{Key: leaf.Key, Value: leaf.Value}
	default:
		if p.Value, p.Present, err = v.GetCold(key); err != nil {
			return proof.State{}, err
		}
		if !p.Present || proof.ValueHash(p.Value) != leaf.Value {
			return proof.State{}, corrupt(fmt.Sprintf("state key %x", key), errors.New("its value is not the one that the state root commits to"))
		}
	}
	return p, nil
}

// checkBucket verifies all that is stored of a bucket against its hash.
func (v *View) checkBucket(ref tree.Ref) error {
	loader, err := v.newLoader()
	if err != nil {
		return err
	}
	_, err = loader.load(ref)
	return errors.Join(err, loader.close())
}

// loader reads the entries of buckets.
type loader struct {
	it     *pebble.Iterator
	engine *engine
}

func (v *View) newLoader() (*loader, error) {
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{keyState}, UpperBound: []byte{keyState + 1}})
	if err != nil {
		return nil, readError("the state", err)
	}
	return &loader{it, v.store.engine}, nil
}

func (l *loader) close() error { return l.engine.wait(l.it.Close) }

// load is the tree's Loader. The first time in a process that a bucket is
// read, every value is hashed and the whole compared with the bucket's hash;
// later the stored hashes of long values are taken as they are.
func (l *loader) load(ref tree.Ref) ([]tree.Entry, error) {
	entries, err := l.entries(ref)
	if err == nil && !ref.Checked() {
		if err = ref.Check(entries); err == nil {
			ref.MarkChecked()
		}
	}
	if err != nil {
		return nil, readError(fmt.Sprintf("state bucket %016x/%d", ref.Start, ref.Depth), err)
	}
	return entries, nil
}

func (l *loader) entries(ref tree.Ref) ([]tree.Entry, error) {
	lower, upper := bucketRange(ref.Bucket)
	entries := make([]tree.Entry, 0, ref.Count)
	checked := ref.Checked()
	for ok := l.it.SeekGE(lower); ok && bytes.Compare(l.it.Key(), upper) < 0; ok = l.it.Next() {
		_, keyHash, err := parseStateKey(l.it.Key())
		if err != nil {
			return nil, err
		}
		valueHash, err := storedHash(l.it.Value(), checked)
		if err != nil {
			return nil, err
		}
		entries = insertOrdered(entries, tree.Entry{Key: keyHash, Value: valueHash})
	}
	return entries, l.it.Error()
}

// insertOrdered keeps entries in order of their key hashes. Only keys whose
// hashes share 8 bytes come in another order.
func insertOrdered(entries []tree.Entry, e tree.Entry) []tree.Entry {
	i := len(entries)
	for i > 0 && bytes.Compare(entries[i-1].Key[:], e.Key[:]) > 0 {
		i--
	}
	entries = append(entries, e)
	copy(entries[i+1:], entries[i:])
	entries[i] = e
	return entries
}

// storedHash is the hash of a stored value; trusted takes the word of the one
// stored with it.
func storedHash(stored []byte, trusted bool) (abi.Hash, error) {
	value, said, err := parseStored(stored)
	if err != nil {
		return abi.Hash{}, err
	}
	if said != nil && trusted {
		return abi.Hash(said), nil
	}
	hash := proof.ValueHash(value)
	if said != nil && hash != abi.Hash(said) {
		return abi.Hash{}, fmt.Errorf("%w: value does not match its hash", errMalformedRecord)
	}
	return hash, nil
}
