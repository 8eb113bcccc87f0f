package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"

	"github.com/seed79541315/postern/storage/tree"
)

// errOtherTarget says that a folder holds an import to another target.
var errOtherTarget = errors.New("it was to reach another state")

// resume opens what is there of the import, or begins it.
func (i *Import) resume() error {
	cfg := i.cfg
	cfg.importing = true
	e, err := openEngine(cfg, newHealth())
	if err != nil {
		return err
	}
	i.engine = e
	if err := errors.Join(i.removeTables(), i.readProgress()); err != nil {
		return errors.Join(asDamage(err), i.closeEngine())
	}
	return nil
}

// removeTables removes what an interruption left of tables in the making.
func (i *Import) removeTables() error {
	names, err := i.cfg.FS.List(i.cfg.Dir)
	for _, name := range names {
		if filepath.Ext(name) == ".sst" {
			err = errors.Join(err, i.cfg.FS.Remove(filepath.Join(i.cfg.Dir, name)))
		}
	}
	return err
}

func (i *Import) readProgress() error {
	want := appendHead(nil, i.target.Height, i.target.Root)
	have, err := i.get(importKey)
	if err != nil {
		return err
	}
	if have == nil {
		return i.engine.wait(func() error { return i.engine.kv.SetSync(importKey, want) })
	}
	if !bytes.Equal(have, want) {
		return errOtherTarget
	}
	for _, key := range [][]byte{headKey, carryKey} {
		record, err := i.get(key)
		if err != nil {
			return err
		}
		i.built = i.built || record != nil
	}
	if i.built {
		i.done = i.done.add(spanOf(0, 0))
	}
	err = i.each(keyChunk, func(key, _ []byte) error {
		k, err := parseChunkKey(key)
		i.done = i.done.add(k)
		return err
	})
	if err != nil {
		return err
	}
	return i.engine.wait(func() error {
		return i.engine.db.DeleteRange([]byte{keyPlain}, []byte{keyPlain + 1}, pebble.NoSync)
	})
}

func (i *Import) get(key []byte) (value []byte, err error) {
	err = i.engine.wait(func() (err error) {
		value, err = i.engine.kv.Get(key)
		return err
	})
	if err != nil {
		return nil, readError("the import", err)
	}
	return value, nil
}

// each calls fn for the records of a key space, in order.
func (i *Import) each(space byte, fn func(key, value []byte) error) error {
	it, err := i.engine.db.NewIter(&pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		return readError("the import", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = fn(it.Key(), it.Value())
	}
	if err = errors.Join(err, it.Error(), i.engine.wait(it.Close)); err != nil {
		return readError("the import", err)
	}
	return nil
}

func (i *Import) closeEngine() error {
	if i.engine == nil {
		return nil
	}
	err := i.engine.close()
	i.engine = nil
	return err
}

// flush makes a table of the pending chunks and then notes that they are
// there: an interruption between the two costs fetching them again.
func (i *Import) flush() error {
	if len(i.pending) == 0 {
		return nil
	}
	slices.SortFunc(i.pending, func(a, b piece) int { return bytes.Compare(chunkKey(a.prefix, a.depth), chunkKey(b.prefix, b.depth)) })
	t, err := i.newTable()
	if err != nil {
		return err
	}
	b := batch{Batch: i.engine.kv.NewBatch()}
	var last []byte
	for _, p := range i.pending {
		for _, r := range p.records {
			if bytes.Compare(last, r.key) < 0 { // chunks may overlap
				t.add(r.key, r.value)
				last = r.key
			}
		}
		b.set(chunkKey(p.prefix, p.depth), []byte{})
	}
	if err := errors.Join(i.ingest(t), b.err); err != nil {
		return errors.Join(err, b.Close())
	}
	i.pending, i.bytes = nil, 0
	return i.engine.wait(b.WriteSync)
}

// newTable begins a table file aside.
func (i *Import) newTable() (*table, error) {
	i.tables++
	path := filepath.Join(i.cfg.Dir, fmt.Sprintf("table-%d.sst", i.tables))
	opts := i.cfg.pebble(i.engine.health)
	opts.EnsureDefaults()
	opts.Cache.Unref()
	opts.Cache = nil
	file, err := i.cfg.FS.Create(path) // not the engine's: after a failure that does not return
	if err != nil {
		return nil, err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), opts.MakeWriterOptions(6, opts.FormatMajorVersion.MaxTableFormat()))
	return &table{path: path, w: w}, nil
}

// table is a table file in the making that keeps its first error.
type table struct {
	path  string
	w     *sstable.Writer
	count int
	err   error
}

func (t *table) add(key, value []byte) {
	if t.err == nil {
		t.err = t.w.Set(key, value)
		t.count++
	}
}

// ingest makes a table that is written part of the database.
func (i *Import) ingest(t *table) error {
	if err := errors.Join(t.err, t.w.Close()); err != nil || t.count == 0 {
		return errors.Join(err, i.cfg.FS.Remove(t.path))
	}
	return i.engine.wait(func() error { return i.engine.db.Ingest([]string{t.path}) })
}

// finish writes all that a store has.
func (i *Import) finish(ctx context.Context, f Final) error {
	if err := i.flush(); err != nil {
		return err
	}
	if !i.done.covers(spanOf(0, 0)) {
		return ErrIncomplete
	}
	if !i.built {
		if err := i.build(ctx); err != nil {
			return err
		}
	}
	b := batch{Batch: i.engine.kv.NewBatch()}
	if err := b.final(i.target, f); err != nil {
		return errors.Join(err, b.Close())
	}
	return i.engine.wait(b.WriteSync)
}

func (b *batch) final(t Target, f Final) error {
	if f.Carry {
		b.set(carryKey, t.Root[:])
		return b.plain(f.Plain)
	}
	b.block(0, f.Genesis)
	if t.Height > 0 {
		b.block(t.Height, f.Head)
		b.set(baseKey, heightKey(0, t.Height)[1:])
	}
	b.set(headKey, appendHead(nil, t.Height, t.Root))
	return b.plain(f.Plain)
}

// build makes the buckets and the ordered index of the state that is there.
func (i *Import) build(ctx context.Context) error {
	buckets, err := i.newTable()
	if err != nil {
		return err
	}
	index := &indexer{imp: i}
	built, err := i.readState(ctx, index, func(k tree.Bucket) error {
		buckets.add(bucketKey(k.Start), appendBucket(nil, k))
		return buckets.err
	})
	if err == nil && built.Root() != i.target.Root {
		err = corrupt("the imported state", fmt.Errorf("its root is %x, that of block %d is %x", built.Root(), i.target.Height, i.target.Root))
	}
	if err != nil {
		return errors.Join(err, buckets.w.Close())
	}
	return errors.Join(i.ingest(buckets), index.flush())
}

// readState goes through all values and builds the tree over them.
func (i *Import) readState(ctx context.Context, index *indexer, put func(tree.Bucket) error) (*tree.Tree, error) {
	it, err := i.engine.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyState}, UpperBound: []byte{keyState + 1}})
	if err != nil {
		return nil, readError("the imported state", err)
	}
	s := stateSource{it: it, ctx: ctx, index: index}
	s.valid = it.First()
	t, err := tree.Bulk(tree.DefaultLimits, s.next, put)
	if err = errors.Join(err, i.engine.wait(it.Close)); err != nil {
		return nil, readError("the imported state", err)
	}
	return t, nil
}

// stateSource gives a Bulk the stored values.
type stateSource struct {
	it    *pebble.Iterator
	ctx   context.Context // of the one Finish that this serves
	index *indexer
	valid bool
	run   []tree.Entry // of one 8-byte prefix, which keys share in another order than their hashes
	count int
}

func (s *stateSource) next() (tree.Entry, error) {
	if len(s.run) == 0 {
		if err := s.read(); err != nil {
			return tree.Entry{}, err
		}
	}
	e := s.run[0]
	s.run = s.run[1:]
	return e, nil
}

// read takes all entries that share the next 8 bytes.
func (s *stateSource) read() error {
	s.run = s.run[:0]
	for s.valid {
		if s.count++; s.count%verifySteps == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		key, keyHash, err := parseStateKey(s.it.Key())
		if err != nil {
			return err
		}
		if len(s.run) > 0 && !bytes.Equal(s.run[0].Key[:8], keyHash[:8]) {
			return nil
		}
		valueHash, err := storedHash(s.it.Value(), false)
		if err != nil {
			return err
		}
		if err := s.index.add(key); err != nil {
			return err
		}
		s.run = insertOrdered(s.run, tree.Entry{Key: keyHash, Value: valueHash})
		s.valid = s.it.Next()
	}
	if len(s.run) > 0 {
		return nil
	}
	return errors.Join(s.it.Error(), endOf(s.it))
}

func endOf(it *pebble.Iterator) error {
	if it.Error() != nil {
		return nil
	}
	return tree.ErrEnd
}

// indexRun is how many bytes of keys are put in order at once. Each run makes
// a table that spans the whole index; the database merges them later.
const indexRun = 8 << 20

// indexer makes tables of the ordered index out of keys that come in the order
// of their hashes.
type indexer struct {
	imp  *Import
	keys [][]byte
	room []byte
}

func (x *indexer) add(key []byte) error {
	if len(x.room)+len(key)+1 > cap(x.room) {
		if err := x.flush(); err != nil {
			return err
		}
		if x.room == nil {
			x.room = make([]byte, 0, max(x.imp.run, 1+MaxKey))
		}
	}
	from := len(x.room)
	x.room = append(append(x.room, keyIndex), key...)
	x.keys = append(x.keys, x.room[from:len(x.room):len(x.room)])
	return nil
}

func (x *indexer) flush() error {
	if len(x.keys) == 0 {
		return nil
	}
	t, err := x.imp.newTable()
	if err != nil {
		return err
	}
	slices.SortFunc(x.keys, bytes.Compare)
	for _, key := range x.keys {
		t.add(key, nil)
	}
	x.keys, x.room = x.keys[:0], x.room[:0]
	return x.imp.ingest(t)
}

// check opens the store that came out as it will be opened from now on.
func (i *Import) check(fn func(*Store) error) error {
	s, err := open(i.cfg)
	if err != nil {
		return i.end(err)
	}
	if fn != nil {
		err = fn(s)
	}
	return errors.Join(err, s.Close())
}
