// Package disk is the file system as small append-only files need it: those of
// the outbox, the spool and the decision log. Tests put disktest in its place,
// which loses what was not synced and fails where they say.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seed79541315/postern/abi"
)

// Disk is where files lie. A name is durable once its folder is synced.
type Disk interface {
	MkdirAll(dir string) error           // nothing if it is there
	List(dir string) ([]Info, error)     // files alone, by name
	Open(path string) (File, error)      // for reading and writing; fs.ErrNotExist when there is none
	Create(path string) (File, error)    // empty, whatever was there
	CreateNew(path string) (File, error) // fs.ErrExist where the name is taken
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error
}

// File is an open file. Its bytes are durable once it is synced.
type File interface {
	io.Writer
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Info is a file in a folder.
type Info struct {
	Name string
	Time time.Time // of its last change
}

// Full says whether an error is one that ends when somebody makes room.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// ReadFile reads a whole file; one of more than limit bytes is
// abi.CodeTooLarge.
func ReadFile(d Disk, path string, limit int64) ([]byte, error) {
	f, err := d.Open(path)
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

// Replace puts a file in place, durable under its name when it returns: whatever
// comes between, the old one is there whole or the new one.
func Replace(d Disk, path string, b []byte) error {
	f, err := ReplaceOpen(d, path, b)
	if err != nil {
		return err
	}
	return f.Close()
}

// ReplaceOpen is Replace, and leaves the new file open behind what was written.
func ReplaceOpen(d Disk, path string, b []byte) (File, error) {
	temporary := path + ".tmp"
	f, err := d.Create(temporary)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.Rename(temporary, path)
	}
	if err == nil {
		err = d.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OS is the machine's own. Its files and folders are the node's alone.
type OS struct{}

type osFile struct{ *os.File }

// Size implements File.
func (f osFile) Size() (int64, error) {
	s, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return s.Size(), nil
}

// MkdirAll implements Disk.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// List implements Disk.
func (OS) List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		list = append(list, Info{e.Name(), info.ModTime()})
	}
	return list, nil
}

// Open implements Disk.
func (OS) Open(path string) (File, error) { return openFile(path, os.O_RDWR) }

// Create implements Disk.
func (OS) Create(path string) (File, error) { return openFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR) }

// CreateNew implements Disk.
func (OS) CreateNew(path string) (File, error) {
	return openFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
}

func openFile(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements Disk.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements Disk.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements Disk.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
