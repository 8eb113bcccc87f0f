package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// Snapshot is what a joining node is given of a chain at one height besides
// chunks of the state and replay guards. All of it is proved by the steps from
// the genesis on.
type Snapshot struct {
	Header          chain.Header
	Certificate     chain.Certificate
	Block, Outcomes []byte   // encoded, of the header's height
	Steps           [][]byte // encoded proof.Steps up to that height, in their order
	Keys            uint64   // pairs in the state
}

// readSnapshot reads the parts of a snapshot out of a checkpoint.
func readSnapshot(s *storage.Store, v *storage.View) (*Snapshot, error) {
	block, certificate, outcomes, err := s.Block(v.Height())
	if err != nil {
		return nil, err
	}
	k, err := chain.ParseBlock(block)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", v.Height(), err)
	}
	n := &Snapshot{Header: k.Header, Block: block, Outcomes: outcomes, Keys: v.Keys()}
	if n.Certificate, err = chain.ParseCertificate(certificate); err != nil {
		return nil, fmt.Errorf("certificate of block %d: %w", v.Height(), err)
	}
	return n, eachStep(v, 0, func(_ uint64, step []byte) bool {
		n.Steps = append(n.Steps, step)
		return true
	})
}

// record is the snapshot's block as a store keeps it.
func (n *Snapshot) record() storage.Record {
	return storage.Record{Block: n.Block, Certificate: n.Certificate.Append(nil), Outcomes: n.Outcomes}
}

// stepRecords are the plain records of the steps.
func (n *Snapshot) stepRecords() ([]storage.Change, error) {
	list := make([]storage.Change, len(n.Steps))
	for i, raw := range n.Steps {
		s, err := proof.ParseStep(raw)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
		list[i] = storage.Change{Key: chain.StepKey(s.Header.Height), Value: raw}
	}
	return list, nil
}

// guardsFrom is the first minute whose replay guards still count at a View.
func guardsFrom(s *storage.Store, v *storage.View) (uint64, error) {
	raw, _, _, err := s.Block(v.Height())
	if err != nil {
		return 0, err
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		return 0, fmt.Errorf("block %d: %w", v.Height(), err)
	}
	return chain.Minute(k.Header.Time), nil
}

// readGuards gives an encoded page of the replay guards at a View, those
// behind the key after, and the key to go on from, nil on the last page.
func readGuards(s *storage.Store, v *storage.View, after []byte) (page, next []byte, err error) {
	from, err := guardsFrom(s, v)
	if err != nil {
		return nil, nil, err
	}
	start := chain.WindowKey(from)
	if bytes.Compare(after, start) >= 0 {
		start = append(bytes.Clone(after), 0)
	}
	it := v.ScanPlainFrom([]byte{'w'}, start)
	defer it.Close()
	var list []proof.Guard
	for it.Next() {
		g, err := parseGuard(it.Key(), it.Value())
		if err != nil {
			return nil, nil, err
		}
		if len(list) == proof.MaxGuards {
			next = list[len(list)-1].Key()
			break
		}
		list = append(list, g)
	}
	return proof.AppendGuards(nil, list), next, it.Err()
}

// CheckGuards compares the replay guards of a store with the running hashes in
// its state: none is missing, added or changed. An error wraps
// abi.CodeBadProof.
func CheckGuards(s *storage.Store) error {
	v, err := s.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	from, err := guardsFrom(s, v)
	if err != nil {
		return err
	}
	want := 0
	err = each(cold{v}, []byte{'w'}, func([]byte, []byte) (bool, error) {
		want++
		return true, nil
	})
	if err != nil {
		return err
	}
	c := guardCheck{read: cold{v}, top: v.Height()}
	it := v.ScanPlainFrom([]byte{'w'}, chain.WindowKey(from))
	defer it.Close()
	for it.Next() {
		g, err := parseGuard(it.Key(), it.Value())
		if err == nil {
			err = c.add(&g)
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(it.Err(), c.close()); err != nil {
		return err
	}
	if c.minutes != want {
		return fmt.Errorf("replay guards of %d minutes, the state has %d: %w", c.minutes, want, abi.CodeBadProof)
	}
	return nil
}

// guardCheck gathers the guards of one minute at a time.
type guardCheck struct {
	read    reader
	top     uint64 // height that no guard may be above
	minute  []proof.Guard
	minutes int
}

func (c *guardCheck) add(g *proof.Guard) error {
	if len(c.minute) > 0 && c.minute[0].Minute != g.Minute {
		if err := c.close(); err != nil {
			return err
		}
	}
	if g.Height > c.top {
		return fmt.Errorf("replay guard %x is of block %d: %w", g.ID[:8], g.Height, abi.CodeBadProof)
	}
	c.minute = append(c.minute, *g)
	return nil
}

// close compares the minute's running hash.
func (c *guardCheck) close() error {
	if len(c.minute) == 0 {
		return nil
	}
	slices.SortFunc(c.minute, func(a, b proof.Guard) int {
		return cmp.Or(cmp.Compare(a.Height, b.Height), cmp.Compare(a.Index, b.Index))
	})
	minute := c.minute[0].Minute
	var running []byte
	for i := range c.minute {
		running = runningHash(running, c.minute[i].ID)
	}
	want, _, err := c.read.get(chain.WindowKey(minute))
	if err != nil {
		return err
	}
	if !bytes.Equal(running, want) {
		return fmt.Errorf("replay guards of minute %d do not match the state: %w", minute, abi.CodeBadProof)
	}
	c.minute = c.minute[:0]
	c.minutes++
	return nil
}
