package storage

import "github.com/cockroachdb/pebble"

// Stats are figures for metrics. All but Keys, Views and SizeBytes only grow
// while the store is open; bytes written are those of this process.
type Stats struct {
	Keys      uint64 // state keys
	CacheHits uint64 // reads that the hot cache served
	CacheMiss uint64 // reads through the cache that it did not
	Views     int    // Views alive, the newest included

	SizeBytes      uint64 // on disk
	LogBytes       uint64 // written to the write-ahead log
	FlushedBytes   uint64 // written from memory to tables
	CompactedBytes uint64 // written by merging tables
}

// Stats returns the store's figures, zero once it has failed or is closed.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.current.Load()
	if v == nil {
		return Stats{}
	}
	var m *pebble.Metrics
	err := s.engine.wait(func() error {
		m = s.engine.db.Metrics()
		return nil
	})
	if err != nil {
		return Stats{}
	}
	var flushed, compacted uint64
	for i := range m.Levels {
		flushed += m.Levels[i].BytesFlushed
		compacted += m.Levels[i].BytesCompacted
	}
	stats := Stats{
		Keys:           v.tree.Count(),
		Views:          int(s.alive.Load()),
		SizeBytes:      m.DiskSpaceUsage(),
		LogBytes:       m.WAL.BytesWritten,
		FlushedBytes:   flushed,
		CompactedBytes: compacted,
	}
	stats.CacheHits, stats.CacheMiss = s.cache.totals()
	return stats
}
