package consensus

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/vfs"
)

func (s *simulation) any() *validator { return s.nodes[s.rng.IntN(len(s.nodes))] }

// disaster lets one thing go wrong.
func (s *simulation) disaster() {
	v := s.any()
	p := v.alive()
	switch s.rng.IntN(9) {
	case 0, 1: // a power failure at some step soon
		if p != nil {
			p.trap.Store(p.steps.Load() + 1 + s.rng.Int64N(40))
		}
	case 2: // all at once
		if s.rng.IntN(3) == 0 {
			for _, v := range s.nodes {
				if p := v.alive(); p != nil {
					p.crash()
				}
			}
		}
	case 3: // a write that fails
		if p != nil {
			p.fail.Store(1 + s.rng.Int64N(8))
		}
	case 4, 5: // a partition
		side := make([]int, len(s.nodes))
		for i := range side {
			side[i] = s.rng.IntN(2)
		}
		s.links.split(side, s.rng.IntN(2) == 0)
	case 6:
		s.links.disturb(s.rng.Float64()*0.2, s.rng.Float64()*0.1, s.rng.Float64()*0.05, 200*time.Millisecond, s.rng.IntN(2*len(s.nodes)))
	case 7:
		v.setClock([]time.Duration{-time.Hour, time.Hour, -4 * time.Second, 4 * time.Second, 0}[s.rng.IntN(5)], s.rng.IntN(6) == 0)
	case 8:
		s.mend()
	}
}

// disasters lets things go wrong one after the other.
func (s *simulation) disasters(n int) {
	for range n {
		s.disaster()
		s.run(time.Duration(s.rng.Int64N(int64(6*time.Second))), 200*time.Millisecond)
	}
}

// mend ends what is wrong with links and clocks.
func (s *simulation) mend() {
	s.links.heal()
	for _, v := range s.nodes {
		v.setClock(0, false)
	}
}

// faultyDisk is the ledger's disk as a process sees it.
type faultyDisk struct {
	vfs.FS
	p *process
}

func (f faultyDisk) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f faultyDisk) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f.p}, nil
}

func (f faultyDisk) Create(name string) (vfs.File, error) { return f.wrap(f.FS.Create(name)) }

func (f faultyDisk) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

func (f faultyDisk) ReuseForWrite(old, name string) (vfs.File, error) {
	return f.wrap(f.FS.ReuseForWrite(old, name))
}

func (f faultyDisk) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.OpenReadWrite(name, opts...))
}

type faultyFile struct {
	vfs.File
	p *process
}

// sync crashes before or after the write.
func (f *faultyFile) sync(do func() error) error {
	f.p.step()
	defer f.p.step()
	return do()
}

func (f *faultyFile) Sync() error { return f.sync(f.File.Sync) }

func (f *faultyFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *faultyFile) SyncTo(n int64) (full bool, err error) {
	err = f.sync(func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}

// failing lets a commit fail when its time has come, without or in spite of
// having been written. It stands above the disk since a store whose disk has
// failed keeps a goroutine for ever, which a bubble of virtual time does not
// allow; what the store makes of its disk's errors is tested there.
func (p *process) failing(commit func() error) error {
	if p.fail.Load() == 0 || p.fail.Add(-1) > 0 {
		return commit()
	}
	if p.steps.Load()%2 == 0 {
		return syscall.ENOSPC
	}
	return errors.Join(commit(), syscall.EIO)
}
