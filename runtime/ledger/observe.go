package ledger

import (
	"bytes"
	"context"
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Watch is what Observe has judged.
type Watch struct {
	Observation *abi.Observation
	// Encoded is the Observation as abi.AppendObservation encodes it.
	Encoded []byte
	// Only is the one contract to ask; "" asks all that are bound.
	Only string
	// Local gives the record that is kept of the device for a contract; false
	// when there is none. It stays unchanged until Observe returns.
	Local func(contract string) (record []byte, ok bool)
}

// Opinion is what one contract says of an observation.
type Opinion struct {
	Contract string
	// Judgement is an alert where the contract failed.
	Judgement abi.Judgement
	// Code tells why the contract gave no judgement of its own.
	Code abi.Code
	// Local is the record to keep from now on, where Written: a contract that
	// failed leaves what was there.
	Local   []byte
	Written bool
}

// Judged is what all of a device's contracts say.
type Judged struct {
	// Joined is the gravest of the judgements, the first asked of several, with
	// the first timer and the findings of all. Where no contract is bound it is
	// fine, and the reason id is abi.CodeNotBound's name: nobody judged.
	Joined   abi.Judgement
	Opinions []Opinion
	Owner    abi.Hash // account of the device's owner
	Status   abi.Status
}

// Observe has the contracts that are bound to a device judge what was seen of
// it, at the newest height; whatever the device's status, since what a
// quarantined one does is worth knowing too. A contract that fails is an alert
// with the failure's code. Where this node fails, the error tells so, and what
// contracts asked before said is returned with it. Errors have a code:
// abi.CodeUnknownDevice, CodeNotBound (Only), CodeTimeout, CodeInternal.
func (l *Ledger) Observe(ctx context.Context, w *Watch) (Judged, error) {
	v, head, err := l.take()
	if err != nil {
		return Judged{}, err
	}
	defer v.Release()
	r := hot{v}
	raw, ok, err := r.get(chain.DeviceKey(w.Observation.Device))
	if err != nil {
		return Judged{}, l.unavailable(err)
	}
	if !ok {
		return Judged{}, abi.CodeUnknownDevice
	}
	d, err := chain.ParseDevice(raw)
	if err != nil {
		return Judged{}, l.unavailable(faultf("device %x: %w", w.Observation.Device, err))
	}
	if w.Only != "" {
		if !d.Judges(w.Only) {
			return Judged{}, abi.CodeNotBound
		}
		d.Contracts = []string{w.Only}
	}
	o := observing{ledger: l, watch: w, head: head, read: r, device: raw}
	o.now, o.trusted = l.now(head)
	judged := Judged{Owner: d.Owner, Status: d.Status}
	for _, contract := range d.Contracts {
		opinion, err := o.ask(ctx, contract)
		if err != nil {
			judged.join()
			return judged, l.observeFault(ctx, contract, err)
		}
		judged.Opinions = append(judged.Opinions, opinion)
	}
	judged.join()
	return judged, nil
}

// observeFault gives a failure of this node its code.
func (l *Ledger) observeFault(ctx context.Context, contract string, err error) error {
	if ctx.Err() != nil {
		return abi.CodeTimeout
	}
	l.cfg.Logger.ErrorContext(ctx, "an observation could not be judged", "contract", contract, "err", err)
	return abi.CodeInternal
}

// join makes the joined judgement.
func (j *Judged) join() {
	if len(j.Opinions) == 0 {
		j.Joined = abi.Judgement{ReasonID: abi.CodeNotBound.Name()}
		return
	}
	j.Joined = abi.Judgement{}
	for i := range j.Opinions {
		o := &j.Opinions[i].Judgement
		timer, findings := j.Joined.Timer, append(j.Joined.Findings, o.Findings...)
		if i == 0 || o.Level > j.Joined.Level {
			j.Joined = *o
		}
		j.Joined.Timer, j.Joined.Findings = timer, findings
		if o.Timer != 0 && (timer == 0 || o.Timer < timer) {
			j.Joined.Timer = o.Timer
		}
	}
}

// observing is one observation on its way through the contracts.
type observing struct {
	ledger  *Ledger
	watch   *Watch
	head    *tip
	read    reader
	device  []byte
	now     int64
	trusted bool
}

// ask has one contract judge. Its error is a failure of this node.
func (o *observing) ask(ctx context.Context, contract string) (Opinion, error) {
	c, err := readActive(o.read, contract)
	if code, ok := refusal(err); ok {
		return noJudgement(contract, code, 0), nil
	}
	if err != nil {
		return Opinion{}, err
	}
	h, id := &o.head.header, o.watch.Observation.Device
	in := abi.Input{
		Chain: h.Chain, Height: h.Height, Time: h.Time, Contract: contract, Owner: c.Owner,
		Caller: &id, Device: o.device, Message: o.watch.Encoded,
	}
	e := &observer{env: env{ledger: o.ledger, read: o.read, contract: contract, input: &in, now: o.now, trusted: o.trusted}}
	e.record, e.known = o.watch.Local(contract)
	res, err := o.ledger.runtime.Call(ctx, wasm.Call{
		Protocol: o.head.params.Protocol, Code: c.Code, Load: func() ([]byte, error) { return loadCode(o.read, c.Code) },
		Entry: abi.EntryObserve, Input: abi.AppendInput(nil, &in), Gas: o.head.params.QueryGas, Env: e,
	})
	var t *wasm.Trap
	switch {
	case errors.As(err, &t):
		e.failed(abi.EntryObserve, res.AbortCode, err)
		return noJudgement(contract, t.Code, uint64(res.AbortCode)), nil
	case err != nil:
		return Opinion{}, err
	}
	j, err := abi.ParseJudgement(res.Output)
	if err != nil {
		e.failed(abi.EntryObserve, 0, err)
		return noJudgement(contract, abi.CodeBadResult, 0), nil
	}
	return Opinion{Contract: contract, Judgement: j, Local: e.record, Written: e.written}, nil
}

// noJudgement is the opinion of a contract that gave none. A contract that fails
// must not be quieter than one that finds nothing.
func noJudgement(contract string, code abi.Code, abort uint64) Opinion {
	return Opinion{Contract: contract, Code: code, Judgement: abi.Judgement{Level: abi.LevelAlert, Reason: abort, ReasonID: code.Name()}}
}

// observer is the Env of observe: it changes nothing but the local record.
type observer struct {
	env
	record         []byte
	known, written bool
}

// Local implements wasm.Local.
func (o *observer) Local() ([]byte, bool, error) { return o.record, o.known, nil }

// SetLocal implements wasm.Local.
func (o *observer) SetLocal(record []byte) error {
	o.record, o.known, o.written = bytes.Clone(record), true, true
	return nil
}
