package ledger

import (
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// nameGuardians sets who may recover the sender's account, or that nobody may.
// A recovery that waits goes on only if enough of its guardians are among the
// new ones.
func (r *running) nameGuardians(a *chain.Guardians) error {
	s := r.x.state
	if r.sender.account.Owner != nil {
		return abi.CodeNotPermitted // a device's owner enrols another key
	}
	if len(a.Accounts) == 0 {
		return s.delete(chain.GuardiansKey(r.sender.id))
	}
	for _, id := range a.Accounts {
		if id == r.sender.id {
			return abi.CodeBadArgument
		}
		if _, there, err := s.get(chain.AccountKey(id)); err != nil || !there {
			return refuseUnless(there, abi.CodeUnknownAccount, err)
		}
	}
	return s.set(chain.GuardiansKey(r.sender.id), a.Append(nil))
}

// recover gives an account the key that its guardians agreed to. A validator's
// key is the validators' to change.
func (r *running) recover(a *chain.Recover) (was []byte, err error) {
	key, account, err := possession(a.Statement)
	switch {
	case err != nil:
		return nil, err
	case account != a.Account:
		return nil, abi.CodeNotPermitted
	}
	if err := r.x.refuseSeated(account); err != nil {
		return nil, err
	}
	return r.x.rekey(account, key, nil)
}

// refuseSeated refuses an account whose key votes.
func (x *execution) refuseSeated(account abi.Hash) error {
	record, ok, err := load(x.state, chain.AccountKey(account), chain.ParseAccount)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	set, err := x.validators()
	_, sits := set.ID(record.Key)
	return refuseUnless(!sits, abi.CodeNeedsApproval, err)
}

// rekey replaces an account's key, and its X25519 key if one is given. It
// gives the account's record as it was.
func (x *execution) rekey(account abi.Hash, key, x25519 []byte) (was []byte, err error) {
	s := x.state
	if free, err := keyIsFree(s, key); err != nil || !free {
		return nil, refuseUnless(free, abi.CodeAccountExists, err)
	}
	record, ok, err := load(s, chain.AccountKey(account), chain.ParseAccount)
	if err != nil || !ok {
		return nil, refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	was = record.Append(nil)
	old := record.Key
	record.Key = key
	if x25519 != nil {
		record.X25519 = x25519
	}
	return was, errors.Join(
		s.delete(chain.KeyIndexKey(old)),
		s.set(chain.KeyIndexKey(key), account[:]),
		s.set(chain.AccountKey(account), record.Append(nil)))
}
