package ledger

import (
	"bytes"
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// electorate is who decides a proposal at this moment: the validators, or the
// guardians of an account.
type electorate struct {
	set       chain.ValidatorSet // nil where guardians decide
	guardians chain.Guardians
	needed    int // approvals
}

// electorate finds who decides. A set that has shrunk below the approvals that
// the parameters ask of deployments needs all of its members.
func (x *execution) electorate(p *chain.Proposal) (e electorate, err error) {
	if p.Kind == chain.ProposeRecover {
		a, err := chain.ParseRecover(p.Args)
		if err != nil {
			return e, &fault{err}
		}
		e.guardians, _, err = load(x.state, chain.GuardiansKey(a.Account), chain.ParseGuardians)
		e.needed = max(1, int(e.guardians.Threshold))
		return e, err
	}
	if e.set, err = x.validators(); err != nil {
		return e, err
	}
	e.needed = e.set.Quorum()
	if byDeveloper(p.Kind) {
		e.needed = int(min(max(1, x.params.DeployApprovals), uint64(len(e.set))))
	}
	return e, nil
}

func byDeveloper(k chain.ProposalKind) bool {
	return k == chain.ProposeDeploy || k == chain.ProposeUpgrade
}

func (e *electorate) size() int {
	if e.set != nil {
		return len(e.set)
	}
	return len(e.guardians.Accounts)
}

// member tells whether an account has a vote, and its validator's id, which is
// 0 for a guardian.
func (e *electorate) member(s *sender) (id uint64, ok bool) {
	if e.set == nil {
		return 0, e.guardians.Has(s.id)
	}
	return e.set.ID(s.account.Key)
}

// counts says whether a vote's caster has a vote now.
func (e *electorate) counts(v *chain.ProposalVote) bool {
	if e.set == nil {
		return e.guardians.Has(v.Account)
	}
	_, ok := e.set.Key(v.Validator)
	return ok && v.Validator != 0
}

// tally counts the last votes of those who have a vote now.
func (e *electorate) tally(p *chain.Proposal) (approve, reject int) {
	for i := range p.Votes {
		v := &p.Votes[i]
		if last := lastVote(p, v.Account, v.Validator); last != i || !e.counts(v) {
			continue
		}
		if v.Approves {
			approve++
		} else {
			reject++
		}
	}
	return approve, reject
}

// lastVote is the place of the last vote of an account as a validator, or as a
// guardian; -1 if there is none.
func lastVote(p *chain.Proposal, account abi.Hash, validator uint64) int {
	for i := len(p.Votes) - 1; i >= 0; i-- {
		if p.Votes[i].Account == account && p.Votes[i].Validator == validator {
			return i
		}
	}
	return -1
}

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
	case p.Kind == chain.ProposeRecover:
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
	before := r.x.state.mark()
	_, err = r.perform(p)
	r.x.state.rollback(before)
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

// approve is a vote for a proposal.
func (r *running) approve(a *chain.Vote) error {
	p, err := r.readProposal(a.Proposal)
	if err != nil {
		return err
	}
	if p.Status != chain.ProposalOpen {
		return abi.CodeProposalClosed
	}
	e, err := r.x.electorate(&p)
	if err != nil {
		return err
	}
	return r.cast(a.Proposal, &p, &e, true, a.Reason)
}

// reject is a vote against a proposal, the end of one's own, or an owner's
// objection to the recovery of the account, which still has its key.
func (r *running) reject(a *chain.Vote) error {
	p, err := r.readProposal(a.Proposal)
	if err != nil {
		return err
	}
	e, err := r.x.electorate(&p)
	if err != nil {
		return err
	}
	id, _ := e.member(&r.sender)
	switch {
	case p.Proposer == r.sender.id:
		return r.end(a, &p, id, chain.ProposalWithdrawn)
	case p.Kind == chain.ProposeRecover && recovers(&p, r.sender.id):
		return r.end(a, &p, id, chain.ProposalRejected)
	case p.Status != chain.ProposalOpen:
		return abi.CodeProposalClosed
	}
	return r.cast(a.Proposal, &p, &e, false, a.Reason)
}

func recovers(p *chain.Proposal, account abi.Hash) bool {
	a, err := chain.ParseRecover(p.Args)
	return err == nil && a.Account == account
}

// end ends a proposal on the word of one who may.
func (r *running) end(a *chain.Vote, p *chain.Proposal, validator uint64, status chain.ProposalStatus) error {
	if err := r.addVote(a.Proposal, p, validator, false, a.Reason); err != nil {
		return err
	}
	r.x.decided(p)
	return r.x.close(a.Proposal, p, status)
}

// addVote writes a vote into a proposal's record; who votes pays for its bytes.
func (r *running) addVote(number uint64, p *chain.Proposal, validator uint64, approves bool, reason string) error {
	if len(p.Votes) == chain.MaxVotes {
		return abi.CodeTooLarge
	}
	p.Votes = append(p.Votes, chain.ProposalVote{Account: r.sender.id, Validator: validator, Approves: approves,
		Time: r.x.header.Time, Height: r.x.header.Height, Reason: reason})
	return r.x.state.set(chain.ProposalKey(number), p.Append(nil))
}

// cast adds the sender's vote and decides the proposal if that is enough. An
// approval may be taken back, a rejection not. To approve again adds nothing,
// but decides where the approvals suffice since the set has shrunk.
func (r *running) cast(number uint64, p *chain.Proposal, e *electorate, approves bool, reason string) error {
	id, ok := e.member(&r.sender)
	if !ok {
		return abi.CodeNotPermitted
	}
	if last := lastVote(p, r.sender.id, id); last >= 0 && (!p.Votes[last].Approves || approves) {
		if approved, _ := e.tally(p); !p.Votes[last].Approves || approved < e.needed {
			return abi.CodeVotedAlready
		}
	} else if err := r.addVote(number, p, id, approves, reason); err != nil {
		return err
	}
	approve, reject := e.tally(p)
	p.Needed = uint64(e.needed)
	switch {
	case approve >= e.needed:
		return r.agreed(number, p, e)
	case e.size()-reject < e.needed:
		r.x.decided(p)
		return r.x.close(number, p, chain.ProposalRejected)
	}
	p.Needed = 0
	return nil
}

// decided notes when a proposal was decided.
func (x *execution) decided(p *chain.Proposal) { p.Decided, p.At = x.header.Time, x.header.Height }

// agreed carries out what was agreed to, or has a timer do so: a deployment is
// its proposer's to pay, and a recovery leaves the owner time to object.
func (r *running) agreed(number uint64, p *chain.Proposal, e *electorate) error {
	x := r.x
	x.decided(p)
	switch {
	case p.Kind == chain.ProposeRecover:
		return x.wait(number, p, e.guardians.Delay)
	case byDeveloper(p.Kind):
		return x.wait(number, p, 0)
	}
	before := x.state.mark()
	was, err := r.perform(p)
	if err != nil {
		code, ok := refusal(err)
		if !ok {
			return err
		}
		x.state.rollback(before)
		return x.executed(number, p, nil, code)
	}
	return x.executed(number, p, was, abi.OK)
}

// wait has a timer carry out an approved proposal after a delay in ms.
func (x *execution) wait(number uint64, p *chain.Proposal, delay int64) (err error) {
	if err := x.state.deleteFree(timerOf(p)); err != nil {
		return err
	}
	p.Status, p.Due = chain.ProposalApproved, x.header.Time+max(1, delay)
	p.Timer, err = x.addTimer(p.Due, &chain.Timer{Kind: chain.TimerProposal, Account: p.Proposer, Proposal: number})
	if err != nil {
		return err
	}
	return x.state.setFree(chain.ProposalKey(number), p.Append(nil))
}

// timerOf is the key of the timer that sees to a proposal.
func timerOf(p *chain.Proposal) []byte {
	if p.Due != 0 {
		return chain.TimerKey(p.Due, p.Timer)
	}
	return chain.TimerKey(p.Expiry, p.Timer)
}

// executed writes what came of a proposal that was agreed to. was is what it
// changed, as it was before.
func (x *execution) executed(number uint64, p *chain.Proposal, was []byte, code abi.Code) error {
	status := chain.ProposalExecuted
	if code != abi.OK {
		status = chain.ProposalFailed
	}
	p.Executed, p.Code = x.header.Height, code
	if was != nil {
		p.Before = was
	}
	return x.close(number, p, status)
}

// close gives a proposal its final status.
func (x *execution) close(number uint64, p *chain.Proposal, status chain.ProposalStatus) error {
	return closeProposal(x.state, number, p, status)
}

func closeProposal(s *state, number uint64, p *chain.Proposal, status chain.ProposalStatus) error {
	p.Status = status
	return errors.Join(
		s.deleteFree(timerOf(p)),
		s.deleteFree(chain.OpenProposalKey(p.Proposer, number)),
		s.setFree(chain.ProposalKey(number), p.Append(nil)))
}

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
	approve, _ := e.tally(p)
	return refuseUnless(approve >= e.needed, abi.CodeNotPermitted, nil)
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
	return refuseUnless(ok, abi.CodeBadArgument, nil)
}

// checkFollows keeps a node from passing on a proposal, or an approval of one,
// that brings a protocol version which its own program does not know: a quorum
// that agrees should be one that can go on. No rule of the chain says so, since
// nodes with different programs must execute alike.
func (l *Ledger) checkFollows(r reader, t *chain.Tx) error {
	var kind chain.ProposalKind
	var args []byte
	switch t.Op {
	case chain.OpPropose:
		if a, err := chain.ParsePropose(t.Args); err == nil {
			kind, args = a.Kind, a.Args
		}
	case chain.OpApprove:
		a, err := chain.ParseVote(t.Args)
		if err != nil {
			return nil // the block will tell
		}
		p, _, err := load(r, chain.ProposalKey(a.Proposal), chain.ParseProposal)
		if err != nil {
			return err
		}
		kind, args = p.Kind, p.Args
	}
	if kind != chain.ProposeParams {
		return nil
	}
	p, err := chain.ParseParams(args)
	if err != nil {
		return &fault{err}
	}
	return l.checkProtocol(p.Protocol)
}
