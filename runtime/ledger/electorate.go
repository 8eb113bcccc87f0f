package ledger

import (
	"github.com/seed79541315/postern/abi"
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
	if byGuardians(p.Kind) {
		account, err := x.ward(p)
		if err != nil {
			return e, err
		}
		e.guardians, _, err = load(x.state, chain.GuardiansKey(account), chain.ParseGuardians)
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

func byGuardians(k chain.ProposalKind) bool {
	return k == chain.ProposeRecover || k == chain.ProposeStolen
}

// ward is the account whose guardians decide a proposal: the one to be recovered,
// or the present owner of the device that is to be stolen.
func (x *execution) ward(p *chain.Proposal) (abi.Hash, error) {
	args, err := chain.ParseProposalArgs(p.Kind, p.Args)
	if err != nil {
		return abi.Hash{}, &fault{err}
	}
	switch a := args.(type) {
	case *chain.Recover:
		return a.Account, nil
	case *chain.DeclareStolen:
		d, err := x.readDevice(a.Device)
		return d.Owner, err
	}
	return abi.Hash{}, faultf("no guardians decide a proposal of kind %v", p.Kind)
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
