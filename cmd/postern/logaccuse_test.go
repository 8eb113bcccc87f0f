package main

import (
	"crypto/sha256"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/key"
)

// scriptForge: forge KEY FILE SIZE TEXT writes a head of the log of $HOME/home's
// gateway, as many records long as SIZE and with a root made from TEXT, that KEY
// signs.
func scriptForge(ts *testscript.TestScript, _ bool, args []string) {
	bundle, err := readBundle(home(ts.MkAbs("home")).path("bundle.json"))
	ts.Check(err)
	gateway, err := key.Load(home(ts.MkAbs("home")).path(nodeKeyFile))
	ts.Check(err)
	signer, err := key.Load(ts.MkAbs(args[0]))
	ts.Check(err)
	size, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	head := proof.Checkpoint{Origin: proof.LogOrigin(bundle.Chain(), gateway.AccountID()), Size: size, Root: sha256.Sum256([]byte(args[3]))}
	signed, err := head.Sign(signer)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), signed, 0o644))
}

// TestAccused: only two heads of one log of this chain, of one size and with two
// roots, name anybody.
func TestAccused(t *testing.T) {
	id, gateway := abi.Hash{1}, abi.Hash{2}
	note := func(origin string, size uint64, root byte) []byte {
		k, err := key.Generate()
		if err != nil {
			t.Fatal(err)
		}
		head := proof.Checkpoint{Origin: origin, Size: size, Root: abi.Hash{root}}
		signed, err := head.Sign(k)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	log := proof.LogOrigin(id, gateway)
	for _, tt := range []struct {
		name   string
		origin string
		second []byte
		want   error
	}{
		{"other roots", log, note(log, 7, 2), nil},
		{"the same root", log, note(log, 7, 1), abi.CodeBadProof},
		{"other sizes", log, note(log, 8, 2), abi.CodeBadProof},
		{"another log", log, note(proof.LogOrigin(id, abi.Hash{3}), 7, 2), abi.CodeBadProof},
		{"another chain", proof.LogOrigin(abi.Hash{9}, gateway), note(proof.LogOrigin(abi.Hash{9}, gateway), 7, 2), abi.CodeWrongChain},
		{"no gateway", "example.org", note("example.org", 7, 2), abi.CodeWrongChain},
		{"an account too long", log + "00", note(log+"00", 7, 2), abi.CodeWrongChain},
		{"no head", log, []byte("seven"), abi.CodeMalformed},
	} {
		got, err := accused(id, note(tt.origin, 7, 1), tt.second)
		if !errors.Is(err, tt.want) || err == nil && got != gateway {
			t.Errorf("%s: %x, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}
