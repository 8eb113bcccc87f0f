package consensus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"

	"github.com/hyperledger-labs/SmartBFT/pkg/wal"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// journal is SmartBFT's write-ahead log and what its last records say.
type journal struct {
	*wal.WriteAheadLogFile
	entries [][]byte                   // since the last truncation point
	last    *smartbftprotos.PrePrepare // of the last proposal recorded, or nil
	settled uint64                     // the height that a recorded change of view stands on
	phase   phase                      // of the last record

	proposal []byte // the record of last
	vote     []byte // the record of the vote for it, or nil
	change   []byte // the last record of a change of view, or nil
	entered  uint64 // the view of the last new view recorded
	least    uint64 // views below it this validator has left
	bound    bool   // the vote was given in a change of view, after its own view was left
}

type phase uint8

const (
	phaseNone     phase = iota
	phaseProposed       // a proposal, not yet voted for
	phaseSigned         // the vote for it as well
	phaseView           // a change of view
)

const (
	walFileSize   = 8 << 20 // bytes after which the log begins a new file; two are kept
	walBufferSize = 4 << 10 // allocated for each record; it grows where needed
)

// openJournal opens the log in dir, made if need be, and mends a tail that a
// crash tore.
func openJournal(dir string, log *logger) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, entries, err := openWAL(dir, log)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		log.Warnf("mending the torn tail of the write-ahead log in %s", dir)
		if err = wal.Repair(log, dir); err == nil {
			file, entries, err = openWAL(dir, log)
		}
	}
	if err != nil {
		if _, cause := readJournal(dir); cause != nil { // it names the file
			err = cause
		}
		return nil, fmt.Errorf("write-ahead log: %w", err)
	}
	j := &journal{WriteAheadLogFile: file, entries: entries}
	if err := errors.Join(j.inspect(dir), syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir)))); err != nil {
		return nil, errors.Join(fmt.Errorf("write-ahead log: %w", err), file.Close())
	}
	return j, nil
}

// Append records an entry durably. SmartBFT passes on no more of an error than
// its text, so that says what to do.
func (j *journal) Append(entry []byte, truncate bool) error {
	if err := j.WriteAheadLogFile.Append(entry, truncate); err != nil {
		return fmt.Errorf("%w; free the disk's space or replace it, then start the node again", err)
	}
	return nil
}

// openWAL does what wal.InitializeAndReadAll does, which does not mend a last
// file that a crash left without its first record.
func openWAL(dir string, log *logger) (*wal.WriteAheadLogFile, [][]byte, error) {
	options := wal.DefaultOptions()
	options.FileSizeBytes, options.BufferSizeBytes = walFileSize, walBufferSize
	file, err := wal.Create(log, dir, options)
	if err == nil || !errors.Is(err, wal.ErrWALAlreadyExists) {
		return file, nil, err
	}
	if file, err = wal.Open(log, dir, options); err != nil {
		return nil, nil, err
	}
	entries, err := file.ReadAll()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, entries, nil
}

// readJournal reads what openJournal would, and writes nothing: like that, it
// takes damage in the last file for the log's end. A log that is not there is
// empty.
func readJournal(dir string) (*journal, error) {
	names, err := logFiles(dir)
	if err != nil {
		return nil, err
	}
	j := &journal{}
	var crc uint32
	for i, name := range names {
		path := filepath.Join(dir, name)
		next, err := j.readFile(path, crc, i == 0)
		if err != nil && i < len(names)-1 {
			return nil, damagedLog(path, err)
		}
		crc = next
	}
	return j, j.inspect(dir)
}

// readFile adds the records of one file, which continues the checksum crc
// unless it is the first, and returns the checksum that the next continues.
func (j *journal) readFile(path string, crc uint32, first bool) (uint32, error) {
	r, err := wal.NewLogRecordReader(&logger{slog.New(slog.DiscardHandler), nil}, path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if !first && r.CRC() != crc {
		return 0, wal.ErrCRC
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return r.CRC(), nil
		}
		if err != nil {
			return 0, err
		}
		if record.GetTruncateTo() {
			j.entries = nil
		}
		if record.GetType() == smartbftprotos.LogRecord_ENTRY {
			j.entries = append(j.entries, record.GetData())
		}
	}
}

// logFiles are the names of the log's files in dir, oldest first.
func logFiles(dir string) ([]string, error) {
	list, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range list {
		if filepath.Ext(e.Name()) == ".wal" && len(e.Name()) == len("0000000000000001.wal") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// damagedLog names what is damaged, unless the system refused to read it.
func damagedLog(path string, err error) error {
	if refused := (*fs.PathError)(nil); errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("%s is damaged (%w): votes that it recorded may be lost; %s", path, err, restoreRemedy)
}

func (j *journal) inspect(dir string) error {
	for _, entry := range j.entries {
		m := &smartbftprotos.SavedMessage{}
		if err := proto.Unmarshal(entry, m); err != nil {
			return damagedLog(dir, fmt.Errorf("a record is not one of this engine's: %w", err))
		}
		switch {
		case m.GetProposedRecord() != nil:
			j.last, j.phase = m.GetProposedRecord().GetPrePrepare(), phaseProposed
			j.proposal, j.vote, j.bound = entry, nil, false
			j.least = max(j.least, j.last.GetView())
		case m.GetCommit() != nil:
			j.phase, j.vote = phaseSigned, entry
			j.bound = j.least > j.last.GetView()
		default:
			j.phase, j.settled, j.change = phaseView, m.GetNewView().GetLatestSequence(), entry
			j.entered = max(j.entered, m.GetNewView().GetViewId())
			j.least = max(j.least, leastView(m))
		}
	}
	return nil
}

// leastView is the least view that a validator may vote in after it recorded
// a change of view. SmartBFT's record of one that begins names the view left.
func leastView(m *smartbftprotos.SavedMessage) uint64 {
	if c := m.GetViewChange(); c != nil {
		return c.NextView + 1
	}
	return m.GetNewView().GetViewId()
}

// proposed is the height of the last proposal recorded.
func (j *journal) proposed() uint64 { return j.last.GetSeq() }

// voted is the greatest height that the log knows a vote for.
func (j *journal) voted() uint64 {
	if j.phase == phaseProposed {
		return max(j.proposed(), 1) - 1
	}
	return j.proposed()
}

// restore is what SmartBFT is to recover from when the ledger is at height:
// the records that say which view it is in, and those of the proposal in the
// making. It reads only the last of all, so where both matter begin comes
// first and then takes the place of its end.
//
// A proposal at or below the height is settled: given one, SmartBFT would wait
// for its prepares until the next view change.
func (j *journal) restore(height uint64) (begin, inFlight [][]byte) {
	if j.last != nil && j.last.Seq == height+1 {
		inFlight = [][]byte{j.proposal}
		if j.vote != nil {
			inFlight = append(inFlight, j.vote)
		}
	}
	if j.change == nil || j.phase != phaseView && j.least <= j.last.GetView() {
		return inFlight, nil
	}
	if inFlight == nil || j.entered > j.last.GetView() && !j.bound {
		return [][]byte{j.change}, nil // a new view has judged what was in flight
	}
	return [][]byte{j.proposal, j.change}, inFlight
}

// resume returns the metadata of the last decision as SmartBFT is to start
// from it. It takes the view from there, though the log may know of a newer
// one; the validator would hold another for the leader than all the others.
func (j *journal) resume(md *smartbftprotos.ViewMetadata) *smartbftprotos.ViewMetadata {
	switch last := j.last; {
	case last != nil && last.Seq == md.LatestSequence+1 && last.View == j.least && last.View > md.ViewId:
		return &smartbftprotos.ViewMetadata{ViewId: last.View, LatestSequence: md.LatestSequence, DecisionsInView: beforeFirst}
	case j.entered == j.least && j.entered > md.ViewId:
		return &smartbftprotos.ViewMetadata{ViewId: j.entered, LatestSequence: md.LatestSequence, DecisionsInView: beforeFirst}
	}
	return md
}

// beforeFirst precedes the first decision of a view, which is number 0.
const beforeFirst = math.MaxUint64
