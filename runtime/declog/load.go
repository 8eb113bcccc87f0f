package declog

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
)

// load makes the edge of the tree: from the last segment's head and the files
// of the levels what stands below it, the rest from its records. It returns the
// last batch.
func (f *files) load() (last *batch, err error) {
	s := f.last()
	if f.tree, err = f.edge(s); err != nil {
		return nil, err
	}
	last = &batch{position: s.position, number: s.number, reserved: s.reserved, next: s.number}
	err = f.batches(s, func(*batch) bool { return true }, func(b *batch) error {
		if b.number != last.next {
			return fmt.Errorf("%s: number %d stands where %d should: %w", f.path(s.name), b.number, last.next, abi.CodeBadProof)
		}
		last = b
		return b.each(func(it *Item) error {
			f.fresh = f.tree.add(tlog.Hash(it.Leaf()), f.fresh)
			return nil
		})
	})
	return last, err
}

// edge is the tree below a segment.
func (f *files) edge(s *segment) (*tree, error) {
	t := &tree{size: s.position}
	t.edge[0] = splitHashes(s.tile)
	for level := 1; level < maxLevels; level++ {
		n := s.position >> (tileHeight * level)
		if n == 0 {
			break
		}
		b, err := f.levelEnd(level, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path(levelName(level)), err)
		}
		t.edge[level] = splitHashes(b)
	}
	root, err := t.root()
	if err == nil && root != s.root {
		err = fmt.Errorf("the hashes in %s do not lead to the root in %s: %w", f.dir, s.name, abi.CodeBadProof)
	}
	return t, err
}

// levelEnd reads the tile of a level that is not whole when it has n hashes.
func (f *files) levelEnd(level int, n uint64) ([]byte, error) {
	in, err := f.disk.Open(f.path(levelName(level)))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b := make([]byte, n%tileWidth*hashSize)
	if got, err := in.ReadAt(b, int64(n-n%tileWidth)*hashSize); got < len(b) {
		return nil, fmt.Errorf("it ends too soon: %w: %w", abi.CodeBadProof, err)
	}
	return b, nil
}

// cut finds where the last segment ends: behind its last whole frame. What
// comes after that may be the unfinished work of a crash; a whole frame behind
// damage says that it is no crash's.
func (f *files) cut() (torn int64, err error) {
	s := f.last()
	in, err := f.disk.Open(f.path(s.name))
	if err != nil {
		return 0, err
	}
	defer in.Close()
	walk := newFrames(in, s.start, s.end)
	for err == nil {
		_, err = walk.next()
	}
	if err == io.EOF {
		return 0, nil
	}
	if !errors.Is(err, errFrame) {
		return 0, err
	}
	rest := make([]byte, s.end-walk.at)
	if _, err := in.ReadAt(rest, walk.at); err != nil && err != io.EOF {
		return 0, err
	}
	if next := framing.Find(rest[1:]); next >= 0 {
		return 0, fmt.Errorf("%s is damaged at byte %d, and byte %d goes on: %w", f.path(s.name), walk.at, walk.at+1+int64(next), abi.CodeBadProof)
	}
	s.end = walk.at
	return int64(len(rest)), nil
}
