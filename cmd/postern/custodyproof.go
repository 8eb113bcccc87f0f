package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/custody"
	"github.com/seed79541315/postern/sdk/client"
)

// lifeProof is an item's life as a file that verifies alone: the proof of its
// record in the state, whose head commits to the steps, and the steps.
type lifeProof struct {
	Contract string          `json:"contract"`
	Item     string          `json:"item"`
	Proof    json.RawMessage `json:"proof"`
	Steps    [][]byte        `json:"steps"`
}

func custodyProveCommand() *cli.Command {
	return &cli.Command{
		Name: "prove", Usage: "write an item's life to a file that anyone can check without a node", ArgsUsage: "ITEM FILE",
		Description: "Example:\n\n   postern custody prove urn:epc:id:sgtin:0614141.107346.2017 life.json",
		Flags:       withConnect(custodyFlag), Action: custodyProve,
	}
}

func custodyProve(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name an item and a new file")
	}
	return onCustody(c, callTimeout, func(k *custodian) error {
		life, e, err := k.prove(c.Args().First())
		if err != nil {
			return err
		}
		text, err := json.Marshal(life)
		if err != nil {
			return err
		}
		if err := writeNew(c.Args().Get(1), append(text, '\n'), 0o644); err != nil {
			return err
		}
		v := struct {
			Item   string `json:"item"`
			Steps  int    `json:"steps"`
			Height uint64 `json:"height"`
			File   string `json:"file"`
		}{life.Item, len(life.Steps), e.Height, c.Args().Get(1)}
		return printer(c).show(v, "%d steps of %s, proved at height %d, are in %s", v.Steps, v.Item, v.Height, v.File)
	})
}

// lifeTries is how often an item's life is read that changes meanwhile.
const lifeTries = 3

func (k *custodian) prove(item string) (*lifeProof, *client.Entry, error) {
	var failed error
	for range lifeTries {
		p, e, err := k.cl.Prove(k.ctx, chain.StateKey(k.contract, custody.ItemKey(item)))
		if err != nil {
			return nil, nil, err
		}
		if !e.Present {
			return nil, nil, fmt.Errorf("item %s: %w (proved at height %d)", item, abi.CodeNotFound, e.Height)
		}
		steps, err := custody.Steps(k.query, item)
		if err != nil {
			return nil, nil, err
		}
		if failed = custody.VerifySteps(item, e.Value, steps); failed != nil {
			continue
		}
		text, err := json.Marshal(p)
		return &lifeProof{k.contract, item, text, steps}, e, err
	}
	return nil, nil, failed
}

func custodyVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check a file of postern custody prove, without a node, and show the item's life", ArgsUsage: "FILE",
		Description: "The trust bundle is all that is needed. It ends with exit code 4 if the file is\nfalse. Example:\n\n   postern custody verify --trust bundle.json life.json",
		Flags:       withConnect(), Action: custodyVerify,
	}
}

func custodyVerify(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one file")
	}
	light, err := trusting(c)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.Args().First())
	if err != nil {
		return err
	}
	var life lifeProof
	if err := json.Unmarshal(text, &life); err != nil {
		return fmt.Errorf("%s: %w: %w", c.Args().First(), abi.CodeMalformed, err)
	}
	e, steps, err := life.verify(light)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.Args().First(), abi.CodeBadProof, err)
	}
	v := struct {
		Contract string            `json:"contract"`
		Item     string            `json:"item"`
		Height   uint64            `json:"height"`
		Record   json.RawMessage   `json:"record"`
		Steps    []json.RawMessage `json:"steps"`
	}{life.Contract, life.Item, e.Height, valueIn("Item", e.Value), steps}
	var b strings.Builder
	for _, s := range steps {
		b.WriteString("\n" + string(s))
	}
	return printer(c).show(v, "good: item %s of contract %s at height %d\n%s\nits life, %d steps:%s", v.Item, v.Contract, v.Height, v.Record, len(steps), b.String())
}

func (l *lifeProof) verify(light *client.LightClient) (*client.Entry, []json.RawMessage, error) {
	p, err := client.ParseProof(l.Proof)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(p.Key, chain.StateKey(l.Contract, custody.ItemKey(l.Item))) {
		return nil, nil, fmt.Errorf("the proof is of another entry than item %s of contract %s", l.Item, l.Contract)
	}
	e, err := p.Verify(light)
	if err != nil {
		return nil, nil, err
	}
	if !e.Present {
		return nil, nil, fmt.Errorf("there is no such item")
	}
	if err := custody.VerifySteps(l.Item, e.Value, l.Steps); err != nil {
		return nil, nil, err
	}
	steps := make([]json.RawMessage, 0, len(l.Steps))
	for _, s := range l.Steps {
		steps = append(steps, valueIn("Step", s))
	}
	return e, steps, nil
}

// valueIn shows bytes as a type of the contract's schema.
func valueIn(name string, b []byte) json.RawMessage {
	standard, _ := contracts.Named(custodyContract)
	t, err := standard.Schema.Type(name)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return valueOf(b, t)
}
