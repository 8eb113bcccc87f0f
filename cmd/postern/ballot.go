package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// electorate is who decides an undecided proposal at this moment, as the ledger
// finds it: the validators, or the guardians of an account.
type electorate struct {
	counts func(*chain.ProposalVote) bool
	needed int
}

// electorateOf reads with proofs who decides a proposal. A set that is smaller
// than the approvals that deployments ask needs all of its members.
func electorateOf(ctx context.Context, cl *client.Client, p *client.Proposal) (e electorate, err error) {
	if p.Kind == chain.ProposeRecover || p.Kind == chain.ProposeStolen {
		g, err := guardiansFor(ctx, cl, p)
		return electorate{func(v *chain.ProposalVote) bool { return g.Has(v.Account) }, max(1, int(g.Threshold))}, err
	}
	set, _, err := cl.Validators(ctx)
	if err != nil {
		return e, err
	}
	e.counts = func(v *chain.ProposalVote) bool { _, ok := set.Key(v.Validator); return ok }
	e.needed = set.Quorum()
	if p.Kind == chain.ProposeDeploy || p.Kind == chain.ProposeUpgrade {
		params, err := cl.Params(ctx)
		if err != nil {
			return e, err
		}
		e.needed = int(min(max(1, params.DeployApprovals), uint64(len(set))))
	}
	return e, nil
}

func guardiansFor(ctx context.Context, cl *client.Client, p *client.Proposal) (g chain.Guardians, err error) {
	account, err := guarded(ctx, cl, p)
	if err != nil {
		return g, err
	}
	e, err := cl.Get(ctx, chain.GuardiansKey(account))
	if err != nil || !e.Present {
		return g, err
	}
	return chain.ParseGuardians(e.Value)
}

// guarded is the account whose guardians decide: that which is to have another
// key, or the owner of the device that is to be taken for stolen.
func guarded(ctx context.Context, cl *client.Client, p *client.Proposal) (abi.Hash, error) {
	if p.Kind == chain.ProposeRecover {
		a, err := chain.ParseRecover(p.Args)
		return a.Account, err
	}
	a, err := chain.ParseDeclareStolen(p.Args)
	if err != nil {
		return abi.Hash{}, err
	}
	d, _, err := readDevice(ctx, cl, a.Device)
	return d.Owner, err
}

// describeNow describes a proposal, and of one that takes votes how many there
// are and how many decide.
func describeNow(ctx context.Context, cl *client.Client, p *client.Proposal) (proposalOutput, error) {
	v := describe(p)
	if p.Status != chain.ProposalOpen {
		return v, nil
	}
	e, err := electorateOf(ctx, cl, p)
	if err != nil {
		return v, err
	}
	n, _ := p.Tally(e.counts)
	v.Approvals, v.Needed = &n, uint64(e.needed)
	return v, nil
}

// tallyText is how far an open proposal is: "1 of 3 votes (needs 2 more)".
func tallyText(approvals, needed int) string {
	votes := "votes"
	if needed == 1 {
		votes = "vote"
	}
	if approvals >= needed { // the set has shrunk since
		return fmt.Sprintf("%d of %d %s (an approval given again decides it)", approvals, needed, votes)
	}
	return fmt.Sprintf("%d of %d %s (needs %d more)", approvals, needed, votes, needed-approvals)
}

// voters names who has voted: "for 1, 2; against 3". Validators are named by
// their ids, guardians by the beginning of theirs.
func (v *proposalOutput) voters() string {
	last := map[string]bool{}
	var names []string
	for _, o := range v.Votes {
		name := o.Account.String()[:8] + "…"
		if o.Validator != 0 {
			name = fmt.Sprint(o.Validator)
		}
		if _, known := last[name]; !known {
			names = append(names, name)
		}
		last[name] = o.Approves
	}
	var sides []string
	for _, side := range []struct {
		word     string
		approves bool
	}{{"for ", true}, {"against ", false}} {
		of := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return last[name] != side.approves })
		if len(of) > 0 {
			sides = append(sides, side.word+strings.Join(of, ", "))
		}
	}
	return strings.Join(sides, "; ")
}
