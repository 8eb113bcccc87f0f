package fake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/contract"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

// Time passes when the test says so, and timers run then.
func ExampleChain_Advance() {
	remind := func(c *contract.Context) ([]byte, error) {
		contract.Schedule(c.Time+60_000, c.Message)
		return nil, nil
	}
	ring := func(c *contract.Context) ([]byte, error) {
		contract.Emit("ring", c.Message)
		return nil, nil
	}
	chain := fake.New()
	alice := chain.Account("alice", 0)
	clock, _ := chain.Deploy("clock", alice, fake.Code{Execute: remind, Timer: ring}, nil)
	_, err := clock.Execute(alice, []byte("tea"))
	fmt.Println(err, len(chain.Timers()))
	chain.Advance(30_000)
	fmt.Println(len(chain.Events))
	chain.Advance(30_000)
	fmt.Printf("%s %s\n", chain.Events[0].Topic, chain.Events[0].Data)
	// Output:
	// <nil> 1
	// 0
	// ring tea
}

// TestDeploy: what the ledger refuses is refused here.
func TestDeploy(t *testing.T) {
	chain := fake.New()
	alice := chain.Account("alice", 0)
	failing := func(*contract.Context) ([]byte, error) {
		contract.Set([]byte("k"), []byte("v"))
		return nil, contract.Refuse(9, "not today")
	}
	if _, err := chain.Deploy("No Name", alice, fake.Code{}, nil); !errors.Is(err, abi.CodeBadArgument) {
		t.Error(err)
	}
	if _, err := chain.Deploy("c", alice, fake.Code{Init: failing}, nil); !errors.Is(err, abi.CodeAborted) {
		t.Error(err)
	}
	if _, err := chain.Deploy("c", alice, fake.Code{}, []byte("message")); !errors.Is(err, abi.CodeNoEntryPoint) {
		t.Error(err)
	}
	c, err := chain.Deploy("c", alice, fake.Code{}, nil)
	if err != nil || len(c.Keys()) != 0 {
		t.Fatal(err)
	}
	if _, err := chain.Deploy("c", alice, fake.Code{}, nil); !errors.Is(err, abi.CodeContractExists) {
		t.Error(err)
	}
	if err := c.Upgrade(fake.Code{Migrate: failing, Query: failing}, nil); !errors.Is(err, abi.CodeAborted) {
		t.Error(err)
	}
	if _, err := c.Query(nil); !errors.Is(err, abi.CodeNoEntryPoint) {
		t.Errorf("the new code answers though its migrate failed: %v", err)
	}
	if _, err := c.Execute(alice, make([]byte, abi.MaxTransaction+1)); !errors.Is(err, abi.CodeTooLarge) {
		t.Error(err)
	}
}

// TestPanicIsAFailure: with the place where it happened.
func TestPanicIsAFailure(t *testing.T) {
	chain := fake.New()
	alice := chain.Account("alice", 0)
	var nobody *contract.Hash
	crash := func(*contract.Context) ([]byte, error) { return nobody[:], nil }
	c, err := chain.Deploy("c", alice, fake.Code{Query: crash}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Query(nil)
	f, ok := errors.AsType[*fake.Failure](err)
	if !ok || f.Code != abi.CodeUnreachable || !strings.Contains(f.Error(), "nil pointer") || !strings.Contains(f.Error(), "fake_test.go") {
		t.Errorf("%v", err)
	}
}

// TestMalformedQuestion: a gateway hands on none.
func TestMalformedQuestion(t *testing.T) {
	chain := fake.New()
	alice := chain.Account("alice", 0)
	permit := func(*contract.Context, *contract.Question) (contract.Verdict, error) { return contract.Permit(), nil }
	c, err := chain.Deploy("c", alice, fake.Code{Decide: permit}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := abi.DecisionRequest{Action: abi.Action{Name: "x"}, Resource: abi.Entity{Type: "y", ID: "z"}, Context: []byte("\xa1\x61\xff\x01")}
	if v, err := c.Decide(alice, q); !errors.Is(err, abi.CodeMalformed) || v.Permit {
		t.Errorf("%+v, %v", v, err)
	}
	q.Context, q.Action.Name = nil, ""
	if v, err := c.Decide(alice, q); !errors.Is(err, abi.CodeBadArgument) || v.Permit {
		t.Errorf("%+v, %v", v, err)
	}
}
