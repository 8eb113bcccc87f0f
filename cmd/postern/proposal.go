package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// proposalOutput is what commands print of a proposal.
type proposalOutput struct {
	Proposal uint64       `json:"proposal"`
	Kind     string       `json:"kind"`
	What     string       `json:"what"`
	Reason   string       `json:"reason"`
	Status   string       `json:"status"`
	Proposer hexBytes     `json:"proposer"`
	Proposed time.Time    `json:"proposed"`
	Height   uint64       `json:"proposed_height"`
	Expires  time.Time    `json:"expires"`
	Votes    []voteOutput `json:"votes"`
	Needed   uint64       `json:"approvals_needed,omitempty"` // of an open one: now
	Due      *time.Time   `json:"due,omitempty"`
	Decided  *time.Time   `json:"decided,omitempty"`
	At       uint64       `json:"decided_height,omitempty"`
	Executed uint64       `json:"executed_height,omitempty"`
	Failure  string       `json:"failure,omitempty"`
	Proved   uint64       `json:"proved_at_height"`

	Approvals *int `json:"approvals,omitempty"` // of an open one: those that count now
}

type voteOutput struct {
	Account   hexBytes  `json:"account"`
	Validator uint64    `json:"validator,omitempty"` // absent for a guardian
	Approves  bool      `json:"approves"`
	Time      time.Time `json:"time"`
	Height    uint64    `json:"height"`
	Reason    string    `json:"reason,omitempty"`
}

func describe(p *client.Proposal) proposalOutput {
	v := proposalOutput{
		Proposal: p.Number, Kind: p.Kind.String(), What: whatOf(p), Reason: p.Reason, Status: p.Status.String(), Proposer: p.Proposer[:],
		Proposed: time.UnixMilli(p.Time).UTC(), Height: p.Proposal.Height, Expires: time.UnixMilli(p.Expiry).UTC(), Votes: []voteOutput{},
		Needed: p.Needed, Due: timeOf(p.Due), Decided: timeOf(p.Decided), At: p.At, Executed: p.Executed, Proved: p.Height,
	}
	if p.Status == chain.ProposalFailed {
		v.Failure = p.Code.Name()
	}
	for i := range p.Votes {
		o := &p.Votes[i]
		v.Votes = append(v.Votes, voteOutput{o.Account[:], o.Validator, o.Approves, time.UnixMilli(o.Time).UTC(), o.Height, o.Reason})
	}
	return v
}

// timeOf is a time in ms, nil for none.
func timeOf(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// standing is where the proposal stands, on one line.
func (v *proposalOutput) standing() string {
	switch {
	case v.Failure != "":
		return v.Status + " (" + v.Failure + ")"
	case v.Status == chain.ProposalApproved.String() && v.Due != nil:
		return "approved, due " + v.Due.Format(time.RFC3339)
	case v.Approvals != nil:
		return v.Status + ", " + tallyText(*v.Approvals, int(v.Needed))
	}
	return v.Status
}

func (v *proposalOutput) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "proposal  %d  %s\nstatus    %s\nwhy       %s\nby        %s in block %d, %s\n",
		v.Proposal, v.What, v.standing(), v.Reason, v.Proposer, v.Height, v.Proposed.Format(time.RFC3339))
	if v.Decided == nil {
		fmt.Fprintf(&b, "expires   %s\n", v.Expires.Format(time.RFC3339))
	} else {
		fmt.Fprintf(&b, "decided   in block %d, %s", v.At, v.Decided.Format(time.RFC3339))
		if v.Needed > 0 {
			fmt.Fprintf(&b, ", %d approvals needed", v.Needed)
		}
		fmt.Fprintln(&b)
	}
	if v.Executed > 0 {
		fmt.Fprintf(&b, "executed  in block %d\n", v.Executed)
	}
	for _, o := range v.Votes {
		fmt.Fprintf(&b, "vote      %s\n", o.text())
	}
	fmt.Fprintf(&b, "proved    at height %d", v.Proved)
	return b.String()
}

func (o *voteOutput) text() string {
	who, vote := fmt.Sprintf("validator %d (%s)", o.Validator, o.Account), "for"
	if o.Validator == 0 {
		who = o.Account.String()
	}
	if !o.Approves {
		vote = "against"
	}
	text := fmt.Sprintf("%-7s  by %s in block %d, %s", vote, who, o.Height, o.Time.Format(time.RFC3339))
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}

// whatOf says in words what a proposal asks for.
func whatOf(p *client.Proposal) string {
	args, err := chain.ParseProposalArgs(p.Kind, p.Args)
	if err != nil {
		return fmt.Sprintf("%v, which this program does not know", p.Kind)
	}
	switch a := args.(type) {
	case *chain.AddValidator:
		what := "add validator " + consentText(a.Statement)
		if names := a.Roles.Names(); len(names) > 0 {
			what += " with the roles " + strings.Join(names, ", ")
		}
		return what
	case *chain.RemoveValidator:
		return fmt.Sprintf("remove validator %d", a.ID)
	case *chain.ReplaceValidator:
		if p.Kind == chain.ProposeRotateValidator {
			return fmt.Sprintf("rotate validator %d to %s", a.ID, consentText(a.Statement))
		}
		return fmt.Sprintf("replace validator %d by %s", a.ID, consentText(a.Statement))
	case *chain.Grant:
		return fmt.Sprintf("grant %x %s", chain.AccountID(a.Key), grantText(a))
	case *chain.Params:
		return "set " + paramsText(p.Before, a)
	case *chain.Deploy:
		return fmt.Sprintf("deploy %s, code %x%s", a.Name, a.Code, noteText(a.Note))
	case *chain.Upgrade:
		return fmt.Sprintf("upgrade %s, code %x%s", a.Name, a.Code, noteText(a.Note))
	case *chain.DeclareStolen:
		return fmt.Sprintf("take device %x for stolen: %s", a.Device, a.Reason)
	case *chain.Recover:
		return fmt.Sprintf("recover account %x with %s", a.Account, consentText(a.Statement))
	}
	return p.Kind.String()
}

// consentText is the key that a statement brings in.
func consentText(raw []byte) string {
	s, err := chain.ParseStatement(raw)
	if err != nil {
		return "an unreadable statement"
	}
	return fmt.Sprintf("key %x", s.Key)
}

func grantText(a *chain.Grant) string {
	text := "the roles " + strings.Join(a.Roles.Names(), ", ")
	if a.Roles == 0 {
		text = "no roles"
	}
	if a.GasQuota != 0 {
		text += fmt.Sprintf(", gas quota %d", a.GasQuota)
	}
	if a.StorageQuota != 0 {
		text += fmt.Sprintf(", storage quota %d", a.StorageQuota)
	}
	return text
}

func noteText(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}

// paramsText says which parameters change from what to what.
func paramsText(before []byte, next *chain.Params) string {
	old, err := chain.ParseParams(before)
	if err != nil {
		old = *next
	}
	var list []string
	from, to := paramFields(&old), paramFields(next)
	for i := range to {
		if a, b := from[i].get(), to[i].get(); a != b {
			list = append(list, fmt.Sprintf("%s from %d to %d", to[i].name, a, b))
		}
	}
	if len(list) == 0 {
		return "parameters as they are"
	}
	return strings.Join(list, ", ")
}
