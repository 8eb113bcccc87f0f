package declog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/seed79541315/postern/abi"
)

// disk is where the files lie. Tests put a failing one in its place.
type disk interface {
	mkdir(dir string) error            // and its parents; nothing if it is there
	list(dir string) ([]string, error) // names in ascending order
	open(path string) (file, error)    // for reading and writing; fs.ErrNotExist when there is none
	create(path string) (file, error)  // empty, whatever was there
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// full says whether an error is one that ends when somebody makes room.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// readAll reads a whole file of at most limit bytes.
func readAll(d disk, path string, limit int64) ([]byte, error) {
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, and %d at most are right: %w", path, size, limit, abi.CodeTooLarge)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// replace puts a file in place, durable under its name when it returns.
func replace(d disk, path string, b []byte) error {
	temporary := path + ".tmp"
	f, err := d.create(temporary)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.rename(temporary, path); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

type osDisk struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	s, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return s.Size(), nil
}

func (osDisk) mkdir(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osDisk) list(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, err
}

func (osDisk) open(path string) (file, error) { return openFile(path, os.O_RDWR) }

func (osDisk) create(path string) (file, error) {
	return openFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
}

func openFile(path string, flags int) (file, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) remove(path string) error { return os.Remove(path) }

func (osDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
