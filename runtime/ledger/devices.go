package ledger

import (
	"bytes"
	"unicode"
	"unicode/utf8"

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
	serial := chain.SerialKey(e.Manufacturer, e.Serial)
	if _, taken, err := x.state.get(serial); err != nil || taken {
		return refuseUnless(!taken, abi.CodeSerialTaken, err)
	}
	height := x.header.Height
	err = newAccount(x.state, statement.Key, &chain.Account{Key: statement.Key, X25519: e.X25519, Owner: &e.Owner, Created: height})
	if err != nil {
		return err
	}
	if err := x.state.set(serial, id[:]); err != nil {
		return err
	}
	d := chain.Device{
		Owner: e.Owner, Manufacturer: e.Manufacturer, Model: e.Model, Serial: e.Serial, Labels: a.Labels,
		Status: abi.StatusActive, Since: height, SetBy: &r.sender.id, Enrolled: height,
	}
	return x.state.set(chain.DeviceKey(id), d.Append(nil))
}

// deviceStatus sets a device's status: its owner may, and operators and
// authorities.
func (r *running) deviceStatus(a *chain.DeviceStatus) error {
	d, ok, err := load(r.x.state, chain.DeviceKey(a.Device), chain.ParseDevice)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownDevice, err)
	}
	isOwner := d.Owner == r.sender.id
	if !isOwner && !r.sender.has(abi.RoleOperator|abi.RoleAuthority) {
		return abi.CodeNotPermitted
	}
	if !mayLeave(d.Status, isOwner) {
		return abi.CodeBadStatus
	}
	d.SetBy = &r.sender.id
	return r.x.setStatus(a.Device, &d, a.Status, a.Reason)
}

// mayLeave says whether a device's status may be changed: retired is final,
// and only the owner declares a stolen device found.
func mayLeave(s abi.Status, isOwner bool) bool {
	return s != abi.StatusRetired && (s != abi.StatusStolen || isOwner)
}

func (x *execution) setStatus(id abi.Hash, d *chain.Device, status abi.Status, reason string) error {
	d.Status, d.Reason, d.Since = status, reason, x.header.Height
	return x.state.set(chain.DeviceKey(id), d.Append(nil))
}

// setStatusBy sets a device's status for a contract. A contract reaches the
// devices of its own owner, and declares no stolen one found.
func (x *execution) setStatusBy(contract string, id abi.Hash, status abi.Status, reason []byte) error {
	if len(reason) > chain.MaxText || !utf8.Valid(reason) || bytes.ContainsFunc(reason, unicode.IsControl) {
		return abi.CodeBadArgument
	}
	d, ok, err := load(x.state, chain.DeviceKey(id), chain.ParseDevice)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownDevice, err)
	}
	c, ok, err := load(x.state, chain.ContractKey(contract), chain.ParseContract)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownContract, err)
	}
	if c.Owner != d.Owner {
		return abi.CodeNotPermitted
	}
	if !mayLeave(d.Status, false) {
		return abi.CodeBadStatus
	}
	d.SetBy = nil
	return x.setStatus(id, &d, status, string(reason))
}
