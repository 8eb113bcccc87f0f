package declog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

// maxSpare is how much memory is kept for what comes after a burst, in bytes.
const maxSpare = 2 * syncAt

// retryFull is how often a full disk is tried again.
const retryFull = time.Second

// Run writes what is appended and anchors it until ctx ends or the disk fails.
func (l *Log) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.stop = cancel
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	anchored := make(chan struct{})
	go func() {
		defer close(anchored)
		l.runAnchors(ctx)
	}()
	err = l.runWrites(ctx)
	<-anchored
	return err
}

// runWrites syncs what gathers.
func (l *Log) runWrites(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return l.failure()
		case <-l.wake:
		}
		if !l.gather(ctx) {
			return l.failure()
		}
		for {
			err := l.flush()
			if err == nil {
				break
			}
			if !disk.Full(err) {
				return err
			}
			if !pause(ctx, retryFull) {
				return l.failure()
			}
		}
	}
}

// failure is why nothing is taken any more, nil if it is.
func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// gather waits for more records that one sync takes along.
func (l *Log) gather(ctx context.Context) bool {
	timer := time.NewTimer(syncAfter)
	defer timer.Stop()
	for {
		l.mu.Lock()
		enough := len(l.open) >= syncAt
		l.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-l.wake:
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// writing is a batch on its way to the disk. Each step can be done again after
// the disk was full.
type writing struct {
	batch  batch
	leaves []tlog.Hash
	frame  []byte
	synced bool
}

// flush makes durable what waits. An error is either that of a full disk, after
// which it may be called again, or for good.
func (l *Log) flush() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.flushLocked()
}

func (l *Log) flushLocked() error {
	if err := l.failure(); err != nil && !errors.Is(err, abi.CodeShuttingDown) {
		return err // what the disk holds is not known any more
	}
	if l.out.pending == nil {
		w, err := l.take()
		if w == nil || err != nil {
			return err
		}
		l.out.pending = w
	}
	return l.settle(l.write(l.out.pending))
}

// settle tells everybody what came of a write.
func (l *Log) settle(err error) error {
	if err != nil && !disk.Full(err) {
		return l.fail(fmt.Errorf("%w: writing the decision log: %w", abi.CodeLogUnavailable, err))
	}
	l.mu.Lock()
	was := l.full
	l.full = err != nil
	l.mu.Unlock()
	switch {
	case err != nil && !was:
		l.cfg.Logger.Error("the disk is full: this gateway denies everything until there is room for its decision log", "dir", l.cfg.Dir, "err", err)
	case err == nil && was:
		l.cfg.Logger.Info("the decision log has room again")
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", abi.CodeLogUnavailable, err)
	}
	return err
}

// take closes the open batch. It is nil when nothing waits.
func (l *Log) take() (*writing, error) {
	l.mu.Lock()
	records, count, next := l.open, l.count, l.next
	l.open, l.spare, l.count = l.spare, nil, 0
	l.mu.Unlock()
	if count == 0 {
		return nil, nil
	}
	w := &writing{batch: batch{position: l.files.tree.size, number: next - uint64(count), count: count, records: records, reserved: next + maxWaiting, next: next}}
	if err := w.hash(); err != nil {
		return nil, l.fail(fmt.Errorf("%w: %w", abi.CodeLogUnavailable, err))
	}
	w.frame = w.batch.seal(l.out.spare, l.out.cipher)
	l.out.spare = nil
	return w, nil
}

// hash makes the leaves of the records.
func (w *writing) hash() error {
	w.leaves = make([]tlog.Hash, 0, w.batch.count)
	for rest := w.batch.records; len(rest) > 0; {
		r := cbor.NewReader(rest)
		raw := r.Raw()
		leaf, err := proof.RecordLeaf(raw)
		if err != nil {
			return err
		}
		w.leaves = append(w.leaves, tlog.Hash(leaf))
		rest = rest[len(raw):]
	}
	return nil
}

// write makes a batch durable; the caller holds writing.
func (l *Log) write(w *writing) error {
	s := l.files.last()
	if !w.synced {
		if _, err := l.out.file.WriteAt(w.frame, s.end); err != nil {
			return err
		}
		if err := l.out.file.Sync(); err != nil {
			return err
		}
		w.synced = true
		s.end += int64(len(w.frame))
		l.synced(w)
	}
	if err := l.writeLevels(); err != nil {
		return err
	}
	if s.end >= l.cfg.segment {
		if err := l.begin(w.batch.next, w.batch.reserved); err != nil {
			return err
		}
	}
	if l.out.pending = nil; cap(w.frame) <= maxSpare {
		l.out.spare = w.frame
	}
	return nil
}

// synced adds what is durable to the tree and makes room.
func (l *Log) synced(w *writing) {
	for _, leaf := range w.leaves {
		l.files.fresh = l.files.tree.add(leaf, l.files.fresh)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting -= w.batch.count
	l.bytes -= len(w.batch.records)
	l.figures.Records = l.files.tree.size
	l.figures.Bytes += int64(len(w.frame))
	l.figures.Written += uint64(len(w.frame))
	l.figures.Syncs++
	if cap(w.batch.records) <= maxSpare {
		l.spare = w.batch.records[:0]
	}
	close(l.room)
	l.room = make(chan struct{})
}

// writeLevels writes the hashes of whole tiles. They are synced before the next
// segment begins; until then they can be made again.
func (l *Log) writeLevels() error {
	for l.out.written < len(l.files.fresh) {
		if err := l.writeLevel(&l.files.fresh[l.out.written]); err != nil {
			return err
		}
		l.out.written++
	}
	return nil
}

func (l *Log) writeLevel(h *levelHash) error {
	f, err := openOrCreate(l.files.disk, l.files.path(levelName(h.level)))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(h.hash[:], int64(h.index)*hashSize)
	return errors.Join(err, f.Close())
}

func openOrCreate(d disk.Disk, path string) (disk.File, error) {
	f, err := d.Open(path)
	if notThere(err) {
		return d.Create(path)
	}
	return f, err
}

// syncLevels makes the files of the levels durable.
func (l *Log) syncLevels() error {
	for level := 1; level < maxLevels; level++ {
		if l.files.tree.size>>(tileHeight*level) == 0 {
			break
		}
		f, err := l.files.disk.Open(l.files.path(levelName(level)))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a segment with a record of a number.
func (l *Log) begin(number, reserved uint64) error {
	t := l.files.tree
	root, err := t.root()
	if err != nil {
		return err
	}
	s := &segment{name: fmt.Sprintf(segmentName, t.size), head: head{
		chain: l.cfg.Chain, account: l.cfg.Account, salt: newSalt(), position: t.size, number: number,
		tile: appendHashes(nil, t.edge[0]), root: root, reserved: reserved,
	}}
	c, err := sealer(l.cfg.Key, s.salt)
	if err != nil {
		return err
	}
	if err := l.syncLevels(); err != nil {
		return err
	}
	frame := framing.Append(nil, s.head.append(nil))
	if err := disk.Replace(l.files.disk, l.files.path(s.name), frame); err != nil {
		return err
	}
	f, err := l.files.disk.Open(l.files.path(s.name))
	if err != nil {
		return err
	}
	if l.out.file != nil {
		err = l.out.file.Close() // all of it is synced
	}
	l.out.file, l.out.cipher = f, c
	s.start, s.end = int64(len(frame)), int64(len(frame))
	l.files.segments, l.files.fresh, l.out.written = append(l.files.segments, s), nil, 0
	l.mu.Lock()
	l.figures.Bytes += s.end
	l.figures.Written += uint64(s.end)
	l.mu.Unlock()
	return err
}

// mark writes a batch without records: from it on no number at or above
// reserved is given out.
func (l *Log) mark(number, reserved uint64) error {
	w := &writing{batch: batch{position: l.files.tree.size, number: number, reserved: reserved, next: number}}
	w.frame = w.batch.seal(nil, l.out.cipher)
	return l.write(w)
}

// finish writes what waits, and that nothing more was given out.
func (l *Log) finish() error {
	for {
		if err := l.flushLocked(); err != nil {
			return err
		}
		l.mu.Lock()
		count, next := l.count, l.next
		l.mu.Unlock()
		if count == 0 {
			return l.mark(next, next)
		}
	}
}
