package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi/chain"
)

var mounts = flag.Bool("mounts", false, "use small file systems of their own, which takes the right to mount, and not only limits of a process")

// TestDiskFull takes the room for writing from a validator under load. Its
// process must end with a message that says what to do, the others must go on,
// and when there is room again it must come back.
func TestDiskFull(t *testing.T) {
	t.Run("limit", func(t *testing.T) { testDiskFull(t, limited{}) })
	if *mounts {
		t.Run("tmpfs", func(t *testing.T) { testDiskFull(t, tmpfs{}) })
	}
}

// smallDisk is a way to leave a node without room.
type smallDisk interface {
	prepare(t *testing.T, h home)       // before the node is started
	fill(t *testing.T, h home, pid int) // leaves room for a few blocks
	free(t *testing.T, h home)          // makes room again
}

func testDiskFull(t *testing.T, disk smallDisk) {
	const victim = 1
	dir := t.TempDir()
	h := home(filepath.Join(dir, memberName(victim)))
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		t.Fatal(err)
	}
	disk.prepare(t, h)
	newFleetGenesis(t, dir, 0, func(p *chain.Params) { p.SnapshotBlocks = 20 })
	f := startFleet(t, dir)
	f.writeMany(0, 5)
	disk.fill(t, h, f.nodes[victim].PID)
	f.writeUntilEnded(victim)
	said := lastLines(h.path(nodeLog), 1)
	t.Logf("it says: %s", said)
	if !strings.Contains(said, "space") {
		t.Error("the message does not say what to do about the disk")
	}
	if n := strings.Count(said, "free the disk's space"); n > 1 {
		t.Errorf("the message says it %d times", n)
	}
	f.writeMany(0, 5)
	disk.free(t, h)
	f.order("heal", memberName(victim))
	f.writeMany(victim, 2)
	height := f.status(0).Height
	want, err := f.tell(0, height)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.tell(victim, height)
	if err == nil {
		err = want.differs(got)
	}
	if err != nil {
		t.Error(err)
	}
}

// writeUntilEnded has another node take transactions until one has ended.
func (f *fleet) writeUntilEnded(victim int) {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	var load errgroup.Group
	load.Go(func() error {
		cl, err := f.dial(ctx, 0)
		if err != nil {
			return err
		}
		defer cl.Close()
		for ctx.Err() == nil {
			if _, err := f.write(ctx, cl); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	f.awaitEnded(victim)
	stop()
	if err := load.Wait(); err != nil {
		f.t.Errorf("the others do not go on: %v", err)
	}
}

// limited bounds how long the files of the running process may grow, which
// needs no rights: a write beyond fails with EFBIG.
type limited struct{}

func (limited) prepare(*testing.T, home) {}

func (limited) fill(t *testing.T, h home, pid int) {
	t.Helper()
	logs, err := filepath.Glob(h.path("data/ledger.db/*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no log in %s (%v)", h, err)
	}
	size := int64(0)
	for _, log := range logs {
		if info, err := os.Stat(log); err == nil {
			size = max(size, info.Size())
		}
	}
	room := unix.Rlimit{Cur: uint64(size) + 16<<10, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &room, nil); err != nil {
		t.Fatal(err)
	}
}

func (limited) free(*testing.T, home) {} // the limit went with the process

// tmpfs is a file system of a few MiB in memory for the home.
type tmpfs struct{}

const ballastFile = "ballast"

func (tmpfs) prepare(t *testing.T, h home) {
	t.Helper()
	if err := unix.Mount("tmpfs", string(h), "tmpfs", 0, "size=32m,mode=0700"); err != nil {
		t.Fatalf("mounting a small file system: %v; leave -mounts out where that is not permitted", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(string(h), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	// What the node says when its disk is full has to be read elsewhere.
	if err := os.Symlink(filepath.Join(t.ArtifactDir(), nodeLog), h.path(nodeLog)); err != nil {
		t.Fatal(err)
	}
}

func (tmpfs) fill(t *testing.T, h home, _ int) {
	t.Helper()
	const room = 64 << 10
	var s unix.Statfs_t
	if err := unix.Statfs(string(h), &s); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(h.path(ballastFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-room)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func (tmpfs) free(t *testing.T, h home) {
	t.Helper()
	if err := os.Remove(h.path(ballastFile)); err != nil {
		t.Fatal(err)
	}
}
