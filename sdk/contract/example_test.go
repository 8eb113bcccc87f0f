package contract_test

import (
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

// A contract's handler is a function, and a test calls it on a chain in
// memory.
func Example() {
	greeting := contract.NewItem("greeting", contract.TextValue)
	errEmpty := contract.Refuse(2, "say something")

	onExecute := func(c *contract.Context) ([]byte, error) {
		if len(c.Message) == 0 {
			return nil, errEmpty
		}
		greeting.Set(string(c.Message))
		contract.Emit("greeted", c.Message)
		return nil, nil
	}
	onQuery := func(*contract.Context) ([]byte, error) {
		return []byte(greeting.GetOr("nothing")), nil
	}

	chain := fake.New()
	alice := chain.Account("alice", 0)
	hello, err := chain.Deploy("hello", alice, fake.Code{Execute: onExecute, Query: onQuery}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = hello.Execute(alice, nil)
	fmt.Println(errors.Is(err, errEmpty), err)
	_, err = hello.Execute(alice, []byte("hello, world"))
	out, _ := hello.Query(nil)
	fmt.Printf("%s, %v, %d event\n", out, err, len(chain.Events))
	// Output:
	// true aborted: say something
	// hello, world, <nil>, 1 event
}

// run runs a function as a contract's execute.
func run(f func()) {
	chain := fake.New()
	alice := chain.Account("alice", 0)
	code := fake.Code{Execute: func(*contract.Context) ([]byte, error) {
		f()
		return nil, nil
	}}
	c, err := chain.Deploy("example", alice, code, nil)
	if err == nil {
		_, err = c.Execute(alice, nil)
	}
	if err != nil {
		fmt.Println(err)
	}
}

func ExampleMap() {
	stock := contract.NewMap("stock/", contract.TextKey, contract.Uint64Value)
	run(func() {
		stock.Set("apples", 3)
		stock.Set("pears", 0)
		stock.Set("plums", 12)
		for fruit, n := range stock.From("b") {
			fmt.Println(fruit, n)
		}
		_, ok := stock.Get("figs")
		fmt.Println("figs", ok)
	})
	// Output:
	// pears 0
	// plums 12
	// figs false
}

func ExampleIndex() {
	byFloor := contract.NewIndex("by-floor/", contract.Int64Key, contract.TextKey)
	run(func() {
		byFloor.Add(-1, "boiler")
		byFloor.Add(2, "roof window")
		byFloor.Add(2, "lamp")
		for device := range byFloor.Of(2) {
			fmt.Println(device)
		}
	})
	// Output:
	// lamp
	// roof window
}

type reading struct {
	at    int64 // ms since 1970
	value cbor.Decimal
}

func appendReading(b []byte, v reading) []byte {
	return cbor.AppendDecimal(cbor.AppendInt(cbor.AppendArray(b, 2), v.at), v.value)
}

func readReading(r *cbor.Reader) reading {
	r.ArrayN(2)
	return reading{r.Int(), r.Decimal()}
}

func ExampleCodec() {
	last := contract.NewItem("last", contract.Codec[reading]{Append: appendReading, Read: readReading})
	run(func() {
		last.Set(reading{at: 1000, value: cbor.Decimal{Exponent: -1, Mantissa: 215}})
		v, ok := last.Get()
		fmt.Println(v.at, v.value, ok)
	})
	// Output: 1000 21.5 true
}

func ExampleDecideHandler() {
	onDecide := func(_ *contract.Context, q *contract.Question) (contract.Verdict, error) {
		floor, ok := contract.Lookup(q.Resource.Properties, "floor")
		if !ok || floor.Int() > 2 {
			return contract.Deny(1, "upper-floors"), nil
		}
		v := contract.Permit()
		v.TTL = 10_000 // ms
		return v, nil
	}

	chain := fake.New()
	owner := chain.Account("owner", abi.RoleOwner)
	lift := chain.Enrol("lift", fake.Device{Owner: owner})
	policy, _ := chain.Deploy("policy", owner, fake.Code{Decide: onDecide}, nil)
	for _, floor := range []int64{1, 3} {
		properties := cbor.AppendInt(cbor.AppendText(cbor.AppendMap(nil, 1), "floor"), floor)
		v, err := policy.Decide(lift, abi.DecisionRequest{
			Action:   abi.Action{Name: "stop"},
			Resource: abi.Entity{Type: "floor", ID: "hall", Properties: properties},
		})
		fmt.Println(v.Permit, v.ReasonID, v.TTL, err)
	}
	// Output:
	// true  10000 <nil>
	// false upper-floors 0 <nil>
}
