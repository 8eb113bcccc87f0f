package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// entryWords are what a state entry can be named by; provable tells people.
var entryWords = map[string]func(args []string) ([]byte, error){
	"account":   ofAccount(chain.AccountKey),
	"device":    ofAccount(chain.DeviceKey),
	"guardians": ofAccount(chain.GuardiansKey),
	"contract":  ofName(chain.ContractKey),
	"domain":    ofName(chain.DomainKey),
	"token": func(args []string) ([]byte, error) {
		h, err := parseHash(args[0], "token hash")
		return chain.TokenKey(h), err
	},
	"proposal": func(args []string) ([]byte, error) {
		number, err := proposalNumber(args[0])
		return chain.ProposalKey(number), err
	},
	"state": func(args []string) ([]byte, error) {
		k, err := hexArg(args[1], "state key")
		return chain.StateKey(args[0], k), err
	},
	"key":        func(args []string) ([]byte, error) { return hexArg(args[0], "key") },
	"validators": func([]string) ([]byte, error) { return chain.ValidatorsKey(), nil },
	"params":     func([]string) ([]byte, error) { return chain.ParamsKey(), nil },
}

const provable = `account ID, device ID, guardians ID, contract NAME, domain NAME, token HASH,
proposal NUMBER, validators, params, state CONTRACT KEY-HEX (a contract's entry),
key HEX (any entry)`

func ofAccount(key func(id abi.Hash) []byte) func(args []string) ([]byte, error) {
	return func(args []string) ([]byte, error) {
		id, err := accountID(args[0])
		return key(id), err
	}
}

func ofName(key func(name string) []byte) func(args []string) ([]byte, error) {
	return func(args []string) ([]byte, error) { return key(args[0]), nil }
}

func hexArg(arg, what string) ([]byte, error) {
	k, err := hex.DecodeString(arg)
	if err != nil || len(k) == 0 {
		return nil, usagef("the %s %q is not hexadecimal", what, arg)
	}
	return k, nil
}

// stateKey is the key of the entry that the arguments name.
func stateKey(args []string) ([]byte, error) {
	want := map[string]int{"state": 3, "validators": 1, "params": 1}
	if len(args) == 0 || len(args) != cmp.Or(want[args[0]], 2) || entryWords[args[0]] == nil {
		return nil, usagef("say which entry, one of: %s", provable)
	}
	return entryWords[args[0]](args[1:])
}

func proveCommand() *cli.Command {
	return &cli.Command{
		Name:      "prove",
		Usage:     "read a state entry, or a block's header, and check its proof from the trust bundle alone",
		ArgsUsage: "WHAT [NAME] [KEY-HEX]",
		Description: `WHAT NAME is header HEIGHT, or one of:
` + provable + `.

It proves absence as well: exit code 0 and "present": false. With --out the
proof goes to a file that verifies years later without any node: it holds the
changes of the validators since the genesis. postern verify reads it.

Examples:

   postern prove contract access
   postern prove --out access.proof.json contract access
   postern prove --out block.proof.json header 5`,
		Flags: withConnect(&cli.StringFlag{Name: "out", Usage: "write the proof to a new `FILE`"}),
		Action: func(c *cli.Context) error {
			if c.Args().First() == "header" {
				return proveHeader(c)
			}
			key, err := stateKey(c.Args().Slice())
			if err != nil {
				return err
			}
			return onNode(c, func(ctx context.Context, cl *client.Client) error { return prove(ctx, c, cl, key) })
		},
	}
}

type proveOutput struct {
	Key     hexBytes `json:"key"`
	Present bool     `json:"present"`
	Value   hexBytes `json:"value,omitempty"`
	Height  uint64   `json:"height"`
	Block   hexBytes `json:"block"`
	Root    hexBytes `json:"state_root"`
	Signers int      `json:"signers"`
	Bytes   int      `json:"proof_bytes"`
	File    string   `json:"file,omitempty"`
}

func prove(ctx context.Context, c *cli.Context, cl *client.Client, key []byte) error {
	e, err := cl.Get(ctx, key)
	if err != nil {
		return err
	}
	file := c.String("out")
	if file != "" {
		var p *client.Proof
		if p, e, err = cl.Prove(ctx, key); err != nil {
			return err
		}
		if err := writeProof(file, p); err != nil {
			return err
		}
	}
	block := e.Header.Hash()
	v := proveOutput{key, e.Present, e.Value, e.Height, block[:], e.Header.State[:], e.Signers, len(e.Proof), file}
	what := "is absent"
	if e.Present {
		what = "is " + readable(e.Value)
	}
	return printer(c).show(v, "key %x %s\nproved at height %d under state root %s, signed by %d validators, by %d bytes of proof%s",
		key, what, v.Height, v.Root, v.Signers, v.Bytes, writtenTo(file))
}

func proveHeader(c *cli.Context) error {
	height, err := strconv.ParseUint(c.Args().Get(1), 10, 64)
	if err != nil || c.NArg() != 2 {
		return usagef("name a height: postern prove header HEIGHT")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		p, e, err := cl.ProveHeader(ctx, height)
		if err != nil {
			return err
		}
		if file := c.String("out"); file != "" {
			if err := writeProof(file, p); err != nil {
				return err
			}
		}
		return showVerified(printer(c), verifiedOf(cl.Chain(), nil, e), writtenTo(c.String("out")))
	})
}

func writtenTo(file string) string {
	if file == "" {
		return ""
	}
	return "\nwritten to " + file
}

func writeProof(file string, p *client.Proof) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := p.Write(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}
