package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/client"
)

func logAccuseCommand() *cli.Command {
	return &cli.Command{
		Name: "accuse", Usage: "put on the ledger that a gateway signed two heads of its log", ArgsUsage: "FILE-A FILE-B",
		Description: `Each file holds a signed head of the same gateway's log: the head itself, as C2SP
tlog-checkpoint writes it, or a receipt, in which one stands. Two heads contradict
each other if they have as many records and other roots. That and both signatures
are checked before anything is sent; exit code 4 says that they prove nothing.
Anybody with an account may do it. The first such offence of a gateway stays on the
ledger for good.

Example:

   postern log accuse 42.receipt theirs.receipt`,
		Flags: withConnect(), Action: logAccuse,
	}
}

type accuseOutput struct {
	Gateway hexBytes `json:"gateway"`
	Records uint64   `json:"log_records"`
	Roots   []string `json:"roots"`
	Known   uint64   `json:"known_since_height"`
	txOutput
}

func logAccuse(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name two files with signed heads of one log: postern log accuse FILE-A FILE-B")
	}
	first, err := readHead(c.Args().Get(0))
	if err != nil {
		return err
	}
	second, err := readHead(c.Args().Get(1))
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		account, err := accused(cl.Chain(), first, second)
		if err != nil {
			return err
		}
		v, err := accuse(ctx, cl, &chain.Offence{Account: account, First: first, Second: second})
		if err != nil {
			return err
		}
		return printer(c).show(v, "gateway %s signed two heads of its log at %d records; the ledger knows an offence of it since block %d",
			v.Gateway, v.Records, v.Known)
	})
}

// readHead reads the signed head of a log from a file of its own or a receipt.
func readHead(file string) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if r, err := proof.ParseReceipt(raw); err == nil {
		return r.Log.Checkpoint, nil
	}
	if _, err := proof.ParseCheckpoint(raw); err != nil {
		return nil, fmt.Errorf("%s is neither a signed head of a log nor a receipt: %w", file, err)
	}
	return raw, nil
}

// accused is the gateway of whose log two heads are, if they contradict each
// other. Who signed them is not looked at.
func accused(id abi.Hash, first, second []byte) (abi.Hash, error) {
	a, err := proof.ParseCheckpoint(first)
	if err != nil {
		return abi.Hash{}, err
	}
	b, err := proof.ParseCheckpoint(second)
	if err != nil {
		return abi.Hash{}, err
	}
	switch {
	case a.Origin != b.Origin:
		return abi.Hash{}, fmt.Errorf("heads of two logs, %s and %s: %w", a.Origin, b.Origin, abi.CodeBadProof)
	case a.Size != b.Size:
		return abi.Hash{}, fmt.Errorf("heads at %d and %d records; only heads at the same number can contradict each other: %w", a.Size, b.Size, abi.CodeBadProof)
	case a.Root == b.Root:
		return abi.Hash{}, fmt.Errorf("both heads say the same of the log's %d records: %w", a.Size, abi.CodeBadProof)
	}
	var account abi.Hash
	name, err := hex.DecodeString(a.Origin[strings.LastIndexByte(a.Origin, '/')+1:])
	copy(account[:], name)
	if err != nil || a.Origin != proof.LogOrigin(id, account) {
		return abi.Hash{}, fmt.Errorf("%s is no log of a gateway of this chain: %w", a.Origin, abi.CodeWrongChain)
	}
	return account, nil
}

// accuse checks the signatures of an offence and submits it.
func accuse(ctx context.Context, cl *client.Client, o *chain.Offence) (*accuseOutput, error) {
	keys, err := logKeys(ctx, cl, o.Account)
	if err != nil {
		return nil, err
	}
	v := &accuseOutput{Gateway: o.Account[:]}
	for _, note := range [][]byte{o.First, o.Second} {
		head, err := openHead(note, proof.LogOrigin(cl.Chain(), o.Account), keys)
		if err != nil {
			return nil, err
		}
		v.Records, v.Roots = head.Size, append(v.Roots, fmt.Sprintf("%x", head.Root))
	}
	if v.txOutput, err = transact(ctx, cl, chain.OpOffence, o); err != nil {
		return nil, err
	}
	value, _, err := getProved(ctx, cl, chain.OffenceKey(o.Account), "the offence")
	if err != nil {
		return nil, err
	}
	known, err := chain.ParseForked(value)
	v.Known = known.Height
	return v, err
}

// logKeys are the keys with which a gateway may have signed: its account's, and
// that of its last anchor.
func logKeys(ctx context.Context, cl *client.Client, gateway abi.Hash) ([][]byte, error) {
	value, _, err := getProved(ctx, cl, chain.AccountKey(gateway), "the gateway's account")
	if err != nil {
		return nil, err
	}
	account, err := chain.ParseAccount(value)
	if err != nil {
		return nil, err
	}
	e, err := cl.Get(ctx, chain.AnchorKey(gateway))
	if err != nil || !e.Present {
		return [][]byte{account.Key}, err
	}
	anchored, err := chain.ParseAnchored(e.Value)
	return [][]byte{account.Key, anchored.Key}, err
}

// openHead opens a signed head with the first of some keys that signed it.
func openHead(note []byte, origin string, keys [][]byte) (head proof.Checkpoint, err error) {
	for _, k := range keys {
		if head, err = proof.OpenCheckpoint(note, origin, k); err == nil {
			break
		}
	}
	return head, err
}

// witness puts on the ledger, as this gateway, which head of another gateway's
// log a receipt holds.
func witness(c *cli.Context, r *proof.Receipt) (v txOutput, err error) {
	head, err := proof.ParseCheckpoint(r.Log.Checkpoint)
	if err != nil {
		return v, err
	}
	if k, err := commandKey(c, nodeKeyFile); err == nil && k.AccountID() == r.Account {
		return v, fmt.Errorf("a gateway is no witness of its own log: %w", abi.CodeBadArgument)
	}
	saw := chain.Witness{Account: r.Account, Size: head.Size, Root: head.Root}
	err = onNodeAs(c, nodeKeyFile, func(ctx context.Context, cl *client.Client) error {
		v, err = transact(ctx, cl, chain.OpWitness, &saw)
		return err
	})
	return v, err
}
