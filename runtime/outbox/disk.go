package outbox

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed79541315/postern/abi"
)

// disk is where the file lies. Tests put a failing one in its place.
type disk interface {
	read(path string) ([]byte, error) // fs.ErrNotExist when there is none
	create(path string) (file, error) // empty, whatever was there
	rename(from, to string) error
	syncDir(path string) error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// maxFile bounds what is read of a file in bytes. The outbox itself keeps its
// file below half of it, see compactAt.
const maxFile = 8 << 20

type osDisk struct{}

func (osDisk) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is longer than the %d bytes an outbox can have: %w", path, maxFile, abi.CodeTooLarge)
	}
	return b, err
}

func (osDisk) create(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
