package declog

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

// recover reads the folder and makes it one that can be written; the caller
// holds writing.
func (l *Log) recover() error {
	f := &l.files
	if err := f.disk.MkdirAll(f.dir); err != nil {
		return err
	}
	if err := f.findSegments(); err != nil {
		return err
	}
	if len(f.segments) == 0 {
		return l.create()
	}
	if err := l.cutTail(); err != nil {
		return err
	}
	last, err := f.load()
	if err != nil {
		return err
	}
	if err := l.checkOwner(); err != nil {
		return err
	}
	if err := l.checkHead(); err != nil {
		return err
	}
	for _, s := range f.segments {
		l.figures.Bytes += s.end
	}
	l.figures.Records = f.tree.size
	return l.resume(last)
}

// create begins an empty log.
func (l *Log) create() error {
	l.files.tree = &tree{}
	if err := l.begin(1, 1); err != nil {
		return err
	}
	l.next = 1
	return l.mark(1, 1+maxWaiting)
}

// cutTail drops what a crash left unfinished: nobody was told that it is
// there for good.
func (l *Log) cutTail() error {
	torn, err := l.files.cut()
	if err != nil {
		return err
	}
	s := l.files.last()
	if l.out.file, err = l.files.disk.Open(l.files.path(s.name)); err != nil {
		return err
	}
	if l.out.cipher, err = sealer(l.cfg.Key, s.salt); err != nil || torn == 0 {
		return err
	}
	l.cfg.Logger.Warn("the decision log's unfinished tail is cut", "bytes", torn)
	if err := l.out.file.Truncate(s.end); err != nil {
		return err
	}
	return l.out.file.Sync()
}

func (l *Log) checkOwner() error {
	for _, s := range l.files.segments {
		if s.chain != l.cfg.Chain || s.account != l.cfg.Account {
			return fmt.Errorf("%s belongs to chain %x, account %x", s.name, s.chain[:8], s.account[:8])
		}
	}
	return nil
}

// checkHead checks that the log is the one whose head was signed last.
func (l *Log) checkHead() error {
	signed, err := disk.ReadFile(l.files.disk, l.files.path(checkpointFile), proof.MaxCheckpoint)
	if notThere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := proof.ParseCheckpoint(signed)
	if err != nil {
		return err
	}
	return l.files.contains(c.Size, c.Root)
}

// contains checks that the log had this root when it had this size.
func (f *files) contains(size uint64, root abi.Hash) error {
	if size > f.tree.size {
		return fmt.Errorf("the log has %d records, and a head of %d was signed: %w", f.tree.size, size, abi.CodeLogConflict)
	}
	h, err := tlog.TreeHash(int64(size), f.tree.reader(f.source))
	if err != nil {
		return err
	}
	if abi.Hash(h) != root {
		return fmt.Errorf("the first %d records are not those whose head was signed: %w", size, abi.CodeLogConflict)
	}
	return nil
}

// resume goes on behind the last batch: with a gap, if numbers may have been
// given out that the files do not have.
func (l *Log) resume(last *batch) error {
	if err := l.writeLevels(); err != nil {
		return err
	}
	l.next = last.next
	if last.reserved <= last.next {
		return l.mark(l.next, l.next+maxWaiting)
	}
	gap := proof.Gap{First: last.next, Next: last.reserved, Now: l.cfg.Clock()}
	l.next = gap.Next
	w := &writing{
		batch:  batch{position: l.files.tree.size, number: gap.First, count: 1, reserved: gap.Next + maxWaiting, next: gap.Next, records: gap.Append(nil)},
		leaves: []tlog.Hash{tlog.Hash(gap.Leaf())},
	}
	w.frame = w.batch.seal(nil, l.out.cipher)
	l.waiting, l.bytes = 1, len(w.batch.records)
	if err := l.write(w); err != nil {
		return err
	}
	l.cfg.Logger.Warn("this gateway did not end in order: decisions of its last moments may be missing in the log, which says so",
		"first", gap.First, "next", gap.Next)
	return nil
}
