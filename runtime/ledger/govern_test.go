package ledger

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// member is the key of a validator of a council, counted from 1.
func member(i int) person { return person(fmt.Sprintf("member %d", i)) }

// council makes a genesis with n validators.
func council(n int, change func(*chain.Genesis)) func(*chain.Genesis) {
	return func(g *chain.Genesis) {
		g.Validators = nil
		for i := 1; i <= n; i++ {
			g.Validators = append(g.Validators, chain.Validator{ID: uint64(i), Key: member(i).Public()})
			g.Accounts = append(g.Accounts, chain.Grant{Key: member(i).Public(), Roles: abi.RoleValidator})
		}
		if change != nil {
			change(g)
		}
	}
}

// possessionOf is a statement of a key for an account.
func (w *world) possessionOf(kind chain.StatementKind, key person, account abi.Hash) []byte {
	w.t.Helper()
	return w.statement(&chain.Statement{Chain: w.l.ChainID(), Kind: kind, Expiry: w.l.Head().Time + 3_600_000, Body: chain.RotationBody(account)}, key)
}

func (w *world) statement(s *chain.Statement, by person) []byte {
	w.t.Helper()
	raw, err := chain.SignStatement(s, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// joins is the proposal to add a key without an account.
func (w *world) joins(key person) *chain.Propose {
	w.t.Helper()
	return proposal(chain.ProposeAddValidator, &chain.AddValidator{Statement: w.possessionOf(chain.StatementValidator, key, key.id())})
}

func proposal(kind chain.ProposalKind, a argument) *chain.Propose {
	return &chain.Propose{Kind: kind, Args: a.Append(nil), Reason: "because of " + kind.String()}
}

// put makes a proposal that must be accepted and gives its number.
func (w *world) put(by person, p *chain.Propose) uint64 {
	w.t.Helper()
	return w.numberOf(w.must(by, chain.OpPropose, p))
}

func (w *world) numberOf(o chain.Outcome) uint64 {
	w.t.Helper()
	r := cbor.NewReader(o.Result)
	n := r.Uint()
	if err := r.Done(); err != nil {
		w.t.Fatalf("result %x: %v", o.Result, err)
	}
	return n
}

func (w *world) vote(by person, op chain.Op, number uint64) chain.Outcome {
	w.t.Helper()
	return w.do(by, op, &chain.Vote{Proposal: number})
}

func (w *world) proposal(number uint64) chain.Proposal {
	w.t.Helper()
	return record(w, chain.ProposalKey(number), chain.ParseProposal)
}

func (w *world) wantStatus(number uint64, s chain.ProposalStatus, code abi.Code) chain.Proposal {
	w.t.Helper()
	p := w.proposal(number)
	if p.Status != s || p.Code != code {
		w.t.Fatalf("proposal %d is %v with %v, want %v with %v", number, p.Status, p.Code, s, code)
	}
	return p
}

// agree has the first n members approve what was proposed by another, or by
// member 1.
func (w *world) agree(p *chain.Propose, n int) uint64 {
	w.t.Helper()
	number := w.put(operator, p)
	for i := 1; i <= n; i++ {
		w.want(w.vote(member(i), chain.OpApprove, number), abi.OK)
	}
	return number
}

func (w *world) ids() (ids []uint64) {
	for _, v := range w.l.ValidatorSet() {
		ids = append(ids, v.ID)
	}
	return ids
}

func (w *world) wantIDs(ids ...uint64) {
	w.t.Helper()
	if got := w.ids(); fmt.Sprint(got) != fmt.Sprint(ids) {
		w.t.Fatalf("validators are %v, want %v", got, ids)
	}
	w.checkSeats()
}

// checkSeats checks what must hold of every set.
func (w *world) checkSeats() {
	w.t.Helper()
	set := w.l.ValidatorSet()
	if err := checkSet(set); err != nil {
		w.t.Fatal(err)
	}
	for _, v := range set {
		id := abi.Hash(record(w, chain.KeyIndexKey(v.Key), raw))
		a := record(w, chain.AccountKey(id), chain.ParseAccount)
		if !bytes.Equal(a.Key, v.Key) || a.Roles&abi.RoleValidator == 0 {
			w.t.Fatalf("validator %d has account %+v", v.ID, a)
		}
	}
	if w.l.Head().NextValidators != set.Hash() {
		w.t.Fatal("the header names other validators")
	}
}

func (w *world) roles(id abi.Hash) abi.Role {
	w.t.Helper()
	return record(w, chain.AccountKey(id), chain.ParseAccount).Roles
}

func TestQuorumAddsAndRemovesValidators(t *testing.T) {
	w := newWorld(t, council(4, nil))
	number := w.agree(w.joins("fifth"), 2)
	w.wantStatus(number, chain.ProposalOpen, abi.OK)
	w.wantIDs(1, 2, 3, 4)
	w.want(w.do(member(3), chain.OpApprove, &chain.Vote{Proposal: number, Reason: "known to me"}), abi.OK)
	w.wantIDs(1, 2, 3, 4, 5)
	p := w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	h := w.l.Head()
	if p.Proposer != operator.id() || p.Reason != "because of add-validator" || p.Needed != 3 || len(p.Votes) != 3 ||
		p.Votes[2].Account != member(3).id() || p.Votes[2].Validator != 3 || p.Votes[2].Reason != "known to me" ||
		p.Votes[2].Height != h.Height || p.Votes[2].Time != h.Time || p.Executed != h.Height || p.At != h.Height || p.Decided != h.Time {
		t.Errorf("history is %+v", p)
	}
	before, err := chain.ParseValidatorSet(p.Before)
	if err != nil || len(before) != 4 {
		t.Errorf("set before: %v, %v", before, err)
	}
	if w.roles(person("fifth").id()) != abi.RoleValidator {
		t.Error("the new validator has not the role")
	}
	if h.Validators == h.NextValidators {
		t.Error("the header does not show the change")
	}
	// Five need four: ceil((5+1+1)/2).
	removed := w.agree(proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 1}), 3)
	w.wantStatus(removed, chain.ProposalOpen, abi.OK)
	w.want(w.vote("fifth", chain.OpApprove, removed), abi.OK)
	w.wantIDs(2, 3, 4, 5)
	if w.roles(member(1).id()) != 0 {
		t.Error("the removed validator has the role still")
	}
	again := w.put(operator, w.joins("sixth"))
	w.want(w.vote(member(1), chain.OpApprove, again), abi.CodeNotPermitted)
}

func TestWhoMayPropose(t *testing.T) {
	w := newWorld(t, council(4, nil))
	remove := proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 2})
	w.try([]attempt{
		{"nobody", nobody, chain.OpPropose, remove, abi.CodeMissingRole},
		{"a developer", developer, chain.OpPropose, remove, abi.CodeMissingRole},
		{"the role without a seat", validator, chain.OpPropose, remove, abi.CodeMissingRole},
		{"a deployment by an operator", operator, chain.OpPropose, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "c"}), abi.CodeMissingRole},
		{"a recovery by no guardian", operator, chain.OpPropose, proposal(chain.ProposeRecover, &chain.Recover{Account: owner.id(), Statement: []byte{1}}), abi.CodeNotPermitted},
		{"an unknown kind", operator, chain.OpPropose, &chain.Propose{Kind: 11, Args: []byte{0xa0}, Reason: "r"}, abi.CodeUnknownOp},
		{"no reason", operator, chain.OpPropose, &chain.Propose{Kind: remove.Kind, Args: remove.Args}, abi.CodeBadArgument},
		{"arguments of another kind", operator, chain.OpPropose, &chain.Propose{Kind: chain.ProposeRecover, Args: remove.Args, Reason: "r"}, abi.CodeMalformed},
		{"a validator that is not there", operator, chain.OpPropose, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 9}), abi.CodeUnknownValidator},
		{"a vote for nothing", member(1), chain.OpApprove, &chain.Vote{Proposal: 1}, abi.CodeUnknownProposal},
		{"a vote against nothing", member(1), chain.OpReject, &chain.Vote{Proposal: 1}, abi.CodeUnknownProposal},
		{"an operator", operator, chain.OpPropose, remove, abi.OK},
		{"a validator", member(1), chain.OpPropose, remove, abi.OK},
		{"a vote by an operator", operator, chain.OpApprove, &chain.Vote{Proposal: 1}, abi.CodeNotPermitted},
		{"a vote by the role without a seat", validator, chain.OpApprove, &chain.Vote{Proposal: 1}, abi.CodeNotPermitted},
	})
	if p := w.proposal(1); len(p.Votes) != 0 {
		t.Errorf("an operator's proposal has votes %+v", p.Votes)
	}
	if p := w.proposal(2); len(p.Votes) != 1 || !p.Votes[0].Approves || p.Votes[0].Validator != 1 {
		t.Errorf("a validator's proposal has votes %+v", p.Votes)
	}
}

func TestVoteTwice(t *testing.T) {
	w := newWorld(t, council(4, nil))
	number := w.put(member(1), w.joins("fifth"))
	vote := func(name string, by person, op chain.Op, want abi.Code) attempt {
		return attempt{name, by, op, &chain.Vote{Proposal: number}, want}
	}
	w.try([]attempt{
		vote("the proposer again", member(1), chain.OpApprove, abi.CodeVotedAlready),
		vote("second", member(2), chain.OpApprove, abi.OK),
		vote("again", member(2), chain.OpApprove, abi.CodeVotedAlready),
		vote("taken back", member(2), chain.OpReject, abi.OK),
		vote("for good", member(2), chain.OpApprove, abi.CodeVotedAlready),
		vote("and again", member(2), chain.OpReject, abi.CodeVotedAlready),
		vote("third", member(3), chain.OpApprove, abi.OK),
	})
	w.wantStatus(number, chain.ProposalOpen, abi.OK)
	w.want(w.vote(member(4), chain.OpReject, number), abi.OK)
	p := w.wantStatus(number, chain.ProposalRejected, abi.OK)
	if len(p.Votes) != 5 || p.Decided == 0 || p.Needed != 3 {
		t.Errorf("history is %+v", p)
	}
	w.want(w.vote(member(4), chain.OpApprove, number), abi.CodeProposalClosed)
	if _, ok := w.l.NextTimer(); ok {
		t.Error("a timer is left of a closed proposal")
	}
}

// Two votes of one validator in one block, and more than are needed.
func TestVotesInOneBlock(t *testing.T) {
	w := newWorld(t, council(4, nil))
	number := w.put(operator, w.joins("fifth"))
	vote := func(i int) []byte { return w.tx(member(i), chain.OpApprove, &chain.Vote{Proposal: number}) }
	list := w.block(vote(1), vote(1), vote(2), vote(2), vote(1), vote(3), vote(4))
	for i, want := range []abi.Code{abi.OK, abi.CodeVotedAlready, abi.OK, abi.CodeVotedAlready, abi.CodeVotedAlready, abi.OK, abi.CodeProposalClosed} {
		if list[i].Code != want {
			t.Errorf("vote %d: %v, want %v", i, list[i].Code, want)
		}
	}
	w.wantIDs(1, 2, 3, 4, 5)
	replayed := vote(4)
	w.want(w.block(replayed)[0], abi.CodeProposalClosed)
	w.want(w.block(replayed)[0], abi.CodeReplayed)
}

// Whoever has lost the seat by the same block's earlier transaction has no
// vote, and the approvals that it gave before do not count any more.
func TestRemovedValidatorDoesNotCount(t *testing.T) {
	w := newWorld(t, council(4, nil))
	joins := w.put(member(4), w.joins("fifth"))
	w.want(w.vote(member(1), chain.OpApprove, joins), abi.OK)
	leaves := w.put(member(1), proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4}))
	w.want(w.vote(member(2), chain.OpApprove, leaves), abi.OK)
	list := w.block(
		w.tx(member(3), chain.OpApprove, &chain.Vote{Proposal: leaves}),
		w.tx(member(4), chain.OpApprove, &chain.Vote{Proposal: joins}),
		w.tx(member(4), chain.OpPropose, w.joins("accomplice")),
		w.tx(member(2), chain.OpApprove, &chain.Vote{Proposal: joins}))
	w.want(list[0], abi.OK)
	w.want(list[1], abi.CodeNotPermitted)
	w.want(list[2], abi.CodeMissingRole)
	w.want(list[3], abi.OK)
	// Three validators need two, which member 1 and 2 are.
	w.wantStatus(joins, chain.ProposalExecuted, abi.OK)
	w.wantIDs(1, 2, 3, 5)
}

// A set that shrinks may leave a proposal with approvals enough; whoever gave
// one decides it by giving it again.
func TestApprovalsSufficeLater(t *testing.T) {
	w := newWorld(t, council(4, nil))
	joins := w.put(member(1), w.joins("fifth"))
	w.want(w.vote(member(2), chain.OpApprove, joins), abi.OK)
	w.want(w.vote(member(2), chain.OpApprove, joins), abi.CodeVotedAlready)
	w.agree(proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4}), 3)
	w.wantStatus(joins, chain.ProposalOpen, abi.OK)
	w.want(w.vote(member(2), chain.OpApprove, joins), abi.OK)
	if p := w.wantStatus(joins, chain.ProposalExecuted, abi.OK); len(p.Votes) != 2 {
		t.Errorf("votes are %+v", p.Votes)
	}
	w.wantIDs(1, 2, 3, 5)
}

func TestAddValidatorRefused(t *testing.T) {
	w := newWorld(t, council(4, nil))
	w.enrol("lock", nil)
	w.must(nobody, chain.OpRotate, w.rotation(nobody, "second key", start+3_600_000))
	add := func(statement []byte) *chain.Propose {
		return proposal(chain.ProposeAddValidator, &chain.AddValidator{Statement: statement})
	}
	says := func(change func(*chain.Statement)) *chain.Propose {
		s := chain.Statement{Chain: w.l.ChainID(), Kind: chain.StatementValidator, Expiry: w.now + 3_600_000, Body: chain.RotationBody(person("fifth").id())}
		change(&s)
		return add(w.statement(&s, "fifth"))
	}
	of := func(key, account person) *chain.Propose {
		return add(w.possessionOf(chain.StatementValidator, key, account.id()))
	}
	w.try([]attempt{
		{"another chain", operator, chain.OpPropose, says(func(s *chain.Statement) { s.Chain = abi.Hash{1} }), abi.CodeWrongChain},
		{"over", operator, chain.OpPropose, says(func(s *chain.Statement) { s.Expiry = start }), abi.CodeExpired},
		{"of another kind", operator, chain.OpPropose, says(func(s *chain.Statement) { s.Kind = chain.StatementRotate }), abi.CodeBadArgument},
		{"another body", operator, chain.OpPropose, says(func(s *chain.Statement) { s.Body = []byte{0xa0} }), abi.CodeBadArgument},
		{"forged", operator, chain.OpPropose, add(forge(w.possessionOf(chain.StatementValidator, "fifth", person("fifth").id()))), abi.CodeBadSignature},
		{"for an account that is not the key's", operator, chain.OpPropose, of("fifth", owner), abi.CodeNotPermitted},
		{"a seated key", operator, chain.OpPropose, of(member(1), member(1)), abi.CodeBadValidatorSet},
		{"a device", operator, chain.OpPropose, of("lock", "lock"), abi.CodeNotPermitted},
		{"a key that was replaced", operator, chain.OpPropose, of(nobody, nobody), abi.CodeAccountExists},
		{"an account under its first key's name", operator, chain.OpPropose, of("second key", "second key"), abi.CodeNotPermitted},
		{"an account by its present key", operator, chain.OpPropose, of("second key", nobody), abi.OK},
		{"roles that are none", operator, chain.OpPropose, proposal(chain.ProposeAddValidator,
			&chain.AddValidator{Statement: []byte{1}, Roles: abi.AllRoles + 1}), abi.CodeBadArgument},
	})
}

// An account's roles stay when it becomes a validator, and those of the
// proposal come to them.
func TestAddValidatorRoles(t *testing.T) {
	w := newWorld(t, council(1, nil))
	add := chain.AddValidator{Statement: w.possessionOf(chain.StatementValidator, owner, owner.id()), Roles: abi.RoleGateway}
	number := w.put(member(1), proposal(chain.ProposeAddValidator, &add))
	w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	w.wantIDs(1, 2)
	if got := w.roles(owner.id()); got != abi.RoleOwner|abi.RoleGateway|abi.RoleValidator {
		t.Errorf("roles are %v", got.Names())
	}
}

func TestLastValidatorStays(t *testing.T) {
	w := newWorld(t, council(1, nil))
	w.try([]attempt{
		{"removed", member(1), chain.OpPropose, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 1}), abi.CodeBadValidatorSet},
	})
	w.wantIDs(1)
	statement := w.possessionOf(chain.StatementValidator, "heir", person("heir").id())
	w.put(member(1), proposal(chain.ProposeReplaceValidator, &chain.ReplaceValidator{ID: 1, Statement: statement}))
	w.wantIDs(2)
	if w.roles(member(1).id()) != 0 || w.roles(person("heir").id()) != abi.RoleValidator {
		t.Error("roles did not follow")
	}
}

func TestSixteenValidatorsAtMost(t *testing.T) {
	w := newWorld(t, council(chain.MaxValidators, nil))
	w.try([]attempt{{"a seventeenth", operator, chain.OpPropose, w.joins("one more"), abi.CodeBadValidatorSet}})
	w.agree(proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 16}), 11)
	// Two proposals for one place, decided in one block: 15 need ten approvals,
	// and 16 again eleven.
	first, second := w.agree(w.joins("a"), 9), w.agree(w.joins("b"), 9)
	for _, o := range w.block(
		w.tx(member(10), chain.OpApprove, &chain.Vote{Proposal: first}),
		w.tx(member(10), chain.OpApprove, &chain.Vote{Proposal: second})) {
		w.want(o, abi.OK)
	}
	w.wantStatus(first, chain.ProposalExecuted, abi.OK)
	w.wantStatus(second, chain.ProposalOpen, abi.OK)
	w.want(w.vote(member(11), chain.OpApprove, second), abi.OK)
	w.wantStatus(second, chain.ProposalFailed, abi.CodeBadValidatorSet)
	w.wantIDs(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17)
	if _, there := find(w, chain.AccountKey(person("b").id()), raw); there {
		t.Error("a failed proposal left an account")
	}
}

// Ids and keys: an id is never given again, also when the newest goes.
func TestValidatorIDsAreNotUsedAgain(t *testing.T) {
	w := newWorld(t, council(1, nil))
	w.put(member(1), w.joins("a"))
	w.wantIDs(1, 2)
	both := func(p *chain.Propose) {
		t.Helper()
		number := w.put(member(1), p)
		w.want(w.vote(person(lastKey(w)), chain.OpApprove, number), abi.OK)
	}
	both(proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 2}))
	w.wantIDs(1)
	w.put(member(1), w.joins("a2"))
	w.wantIDs(1, 3)
	if w.vote("a", chain.OpApprove, 1).Code != abi.CodeProposalClosed {
		t.Error("a decided proposal takes votes")
	}
}

// lastKey names the newest validator among those that tests add.
func lastKey(w *world) string {
	set := w.l.ValidatorSet()
	for _, name := range []string{"a", "a2"} {
		if bytes.Equal(person(name).Public(), set[len(set)-1].Key) {
			return name
		}
	}
	return ""
}
