package disk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage/disk"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// The machine's disk and the one in memory do the same.
func TestDisks(t *testing.T) {
	for name, d := range map[string]disk.Disk{"machine": disk.OS{}, "memory": disktest.New()} {
		t.Run(name, func(t *testing.T) { testDisk(t, d, filepath.Join(t.TempDir(), "home")) })
	}
}

func testDisk(t *testing.T, d disk.Disk, dir string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "a")
	must(d.MkdirAll(dir))
	must(d.MkdirAll(dir))
	if _, err := disk.ReadFile(d, path, 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	must(disk.Replace(d, path, []byte("first")))
	must(disk.Replace(d, path, []byte("second")))
	if _, err := d.CreateNew(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
	if b, err := disk.ReadFile(d, path, 6); err != nil || string(b) != "second" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := disk.ReadFile(d, path, 5); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("more than the limit: %v", err)
	}
	f, err := disk.ReplaceOpen(d, filepath.Join(dir, "b"), []byte("ab"))
	must(err)
	_, err = f.Write([]byte("cd"))
	must(err)
	_, err = f.WriteAt([]byte("X"), 1)
	must(err)
	must(f.Truncate(3))
	must(f.Sync())
	b := make([]byte, 9)
	if n, _ := f.ReadAt(b, 0); string(b[:n]) != "aXc" {
		t.Errorf("%q", b[:n])
	}
	if size, err := f.Size(); err != nil || size != 3 {
		t.Errorf("%d bytes, %v", size, err)
	}
	must(f.Close())
	list, err := d.List(dir)
	if err != nil || len(list) != 2 || list[0].Name != "a" || list[1].Name != "b" || list[0].Time.IsZero() {
		t.Errorf("%v, %v", list, err)
	}
	must(d.Rename(path, filepath.Join(dir, "b")))
	must(d.Remove(filepath.Join(dir, "b")))
	must(d.SyncDir(dir))
	if list, _ := d.List(dir); len(list) != 0 {
		t.Errorf("%v are left", list)
	}
}

// What was not synced is lost, whole or in part; what was replaced is the old one
// or the new one at every step.
func TestReplaceSurvives(t *testing.T) {
	for step := 1; ; step++ {
		for _, done := range []bool{false, true} {
			d := disktest.New()
			d.Put("/f", []byte("old"))
			d.FailAt, d.Done = step, done
			err := disk.Replace(d, "/f", []byte("newer"))
			for _, names := range []bool{false, true} {
				for _, part := range []float64{0, 0.5, 1} {
					got := string(d.Crash(names, part).Data("/f"))
					if got != "newer" && (got != "old" || err == nil) {
						t.Fatalf("step %d, names %v, part %v: %q after %v", step, names, part, got, err)
					}
				}
			}
			if err == nil {
				if step < 5 {
					t.Fatalf("%d steps only", step)
				}
				return
			}
		}
	}
}

var framing = disk.Framing{Magic: "pTs1", Limit: 100}

// A file that is cut or changed anywhere shows the frames before and nothing else.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("one"), []byte(""), 3, byte(0))
	f.Add([]byte("pTs1"), []byte("pTs1pTs1pTs1"), 20, byte(1))
	f.Fuzz(func(t *testing.T, one, two []byte, at int, bits byte) {
		one, two = one[:min(len(one), 100)], two[:min(len(two), 100)]
		first := framing.Append(nil, one)
		b := framing.Append(bytes.Clone(first), two)
		if next := framing.Find(b[1:]); next != len(first)-1 {
			if _, ok := framing.Read(b[1+next:]); !ok || next > len(first)-1 {
				t.Fatalf("the second frame is found at %d, not %d", next, len(first)-1)
			}
		}
		if at < 0 || at >= len(b) || bits == 0 {
			return
		}
		b[at] ^= bits
		if body, ok := framing.Read(b); ok != (at >= len(first)) || ok && !bytes.Equal(body, one) {
			t.Fatalf("changed at %d: %q, %v", at, body, ok)
		}
		if _, ok := framing.Read(b[:at]); ok && at < len(first) {
			t.Fatal("half a frame is read")
		}
	})
}

func TestFrameLimits(t *testing.T) {
	long := disk.Framing{Magic: framing.Magic, Limit: 101}.Append(nil, []byte(strings.Repeat("x", 101)))
	if _, ok := framing.Read(long); ok {
		t.Error("a body beyond the limit is read")
	}
	if n, ok := framing.Length([]byte("pTs1\xff\xff\xff\xff....")); ok || n < 0 {
		t.Errorf("a length of %d is taken", n)
	}
	if framing.Find([]byte("no frame, pTs1 but its word")) != -1 {
		t.Error("a frame is found where none is")
	}
}
