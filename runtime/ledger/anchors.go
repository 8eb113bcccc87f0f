package ledger

import (
	"bytes"
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// anchor takes in the signed head of the sender's decision log. The log only
// grows: an anchor proves that it continues the one before.
func (r *running) anchor(a *chain.Anchor) error {
	if !r.sender.has(abi.RoleGateway) {
		return abi.CodeMissingRole
	}
	x := r.x
	head, err := proof.OpenCheckpoint(a.Note, proof.LogOrigin(x.header.Chain, r.sender.id), r.sender.account.Key)
	if err != nil {
		return err
	}
	last, there, err := load(x.state, chain.AnchorKey(r.sender.id), chain.ParseAnchored)
	if err != nil {
		return err
	}
	if there && (head.Size < last.Size || head.Size == last.Size && head.Root != last.Root) {
		return abi.CodeLogConflict
	}
	if err := head.VerifyConsistency(&proof.Checkpoint{Origin: head.Origin, Size: last.Size, Root: last.Root}, a.Path); err != nil && (there || len(a.Path) > 0) {
		return err
	}
	if err := r.keepAnchor(&head, &last, there, a.Note); err != nil {
		return err
	}
	if err := r.hearWitnesses(&head); err != nil {
		return err
	}
	return r.notify(chain.TopicLogAnchored, &chain.Notice{Subject: r.sender.id, By: &r.sender.id, Hash: &head.Root, Number: head.Size})
}

// keepAnchor writes an anchor as the newest one and by its size, and drops the
// oldest beyond chain.MaxAnchors.
func (r *running) keepAnchor(head *proof.Checkpoint, last *chain.Anchored, there bool, note []byte) error {
	s, id := r.x.state, r.sender.id
	next := chain.Anchored{
		Size: head.Size, Root: head.Root, Height: r.x.header.Height, Time: r.x.header.Time,
		Note: note, Key: r.sender.account.Key, Kept: last.Kept,
	}
	if !there || head.Size > last.Size {
		at := chain.AnchoredAt{Root: head.Root, Height: next.Height}
		if err := s.set(chain.AnchorAtKey(id, head.Size), at.Append(nil)); err != nil {
			return err
		}
		next.Kept++
	}
	if next.Kept > chain.MaxAnchors {
		next.Kept--
		if err := dropFirst(s, chain.AnchorAtPrefix(id)); err != nil {
			return err
		}
	}
	return s.set(chain.AnchorKey(id), next.Append(nil))
}

// dropFirst deletes the first record under a prefix.
func dropFirst(s *state, prefix []byte) error {
	var first []byte
	err := each(s, prefix, func(key, _ []byte) (bool, error) {
		first = bytes.Clone(key)
		return false, nil
	})
	if err != nil || first == nil {
		return orFault(err, "nothing stands under %x", prefix)
	}
	return s.delete(first)
}

// maxWitnesses is how many gateways' words an anchor is compared with.
const maxWitnesses = 64

// hearWitnesses tells of gateways that have seen another head of the size that
// is anchored now.
func (r *running) hearWitnesses(head *proof.Checkpoint) error {
	s, log := r.x.state, r.sender.id
	n := 0
	prefix := chain.WitnessPrefix(log)
	return each(s, prefix, func(key, value []byte) (bool, error) {
		w, err := chain.ParseWitnessed(value)
		if err != nil {
			return false, faultf("record %x: %w", key, err)
		}
		n++
		if w.Size != head.Size || w.Root == head.Root || w.Conflict {
			return n < maxWitnesses, nil
		}
		w.Conflict = true
		by := abi.Hash(key[len(prefix):])
		return n < maxWitnesses, errors.Join(s.set(bytes.Clone(key), w.Append(nil)), r.conflict(log, by, &w))
	})
}

// conflict tells that a gateway has seen another head of a log than was anchored.
// It is that gateway's word against the log's: only two signed heads are proof.
func (r *running) conflict(log, by abi.Hash, w *chain.Witnessed) error {
	return r.notify(chain.TopicLogConflict, &chain.Notice{Subject: log, By: &by, Hash: &w.Root, Number: w.Size})
}

// witness notes which head of another gateway's log the sender has seen.
func (r *running) witness(a *chain.Witness) error {
	s := r.x.state
	if !r.sender.has(abi.RoleGateway) {
		return abi.CodeMissingRole
	}
	if a.Account == r.sender.id {
		return abi.CodeBadArgument
	}
	account, ok, err := load(s, chain.AccountKey(a.Account), chain.ParseAccount)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	if account.Roles&abi.RoleGateway == 0 {
		return abi.CodeNotPermitted
	}
	at, anchored, err := load(s, chain.AnchorAtKey(a.Account, a.Size), chain.ParseAnchoredAt)
	if err != nil {
		return err
	}
	w := chain.Witnessed{Size: a.Size, Root: a.Root, Height: r.x.header.Height, Conflict: anchored && at.Root != a.Root}
	if err := s.set(chain.WitnessKey(a.Account, r.sender.id), w.Append(nil)); err != nil || !w.Conflict {
		return err
	}
	return r.conflict(a.Account, r.sender.id, &w)
}

// offence records that two heads of one size were signed by an account's key:
// its present one, or the one that signed its last anchor. A rotation wipes
// nothing away. The first offence stays, another one changes nothing.
func (r *running) offence(a *chain.Offence) error {
	s := r.x.state
	account, ok, err := load(s, chain.AccountKey(a.Account), chain.ParseAccount)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	anchored, _, err := load(s, chain.AnchorKey(a.Account), chain.ParseAnchored)
	if err != nil {
		return err
	}
	var heads [2]proof.Checkpoint
	for i, note := range [][]byte{a.First, a.Second} {
		if heads[i], err = openEither(note, proof.LogOrigin(r.x.header.Chain, a.Account), account.Key, anchored.Key); err != nil {
			return err
		}
	}
	if heads[0].Size != heads[1].Size || heads[0].Root == heads[1].Root {
		return abi.CodeBadProof
	}
	if _, known, err := s.get(chain.OffenceKey(a.Account)); err != nil || known {
		return err
	}
	k := chain.Forked{Size: heads[0].Size, First: heads[0].Root, Second: heads[1].Root, Height: r.x.header.Height, By: r.sender.id}
	if err := s.set(chain.OffenceKey(a.Account), k.Append(nil)); err != nil {
		return err
	}
	return r.notify(chain.TopicLogOffence, &chain.Notice{Subject: a.Account, By: &r.sender.id, Hash: &k.Second, Number: k.Size})
}

// openEither opens a checkpoint that one of two keys signed; the second may be nil.
func openEither(note []byte, origin string, key, earlier []byte) (proof.Checkpoint, error) {
	c, err := proof.OpenCheckpoint(note, origin, key)
	if err == nil || earlier == nil || bytes.Equal(key, earlier) {
		return c, err
	}
	return proof.OpenCheckpoint(note, origin, earlier)
}
