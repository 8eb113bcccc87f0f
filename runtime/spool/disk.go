package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/seed79541315/postern/abi"
)

// disk is where the files lie. Tests put a failing one in its place.
type disk interface {
	mkdir(path string) error
	list(path string) ([]found, error) // files alone, by name
	read(path string) ([]byte, error)
	create(path string) (file, error) // fails where the name is taken
	rename(from, to string) error
	remove(path string) error
	syncDir(path string) error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// found is a file in a folder.
type found struct {
	name string
	time time.Time
}

type osDisk struct{}

func (osDisk) mkdir(path string) error { return os.MkdirAll(path, 0o700) }

func (osDisk) list(path string) ([]found, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var list []found
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		list = append(list, found{e.Name(), info.ModTime()})
	}
	return list, nil
}

func (osDisk) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, abi.MaxTransaction+1))
	if err == nil && len(b) > abi.MaxTransaction {
		err = fmt.Errorf("%s: %w", path, abi.CodeTooLarge)
	}
	return b, err
}

func (osDisk) create(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) remove(path string) error { return os.Remove(path) }

func (osDisk) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
