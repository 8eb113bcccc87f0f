package storage

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi/proof"
)

const benchSnapshotKeys = 1_000_000

// meter takes what a piece of work costs.
type meter struct {
	b       testing.TB
	disk    *countingFS
	start   time.Time
	cpu     time.Duration
	written int64
	heap    uint64
}

func newMeter(b testing.TB, disk *countingFS) *meter {
	return &meter{b: b, disk: disk, start: time.Now(), cpu: cpuTime(b), written: disk.bytes()}
}

// report gives wall and CPU seconds, bytes written, and the heap in use.
func (m *meter) report(b *testing.B, what string) {
	b.ReportMetric(time.Since(m.start).Seconds(), what+"-s")
	b.ReportMetric((cpuTime(b) - m.cpu).Seconds(), what+"-cpu-s")
	b.ReportMetric(float64(m.disk.bytes()-m.written)/(1<<20), what+"-MiB")
	if m.heap > 0 {
		b.ReportMetric(float64(m.heap)/(1<<20), what+"-heap-MiB")
	}
}

// look notes the heap in use if it is the highest so far.
func (m *meter) look() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.heap = max(m.heap, s.HeapInuse)
}

// countingFS counts the bytes that are written.
type countingFS struct {
	vfs.FS
	mu    sync.Mutex
	count int64 // guarded by mu
}

func (f *countingFS) bytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *countingFS) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	return countingFile{file, f}, err
}

func (f *countingFS) ReuseForWrite(old, name string) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name)
	return countingFile{file, f}, err
}

type countingFile struct {
	vfs.File
	fs *countingFS
}

func (f countingFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	f.fs.count += int64(len(p))
	f.fs.mu.Unlock()
	return f.File.Write(p)
}

// ownBytes is what the files below a folder take that no other folder links.
func ownBytes(b testing.TB, dir string) (own, all int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		all += info.Size()
		if info.Sys().(*syscall.Stat_t).Nlink == 1 {
			own += info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return own, all
}

// BenchmarkSnapshot takes a million keys the whole way: a checkpoint, its
// chunks, encoded and verified as between nodes, and the import of them.
func BenchmarkSnapshot(b *testing.B) {
	for b.Loop() {
		benchSnapshot(b, benchSnapshotKeys)
	}
}

func benchSnapshot(b *testing.B, keys int) {
	dir := b.TempDir()
	disk := &countingFS{FS: vfs.Default}
	config := func(name string) Config {
		return Config{Dir: filepath.Join(dir, name), FS: disk, Logger: slog.New(slog.DiscardHandler)}
	}
	source := mustOpen(b, config("data"))
	benchFill(b, source, keys)
	target := targetOf(source)
	final := finalOf(b, source)

	m := newMeter(b, disk)
	at := filepath.Join(dir, "checkpoint")
	if err := source.Checkpoint(at); err != nil {
		b.Fatal(err)
	}
	m.report(b, "checkpoint")
	own, all := ownBytes(b, at)
	b.ReportMetric(float64(own)/1024, "checkpoint-own-KiB")
	b.ReportMetric(float64(all)/(1<<20), "checkpoint-all-MiB")
	mustClose(b, source)

	m = newMeter(b, disk)
	cfg := config("checkpoint")
	cfg.HotCacheBytes, cfg.BlockCacheBytes = 64<<10, 1<<20
	served, err := OpenCheckpoint(cfg)
	if err != nil {
		b.Fatal(err)
	}
	m.look()
	m.report(b, "open")

	var chunks [][]byte
	ids := allChunks(9)
	v := mustView(b, served)
	m = newMeter(b, disk)
	size := 0
	for _, id := range ids {
		c, err := v.Chunk(id.prefix, id.depth, 512<<10)
		if err != nil {
			b.Fatal(err)
		}
		chunks = append(chunks, c.Append(nil))
		size += len(chunks[len(chunks)-1])
	}
	m.report(b, "export")
	b.ReportMetric(float64(size)/(1<<20), "chunks-MiB")
	v.Release()
	mustClose(b, served)

	m = newMeter(b, disk)
	parsed := make([]proof.Chunk, len(chunks))
	for i, id := range ids {
		if parsed[i], err = proof.ParseChunk(chunks[i]); err == nil {
			err = parsed[i].Verify(target.Root, id.prefix, id.depth)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	m.report(b, "verify")

	m = newMeter(b, disk)
	imp := mustImport(b, config("joined"), target)
	for i, id := range ids {
		if err := imp.Put(id.prefix, id.depth, &parsed[i]); err != nil {
			b.Fatal(err)
		}
	}
	m.report(b, "put")
	m = newMeter(b, disk)
	if err := imp.Finish(b.Context(), final); err != nil {
		b.Fatal(err)
	}
	m.report(b, "finish")
	joined := mustOpen(b, config("joined"))
	b.Log(fmt.Sprintf("%+v", joined.Stats()))
	mustClose(b, joined)
}
