package declog

import (
	"errors"
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

// Reader reads a log as it was when it was opened. The log may be written and
// pruned meanwhile; a Reader changes nothing.
type Reader struct {
	files files
	next  uint64 // number of the next record, as far as the files tell
	below uint64 // numbers below it may have been given out
}

// OpenReader opens the log in a folder for reading. The error is that of a
// missing file if there is none.
func OpenReader(dir string, key []byte) (*Reader, error) { return openReader(dir, key, disk.OS{}) }

func openReader(dir string, key []byte, d disk.Disk) (*Reader, error) {
	r := &Reader{files: files{disk: d, dir: dir, key: key}}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("reading the decision log in %s: %w", dir, err)
	}
	return r, nil
}

func (r *Reader) open() error {
	if err := r.files.findSegments(); err != nil {
		return err
	}
	if len(r.files.segments) == 0 {
		return fmt.Errorf("it holds no records: %w", abi.CodeNotFound)
	}
	if _, err := r.files.cut(); err != nil {
		return err
	}
	last, err := r.files.load()
	if err != nil {
		return err
	}
	r.next, r.below = last.next, last.reserved
	return nil
}

// Owner is the chain and the account of the gateway whose log this is.
func (r *Reader) Owner() (chain, account abi.Hash) {
	h := &r.files.last().head
	return h.chain, h.account
}

// Size is how many records the log has, those included that were pruned.
func (r *Reader) Size() uint64 { return r.files.tree.size }

// Numbers are the numbers of the first record that is kept, and of the next one
// that will come.
func (r *Reader) Numbers() (first, next uint64) { return r.files.segments[0].number, r.next }

// Decision reads the decision with a number. abi.CodeNotFound means that there
// is none, or none any more, abi.CodeNotReady that it may be written soon.
func (r *Reader) Decision(number uint64) (*Item, error) {
	if number >= r.next && number < r.below {
		return nil, fmt.Errorf("record %d is not in the files, or not yet: %w", number, abi.CodeNotReady)
	}
	return r.files.decision(number)
}

// Scan hands on the records from a number on, oldest first. ErrStop ends it
// without an error.
func (r *Reader) Scan(from uint64, do func(*Item) error) error {
	for i, s := range r.files.segments {
		if i+1 < len(r.files.segments) && r.files.segments[i+1].number <= from {
			continue
		}
		err := r.files.items(s, 0, math.MaxUint64, func(it *Item) error {
			if it.next() <= from {
				return nil
			}
			return do(it)
		})
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrStop ends Scan.
var ErrStop = errors.New("enough records were read")

// Receipt makes the receipt of a decision from the proof of the log's anchor in
// some state, as Log.Receipt does from the newest.
func (r *Reader) Receipt(number uint64, e *proof.Entry, steps []proof.Step) (*proof.Receipt, error) {
	it, err := r.Decision(number)
	if err != nil {
		return nil, err
	}
	_, account := r.Owner()
	return r.files.receipt(account, it, e, steps)
}

// Checkpoint is the head that was signed last, nil if none was.
func (r *Reader) Checkpoint() ([]byte, error) {
	b, err := disk.ReadFile(r.files.disk, r.files.path(checkpointFile), proof.MaxCheckpoint)
	if notThere(err) {
		return nil, nil
	}
	return b, err
}
