package ledger

import (
	"bytes"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// sender is the account behind a key, with its device record if it is one.
type sender struct {
	id      abi.Hash
	account chain.Account
	device  []byte // encoded chain.Device, nil for other accounts
	status  abi.Status
}

func (s *sender) has(role abi.Role) bool { return s.account.Roles&role != 0 }

// findSender finds the account of a key. It refuses an unknown key, one that
// was replaced, and a device that is not active.
func findSender(r reader, key []byte) (s sender, err error) {
	id, ok, err := accountOf(r, key)
	if err != nil {
		return s, err
	}
	if !ok {
		return s, unknownKey(r, key)
	}
	if s, ok, err = readSender(r, id); err != nil {
		return s, err
	}
	if !ok {
		return s, faultf("key %x belongs to account %x, which is not there", key, id)
	}
	if s.status != 0 && s.status != abi.StatusActive {
		return s, abi.CodeDeviceInactive
	}
	return s, nil
}

// unknownKey tells why a key is no account's: an account that began with it
// has another by now, or there is none.
func unknownKey(r reader, key []byte) error {
	_, replaced, err := r.get(chain.AccountKey(chain.AccountID(key)))
	switch {
	case err != nil:
		return err
	case replaced:
		return abi.CodeKeyNotCurrent
	}
	return abi.CodeUnknownAccount
}

// accountOf finds the account whose current key this is.
func accountOf(r reader, key []byte) (id abi.Hash, ok bool, err error) {
	raw, ok, err := r.get(chain.KeyIndexKey(key))
	if err != nil || !ok {
		return id, false, err
	}
	if len(raw) != len(id) {
		return id, false, faultf("key index of %x holds %d bytes", key, len(raw))
	}
	return abi.Hash(raw), true, nil
}

func readSender(r reader, id abi.Hash) (s sender, ok bool, err error) {
	s.id = id
	if s.account, ok, err = load(r, chain.AccountKey(id), chain.ParseAccount); err != nil || !ok {
		return s, ok, err
	}
	if s.account.Owner == nil {
		return s, true, nil
	}
	raw, ok, err := r.get(chain.DeviceKey(id))
	if err != nil {
		return s, false, err
	}
	d, err := chain.ParseDevice(raw)
	if err != nil || !ok {
		return s, false, faultf("device %x: present %v: %w", id, ok, err)
	}
	s.device, s.status = raw, d.Status
	return s, true, nil
}

// createAccount writes the account of a grant. It refuses keys that are, or
// once were, another account's.
func createAccount(s *state, a *chain.Grant, height uint64) error {
	return newAccount(s, a.Key, &chain.Account{
		Key: a.Key, Roles: a.Roles, X25519: a.X25519,
		GasQuota: a.GasQuota, StorageQuota: a.StorageQuota, Created: height,
	})
}

func newAccount(s *state, key []byte, a *chain.Account) error {
	id := chain.AccountID(key)
	if free, err := keyIsFree(s, key); err != nil || !free {
		return refuseUnless(free, abi.CodeAccountExists, err)
	}
	if err := s.set(chain.AccountKey(id), a.Append(nil)); err != nil {
		return err
	}
	return s.set(chain.KeyIndexKey(key), id[:])
}

// keyIsFree says that no account has the key or began with it.
func keyIsFree(r reader, key []byte) (bool, error) {
	_, current, err := accountOf(r, key)
	if err != nil || current {
		return false, err
	}
	_, first, err := r.get(chain.AccountKey(chain.AccountID(key)))
	return !first, err
}

// refuseUnless is err, else the code unless ok.
func refuseUnless(ok bool, code abi.Code, err error) error {
	if err != nil || ok {
		return err
	}
	return code
}

// grant creates an account, or sets an account's roles and quotas. Nobody
// becomes or ceases to be a validator by it. No operator takes the role from
// itself, so one is always left: whoever takes it from another keeps its own.
func (r *running) grant(a *chain.Grant) error {
	if !r.sender.has(abi.RoleOperator) {
		return abi.CodeMissingRole
	}
	if bytes.Equal(a.Key, r.sender.account.Key) && a.Roles&abi.RoleOperator == 0 {
		return abi.CodeNotPermitted
	}
	if err := r.keepsQuotas(a); err != nil {
		return err
	}
	if err := r.setGrant(a); err != nil {
		return err
	}
	id, _, err := accountOf(r.x.state, a.Key)
	if err != nil {
		return err
	}
	return r.notify(chain.TopicGovernance, &chain.Notice{Subject: id, Level: uint8(chain.ProposeGrant), By: &r.sender.id})
}

// keepsQuotas refuses a grant of other quotas to a validator by one operator,
// who could keep all of them from voting that way.
func (r *running) keepsQuotas(a *chain.Grant) error {
	set, err := r.x.validators()
	if err != nil {
		return err
	}
	if _, sits := set.ID(a.Key); !sits {
		return nil
	}
	id, _, err := accountOf(r.x.state, a.Key)
	if err != nil {
		return err
	}
	now, _, err := load(r.x.state, chain.AccountKey(id), chain.ParseAccount)
	return refuseUnless(now.GasQuota == a.GasQuota && now.StorageQuota == a.StorageQuota, abi.CodeNeedsApproval, err)
}

// setGrant does what a grant says, but for the validator role, which goes with
// a place in the set.
func (r *running) setGrant(a *chain.Grant) error {
	s := r.x.state
	id, known, err := accountOf(s, a.Key)
	if err != nil {
		return err
	}
	if !known {
		if a.Roles&abi.RoleValidator != 0 {
			return abi.CodeNotPermitted
		}
		return createAccount(s, a, r.x.header.Height)
	}
	account, ok, err := load(s, chain.AccountKey(id), chain.ParseAccount)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	if (a.Roles^account.Roles)&abi.RoleValidator != 0 {
		return abi.CodeNotPermitted
	}
	account.Roles, account.GasQuota, account.StorageQuota = a.Roles, a.GasQuota, a.StorageQuota
	if a.X25519 != nil {
		account.X25519 = a.X25519
	}
	return s.set(chain.AccountKey(id), account.Append(nil))
}

// rotate replaces the sender's key by the one that signed the statement. A key
// that votes is the validators' to change.
func (r *running) rotate(a *chain.Rotate) error {
	x := r.x
	statement, err := chain.OpenStatement(a.Statement, x.header.Chain, chain.StatementRotate, x.header.Time)
	if err != nil {
		return err
	}
	account, err := chain.ParseRotationBody(statement.Body)
	if err != nil {
		return err
	}
	if account != r.sender.id {
		return abi.CodeNotPermitted
	}
	if err := x.refuseSeated(account); err != nil {
		return err
	}
	_, err = x.rekey(account, statement.Key, a.X25519)
	return err
}
