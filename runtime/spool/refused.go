package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage/disk"
)

// maxRefused is how many refusals are kept, for people to look at.
const maxRefused = 256

// Refusal is a transaction that was kept and did not succeed.
type Refusal struct {
	ID       abi.Hash
	Sender   abi.Hash // SHA-256 of the key: the account's id, unless its key was replaced
	Lane     uint64
	Sequence uint64
	Code     abi.Code
	Height   uint64    // of the block that has it; 0: none has
	Time     time.Time // when it was handed in

	file string
}

// ReadRefusals lists what was refused, oldest first: the newest 256. It reads the
// spool's folder, beside a running node or without one.
func ReadRefusals(dir string) ([]Refusal, error) {
	list, err := readRefused(disk.OS{}, refusedDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no node has run there yet
	}
	return list, err
}

func refusedDir(dir string) string { return filepath.Join(dir, "refused") }

func (s *Spool) refusedDir() string { return refusedDir(s.cfg.Dir) }

// refuse takes a transaction out of its lane and puts its file among the refused.
// A crash before leaves it in the lane: it is refused again.
func (s *Spool) refuse(r *row, e *entry, code abi.Code, height uint64) error {
	name := fileName(r.lane, e.sequence)
	to := refusedName(code, height, name)
	if err := s.disk.Rename(filepath.Join(s.cfg.Dir, name), filepath.Join(s.refusedDir(), to)); err != nil {
		return err
	}
	s.mu.Lock()
	s.stats.Refused++
	s.refused = append(s.refused, Refusal{ID: e.id, Sender: r.lane.key, Lane: r.lane.number, Sequence: e.sequence,
		Code: code, Height: height, Time: e.since, file: to})
	var spare []Refusal
	if n := len(s.refused) - maxRefused; n > 0 {
		spare = slices.Clone(s.refused[:n])
		s.refused = slices.Delete(s.refused, 0, n)
	}
	s.mu.Unlock()
	s.forget(r, e)
	return s.removeRefused(spare)
}

func (s *Spool) removeRefused(list []Refusal) error {
	for i := range list {
		if err := s.disk.Remove(filepath.Join(s.refusedDir(), list[i].file)); err != nil {
			return err
		}
	}
	return nil
}

// readRefused reads the files of refusals, oldest first.
func readRefused(d disk.Disk, dir string) (list []Refusal, err error) {
	files, err := d.List(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		code, height, l, sequence, ok := parseRefusedName(f.Name)
		raw, err := disk.ReadFile(d, filepath.Join(dir, f.Name), abi.MaxTransaction)
		if err != nil || !ok {
			continue // nothing depends on it
		}
		if t, err := chain.ParseTx(raw); err == nil {
			list = append(list, Refusal{ID: t.ID, Sender: l.key, Lane: l.number, Sequence: sequence, Code: code, Height: height, Time: f.Time, file: f.Name})
		}
	}
	slices.SortStableFunc(list, func(a, b Refusal) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Sequence, b.Sequence)) })
	return list, nil
}

// recoverRefused takes up the refusals of earlier runs.
func (s *Spool) recoverRefused() (err error) {
	if s.refused, err = readRefused(s.disk, s.refusedDir()); err != nil {
		return err
	}
	if n := len(s.refused) - maxRefused; n > 0 {
		err = s.removeRefused(s.refused[:n])
		s.refused = slices.Delete(s.refused, 0, n)
	}
	return err
}
