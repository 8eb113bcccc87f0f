package ledger

import (
	"bytes"
	"crypto/sha256"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// verdict notes how a gateway judged a device. One gateway's word is told and
// isolates the device there; what several say within chain.VerdictWindow
// quarantines it everywhere.
func (r *running) verdict(a *chain.Verdict) error {
	if !r.sender.has(abi.RoleGateway) {
		return abi.CodeMissingRole
	}
	x := r.x
	d, err := x.readDevice(a.Device)
	switch {
	case err != nil:
		return err
	case !d.Judges(a.Contract):
		return abi.CodeNotBound
	case d.Status == abi.StatusRetired:
		return abi.CodeDeviceInactive
	}
	v, _, err := load(x.state, chain.VerdictsKey(a.Device), chain.ParseVerdicts)
	if err != nil {
		return err
	}
	v.List = append(current(v.List, r.sender.id, x.header.Time), chain.GatewayVerdict{
		Gateway: r.sender.id, Contract: a.Contract, Level: a.Level, Score: a.Score, ReasonID: a.ReasonID,
		Evidence: a.Evidence, Time: x.header.Time, Height: x.header.Height,
	})
	if err := x.state.set(chain.VerdictsKey(a.Device), v.Append(nil)); err != nil {
		return err
	}
	n := chain.Notice{Subject: a.Device, Level: uint8(a.Level), Reason: a.ReasonID, By: &r.sender.id, Hash: &a.Evidence}
	if err := r.notify(chain.TopicDeviceAlert, &n); err != nil {
		return err
	}
	return r.concur(a, &d, v.List)
}

// current is the list without what a gateway said before and what was said too
// long ago. Where there is no room for one more, the mildest gives way, of these
// the oldest, so that many alerts push out no quarantine.
func current(list []chain.GatewayVerdict, gateway abi.Hash, now int64) []chain.GatewayVerdict {
	var kept []chain.GatewayVerdict
	for _, v := range list {
		if v.Gateway != gateway && now-v.Time < chain.VerdictWindow {
			kept = append(kept, v)
		}
	}
	if len(kept) < chain.MaxVerdicts {
		return kept
	}
	mildest := 0
	for i := range kept {
		if kept[i].Level < kept[mildest].Level {
			mildest = i
		}
	}
	return append(kept[:mildest], kept[mildest+1:]...)
}

// concur quarantines a device if enough gateways suspect it at least.
func (r *running) concur(a *chain.Verdict, d *chain.Device, list []chain.GatewayVerdict) error {
	if a.Level < abi.LevelSuspectedStolen || d.Status >= abi.StatusQuarantined {
		return nil
	}
	count := uint64(0)
	for i := range list {
		counts, err := r.x.counts(&list[i], d)
		if err != nil {
			return err
		}
		if counts {
			count++
		}
	}
	if count < r.x.params.QuarantineGateways() {
		return nil
	}
	reason := a.Level.String()
	if a.ReasonID != "" {
		reason += ": " + a.ReasonID
	}
	return r.setStatus(a.Device, d, abi.StatusQuarantined, clip(reason), &r.sender.id)
}

// counts says whether a verdict is grave enough, by a contract that is bound
// still, and by an account that is a gateway still.
func (x *execution) counts(v *chain.GatewayVerdict, d *chain.Device) (bool, error) {
	if v.Level < abi.LevelSuspectedStolen || !d.Judges(v.Contract) {
		return false, nil
	}
	account, ok, err := load(x.state, chain.AccountKey(v.Gateway), chain.ParseAccount)
	return ok && account.Roles&abi.RoleGateway != 0, err
}

// evidence has a bound contract judge what the device itself has signed, on
// every validator: such a report needs no second gateway. Each one is judged
// once, and none after a newer one.
func (r *running) evidence(a *chain.Evidence) error {
	x := r.x
	d, err := x.readDevice(a.Device)
	switch {
	case err != nil:
		return err
	case !d.Judges(a.Contract):
		return abi.CodeNotBound
	case d.Status == abi.StatusRetired:
		return abi.CodeDeviceInactive
	}
	report, err := x.signedReport(a)
	if err != nil {
		return err
	}
	c, err := readActive(x.state, a.Contract)
	if err != nil {
		return err
	}
	message := abi.AppendObservation(nil, &abi.Observation{Kind: report.Kind, Device: a.Device, Time: report.Time, Payload: report.Payload})
	hash := abi.Hash(sha256.Sum256(message))
	n := chain.Notice{Subject: a.Device, Reason: a.Contract, By: &r.sender.id, Hash: &hash}
	if err := r.notify(chain.TopicDeviceEvidence, &n); err != nil {
		return err
	}
	return r.enter(abi.EntryExecute, a.Contract, &c, &abi.Input{
		Caller: &r.sender.id, Roles: r.sender.account.Roles, Device: r.sender.device, Transaction: r.tx,
		Evidence: &a.Device, Message: message,
	})
}

// signedReport checks that a device's present key signed a report, which is newer
// than all that the contract has judged, and notes it.
func (x *execution) signedReport(a *chain.Evidence) (chain.Report, error) {
	statement, err := chain.OpenStatement(a.Statement, x.header.Chain, chain.StatementReport, x.header.Time)
	if err != nil {
		return chain.Report{}, err
	}
	account, ok, err := load(x.state, chain.AccountKey(a.Device), chain.ParseAccount)
	if err != nil || !ok {
		return chain.Report{}, orFault(err, "device %x has no account", a.Device)
	}
	if !bytes.Equal(account.Key, statement.Key) {
		return chain.Report{}, abi.CodeKeyNotCurrent
	}
	report, err := chain.ParseReport(statement.Body)
	if err != nil {
		return chain.Report{}, err
	}
	newest, _, err := load(x.state, chain.EvidenceKey(a.Device, a.Contract), parseUint)
	if err != nil {
		return chain.Report{}, err
	}
	if uint64(report.Time) <= newest {
		return chain.Report{}, abi.CodeReplayed
	}
	return report, x.judgedUntil(a.Device, a.Contract, uint64(report.Time))
}

// judgedUntil notes that a contract judges no report of a device from before a
// time in ms.
func (x *execution) judgedUntil(id abi.Hash, contract string, time uint64) error {
	return x.state.set(chain.EvidenceKey(id, contract), cbor.AppendUint(nil, time))
}

// passOver has the contracts that are bound to a device judge no report from
// before this block.
func (x *execution) passOver(id abi.Hash, d *chain.Device) error {
	for _, name := range d.Contracts {
		newest, _, err := load(x.state, chain.EvidenceKey(id, name), parseUint)
		if err != nil {
			return err
		}
		if err := x.judgedUntil(id, name, max(newest, uint64(x.header.Time))); err != nil {
			return err
		}
	}
	return nil
}
