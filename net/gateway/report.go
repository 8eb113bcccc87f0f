package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/senml"
)

// reportShare is how many bytes of a report one token of the key's bucket
// pays: reading and judging a long one costs as much as so many requests.
const reportShare = 1 << 10

// report hands what was seen of a device to the contracts that judge it.
func (st *stream) report(body []byte, standing abi.Standing) ([]byte, abi.Code) {
	if !st.mayReport(len(body), &standing) {
		return nil, abi.CodeRateLimited
	}
	p, err := abi.ParseReport(body)
	if err != nil {
		return nil, codeOf(err)
	}
	device, code := st.subject(&p, &standing)
	if code != abi.OK {
		return nil, code
	}
	o := abi.Observation{Kind: p.Kind, Device: device, Time: time.Now().UnixMilli()}
	if o.Payload, err = st.payload(&p, &o); err != nil {
		return nil, st.failed("report", err)
	}
	ctx, cancel := context.WithTimeout(st.conn.ctx, st.conn.server.config.SubmitTimeout)
	defer cancel()
	j, err := st.conn.server.config.Node.Report(ctx, &o, p.Statement)
	if err != nil {
		return nil, st.failed("report", err)
	}
	st.body = abi.AppendJudgement(st.body[:0], &j)
	return st.body, abi.OK
}

// mayReport takes what a report costs. A device that is not active has a
// quota of its own, so that it stays heard and costs little.
func (st *stream) mayReport(size int, standing *abi.Standing) bool {
	if !standing.Active() {
		return st.conn.account.scarce.Allow()
	}
	return st.conn.account.take(time.Now(), size/reportShare)
}

// subject is the device that a report is about. Of another device only network
// monitors and its owner may speak, while they are active themselves.
func (st *stream) subject(p *abi.Report, standing *abi.Standing) (abi.Hash, abi.Code) {
	switch {
	case p.Device == nil && standing.Device == 0:
		return abi.Hash{}, abi.CodeUnknownDevice
	case p.Device == nil || *p.Device == standing.Account:
		return standing.Account, abi.OK
	case !standing.Active():
		return abi.Hash{}, abi.CodeDeviceInactive
	}
	d, err := st.conn.server.config.Node.Device(*p.Device)
	switch {
	case err != nil:
		return abi.Hash{}, st.failed("report", err)
	case standing.Roles&abi.RoleEnforcementPoint == 0 && d.Owner != standing.Account:
		return abi.Hash{}, abi.CodeNotPermitted
	}
	return *p.Device, abi.OK
}

// payload is what a report says was seen, from whichever of its fields says it.
func (st *stream) payload(p *abi.Report, o *abi.Observation) ([]byte, error) {
	switch {
	case p.Statement != nil:
		return st.signedPayload(p, o)
	case p.Pack != nil:
		return resolved(p, o.Time)
	}
	return p.Payload, nil
}

// resolved reads a SenML pack.
func resolved(p *abi.Report, now int64) ([]byte, error) {
	format, ok := senml.FormatOf(p.Format)
	if !ok {
		return nil, abi.CodeBadArgument
	}
	records, err := senml.Parse(format, p.Pack, now)
	if err != nil {
		return nil, err
	}
	payload := senml.AppendPayload(nil, records)
	if len(payload) > abi.MaxObservation {
		return nil, abi.CodeTooLarge
	}
	return payload, nil
}

// signedPayload opens a statement and holds it against the report: the key is
// the device's, and it speaks of the same.
func (st *stream) signedPayload(p *abi.Report, o *abi.Observation) ([]byte, error) {
	node := st.conn.server.config.Node
	s, err := chain.OpenStatement(p.Statement, node.Status().Chain, chain.StatementReport, o.Time)
	if err != nil {
		if errors.Is(err, abi.CodeBadSignature) {
			st.conn.attacked(AttackBadSignatures)
		}
		return nil, err
	}
	signer, err := node.Standing(s.Key)
	switch {
	case err != nil:
		return nil, err
	case !signer.Known || signer.Account != o.Device:
		return nil, abi.CodeBadKey
	}
	r, err := chain.ParseReport(s.Body)
	switch {
	case err != nil:
		return nil, err
	case r.Kind != p.Kind:
		return nil, abi.CodeBadArgument
	}
	return r.Payload, nil
}
