package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

var code = fake.Code{Execute: onExecute, Query: onQuery, Decide: onDecide}

// message is a message in JSON, encoded as the command line does.
func message(format string, args ...any) []byte {
	b, err := cbor.AppendJSON(nil, fmt.Appendf(nil, format, args...))
	if err != nil {
		panic(err)
	}
	return b
}

func invite(account abi.Hash, until int64) []byte {
	return message(`["invite", "%x", %d]`, account[:], until)
}

func revoke(account abi.Hash) []byte { return message(`["revoke", "%x"]`, account[:]) }

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
	if _, err := guests.Execute(owner, invite(badge, chain.Time+60_000)); err != nil {
		t.Fatal(err)
	}
	asked(true, 0)
	chain.Untrusted = true
	asked(false, reasonNoClock)
	chain.Untrusted = false
	chain.Clock = 60_000
	asked(false, reasonOver)
	chain.Clock = 0
	if _, err := guests.Execute(owner, revoke(badge)); err != nil {
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
		{stranger, invite(stranger, 1), errNotOwner},
		{owner, message(`["admit", "%x"]`, stranger[:]), errUnknown},
		{owner, message(`["invite", "me", 1]`), errNotAccount},
		{owner, message(`["invite", "%x"]`, stranger[:]), cbor.ErrMalformed},
		{owner, message(`["revoke", "%x", 1]`, stranger[:]), cbor.ErrMalformed},
		{owner, []byte("hello"), cbor.ErrMalformed},
		{owner, append(invite(stranger, 1), 0), cbor.ErrMalformed},
	} {
		if _, err := guests.Execute(test.by, test.message); !errors.Is(err, test.want) {
			t.Errorf("%x: %v, want %v", test.message, err, test.want)
		}
	}
	if keys := guests.Keys(); len(keys) > 0 {
		t.Errorf("state: %q", keys)
	}
}
