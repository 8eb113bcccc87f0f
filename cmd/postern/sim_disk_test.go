package main

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/storage"
)

// failingDisk refuses to sync, or to take what is written, once it is told to.
type failingDisk struct {
	vfs.FS
	sync, write atomic.Pointer[error] // nil: does as it should
}

func (d *failingDisk) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &failingFile{file, d}, nil
}

func refusal(of *atomic.Pointer[error]) error {
	if err := of.Load(); err != nil {
		return *err
	}
	return nil
}

// Lock lets the next life begin while this one cannot let go: its goroutines
// stay in the engine, where a process would end.
func (d *failingDisk) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (d *failingDisk) Create(name string) (vfs.File, error) {
	if err := refusal(&d.write); err != nil {
		return nil, err
	}
	return d.wrap(d.FS.Create(name))
}

func (d *failingDisk) OpenDir(name string) (vfs.File, error) { return d.wrap(d.FS.OpenDir(name)) }

func (d *failingDisk) ReuseForWrite(old, name string) (vfs.File, error) {
	return d.wrap(d.FS.ReuseForWrite(old, name))
}

func (d *failingDisk) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.wrap(d.FS.OpenReadWrite(name, opts...))
}

type failingFile struct {
	vfs.File
	disk *failingDisk
}

func (f *failingFile) Write(b []byte) (int, error) {
	if err := refusal(&f.disk.write); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *failingFile) Sync() error {
	return errors.Join(refusal(&f.disk.sync), f.File.Sync())
}

func (f *failingFile) SyncData() error {
	return errors.Join(refusal(&f.disk.sync), f.File.SyncData())
}

func (f *failingFile) SyncTo(n int64) (bool, error) {
	full, err := f.File.SyncTo(n)
	return full, errors.Join(refusal(&f.disk.sync), err)
}

// TestDisksFail: a disk that reports a failed sync, and one that is full, end
// their nodes with a message that says what to do, while the others go on.
// Started again on what the disk kept, the node comes level, and nothing that
// it acknowledged is lost. A database that failed keeps goroutines for ever,
// which virtual time does not allow: so this takes place in real time.
func TestDisksFail(t *testing.T) {
	s := newSimulation(t, *simSeed, 4, 0)
	for _, n := range s.nodes {
		n.failing = &failingDisk{FS: n.disk}
	}
	s.startAll()
	c := s.crowd(2, 100*time.Millisecond)
	for round, errno := range []error{syscall.EIO, syscall.ENOSPC} {
		s.nodes[0].mustCommit(2, healed)
		n := s.nodes[1+round]
		if errno == syscall.EIO {
			n.failing.sync.Store(&errno)
		} else {
			n.failing.write.Store(&errno)
		}
		n.mustFail(errno)
		s.nodes[0].mustCommit(2, healed)
		n.replaceDisk()
		n.start()
	}
	c.stop()
	s.await(s.nodes[0].node.ledger.Head().Height, healed)
	c.settle()
}

// mustFail waits until the node has ended because of its disk.
func (n *simulatedNode) mustFail(errno error) {
	n.sim.t.Helper()
	select {
	case err := <-n.ended:
		if !errors.Is(err, storage.ErrFatal) || !strings.Contains(err.Error(), errno.Error()+"; free the disk's space or replace it") {
			n.sim.t.Errorf("%s ended with: %v", n.name, err)
		}
		n.set(nil)
	case <-time.After(time.Minute):
		n.sim.t.Fatalf("%s goes on with a disk that fails: %v", n.name, errno)
	}
}

// replaceDisk gives the node a disk with what the failed one had synced.
func (n *simulatedNode) replaceDisk() {
	n.sim.t.Helper()
	n.lives.Add(1)
	n.disk.SetIgnoreSyncs(true)
	n.disk.ResetToSyncedState()
	left := vfs.NewStrictMem()
	n.sim.check(cloneDisk(n.disk, left, string(n.home)))
	n.disk, n.failing, n.seen = left, &failingDisk{FS: left}, 0
}
