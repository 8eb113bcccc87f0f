package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
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

// openSigned opens the record of dir. Only where none can be missing, begin,
// does it make one.
func openSigned(dir string, chain abi.Hash, begin bool) (*signedFile, error) {
	height, ok, err := readSigned(dir, chain)
	if err == nil && !ok && begin {
		err = writeSigned(dir, chain, 0)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, signedName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &signedFile{file: f, chain: chain, height: height}, nil
}

// writeSigned begins the record of dir anew. The file gets its name when both
// slots are durable, so that it is never seen without one.
func writeSigned(dir string, chain abi.Hash, height uint64) error {
	path := filepath.Join(dir, signedName)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	s := &signedFile{file: f, chain: chain, height: height}
	for slot := range int64(2) {
		_, writeErr := f.WriteAt(s.record(), slot*signedSlot)
		err = errors.Join(err, writeErr)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
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

// errOtherChain comes when the record is another chain's.
var errOtherChain = errors.New("each chain needs a directory of its own")

// readSigned reads the record of dir, or says that there is none.
func readSigned(dir string, chain abi.Hash) (height uint64, ok bool, err error) {
	path := filepath.Join(dir, signedName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	for slot := range int64(2) {
		b := make([]byte, signedSize)
		if _, err := f.ReadAt(b, slot*signedSlot); err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		h, id, good := parseSigned(b)
		if !good {
			continue
		}
		if id != chain {
			return 0, false, fmt.Errorf("%s belongs to chain %x, this is %x: %w", path, id[:4], chain[:4], errOtherChain)
		}
		ok, height = true, max(height, h)
	}
	if !ok {
		return 0, false, fmt.Errorf("%s: both records of the last signed height are damaged: without them this validator "+
			"might sign a second block where it has signed one; %s", path, restoreRemedy)
	}
	return height, true, nil
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
