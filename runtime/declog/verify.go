package declog

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage/disk"
)

// Head is a head of the log that somebody vouches for.
type Head struct {
	Size uint64
	Root abi.Hash
	From string // who says so, for errors
}

// Report is what Verify found.
type Report struct {
	Decisions uint64 // that are kept, all of them as they were recorded
	Gaps      uint64
	Lost      uint64   // numbers in the gaps: so many decisions may be missing
	Pruned    uint64   // records that are gone
	Root      abi.Hash // of all
	Heads     int      // of those asked for, how many were compared; others lie in what was pruned
}

// Verify reads everything that is kept and checks that it is what was recorded:
// each record against the hashes of its tile, all of them against the roots in
// the segments and the heads that somebody vouches for. It ends at the first
// thing that is not so, with an error that wraps abi.CodeBadProof or
// abi.CodeLogConflict and names the records. Progress is told after each file.
//
// Who can write the files can change a record and all hashes above it. Only a
// head that others hold, such as an anchor, gives that away.
func (r *Reader) Verify(ctx context.Context, heads []Head, progress func(done, of uint64)) (*Report, error) {
	f := &r.files
	first := f.segments[0]
	t, err := f.edge(first)
	if err != nil {
		return nil, err
	}
	v := &verification{files: f, tree: t, next: first.number, heads: map[uint64][]Head{}, report: Report{Pruned: first.position}}
	for _, h := range heads {
		v.heads[h.Size] = append(v.heads[h.Size], h)
	}
	for i, s := range f.segments {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := v.segment(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		progress(uint64(i+1), uint64(len(f.segments)))
	}
	if v.report.Root, err = v.tree.root(); err != nil {
		return nil, err
	}
	for _, h := range heads {
		if h.Size > v.tree.size {
			return nil, fmt.Errorf("%s has a head of %d records, the log has %d: %w", h.From, h.Size, v.tree.size, abi.CodeLogConflict)
		}
	}
	return &v.report, nil
}

type verification struct {
	files  *files
	tree   *tree
	next   uint64            // number of the next record
	heads  map[uint64][]Head // by size
	report Report
}

// segment checks that a segment begins where the records before it end, and
// what it holds.
func (v *verification) segment(s *segment) error {
	root, err := v.tree.root()
	if err != nil {
		return err
	}
	if s.position != v.tree.size || s.number != v.next || s.root != root || !bytes.Equal(s.tile, appendHashes(nil, v.tree.edge[0])) {
		return fmt.Errorf("it does not go on where the records before it end, at %d: %w", v.tree.size, abi.CodeBadProof)
	}
	levels := map[int]disk.File{}
	defer func() {
		for _, f := range levels {
			f.Close()
		}
	}()
	last := s == v.files.last()
	err = v.files.items(s, 0, ^uint64(0), func(it *Item) error {
		if err := v.compare(); err != nil { // with what came before
			return err
		}
		return v.item(it, levels, last)
	})
	if err == nil && last {
		err = v.compare()
	}
	return err
}

// item adds an item to the tree and checks the tiles that it makes whole.
func (v *verification) item(it *Item, levels map[int]disk.File, last bool) error {
	if it.number() != v.next {
		return fmt.Errorf("record %d stands where %d should: %w", it.number(), v.next, abi.CodeBadProof)
	}
	v.next = it.next()
	if it.Gap != nil {
		v.report.Gaps++
		v.report.Lost += it.Gap.Next - it.Gap.First
	} else {
		v.report.Decisions++
	}
	for _, h := range v.tree.add(tlog.Hash(it.Leaf()), nil) {
		stored, ok, err := v.stored(&h, levels)
		if err != nil {
			return err
		}
		if !ok && last {
			continue // not synced when the gateway crashed; Open makes it again
		}
		if stored != h.hash {
			return fmt.Errorf("one of the records up to %d was changed: tile %d of level %d has another hash: %w", it.number(), h.index, h.level-1, abi.CodeBadProof)
		}
	}
	return nil
}

// stored reads a hash of a level.
func (v *verification) stored(h *levelHash, levels map[int]disk.File) (hash tlog.Hash, ok bool, err error) {
	f := levels[h.level]
	if f == nil {
		f, err = v.files.disk.Open(v.files.path(levelName(h.level)))
		if notThere(err) {
			return hash, false, nil
		}
		if err != nil {
			return hash, false, err
		}
		levels[h.level] = f
	}
	n, err := f.ReadAt(hash[:], int64(h.index)*hashSize)
	if err == io.EOF {
		err = nil
	}
	return hash, n == hashSize, err
}

// compare compares the tree with the heads of its size.
func (v *verification) compare() error {
	for _, h := range v.heads[v.tree.size] {
		root, err := v.tree.root()
		if err != nil {
			return err
		}
		if root != h.Root {
			return fmt.Errorf("the %d records up to %d are not those that %s has a head of: %w", h.Size, v.next-1, h.From, abi.CodeLogConflict)
		}
		v.report.Heads++
	}
	return nil
}
