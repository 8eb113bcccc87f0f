// Package journal keeps records in a file on a small device's flash: each is
// durable when Append returns, a tail that a power cut tore is cut, and any other
// damage is told.
//
// The caller's duties: one process at a time opens a path (the file is not
// locked); after an error of Append or Replace, what is in the file is not known:
// call Replace before the next Append. Methods are not called concurrently.
//
// The file is a row of frames, integers big-endian:
//
//	magic (4) | length of record (4) | CRC-32C of length and record (4) | record
package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	magic = "pJn1"
	head  = len(magic) + 8
)

// Limits in bytes.
const (
	MaxRecord = 128 << 10 // the largest transaction, and what is written beside it
	MaxFile   = 16 << 20  // of a file that Open reads
)

// ErrDamaged is wrapped by Open when the file is damaged where no crash damages
// it.
var ErrDamaged = errors.New("the file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Disk is where a journal lies; OS is the usual one.
type Disk interface {
	Read(path string) ([]byte, error) // fs.ErrNotExist when there is none
	Create(path string) (File, error) // empty, whatever was there
	Rename(from, to string) error
	SyncDir(path string) error
}

// File is an open file of a Disk.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// Journal is an open file.
type Journal struct {
	path   string
	disk   Disk
	file   File
	size   int
	failed error
}

// Open reads the records of a file and the number of bytes of a torn tail, which
// is cut. A file that is not there has none. Replace, with what is to stay of
// them, must come before the first Append.
func Open(path string, d Disk) (j *Journal, records [][]byte, torn int, err error) {
	raw, err := d.Read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, fmt.Errorf("opening the journal: %w", err)
	}
	if records, torn, err = Parse(raw); err != nil {
		return nil, nil, 0, fmt.Errorf("opening the journal %s: %w", path, err)
	}
	return &Journal{path: path, disk: d, failed: errors.New("BUG: Append before Replace")}, records, torn, nil
}

// Size is the length of the file in bytes.
func (j *Journal) Size() int { return j.size }

// Append adds a record, durable when it returns nil.
func (j *Journal) Append(record []byte) error {
	if j.failed != nil {
		return j.failed
	}
	if len(record) > MaxRecord {
		return fmt.Errorf("record of %d bytes, %d at most", len(record), MaxRecord)
	}
	frame := appendFrame(nil, record)
	_, err := j.file.Write(frame)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.failed = fmt.Errorf("writing the journal: %w", err)
		return j.failed
	}
	j.size += len(frame)
	return nil
}

// Replace puts a file in place that holds these records and nothing else: after a
// crash it is the old one or the new one. After an error it may be either.
func (j *Journal) Replace(records [][]byte) error {
	var b []byte
	for _, r := range records {
		if len(r) > MaxRecord {
			return fmt.Errorf("record of %d bytes, %d at most", len(r), MaxRecord)
		}
		b = appendFrame(b, r)
	}
	f, err := j.write(b)
	if err != nil {
		j.failed = fmt.Errorf("writing the journal anew: %w", err)
		return j.failed
	}
	if j.file != nil {
		_ = j.file.Close() // all that counts of it is in the new one
	}
	j.file, j.size, j.failed = f, len(b), nil
	return nil
}

// write writes a new file, durable under its name when it returns.
func (j *Journal) write(b []byte) (File, error) {
	temporary := j.path + ".tmp"
	f, err := j.disk.Create(temporary)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.Rename(temporary, j.path)
	}
	if err == nil {
		err = j.disk.SyncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close closes the file. What was appended is in it.
func (j *Journal) Close() error {
	j.failed = errors.New("the journal is closed")
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

func appendFrame(b, record []byte) []byte {
	start := len(b) + len(magic)
	b = binary.BigEndian.AppendUint32(append(b, magic...), uint32(len(record)))
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, record)
	return append(binary.BigEndian.AppendUint32(b, sum), record...)
}

func readFrame(b []byte) (record []byte, ok bool) {
	if len(b) < head || string(b[:len(magic)]) != magic {
		return nil, false
	}
	length := b[len(magic) : len(magic)+4]
	n := uint64(binary.BigEndian.Uint32(length))
	if n > MaxRecord || uint64(len(b)-head) < n {
		return nil, false
	}
	record = b[head : head+int(n)]
	sum := crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, record)
	return record, sum == binary.BigEndian.Uint32(b[len(magic)+4:head])
}

// Parse reads a whole file; the records alias b. A bad frame that no good one
// follows is what a crash left, and told in torn. Any other is ErrDamaged: a frame
// is written only after the one before it was synced.
func Parse(b []byte) (records [][]byte, torn int, err error) {
	for at := 0; at < len(b); {
		record, ok := readFrame(b[at:])
		if !ok {
			if next := findFrame(b[at+1:]); next >= 0 {
				return nil, 0, fmt.Errorf("%w at byte %d, and byte %d goes on", ErrDamaged, at, at+1+next)
			}
			return records, len(b) - at, nil
		}
		records = append(records, record)
		at += head + len(record)
	}
	return records, 0, nil
}

// findFrame is where the next whole frame begins, -1 if there is none.
func findFrame(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], []byte(magic))
		if i < 0 {
			return -1
		}
		at += i
		if _, ok := readFrame(b[at:]); ok {
			return at
		}
	}
}

// OS is the file system.
type OS struct{}

// Read implements Disk.
func (OS) Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, MaxFile)
	}
	return b, err
}

// Create implements Disk.
func (OS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

// Rename implements Disk.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir implements Disk.
func (OS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
