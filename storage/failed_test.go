package storage

import (
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"
)

// manifestFS refuses to sync manifests once it is told to. Pebble then calls
// Fatalf with its mutex held.
type manifestFS struct {
	vfs.FS
	fail atomic.Bool
}

func (f *manifestFS) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	if err != nil || !strings.Contains(name, "MANIFEST") {
		return file, err
	}
	return &manifestFile{file, f}, nil
}

type manifestFile struct {
	vfs.File
	fs *manifestFS
}

func (f *manifestFile) Sync() error {
	if f.fs.fail.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// returns fails the test if do is still at it after a time that is ample for
// anything that does not wait for ever.
func returns(t *testing.T, what string, do func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrFatal) {
			t.Errorf("%s: %v, want ErrFatal", what, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not return after the store failed", what)
	}
}

// TestNothingWaitsForFailedEngine lets the engine fail while it holds its
// mutex, and calls whatever takes that mutex. The iterators and Views are
// older than the flush that failed, so theirs are the last references to what
// was before it, and dropping these takes the mutex.
func TestNothingWaitsForFailedEngine(t *testing.T) {
	disk := &manifestFS{FS: vfs.NewMem()}
	s := mustOpen(t, testConfig(disk))
	mustCommit(t, s, []Change{set("a", "1")})
	v := mustView(t, s)
	it := v.Scan(nil, nil)
	if !it.Next() {
		t.Fatal(it.Err())
	}
	loader, err := v.newLoader()
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, []Change{set("a", "2")})
	disk.fail.Store(true)
	go s.engine.db.Flush() // stays there
	<-s.Failed()

	returns(t, "Iterator.Close", func() error { it.Close(); return it.Err() })
	returns(t, "loader.close", loader.close)
	returns(t, "GetCold", func() error { _, _, err := v.GetCold([]byte("a")); return err })
	returns(t, "Plain", func() error { _, _, err := v.Plain([]byte("a")); return err })
	returns(t, "Prove", func() error { _, err := v.Prove([]byte("a")); return err })
	returns(t, "Update", func() error { _, err := v.Update([]Change{set("b", "1")}); return err })
	returns(t, "scan", func() error { return v.scan(keyBucket, func(_, _ []byte) error { return nil }) })
	returns(t, "newView", func() error { _, err := s.newView(v.version, v.base, v.tree); return err })
	returns(t, "Release", func() error { v.Release(); return s.Err() })
	returns(t, "Stats", func() error { s.Stats(); return s.Err() })
	returns(t, "Verify", func() error { _, err := s.Verify(t.Context(), nil); return err })
	returns(t, "Commit", func() error { return s.Commit(Block{Height: 2}) })
	returns(t, "Close", s.Close)
}

// TestWaitEndsWithFailure begins to wait before the failure comes.
func TestWaitEndsWithFailure(t *testing.T) {
	e := &engine{health: newHealth()}
	begun, forever := make(chan struct{}), make(chan error)
	go func() {
		<-begun
		e.health.fail(fs.ErrInvalid)
	}()
	returns(t, "wait", func() error {
		return e.wait(func() error {
			close(begun)
			return <-forever
		})
	})
	close(forever)
}

// TestPanicFailsStore: what panicked may have kept a lock of the engine.
func TestPanicFailsStore(t *testing.T) {
	e := &engine{health: newHealth()}
	returns(t, "wait", func() error { return e.wait(func() error { panic("mangled block") }) })
	if err := e.health.err(); !errors.Is(err, errPanicked) {
		t.Errorf("the store's error is %v", err)
	}
}
