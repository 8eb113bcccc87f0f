package storage

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
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
}

func newMeter(b testing.TB, disk *countingFS) *meter {
	return &meter{b: b, disk: disk, start: time.Now(), cpu: cpuTime(b), written: disk.bytes()}
}

// report gives wall and CPU seconds and bytes written.
func (m *meter) report(b *testing.B, what string) {
	b.ReportMetric(time.Since(m.start).Seconds(), what+"-s")
	b.ReportMetric((cpuTime(b) - m.cpu).Seconds(), what+"-cpu-s")
	b.ReportMetric(float64(m.disk.bytes()-m.written)/(1<<20), what+"-MiB")
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
		dir := b.TempDir()
		w := snapshotWay{b: b, dir: dir, disk: &countingFS{FS: vfs.Default}, ids: allChunks(9)}
		w.checkpoint(benchSnapshotKeys)
		w.export()
		w.join(w.verify())
	}
}

// snapshotWay is what one stage leaves for the next.
type snapshotWay struct {
	b      *testing.B
	dir    string
	disk   *countingFS
	ids    []chunkID
	target Target
	final  Final
	chunks [][]byte
}

func (w *snapshotWay) config(name string) Config {
	return Config{Dir: filepath.Join(w.dir, name), FS: w.disk, Logger: slog.New(slog.DiscardHandler)}
}

func (w *snapshotWay) checkpoint(keys int) {
	source := mustOpen(w.b, w.config("data"))
	benchFill(w.b, source, keys)
	w.target, w.final = targetOf(source), finalOf(w.b, source)
	m := newMeter(w.b, w.disk)
	at := filepath.Join(w.dir, "checkpoint")
	if err := source.checkpoint(at); err != nil {
		w.b.Fatal(err)
	}
	m.report(w.b, "checkpoint")
	own, all := ownBytes(w.b, at)
	w.b.ReportMetric(float64(own)/1024, "checkpoint-own-KiB")
	w.b.ReportMetric(float64(all)/(1<<20), "checkpoint-all-MiB")
	mustClose(w.b, source)
}

func (w *snapshotWay) export() {
	m := newMeter(w.b, w.disk)
	cfg := w.config("checkpoint")
	cfg.HotCacheBytes, cfg.BlockCacheBytes = 64<<10, 1<<20
	s, err := OpenCheckpoint(cfg)
	if err != nil {
		w.b.Fatal(err)
	}
	m.report(w.b, "open")
	v := mustView(w.b, s)
	m = newMeter(w.b, w.disk)
	size := 0
	for _, id := range w.ids {
		c, err := v.Chunk(id.prefix, id.depth, 512<<10)
		if err != nil {
			w.b.Fatal(err)
		}
		raw := c.Append(nil)
		w.chunks = append(w.chunks, raw)
		size += len(raw)
	}
	m.report(w.b, "export")
	w.b.ReportMetric(float64(size)/(1<<20), "chunks-MiB")
	v.Release()
	mustClose(w.b, s)
}

func (w *snapshotWay) verify() []proof.Chunk {
	m := newMeter(w.b, w.disk)
	parsed := make([]proof.Chunk, len(w.chunks))
	for i, id := range w.ids {
		var err error
		if parsed[i], err = proof.ParseChunk(w.chunks[i]); err == nil {
			err = parsed[i].Verify(w.target.Root, id.prefix, id.depth)
		}
		if err != nil {
			w.b.Fatal(err)
		}
	}
	m.report(w.b, "verify")
	return parsed
}

func (w *snapshotWay) join(chunks []proof.Chunk) {
	m := newMeter(w.b, w.disk)
	imp := mustImport(w.b, w.config("joined"), w.target)
	for i, id := range w.ids {
		if err := imp.Put(id.prefix, id.depth, &chunks[i]); err != nil {
			w.b.Fatal(err)
		}
	}
	m.report(w.b, "put")
	m = newMeter(w.b, w.disk)
	if err := imp.Finish(w.b.Context(), w.final); err != nil {
		w.b.Fatal(err)
	}
	m.report(w.b, "finish")
}
