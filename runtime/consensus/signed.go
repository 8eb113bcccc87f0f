package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/seed79541315/postern/abi"
)

// signedFile keeps the greatest height that this validator has voted for, so
// that one restored from a backup does not vote there twice. It has two slots,
// a page apart and used in turn, so that a torn write leaves the other:
//
//	"posterns" | height (8) | chain id (32) | CRC-32C of the above (4)
//
// Integers are big-endian.
type signedFile struct {
	file   *os.File
	chain  abi.Hash
	height uint64
}

const (
	signedName  = "last-signed"
	signedMagic = "posterns"
	signedSize  = 8 + 8 + 32 + 4
	signedSlot  = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func openSigned(dir string, chain abi.Hash) (*signedFile, error) {
	path := filepath.Join(dir, signedName)
	_, err := os.Stat(path)
	fresh := errors.Is(err, os.ErrNotExist)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &signedFile{file: f, chain: chain}
	if fresh {
		err = s.create(dir)
	} else {
		err = s.read()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// create writes both slots, so that the file is never seen without one.
func (s *signedFile) create(dir string) error {
	for slot := range int64(2) {
		if _, err := s.file.WriteAt(s.record(), slot*signedSlot); err != nil {
			return err
		}
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	return syncDir(dir)
}

func (s *signedFile) record() []byte {
	b := append(make([]byte, 0, signedSize), signedMagic...)
	b = binary.BigEndian.AppendUint64(b, s.height)
	b = append(b, s.chain[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (s *signedFile) read() error {
	found := false
	for slot := range int64(2) {
		b := make([]byte, signedSize)
		if _, err := s.file.ReadAt(b, slot*signedSlot); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		height, id, ok := parseSigned(b)
		if !ok {
			continue
		}
		if id != s.chain {
			return fmt.Errorf("it belongs to chain %x, this is %x: each chain needs a directory of its own", id[:4], s.chain[:4])
		}
		found, s.height = true, max(s.height, height)
	}
	if !found {
		return errors.New("both records of the last signed height are damaged: delete the file only if this ledger was not restored from a backup")
	}
	return nil
}

func parseSigned(b []byte) (height uint64, chain abi.Hash, ok bool) {
	body := b[:signedSize-4]
	if string(b[:8]) != signedMagic || binary.BigEndian.Uint32(b[signedSize-4:]) != crc32.Checksum(body, castagnoli) {
		return 0, chain, false
	}
	return binary.BigEndian.Uint64(b[8:]), abi.Hash(b[16:48]), true
}

// raise records a height before the vote for it leaves the node.
func (s *signedFile) raise(height uint64) error {
	if height <= s.height {
		return nil
	}
	s.height = height
	if _, err := s.file.WriteAt(s.record(), int64(height%2)*signedSlot); err != nil {
		return err
	}
	return s.file.Sync()
}

func (s *signedFile) close() error { return s.file.Close() }

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
