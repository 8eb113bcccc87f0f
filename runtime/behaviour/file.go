package behaviour

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
)

// writeEvery is how often at most the files are written: flash wears out. It is
// what a crash loses at most. Where nothing changes they are written now and then
// all the same, since the timers in them run.
const (
	writeEvery = 10 * time.Minute
	agesAfter  = 6 // times
)

const (
	// maxRecords bounds what is read of the file of records, in bytes.
	maxRecords = 256 << 20
	// maxExhibit bounds one exhibit: an observation with its head.
	maxExhibit = abi.MaxObservation + 128
	// evidenceFiles is by what the budget of evidence in memory is multiplied
	// for one of the two files.
	evidenceFiles = 4
)

// exhibitHead is what stands before an exhibit in a file: u32le length, SHA-256.
const exhibitHead = 4 + sha256.Size

// files are where local records and evidence lie. Evidence is appended to one
// file; when that is full it takes the place of the one before it.
type files struct {
	dir   string // "": none
	limit int64  // of a file of evidence, in bytes

	mu      sync.Mutex
	size    int64  // of the file of evidence; guarded by mu
	written uint64 // bytes since the Monitor was opened; guarded by mu
}

func (f *files) records() string  { return filepath.Join(f.dir, "records") }
func (f *files) evidence() string { return filepath.Join(f.dir, "evidence") }
func (f *files) older() string    { return filepath.Join(f.dir, "evidence.old") }

// openFiles reads what is there.
func (m *Monitor) openFiles() error {
	f := &m.files
	f.dir, f.limit = m.cfg.Dir, int64(m.cfg.EvidenceBytes)*evidenceFiles
	if f.dir == "" {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	raw, err := readFile(f.records())
	if err != nil {
		return err
	}
	if raw != nil {
		list, err := parseRecords(raw)
		if err != nil {
			m.cfg.Logger.Warn("what was known of devices' behaviour is lost", "file", f.records(), "err", err)
		}
		m.watches.restore(list, m.now())
	}
	return f.openEvidence()
}

// readFile reads a whole file; nil when there is none.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecords+1))
	if err == nil && len(b) > maxRecords {
		err = fmt.Errorf("%s has more than %d bytes: %w", path, maxRecords, abi.CodeTooLarge)
	}
	return b, err
}

// openEvidence finds the end of the evidence; what a crash tore is cut off.
func (f *files) openEvidence() error {
	_, end, err := scanEvidence(f.evidence(), nil)
	if err != nil {
		return err
	}
	f.size = end
	if err := os.Truncate(f.evidence(), end); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keepFiles writes what changed, now and then.
func (m *Monitor) keepFiles(ctx context.Context) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.flush(n%agesAfter == 0)
		}
	}
}

// flush writes what changed, or the timers as they stand. What cannot be written
// is tried again next time.
func (m *Monitor) flush(timers bool) {
	if m.files.dir == "" {
		return
	}
	if m.watches.isChanged() || timers && m.alarms.len() > 0 {
		if err := m.files.replaceRecords(m.watches.appendRecords(nil, m.now())); err != nil {
			m.watches.unsaved()
			m.cfg.Logger.Error("what is known of devices' behaviour was not written", "err", err)
		}
	}
	list := m.evidence.unwritten()
	if err := m.files.appendEvidence(list); err != nil {
		m.cfg.Logger.Error("evidence of devices' behaviour was not written", "err", err)
		return
	}
	m.evidence.written(list)
}

// replaceRecords puts a file of records in place, durable when it returns.
func (f *files) replaceRecords(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	temporary := f.records() + ".tmp"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.write(file, b); err != nil {
		return err
	}
	if err := os.Rename(temporary, f.records()); err != nil {
		return err
	}
	return syncDir(f.dir)
}

// write writes, syncs and closes.
func (f *files) write(file *os.File, b []byte) error {
	n, err := file.Write(b)
	f.written += uint64(n)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// appendEvidence makes exhibits durable.
func (f *files) appendEvidence(list [][]byte) error {
	if len(list) == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var b []byte
	for _, exhibit := range list {
		b = appendExhibit(b, exhibit)
	}
	if f.size > 0 && f.size+int64(len(b)) > f.limit {
		if err := os.Rename(f.evidence(), f.older()); err != nil {
			return err
		}
		f.size = 0
	}
	file, err := os.OpenFile(f.evidence(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Seek(f.size, io.SeekStart); err != nil { // over what an earlier try left
		return errors.Join(err, file.Close())
	}
	if err := f.write(file, b); err != nil {
		return err
	}
	f.size += int64(len(b))
	return syncDir(f.dir)
}

func appendExhibit(b, exhibit []byte) []byte {
	hash := sha256.Sum256(exhibit)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(exhibit)))
	return append(append(b, hash[:]...), exhibit...)
}

// exhibit finds an exhibit in the files.
func (f *files) exhibit(hash abi.Hash) ([]byte, bool) {
	if f.dir == "" {
		return nil, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(hash)
	return b, err == nil
}

func (f *files) find(hash abi.Hash) ([]byte, error) {
	for _, path := range []string{f.evidence(), f.older()} {
		b, _, err := scanEvidence(path, &hash)
		if err != nil || b != nil {
			return b, err
		}
	}
	return nil, abi.CodeNotFound
}

// ReadEvidence finds an exhibit in the files of a Monitor, which may be running:
// what is there was put there every ten minutes. The error is abi.CodeNotFound
// when they do not hold it.
func ReadEvidence(dir string, hash abi.Hash) ([]byte, error) { return (&files{dir: dir}).find(hash) }

// scanEvidence walks through a file of evidence up to the exhibit that is
// wanted, or to where the exhibits end.
func scanEvidence(path string, want *abi.Hash) (found []byte, end int64, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	for {
		exhibit, err := readExhibit(r)
		if err != nil { // the end, or what a crash tore
			return nil, end, nil
		}
		if want != nil && sha256.Sum256(exhibit) == *want {
			return exhibit, end, nil
		}
		end += exhibitHead + int64(len(exhibit))
	}
}

// readExhibit reads the next exhibit of a file.
func readExhibit(r io.Reader) ([]byte, error) {
	var head [exhibitHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxExhibit {
		return nil, errDamaged
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != [sha256.Size]byte(head[4:]) {
		return nil, errDamaged
	}
	return b, nil
}
