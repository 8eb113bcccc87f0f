package declog

import (
	"bufio"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage/disk"
)

// maxSegmentHead bounds the first frame of a segment in bytes.
const maxSegmentHead = disk.FrameHead + 256 + tileWidth*hashSize

// segment is a file of records.
type segment struct {
	head
	name  string
	start int64 // where its batches begin
	end   int64 // where they end
}

// files is a log's folder. It reads; Log writes.
type files struct {
	disk     disk.Disk
	dir      string
	key      []byte
	segments []*segment  // ascending
	tree     *tree       // over everything in them
	fresh    []levelHash // of tiles that the last segment made whole; ascending on each level
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

func (f *files) last() *segment { return f.segments[len(f.segments)-1] }

func levelName(level int) string { return fmt.Sprintf("level-%d.hashes", level) }

// findSegments reads the heads of all segments.
func (f *files) findSegments() error {
	list, err := f.disk.List(f.dir)
	if err != nil {
		return err
	}
	for _, info := range list {
		var position uint64
		if n, _ := fmt.Sscanf(info.Name, segmentName, &position); n != 1 || info.Name != fmt.Sprintf(segmentName, position) {
			continue
		}
		s, err := f.openSegment(info.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path(info.Name), err)
		}
		if s.position != position {
			return fmt.Errorf("%s begins at position %d: %w", f.path(info.Name), s.position, abi.CodeMalformed)
		}
		f.segments = append(f.segments, s)
	}
	return nil
}

func (f *files) openSegment(name string) (*segment, error) {
	in, err := f.disk.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, int64(maxSegmentHead)))
	if _, err := in.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	body, ok := framing.Read(b)
	if !ok {
		return nil, fmt.Errorf("its beginning is damaged: %w", abi.CodeMalformed) // it is renamed into place when it is whole
	}
	h, err := parseHead(body)
	if err != nil {
		return nil, fmt.Errorf("its beginning: %w", err)
	}
	return &segment{head: h, name: name, start: int64(disk.FrameHead + len(body)), end: size}, nil
}

// frames reads the frames of a part of a file one after another.
type frames struct {
	r    *bufio.Reader
	at   int64 // of the next one
	end  int64
	body []byte // of the last one; reused
}

func newFrames(in io.ReaderAt, from, to int64) *frames {
	return &frames{r: bufio.NewReaderSize(io.NewSectionReader(in, from, to-from), 64<<10), at: from, end: to}
}

// next returns a frame's body, io.EOF at the end, and errFrame if something
// else stands there.
func (s *frames) next() ([]byte, error) {
	if s.at == s.end {
		return nil, io.EOF
	}
	head, err := s.r.Peek(disk.FrameHead)
	if err == io.EOF {
		return nil, errFrame
	}
	if err != nil {
		return nil, err
	}
	n, ok := framing.Length(head)
	if !ok || s.at+int64(disk.FrameHead+n) > s.end {
		return nil, errFrame
	}
	s.body = slices.Grow(s.body[:0], disk.FrameHead+n)[:disk.FrameHead+n]
	if _, err := io.ReadFull(s.r, s.body); err != nil {
		return nil, err
	}
	body, ok := framing.Read(s.body)
	if !ok {
		return nil, errFrame
	}
	s.at += int64(len(s.body))
	return body, nil
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// batches hands on the batches of a segment in their order. Records come with
// those that want says yes to.
func (f *files) batches(s *segment, want func(*batch) bool, do func(*batch) error) error {
	in, err := f.disk.Open(f.path(s.name))
	if err != nil {
		return err
	}
	defer in.Close()
	c, err := sealer(f.key, s.salt)
	if err != nil {
		return err
	}
	walk := newFrames(in, s.start, s.end)
	position := s.position
	for {
		body, err := walk.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s is damaged at byte %d: %w: %w", f.path(s.name), walk.at, err, abi.CodeBadProof)
		}
		b, err := openBatch(body, position, c, want)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path(s.name), err)
		}
		position += uint64(b.count)
		if err := do(b); err != nil {
			return err
		}
	}
}

// openBatch reads the batch that is to begin at a position.
func openBatch(body []byte, position uint64, c cipher.AEAD, want func(*batch) bool) (*batch, error) {
	b, err := parseBatch(body, nil)
	if err != nil {
		return nil, err
	}
	if b.position != position {
		return nil, fmt.Errorf("position %d stands where %d should: %w", b.position, position, abi.CodeBadProof)
	}
	if !want(b) {
		return b, nil
	}
	return parseBatch(body, c)
}

// holding is the last segment that begins below a position.
func (f *files) holding(below uint64) *segment {
	for i := len(f.segments) - 1; i >= 0; i-- {
		if f.segments[i].position < below {
			return f.segments[i]
		}
	}
	return nil
}

// source reads a tile that is whole.
func (f *files) source(level int, index uint64) ([]tlog.Hash, error) {
	if level == 0 {
		return f.leaves(index)
	}
	b := make([]byte, tileWidth*hashSize)
	in, err := f.disk.Open(f.path(levelName(level)))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	n, err := in.ReadAt(b, int64(index)*int64(len(b)))
	if err != nil && err != io.EOF {
		return nil, err
	}
	list := splitHashes(b)
	return list, f.freshen(list, n/hashSize, level, index)
}

// freshen puts hashes that may not be in a level's file yet into a tile, of
// which have are there.
func (f *files) freshen(list []tlog.Hash, have, level int, index uint64) error {
	for i := range f.fresh {
		if h := &f.fresh[i]; h.level == level && h.index/tileWidth == index {
			list[h.index%tileWidth] = h.hash
			have = max(have, int(h.index%tileWidth)+1)
		}
	}
	if have < len(list) {
		return fmt.Errorf("%s ends too soon: %w", f.path(levelName(level)), abi.CodeBadProof)
	}
	return nil
}

// leaves makes a whole tile of leaves of the records again.
func (f *files) leaves(index uint64) ([]tlog.Hash, error) {
	first, end := index*tileWidth, (index+1)*tileWidth
	s := f.holding(end)
	if s == nil {
		return nil, fmt.Errorf("the records at %d and after were pruned: %w", first, abi.CodeNotFound)
	}
	var list []tlog.Hash
	if s.position > first {
		list = splitHashes(s.tile)
	}
	err := f.items(s, first+uint64(len(list)), end, func(it *Item) error {
		list = append(list, tlog.Hash(it.Leaf()))
		return nil
	})
	if err == nil && len(list) != tileWidth {
		err = fmt.Errorf("records at %d and after are missing: %w", first, abi.CodeBadProof)
	}
	return list, err
}

// items hands on what stands in a segment from a position up to another.
func (f *files) items(s *segment, from, to uint64, do func(*Item) error) error {
	err := f.batches(s, func(b *batch) bool { return b.position < to && b.position+uint64(b.count) > from }, func(b *batch) error {
		if b.position >= to {
			return errStop
		}
		return b.each(func(it *Item) error {
			if it.Position < from || it.Position >= to {
				return nil
			}
			return do(it)
		})
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// item is the decision with a number, or the gap that takes it.
func (f *files) item(number uint64) (*Item, error) {
	i := len(f.segments) - 1
	for i > 0 && f.segments[i].number > number {
		i--
	}
	s := f.segments[i]
	if s.number > number {
		return nil, fmt.Errorf("record %d was pruned: %w", number, abi.CodeNotFound)
	}
	var found *Item
	err := f.batches(s, func(b *batch) bool {
		return b.number <= number && b.count > 0 && (b.count == 1 || b.number+uint64(b.count) > number)
	}, func(b *batch) error {
		if b.number > number {
			return errStop
		}
		return b.each(func(it *Item) error {
			if it.number() <= number && number < it.next() {
				found = it
				return errStop
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("there is no record %d: %w", number, abi.CodeNotFound)
	}
	return found, nil
}
