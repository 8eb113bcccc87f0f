package ledger

import (
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// Init commits block 0 of the chain that begins with the encoded genesis to
// an empty store: the parameters, the validators, and the accounts with their
// roles. Only here may a grant carry the validator role.
func Init(store *storage.Store, genesis []byte) (chain.Header, error) {
	g, err := chain.ParseGenesis(genesis)
	if err != nil {
		return chain.Header{}, err
	}
	if err := validateParams(&g.Params); err != nil {
		return chain.Header{}, fmt.Errorf("genesis: %w", err)
	}
	if err := checkSet(g.Validators); err != nil {
		return chain.Header{}, fmt.Errorf("genesis: %w", err)
	}
	if !store.Head().Empty {
		return chain.Header{}, errors.New("the store holds a chain already")
	}
	v, err := store.HeadView()
	if err != nil {
		return chain.Header{}, err
	}
	defer v.Release()
	s, err := genesisState(v, g)
	if err != nil {
		return chain.Header{}, fmt.Errorf("genesis: %w", err)
	}
	update, err := v.Update(s.top.changes(nil))
	if err != nil {
		return chain.Header{}, err
	}
	k := chain.Block{Header: genesisHeader(genesis, g, update.Root()), Txs: [][]byte{genesis}}
	err = store.Commit(storage.Block{
		Block:       chain.AppendBlock(nil, &k),
		Certificate: []byte{},
		Outcomes:    chain.AppendOutcomes(nil, nil),
		Update:      update,
	})
	return k.Header, err
}

func genesisHeader(raw []byte, g *chain.Genesis, root abi.Hash) chain.Header {
	set := g.Validators.Hash()
	return chain.Header{
		Chain: chain.ChainID(raw), Protocol: g.Params.Protocol, Time: g.Time,
		Transactions: proof.Root([][]byte{raw}), Outcomes: proof.Root(nil), State: root,
		Validators: set, NextValidators: set,
	}
}

func genesisState(v *storage.View, g *chain.Genesis) (*state, error) {
	s := newState(cold{v})
	err := errors.Join(
		s.set(chain.ParamsKey(), g.Params.Append(nil)),
		s.set(chain.ValidatorsKey(), g.Validators.Append(nil)))
	for i := range g.Accounts {
		if err == nil {
			err = createAccount(s, &g.Accounts[i], 0)
		}
	}
	return s, err
}

// Bounds of a proposal's time to live: votes come in blocks of their own, and a
// year later nobody knows what was meant.
const (
	leastProposalTTL = 60_000 // ms
	mostProposalTTL  = 366 * day
)

// validateParams checks what execution relies on: a transaction fits into the
// half of a block that timers leave it, and things that must expire do.
func validateParams(p *chain.Params) error {
	ok := p.Profile == abi.ProfileLean || p.Profile == abi.ProfileWide
	ok = ok && p.TxGas >= gasTx && p.BlockGas/2 >= p.TxGas && p.DecideGas > 0 && p.QueryGas > 0
	ok = ok && p.ActivationDelay >= 0 && p.UploadTTL > 0 && p.BlockTimers > 0
	ok = ok && p.ProposalTTL() >= leastProposalTTL && p.ProposalTTL() <= mostProposalTTL && p.DeployApprovals <= chain.MaxValidators
	if !ok {
		return fmt.Errorf("parameters contradict one another or are zero where they must not be: %w", abi.CodeBadArgument)
	}
	return nil
}
