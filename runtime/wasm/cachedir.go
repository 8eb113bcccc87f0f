package wasm

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// cacheDir is where native code lies: files in directories named wazero-*, one
// directory for each version of the engine and each processor. wazero writes a
// file once, under the hash of the rewritten module, and never removes any.
type cacheDir struct {
	path   string
	budget int64 // bytes of all files

	mu   sync.Mutex
	seen time.Time // newest change of a directory at the last trim, guarded by mu
}

// openCacheDir creates a cache directory for its owner alone, or refuses one
// that others may enter. What a crash left half written is removed.
func openCacheDir(path string, budget int) (*cacheDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating the compilation cache: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking at the compilation cache: %w", err)
	}
	if err := checkPrivate(path, info, os.Geteuid()); err != nil {
		return nil, err
	}
	d := &cacheDir{path: path, budget: int64(budget)}
	if err := d.remove(func(name string) bool { return strings.HasSuffix(name, ".tmp") }); err != nil {
		return nil, err
	}
	return d, d.trim()
}

// checkPrivate refuses a directory into which others than the user can put
// what will be executed.
func checkPrivate(path string, info fs.FileInfo, user int) error {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return errors.New("compilation cache " + path + " is open to others than its owner; set its mode to 0700")
	}
	if owner, ok := ownerOf(info); ok && owner != user {
		return fmt.Errorf("compilation cache %s belongs to user %d, and this is user %d; remove it or name another", path, owner, user)
	}
	return nil
}

// empty removes all entries.
func (d *cacheDir) empty() error { return d.remove(func(string) bool { return true }) }

// remove removes the files whose names are chosen.
func (d *cacheDir) remove(chosen func(name string) bool) error {
	files, err := filepath.Glob(filepath.Join(d.path, "wazero-*", "*"))
	if err != nil {
		return fmt.Errorf("looking into the compilation cache: %w", err)
	}
	for _, f := range files {
		if chosen(filepath.Base(f)) {
			if err := removeFile(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeFile removes an entry, and a directory where one should be.
func removeFile(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing from the compilation cache: %w", err)
	}
	return nil
}

// trim removes the entries that were written first while all of them take more
// than the budget, and directories that are empty then. It does nothing unless
// an entry was written since it was last called.
func (d *cacheDir) trim() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dirs, newest, err := d.dirs()
	if err != nil || !newest.After(d.seen) {
		return err
	}
	entries, total, err := listEntries(dirs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if total <= d.budget {
			break
		}
		if err := removeFile(e.path); err != nil {
			return err
		}
		total -= e.size
	}
	for _, dir := range dirs[:max(0, len(dirs)-1)] {
		os.Remove(dir) // fails while it holds something
	}
	_, d.seen, err = d.dirs()
	return err
}

// dirs lists the engine's directories, the one changed last at the end, and
// when that was.
func (d *cacheDir) dirs() (paths []string, newest time.Time, err error) {
	paths, err = filepath.Glob(filepath.Join(d.path, "wazero-*"))
	if err != nil {
		return nil, newest, fmt.Errorf("looking into the compilation cache: %w", err)
	}
	changed := make(map[string]time.Time, len(paths))
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, newest, fmt.Errorf("looking into the compilation cache: %w", err)
		}
		changed[p] = info.ModTime()
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return changed[a].Compare(changed[b]) })
	return paths, newest, nil
}

// entry is a file of the cache.
type entry struct {
	path    string
	size    int64
	written time.Time
}

// listEntries lists the files in dirs, those written first at the beginning.
func listEntries(dirs []string) (entries []entry, total int64, err error) {
	for _, dir := range dirs {
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, 0, fmt.Errorf("looking into the compilation cache: %w", err)
		}
		for _, f := range files {
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, 0, fmt.Errorf("looking into the compilation cache: %w", err)
			}
			entries = append(entries, entry{filepath.Join(dir, f.Name()), info.Size(), info.ModTime()})
			total += info.Size()
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(a.written.Compare(b.written), strings.Compare(a.path, b.path))
	})
	return entries, total, nil
}
