package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// An import builds a store out of verified chunks in a folder beside the one
// that it is to become, and goes on where it was interrupted.

// Target is what an import is to reach: the state after a certified block.
type Target struct {
	Height uint64
	Root   abi.Hash
}

// Record is what is kept of a block.
type Record struct{ Block, Certificate, Outcomes []byte }

// Final completes an import.
type Final struct {
	Genesis Record   // of height 0
	Head    Record   // of the target's height, unless that is 0
	Plain   []Change // records outside the root, beside those that Plain took
	// Carry keeps the state but no block: the store is empty and its first
	// block, of height 0, changes that state. So another chain begins where
	// one has ended.
	Carry bool
	// Check may refuse the store that came out, before it becomes the node's.
	// It must give back all that it takes of it.
	Check func(*Store) error
}

// Import is a store in the making, safe for concurrent use. After an error of
// Put, Plain or Finish it can only be closed; NewImport goes on where it was.
type Import struct {
	cfg    Config // of the folder aside
	home   Config // of the folder that is to be
	target Target
	engine *engine
	table  int // bytes of chunks that make one table
	run    int // bytes of keys that are put in order at once

	mu      sync.Mutex
	done    spans   // what chunks have covered, pending ones included; guarded by mu
	pending []piece // chunks that are in no table yet; guarded by mu
	bytes   int     // of them; guarded by mu
	tables  int     // made so far; guarded by mu
	built   bool    // everything but the plain records is there; guarded by mu
	err     error   // guarded by mu
}

// piece is a chunk on its way into a table: its records in order of keys.
type piece struct {
	prefix  uint64
	depth   uint8
	records []pair
}

type pair struct{ key, value []byte }

// ErrIncomplete comes from Finish when chunks are missing.
var ErrIncomplete = errors.New("chunks of the state are missing")

// importTable is how many bytes of chunks make one table. What is pending is
// what an interruption costs, and what an import holds in memory.
const importTable = 4 << 20

// NewImport begins or goes on with an import that is to become the store in
// cfg.Dir, which need not exist and must not be open. What an earlier import
// to another target left is removed. Plain records are not kept over an
// interruption.
func NewImport(cfg Config, target Target) (*Import, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := settleImport(cfg); err != nil {
		return nil, err
	}
	i := &Import{cfg: cfg, home: cfg, target: target, table: importTable, run: indexRun}
	i.cfg.Dir = cfg.Dir + joinSuffix
	err := i.resume()
	if errors.Is(err, ErrCorrupt) || errors.Is(err, errOtherTarget) {
		cfg.Logger.Info("an earlier import is of no use and begins anew", "cause", err)
		if err = cfg.FS.RemoveAll(i.cfg.Dir); err == nil {
			err = i.resume()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("importing a state: %w", err)
	}
	return i, nil
}

// Done says whether chunks that were put cover this one.
func (i *Import) Done(prefix uint64, depth uint8) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.done.covers(spanOf(prefix, depth))
}

// Put takes a chunk that the caller has verified under the target's root.
// Finish verifies all of them together again.
func (i *Import) Put(prefix uint64, depth uint8, c *proof.Chunk) error {
	p := newPiece(prefix, depth, c)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil || i.done.covers(spanOf(prefix, depth)) {
		return i.err
	}
	i.done = i.done.add(spanOf(prefix, depth))
	i.pending = append(i.pending, p)
	for _, r := range p.records {
		i.bytes += len(r.key) + len(r.value)
	}
	if i.bytes < i.table {
		return nil
	}
	return i.fail(asDamage(i.flush()))
}

func newPiece(prefix uint64, depth uint8, c *proof.Chunk) piece {
	p := piece{prefix: prefix, depth: depth, records: make([]pair, len(c.Entries))}
	for n, e := range c.Entries {
		var hash abi.Hash // stored beside long values only
		if len(e.Value) >= hashedFrom {
			hash = proof.ValueHash(e.Value)
		}
		p.records[n] = pair{appendStateKey(nil, proof.KeyHash(e.Key), e.Key), appendStored(nil, e.Value, hash)}
	}
	slices.SortFunc(p.records, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	return p
}

// Plain adds records outside the root.
func (i *Import) Plain(changes []Change) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return i.err
	}
	b := batch{Batch: i.engine.kv.NewBatch()}
	if err := b.plain(changes); err != nil {
		return errors.Join(err, b.Close())
	}
	return i.fail(asDamage(i.engine.wait(b.Write)))
}

// fail keeps the first error.
func (i *Import) fail(err error) error {
	if i.err == nil && err != nil {
		i.err = fmt.Errorf("importing a state: %w", err)
	}
	return i.err
}

// asDamage takes an error of the engine for what it must be if it is neither the
// system's refusal nor the caller's wish: damage to what lies on disk.
func asDamage(err error) error {
	known := err == nil || isSystemError(err)
	for _, other := range []error{ErrCorrupt, ErrIncomplete, errOtherTarget, context.Canceled, context.DeadlineExceeded} {
		known = known || errors.Is(err, other)
	}
	if known {
		return err
	}
	return corrupt("the import", err)
}

// Finish checks that the chunks are complete and lead to the target's root,
// makes what a store has besides, and puts the result in the place of the
// store in the import's Config.Dir, atomically. The import is closed then,
// whatever is returned. ErrIncomplete comes if chunks are missing. If what
// lies on disk is not what was put, the error wraps ErrCorrupt and the import
// begins anew.
func (i *Import) Finish(ctx context.Context, f Final) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	err := i.err
	if err == nil {
		err = asDamage(i.finish(ctx, f))
	}
	if err = i.end(err); err == nil {
		err = i.check(f.Check)
	}
	if err == nil {
		err = i.replace()
	}
	return i.fail(err)
}

// Close ends an import that is not finished. What was put is kept.
func (i *Import) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err == nil && i.engine != nil {
		i.fail(asDamage(i.flush()))
	}
	return i.end(i.err)
}

// end closes the engine. What is damaged is of no use to another import.
func (i *Import) end(err error) error {
	err = errors.Join(err, i.closeEngine())
	if errors.Is(err, ErrCorrupt) {
		err = errors.Join(err, i.cfg.FS.RemoveAll(i.cfg.Dir))
	}
	return err
}

// span is a range of the 8 first bytes of key hashes, both ends included.
type span struct{ first, last uint64 }

func spanOf(prefix uint64, depth uint8) span {
	return span{prefix, prefix | ^uint64(0)>>depth}
}

// spans are in order and neither overlap nor touch.
type spans []span

func (s spans) covers(k span) bool {
	for _, have := range s {
		if have.first <= k.first && k.last <= have.last {
			return true
		}
	}
	return false
}

// add joins k with whatever it overlaps or touches.
func (s spans) add(k span) spans {
	joined := make(spans, 0, len(s)+1)
	for _, have := range s {
		switch {
		case have.last != ^uint64(0) && have.last+1 < k.first:
			joined = append(joined, have)
		case k.last != ^uint64(0) && k.last+1 < have.first:
			joined, k = append(joined, k), have
		default:
			k = span{min(have.first, k.first), max(have.last, k.last)}
		}
	}
	return append(joined, k)
}

func chunkKey(prefix uint64, depth uint8) []byte { return append(heightKey(keyChunk, prefix), depth) }

func parseChunkKey(key []byte) (span, error) {
	if len(key) != 10 || !proof.ValidChunk(binary.BigEndian.Uint64(key[1:]), key[9]) {
		return span{}, fmt.Errorf("%w: chunk %x", errMalformedRecord, key)
	}
	return spanOf(binary.BigEndian.Uint64(key[1:]), key[9]), nil
}
