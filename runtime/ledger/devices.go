package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// enrol makes the device that signed the statement an account of its own
// under the sender. A serial stays taken for ever: also a retired device's,
// or a stolen one could come back under another key.
func (r *running) enrol(a *chain.Enrol) error {
	if !r.sender.has(abi.RoleOwner) {
		return abi.CodeMissingRole
	}
	x := r.x
	statement, err := chain.OpenStatement(a.Statement, x.header.Chain, chain.StatementEnrol, x.header.Time)
	if err != nil {
		return err
	}
	e, err := chain.ParseEnrolment(statement.Body)
	if err != nil {
		return err
	}
	if e.Owner != r.sender.id {
		return abi.CodeNotPermitted
	}
	id := chain.AccountID(statement.Key)
	if _, enrolled, err := x.state.get(chain.DeviceKey(id)); err != nil || enrolled {
		return refuseUnless(!enrolled, abi.CodeDeviceExists, err)
	}
	height := x.header.Height
	d := chain.Device{
		Owner: e.Owner, Manufacturer: e.Manufacturer, Model: e.Model, Serial: e.Serial, Labels: a.Labels,
		Status: abi.StatusActive, Since: height, SetBy: &r.sender.id, Enrolled: height,
	}
	if err := r.vet(id, &d, a.Origin); err != nil {
		return err
	}
	return r.addDevice(id, &d, &chain.Account{Key: statement.Key, X25519: e.X25519, Owner: &e.Owner, Created: height})
}

// vet checks the proof of origin of a new device, if it has one, and refuses
// what is on the blacklist.
func (r *running) vet(id abi.Hash, d *chain.Device, origin []byte) error {
	if r.x.header.Protocol < versionDevices {
		return nil
	}
	if origin != nil {
		if err := r.spend(gasOrigin); err != nil {
			return err
		}
		if err := r.x.vouched(id, d, origin); err != nil {
			return err
		}
	}
	return r.x.refuseListed(d)
}

// addDevice writes a new device, its account and its serial.
func (r *running) addDevice(id abi.Hash, d *chain.Device, a *chain.Account) error {
	s := r.x.state
	serial := chain.SerialKey(d.Manufacturer, d.Serial)
	if _, taken, err := s.get(serial); err != nil || taken {
		return refuseUnless(!taken, abi.CodeSerialTaken, err)
	}
	if err := newAccount(s, a.Key, a); err != nil {
		return err
	}
	if err := s.set(serial, id[:]); err != nil {
		return err
	}
	if err := s.set(chain.DeviceKey(id), d.Append(nil)); err != nil {
		return err
	}
	n := chain.Notice{Subject: id, Reason: clip(d.Manufacturer + " " + d.Serial), By: &r.sender.id}
	if d.Proven != 0 {
		n.Level = 1
	}
	return r.notify(chain.TopicDeviceEnrolled, &n)
}

// readDevice reads the record of a device that must be enrolled.
func (x *execution) readDevice(id abi.Hash) (chain.Device, error) {
	d, ok, err := load(x.state, chain.DeviceKey(id), chain.ParseDevice)
	return d, refuseUnless(ok, abi.CodeUnknownDevice, err)
}

// transfer gives a device to another owner, who signed for it. Its status stays,
// so that no quarantine is sold away; what the giver said of it, and the
// contracts that the giver let judge it, do not.
func (r *running) transfer(a *chain.Transfer) error {
	x := r.x
	d, err := x.readDevice(a.Device)
	switch {
	case err != nil:
		return err
	case d.Owner != r.sender.id:
		return abi.CodeNotPermitted
	case d.Status == abi.StatusStolen || d.Status == abi.StatusRetired:
		return abi.CodeDeviceInactive
	}
	statement, err := chain.OpenStatement(a.Statement, x.header.Chain, chain.StatementTransfer, x.header.Time)
	if err != nil {
		return err
	}
	accepted, err := chain.ParseAcceptance(statement.Body)
	if err != nil {
		return err
	}
	if accepted != (chain.Acceptance{Device: a.Device, Owner: d.Owner, Since: d.Transferred}) {
		return abi.CodeNotPermitted
	}
	taker, err := x.takerWith(statement.Key)
	if err != nil {
		return err
	}
	if taker == d.Owner {
		return abi.CodeBadArgument
	}
	return r.handOver(a.Device, &d, taker)
}

// takerWith finds the account of a key, and that it may own devices.
func (x *execution) takerWith(key []byte) (abi.Hash, error) {
	id, ok, err := accountOf(x.state, key)
	if err != nil || !ok {
		return id, refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	account, ok, err := load(x.state, chain.AccountKey(id), chain.ParseAccount)
	if err != nil || !ok {
		return id, refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	return id, refuseUnless(account.Owner == nil && account.Roles&abi.RoleOwner != 0, abi.CodeMissingRole, nil)
}

// handOver changes the owner in the device's record and in its account.
func (r *running) handOver(id abi.Hash, d *chain.Device, taker abi.Hash) error {
	s := r.x.state
	account, ok, err := load(s, chain.AccountKey(id), chain.ParseAccount)
	if err != nil || !ok {
		return orFault(err, "device %x has no account", id)
	}
	if err := r.x.unbind(id, d); err != nil {
		return err
	}
	if err := s.delete(chain.VerdictsKey(id)); err != nil {
		return err
	}
	account.Owner = &taker
	d.Owner, d.Labels, d.Transferred = taker, nil, r.x.header.Height
	if err := s.set(chain.AccountKey(id), account.Append(nil)); err != nil {
		return err
	}
	if err := s.set(chain.DeviceKey(id), d.Append(nil)); err != nil {
		return err
	}
	return r.notify(chain.TopicDeviceTransferred, &chain.Notice{Subject: id, By: &r.sender.id, Hash: &taker})
}

// bindDevice sets which contracts judge a device. What it signed before they
// were bound is no evidence for them.
func (r *running) bindDevice(a *chain.BindDevice) error {
	x := r.x
	d, err := x.readDevice(a.Device)
	switch {
	case err != nil:
		return err
	case d.Owner != r.sender.id:
		return abi.CodeNotPermitted
	case d.Status == abi.StatusRetired:
		return abi.CodeDeviceInactive
	}
	for _, name := range a.Contracts {
		c, ok, err := load(x.state, chain.ContractKey(name), chain.ParseContract)
		if err != nil || !ok {
			return refuseUnless(ok, abi.CodeUnknownContract, err)
		}
		if c.Status == chain.ContractFailed {
			return abi.CodeContractFailed
		}
	}
	if err := x.unbind(a.Device, &d); err != nil {
		return err
	}
	d.Contracts = a.Contracts
	if err := x.passOver(a.Device, &d); err != nil {
		return err
	}
	if err := x.state.set(chain.DeviceKey(a.Device), d.Append(nil)); err != nil {
		return err
	}
	n := chain.Notice{Subject: a.Device, Level: uint8(len(a.Contracts)), By: &r.sender.id}
	for i, name := range a.Contracts {
		if i > 0 {
			n.Reason += " "
		}
		n.Reason += name
	}
	n.Reason = clip(n.Reason)
	return r.notify(chain.TopicDeviceBound, &n)
}

// unbind takes all contracts from a device's record, with what they judged last.
func (x *execution) unbind(id abi.Hash, d *chain.Device) error {
	for _, name := range d.Contracts {
		if err := x.state.delete(chain.EvidenceKey(id, name)); err != nil {
			return err
		}
	}
	d.Contracts = nil
	return nil
}
