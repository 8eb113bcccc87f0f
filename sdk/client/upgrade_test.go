package client_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func TestUpgrade(t *testing.T) {
	d, c := newDeployer(t)
	d.with(func() { d.version = chain.VersionActive })
	v, err := c.Upgrade(t.Context(), client.Upgrade{Name: "x", Code: []byte("code"), Note: "why"})
	if err != nil || v.Number != 2 || v.Note != "why" || v.Code != sha256.Sum256([]byte("code")) {
		t.Fatalf("%+v, %v", v, err)
	}
	d.with(func() {
		if len(d.arrived) != 1 {
			t.Errorf("%d chunks were sent", len(d.arrived))
		}
	})
	// A code that is on the ledger is named by its hash.
	if v, err = c.Upgrade(t.Context(), client.Upgrade{Name: "x", Hash: abi.Hash{7}}); err != nil || v.Code != (abi.Hash{7}) {
		t.Errorf("%+v, %v", v, err)
	}
	d.with(func() {
		if len(d.arrived) != 1 {
			t.Errorf("%d chunks were sent", len(d.arrived))
		}
	})
}

func TestUpgradeFails(t *testing.T) {
	d, c := newDeployer(t)
	d.with(func() { d.version = chain.VersionFailed })
	v, err := c.Upgrade(t.Context(), client.Upgrade{Name: "x", Code: []byte("code")})
	if !errors.Is(err, abi.CodeUpgradeFailed) || !errors.Is(err, abi.Aborted(7)) || v == nil || v.FailureCode != 7 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestUpgradeWaitsUntilActive(t *testing.T) {
	d, c := newDeployer(t)
	polls := 0
	d.with(func() {
		d.version = chain.VersionPending
		d.proof = func(key []byte) ([]byte, error) {
			if polls++; polls == 3 {
				v := chain.ContractVersion{Status: chain.VersionActive, Note: "at last"}
				d.commitLocked(map[string][]byte{string(chain.VersionKey("x", 2)): v.Append(nil)}, nil, nil)
			}
			e := d.entryLocked(key)
			return e.Append(nil), nil
		}
	})
	if v, err := c.Upgrade(t.Context(), client.Upgrade{Name: "x", Hash: abi.Hash{1}}); err != nil || v.Note != "at last" {
		t.Errorf("%+v, %v", v, err)
	}
	d.with(func() { d.proof = nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.AwaitVersion(ctx, "x", 2); err == nil {
		t.Error("a wait outlives its context")
	}
}

// The history is proved version by version; what is not there is said so.
func TestHistory(t *testing.T) {
	d, c := newDeployer(t)
	if _, err := c.History(t.Context(), "x", 10); !errors.Is(err, abi.CodeNotReady) && !errors.Is(err, abi.CodeUnknownContract) {
		t.Error(err)
	}
	d.with(func() { d.version = chain.VersionActive })
	if _, err := c.Upgrade(t.Context(), client.Upgrade{Name: "x", Hash: abi.Hash{1}, Note: "n"}); err != nil {
		t.Fatal(err)
	}
	list, err := c.History(t.Context(), "x", 10)
	if err != nil || len(list) != 2 || list[0].Number != 2 || list[1].Number != 1 || list[0].Note != "n" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = c.History(t.Context(), "x", 1); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := c.History(t.Context(), "none", 1); !errors.Is(err, abi.CodeUnknownContract) {
		t.Error(err)
	}
	if _, err := c.Version(t.Context(), "x", 3); !errors.Is(err, abi.CodeNotFound) {
		t.Error(err)
	}
	// A gateway that leaves a version out, or makes one up, is found out.
	d.with(func() {
		delete(d.state, string(chain.VersionKey("x", 1)))
		d.state[string(chain.VersionKey("x", 9))] = []byte{0xa0}
	})
	if _, err := c.Version(t.Context(), "x", 9); !errors.Is(err, abi.CodeBadProof) {
		t.Error(err)
	}
	if _, err := c.Version(t.Context(), "x", 1); !errors.Is(err, abi.CodeBadProof) {
		t.Error(err)
	}
}
