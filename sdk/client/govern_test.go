package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// proposals puts proposals of the statuses into the state, numbered from 1.
func (l *ledger) proposals(statuses ...chain.ProposalStatus) {
	changes := map[string][]byte{string(chain.ProposalNumberKey()): cbor.AppendUint(nil, uint64(len(statuses)))}
	for i, status := range statuses {
		p := chain.Proposal{Kind: chain.ProposeRemoveValidator, Args: (&chain.RemoveValidator{ID: 1}).Append(nil), Reason: "why", Status: status}
		changes[string(chain.ProposalKey(uint64(i+1)))] = p.Append(nil)
	}
	l.commit(changes, nil, nil)
}

func TestProposalsAreReadWithProof(t *testing.T) {
	l := newLedger(t)
	l.commit(nil, nil, nil)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	if list, err := c.Proposals(t.Context(), 5); err != nil || len(list) != 0 {
		t.Errorf("of a chain without any: %v, %v", list, err)
	}
	l.proposals(chain.ProposalExecuted, chain.ProposalOpen, chain.ProposalApproved)
	list, err := c.Proposals(t.Context(), 2)
	if err != nil || len(list) != 2 || list[0].Number != 3 || list[1].Number != 2 || list[1].Status != chain.ProposalOpen || list[0].Reason != "why" {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := c.Proposal(t.Context(), 4); !errors.Is(err, abi.CodeUnknownProposal) {
		t.Errorf("proposal 4: %v", err)
	}
	set, height, err := c.Validators(t.Context())
	if !errors.Is(err, abi.CodeNotFound) {
		t.Errorf("a chain without a record of its validators: %v at %d, %v", set, height, err)
	}
	l.commit(map[string][]byte{string(chain.ValidatorsKey()): l.set.Append(nil)}, nil, nil)
	if set, height, err = c.Validators(t.Context()); err != nil || set.Hash() != l.set.Hash() || height != l.height() {
		t.Errorf("%v at %d, %v", set, height, err)
	}
	if p, err := c.Params(t.Context()); err != nil || p != l.genesis.Params {
		t.Errorf("%+v, %v", p, err)
	}
	// A gateway that makes up a proposal is caught.
	forged := l.entryLocked(chain.ProposalKey(1))
	forged.State.Value = (&chain.Proposal{Kind: chain.ProposeRemoveValidator, Args: []byte{0xa0}, Status: chain.ProposalRejected}).Append(nil)
	l.with(func() { l.proof = func([]byte) ([]byte, error) { return forged.Append(nil), nil } })
	if p, err := c.Proposal(t.Context(), 1); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("forged: %+v, %v", p, err)
	}
}

func TestAwaitProposal(t *testing.T) {
	l := newLedger(t)
	l.proposals(chain.ProposalApproved, chain.ProposalFailed)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	if p, err := c.AwaitProposal(t.Context(), 2); err != nil || p.Status != chain.ProposalFailed {
		t.Errorf("%+v, %v", p, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if p, err := c.AwaitProposal(ctx, 1); !errors.Is(err, abi.CodeTimeout) {
		t.Errorf("one that waits: %+v, %v", p, err)
	}
	executed := make(chan error, 1)
	go func() {
		p, err := c.AwaitProposal(t.Context(), 1)
		if err == nil && p.Status != chain.ProposalExecuted {
			err = errors.New(p.Status.String())
		}
		executed <- err
	}()
	l.proposals(chain.ProposalExecuted)
	if err := <-executed; err != nil {
		t.Error(err)
	}
}

func TestConsentIsOfOneChainAndKindAndTime(t *testing.T) {
	l := newLedger(t)
	k := newKey(t)
	raw, err := client.Consent(l.header.Chain, chain.StatementValidator, k.AccountID(), k, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	for name, c := range map[string]struct {
		id   abi.Hash
		kind chain.StatementKind
		now  int64
		want error
	}{
		"good":          {l.header.Chain, chain.StatementValidator, now, nil},
		"another chain": {abi.Hash{1}, chain.StatementValidator, now, abi.CodeWrongChain},
		"another kind":  {l.header.Chain, chain.StatementRotate, now, abi.CodeBadArgument},
		"too late":      {l.header.Chain, chain.StatementValidator, now + 2*3_600_000, abi.CodeExpired},
	} {
		s, err := chain.OpenStatement(raw, c.id, c.kind, c.now)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if account, err := chain.ParseRotationBody(s.Body); err != nil || account != k.AccountID() {
				t.Errorf("%s: account %x, %v", name, account, err)
			}
		}
	}
}
