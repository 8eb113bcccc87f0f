package main

import (
	"bytes"
	"encoding/json"
	"errors"
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

// lifeFile is an item's life, and those of all containers in which it lay, as a
// file that verifies alone. As JSON:
//
//	{"contract": "custody", "item": "…", "lives": [{"item": "…", "proof": {…}, "steps": ["<CBOR in base64>"]}]}
type lifeFile struct {
	Contract string      `json:"contract"`
	Item     string      `json:"item"`
	Lives    []lifeProof `json:"lives"`
}

// lifeProof is the proof of one item's record in the state, whose head commits to
// the steps, and the steps.
type lifeProof struct {
	Item  string          `json:"item"`
	Proof json.RawMessage `json:"proof"`
	Steps [][]byte        `json:"steps"`
}

// maxLives bounds a file: containers in containers, each used often.
const maxLives = 1000

func custodyProveCommand() *cli.Command {
	return &cli.Command{
		Name: "prove", Usage: "write an item's life to a file that anyone can check without a node", ArgsUsage: "ITEM FILE",
		Description: "The lives of the containers in which it lay are in the file as well.\nExample:\n\n   postern custody prove urn:epc:id:sgtin:0614141.107346.2017 life.json",
		Flags:       withConnect(custodyFlag), Action: custodyProve,
	}
}

func custodyProve(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name an item and a new file")
	}
	return onCustody(c, changeTimeout, func(k *custodian) error {
		life, err := k.proveLife(c.Args().First())
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
			Item       string `json:"item"`
			Steps      int    `json:"steps"`
			Containers int    `json:"containers"`
			File       string `json:"file"`
		}{life.Item, len(life.Lives[0].Steps), len(life.Lives) - 1, c.Args().Get(1)}
		return printer(c).show(v, "%d steps of %s, and the lives of %d containers, are in %s", v.Steps, v.Item, v.Containers, v.File)
	})
}

// proveLife proves an item and, as they are met, the containers in which it lay.
func (k *custodian) proveLife(item string) (*lifeFile, error) {
	life := &lifeFile{Contract: k.contract, Item: item}
	seen := map[string]bool{item: true}
	for items := []string{item}; len(items) > 0; items = items[1:] {
		if len(life.Lives) == maxLives {
			return nil, fmt.Errorf("%s lay in more than %d containers", item, maxLives)
		}
		p, err := k.prove(items[0])
		if err != nil {
			return nil, err
		}
		life.Lives = append(life.Lives, *p)
		for _, container := range p.containers() {
			if !seen[container] {
				seen[container] = true
				items = append(items, container)
			}
		}
	}
	return life, nil
}

// lifeTries is how often an item's life is read that changes meanwhile.
const lifeTries = 3

func (k *custodian) prove(item string) (*lifeProof, error) {
	var failed error
	for range lifeTries {
		p, e, err := k.cl.Prove(k.ctx, chain.StateKey(k.contract, custody.ItemKey(item)))
		if err != nil {
			return nil, err
		}
		if !e.Present {
			return nil, fmt.Errorf("item %s: %w (proved at height %d)", item, abi.CodeNotFound, e.Height)
		}
		steps, err := custody.Steps(k.query, item)
		if err != nil {
			return nil, err
		}
		if failed = custody.VerifySteps(item, e.Value, steps); failed == nil {
			text, err := json.Marshal(p)
			return &lifeProof{item, text, steps}, err
		}
	}
	return nil, failed
}

// containers are those in which the item was packed, by its steps.
func (l *lifeProof) containers() (list []string) {
	for _, raw := range l.Steps {
		var s custodyStep
		if json.Unmarshal(valueIn("Step", raw), &s) == nil && s.Kind == "packed" {
			list = append(list, s.Place)
		}
	}
	return list
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
	var life lifeFile
	if err := json.Unmarshal(text, &life); err != nil {
		return fmt.Errorf("%s: %w: %w", c.Args().First(), abi.CodeMalformed, err)
	}
	lives, err := life.verify(light)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.Args().First(), abi.CodeBadProof, err)
	}
	v := struct {
		Contract string         `json:"contract"`
		Item     string         `json:"item"`
		Lives    []verifiedLife `json:"lives"`
	}{life.Contract, life.Item, lives}
	var b strings.Builder
	for _, l := range lives {
		fmt.Fprintf(&b, "\n%s at height %d: %s", l.Item, l.Height, l.Record)
		for _, s := range l.Steps {
			b.WriteString("\n  " + s.String())
		}
	}
	return printer(c).show(v, "good: item %s of contract %s%s", v.Item, v.Contract, b.String())
}

// verifiedLife is a life that was checked.
type verifiedLife struct {
	Item   string          `json:"item"`
	Height uint64          `json:"height"`
	Record json.RawMessage `json:"record"`
	Steps  []custodyStep   `json:"steps"`
}

// verify checks the life of the item and of each container in which it lay.
func (l *lifeFile) verify(light *client.LightClient) (lives []verifiedLife, err error) {
	if len(l.Lives) == 0 || len(l.Lives) > maxLives || l.Lives[0].Item != l.Item {
		return nil, fmt.Errorf("the life of item %s is missing", l.Item)
	}
	there := map[string]bool{}
	for i := range l.Lives {
		v, err := l.Lives[i].verify(light, l.Contract)
		if err != nil {
			return nil, fmt.Errorf("item %s: %w", l.Lives[i].Item, err)
		}
		lives, there[v.Item] = append(lives, v), true
	}
	for i := range l.Lives {
		for _, container := range l.Lives[i].containers() {
			if !there[container] {
				return nil, fmt.Errorf("the life of container %s is missing", container)
			}
		}
	}
	return lives, nil
}

func (l *lifeProof) verify(light *client.LightClient, contract string) (v verifiedLife, err error) {
	p, err := client.ParseProof(l.Proof)
	if err != nil {
		return v, err
	}
	if !bytes.Equal(p.Key, chain.StateKey(contract, custody.ItemKey(l.Item))) {
		return v, fmt.Errorf("the proof is of another entry of contract %s", contract)
	}
	e, err := p.Verify(light)
	if err != nil {
		return v, err
	}
	if !e.Present {
		return v, errors.New("there is no such item")
	}
	if err := custody.VerifySteps(l.Item, e.Value, l.Steps); err != nil {
		return v, err
	}
	v = verifiedLife{Item: l.Item, Height: e.Height, Record: valueIn("Item", e.Value), Steps: make([]custodyStep, len(l.Steps))}
	for i, raw := range l.Steps {
		if err := json.Unmarshal(valueIn("Step", raw), &v.Steps[i]); err != nil {
			return v, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return v, nil
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
