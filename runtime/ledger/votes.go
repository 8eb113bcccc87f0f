package ledger

import (
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

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
// objection to what its guardians want, since the account still has its key.
func (r *running) reject(a *chain.Vote) error {
	p, err := r.readProposal(a.Proposal)
	if err != nil {
		return err
	}
	e, err := r.x.electorate(&p)
	if err != nil {
		return err
	}
	objects, err := r.x.isWard(&p, r.sender.id)
	if err != nil {
		return err
	}
	id, _ := e.member(&r.sender)
	switch {
	case p.Proposer == r.sender.id:
		return r.end(a, &p, id, chain.ProposalWithdrawn)
	case objects:
		return r.end(a, &p, id, chain.ProposalRejected)
	case p.Status != chain.ProposalOpen:
		return abi.CodeProposalClosed
	}
	return r.cast(a.Proposal, &p, &e, false, a.Reason)
}

// isWard says whether a proposal is the guardians' of an account.
func (x *execution) isWard(p *chain.Proposal, account abi.Hash) (bool, error) {
	if !byGuardians(p.Kind) {
		return false, nil
	}
	ward, err := x.ward(p)
	return ward == account, err
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
	if last := p.LastVote(r.sender.id, id); last >= 0 && (!p.Votes[last].Approves || approves) {
		if approved, _ := p.Tally(e.counts); !p.Votes[last].Approves || approved < e.needed {
			return abi.CodeVotedAlready
		}
	} else if err := r.addVote(number, p, id, approves, reason); err != nil {
		return err
	}
	approve, reject := p.Tally(e.counts)
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
	before, events := x.state.mark(), len(r.events)
	was, err := r.perform(p)
	if err == nil {
		err = r.tellGoverned(number, p)
	}
	if err != nil {
		code, ok := refusal(err)
		if !ok {
			return err
		}
		x.state.rollback(before)
		r.events = r.events[:events]
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
