package ledger

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// deviceStatus sets a device's status: its owner may, and operators and
// authorities. Whoever releases a suspended or quarantined device says why.
func (r *running) deviceStatus(a *chain.DeviceStatus) error {
	d, err := r.x.readDevice(a.Device)
	if err != nil {
		return err
	}
	isOwner := d.Owner == r.sender.id
	if !isOwner && !r.sender.has(abi.RoleOperator|abi.RoleAuthority) {
		return abi.CodeNotPermitted
	}
	if !mayLeave(d.Status, isOwner) {
		return abi.CodeBadStatus
	}
	if r.x.header.Protocol >= versionDevices {
		if a.Reason == "" && releases(d.Status, a.Status) {
			return abi.CodeReasonRequired
		}
		if err := r.followTheft(a, &d, isOwner || r.sender.has(abi.RoleAuthority)); err != nil {
			return err
		}
	}
	return r.setStatus(a.Device, &d, a.Status, a.Reason, &r.sender.id)
}

// followTheft puts a device that is declared stolen on the blacklist, and takes
// one that is found off it. An operator's word sets the status alone.
func (r *running) followTheft(a *chain.DeviceStatus, d *chain.Device, lists bool) error {
	was, is := d.Status == abi.StatusStolen, a.Status == abi.StatusStolen
	stolen, found := !was && is && lists, was && !is && a.Status != abi.StatusRetired
	if !stolen && !found {
		return nil
	}
	if err := r.spend(gasListed); err != nil {
		return err
	}
	if stolen {
		return r.listStolen(d, a.Reason, r.sender.id)
	}
	return r.unlistFound(d, a.Reason)
}

// steal declares a device stolen for its owner, whose guardians agreed to it.
func (r *running) steal(a *chain.DeclareStolen) (was []byte, err error) {
	d, err := r.x.readDevice(a.Device)
	if err != nil {
		return nil, err
	}
	if !mayLeave(d.Status, true) || d.Status == abi.StatusStolen {
		return nil, abi.CodeBadStatus
	}
	was = d.Append(nil)
	if err := r.listStolen(&d, a.Reason, d.Owner); err != nil {
		return nil, err
	}
	owner := d.Owner
	return was, r.setStatus(a.Device, &d, abi.StatusStolen, a.Reason, &owner)
}

// mayLeave says whether a device's status may be changed: retired is final,
// and only the owner declares a stolen device found.
func mayLeave(s abi.Status, isOwner bool) bool {
	return s != abi.StatusRetired && (s != abi.StatusStolen || isOwner)
}

// releases says whether a change lets a suspended or quarantined device do more
// than before: the statuses stand in the order of what they forbid.
func releases(from, to abi.Status) bool {
	return (from == abi.StatusSuspended || from == abi.StatusQuarantined) && to < from
}

// setStatus writes a device's status. by is nil where a contract sets it. Verdicts
// and reports from before a release count no more: else one further word of one
// gateway would bring the quarantine back.
func (r *running) setStatus(id abi.Hash, d *chain.Device, status abi.Status, reason string, by *abi.Hash) error {
	x := r.x
	if x.header.Protocol >= versionDevices && status < d.Status {
		if err := x.state.delete(chain.VerdictsKey(id)); err != nil {
			return err
		}
		if err := x.passOver(id, d); err != nil {
			return err
		}
	}
	d.Status, d.Reason, d.Since, d.SetBy = status, reason, x.header.Height, by
	if err := x.state.set(chain.DeviceKey(id), d.Append(nil)); err != nil {
		return err
	}
	return r.notify(chain.TopicDeviceStatus, &chain.Notice{Subject: id, Level: uint8(status), Reason: reason, By: by})
}

// setStatusBy sets a device's status for a contract. A contract reaches the
// devices of its own owner, and those that it is bound to, and declares no
// stolen one found.
func (r *running) setStatusBy(contract string, id abi.Hash, status abi.Status, reason []byte) error {
	if len(reason) > chain.MaxText || !utf8.Valid(reason) || bytes.ContainsFunc(reason, unicode.IsControl) {
		return abi.CodeBadArgument
	}
	d, err := r.x.readDevice(id)
	if err != nil {
		return err
	}
	c, ok, err := load(r.x.state, chain.ContractKey(contract), chain.ParseContract)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownContract, err)
	}
	isOwners := c.Owner == d.Owner
	if r.x.header.Protocol < versionDevices {
		if !isOwners {
			return abi.CodeNotPermitted
		}
		if !mayLeave(d.Status, false) {
			return abi.CodeBadStatus
		}
		return r.setStatus(id, &d, status, string(reason), nil)
	}
	if code := contractMay(&d, contract, isOwners, status); code != abi.OK {
		return code
	}
	if status == d.Status {
		return nil
	}
	return r.setStatus(id, &d, status, string(reason), nil)
}

// contractMay says whether a contract may set a status: never a laxer one, and
// one that is only bound to the device no graver one than a quarantine.
func contractMay(d *chain.Device, contract string, isOwners bool, status abi.Status) abi.Code {
	switch {
	case !isOwners && !d.Judges(contract):
		return abi.CodeNotPermitted
	case !mayLeave(d.Status, false):
		return abi.CodeBadStatus
	case status < d.Status, !isOwners && status > abi.StatusQuarantined:
		return abi.CodeNotPermitted
	}
	return abi.OK
}
