// Package disktest is a disk in memory for tests of what lies on one: it keeps
// apart what is synced and what is not, fails where a test says, and shows what is
// found after the power went.
package disktest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed79541315/postern/storage/disk"
)

// ErrFailed is what a failing operation returns.
var ErrFailed = errors.New("the disk failed")

// Disk is a disk.Disk. Its exported fields may be set while nobody uses it.
type Disk struct {
	// FailAt is the writing operation that fails, with all after it; 0 is none.
	// With Done it has its effect nevertheless.
	FailAt int
	Done   bool
	// Full lets no file begin or grow.
	Full bool
	// Gate is what each sync takes one of, where it is not nil.
	Gate chan struct{}

	mu      sync.Mutex
	names   map[string]*file // guarded by mu
	durable map[string]*file // names as last synced; guarded by mu
	steps   int              // writing operations so far; guarded by mu
	used    int              // bytes in files; guarded by mu
	room    int              // bytes that the files may have; 0 is any number; guarded by mu
	syncs   int              // of files; guarded by mu
}

type file struct {
	disk   *Disk
	data   []byte
	synced []byte
	time   time.Time
}

// New is an empty disk.
func New() *Disk { return &Disk{names: map[string]*file{}, durable: map[string]*file{}} }

// step does one operation, or fails.
func (d *Disk) step(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	if d.FailAt != 0 && d.steps >= d.FailAt {
		if d.Done && d.steps == d.FailAt {
			_ = do()
		}
		return ErrFailed
	}
	return do()
}

// Steps is how many writing operations there were.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Syncs is how many syncs of files there were.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Fail makes one of the next operations fail, and all after it.
func (d *Disk) Fail(after int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.FailAt = d.steps + after
}

// Leave makes the disk have room for some more bytes only.
func (d *Disk) Leave(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = d.used + room
}

// Paths are those of all files, ascending.
func (d *Disk) Paths() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// Data is a copy of what a file holds, nil where there is none.
func (d *Disk) Data(path string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.names[path]; f != nil {
		return append([]byte{}, f.data...)
	}
	return nil
}

// Put puts a file in place, durable at once.
func (d *Disk) Put(path string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(path, data, time.Now())
}

func (d *Disk) put(path string, data []byte, at time.Time) {
	f := &file{disk: d, data: bytes.Clone(data), synced: bytes.Clone(data), time: at}
	d.leave(path)
	d.names[path], d.durable[path] = f, f
	d.used += len(data)
}

// leave takes the bytes of a file that a name is about to lose off the count.
func (d *Disk) leave(path string) {
	if f := d.names[path]; f != nil {
		d.used -= len(f.data)
	}
}

// Crash is the disk as it is found after the power went: of names that were not
// synced all are there or none, and of bytes a part.
func (d *Disk) Crash(names bool, part float64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after, from := New(), d.durable
	if names {
		from = d.names
	}
	for path, f := range from {
		after.put(path, f.found(part), f.time)
	}
	return after
}

// found is what is left of a file: what was synced, and a part of what was
// appended since; with all of it, what was written over as well.
func (f *file) found(part float64) []byte {
	if part == 1 {
		return f.data
	}
	b := bytes.Clone(f.synced)
	if more := len(f.data) - len(b); more > 0 {
		b = append(b, f.data[len(b):len(b)+int(part*float64(more))]...)
	}
	return b
}

// MkdirAll implements disk.Disk.
func (d *Disk) MkdirAll(string) error { return nil }

// List implements disk.Disk.
func (d *Disk) List(dir string) ([]disk.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []disk.Info
	for path, f := range d.names {
		if filepath.Dir(path) == dir {
			list = append(list, disk.Info{Name: filepath.Base(path), Time: f.time})
		}
	}
	slices.SortFunc(list, func(a, b disk.Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Open implements disk.Disk.
func (d *Disk) Open(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// Create implements disk.Disk.
func (d *Disk) Create(path string) (disk.File, error) { return d.create(path, false) }

// CreateNew implements disk.Disk.
func (d *Disk) CreateNew(path string) (disk.File, error) { return d.create(path, true) }

func (d *Disk) create(path string, anew bool) (disk.File, error) {
	f := &file{disk: d, time: time.Now()}
	return f, d.step(func() error {
		switch {
		case d.Full:
			return syscall.ENOSPC
		case anew && d.names[path] != nil:
			return fs.ErrExist
		}
		d.leave(path)
		d.names[path] = f
		return nil
	})
}

// Rename implements disk.Disk.
func (d *Disk) Rename(from, to string) error {
	return d.step(func() error {
		d.leave(to)
		d.names[to] = d.names[from]
		delete(d.names, from)
		return nil
	})
}

// Remove implements disk.Disk.
func (d *Disk) Remove(path string) error {
	return d.step(func() error {
		d.leave(path)
		delete(d.names, path)
		return nil
	})
}

// SyncDir implements disk.Disk. It syncs the names of all folders.
func (d *Disk) SyncDir(string) error {
	return d.step(func() error {
		d.durable = maps.Clone(d.names)
		return nil
	})
}

// Write implements io.Writer: it appends.
func (f *file) Write(b []byte) (int, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	return f.WriteAt(b, size)
}

// WriteAt implements io.WriterAt. What there is no room for is not written at all.
func (f *file) WriteAt(b []byte, at int64) (n int, err error) {
	return len(b), f.disk.step(func() error {
		d := f.disk
		grow := max(0, int(at)+len(b)-len(f.data))
		if grow > 0 && (d.Full || d.room > 0 && d.used+grow > d.room) {
			return syscall.ENOSPC
		}
		d.used += grow
		f.data = append(f.data, make([]byte, grow)...)
		copy(f.data[at:], b)
		return nil
	})
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Size implements disk.File.
func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.data)), nil
}

// Truncate implements disk.File.
func (f *file) Truncate(size int64) error {
	return f.disk.step(func() error {
		f.disk.used -= len(f.data) - int(size)
		f.data = f.data[:size]
		return nil
	})
}

// Sync implements disk.File.
func (f *file) Sync() error {
	if f.disk.Gate != nil {
		<-f.disk.Gate
	}
	return f.disk.step(func() error {
		f.synced = bytes.Clone(f.data)
		f.disk.syncs++
		return nil
	})
}

// Close implements disk.File.
func (f *file) Close() error { return nil }
