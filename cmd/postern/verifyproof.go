package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// keepFlag is for whoever wants to begin from here next time.
var keepFlag = &cli.StringFlag{Name: "keep", Usage: "write a trust bundle to a new `FILE` that begins at the newest block that was verified"}

func verifyProofCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "header", Usage: "check who signed a block's header, and that proofs do not contradict each other", ArgsUsage: "FILE|HEIGHT ...",
			Description: `FILE is what postern prove --out wrote, and is checked without a node from the
trust bundle alone. Several are checked together: two that are certified and
cannot both be of one chain are evidence against whoever signed both, which are
named. A HEIGHT is asked of a node, and its answer checked.

Examples:

   postern verify header --trust bundle.json block.proof.json
   postern verify header --trust bundle.json ours.json theirs.json
   postern verify header 5`,
			Flags:  withConnect(keepFlag),
			Action: verifyHeader,
		},
		verifyEntryCommand("entry", "check that a state entry has a value, and show it", true),
		verifyEntryCommand("absence", "check that a state entry has no value", false),
		verifyOriginCommand(),
	}
}

func verifyEntryCommand(name, usage string, present bool) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "FILE|WHAT [WHAT|NAME] [NAME|KEY-HEX] [KEY-HEX]",
		Description: `FILE is what postern prove --out wrote, and is checked without a node from the
trust bundle alone; the entry that it should be of may be named behind it.
Without FILE a node is asked, and its answer checked. WHAT NAME is one of:
` + provable + `.

It ends with exit code 4 if the proof is false, and if it is true but says the
contrary.

Examples:

   postern verify ` + name + ` --trust bundle.json access.proof.json
   postern verify ` + name + ` access.proof.json contract access
   postern verify ` + name + ` contract access`,
		Flags:  withConnect(keepFlag),
		Action: func(c *cli.Context) error { return verifyEntry(c, present) },
	}
}

func verifyHeader(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("name a proof's file or a height: postern verify header FILE|HEIGHT")
	}
	if height, err := strconv.ParseUint(c.Args().First(), 10, 64); err == nil {
		return onNode(c, func(ctx context.Context, cl *client.Client) error {
			_, e, err := cl.ProveHeader(ctx, height)
			if err != nil {
				return err
			}
			if err := keep(c, cl.Bundle()); err != nil {
				return err
			}
			return showVerified(printer(c), verifiedOf(cl.Chain(), nil, e), "")
		})
	}
	light, err := trusting(c)
	if err != nil {
		return err
	}
	for _, file := range c.Args().Slice() {
		p, e, err := verifyFile(light, file)
		if err != nil {
			return err
		}
		if err := showVerified(printer(c), verifiedOf(p.Chain, nil, e), ""); err != nil {
			return err
		}
	}
	return keep(c, light.Bundle())
}

// trusting is what the trust bundle of a command makes one trust.
func trusting(c *cli.Context) (*client.LightClient, error) {
	bundle, err := readBundle(bundlePath(c))
	if err != nil {
		return nil, err
	}
	return client.NewLight(bundle)
}

func verifyEntry(c *cli.Context, present bool) error {
	v, err := verifiedEntry(c)
	if err != nil {
		return err
	}
	if err := showVerified(printer(c), v, ""); err != nil {
		return err
	}
	if *v.Present != present {
		return &quietExit{exitRefused}
	}
	return nil
}

// verifiedEntry checks the entry in a file, or the one that a node proves.
func verifiedEntry(c *cli.Context) (*verifiedOutput, error) {
	args := c.Args().Slice()
	if len(args) == 0 {
		return nil, usagef("name a proof's file or an entry; see %s --help", c.Command.HelpName)
	}
	if entryWords[args[0]] != nil {
		return verifiedOnline(c, args)
	}
	light, err := trusting(c)
	if err != nil {
		return nil, err
	}
	p, e, err := verifyFile(light, args[0])
	if err != nil {
		return nil, err
	}
	if p.Key == nil {
		return nil, fmt.Errorf("%s proves a header, and no entry: %w", args[0], abi.CodeBadProof)
	}
	if len(args) > 1 {
		key, err := stateKey(args[1:])
		if err != nil {
			return nil, err
		}
		if string(key) != string(p.Key) {
			return nil, fmt.Errorf("%s is of another entry, %s: %w", args[0], chain.KeyName(p.Key), abi.CodeBadProof)
		}
	}
	return verifiedOf(p.Chain, p.Key, e), keep(c, light.Bundle())
}

func verifiedOnline(c *cli.Context, args []string) (v *verifiedOutput, err error) {
	key, err := stateKey(args)
	if err != nil {
		return nil, err
	}
	err = onNode(c, func(ctx context.Context, cl *client.Client) error {
		e, err := cl.Get(ctx, key)
		if err != nil {
			return err
		}
		v = verifiedOf(cl.Chain(), key, e)
		return keep(c, cl.Bundle())
	})
	return v, err
}

// verifyFile checks a proof's file, without a node.
func verifyFile(light *client.LightClient, file string) (*client.Proof, *client.Entry, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	p, err := client.ParseProof(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	e, err := p.Verify(light)
	if errors.Is(err, client.ErrUnknownValidators) {
		err = fmt.Errorf("%w; the file does not lead from the validators of the trust bundle to those that signed", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, e, nil
}

// keep writes the bundle to begin with next time, if that is asked for.
func keep(c *cli.Context, b *client.Bundle) error {
	file := c.String(keepFlag.Name)
	if file == "" {
		return nil
	}
	var text strings.Builder
	if err := b.Write(&text); err != nil {
		return err
	}
	return writeNew(file, []byte(text.String()), 0o644)
}

// verifiedOutput is what a proof proves.
type verifiedOutput struct {
	Chain   hexBytes       `json:"chain"`
	Height  uint64         `json:"height"`
	Block   hexBytes       `json:"block"`
	Time    time.Time      `json:"time"`
	State   hexBytes       `json:"state_root"`
	Key     hexBytes       `json:"key,omitempty"`
	What    string         `json:"what,omitempty"`
	Present *bool          `json:"present,omitempty"` // absent for a header
	Value   hexBytes       `json:"value,omitempty"`
	Quorum  int            `json:"quorum"`
	Signers []signerOutput `json:"validators"`
}

type signerOutput struct {
	ID     uint64   `json:"id"`
	Key    hexBytes `json:"key"`
	Signed bool     `json:"signed"`
}

// verifiedOf describes a verified entry, or header where there is no key.
func verifiedOf(id abi.Hash, key []byte, e *client.Entry) *verifiedOutput {
	block := e.Header.Hash()
	v := &verifiedOutput{
		Chain: id[:], Height: e.Height, Block: block[:], Time: time.UnixMilli(e.Header.Time).UTC(), State: e.Header.State[:],
		Quorum: e.Validators.Quorum(), Signers: signersOf(e.Validators, &e.Certificate),
	}
	if key != nil {
		v.Key, v.What, v.Present, v.Value = key, chain.KeyName(key), &e.Present, e.Value
	}
	return v
}

func signersOf(set chain.ValidatorSet, c *chain.Certificate) []signerOutput {
	signed := map[uint64]bool{}
	for _, s := range c.Signatures {
		signed[s.Validator] = true
	}
	list := []signerOutput{}
	for _, v := range set {
		list = append(list, signerOutput{v.ID, v.Key, signed[v.ID]})
	}
	return list
}

func showVerified(out output, v *verifiedOutput, more string) error {
	var b strings.Builder
	signed := 0
	for _, s := range v.Signers {
		state := "did not sign"
		if s.Signed {
			signed++
			state = "signed"
		}
		fmt.Fprintf(&b, "\n  validator %d  %s  %s", s.ID, s.Key, state)
	}
	what := fmt.Sprintf("good: the header of block %d  %s", v.Height, v.Block)
	switch {
	case v.Present != nil && *v.Present:
		what = fmt.Sprintf("good: %s is there\nvalue    %s", v.What, readable(v.Value))
	case v.Present != nil:
		what = fmt.Sprintf("good: %s is absent", v.What)
	}
	return out.show(v, "%s\nheight   %d, %s\nstate    %s\nsigned   by %d of %d validators, %d are needed%s%s",
		what, v.Height, v.Time.Format(time.RFC3339), v.State, signed, len(v.Signers), v.Quorum, b.String(), more)
}
