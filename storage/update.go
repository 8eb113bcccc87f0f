package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/tree"
)

// Change sets Key to Value, or deletes Key if Value is nil. An empty Value
// that is not nil is a value.
type Change struct{ Key, Value []byte }

// Update is a set of changes to the state of one View with the root that they
// lead to. It is written by Commit and holds no resource: an Update that is
// not committed may just be dropped.
type Update struct {
	base   *tree.Tree
	result *tree.Result
	writes []write
}

type write struct {
	Change
	keyHash, valueHash abi.Hash
	effect             tree.Effect
}

// Root is the state root after the changes.
func (u *Update) Root() abi.Hash { return u.result.Tree.Root() }

// Update computes the state root after changes, whose keys must differ, in
// memory. Nothing is written. The changes' bytes must stay as they are until
// the Update is committed or dropped.
func (v *View) Update(changes []Change) (*Update, error) {
	u := &Update{base: v.tree, writes: make([]write, len(changes))}
	for i, c := range changes {
		if err := c.validate(); err != nil {
			return nil, err
		}
		u.writes[i] = write{Change: c, keyHash: proof.KeyHash(c.Key), valueHash: proof.ValueHash(c.Value)}
	}
	slices.SortFunc(u.writes, func(a, b write) int { return bytes.Compare(a.keyHash[:], b.keyHash[:]) })
	steps := make([]tree.Change, len(changes))
	for i, w := range u.writes {
		if i > 0 && w.keyHash == u.writes[i-1].keyHash {
			return nil, fmt.Errorf("state key %x is changed twice in one update", w.Key)
		}
		steps[i] = tree.Change{Entry: tree.Entry{Key: w.keyHash, Value: w.valueHash}, Delete: w.Value == nil}
	}
	loader, err := v.newLoader()
	if err != nil {
		return nil, err
	}
	u.result, err = v.tree.Update(steps, loader.load)
	if err := errors.Join(err, loader.close()); err != nil {
		return nil, fmt.Errorf("updating the state: %w", err)
	}
	for i, effect := range u.result.Effects {
		u.writes[i].effect = effect
	}
	return u, nil
}

func (c *Change) validate() error {
	if len(c.Key) > MaxKey {
		return fmt.Errorf("key of %d bytes, at most %d can be stored", len(c.Key), MaxKey)
	}
	if len(c.Value) > MaxValue {
		return fmt.Errorf("value of %d bytes under key %x, at most %d can be stored", len(c.Value), c.Key, MaxValue)
	}
	return nil
}
