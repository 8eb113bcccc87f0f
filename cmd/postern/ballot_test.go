package main

import (
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// TestApprovalsOfNow counts the last vote of each who has a vote now: not what
// was taken back, nor the votes of who is gone.
func TestApprovalsOfNow(t *testing.T) {
	e := electorate{func(v *chain.ProposalVote) bool { return v.Validator != 3 }, 3}
	p := client.Proposal{Number: 1}
	for _, v := range []struct {
		validator uint64
		approves  bool
	}{{1, true}, {2, true}, {3, true}, {2, false}, {4, true}} {
		p.Votes = append(p.Votes, chain.ProposalVote{Account: abi.Hash{byte(v.validator)}, Validator: v.validator, Approves: v.approves})
	}
	if n, against := p.Tally(e.counts); n != 2 || against != 1 {
		t.Errorf("%d approvals and %d against, want those of 1 and 4, and 2", n, against)
	}
	v := describe(&p)
	if got, want := v.voters(), "for 1, 3, 4; against 2"; got != want {
		t.Errorf("voted %q, want %q", got, want)
	}
}

func TestTallyText(t *testing.T) {
	for want, c := range map[string][2]int{
		"1 of 3 votes (needs 2 more)":                       {1, 3},
		"0 of 1 vote (needs 1 more)":                        {0, 1},
		"3 of 3 votes (an approval given again decides it)": {3, 3},
	} {
		if got := tallyText(c[0], c[1]); got != want {
			t.Errorf("%v is %q, want %q", c, got, want)
		}
	}
}
