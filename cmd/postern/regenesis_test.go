package main

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

// forsaken is the genesis of a chain of four validators, with their keys, and
// the header of a block of it.
func forsaken(t *testing.T) (old []byte, keys []*key.Key, h chain.Header) {
	t.Helper()
	g := chain.Genesis{Name: "old", Time: 1, Params: chain.DefaultParams()}
	for i := range 4 {
		k, err := key.Generate()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		g.Validators = append(g.Validators, chain.Validator{ID: uint64(i + 1), Key: k.Public()})
	}
	old = g.Append(nil)
	set := g.Validators.Hash()
	return old, keys, chain.Header{Chain: chain.ChainID(old), Protocol: chain.Protocol, Height: 9, Time: 9, Validators: set, NextValidators: set}
}

// heir is a chain that goes on from the block, certified by these validators.
func heir(t *testing.T, h chain.Header, keys []*key.Key, ids ...uint64) *chain.Genesis {
	t.Helper()
	g, err := genesisOf("heir", chain.DefaultParams(), time.Unix(1_800_000_000, 0), []*card{testCard(t, "north", roleValidator)})
	if err != nil {
		t.Fatal(err)
	}
	g.Origin = &chain.Origin{Header: h}
	vote := chain.AppendVote(nil, h.Chain, h.Hash(), nil, 0)
	for _, id := range ids {
		signature, err := keys[id-1].Sign(vote)
		if err != nil {
			t.Fatal(err)
		}
		g.Origin.Certificate.Signatures = append(g.Origin.Certificate.Signatures, chain.Signature{Validator: id, Signature: signature})
	}
	return g
}

// TestCopiesWithOtherSignatures: two nodes hold other quorums of one block. What
// one makes, the other accepts, and nothing else.
func TestCopiesWithOtherSignatures(t *testing.T) {
	old, keys, h := forsaken(t)
	mine := heir(t, h, keys, 1, 2, 3)
	theirs := *mine
	theirs.Origin = heir(t, h, keys, 2, 3, 4).Origin
	if err := checkSuccessor(old, theirs.Append(nil)); err != nil || !sameButSignatures(mine.Append(nil), theirs.Append(nil)) {
		t.Errorf("signatures of another quorum: %v", err)
	}
	theirs.Origin = heir(t, h, keys, 2, 3).Origin
	if err := checkSuccessor(old, theirs.Append(nil)); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("too few signatures: %v", err)
	}
	for name, change := range map[string]func(g *chain.Genesis){
		"name":       func(g *chain.Genesis) { g.Name = "other" },
		"time":       func(g *chain.Genesis) { g.Time++ },
		"roles":      func(g *chain.Genesis) { g.Accounts[0].Roles |= abi.RoleOperator },
		"parameters": func(g *chain.Genesis) { g.Params.BlockTimers++ },
		"state":      func(g *chain.Genesis) { g.Origin.State[0] ^= 1 },
		"block":      func(g *chain.Genesis) { g.Origin.Header.Height++ },
		"no origin":  func(g *chain.Genesis) { g.Origin = nil },
	} {
		g, err := chain.ParseGenesis(mine.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		if sameButSignatures(mine.Append(nil), g.Append(nil)) || sameButSignatures(g.Append(nil), mine.Append(nil)) {
			t.Errorf("another %s was accepted", name)
		}
	}
}

// TestNewValidatorWithoutTheState asks for a snapshot first where its chain
// began with another's state, since no blocks lead there from nothing.
func TestNewValidatorWithoutTheState(t *testing.T) {
	_, keys, h := forsaken(t)
	n := &node{home: home(t.TempDir()), key: keys[0]}
	g := chain.Genesis{Validators: chain.ValidatorSet{{ID: 1, Key: keys[0].Public()}}}
	cfg := config{Peer: "0.0.0.0:7423", Peers: []string{"north.example:7423"}, Join: "auto"}
	if n.joinsFirst(cfg, &g) {
		t.Error("the first validator of a chain that begins with nothing looks for a snapshot")
	}
	g.Origin = &chain.Origin{Header: h}
	if !n.joinsFirst(cfg, &g) {
		t.Error("it looks for no snapshot")
	}
	cfg.Join = "blocks"
	if n.joinsFirst(cfg, &g) {
		t.Error("it looks for a snapshot though it is told not to")
	}
	cfg.Join = "auto"
	if err := os.Mkdir(n.home.path("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n.joinsFirst(cfg, &g) {
		t.Error("it looks for a snapshot though it has a ledger")
	}
}
