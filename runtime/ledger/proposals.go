package ledger

import (
	"bytes"
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// propose opens a proposal. What would be refused if all agreed is refused at
// once. The result is the proposal's number (CBOR uint).
func (r *running) propose(a *chain.Propose) error {
	x := r.x
	p := chain.Proposal{
		Kind: a.Kind, Args: bytes.Clone(a.Args), Proposer: r.sender.id, Reason: a.Reason, Status: chain.ProposalOpen,
		Time: x.header.Time, Height: x.header.Height, Expiry: x.header.Time + x.params.ProposalTTL(),
	}
	e, err := x.electorate(&p)
	if err != nil {
		return err
	}
	if err := r.mayPropose(&p, &e); err != nil {
		return err
	}
	if err := r.rehearse(&p); err != nil {
		return err
	}
	number, err := r.open(&p)
	if err != nil {
		return err
	}
	r.output = cbor.AppendUint(nil, number)
	if _, ok := e.member(&r.sender); ok {
		return r.cast(number, &p, &e, true, "")
	}
	return nil
}

// mayPropose says whether the sender may propose this, and has not too many
// undecided proposals.
func (r *running) mayPropose(p *chain.Proposal, e *electorate) error {
	_, member := e.member(&r.sender)
	switch {
	case byDeveloper(p.Kind):
		if !r.sender.has(abi.RoleDeveloper) {
			return abi.CodeMissingRole
		}
	case byGuardians(p.Kind):
		if !member {
			return abi.CodeNotPermitted
		}
	case !member && !r.sender.has(abi.RoleOperator):
		return abi.CodeMissingRole
	}
	open := 0
	err := each(r.x.state, chain.OpenProposalPrefix(r.sender.id), func(_, _ []byte) (bool, error) {
		open++
		return open < chain.MaxOpenProposals, nil
	})
	return refuseUnless(open < chain.MaxOpenProposals, abi.CodeTooManyProposals, err)
}

// rehearse does what a proposal asks for and takes it back, so that nobody is
// asked to agree to what cannot be. What a deployment needs for long, its code,
// is put on the ledger instead: whoever is asked can read it, and it does not
// expire with the upload.
func (r *running) rehearse(p *chain.Proposal) error {
	args, err := chain.ParseProposalArgs(p.Kind, p.Args)
	if err != nil {
		return err
	}
	switch a := args.(type) {
	case *chain.Deploy:
		return r.codeOf(a, func() error { _, err := r.deployable(a); return err })
	case *chain.Upgrade:
		return r.codeOf(&chain.Deploy{Code: a.Code}, func() error { _, err := r.upgradable(a); return err })
	case *chain.Params:
		if p.Before, _, err = r.x.state.get(chain.ParamsKey()); err != nil {
			return err
		}
	}
	if err := r.checkPossession(args); err != nil {
		return err
	}
	before, events := r.x.state.mark(), len(r.events)
	_, err = r.perform(p)
	r.x.state.rollback(before)
	r.events = r.events[:events]
	return err
}

// codeOf brings a deployment's code to the ledger if the deployment may be.
func (r *running) codeOf(a *chain.Deploy, may func() error) error {
	if err := may(); err != nil {
		return err
	}
	return r.needCode(a.Code)
}

// checkPossession checks the signature of the new key in a proposal, once:
// approvals may come when the statement is long over.
func (r *running) checkPossession(args any) error {
	var statement []byte
	kind := chain.StatementValidator
	switch a := args.(type) {
	case *chain.AddValidator:
		statement = a.Statement
	case *chain.ReplaceValidator:
		statement = a.Statement
	case *chain.Recover:
		statement, kind = a.Statement, chain.StatementRotate
	default:
		return nil
	}
	_, err := chain.OpenStatement(statement, r.x.header.Chain, kind, r.x.header.Time)
	return err
}

// open numbers and writes a new proposal, with a timer that ends it.
func (r *running) open(p *chain.Proposal) (number uint64, err error) {
	s := r.x.state
	last, _, err := load(s, chain.ProposalNumberKey(), parseUint)
	if err != nil {
		return 0, err
	}
	number = last + 1
	p.Timer, err = r.x.addTimer(p.Expiry, &chain.Timer{Kind: chain.TimerProposal, Account: p.Proposer, Proposal: number})
	if err != nil {
		return 0, err
	}
	return number, errors.Join(
		s.setFree(chain.ProposalNumberKey(), cbor.AppendUint(nil, number)),
		s.setFree(chain.OpenProposalKey(p.Proposer, number), []byte{}),
		s.set(chain.ProposalKey(number), p.Append(nil)))
}

// readProposal reads a proposal that is not decided for good.
func (r *running) readProposal(number uint64) (chain.Proposal, error) {
	p, ok, err := load(r.x.state, chain.ProposalKey(number), chain.ParseProposal)
	switch {
	case err != nil || !ok:
		return p, refuseUnless(ok, abi.CodeUnknownProposal, err)
	case p.Status.Final(), p.Status == chain.ProposalOpen && r.x.header.Time >= p.Expiry:
		return p, abi.CodeProposalClosed
	}
	return p, nil
}
