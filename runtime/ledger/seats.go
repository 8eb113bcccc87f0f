package ledger

import (
	"bytes"
	"errors"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Every member of the validator set has an account whose current key is the
// member's and which has the validator role: whoever changes one changes the
// others with it.

// validators is the set as it is now, in this block.
func (x *execution) validators() (chain.ValidatorSet, error) {
	raw, ok, err := x.state.get(chain.ValidatorsKey())
	if err != nil || !ok {
		return nil, errors.Join(err, missing(ok, "validators"))
	}
	for _, k := range x.sets {
		if bytes.Equal(raw, k.encoded) {
			return k.set, nil
		}
	}
	set, err := chain.ParseValidatorSet(raw)
	if err != nil {
		return nil, &fault{err}
	}
	x.sets[1] = knownSet{raw, set}
	return set, nil
}

// knownSet is a validator set with its encoding. A block keeps its parent's and
// the newest, since parsing one checks that each key is a point on the curve.
type knownSet struct {
	encoded []byte
	set     chain.ValidatorSet
}

// changeSet replaces the validator set by what change makes of a copy of it,
// and gives the encoding of the old one.
func (r *running) changeSet(change func(chain.ValidatorSet) (chain.ValidatorSet, error)) (was []byte, err error) {
	old, err := r.x.validators()
	if err != nil {
		return nil, err
	}
	next, err := change(slices.Clone(old))
	if err != nil {
		return nil, err
	}
	if err := checkSet(next); err != nil {
		return nil, err
	}
	last, err := lastSeat(r.x.state, old)
	if err != nil {
		return nil, err
	}
	for i := range next {
		last = max(last, next[i].ID)
	}
	encoded := next.Append(nil)
	r.x.sets[1] = knownSet{encoded, next}
	return old.Append(nil), errors.Join(
		r.x.state.set(chain.ValidatorNumberKey(), cbor.AppendUint(nil, last)),
		r.x.state.set(chain.ValidatorsKey(), encoded))
}

// checkSet refuses a set that is empty, too large, or has a key twice.
func checkSet(set chain.ValidatorSet) error {
	if len(set) == 0 || len(set) > chain.MaxValidators {
		return abi.CodeBadValidatorSet
	}
	for i := range set {
		if id, _ := set.ID(set[i].Key); id != set[i].ID {
			return abi.CodeBadValidatorSet
		}
	}
	return nil
}

// lastSeat is the highest id that a validator ever had. Before the first
// change of the set that is the highest of the genesis.
func lastSeat(r reader, set chain.ValidatorSet) (uint64, error) {
	last, _, err := load(r, chain.ValidatorNumberKey(), parseUint)
	for i := range set {
		last = max(last, set[i].ID)
	}
	return last, err
}

// nextSeat gives an id that no validator ever had.
func (x *execution) nextSeat() (uint64, error) {
	set, err := x.validators()
	if err != nil {
		return 0, err
	}
	last, err := lastSeat(x.state, set)
	return last + 1, err
}

// possession is what a new key says of itself in a statement whose signature
// was checked when it was proposed: the account that it is to be the key of.
func possession(statement []byte) (key []byte, account abi.Hash, err error) {
	s, err := chain.ParseStatement(statement)
	if err != nil {
		return nil, account, err
	}
	account, err = chain.ParseRotationBody(s.Body)
	return s.Key, account, err
}

// votingKey is possession for a key that is to vote.
func votingKey(statement []byte) (key []byte, account abi.Hash, err error) {
	key, account, err = possession(statement)
	if err == nil && (len(key) != chain.Ed25519KeySize || !chain.ValidKey(key)) {
		err = abi.CodeBadKey
	}
	return key, account, err
}

// seat adds the validator of a statement. Its account gets the validator role
// and the others given here, and is made if it is not there.
func (r *running) seat(set chain.ValidatorSet, statement []byte, roles abi.Role) (chain.ValidatorSet, error) {
	key, account, err := votingKey(statement)
	if err != nil {
		return nil, err
	}
	if _, sits := set.ID(key); sits {
		return nil, abi.CodeBadValidatorSet
	}
	if err := r.enable(key, account, roles|abi.RoleValidator); err != nil {
		return nil, err
	}
	id, err := r.x.nextSeat()
	return append(set, chain.Validator{ID: id, Key: key}), err
}

// enable gives the account of a key more roles. A key without an account must
// have named the one that it begins; a device never votes.
func (r *running) enable(key []byte, account abi.Hash, roles abi.Role) error {
	s := r.x.state
	id, known, err := accountOf(s, key)
	if !known {
		id = chain.AccountID(key)
	}
	switch {
	case err != nil:
		return err
	case id != account:
		return abi.CodeNotPermitted
	case !known:
		return newAccount(s, key, &chain.Account{Key: key, Roles: roles, Created: r.x.header.Height})
	}
	a, ok, err := load(s, chain.AccountKey(id), chain.ParseAccount)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "account of a key"))
	}
	if a.Owner != nil {
		return abi.CodeNotPermitted
	}
	a.Roles |= roles
	return s.set(chain.AccountKey(id), a.Append(nil))
}

// unseat removes a validator, and the role from its account.
func (r *running) unseat(set chain.ValidatorSet, id uint64) (chain.ValidatorSet, error) {
	key, ok := set.Key(id)
	if !ok {
		return nil, abi.CodeUnknownValidator
	}
	account, known, err := accountOf(r.x.state, key)
	if err != nil {
		return nil, err
	}
	if known {
		a, ok, err := load(r.x.state, chain.AccountKey(account), chain.ParseAccount)
		if err != nil || !ok {
			return nil, errors.Join(err, missing(ok, "account of a validator"))
		}
		a.Roles &^= abi.RoleValidator
		if err := r.x.state.set(chain.AccountKey(account), a.Append(nil)); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(set, func(v chain.Validator) bool { return v.ID == id }), nil
}

// swap gives a validator's place to another account's key, under an id of its
// own: who verifies old votes by id must never find a new key.
func (r *running) swap(set chain.ValidatorSet, a *chain.ReplaceValidator) (chain.ValidatorSet, error) {
	key, _, err := votingKey(a.Statement)
	if err != nil {
		return nil, err
	}
	if _, sits := set.ID(key); sits {
		return nil, abi.CodeBadValidatorSet
	}
	if set, err = r.unseat(set, a.ID); err != nil {
		return nil, err
	}
	return r.seat(set, a.Statement, 0)
}

// reseat gives a validator another key, and its account with it.
func (r *running) reseat(set chain.ValidatorSet, a *chain.ReplaceValidator) (chain.ValidatorSet, error) {
	i := slices.IndexFunc(set, func(v chain.Validator) bool { return v.ID == a.ID })
	if i < 0 {
		return nil, abi.CodeUnknownValidator
	}
	key, account, err := votingKey(a.Statement)
	if err != nil {
		return nil, err
	}
	id, known, err := accountOf(r.x.state, set[i].Key)
	switch {
	case err != nil:
		return nil, err
	case !known || id != account:
		return nil, abi.CodeNotPermitted
	}
	if _, err := r.x.rekey(account, key, nil); err != nil {
		return nil, err
	}
	set[i].Key = key
	return set, nil
}
