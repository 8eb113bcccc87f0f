package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/wasm"
)

// politics plays random operations of governance by random accounts, one a
// block, and checks after each what must always hold.
type politics struct {
	*world
	rand      *rand.Rand
	people    []person                   // whoever sends: keys that were seen, replaced ones too
	fresh     int                        // number of the next new key
	ids       map[uint64]bool            // every validator id so far, and whether it sits
	highest   uint64                     // of them
	final     map[uint64][]byte          // records of proposals that are closed
	set       chain.ValidatorSet         // before the block
	params    []byte                     // the same
	steps     int                        // changes of the set so far
	undecided []uint64                   // proposals
	reached   map[chain.ProposalKind]int // proposals executed, by kind
}

func newPolitics(t testing.TB, seed uint64) *politics {
	p := &politics{rand: rand.New(rand.NewPCG(seed, 0)), ids: make(map[uint64]bool), final: make(map[uint64][]byte),
		reached: make(map[chain.ProposalKind]int)}
	n := 1 + p.rand.IntN(5)
	p.world = newWorld(t, council(n, func(g *chain.Genesis) { g.Params.ProposalTime = hour; g.Params.DeployApprovals = p.rand.Uint64N(3) }))
	p.people = []person{operator, developer, owner, other, authority, door, nobody}
	for i := range n {
		p.people = append(p.people, member(i+1))
	}
	p.remember()
	for _, v := range p.set {
		p.ids[v.ID], p.highest = true, max(p.highest, v.ID)
	}
	return p
}

func (p *politics) remember() {
	p.set, p.params = p.l.ValidatorSet(), record(p.world, chain.ParamsKey(), raw)
}

func (p *politics) one() person { return p.people[p.rand.IntN(len(p.people))] }

// key is one of somebody, or a new one.
func (p *politics) key() person {
	if p.rand.IntN(3) == 0 {
		return p.one()
	}
	p.fresh++
	k := person(fmt.Sprint("fresh ", p.fresh))
	p.people = append(p.people, k)
	return k
}

// account is the account of a key now, or the one that it would begin.
func (p *politics) account(of person) abi.Hash {
	if id, ok := find(p.world, chain.KeyIndexKey(of.Public()), raw); ok {
		return abi.Hash(id)
	}
	return of.id()
}

// seat is an id: mostly of a validator.
func (p *politics) seat() uint64 {
	if p.rand.IntN(8) == 0 {
		return p.rand.Uint64N(p.highest + 3)
	}
	return p.set[p.rand.IntN(len(p.set))].ID
}

func (p *politics) step() []byte {
	switch n := p.rand.IntN(20); {
	case n < 6:
		return p.tx(p.proposer(), chain.OpPropose, p.idea())
	case n < 15:
		op := chain.OpApprove
		if p.rand.IntN(6) == 0 {
			op = chain.OpReject
		}
		return p.tx(p.voter(), op, &chain.Vote{Proposal: p.recent()})
	case n < 16:
		return p.tx([]person{owner, p.one()}[p.rand.IntN(2)], chain.OpGuardians, &chain.Guardians{
			Accounts: []abi.Hash{p.account(authority), p.account(other), p.account(door)}, Threshold: 1 + p.rand.Uint64N(3), Delay: 1 + p.rand.Int64N(hour/4)})
	case n < 17:
		return p.tx(operator, chain.OpGrant, &chain.Grant{Key: p.key().Public(), Roles: abi.Role(p.rand.Uint64N(uint64(abi.AllRoles) + 1))})
	case n < 18:
		who := p.one()
		return p.tx(who, chain.OpRotate, &chain.Rotate{Statement: p.possessionOf(chain.StatementRotate, p.key(), p.account(who))})
	}
	p.now += p.rand.Int64N(hour / 2)
	return p.tx(operator, chain.OpGuardians, &chain.Guardians{})
}

// voter is mostly somebody who sits in the set.
func (p *politics) voter() person {
	if p.rand.IntN(6) == 0 {
		return []person{authority, other, door}[p.rand.IntN(3)]
	}
	if p.rand.IntN(8) > 0 {
		v := p.set[p.rand.IntN(len(p.set))]
		for _, who := range p.people {
			if bytes.Equal(who.Public(), v.Key) {
				return who
			}
		}
	}
	return p.one()
}

// proposer is mostly somebody who may propose something.
func (p *politics) proposer() person {
	switch p.rand.IntN(4) {
	case 0:
		return p.one()
	case 1:
		return []person{authority, other, door}[p.rand.IntN(3)]
	}
	return p.voter()
}

// recent is the number of a proposal: mostly one that is not decided.
func (p *politics) recent() uint64 {
	if n := len(p.undecided); n > 0 && p.rand.IntN(6) > 0 {
		return p.undecided[n-1-min(n-1, p.rand.IntN(4))]
	}
	last, _ := find(p.world, chain.ProposalNumberKey(), parseUint)
	return last + 1 - min(last, p.rand.Uint64N(6))
}

// idea is a proposal; it may be good or bad.
func (p *politics) idea() *chain.Propose {
	key := p.key()
	voting := p.possessionOf(chain.StatementValidator, key, p.account(key))
	switch p.rand.IntN(9) {
	case 0, 1:
		return proposal(chain.ProposeAddValidator, &chain.AddValidator{Statement: voting, Roles: abi.Role(p.rand.Uint64N(uint64(abi.AllRoles)))})
	case 2:
		return proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: p.seat()})
	case 3:
		return proposal(chain.ProposeReplaceValidator, &chain.ReplaceValidator{ID: p.seat(), Statement: voting})
	case 4:
		seat := p.set[p.rand.IntN(len(p.set))]
		id := abi.Hash(record(p.world, chain.KeyIndexKey(seat.Key), raw))
		return p.rotates(seat.ID, id, key)
	case 5:
		return proposal(chain.ProposeGrant, &chain.Grant{Key: key.Public(), Roles: abi.Role(p.rand.Uint64N(uint64(abi.AllRoles) + 1))})
	case 6:
		return p.paramsLike(func(q *chain.Params) { q.SnapshotBlocks, q.DeployApprovals = p.rand.Uint64N(9), p.rand.Uint64N(20) })
	case 7:
		return proposal(chain.ProposeDeploy, &chain.Deploy{Name: fmt.Sprint("c", p.fresh), Code: abi.Hash{byte(p.fresh)}})
	}
	account := owner.id()
	return proposal(chain.ProposeRecover, &chain.Recover{Account: account, Statement: p.possessionOf(chain.StatementRotate, key, account)})
}

// check looks at what the block has made of the ledger.
func (p *politics) check() {
	p.t.Helper()
	p.checkSeats()
	p.checkIDs()
	changed := p.checkHistory()
	now := p.l.ValidatorSet()
	if (now.Hash() != p.set.Hash()) != (changed == 1) {
		p.t.Fatalf("the set went from %v to %v by %d proposals", p.set, now, changed)
	}
	p.steps += changed
	p.remember()
}

// checkIDs: who comes has an id above all before, and who went stays away.
func (p *politics) checkIDs() {
	p.t.Helper()
	sits := make(map[uint64]bool)
	for _, v := range p.l.ValidatorSet() {
		sits[v.ID] = true
		if sat, known := p.ids[v.ID]; known && !sat || !known && v.ID <= p.highest {
			p.t.Fatalf("validator id %d was used before", v.ID)
		}
	}
	for id := range p.ids {
		p.ids[id] = sits[id]
	}
	for id := range sits {
		p.ids[id], p.highest = true, max(p.highest, id)
	}
}

// checkHistory reads all proposals. They are numbered without a gap, what is
// closed never changes, the list of undecided ones and their timers are exactly
// those, and whatever was executed in this block had its quorum.
func (p *politics) checkHistory() (changed int) {
	p.t.Helper()
	var undecided []uint64
	var last chain.Proposal
	for number := uint64(1); ; number++ {
		encoded, ok := find(p.world, chain.ProposalKey(number), raw)
		if !ok {
			break
		}
		q, err := chain.ParseProposal(encoded)
		if err != nil || q.Height < last.Height || q.Time < last.Time || q.Reason == "" {
			p.t.Fatalf("proposal %d: %+v, %v", number, q, err)
		}
		last = q
		if !q.Status.Final() {
			undecided = append(undecided, number)
			continue
		}
		if was, closed := p.final[number]; closed {
			if !bytes.Equal(was, encoded) {
				p.t.Fatalf("proposal %d was closed and has changed", number)
			}
			continue
		}
		p.final[number] = encoded
		changed += p.checkDecision(number, &q)
	}
	if n, _ := find(p.world, chain.ProposalNumberKey(), parseUint); n != uint64(len(p.final)+len(undecided)) {
		p.t.Fatalf("%d proposals are counted, %d and %d are there", n, len(p.final), len(undecided))
	}
	p.undecided = undecided
	p.checkUndecided(undecided)
	return changed
}

// checkDecision judges a proposal that was closed in this block; it gives 1 if
// that changed the set.
func (p *politics) checkDecision(number uint64, q *chain.Proposal) int {
	p.t.Helper()
	if q.Decided == 0 || q.At == 0 {
		p.t.Fatalf("proposal %d has no time of its decision: %+v", number, q)
	}
	if q.Status != chain.ProposalExecuted {
		return 0
	}
	p.reached[q.Kind]++
	if q.Kind == chain.ProposeRecover || byDeveloper(q.Kind) {
		return 0
	}
	agreed := make(map[uint64]bool)
	for _, v := range q.Votes {
		if _, sits := p.set.Key(v.Validator); sits {
			agreed[v.Validator] = v.Approves
		}
	}
	count := 0
	for _, yes := range agreed {
		if yes {
			count++
		}
	}
	if count < p.set.Quorum() || q.Needed != uint64(p.set.Quorum()) {
		p.t.Fatalf("proposal %d was executed by %d of %d", number, count, len(p.set))
	}
	switch q.Kind {
	case chain.ProposeGrant:
		return 0
	case chain.ProposeParams:
		if !bytes.Equal(q.Before, p.params) || !bytes.Equal(q.Args, record(p.world, chain.ParamsKey(), raw)) {
			p.t.Fatalf("proposal %d tells of other parameters", number)
		}
		return 0
	}
	if !bytes.Equal(q.Before, p.set.Append(nil)) {
		p.t.Fatalf("proposal %d tells of another set before it", number)
	}
	return 1
}

// checkUndecided compares the undecided proposals with their list and timers.
func (p *politics) checkUndecided(want []uint64) {
	p.t.Helper()
	v, err := p.store.View()
	if err != nil {
		p.t.Fatal(err)
	}
	defer v.Release()
	var listed, timed []uint64
	of := make(map[abi.Hash]int)
	err = each(cold{v}, chain.OpenProposalsPrefix(), func(key, _ []byte) (bool, error) {
		listed = append(listed, chain.OpenProposalNumber(key))
		of[abi.Hash(key[1:33])]++
		return true, nil
	})
	if err == nil {
		err = each(cold{v}, chain.TimerPrefix(), func(_, value []byte) (bool, error) {
			t, err := chain.ParseTimer(value)
			if t.Kind == chain.TimerProposal {
				timed = append(timed, t.Proposal)
			}
			return true, err
		})
	}
	slices.Sort(listed)
	slices.Sort(timed)
	if err != nil || !slices.Equal(listed, want) || !slices.Equal(timed, want) {
		p.t.Fatalf("undecided are %v, listed %v, with timers %v, %v", want, listed, timed, err)
	}
	for account, n := range of {
		if n > chain.MaxOpenProposals {
			p.t.Fatalf("%x has %d undecided proposals", account[:4], n)
		}
	}
}

// checkSteps walks from the genesis to the present set.
func (p *politics) checkSteps() {
	p.t.Helper()
	steps, more, err := p.l.Steps(0, 1<<20)
	for err == nil && more {
		var s proof.Step
		var next [][]byte
		if s, err = proof.ParseStep(steps[len(steps)-1]); err == nil {
			next, more, err = p.l.Steps(s.Header.Height, 1<<20)
			steps = append(steps, next...)
		}
	}
	if err != nil || len(steps) != p.steps {
		p.t.Fatalf("%d steps of %d changes, %v", len(steps), p.steps, err)
	}
	set := p.l.Genesis().Validators
	for _, raw := range steps {
		s, err := proof.ParseStep(raw)
		if err != nil || s.Header.Validators != set.Hash() || s.Header.NextValidators != s.Next.Hash() {
			p.t.Fatalf("step %+v does not follow, %v", s.Header, err)
		}
		set = s.Next
	}
	if set.Hash() != p.l.ValidatorSet().Hash() {
		p.t.Fatal("the steps do not lead to the present set")
	}
}

// checkReplay has another node execute all blocks.
func (p *politics) checkReplay() {
	p.t.Helper()
	other := worldOn(p.t, p.genesis, wasm.Config{})
	for h := uint64(1); h <= p.l.Head().Height; h++ {
		other.commit(p.blockAt(h))
	}
	if other.l.Head() != p.l.Head() {
		p.t.Fatal("another node comes to another head")
	}
}

// TestGovernanceAlwaysHolds plays random politics on chains of different sizes;
// a seed that fails is named by its subtest.
func TestGovernanceAlwaysHolds(t *testing.T) {
	total := make(map[chain.ProposalKind]int)
	steps := 0
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := newPolitics(t, seed)
			for i := range 300 {
				p.block(p.step())
				p.check()
				if i%100 == 99 {
					p.reopen()
				}
			}
			p.checkSteps()
			if seed < 3 {
				p.checkReplay()
			}
			for kind, n := range p.reached {
				total[kind] += n
			}
			steps += p.steps
		})
	}
	for _, kind := range []chain.ProposalKind{chain.ProposeAddValidator, chain.ProposeRemoveValidator, chain.ProposeReplaceValidator,
		chain.ProposeRotateValidator, chain.ProposeGrant, chain.ProposeParams, chain.ProposeRecover} {
		if total[kind] == 0 {
			t.Errorf("no proposal to %v was executed: the test has not tried enough", kind)
		}
	}
	t.Logf("executed %v, %d changes of the set", total, steps)
}
