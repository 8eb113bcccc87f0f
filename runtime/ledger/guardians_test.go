package ledger

import (
	"bytes"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

const hour = 3_600_000 // ms

// guarded names three guardians for the owner, two of whom must agree, with a
// delay of an hour.
func guarded(w *world) {
	w.t.Helper()
	w.must(owner, chain.OpGuardians, &chain.Guardians{
		Accounts: []abi.Hash{other.id(), authority.id(), door.id()}, Threshold: 2, Delay: hour})
}

// recovery is the proposal to give the owner's account a new key.
func (w *world) recovery(to person) *chain.Propose {
	w.t.Helper()
	return proposal(chain.ProposeRecover,
		&chain.Recover{Account: owner.id(), Statement: w.possessionOf(chain.StatementRotate, to, owner.id())})
}

// wait moves the clock and makes a block for the timer that is due.
func (w *world) wait(ms int64) []chain.Outcome {
	w.t.Helper()
	w.clock.Lock()
	w.now += ms
	w.clock.Unlock()
	return w.tickOver()
}

func TestGuardiansRecover(t *testing.T) {
	w := newWorld(t, nil)
	guarded(w)
	number := w.put(authority, w.recovery("new phone"))
	w.want(w.vote(other, chain.OpApprove, number), abi.OK)
	p := w.wantStatus(number, chain.ProposalApproved, abi.OK)
	if p.Due != p.Decided+hour || p.Needed != 2 {
		t.Errorf("proposal is %+v", p)
	}
	w.must(owner, chain.OpEnrol, w.enrolment("lock", owner, nil)) // the old key is good still
	w.wait(hour - 10_000)
	w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	w.want(w.do(owner, chain.OpGuardians, &chain.Guardians{}), abi.CodeKeyNotCurrent)
	w.must("new phone", chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusSuspended})
	a := record(w, chain.AccountKey(owner.id()), chain.ParseAccount)
	if !bytes.Equal(a.Key, person("new phone").Public()) || a.Roles != abi.RoleOwner {
		t.Errorf("account is %+v", a)
	}
	if was, err := chain.ParseAccount(w.proposal(number).Before); err != nil || !bytes.Equal(was.Key, owner.Public()) {
		t.Errorf("the account before: %+v, %v", was, err)
	}
	if _, ok := w.l.NextTimer(); ok {
		t.Error("a timer is left")
	}
}

func TestOwnerObjects(t *testing.T) {
	w := newWorld(t, nil)
	guarded(w)
	open, approved := w.put(authority, w.recovery("thief")), w.put(other, w.recovery("thief 2"))
	w.want(w.vote(door, chain.OpApprove, approved), abi.OK)
	w.want(w.vote(door, chain.OpReject, approved), abi.CodeProposalClosed) // too late for a guardian
	w.want(w.vote(operator, chain.OpReject, approved), abi.CodeProposalClosed)
	for _, number := range []uint64{open, approved} {
		w.want(w.do(owner, chain.OpReject, &chain.Vote{Proposal: number, Reason: "I am here"}), abi.OK)
		p := w.wantStatus(number, chain.ProposalRejected, abi.OK)
		if v := p.Votes[len(p.Votes)-1]; v.Account != owner.id() || v.Approves || v.Reason != "I am here" {
			t.Errorf("last vote is %+v", v)
		}
		w.want(w.vote(owner, chain.OpReject, number), abi.CodeProposalClosed)
	}
	if _, ok := w.l.NextTimer(); ok {
		t.Error("a timer is left")
	}
	w.must(owner, chain.OpGuardians, &chain.Guardians{})
}

func TestGuardiansBelowThreshold(t *testing.T) {
	w := newWorld(t, nil)
	guarded(w)
	number := w.put(authority, w.recovery("thief"))
	second := w.put(authority, w.recovery("thief")) // another proposal brings no other vote
	try := func(name string, by person, op chain.Op, n uint64, want abi.Code) attempt {
		return attempt{name, by, op, &chain.Vote{Proposal: n}, want}
	}
	w.try([]attempt{
		try("one twice", authority, chain.OpApprove, number, abi.CodeVotedAlready),
		try("one twice, elsewhere", authority, chain.OpApprove, second, abi.CodeVotedAlready),
		try("an operator", operator, chain.OpApprove, number, abi.CodeNotPermitted),
		try("a validator", validator, chain.OpApprove, number, abi.CodeNotPermitted),
		try("the owner for it", owner, chain.OpApprove, number, abi.CodeNotPermitted),
		try("a stranger against it", nobody, chain.OpReject, number, abi.CodeNotPermitted),
		{"a proposal by no guardian", developer, chain.OpPropose, w.recovery("thief"), abi.CodeNotPermitted},
		{"for another account", authority, chain.OpPropose, proposal(chain.ProposeRecover, &chain.Recover{
			Account: owner.id(), Statement: w.possessionOf(chain.StatementRotate, "thief", other.id())}), abi.CodeNotPermitted},
		{"with a statement for validators", authority, chain.OpPropose, proposal(chain.ProposeRecover, &chain.Recover{
			Account: owner.id(), Statement: w.possessionOf(chain.StatementValidator, "thief", owner.id())}), abi.CodeBadArgument},
		{"to a key that is taken", authority, chain.OpPropose, w.recovery(nobody), abi.CodeAccountExists},
		{"to the key that it has", authority, chain.OpPropose, w.recovery(owner), abi.CodeAccountExists},
	})
	// Two of three that are against it leave one, which is not enough.
	w.want(w.vote(other, chain.OpReject, number), abi.OK)
	w.want(w.vote(door, chain.OpReject, number), abi.OK)
	w.wantStatus(number, chain.ProposalRejected, abi.OK)
	w.wait(chain.DefaultParams().ProposalTime + 7*24*hour)
	w.wantStatus(second, chain.ProposalExpired, abi.OK)
}

// The owner drops guardians while their recovery waits: it fails when it is
// due, as it does when the key has become another's.
func TestRecoveryThatFails(t *testing.T) {
	w := newWorld(t, nil)
	guarded(w)
	number := w.put(authority, w.recovery("new phone"))
	w.want(w.vote(other, chain.OpApprove, number), abi.OK)
	w.must(owner, chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{other.id(), door.id()}, Threshold: 2})
	list := w.wait(0)
	w.want(list[0], abi.CodeNotPermitted)
	w.wantStatus(number, chain.ProposalFailed, abi.CodeNotPermitted)
	number = w.put(other, w.recovery("new phone"))
	w.want(w.vote(door, chain.OpApprove, number), abi.OK)
	// Without a delay the next block executes it, before its own transactions.
	list = w.block(w.tx(operator, chain.OpGrant, &chain.Grant{Key: person("new phone").Public(), Roles: abi.RoleDeveloper}))
	w.want(list[1], abi.OK)
	w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	// A key that found an account while the proposal waited is not given twice.
	w.must("new phone", chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{other.id()}, Threshold: 1, Delay: hour})
	number = w.put(other, w.recovery("third"))
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("third").Public()})
	w.wait(hour)
	w.wantStatus(number, chain.ProposalFailed, abi.CodeAccountExists)
}

func TestGuardiansRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.enrol("lock", nil)
	name := func(list ...abi.Hash) *chain.Guardians { return &chain.Guardians{Accounts: list, Threshold: 1} }
	w.try([]attempt{
		{"itself", owner, chain.OpGuardians, name(owner.id()), abi.CodeBadArgument},
		{"nobody's account", owner, chain.OpGuardians, name(abi.Hash{1}), abi.CodeUnknownAccount},
		{"for a device", "lock", chain.OpGuardians, name(other.id()), abi.CodeNotPermitted},
		{"none, where there are none", owner, chain.OpGuardians, &chain.Guardians{}, abi.OK},
	})
}

// A validator's key is not for its guardians to change, not even if it became
// one while they waited.
func TestGuardiansOfAValidator(t *testing.T) {
	w := newWorld(t, council(1, nil))
	w.must(member(1), chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{other.id()}, Threshold: 1})
	guarded(w)
	w.want(w.do(other, chain.OpPropose, proposal(chain.ProposeRecover, &chain.Recover{Account: member(1).id(),
		Statement: w.possessionOf(chain.StatementRotate, "thief", member(1).id())})), abi.CodeNeedsApproval)
	number := w.put(authority, w.recovery("new phone"))
	w.want(w.vote(other, chain.OpApprove, number), abi.OK)
	w.put(member(1), proposal(chain.ProposeAddValidator, &chain.AddValidator{Statement: w.possessionOf(chain.StatementValidator, owner, owner.id())}))
	w.wait(hour)
	w.wantStatus(number, chain.ProposalFailed, abi.CodeNeedsApproval)
	w.wantIDs(1, 2)
}
