package main

import (
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

var code = fake.Code{Execute: onExecute, Query: onQuery, Decide: onDecide}

// message is an encoded message to execute.
func message(op uint64, account abi.Hash, until int64) []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 3), op)
	b = cbor.AppendBytes(b, account[:])
	return cbor.AppendInt(b, until)
}

func TestGuests(t *testing.T) {
	chain := fake.New()
	owner := chain.Account("owner", 0)
	badge := chain.Enrol("badge", fake.Device{Owner: owner, Model: "B1"})
	guests, err := chain.Deploy("guests", owner, code, nil)
	if err != nil {
		t.Fatal(err)
	}
	question := abi.DecisionRequest{Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "front"}}
	asked := func(wantPermit bool, wantReason uint64) {
		t.Helper()
		v, err := guests.Decide(badge, question)
		if err != nil || v.Permit != wantPermit || v.Reason != wantReason {
			t.Errorf("permit %v, reason %d, error %v; want %v, %d", v.Permit, v.Reason, err, wantPermit, wantReason)
		}
	}

	asked(false, reasonNotInvited)
	if _, err := guests.Execute(owner, message(opInvite, badge, chain.Time+60_000)); err != nil {
		t.Fatal(err)
	}
	asked(true, 0)
	chain.Untrusted = true
	asked(false, reasonNoClock)
	chain.Untrusted = false
	chain.Clock = 60_000
	asked(false, reasonOver)
	chain.Clock = 0
	if _, err := guests.Execute(owner, message(opRevoke, badge, 0)); err != nil {
		t.Fatal(err)
	}
	asked(false, reasonNotInvited)
	if len(chain.Events) != 2 || chain.Events[1].Topic != "revoked" {
		t.Errorf("events: %+v", chain.Events)
	}
}

// TestRefusals: a refusal changes nothing.
func TestRefusals(t *testing.T) {
	chain := fake.New()
	owner, stranger := chain.Account("owner", 0), chain.Account("stranger", 0)
	guests, err := chain.Deploy("guests", owner, code, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		by      abi.Hash
		message []byte
		want    error
	}{
		{stranger, message(opInvite, stranger, 1), errNotOwner},
		{owner, message(7, stranger, 1), errUnknown},
		{owner, []byte("hello"), cbor.ErrMalformed},
		{owner, append(message(opInvite, stranger, 1), 0), cbor.ErrMalformed},
	} {
		if _, err := guests.Execute(test.by, test.message); !errors.Is(err, test.want) {
			t.Errorf("%x: %v, want %v", test.message, err, test.want)
		}
	}
	if keys := guests.Keys(); len(keys) > 0 {
		t.Errorf("state: %q", keys)
	}
}
