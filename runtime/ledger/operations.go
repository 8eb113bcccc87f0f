package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// operate runs the operation of a transaction.
func (r *running) operate(t *chain.Tx) error {
	if err := r.spend(PriceOf(t.Op, len(t.Args))); err != nil {
		return err
	}
	switch t.Op {
	case chain.OpGrant:
		return argued(r, t, chain.ParseGrant, (*running).grant)
	case chain.OpRotate:
		return argued(r, t, chain.ParseRotate, (*running).rotate)
	case chain.OpEnrol:
		return argued(r, t, chain.ParseEnrol, (*running).enrol)
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
		return argued(r, t, chain.ParsePropose, (*running).propose)
	case chain.OpApprove:
		return argued(r, t, chain.ParseVote, (*running).approve)
	case chain.OpReject:
		return argued(r, t, chain.ParseVote, (*running).reject)
	case chain.OpGuardians:
		return argued(r, t, chain.ParseGuardians, (*running).nameGuardians)
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
