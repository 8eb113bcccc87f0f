package spool

import (
	"cmp"
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

// Refusals lists what was refused, oldest first: the newest 256.
func (s *Spool) Refusals() []Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

func (s *Spool) refusedDir() string { return filepath.Join(s.cfg.Dir, "refused") }

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

// recoverRefused reads the refusals of earlier runs.
func (s *Spool) recoverRefused() error {
	files, err := s.disk.List(s.refusedDir())
	if err != nil {
		return err
	}
	for _, f := range files {
		code, height, l, sequence, ok := parseRefusedName(f.Name)
		raw, err := disk.ReadFile(s.disk, filepath.Join(s.refusedDir(), f.Name), abi.MaxTransaction)
		if err != nil || !ok {
			continue // nothing depends on it
		}
		if t, err := chain.ParseTx(raw); err == nil {
			s.refused = append(s.refused, Refusal{ID: t.ID, Sender: l.key, Lane: l.number, Sequence: sequence, Code: code, Height: height, Time: f.Time, file: f.Name})
		}
	}
	slices.SortStableFunc(s.refused, func(a, b Refusal) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Sequence, b.Sequence)) })
	if n := len(s.refused) - maxRefused; n > 0 {
		err = s.removeRefused(s.refused[:n])
		s.refused = slices.Delete(s.refused, 0, n)
	}
	return err
}
