package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/vfs"
)

// boundaryFS counts the steps of stepFS and those that change folders.
type boundaryFS struct{ *stepFS }

func (f boundaryFS) Rename(old, name string) error {
	return f.step(func() error { return f.FS.Rename(old, name) })
}

func (f boundaryFS) Link(old, name string) error {
	return f.step(func() error { return f.FS.Link(old, name) })
}

func (f boundaryFS) RemoveAll(name string) error {
	return f.step(func() error { return f.FS.RemoveAll(name) })
}

func (f boundaryFS) step(do func() error) error {
	if f.dead.Load() {
		return errDead
	}
	return f.stepFS.step(do)
}

// failAt is a disk that fails one step, "not done" or "done all the same".
func failAt(disk *vfs.MemFS, at int64, done bool) boundaryFS {
	fs := boundaryFS{&stepFS{FS: disk}}
	fs.at = func(step int64, do func() error) error {
		switch {
		case step != at:
			return do()
		case done:
			return errors.Join(do(), syscall.EIO)
		}
		return syscall.ENOSPC
	}
	return fs
}

// losePowerAt is a disk that syncs nothing from a step on.
func losePowerAt(disk *vfs.MemFS, crash int64) boundaryFS {
	fs := boundaryFS{&stepFS{FS: disk}}
	fs.at = func(step int64, do func() error) error {
		if step == crash {
			disk.SetIgnoreSyncs(true)
		}
		return do()
	}
	return fs
}

// left is what a process that ends now leaves on its disk, where nothing comes
// to it any more.
func (f boundaryFS) left(t *testing.T, disk *vfs.MemFS) vfs.FS {
	t.Helper()
	f.dead.Store(true)
	disk.SetIgnoreSyncs(true)
	disk.ResetToSyncedState()
	left := vfs.NewMem()
	names, err := disk.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := vfs.Clone(disk, left, name, name); err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// joinScript is a node that has block 0, or nothing at first, and takes a
// state over. The source stays as it is.
type joinScript struct {
	source *Store
	final  Final
	ids    []chunkID
}

func newJoinScript(t *testing.T) *joinScript {
	source := testSource(t, 150)
	t.Cleanup(func() { mustClose(t, source) })
	return &joinScript{source, finalOf(t, source), allChunks(2)}
}

// run makes the old store and the import.
func (j *joinScript) run(cfg Config, old bool) error {
	if old {
		s, err := Open(cfg)
		if err != nil {
			return err
		}
		_, err = commit(s, []Change{set("old", "1")}, nil)
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	return j.join(cfg)
}

// join takes over whatever is missing, in several tables.
func (j *joinScript) join(cfg Config) error {
	imp, err := NewImport(cfg, targetOf(j.source))
	if err != nil {
		return err
	}
	imp.table, imp.run = 1500, 800
	v, err := j.source.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	for _, id := range j.ids {
		if !imp.Done(id.prefix, id.depth) {
			if err := carryChunk(v, imp, id, 1<<20); err != nil {
				return errors.Join(err, imp.Close())
			}
		}
	}
	if err := imp.Plain([]Change{set("w1", "guard")}); err != nil {
		return errors.Join(err, imp.Close())
	}
	return imp.Finish(context.Background(), j.final)
}

// recovered opens what a crash left: nothing, the old store or the new one,
// whole; and then joins as if nothing had happened.
func (j *joinScript) recovered(t *testing.T, disk vfs.FS, at int64, finished bool) {
	t.Helper()
	cfg := crashConfig(disk)
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("step %d: opening what is left: %v", at, err)
	}
	head := s.Head()
	joined := head == j.source.Head()
	if joined {
		wantSame(t, s, j.source)
		wantPlain(t, s, map[string]string{"w1": "guard", "S1": "step"})
	} else if finished || !head.Empty && head.Height > 0 {
		t.Fatalf("step %d: head is %+v", at, head)
	}
	if _, err := s.Verify(t.Context(), nil); err != nil {
		t.Fatalf("step %d: %v", at, err)
	}
	mustClose(t, s)
	if !joined {
		if err := j.join(cfg); err != nil {
			t.Fatalf("step %d: joining again: %v", at, err)
		}
		s := mustOpen(t, cfg)
		wantSame(t, s, j.source)
		mustClose(t, s)
	}
	wantFolders(t, disk, "home")
	names, err := disk.List("home")
	if err != nil || len(names) > 2 {
		t.Fatalf("step %d: the store's folder holds %q, %v", at, names, err)
	}
}

// TestImportPowerLoss loses all that was not synced, at every step of an import
// at which data or names become durable: every other one with an old store in
// place, the rest without.
func TestImportPowerLoss(t *testing.T) {
	j := newJoinScript(t)
	for first, old := range []bool{false, true} {
		for crash := int64(1 + first); ; crash += 2 * slower {
			disk := vfs.NewStrictMem()
			fs := losePowerAt(disk, crash)
			if err := j.run(crashConfig(fs), old); err != nil {
				t.Fatal(err)
			}
			finished := fs.steps.Load() < crash
			disk.ResetToSyncedState()
			disk.SetIgnoreSyncs(false)
			j.recovered(t, disk, crash, finished)
			if finished {
				break
			}
		}
	}
}

// TestImportFailedSteps fails every step once, "not done" and "done all the
// same", and ends the process there.
func TestImportFailedSteps(t *testing.T) {
	j := newJoinScript(t)
	for _, done := range []bool{false, true} {
		for first, old := range []bool{false, true} {
			for at := int64(1 + first); j.failStep(t, at, done, old); at += 2 * slower {
			}
		}
	}
}

// failStep runs the script with one failing step; false if it ended before.
func (j *joinScript) failStep(t *testing.T, at int64, done, old bool) bool {
	t.Helper()
	disk := vfs.NewStrictMem()
	fs := failAt(disk, at, done)
	err := j.run(crashConfig(fs), old)
	if fs.steps.Load() < at {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	j.recovered(t, fs.left(t, disk), at, err == nil)
	return true
}

// TestImportDamaged damages every file of an interrupted import in many ways:
// what comes of it is the right store or an error, and the next attempt, if
// need be from the beginning, is the right store.
func TestImportDamaged(t *testing.T) {
	j := newJoinScript(t)
	rng := rand.New(rand.NewPCG(3, 3))
	tried, again := 0, 0
	first := j.interrupted(t)
	for _, name := range importFiles(t, first) {
		size := len(readFile(t, first.FS, name))
		for _, d := range damagesOf(max(size, 1), rng) {
			if size == 0 && d.name != "removed" {
				continue
			}
			what, cfg := filepath.Base(name)+" "+d.name, j.interrupted(t)
			if data := d.do(readFile(t, cfg.FS, name)); data != nil {
				writeFile(t, cfg.FS, name, data)
			} else if err := cfg.FS.Remove(name); err != nil {
				t.Fatal(err)
			}
			tried++
			disk := cfg.FS
			if err := j.join(inProcess(&cfg, disk)); err != nil {
				again++
				cfg.FS.(*stepFS).dead.Store(true)
				if err := j.join(inProcess(&cfg, disk)); err != nil {
					t.Errorf("%s: joining anew: %v", what, err)
					continue
				}
			}
			s := mustOpen(t, inProcess(&cfg, disk))
			wantSame(t, s, j.source)
			mustClose(t, s)
		}
	}
	t.Logf("%d damages, %d of them needed another attempt", tried, again)
	if tried < 30/slower {
		t.Fatal("too few damages were tried")
	}
}

// inProcess is a process of its own on a disk.
func inProcess(cfg *Config, disk vfs.FS) Config {
	cfg.FS = &stepFS{FS: disk, at: func(_ int64, do func() error) error { return do() }}
	return *cfg
}

// interrupted is an import that has most of its chunks in tables.
func (j *joinScript) interrupted(t *testing.T) Config {
	t.Helper()
	cfg := testConfig(nil)
	imp := mustImport(t, cfg, targetOf(j.source))
	imp.table = 1000
	mustCarry(t, j.source, imp, j.ids[:3])
	if err := imp.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func importFiles(t *testing.T, cfg Config) (paths []string) {
	t.Helper()
	dir := filepath.Join(cfg.Dir+joinSuffix, dbName+".db")
	names, err := cfg.FS.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name != "LOCK" {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}
