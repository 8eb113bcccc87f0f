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
// roles. Only here may a grant carry the validator role. Where the genesis goes
// on with the state of another chain, the store must hold that; else the error
// is ErrNoState.
func Init(store *storage.Store, genesis []byte) (chain.Header, error) {
	g, err := chain.ParseGenesis(genesis)
	if err != nil {
		return chain.Header{}, err
	}
	if !store.Head().Empty {
		return chain.Header{}, errors.New("the store holds a chain already")
	}
	v, err := store.HeadView()
	if err != nil {
		return chain.Header{}, err
	}
	defer v.Release()
	update, err := genesisUpdate(v, g)
	if err != nil {
		return chain.Header{}, err
	}
	if g.Origin != nil && update.Root() != g.Origin.State {
		return chain.Header{}, fmt.Errorf("genesis: block 0 comes to root %x, not %x: %w", update.Root(), g.Origin.State, abi.CodeBadProof)
	}
	header, r := firstBlock(genesis, g, update.Root())
	return header, store.Commit(storage.Block{Block: r.Block, Certificate: r.Certificate, Outcomes: r.Outcomes, Update: update})
}

// firstBlock is block 0 as a store keeps it.
func firstBlock(raw []byte, g *chain.Genesis, root abi.Hash) (chain.Header, storage.Record) {
	k := chain.Block{Header: genesisHeader(raw, g, root), Txs: [][]byte{raw}}
	return k.Header, storage.Record{Block: chain.AppendBlock(nil, &k), Certificate: []byte{}, Outcomes: chain.AppendOutcomes(nil, nil)}
}

func genesisHeader(raw []byte, g *chain.Genesis, root abi.Hash) chain.Header {
	set := g.Validators.Hash()
	return chain.Header{
		Chain: chain.ChainID(raw), Protocol: g.Params.Protocol, Time: g.Time,
		Transactions: proof.Root([][]byte{raw}), Outcomes: proof.Root(nil), State: root,
		Validators: set, NextValidators: set,
	}
}

// genesisUpdate makes the state of block 0, over that of another chain if the
// genesis goes on with one.
func genesisUpdate(v *storage.View, g *chain.Genesis) (*storage.Update, error) {
	begin, from := genesisState, abi.Hash{}
	if g.Origin != nil {
		begin, from = succession, g.Origin.Header.State
	}
	if v.Root() != from {
		return nil, fmt.Errorf("genesis: the store has the state %x, block 0 changes the state %x: %w", v.Root(), from, ErrNoState)
	}
	if err := errors.Join(validateParams(&g.Params), checkSet(g.Validators)); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	s, err := begin(cold{v}, g)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return v.Update(s.top.changes(nil))
}

func genesisState(from reader, g *chain.Genesis) (*state, error) {
	s := newState(from)
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
