package ledger

import (
	"context"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// FuzzGovernance sends what anyone may sign as an operation of governance on a
// chain of one, where a proposal is carried out at once: arguments that are
// anything, and proposals around a statement that is well signed but says
// anything. Whatever comes of it is an outcome: nothing stops the block, and
// the set keeps what must hold of it.
func FuzzGovernance(f *testing.F) {
	for _, a := range []struct {
		op   chain.Op
		args argument
	}{
		{chain.OpPropose, proposal(chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 1})},
		{chain.OpPropose, proposal(chain.ProposeGrant, &chain.Grant{Key: owner.Public(), Roles: abi.RoleOperator})},
		{chain.OpPropose, proposal(chain.ProposeDeploy, &chain.Deploy{Name: "c"})},
		{chain.OpPropose, proposal(chain.ProposeUpgrade, &chain.Upgrade{Name: "c"})},
		{chain.OpPropose, proposal(chain.ProposeStolen, &chain.DeclareStolen{Device: person("lock").id(), Reason: "r"})},
		{chain.OpApprove, &chain.Vote{Proposal: 1, Reason: "r"}},
		{chain.OpReject, &chain.Vote{Proposal: 1}},
		{chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{owner.id()}, Threshold: 1, Delay: 5}},
	} {
		f.Add(uint8(a.op), uint64(0), []byte{}, a.args.Append(nil))
	}
	params := chain.DefaultParams()
	f.Add(uint8(chain.OpPropose), uint64(0), []byte{}, proposal(chain.ProposeParams, &params).Append(nil))
	for kind := chain.ProposeAddValidator; kind <= chain.ProposeRecover; kind++ {
		for _, account := range []abi.Hash{{}, member(1).id(), owner.id(), person("new key").id()} {
			f.Add(uint8(kind), uint64(1), chain.RotationBody(account), []byte{})
		}
	}
	w := newWorld(f, council(1, nil))
	w.must(member(1), chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{owner.id()}, Threshold: 1})
	w.must(nobody, chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{member(1).id()}, Threshold: 1})
	w.must(owner, chain.OpGuardians, &chain.Guardians{Accounts: []abi.Hash{member(1).id()}, Threshold: 1})
	w.enrol("lock", nil)
	w.put(operator, w.joins("second"))
	f.Fuzz(func(t *testing.T, op uint8, id uint64, statement, args []byte) {
		if len(args) > 1<<10 || len(statement) > 1<<10 {
			return
		}
		body := chain.Body{Op: chain.Op(op), Args: args}
		if len(args) == 0 {
			body.Op, body.Args = chain.OpPropose, around(t, w.l.ChainID(), chain.ProposalKind(op), id, statement).Append(nil)
		}
		body.ValidUntil, body.Gas, body.Chain = w.now+60_000, 5_000_000, w.l.ChainID()
		for _, by := range []person{member(1), operator, owner} {
			raw, err := chain.SignTx(&body, by)
			if err != nil {
				return
			}
			if _, err := chain.ParseTx(raw); err != nil {
				return // it is no map
			}
			k, err := w.l.Propose(context.Background(), w.now, [][]byte{raw})
			if err != nil {
				t.Fatal(err)
			}
			after := w.l.executed.find(k)
			if err := checkSet(after.validators); err != nil {
				t.Fatalf("validators are %v", after.validators)
			}
			v, err := w.store.HeadView()
			if err != nil {
				t.Fatal(err)
			}
			defer v.Release()
			s := newState(cold{v})
			s.top = after.top
			for _, v := range after.validators {
				account, known, err := accountOf(s, v.Key)
				if err != nil || !known {
					t.Fatalf("validator %d has no account: %v", v.ID, err)
				}
				if a, ok, err := load(s, chain.AccountKey(account), chain.ParseAccount); err != nil || !ok || a.Roles&abi.RoleValidator == 0 {
					t.Fatalf("validator %d has account %+v, %v", v.ID, a, err)
				}
			}
		}
	})
}

// around is a proposal with a statement that says body.
func around(t *testing.T, on abi.Hash, kind chain.ProposalKind, id uint64, body []byte) *chain.Propose {
	t.Helper()
	says := chain.StatementValidator
	if kind == chain.ProposeRecover {
		says = chain.StatementRotate
	}
	s, err := chain.SignStatement(&chain.Statement{Chain: on, Kind: says, Expiry: start + hour, Body: body}, person("new key"))
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case chain.ProposeAddValidator:
		return proposal(kind, &chain.AddValidator{Statement: s, Roles: abi.Role(id) & abi.AllRoles})
	case chain.ProposeRecover:
		return proposal(kind, &chain.Recover{Account: nobody.id(), Statement: s})
	}
	return proposal(kind, &chain.ReplaceValidator{ID: id, Statement: s})
}
