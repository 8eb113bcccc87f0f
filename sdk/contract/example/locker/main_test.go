package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

const hour = 60 * 60 * 1000 // ms

var code = fake.Code{Init: onInit, Migrate: onMigrate, Execute: onExecute, Timer: onTimer, Query: onQuery, Decide: onDecide}

// ask encodes a message to execute.
func ask(op, locker string) []byte {
	return cbor.AppendText(cbor.AppendText(cbor.AppendArray(nil, 2), op), locker)
}

func askRent(locker string, ms int64) []byte {
	b := cbor.AppendText(cbor.AppendText(cbor.AppendArray(nil, 3), "rent"), locker)
	return cbor.AppendInt(b, ms)
}

// station is a contract with two lockers, and people.
type station struct {
	*testing.T
	chain           *fake.Chain
	lockers         *fake.Contract
	owner, ann, ben abi.Hash
}

func open(t *testing.T) *station {
	s := &station{T: t, chain: fake.New()}
	s.owner, s.ann, s.ben = s.chain.Account("owner", abi.RoleOperator), s.chain.Account("ann", 0), s.chain.Account("ben", 0)
	var err error
	if s.lockers, err = s.chain.Deploy("lockers", s.owner, code, cbor.AppendInt(nil, 24*hour)); err != nil {
		t.Fatal(err)
	}
	s.do(s.owner, ask("add", "1"), nil)
	s.do(s.owner, ask("add", "2"), nil)
	return s
}

// do executes a message and compares its error.
func (s *station) do(by abi.Hash, message []byte, want error) {
	s.Helper()
	if _, err := s.lockers.Execute(by, message); !errors.Is(err, want) {
		s.Errorf("%x: %v, want %v", message, err, want)
	}
}

// may asks whether an account may open a locker.
func (s *station) may(who abi.Hash, locker string, want uint64) contract.Verdict {
	s.Helper()
	v, err := s.lockers.Decide(who, abi.DecisionRequest{Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "locker", ID: locker}})
	if err != nil || v.Reason != want || v.Permit != (want == 0) {
		s.Errorf("permit %v for reason %d, %v; want %d", v.Permit, v.Reason, err, want)
	}
	return v
}

// has compares an account's lockers.
func (s *station) has(who abi.Hash, want ...string) {
	s.Helper()
	list := cbor.AppendArray(nil, len(want))
	for _, name := range want {
		list = cbor.AppendText(list, name)
	}
	got, err := s.lockers.Query(cbor.AppendBytes(nil, who[:]))
	if err != nil || !bytes.Equal(got, list) {
		s.Errorf("%x, %v, want %x", got, err, list)
	}
}

func TestRenting(t *testing.T) {
	s := open(t)
	s.do(s.ann, askRent("1", hour), nil)
	s.do(s.ann, askRent("2", 2*hour), nil)
	s.has(s.ann, "1", "2")
	s.do(s.ben, askRent("1", hour), errTaken)
	s.do(s.ben, ask("return", "1"), errNotYours)
	s.do(s.ann, ask("return", "1"), nil)
	s.do(s.ben, askRent("1", hour), nil)
	s.has(s.ann, "2")
	s.has(s.ben, "1")
}

func TestRentalsEnd(t *testing.T) {
	s := open(t)
	s.do(s.ann, askRent("1", hour), nil)
	s.do(s.ann, ask("return", "1"), nil)
	s.do(s.ben, askRent("1", 3*hour), nil) // ann's timer must leave it alone
	for range 2 {
		if failures := s.chain.Advance(hour); failures != nil {
			t.Error(failures)
		}
	}
	s.has(s.ben, "1")
	s.chain.Advance(hour)
	s.has(s.ben)
	if e := s.chain.Events[len(s.chain.Events)-1]; e.Topic != "free" || string(e.Data) != "1" || len(s.chain.Timers()) != 0 {
		t.Errorf("the last event is %+v, timers %+v", e, s.chain.Timers())
	}
}

func TestDecisions(t *testing.T) {
	s := open(t)
	s.may(s.ann, "1", reasonNotYours)
	s.do(s.ann, askRent("1", hour), nil)
	s.may(s.ben, "1", reasonNotYours)
	s.may(s.ann, "3", reasonNotYours)
	v := s.may(s.ann, "1", 0)

	// The gateway submits the follow-up with its own account.
	s.do(s.ben, v.FollowUp, errNotOwner)
	s.do(s.chain.Account("gateway", abi.RoleGateway), v.FollowUp, nil)

	s.chain.Clock = hour // past the rental, though no block has come since
	s.may(s.ann, "1", reasonOver)
	s.chain.Untrusted = true
	s.may(s.ann, "1", reasonNoClock)
}

func TestRefusals(t *testing.T) {
	s := open(t)
	s.do(s.ann, ask("add", "3"), errNotOwner)
	s.do(s.owner, ask("add", "1"), errTaken)
	s.do(s.ann, askRent("3", hour), errNoLocker)
	s.do(s.ann, askRent("1", 0), errTooLong)
	s.do(s.ann, askRent("1", 25*hour), errTooLong)
	s.do(s.ann, ask("return", "3"), errNoLocker)
	s.do(s.owner, ask("opened", "3"), errNoLocker)
	s.do(s.owner, ask("sell", "1"), errUnknownOp)
	s.do(s.ann, ask("rent", "1"), errUnknownOp)
	s.do(s.owner, nil, cbor.ErrMalformed)
}

// TestContractsRentNothing: nor may one make its caller rent.
func TestContractsRentNothing(t *testing.T) {
	s := open(t)
	deputy := fake.Code{Execute: func(c *contract.Context) ([]byte, error) {
		_, err := contract.Call("lockers", c.Message)
		return nil, err
	}}
	d, err := s.chain.Deploy("deputy", s.ben, deputy, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Execute(s.ann, askRent("1", hour)); !errors.Is(err, abi.CodeAborted) {
		t.Error(err)
	}
	s.has(s.ann)
}

// TestMigration: rentals of the first version, [by, until], are kept.
func TestMigration(t *testing.T) {
	chain := fake.New()
	ann := chain.Account("ann", 0)
	first := func(*contract.Context) ([]byte, error) {
		old := cbor.AppendBytes(cbor.AppendArray(nil, 2), ann[:])
		contract.Set([]byte("locker/7\x00"), cbor.AppendInt(old, 1234))
		return nil, nil
	}
	lockers, err := chain.Deploy("lockers", ann, fake.Code{Init: first}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := lockers.Upgrade(code, nil); err != nil {
		t.Fatal(err)
	}
	want := rentalValue.Append(nil, rental{by: ann, until: 1234})
	if got := lockers.Get("locker/7\x00"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if err := lockers.Upgrade(code, nil); err == nil {
		t.Error("what is migrated was migrated again")
	}
}
