package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

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

// certifiedBy is the proof of the block's origin with these validators' signatures.
func certifiedBy(t *testing.T, h chain.Header, keys []*key.Key, ids ...uint64) *chain.OriginProof {
	t.Helper()
	p := &chain.OriginProof{}
	vote := chain.AppendVote(nil, h.Chain, h.Hash(), nil, 0)
	for _, id := range ids {
		signature, err := keys[id-1].Sign(vote)
		if err != nil {
			t.Fatal(err)
		}
		p.Certificate.Signatures = append(p.Certificate.Signatures, chain.Signature{Validator: id, Signature: signature})
	}
	return p
}

// TestOriginOfOtherSignatures: where a proof of the same origin stands already,
// by whichever quorum, it stays; anything else is no proof, and stays, too.
func TestOriginOfOtherSignatures(t *testing.T) {
	old, keys, h := forsaken(t)
	o := &chain.Origin{Header: h}
	file := filepath.Join(t.TempDir(), "genesis.cbor.origin")
	first := certifiedBy(t, h, keys, 1, 2, 3)
	for _, p := range []*chain.OriginProof{first, certifiedBy(t, h, keys, 2, 3, 4)} {
		if err := writeOrigin(file, p, old, o); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := os.ReadFile(file); err != nil || !bytes.Equal(there, first.Append(nil)) {
		t.Errorf("the first proof did not stay: %v", err)
	}
	for name, text := range map[string][]byte{
		"too few signatures": certifiedBy(t, h, keys, 2, 3).Append(nil),
		"no proof":           []byte("letters"),
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeOrigin(file, first, old, o); err == nil {
			t.Errorf("%s was taken for a proof", name)
		}
		if there, _ := os.ReadFile(file); !bytes.Equal(there, text) {
			t.Errorf("%s: the file was overwritten", name)
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
