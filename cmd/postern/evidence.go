package main

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func deviceEvidenceCommand() *cli.Command {
	return &cli.Command{
		Name: "evidence", Usage: "what a quarantined or stolen device sent, sealed for its owner and authorities",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the items that are kept of a device, their proofs checked", ArgsUsage: deviceArgument,
				Description: "The newest 64 are kept. " + example("postern device evidence list front-door.key"),
				Flags:       withConnect(), Action: evidenceList,
			},
			{
				Name: "open", Usage: "read what was sealed for you, its proofs checked", ArgsUsage: deviceArgument + " [NUMBER ...]",
				Description: `Without a number it opens all that are kept. An item was sealed to the key that you
had then: after a rotation, name the former key's file with --former.

Examples:

   postern device evidence open front-door.key
   postern device evidence open --key owner.key --former owner-2025.key front-door.key 3 4`,
				Flags:  withConnect(&cli.StringSliceFlag{Name: "former", Usage: "key `FILE` that you had before; may be repeated"}),
				Action: evidenceOpen,
			},
			evidenceShowCommand(),
		},
	}
}

// sealedOutput is an item that is kept of a device, and what it says once it is
// opened.
type sealedOutput struct {
	Number      uint64     `json:"number"`
	Time        time.Time  `json:"time"`
	Height      uint64     `json:"height"`
	Gateway     hexBytes   `json:"gateway"`
	Owner       hexBytes   `json:"owner"`
	Authorities []hexBytes `json:"authorities,omitempty"`
	Evidence    hexBytes   `json:"evidence_hash"`

	Observation *observationOutput `json:"observation,omitempty"`
	Raw         hexBytes           `json:"raw,omitempty"` // of what is no observation
}

func describeSealed(number uint64, item *chain.SealedItem) sealedOutput {
	v := sealedOutput{Number: number, Time: time.UnixMilli(item.Time).UTC(), Height: item.Height, Gateway: item.Gateway[:], Owner: item.Account[:], Evidence: item.Evidence[:]}
	for i := range item.Authorities {
		v.Authorities = append(v.Authorities, item.Authorities[i].Account[:])
	}
	return v
}

func evidenceList(c *cli.Context) error {
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		numbers, err := keptItems(ctx, cl, id)
		if err != nil {
			return err
		}
		rows := []sealedOutput{}
		var lines []string
		for _, n := range numbers {
			item, err := readSealed(ctx, cl, id, n)
			if err != nil {
				return err
			}
			v := describeSealed(n, &item)
			rows = append(rows, v)
			lines = append(lines, fmt.Sprintf("%d\t%s\t%d\t%s\t%s", v.Number, v.Time.Format(time.DateTime), v.Height, v.Gateway, v.Evidence))
		}
		return printer(c).table(rows, "ITEM\tTIME\tBLOCK\tGATEWAY\tEVIDENCE", lines)
	})
}

// readSealed reads an item with its proof.
func readSealed(ctx context.Context, cl *client.Client, id abi.Hash, number uint64) (chain.SealedItem, error) {
	raw, _, err := getProved(ctx, cl, chain.SealedKey(id, number), fmt.Sprintf("item %d", number))
	if err != nil {
		return chain.SealedItem{}, err
	}
	return chain.ParseSealedItem(raw)
}

// reader opens what was sealed to one of a person's keys.
type reader struct {
	chain, account abi.Hash
	keys           []*ecdh.PrivateKey
}

func readerOf(ctx context.Context, c *cli.Context, cl *client.Client) (*reader, error) {
	k, err := commandKey(c, operatorKeyFile)
	if err != nil {
		return nil, err
	}
	r := &reader{chain: cl.Chain()}
	if r.account, err = (named{key: k.Public()}).account(ctx, cl); err != nil {
		return nil, err
	}
	keys := []*key.Key{k}
	for _, file := range c.StringSlice("former") {
		former, err := key.Load(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, former)
	}
	for _, k := range keys {
		private, err := k.Agreement()
		if err != nil {
			return nil, err
		}
		r.keys = append(r.keys, private)
	}
	return r, nil
}

// open opens an item and checks that it is what the gateway gave the hash of.
func (r *reader) open(device abi.Hash, item *chain.SealedItem) (text []byte, err error) {
	for _, copied := range r.copies(item) {
		for _, k := range r.keys {
			if text, err = sealed.Open(k, r.chain, device, copied); err == nil {
				if sha256.Sum256(text) != item.Evidence {
					return nil, fmt.Errorf("what was sealed is not the evidence that the gateway named: %w", abi.CodeBadProof)
				}
				return text, nil
			}
		}
	}
	if err == nil {
		err = fmt.Errorf("sealed to neither you nor an authority that you are: %w", abi.CodeNotPermitted)
	}
	return nil, err
}

// copies are the sealed texts that are for the reader's account.
func (r *reader) copies(item *chain.SealedItem) (list [][]byte) {
	if item.Account == r.account {
		list = append(list, item.Owner)
	}
	for i := range item.Authorities {
		if item.Authorities[i].Account == r.account {
			list = append(list, item.Authorities[i].Text)
		}
	}
	return list
}

func evidenceOpen(c *cli.Context) error {
	var numbers []uint64
	for _, arg := range c.Args().Tail() {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || n == 0 {
			return usagef("%q is no number of an item; postern device evidence list shows them", arg)
		}
		numbers = append(numbers, n)
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		r, err := readerOf(ctx, c, cl)
		if err != nil {
			return err
		}
		if len(numbers) == 0 {
			if numbers, err = keptItems(ctx, cl, id); err != nil {
				return err
			}
		}
		rows := []sealedOutput{}
		var lines []string
		var failed []error
		for _, n := range numbers {
			v, err := openItem(ctx, cl, r, id, n)
			if err != nil {
				failed = append(failed, fmt.Errorf("item %d: %w", n, err))
				continue
			}
			rows = append(rows, v)
			lines = append(lines, fmt.Sprintf("%d\t%s\t%s", v.Number, v.Time.Format(time.DateTime), v.said()))
		}
		if err := printer(c).table(rows, "ITEM\tTIME\tWHAT", lines); err != nil {
			return err
		}
		return errors.Join(failed...)
	})
}

// keptItems are the numbers of the items that are kept of a device, proved.
func keptItems(ctx context.Context, cl *client.Client, id abi.Hash) (numbers []uint64, err error) {
	count, err := sealedCount(ctx, cl, id)
	first := uint64(1)
	if count > chain.SealedKept {
		first = count - chain.SealedKept + 1
	}
	for n := first; n <= count; n++ {
		numbers = append(numbers, n)
	}
	return numbers, err
}

func openItem(ctx context.Context, cl *client.Client, r *reader, id abi.Hash, number uint64) (sealedOutput, error) {
	item, err := readSealed(ctx, cl, id, number)
	if err != nil {
		return sealedOutput{}, err
	}
	v := describeSealed(number, &item)
	text, err := r.open(id, &item)
	if err != nil {
		return v, err
	}
	o, err := abi.ParseObservation(text)
	if err != nil || o.Device != id {
		v.Raw = text
		return v, nil
	}
	v.Observation = observationOf(&o)
	return v, nil
}

// said is what an opened item says, on one line.
func (v *sealedOutput) said() string {
	if v.Observation == nil {
		return v.Raw.String()
	}
	return v.Observation.text()
}
