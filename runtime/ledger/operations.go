package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// operate runs the operation of a transaction.
func (r *running) operate(t *chain.Tx) error {
	protocol := r.x.header.Protocol
	if t.Op.Since() > protocol || t.Op.Since() == 0 {
		return r.unknown(t)
	}
	if err := r.spend(PriceOf(t.Op, len(t.Args))); err != nil {
		return err
	}
	switch t.Op {
	case chain.OpGrant:
		return argued(r, t, chain.ParseGrant, (*running).grant)
	case chain.OpRotate:
		return argued(r, t, chain.ParseRotate, (*running).rotate)
	case chain.OpEnrol:
		parse := func(b []byte) (chain.Enrol, error) { return chain.ParseEnrolIn(b, protocol) }
		return argued(r, t, parse, (*running).enrol)
	case chain.OpDeviceStatus:
		return argued(r, t, chain.ParseDeviceStatus, (*running).deviceStatus)
	case chain.OpUpload:
		return argued(r, t, chain.ParseUpload, (*running).upload)
	case chain.OpChunk:
		return argued(r, t, chain.ParseChunk, (*running).chunk)
	case chain.OpDeploy:
		return argued(r, t, chain.ParseDeploy, (*running).deploy)
	case chain.OpUpgrade:
		return argued(r, t, chain.ParseUpgrade, (*running).upgrade)
	case chain.OpCall:
		return argued(r, t, chain.ParseCall, (*running).call)
	case chain.OpBind:
		return argued(r, t, chain.ParseBind, (*running).bind)
	case chain.OpIssueToken:
		return argued(r, t, chain.ParseIssueToken, (*running).issueToken)
	case chain.OpRevokeToken:
		return argued(r, t, chain.ParseRevokeToken, (*running).revokeToken)
	case chain.OpPropose:
		parse := func(b []byte) (chain.Propose, error) { return chain.ParseProposeIn(b, protocol) }
		return argued(r, t, parse, (*running).propose)
	case chain.OpApprove:
		return argued(r, t, chain.ParseVote, (*running).approve)
	case chain.OpReject:
		return argued(r, t, chain.ParseVote, (*running).reject)
	case chain.OpGuardians:
		return argued(r, t, chain.ParseGuardians, (*running).nameGuardians)
	}
	return r.operateOnDevices(t)
}

// operateOnDevices runs the operations that protocol version 3 brought.
func (r *running) operateOnDevices(t *chain.Tx) error {
	switch t.Op {
	case chain.OpManufacturer:
		return argued(r, t, chain.ParseRegisterManufacturer, (*running).registerManufacturer)
	case chain.OpOrigin:
		return argued(r, t, chain.ParseProveOrigin, (*running).proveOrigin)
	case chain.OpTransfer:
		return argued(r, t, chain.ParseTransfer, (*running).transfer)
	case chain.OpBindDevice:
		return argued(r, t, chain.ParseBindDevice, (*running).bindDevice)
	case chain.OpBlacklist:
		return argued(r, t, chain.ParseBlacklist, (*running).blacklist)
	case chain.OpPlatform:
		return argued(r, t, chain.ParseRegisterPlatform, (*running).registerPlatform)
	case chain.OpImportBlacklist:
		return argued(r, t, chain.ParseImportBlacklist, (*running).importBlacklist)
	case chain.OpAnchor:
		return argued(r, t, chain.ParseAnchor, (*running).anchor)
	case chain.OpOffence:
		return argued(r, t, chain.ParseOffence, (*running).offence)
	case chain.OpWitness:
		return argued(r, t, chain.ParseWitness, (*running).witness)
	case chain.OpVerdict:
		return argued(r, t, chain.ParseVerdict, (*running).verdict)
	case chain.OpEvidence:
		return argued(r, t, chain.ParseEvidence, (*running).evidence)
	case chain.OpAlert:
		return argued(r, t, chain.ParseAlert, (*running).alert)
	case chain.OpSealed:
		return argued(r, t, chain.ParseSealed, (*running).seal)
	}
	panic("BUG: an operation that no function runs")
}

// unknown refuses an operation that the block's protocol version does not know,
// for the price that it had when no program knew it.
func (r *running) unknown(t *chain.Tx) error {
	if err := r.spend(PriceOf(0, len(t.Args))); err != nil {
		return err
	}
	return abi.CodeUnknownOp
}

// argued parses an operation's arguments and runs it.
func argued[T any](r *running, t *chain.Tx, parse func([]byte) (T, error), run func(*running, *T) error) error {
	a, err := parse(t.Args)
	if err != nil {
		return err
	}
	return run(r, &a)
}
