package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage/tree"
)

// Report says what Verify checked.
type Report struct {
	Head    Head
	Base    uint64 // lowest height above 0 that is kept
	Blocks  int    // block records: of height 0, and contiguous from Base
	Buckets int
	Keys    int // state values, each indexed
	Plain   int // records outside the root, counted only
}

// verifySteps is how many records Verify goes through between looks at its
// context and calls of progress.
const verifySteps = 1024

// Verify checks all that is stored at the head: every block against its
// digest, every state value against its bucket's hash and those against the
// root, and that the ordered index holds exactly the state's keys. It reads
// past the cache while the store goes on working. progress, which may be nil,
// is told how many of all blocks and keys are done. The first damage ends it
// with an error that wraps ErrCorrupt.
func (s *Store) Verify(ctx context.Context, progress func(done, total int)) (Report, error) {
	view, err := s.View()
	if err != nil {
		return Report{}, err
	}
	defer view.Release()
	f := verifier{view: view, ctx: ctx, progress: progress}
	f.Head = Head{Height: view.Height(), Root: view.Root(), Empty: view.version == 0}
	f.Base = view.base
	f.total = view.blocks() + 2*int(view.Keys()) // each key once in the state, once in the index
	for _, check := range []func() error{f.records, f.blocks, f.state, f.index, f.plain} {
		if err := check(); err != nil {
			return f.Report, err
		}
	}
	f.report()
	return f.Report, nil
}

type verifier struct {
	Report
	view        *View
	ctx         context.Context // of the one Verify that this serves
	progress    func(done, total int)
	done, total int
}

func (f *verifier) step() error {
	if f.done++; f.done%verifySteps != 0 {
		return nil
	}
	f.report()
	return f.ctx.Err()
}

func (f *verifier) report() {
	if f.progress != nil {
		f.progress(f.done, f.total)
	}
}

// records reads head, bucket and digest records again, as Open does.
func (f *verifier) records() error {
	head, err := f.view.readHead()
	if err != nil {
		return err
	}
	if head != f.Head {
		return corrupt("the head record", fmt.Errorf("it says block %d with root %x, block %d with root %x was committed", head.Height, head.Root, f.Head.Height, f.Head.Root))
	}
	stored, err := f.view.readTree()
	if err != nil {
		return readError("the state tree", err)
	}
	if stored.Root() != f.Head.Root {
		return corrupt("the state tree", fmt.Errorf("its root is %x, that of block %d is %x", stored.Root(), f.Head.Height, f.Head.Root))
	}
	return f.view.checkHeights()
}

func (f *verifier) blocks() error {
	height := uint64(0)
	err := f.view.scan(keyBlock, func(key, value []byte) error {
		if !bytes.Equal(key, heightKey(keyBlock, height)) || height >= f.view.version {
			return fmt.Errorf("%w: found %x where block %d should be", errMalformedRecord, key, height)
		}
		digest, err := f.view.store.engine.get(f.view.snap, heightKey(keyDigest, height))
		if err != nil {
			return err
		}
		if err := checkBlock(value, digest); err != nil {
			return fmt.Errorf("%w: block %d: %w", errMalformedRecord, height, err)
		}
		height = f.view.after(height)
		f.Blocks++
		return f.step()
	})
	if err != nil {
		return readError("the blocks", err)
	}
	if height < f.view.version {
		return corrupt("the blocks", fmt.Errorf("block %d is missing, the head is block %d", height, f.Head.Height))
	}
	return nil
}

// state walks the tree's buckets and all stored values beside each other.
func (f *verifier) state() error {
	it, err := f.view.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{keyState}, UpperBound: []byte{keyState + 1}})
	if err != nil {
		return readError("the state", err)
	}
	it.First()
	f.view.tree.Buckets(func(ref tree.Ref) bool {
		err = f.bucket(it, ref)
		f.Buckets++
		return err == nil
	})
	if err := errors.Join(err, f.view.store.engine.wait(it.Close)); err != nil {
		return readError("the state", err)
	}
	return nil
}

func (f *verifier) bucket(it *pebble.Iterator, ref tree.Ref) error {
	_, upper := bucketRange(ref.Bucket)
	entries := make([]tree.Entry, 0, ref.Count)
	for ; it.Valid() && bytes.Compare(it.Key(), upper) < 0; it.Next() {
		key, keyHash, err := parseStateKey(it.Key())
		if err != nil {
			return err
		}
		var valueHash abi.Hash
		if valueHash, err = storedHash(it.Value(), false); err != nil {
			return fmt.Errorf("state key %x: %w", key, err)
		}
		if err := f.indexed(key); err != nil {
			return err
		}
		entries = insertOrdered(entries, tree.Entry{Key: keyHash, Value: valueHash})
		f.Keys++
		if err := f.step(); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	return ref.Check(entries)
}

func (f *verifier) indexed(key []byte) error {
	value, err := f.view.store.engine.get(f.view.snap, indexKey(key))
	if err == nil && value == nil {
		err = fmt.Errorf("%w: state key %x is missing in the ordered index", errMalformedRecord, key)
	}
	return err
}

// index finds that nothing but the state's keys is indexed. Every state key
// is, as state found, so it is enough that no index entry is beyond them.
func (f *verifier) index() error {
	entries := 0
	err := f.view.scan(keyIndex, func(key, value []byte) error {
		if len(value) != 0 {
			return fmt.Errorf("%w: entry of key %x is not empty", errMalformedRecord, key[1:])
		}
		if entries++; entries > f.Keys {
			return f.findStray()
		}
		return f.step()
	})
	if err != nil {
		return readError("the ordered index", err)
	}
	return nil
}

// findStray names the first index entry whose key has no value.
func (f *verifier) findStray() error {
	return f.view.scan(keyIndex, func(key, _ []byte) error {
		if _, ok, err := f.view.GetCold(key[1:]); err != nil || ok {
			return err
		}
		return fmt.Errorf("%w: key %x has no value", errMalformedRecord, key[1:])
	})
}

func (f *verifier) plain() error {
	err := f.view.scan(keyPlain, func(_, _ []byte) error {
		f.Plain++
		if f.Plain%verifySteps == 0 {
			return f.ctx.Err()
		}
		return nil
	})
	if err != nil {
		return readError("the plain records", err)
	}
	return nil
}
