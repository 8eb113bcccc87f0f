package ledger

import (
	"crypto/sha256"
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// upgrade gives the sender's contract another code. The code that it has
// answers until the new one is activated by a timer; until then there is no
// second upgrade. The result is the new version's number (CBOR uint).
func (r *running) upgrade(a *chain.Upgrade) error {
	if r.x.params.DeployApprovals > 0 {
		return abi.CodeNeedsApproval
	}
	return r.replace(a)
}

// upgradable refuses an upgrade that the sender may not make.
func (r *running) upgradable(a *chain.Upgrade) (c chain.Contract, err error) {
	c, ok, err := load(r.x.state, chain.ContractKey(a.Name), chain.ParseContract)
	switch {
	case err != nil || !ok:
		return c, refuseUnless(ok, abi.CodeUnknownContract, err)
	case c.Owner != r.sender.id:
		return c, abi.CodeNotPermitted
	case !r.sender.has(abi.RoleDeveloper):
		return c, abi.CodeMissingRole
	case c.Status != chain.ContractActive:
		return c, standing(c.Status)
	case c.Pending != 0:
		return c, abi.CodeUpgradePending
	case len(a.Migrate) > abi.MaxValue:
		return c, abi.CodeTooLarge
	}
	return c, nil
}

// replace is an upgrade that the chain's parameters or the validators allow.
func (r *running) replace(a *chain.Upgrade) error {
	x := r.x
	key := chain.ContractKey(a.Name)
	c, err := r.upgradable(a)
	if err != nil {
		return err
	}
	if err := r.needCode(a.Code); err != nil {
		return err
	}
	due, err := r.addVersion(a.Name, &c, a.Code, a.Migrate, a.Note)
	if err != nil {
		return err
	}
	c.Pending = c.Versions
	if err := x.state.set(key, c.Append(nil)); err != nil {
		return err
	}
	r.output = cbor.AppendUint(nil, c.Pending)
	_, err = x.addTimer(due, &chain.Timer{Kind: chain.TimerUpgrade, Contract: a.Name, Message: a.Migrate, Account: r.sender.id})
	return err
}

// needCode makes sure that a code is on the ledger, completing the sender's
// upload of it if need be, and has it compiled once the operation is settled.
func (r *running) needCode(code abi.Hash) error {
	_, there, err := r.x.state.get(chain.CodeKey(code))
	if err == nil && !there {
		err = r.completeUpload(code)
	}
	r.deployed = &code
	return err
}

// addVersion numbers and records the next version of a contract, and gives its
// activation time. The caller writes c.
func (r *running) addVersion(name string, c *chain.Contract, code abi.Hash, msg []byte, note string) (due int64, err error) {
	x := r.x
	c.Versions++
	v := chain.ContractVersion{
		Code: code, Account: r.sender.id, Time: x.header.Time, Height: x.header.Height,
		Activation: max(x.header.Time+x.params.ActivationDelay, x.header.Time+1),
		Status:     chain.VersionPending, Note: note,
	}
	if len(msg) > 0 {
		hash := abi.Hash(sha256.Sum256(msg))
		v.Message = &hash
	}
	return v.Activation, x.state.set(chain.VersionKey(name, c.Versions), v.Append(nil))
}

// decideVersion writes what became of a version.
func (x *execution) decideVersion(name string, number uint64, status chain.VersionStatus, o *chain.Outcome) error {
	key := chain.VersionKey(name, number)
	v, ok, err := load(x.state, key, chain.ParseContractVersion)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "version of a contract"))
	}
	v.Status = status
	if status != chain.VersionSuperseded {
		v.Decided, v.Failure, v.FailureCode = x.header.Height, o.Code, o.Abort
	}
	return x.state.setFree(key, v.Append(nil))
}

// activateUpgrade runs the pending version's migrate in the contract's state
// and makes the version the one that answers. If migrate fails, all that it
// did is undone and the contract goes on with the code that it has. A code
// without migrate is activated if it was given no message.
func (x *execution) activateUpgrade(r *running, t *chain.Timer, o *chain.Outcome) error {
	key := chain.ContractKey(t.Contract)
	c, ok, err := load(x.state, key, chain.ParseContract)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "contract to be upgraded"))
	}
	v, ok, err := load(x.state, chain.VersionKey(t.Contract, c.Pending), chain.ParseContractVersion)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "version to be activated"))
	}
	number, replaced := c.Pending, c.Version
	before := x.state.mark()
	// What migrate causes, a timer it schedules say, is to find the new code.
	c.Code, c.Version = v.Code, number
	if err := x.state.setFree(key, c.Append(nil)); err != nil {
		return err
	}
	if err := x.settle(r, before, x.begun(r, abi.EntryMigrate, t, &c), o); err != nil {
		return err
	}
	if c, _, err = load(x.state, key, chain.ParseContract); err != nil {
		return err
	}
	c.Pending = 0
	if o.Code != abi.OK {
		return errors.Join(
			x.state.setFree(key, c.Append(nil)),
			x.decideVersion(t.Contract, number, chain.VersionFailed, o))
	}
	c.Activation, c.Height, c.Note = v.Activation, v.Height, v.Note
	return errors.Join(
		x.state.setFree(key, c.Append(nil)),
		x.decideVersion(t.Contract, number, chain.VersionActive, o),
		x.decideVersion(t.Contract, replaced, chain.VersionSuperseded, o))
}

// begun runs init or migrate, told the owner as its caller, for a timer that
// activates. Without that entry point there is nothing to run, and nothing to
// be told.
func (x *execution) begun(r *running, entry abi.Entry, t *chain.Timer, c *chain.Contract) error {
	owner, ok, err := load(x.state, chain.AccountKey(c.Owner), chain.ParseAccount)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "owner of a contract"))
	}
	if err := r.spendTimer(); err != nil {
		return err
	}
	err = r.enter(entry, t.Contract, c, &abi.Input{Caller: &c.Owner, Roles: owner.Roles, Message: t.Message})
	if err == error(abi.CodeNoEntryPoint) && len(t.Message) == 0 {
		return nil
	}
	return err
}
