package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func blacklistCommand() *cli.Command {
	serial := []cli.Flag{
		&cli.StringFlag{Name: "manufacturer", Usage: "who made it (required)"},
		&cli.StringFlag{Name: "serial", Usage: "its serial (required)"},
		reasonFlag,
	}
	return &cli.Command{
		Name:  "blacklist",
		Usage: "serials that may not be enrolled",
		Description: `Only the manufacturer of a serial or the owner of record of the device that has it
lists it or takes it off. A device that its owner reports stolen is listed by that
(postern device stolen). Lists go to other platforms signed, and theirs come in.`,
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "list a serial, and its hardware",
				Description: example("postern blacklist add --key factory.key --manufacturer Acme --serial 0042 --hardware-id 00:1b:44:11:3a:b7 --reason 'lorry stolen'"),
				Flags:       withConnect(append([]cli.Flag{hardwareFlag}, serial...)...),
				Action:      func(c *cli.Context) error { return blacklistSet(c, true) },
			},
			{
				Name: "remove", Usage: "take a serial off",
				Description: example("postern blacklist remove --key factory.key --manufacturer Acme --serial 0042 --reason 'lorry found'"),
				Flags:       withConnect(serial...),
				Action:      func(c *cli.Context) error { return blacklistSet(c, false) },
			},
			{
				Name: "list", Usage: "list what is blacklisted (unproven)",
				Description: example("postern blacklist list --manufacturer Acme"),
				Flags:       withConnect(&cli.StringFlag{Name: "manufacturer", Usage: "only this maker's"}),
				Action:      blacklistList,
			},
			blacklistExportCommand(),
			{
				Name: "import", Usage: "take in another platform's signed list", ArgsUsage: "FILE",
				Description: `Anybody may bring it: the ledger checks the signature against the platform's keys
(postern platform add). What was taken in already is passed over.

Example:

   postern blacklist import other.json`,
				Flags: withConnect(), Action: blacklistImport,
			},
		},
	}
}

type listingOutput struct {
	Manufacturer string   `json:"manufacturer"`
	Serial       string   `json:"serial"`
	By           hexBytes `json:"by,omitempty"` // absent where only platforms list it
	Reason       string   `json:"reason,omitempty"`
	Hardware     hexBytes `json:"hardware_hash,omitempty"`
	Platforms    []string `json:"platforms,omitempty"`
	Height       uint64   `json:"height"`
}

func describeListing(l *chain.Listing) *listingOutput {
	v := &listingOutput{Manufacturer: l.Manufacturer, Serial: l.Serial, Reason: l.Reason, Platforms: l.Platforms, Height: l.Height}
	if l.By != nil {
		v.By = l.By[:]
	}
	if l.Hardware != nil {
		v.Hardware = l.Hardware[:]
	}
	return v
}

// listingOf is the record of a serial, proved; nil if it is not listed.
func listingOf(ctx context.Context, cl *client.Client, manufacturer, serial string) (*listingOutput, error) {
	e, err := cl.Get(ctx, chain.BlacklistKey(manufacturer, serial))
	if err != nil || !e.Present {
		return nil, err
	}
	l, err := chain.ParseListing(e.Value)
	if err != nil {
		return nil, err
	}
	return describeListing(&l), nil
}

func (v *listingOutput) text() string {
	return fmt.Sprintf("listed by %s in block %d: %s", v.listers(), v.Height, v.Reason)
}

// listers are who lists the serial.
func (v *listingOutput) listers() string {
	var who []string
	if v.By != nil {
		who = append(who, v.By.String())
	}
	return strings.Join(append(who, v.Platforms...), ", ")
}

func blacklistSet(c *cli.Context, listed bool) error {
	if err := require(c, "manufacturer", "serial", "reason"); err != nil {
		return err
	}
	args := chain.Blacklist{Manufacturer: c.String("manufacturer"), Serial: c.String("serial"), Listed: listed, Reason: c.String("reason")}
	if text := c.String("hardware-id"); text != "" {
		id, err := hardwareID(text)
		if err != nil {
			return err
		}
		args.Hardware = id
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		res, err := transact(ctx, cl, chain.OpBlacklist, &args)
		if err != nil {
			return err
		}
		done := "is on the blacklist"
		if !listed {
			done = "is off the blacklist"
			if left, err := listingOf(ctx, cl, args.Manufacturer, args.Serial); err == nil && left != nil {
				done = "stays on the blacklist, where " + left.listers() + " has it, too"
			}
		}
		return printer(c).show(struct {
			Manufacturer string `json:"manufacturer"`
			Serial       string `json:"serial"`
			Listed       bool   `json:"listed"`
			txOutput
		}{args.Manufacturer, args.Serial, listed, res}, "%s %s %s (block %d)", args.Manufacturer, args.Serial, done, res.Height)
	})
}

func blacklistList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		rows := []*listingOutput{}
		var lines []string
		err := scanAll(ctx, cl, chain.BlacklistPrefix(), func(_, value []byte) error {
			l, err := chain.ParseListing(value)
			if maker := c.String("manufacturer"); err != nil || maker != "" && maker != l.Manufacturer {
				return err
			}
			v := describeListing(&l)
			rows = append(rows, v)
			lines = append(lines, fmt.Sprintf("%s\t%s\t%d\t%s\t%s", v.Manufacturer, v.Serial, v.Height, v.listers(), v.Reason))
			return nil
		})
		if err != nil {
			return err
		}
		return printer(c).table(rows, "MANUFACTURER\tSERIAL\tBLOCK\tLISTED BY\tWHY", lines)
	})
}
