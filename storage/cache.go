package storage

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// The cache's Set is asynchronous and may be dropped, and a reader of an old
// height may fill an entry after a commit changed its key. So nothing is ever
// invalidated: every entry says at which version it was read, and beside the
// cache stands, for every slot of keys, the version that last changed one of
// them. An entry serves a reader if no change lies between the two.
//
// Versions are heights plus one; 0 is the store before its first block.

// cacheSlots is how many slots keys share. A collision costs a miss.
const cacheSlots = 1 << 16

// cacheOverhead is what an entry costs beyond its key and value, in bytes, in
// ristretto's maps and our own struct.
const cacheOverhead = 256

type cacheEntry struct {
	version uint64
	key     []byte
	value   []byte
	present bool
}

type hotCache struct {
	entries *ristretto.Cache[uint64, *cacheEntry]
	seed    maphash.Seed
	last    [cacheSlots]atomic.Uint64 // version that last changed a key of the slot
	counts  [16]cacheCount            // spread over keys, so that readers do not share one line
}

type cacheCount struct {
	hits, misses atomic.Uint64
	_            [48]byte
}

func newHotCache(size int64) (*hotCache, error) {
	entries, err := ristretto.NewCache(&ristretto.Config[uint64, *cacheEntry]{
		NumCounters:        max(size/(cacheOverhead+64)*10, 100), // ten for each entry, as ristretto advises
		MaxCost:            size,
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making the hot cache: %w", err)
	}
	return &hotCache{entries: entries, seed: maphash.MakeSeed()}, nil
}

func (c *hotCache) hash(key []byte) uint64 { return maphash.Bytes(c.seed, key) }

func (c *hotCache) slot(hash uint64) *atomic.Uint64 { return &c.last[hash%cacheSlots] }

// get returns the entry of key that holds at version, or nil.
func (c *hotCache) get(hash uint64, key []byte, version uint64) *cacheEntry {
	count := &c.counts[hash>>60]
	e, ok := c.entries.Get(hash)
	if !ok || c.slot(hash).Load() > min(e.version, version) || !bytes.Equal(e.key, key) {
		count.misses.Add(1)
		return nil
	}
	count.hits.Add(1)
	return e
}

// put offers what was read at e.version.
func (c *hotCache) put(hash uint64, e *cacheEntry) {
	c.entries.Set(hash, e, int64(len(e.key)+len(e.value)+cacheOverhead))
}

// raise says that key changes with version. It must come before the version
// can be read.
func (c *hotCache) raise(key []byte, version uint64) { c.slot(c.hash(key)).Store(version) }

func (c *hotCache) totals() (hits, misses uint64) {
	for i := range c.counts {
		hits += c.counts[i].hits.Load()
		misses += c.counts[i].misses.Load()
	}
	return hits, misses
}

func (c *hotCache) close() { c.entries.Close() }
