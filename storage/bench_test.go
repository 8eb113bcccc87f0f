package storage

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"
	"golang.org/x/sys/unix"
)

// The benchmarks' state: keys as a contract's entries have them, and records
// of about the size of a device's.
const (
	benchKeyBytes   = 40
	benchValueBytes = 100
	benchBlock      = 200 // changes in a block, as the flash target names
)

func benchKey(i int) []byte {
	return fmt.Appendf(make([]byte, 0, benchKeyBytes), "c/access/entity/0001/device/%012d", i)
}

// benchValue is not compressible, as hashes and keys are not.
func benchValue(i, round int) []byte {
	seed := [32]byte{}
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	binary.BigEndian.PutUint64(seed[8:], uint64(round))
	value := make([]byte, benchValueBytes)
	rand.NewChaCha8(seed).Read(value)
	return value
}

// noSync is the disk without waiting for it: counted bytes stay the same, and
// CPU can be told from the disk's latency.
type noSync struct{ vfs.FS }

type noSyncFile struct{ vfs.File }

func (f noSync) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	return noSyncFile{file}, err
}
func (f noSync) ReuseForWrite(old, name string) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name)
	return noSyncFile{file}, err
}
func (noSyncFile) Sync() error                      { return nil }
func (noSyncFile) SyncData() error                  { return nil }
func (noSyncFile) SyncTo(int64) (bool, error)       { return true, nil }
func (noSyncFile) Preallocate(off, len int64) error { return nil }

func benchConfig(dir string) Config {
	return Config{Dir: dir, FS: noSync{vfs.Default}, Logger: slog.New(slog.DiscardHandler)}
}

// benchFill commits keys in blocks of 5,000.
func benchFill(b testing.TB, s *Store, keys int) {
	b.Helper()
	changes := make([]Change, 0, 5000)
	for i := range keys {
		changes = append(changes, Change{benchKey(i), benchValue(i, 0)})
		if len(changes) == cap(changes) || i == keys-1 {
			mustCommit(b, s, changes)
			changes = changes[:0:cap(changes)]
		}
	}
}

// cpuTime is the processor time of this process so far, its background work
// included.
func cpuTime(b testing.TB) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCommit commits blocks of 200 changes and reports what each changed
// key costs on flash: written/changed is the target's figure, log and blocks
// are reported beside it.
func BenchmarkCommit(b *testing.B) {
	for _, keys := range []int{100_000, 1_000_000} {
		for _, kind := range []string{"replace", "insert"} {
			b.Run(kind+"-"+strconv.Itoa(keys), func(b *testing.B) { benchCommit(b, keys, kind == "insert") })
		}
	}
}

func benchCommit(b *testing.B, keys int, insert bool) {
	s := mustOpen(b, benchConfig(b.TempDir()))
	benchFill(b, s, keys)
	before := s.Stats()
	rng := rand.New(rand.NewPCG(1, 2))
	changes := make([]Change, benchBlock)
	next, changed, count := keys, 0, 0
	var reading time.Duration
	start := cpuTime(b)
	b.ResetTimer()
	for round := range b.N {
		for i := range changes {
			n := rng.IntN(keys)
			if insert {
				n, next = next, next+1
			}
			changes[i] = Change{benchKey(n), benchValue(n, round+1)}
			changed += len(changes[i].Key) + len(changes[i].Value)
		}
		if !insert {
			changes = distinct(changes)
		}
		mustCommit(b, s, changes)
		count += len(changes)
		r := cpuTime(b)
		v := mustView(b, s)
		for range 100 {
			v.GetCold(benchKey(rng.IntN(keys)))
		}
		v.Release()
		reading += cpuTime(b) - r
	}
	b.ReportMetric(float64((cpuTime(b)-start-reading).Microseconds())/float64(count), "cpu-us/key")
	b.ReportMetric(float64(reading.Microseconds())/float64(b.N*100), "cpu-us/read")
	b.StopTimer()
	if err := s.engine.db.Flush(); err != nil {
		b.Fatal(err)
	}
	after := s.Stats()
	per := func(n uint64) float64 { return float64(n) / float64(changed) }
	var heap runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&heap)
	b.ReportMetric(float64(heap.HeapAlloc)/(1<<20), "heap-MiB")
	b.ReportMetric(per(after.LogBytes-before.LogBytes), "log/changed")
	b.ReportMetric(per(after.FlushedBytes-before.FlushedBytes), "flushed/changed")
	b.ReportMetric(per(after.CompactedBytes-before.CompactedBytes), "compacted/changed")
	mustClose(b, s)
}

// distinct drops changes of a key that an earlier one changes.
func distinct(changes []Change) []Change {
	seen := map[string]bool{}
	kept := changes[:0]
	for _, c := range changes {
		if !seen[string(c.Key)] {
			kept = append(kept, c)
		}
		seen[string(c.Key)] = true
	}
	return kept
}

func BenchmarkUpdate(b *testing.B) {
	s := mustOpen(b, benchConfig(b.TempDir()))
	benchFill(b, s, 100_000)
	v := mustView(b, s)
	rng := rand.New(rand.NewPCG(1, 2))
	changed := 0
	start := cpuTime(b)
	b.ResetTimer()
	for round := range b.N {
		changes := make([]Change, benchBlock)
		for i := range changes {
			n := rng.IntN(100_000)
			changes[i] = Change{benchKey(n), benchValue(n, round+1)}
		}
		changes = distinct(changes)
		changed += len(changes)
		if _, err := v.Update(changes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-start).Nanoseconds())/float64(changed), "cpu-ns/key")
	b.StopTimer()
	v.Release()
	mustClose(b, s)
}

func BenchmarkGet(b *testing.B) {
	s := mustOpen(b, benchConfig(b.TempDir()))
	benchFill(b, s, 100_000)
	v := mustView(b, s)
	key := benchKey(77)
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok, err := v.Get(key); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		rng := rand.New(rand.NewPCG(1, 2))
		for b.Loop() {
			if _, ok, err := v.GetCold(benchKey(rng.IntN(100_000))); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("scan-100", func(b *testing.B) {
		for b.Loop() {
			n := 0
			it := v.Scan([]byte("c/access/entity/0001/device/0000000123"), nil)
			for it.Next() {
				n++
			}
			it.Close()
			if n != 100 {
				b.Fatal(n, it.Err())
			}
		}
	})
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			p, err := v.Prove(key)
			if err != nil {
				b.Fatal(err)
			}
			if _, ok, err := p.Verify(v.Root(), key); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
	v.Release()
	mustClose(b, s)
}

// BenchmarkOpen opens a store of a million keys, check included, and reports
// how much heap is then in use.
func BenchmarkOpen(b *testing.B) {
	for _, keys := range []int{100_000, 1_000_000} {
		b.Run(strconv.Itoa(keys), func(b *testing.B) {
			cfg := benchConfig(b.TempDir())
			s := mustOpen(b, cfg)
			benchFill(b, s, keys)
			mustClose(b, s)
			var heap runtime.MemStats
			b.ResetTimer()
			for range b.N {
				s := mustOpen(b, cfg)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&heap)
				mustClose(b, s)
				b.StartTimer()
			}
			b.ReportMetric(float64(heap.HeapAlloc)/(1<<20), "heap-MiB")
		})
	}
}
