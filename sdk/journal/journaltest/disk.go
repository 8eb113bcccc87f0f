// Package journaltest has a disk in memory for tests of what lies in a journal: it
// keeps apart what is synced and what is not, fails where a test says, and shows
// what is found after the power went.
package journaltest

import (
	"bytes"
	"errors"
	"io/fs"
	"sync"

	"github.com/seed79541315/postern/sdk/journal"
)

// ErrFailed is what a failing operation returns.
var ErrFailed = errors.New("the disk failed")

// Disk is a journal.Disk.
type Disk struct {
	mu      sync.Mutex
	names   map[string]*file // guarded by mu
	durable map[string]*file // names as last synced; guarded by mu
	steps   int              // operations so far; guarded by mu
	failAt  int              // guarded by mu
	once    bool             // guarded by mu
	done    bool             // guarded by mu
}

type file struct {
	disk   *Disk
	data   []byte
	synced int
}

// New is an empty disk.
func New() *Disk { return &Disk{names: map[string]*file{}, durable: map[string]*file{}} }

// FailAt has an operation fail, counted from now on, and all after it; 0 is none.
// With done it has its effect nevertheless.
func (d *Disk) FailAt(step int, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps, d.failAt, d.done, d.once = 0, step, done, false
}

// FailOnce has one operation fail, counted from now on, without effect.
func (d *Disk) FailOnce(step int) {
	d.FailAt(step, false)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.once = true
}

// Steps is how many operations there were since the last FailAt.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// step does one operation, or fails.
func (d *Disk) step(do func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	if d.failAt != 0 && (d.steps == d.failAt || d.steps > d.failAt && !d.once) {
		if d.done && d.steps == d.failAt {
			do()
		}
		return ErrFailed
	}
	do()
	return nil
}

// Read implements journal.Disk.
func (d *Disk) Read(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(f.data), nil
}

// Write puts a file in place.
func (d *Disk) Write(path string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &file{disk: d, data: bytes.Clone(data), synced: len(data)}
	d.names[path], d.durable[path] = f, f
}

// Create implements journal.Disk.
func (d *Disk) Create(path string) (journal.File, error) {
	f := &file{disk: d}
	return f, d.step(func() { d.names[path] = f })
}

// Rename implements journal.Disk.
func (d *Disk) Rename(from, to string) error {
	return d.step(func() {
		d.names[to] = d.names[from]
		delete(d.names, from)
	})
}

// SyncDir implements journal.Disk.
func (d *Disk) SyncDir(string) error {
	return d.step(func() {
		d.durable = map[string]*file{}
		for name, f := range d.names {
			d.durable[name] = f
		}
	})
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) {
	return len(b), f.disk.step(func() { f.data = append(f.data, b...) })
}

// Sync implements journal.File.
func (f *file) Sync() error { return f.disk.step(func() { f.synced = len(f.data) }) }

// Close implements journal.File.
func (f *file) Close() error { return nil }

// Crash is the disk as it is found after the power went: of names that were not
// synced all are there or none, and of bytes a part.
func (d *Disk) Crash(names bool, part float64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, from := New(), d.durable
	if names {
		from = d.names
	}
	for name, f := range from {
		keep := f.synced + int(part*float64(len(f.data)-f.synced))
		found.Write(name, f.data[:keep])
	}
	return found
}
