package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// registerManufacturer sets who vouches for a manufacturer's serials. An
// operator says who, the account itself with which keys.
func (r *running) registerManufacturer(a *chain.RegisterManufacturer) error {
	s := r.x.state
	if !r.sender.has(abi.RoleOperator) {
		m, known, err := load(s, chain.ManufacturerKey(a.Name), chain.ParseManufacturer)
		if err != nil {
			return err
		}
		if !known {
			return abi.CodeMissingRole
		}
		if m.Account != r.sender.id || a.Account != r.sender.id {
			return abi.CodeNotPermitted
		}
	}
	account, ok, err := load(s, chain.AccountKey(a.Account), chain.ParseAccount)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	if account.Roles&abi.RoleManufacturer == 0 {
		return abi.CodeMissingRole
	}
	m := chain.Manufacturer{Account: a.Account, Keys: a.Keys, Height: r.x.header.Height}
	return s.set(chain.ManufacturerKey(a.Name), m.Append(nil))
}

// manufacturer reads who vouches for a manufacturer's serials, as long as the
// account has the role.
func (x *execution) manufacturer(name string) (m chain.Manufacturer, ok bool, err error) {
	m, ok, err = load(x.state, chain.ManufacturerKey(name), chain.ParseManufacturer)
	if err != nil || !ok {
		return m, false, err
	}
	account, ok, err := load(x.state, chain.AccountKey(m.Account), chain.ParseAccount)
	return m, ok && account.Roles&abi.RoleManufacturer != 0, err
}

// proveOrigin adds the proof of origin to a device that is enrolled.
func (r *running) proveOrigin(a *chain.ProveOrigin) error {
	d, err := r.x.readDevice(a.Device)
	if err != nil {
		return err
	}
	if d.Proven != 0 {
		return abi.CodeBadOrigin
	}
	if err := r.x.vouched(a.Device, &d, a.Origin); err != nil {
		return err
	}
	if err := r.x.refuseListed(&d); err != nil {
		return err
	}
	if err := r.x.state.set(chain.DeviceKey(a.Device), d.Append(nil)); err != nil {
		return err
	}
	return r.notify(chain.TopicDeviceProven, &chain.Notice{Subject: a.Device, By: &r.sender.id})
}

// vouched checks a manufacturer's signed word for a device and notes it in the
// device's record, which the caller writes. The word is for the device's first
// key, which its id is the hash of: no other device can show it.
func (x *execution) vouched(id abi.Hash, d *chain.Device, origin []byte) error {
	o, err := chain.OpenOrigin(origin)
	if err != nil {
		return err
	}
	if chain.AccountID(o.Key) != id || o.Manufacturer != d.Manufacturer || o.Model != d.Model || o.Serial != d.Serial {
		return abi.CodeBadOrigin
	}
	m, ok, err := x.manufacturer(o.Manufacturer)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownManufacturer, err)
	}
	if !m.Vouches(o.Signer) {
		return abi.CodeBadOrigin
	}
	d.Proven = x.header.Height
	if o.Hardware != nil {
		h := chain.HardwareHash(o.Manufacturer, o.Hardware)
		d.Hardware = &h
	}
	return nil
}
