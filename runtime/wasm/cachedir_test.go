package wasm

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// cacheWith makes a cache directory with files of 1,000 bytes, written a
// minute after one another in the order given.
func cacheWith(t *testing.T, names ...string) string {
	dir := filepath.Join(t.TempDir(), "code")
	for i, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_700_000_000+int64(i)*60, 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func filesIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if files[i], err = filepath.Rel(dir, f); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprint(files)
}

// Entries of any version that were written first go first, what a crash left
// always, and what is not wazero's stays.
func TestCacheBudget(t *testing.T) {
	all := []string{"wazero-b/2", "wazero-a/1", "wazero-a/1.17.tmp", "wazero-b/1", "wazero-a/2", "other/1"}
	for _, c := range []struct {
		budget int
		want   string
	}{
		{4000, "[other/1 wazero-a/1 wazero-a/2 wazero-b/1 wazero-b/2]"},
		{3999, "[other/1 wazero-a/1 wazero-a/2 wazero-b/1]"},
		{2000, "[other/1 wazero-a/2 wazero-b/1]"},
		{1, "[other/1]"},
	} {
		dir := cacheWith(t, all...)
		if _, err := openCacheDir(dir, c.budget); err != nil {
			t.Fatal(err)
		}
		if got := filesIn(t, dir); got != c.want {
			t.Errorf("within %d bytes: %s, want %s", c.budget, got, c.want)
		}
	}
}

// With room for few codes the directory stays within its budget while many are
// compiled, and those that it lost are compiled again.
func TestCacheBudgetWhileCompiling(t *testing.T) {
	if !compilerSupported() {
		return // the interpreter keeps no cache
	}
	const budget = 8000
	dir := filepath.Join(t.TempDir(), "code")
	r, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir, CacheBytes: budget, CodeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	for range 2 {
		for i := range int64(8) {
			blob := contract(func(m *wasmtest.Module) { m.Global(i) })
			res, err := r.Call(context.Background(), callOf(blob, abi.EntryDecide, noEnv()))
			if o := outcomeOf(t, res, err); o.code != abi.OK {
				t.Fatal(o)
			}
			dirs, _, err := r.dir.dirs()
			if err != nil {
				t.Fatal(err)
			}
			entries, total, err := listEntries(dirs)
			if err != nil || total > budget || len(entries) == 0 {
				t.Errorf("%d entries of %d bytes, %v", len(entries), total, err)
			}
		}
	}
}

// An entry is written once, however often its code is evicted and loaded.
func TestCacheWritesOnce(t *testing.T) {
	if !compilerSupported() {
		return // the interpreter keeps no cache
	}
	dir := filepath.Join(t.TempDir(), "code")
	written := func() (list string) {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			list += fmt.Sprintln(f, info.ModTime().UnixNano())
		}
		return list
	}
	var first string
	for restart := range 2 {
		r, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir, CodeBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			for _, blob := range [][]byte{vandal(), echo()} {
				res, err := r.Call(context.Background(), callOf(blob, abi.EntryExecute, noEnv()))
				outcomeOf(t, res, err)
			}
			if restart == 0 && round == 0 {
				first = written()
			}
		}
		if got := written(); got != first {
			t.Errorf("entries were written again:\n%sbefore:\n%s", got, first)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// Block execution loads an evicted code while the compiler is at work on
// something else.
func TestBlockDoesNotWaitForTheCompiler(t *testing.T) {
	r := newRuntime(t, EngineInterpreter)
	r.compiling <- struct{}{}
	defer func() { <-r.compiling }()
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	blob := caller(0)
	depth := 0
	call := callOf(blob, abi.EntryExecute, nestedEnv(r, blob, &depth))
	if _, err := r.Call(stopped, call); err == nil {
		t.Fatal("the compiler was used twice at once")
	}
	call.Block = true
	if _, err := r.Call(context.Background(), call); err != nil {
		t.Fatal(err)
	}
	other := caller(1) // is compiled within a nested call
	call = callOf(blob, abi.EntryExecute, nestedEnv(r, other, &depth))
	call.Block = true
	if _, err := r.Call(context.Background(), call); err != nil || !r.Ready(Protocol, callOf(other, 0, nil).Code) {
		t.Fatal(err)
	}
}

// Whatever stands where an entry should be costs a compilation and no more.
func TestCacheWithForeignFiles(t *testing.T) {
	if !compilerSupported() {
		return // the interpreter keeps no cache
	}
	for name, put := range map[string]func(path string) error{
		"a directory":          func(path string) error { return os.MkdirAll(filepath.Join(path, "a", "b"), 0o700) },
		"a link to nothing":    func(path string) error { return os.Symlink(path+".none", path) },
		"a link to a device":   func(path string) error { return os.Symlink("/dev/full", path) },
		"a link to itself":     func(path string) error { return os.Symlink(path, path) },
		"a file nobody reads":  func(path string) error { return os.WriteFile(path, []byte("secret"), 0) },
		"a link to another's":  func(path string) error { return os.Symlink("/proc/self/status", path) },
		"nothing, nor its own": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		dir := filepath.Join(t.TempDir(), "code")
		call := func(blob []byte) {
			t.Helper()
			r, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close(context.Background())
			files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if err := removeFile(f); err != nil {
					t.Fatal(err)
				}
				if err := put(f); err != nil {
					t.Fatal(err)
				}
			}
			for _, b := range [][]byte{blob, vandal()} {
				res, err := r.Call(context.Background(), callOf(b, abi.EntryExecute, noEnv()))
				if err != nil {
					if _, ok := err.(*Trap); !ok {
						t.Errorf("%s: %v", name, err)
					}
				}
				outcomeOf(t, res, nil)
			}
		}
		call(echo())
		call(echo())
	}
}

// A directory of another user's is refused, closed as it may be: its owner
// decides what is executed.
func TestCacheOfAnother(t *testing.T) {
	info, err := os.Stat(cacheWith(t, "wazero-a/1"))
	if err != nil {
		t.Fatal(err)
	}
	_, known := ownerOf(info)
	if known != (runtime.GOOS != "windows") {
		t.Fatalf("owner known: %v", known)
	}
	if err := checkPrivate("code", mode{info, 0o700}, os.Geteuid()); err != nil {
		t.Error(err)
	}
	if err := checkPrivate("code", mode{info, 0o700}, os.Geteuid()+1); known && err == nil {
		t.Error("a directory of another user's is used")
	}
	if err := checkPrivate("code", mode{info, 0o710}, os.Geteuid()); known && err == nil {
		t.Error("a directory that others may enter is used")
	}
}

// mode is a file with another mode.
type mode struct {
	fs.FileInfo
	perm fs.FileMode
}

func (m mode) Mode() fs.FileMode { return fs.ModeDir | m.perm }
