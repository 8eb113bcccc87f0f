package ledger

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// alert counts attacks on the sender, a gateway.
func (r *running) alert(a *chain.Alert) error {
	if !r.sender.has(abi.RoleGateway) {
		return abi.CodeMissingRole
	}
	if a.Device != nil {
		if _, err := r.x.readDevice(*a.Device); err != nil {
			return err
		}
	}
	s, key := r.x.state, chain.AlertKey(r.sender.id, a.Kind)
	sum, known, err := load(s, key, chain.ParseAlerts)
	if err != nil {
		return err
	}
	if !known {
		if err := refuseFull(s, chain.AlertPrefix(r.sender.id), chain.MaxAlertKinds); err != nil {
			return err
		}
	}
	sum.Count += min(a.Count, math.MaxUint64-sum.Count)
	sum.Height, sum.Evidence, sum.Device = r.x.header.Height, a.Evidence, a.Device
	if err := s.set(key, sum.Append(nil)); err != nil {
		return err
	}
	return r.notify(chain.TopicGatewayAlert, &chain.Notice{
		Subject: r.sender.id, Reason: a.Kind, By: &r.sender.id, Hash: &a.Evidence, Number: a.Count,
	})
}

// seal keeps what a quarantined or stolen device sent, the newest
// chain.SealedKept of it. Only those it is sealed to can read it: no node does.
func (r *running) seal(a *chain.Sealed) error {
	if !r.sender.has(abi.RoleGateway) {
		return abi.CodeMissingRole
	}
	x := r.x
	d, err := x.readDevice(a.Device)
	if err != nil {
		return err
	}
	if d.Status != abi.StatusQuarantined && d.Status != abi.StatusStolen {
		return abi.CodeBadStatus
	}
	for i := range a.Authorities {
		account, ok, err := load(x.state, chain.AccountKey(a.Authorities[i].Account), chain.ParseAccount)
		if err != nil || !ok {
			return refuseUnless(ok, abi.CodeUnknownAccount, err)
		}
		if account.Roles&abi.RoleAuthority == 0 {
			return abi.CodeMissingRole
		}
	}
	item := chain.SealedItem{
		Account: d.Owner, Owner: a.Owner, Authorities: a.Authorities, Evidence: a.Evidence,
		Gateway: r.sender.id, Height: x.header.Height, Time: x.header.Time,
	}
	return r.keepSealed(a.Device, &item)
}

// keepSealed adds an item to those of a device; the oldest gives way.
func (r *running) keepSealed(device abi.Hash, item *chain.SealedItem) error {
	s := r.x.state
	count, _, err := load(s, chain.SealedCountKey(device), parseUint)
	if err != nil {
		return err
	}
	count++
	if count > chain.SealedKept {
		if err := s.delete(chain.SealedKey(device, count-chain.SealedKept)); err != nil {
			return err
		}
	}
	if err := s.set(chain.SealedCountKey(device), cbor.AppendUint(nil, count)); err != nil {
		return err
	}
	if err := s.set(chain.SealedKey(device, count), item.Append(nil)); err != nil {
		return err
	}
	return r.notify(chain.TopicDeviceSealed, &chain.Notice{Subject: device, By: &r.sender.id, Hash: &item.Evidence, Number: count})
}
