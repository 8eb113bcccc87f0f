package ledger

import (
	"bytes"
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// proposalTimer ends a proposal whose time is over, or carries out one that was
// approved, as its proposer.
func (x *execution) proposalTimer(r *running, t *chain.Timer, o *chain.Outcome) error {
	p, ok, err := load(x.state, chain.ProposalKey(t.Proposal), chain.ParseProposal)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "proposal of a timer"))
	}
	before := x.state.mark()
	if p.Status == chain.ProposalOpen {
		r.used = min(gasTimer, r.limit)
		x.decided(&p)
		return errors.Join(x.settle(r, before, nil, o), x.close(t.Proposal, &p, chain.ProposalExpired))
	}
	if r.sender, ok, err = readSender(x.state, p.Proposer); err != nil || !ok {
		return errors.Join(err, missing(ok, "proposer"))
	}
	err = r.spendTimer()
	if err == nil {
		err = r.stillMay(&p)
	}
	var was []byte
	if err == nil {
		was, err = r.perform(&p)
	}
	if err == nil {
		err = r.tellGoverned(t.Proposal, &p)
	}
	if err := x.settle(r, before, err, o); err != nil {
		return err
	}
	return x.executed(t.Proposal, &p, was, o.Code)
}

// stillMay refuses a recovery whose guardians the owner has replaced, and what
// a device would deploy that was shut out meanwhile.
func (r *running) stillMay(p *chain.Proposal) error {
	if p.Kind != chain.ProposeRecover {
		return refuseUnless(r.sender.status == 0 || r.sender.status == abi.StatusActive, abi.CodeDeviceInactive, nil)
	}
	e, err := r.x.electorate(p)
	if err != nil {
		return err
	}
	approve, _ := p.Tally(e.counts)
	return refuseUnless(approve >= e.needed, abi.CodeNotPermitted, nil)
}

// tellGoverned tells that a proposal was carried out.
func (r *running) tellGoverned(number uint64, p *chain.Proposal) error {
	return r.notify(chain.TopicGovernance, &chain.Notice{
		Subject: p.Proposer, Level: uint8(p.Kind), Reason: p.Reason, By: &p.Proposer, Number: number,
	})
}

// perform does what a proposal asks for, and gives what it changed as it was
// before. The error is a refusal or a fault.
func (r *running) perform(p *chain.Proposal) (was []byte, err error) {
	args, err := chain.ParseProposalArgs(p.Kind, p.Args)
	if err != nil {
		return nil, &fault{err}
	}
	switch a := args.(type) {
	case *chain.AddValidator:
		return r.changeSet(func(set chain.ValidatorSet) (chain.ValidatorSet, error) { return r.seat(set, a.Statement, a.Roles) })
	case *chain.RemoveValidator:
		return r.changeSet(func(set chain.ValidatorSet) (chain.ValidatorSet, error) { return r.unseat(set, a.ID) })
	case *chain.ReplaceValidator:
		if p.Kind == chain.ProposeRotateValidator {
			return r.changeSet(func(set chain.ValidatorSet) (chain.ValidatorSet, error) { return r.reseat(set, a) })
		}
		return r.changeSet(func(set chain.ValidatorSet) (chain.ValidatorSet, error) { return r.swap(set, a) })
	case *chain.Grant:
		return r.grantAgreed(a)
	case *chain.Params:
		return p.Before, r.changeParams(p.Before, a)
	case *chain.Deploy:
		return nil, r.install(a)
	case *chain.Upgrade:
		return nil, r.replace(a)
	case *chain.Recover:
		return r.recover(a)
	case *chain.DeclareStolen:
		return r.steal(a)
	}
	return nil, faultf("proposal of kind %v", p.Kind)
}

// grantAgreed is a grant by the validators: no operator is needed, and they may
// take the role from the last one. Who votes is not changed by it.
func (r *running) grantAgreed(a *chain.Grant) (was []byte, err error) {
	id, known, err := accountOf(r.x.state, a.Key)
	if err != nil {
		return nil, err
	}
	if known {
		if was, _, err = r.x.state.get(chain.AccountKey(id)); err != nil {
			return nil, err
		}
	}
	return was, r.setGrant(a)
}

// changeParams replaces the parameters, from the next block on.
func (r *running) changeParams(from []byte, next *chain.Params) error {
	raw, ok, err := r.x.state.get(chain.ParamsKey())
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "parameters"))
	}
	if !bytes.Equal(raw, from) {
		return abi.CodeProposalOutdated
	}
	old, err := chain.ParseParams(raw)
	if err != nil {
		return &fault{err}
	}
	if err := validateChange(&old, next); err != nil {
		return err
	}
	return r.x.state.set(chain.ParamsKey(), next.Append(nil))
}

// Least values of parameters that are changed: below them nobody could afford
// to change them back.
const (
	leastTxGas   = 2_000_000 // the dearest operation of governance is below half of it
	leastStorage = 256 << 10 // a few of the largest proposals
)

// validateChange refuses parameters that would end the chain or its
// governance. The protocol version rises by one at a time: that it does must
// not depend on what a node's program knows.
func validateChange(old, next *chain.Params) error {
	if err := validateParams(next); err != nil {
		return err
	}
	ok := next.Profile == old.Profile && (next.Protocol == old.Protocol || next.Protocol == old.Protocol+1)
	ok = ok && next.TxGas >= leastTxGas && next.GasQuota >= next.TxGas && next.GasRefill > 0
	ok = ok && next.StorageQuota >= leastStorage && next.StorageRefill > 0
	ok = ok && next.VerdictGateways != 1 && next.VerdictGateways <= chain.MaxVerdicts // no single gateway quarantines
	return refuseUnless(ok, abi.CodeBadArgument, nil)
}
