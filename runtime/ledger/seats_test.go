package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// rotates is the proposal to give a validator's account another key.
func (w *world) rotates(id uint64, account abi.Hash, to person) *chain.Propose {
	w.t.Helper()
	return proposal(chain.ProposeRotateValidator,
		&chain.ReplaceValidator{ID: id, Statement: w.possessionOf(chain.StatementValidator, to, account)})
}

// replaces is the proposal to give a validator's place to another account.
func (w *world) replaces(id uint64, by person) *chain.Propose {
	w.t.Helper()
	return proposal(chain.ProposeReplaceValidator,
		&chain.ReplaceValidator{ID: id, Statement: w.possessionOf(chain.StatementValidator, by, by.id())})
}

func TestRotateValidator(t *testing.T) {
	w := newWorld(t, council(4, nil))
	w.want(w.do(member(2), chain.OpRotate, w.rotation(member(2), "new key", start+3_600_000)), abi.CodeNeedsApproval)
	w.try([]attempt{
		{"an unknown validator", operator, chain.OpPropose, w.rotates(9, member(2).id(), "new key"), abi.CodeUnknownValidator},
		{"another's account", operator, chain.OpPropose, w.rotates(2, member(3).id(), "new key"), abi.CodeNotPermitted},
		{"a key of another account", operator, chain.OpPropose, w.rotates(2, member(2).id(), owner), abi.CodeAccountExists},
		{"the key it has", operator, chain.OpPropose, w.rotates(2, member(2).id(), member(2)), abi.CodeAccountExists},
		{"another validator's key", operator, chain.OpPropose, w.rotates(2, member(2).id(), member(1)), abi.CodeAccountExists},
	})
	w.agree(w.rotates(2, member(2).id(), "new key"), 3)
	w.wantIDs(1, 2, 3, 4)
	if key, _ := w.l.ValidatorSet().Key(2); !bytes.Equal(key, person("new key").Public()) {
		t.Error("the set holds the old key")
	}
	number := w.put(operator, w.joins("fifth"))
	w.want(w.vote(member(2), chain.OpApprove, number), abi.CodeKeyNotCurrent)
	w.want(w.vote("new key", chain.OpApprove, number), abi.OK)
	if v := w.proposal(number).Votes[0]; v.Account != member(2).id() || v.Validator != 2 {
		t.Errorf("vote is %+v", v)
	}
}

// A rotated validator's approvals count on, and not twice.
func TestRotatedValidatorVotesOnce(t *testing.T) {
	w := newWorld(t, council(4, nil))
	joins := w.put(member(2), w.joins("fifth"))
	w.agree(w.rotates(2, member(2).id(), "new key"), 3)
	w.want(w.vote("new key", chain.OpApprove, joins), abi.CodeVotedAlready)
	w.want(w.vote(member(1), chain.OpApprove, joins), abi.OK)
	w.wantStatus(joins, chain.ProposalOpen, abi.OK)
	w.want(w.vote(member(3), chain.OpApprove, joins), abi.OK)
	w.wantStatus(joins, chain.ProposalExecuted, abi.OK)
}

func TestReplaceValidator(t *testing.T) {
	w := newWorld(t, council(4, nil))
	p256 := proposal(chain.ProposeReplaceValidator, &chain.ReplaceValidator{ID: 2, Statement: w.statement(&chain.Statement{
		Chain: w.l.ChainID(), Kind: chain.StatementValidator, Expiry: w.now + 1000, Body: chain.RotationBody(abi.Hash{})}, "fifth")})
	w.try([]attempt{
		{"by a validator", operator, chain.OpPropose, w.replaces(2, member(1)), abi.CodeBadValidatorSet},
		{"by itself", operator, chain.OpPropose, w.replaces(2, member(2)), abi.CodeBadValidatorSet},
		{"an unknown one", operator, chain.OpPropose, w.replaces(7, "fifth"), abi.CodeUnknownValidator},
		{"by a key that names no account of its own", operator, chain.OpPropose, p256, abi.CodeNotPermitted},
	})
	w.agree(w.replaces(2, "fifth"), 3)
	w.wantIDs(1, 3, 4, 5)
	if w.roles(member(2).id()) != 0 || w.roles(person("fifth").id()) != abi.RoleValidator {
		t.Error("roles did not follow")
	}
	// Who was replaced comes back under a new id, and old approvals stay gone.
	w.agree(w.replaces(3, member(2)), 1)
	w.want(w.vote(member(4), chain.OpApprove, 2), abi.OK)
	w.want(w.vote("fifth", chain.OpApprove, 2), abi.OK)
	w.wantIDs(1, 4, 5, 6)
}

// Two changes of one validator that were both agreed to: what comes second
// finds another chain than it was made for, fails, and leaves nothing.
func TestChangesThatContradict(t *testing.T) {
	w := newWorld(t, council(4, nil))
	removed, rotated := w.put(member(1), proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4})),
		w.put(member(1), w.rotates(4, member(4).id(), "new key"))
	added, twice := w.put(member(1), w.joins("fifth")), w.put(member(1), w.joins("fifth"))
	approve := func(i int, n uint64) []byte { return w.tx(member(i), chain.OpApprove, &chain.Vote{Proposal: n}) }
	// Three are left by the second vote, of whom two are enough, and then four.
	for _, o := range w.block(approve(2, removed), approve(3, removed), approve(2, rotated), approve(2, added), approve(2, twice), approve(3, twice)) {
		w.want(o, abi.OK)
	}
	w.wantStatus(removed, chain.ProposalExecuted, abi.OK)
	w.wantStatus(rotated, chain.ProposalFailed, abi.CodeUnknownValidator)
	w.wantStatus(added, chain.ProposalExecuted, abi.OK)
	w.wantIDs(1, 2, 3, 5)
	if _, there := find(w, chain.KeyIndexKey(person("new key").Public()), raw); there {
		t.Error("a failed rotation left its key")
	}
	w.wantStatus(twice, chain.ProposalFailed, abi.CodeBadValidatorSet)
}

// One operator cannot keep the validators from voting by what they may use up;
// the validators themselves may set it.
func TestQuotasOfValidators(t *testing.T) {
	w := newWorld(t, council(1, nil))
	poor := func(gas, storage uint64) *chain.Grant {
		return &chain.Grant{Key: member(1).Public(), Roles: abi.RoleValidator, GasQuota: gas, StorageQuota: storage}
	}
	w.try([]attempt{
		{"no gas", operator, chain.OpGrant, poor(1, 0), abi.CodeNeedsApproval},
		{"no room", operator, chain.OpGrant, poor(0, 1), abi.CodeNeedsApproval},
		{"other roles", operator, chain.OpGrant, &chain.Grant{Key: member(1).Public(), Roles: abi.RoleValidator | abi.RoleOwner}, abi.OK},
		{"by proposal", member(1), chain.OpPropose, proposal(chain.ProposeGrant, poor(1<<40, 1<<30)), abi.OK},
		{"back to the default", operator, chain.OpGrant, poor(0, 0), abi.CodeNeedsApproval},
		{"as it is", operator, chain.OpGrant, poor(1<<40, 1<<30), abi.OK},
	})
}

func TestGrantByProposal(t *testing.T) {
	w := newWorld(t, council(4, nil))
	grant := func(key []byte, roles abi.Role) *chain.Propose {
		return proposal(chain.ProposeGrant, &chain.Grant{Key: key, Roles: roles})
	}
	w.try([]attempt{
		{"the validator role to a new key", member(1), chain.OpPropose, grant(person("fifth").Public(), abi.RoleValidator), abi.CodeNotPermitted},
		{"the validator role to an account", member(1), chain.OpPropose, grant(owner.Public(), abi.RoleValidator), abi.CodeNotPermitted},
		{"the validator role from one", member(1), chain.OpPropose, grant(member(2).Public(), 0), abi.CodeNotPermitted},
		{"the same by an operator alone", operator, chain.OpGrant, &chain.Grant{Key: owner.Public(), Roles: abi.RoleValidator}, abi.CodeNotPermitted},
	})
	before := record(w, chain.AccountKey(operator.id()), raw)
	number := w.put(member(1), grant(operator.Public(), abi.RoleOwner))
	w.want(w.vote(member(2), chain.OpApprove, number), abi.OK)
	w.want(w.vote(member(3), chain.OpApprove, number), abi.OK)
	if p := w.wantStatus(number, chain.ProposalExecuted, abi.OK); !bytes.Equal(p.Before, before) {
		t.Error("the account as it was is not in the history")
	}
	if w.roles(operator.id()) != abi.RoleOwner {
		t.Error("the validators cannot take the role from the last operator")
	}
	number = w.put(member(1), grant(person("heir").Public(), abi.RoleOperator))
	w.want(w.vote(member(2), chain.OpApprove, number), abi.OK)
	w.want(w.vote(member(3), chain.OpApprove, number), abi.OK)
	if p := w.wantStatus(number, chain.ProposalExecuted, abi.OK); p.Before != nil || w.roles(person("heir").id()) != abi.RoleOperator {
		t.Error("no new operator")
	}
}

// Both of two validators agree in one block that each of them goes: the second
// change would leave nobody.
func TestLastTwoDoNotBothGo(t *testing.T) {
	w := newWorld(t, council(2, nil))
	first, second := w.put(member(1), proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 1})),
		w.put(member(1), proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 2}))
	for _, o := range w.block(
		w.tx(member(2), chain.OpApprove, &chain.Vote{Proposal: first}),
		w.tx(member(2), chain.OpApprove, &chain.Vote{Proposal: second})) {
		w.want(o, abi.OK)
	}
	w.wantStatus(first, chain.ProposalExecuted, abi.OK)
	w.wantStatus(second, chain.ProposalFailed, abi.CodeBadValidatorSet)
	w.wantIDs(2)
	if w.roles(member(2).id()) != abi.RoleValidator {
		t.Error("a failed removal took the role")
	}
}

// enforcer signs with P-256, as some hardware must; such a key cannot vote.
type enforcer struct{ key *ecdsa.PrivateKey }

func (e enforcer) Public() []byte {
	return elliptic.MarshalCompressed(elliptic.P256(), e.key.X, e.key.Y)
}

func (e enforcer) Sign(m []byte) ([]byte, error) {
	digest := sha256.Sum256(m)
	r, s, err := ecdsa.Sign(rand.Reader, e.key, digest[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, chain.SignatureSize)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

func TestOnlyEd25519Votes(t *testing.T) {
	w := newWorld(t, council(4, nil))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := enforcer{key}
	says := func(account abi.Hash) []byte {
		raw, err := chain.SignStatement(&chain.Statement{
			Chain: w.l.ChainID(), Kind: chain.StatementValidator, Expiry: w.now + hour, Body: chain.RotationBody(account)}, by)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	own := says(chain.AccountID(by.Public()))
	w.try([]attempt{
		{"added", operator, chain.OpPropose, proposal(chain.ProposeAddValidator, &chain.AddValidator{Statement: own}), abi.CodeBadKey},
		{"in another's place", operator, chain.OpPropose, proposal(chain.ProposeReplaceValidator,
			&chain.ReplaceValidator{ID: 2, Statement: own}), abi.CodeBadKey},
		{"for a validator's account", operator, chain.OpPropose, proposal(chain.ProposeRotateValidator,
			&chain.ReplaceValidator{ID: 2, Statement: says(member(2).id())}), abi.CodeBadKey},
	})
}
