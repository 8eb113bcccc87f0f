package main

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// writeJSON writes what has a file's form.
func writeJSON(t *testing.T, path string, v interface{ MarshalJSON() ([]byte, error) }) {
	t.Helper()
	text, err := v.MarshalJSON()
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Two files, each good by itself, that cannot be of one chain: whoever signed
// both is named.
func TestVerifyFindsAForkInTwoFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	set := setOf(1, "a", "b", "c", "d")
	g := chain.Genesis{Name: "fork", Time: 1, Params: chain.DefaultParams(), Validators: set}
	raw := g.Append(nil)
	writeJSON(t, path("bundle.json"), &client.Bundle{Genesis: raw})
	write := func(name string, time int64, signers ...int) {
		h := chain.Header{Chain: chain.ChainID(raw), Protocol: 1, Height: 5, Time: time, State: abi.Hash{1}, Validators: set.Hash(), NextValidators: set.Hash()}
		vote, c := chain.AppendVote(nil, h.Chain, h.Hash(), nil, 0), chain.Certificate{}
		for _, i := range signers {
			key := signerOf(string(rune('a' + i)))
			c.Signatures = append(c.Signatures, chain.Signature{Validator: set[i].ID, Signature: ed25519.Sign(key, vote)})
		}
		writeJSON(t, path(name), &client.Proof{Chain: h.Chain, Header: chain.AppendHeader(nil, &h), Certificate: c.Append(nil)})
	}
	write("ours.json", 7, 0, 1, 2)
	write("theirs.json", 8, 1, 2, 3)
	write("few.json", 9, 1, 2)
	verify := func(files ...string) (string, error) {
		args := []string{"postern", "verify", "header", "--trust", path("bundle.json")}
		for _, f := range files {
			args = append(args, path(f))
		}
		var out bytes.Buffer
		app := newApp()
		app.Writer = &out
		err := app.Run(args)
		return out.String(), err
	}
	for _, file := range []string{"ours.json", "theirs.json"} {
		if out, err := verify(file); err != nil || !strings.Contains(out, "3 of 4 validators, 3 are needed") || !strings.Contains(out, "did not sign") {
			t.Errorf("%s: %s, %v", file, out, err)
		}
	}
	if _, err := verify("ours.json", "ours.json"); err != nil {
		t.Errorf("the same twice: %v", err)
	}
	if out, err := verify("ours.json", "few.json"); err == nil || strings.Contains(err.Error(), "both signed") {
		t.Errorf("too few signatures: %s, %v", out, err)
	}
	_, err := verify("ours.json", "theirs.json")
	if err == nil || !strings.Contains(err.Error(), "two certified headers of height 5, both signed by validators [2 3]") || exitCodeOf(err) != exitRefused {
		t.Errorf("a fork: %v", err)
	}
}
