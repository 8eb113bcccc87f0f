package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// gatewayForExample runs a gateway in this process: it permits technicians to
// open doors. A program gets the bundle and the key from files.
func gatewayForExample() (bundle *client.Bundle, device *key.Key, stop func()) {
	var t exampleTB
	l := newLedger(&t)
	l.decide = func(_ context.Context, _ abi.Caller, _ string, request []byte) abi.Answer {
		q, err := abi.ParseDecisionRequest(request)
		if err != nil || q.Action.Name != "open" {
			return abi.Answer{Code: abi.CodeDenied, ReasonID: "no-rule"}
		}
		return abi.Answer{Permit: true, ReasonID: "technicians"}
	}
	l.outcome = func(tx *chain.Tx) chain.Outcome {
		o := chain.Outcome{ID: tx.ID}
		if tx.Op == chain.OpPropose {
			o.Result = []byte{1} // its number
		}
		return o
	}
	l.commit(map[string][]byte{string(chain.DomainKey("default")): (&chain.Domain{Contract: "access"}).Append(nil)}, nil, nil)
	device = newKey(&t)
	l.enrol(device, abi.StatusActive)
	address, stop := l.serve(&t, l.gateway, "127.0.0.1:0")
	return l.bundle(address), device, stop
}

// exampleTB lets examples use what tests use.
type exampleTB struct{ testing.TB }

func (*exampleTB) Helper()                   {}
func (*exampleTB) Cleanup(func())            {}
func (*exampleTB) Fatal(args ...any)         { log.Fatal(args...) }
func (*exampleTB) Errorf(f string, a ...any) { log.Printf(f, a...) }

// A device asks whether it may do something.
func Example() {
	bundle, device, stop := gatewayForExample() // client.ParseBundle, key.Load
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: device})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for _, action := range []string{"open", "unscrew"} {
		answer, err := c.Decide(ctx, "default", &abi.DecisionRequest{
			Action:   abi.Action{Name: action},
			Resource: abi.Entity{Type: "door", ID: "server-room"},
		})
		if err != nil {
			log.Print(err) // and the answer is a denial
		}
		fmt.Println(action, answer.Permit, answer.ReasonID)
	}
	// Output:
	// open true technicians
	// unscrew false no-rule
}

// A tool reads an entry of the ledger and need not trust the gateway for it.
func ExampleClient_Get() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: device})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	entry, err := c.Get(ctx, chain.DomainKey("default"))
	if err != nil {
		log.Fatal(err)
	}
	domain, err := chain.ParseDomain(entry.Value)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, proved at height %d by %d validator\n", domain.Contract, entry.Height, entry.Signers)
	missing, err := c.Get(ctx, chain.DomainKey("garage"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("garage:", missing.Present)
	// Output:
	// access, proved at height 1 by 1 validator
	// garage: false
}

// An auditor keeps a proof and checks it a year later, without any gateway: the
// trust bundle and the file are enough, whatever validators came and went.
func ExampleClient_Prove() {
	bundle, device, stop := gatewayForExample()
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: device})
	if err != nil {
		log.Fatal(err)
	}
	p, _, err := c.Prove(ctx, chain.DomainKey("default"))
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if err := p.Write(&file); err != nil {
		log.Fatal(err)
	}
	c.Close()
	stop()

	kept, err := client.ParseProof(file.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	light, err := client.NewLight(bundle)
	if err != nil {
		log.Fatal(err)
	}
	entry, err := kept.Verify(light)
	if err != nil {
		log.Fatal(err) // a *client.ForkError is evidence against validators
	}
	fmt.Printf("present %v at height %d, signed by %d of %d\n", entry.Present, entry.Height, entry.Signers, len(entry.Validators))
	// Output: present true at height 1, signed by 1 of 1
}

// A device writes down where it stands, and begins there after a restart.
func ExampleClient_Bundle() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: device})
	if err != nil {
		log.Fatal(err)
	}
	var flash bytes.Buffer
	if err := c.Bundle().Write(&flash); err != nil {
		log.Fatal(err)
	}
	c.Close()

	kept, err := client.ParseBundle(flash.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	c, err = client.Dial(ctx, client.Config{Bundle: kept, Key: device})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println("trusts validators", len(c.Checkpoint().Validators), "from height", kept.Checkpoint.Height)
	// Output: trusts validators 1 from height 1
}

// A relay checks what passes through it, and follows the validators by the
// steps that it is handed.
func ExampleLightClient() {
	relay := chainForExample()
	light, err := client.NewLight(relay.bundle(""))
	if err != nil {
		log.Fatal(err)
	}
	header, certificate := relay.header, relay.certificate
	if _, err := light.Header(&header, &certificate); errors.Is(err, client.ErrUnknownValidators) {
		fmt.Println("needs the steps after height", light.StepsAfter(header.Height))
	}
	for _, step := range relay.steps {
		if err := light.Advance(step); err != nil {
			log.Fatal(err)
		}
	}
	signers, err := light.Header(&header, &certificate)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("height %d, by %d validators\n", light.Height(), len(signers))
	// Output:
	// needs the steps after height 0
	// height 3, by 3 validators
}

// chainForExample is a chain whose validator has handed over to three others.
func chainForExample() *ledger {
	var t exampleTB
	l := newLedger(&t)
	l.commit(nil, nil, nil)
	l.handOver(keysOf(&t, 3)...)
	l.commit(nil, nil, nil)
	return l
}

// Validators decide together: one proposes, the others approve.
func ExampleClient_Propose() {
	bundle, validator, stop := gatewayForExample()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: validator})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	number, err := c.Propose(ctx, chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: 4}, "the site was closed")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("proposal", number)
	if err := c.Approve(ctx, number, "I have seen it"); err != nil {
		log.Fatal(err)
	}
	// Output: proposal 1
}

// An operator changes something and waits until it is committed.
func ExampleClient_Transact() {
	bundle, operator, stop := gatewayForExample()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: operator})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	done, err := c.Transact(ctx, chain.OpBind, &chain.Bind{Domain: "garage", Contract: "access"}, 0)
	var refused *client.OutcomeError
	switch {
	case errors.As(err, &refused):
		log.Fatal("committed, but refused: ", refused.Outcome.Code)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("committed in block", done.Height)
	// Output: committed in block 2
}
