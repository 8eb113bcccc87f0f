package main

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
)

func shareDeliverCommand() *cli.Command {
	return &cli.Command{
		Name: "deliver", Usage: "wrap the data key to the buyer of a purchase", ArgsUsage: "PURCHASE",
		Description: example("postern share deliver --key farm.key 1"), Flags: withConnect(shareFlag), Action: shareDeliver,
	}
}

func shareDeliver(c *cli.Context) error {
	number, err := numberOf(c.Args().First(), "purchase")
	if err != nil {
		return err
	}
	return onSharing(c, func(s *sharer) error {
		var purchase *struct {
			Offer uint64   `json:"offer"`
			Buyer hexBytes `json:"buyer"`
		}
		if err := s.ask("purchase", map[string]any{"purchase": number}, &purchase); err != nil {
			return err
		}
		if purchase == nil {
			return fmt.Errorf("purchase %d: %w", number, abi.CodeNotFound)
		}
		var offer struct {
			Dataset string `json:"dataset"`
		}
		if err := s.ask("offer", map[string]any{"offer": purchase.Offer}, &offer); err != nil {
			return err
		}
		d, err := s.dataset(offer.Dataset)
		if err != nil {
			return err
		}
		wrapped, err := s.wrap(ringOf(c), offer.Dataset, d.Epoch, abi.Hash(purchase.Buyer))
		if err != nil {
			return err
		}
		res, err := s.call("deliver", map[string]any{"purchase": number, "epoch": d.Epoch, "wrapped": hexBytes(wrapped)})
		if err != nil {
			return err
		}
		return s.done(&res)
	})
}

func shareCreditCommand() *cli.Command {
	reason := &cli.StringFlag{Name: "reason", Usage: "why, in at most 64 `BYTES`"}
	command := func(name, usage, args, calls string, run func(c *cli.Context) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args, Description: example(calls),
			Flags: withConnect(append([]cli.Flag{shareFlag}, flags...)...), Action: run,
		}
	}
	return &cli.Command{
		Name: "credit", Usage: "the units in which access is paid",
		Subcommands: []*cli.Command{
			command("issuer", "name the account that makes credits, as the contract's owner", "ACCOUNT", "postern share credit issuer bank.key", creditIssuer),
			command("mint", "make credits for an account", "ACCOUNT AMOUNT", "postern share credit mint --key bank.key --reason 'receipt 17' mill.key 1000", creditTo("mint"), reason),
			command("transfer", "give credits to an account", "ACCOUNT AMOUNT", "postern share credit transfer --key mill.key lab.key 300", creditTo("transfer")),
			command("burn", "destroy credits of one's own, as their issuer", "AMOUNT", "postern share credit burn --key bank.key --reason 'paid out' 400", creditBurn, reason),
			command("balance", "show an account's credits, and all there are", "ACCOUNT", "postern share credit balance mill.key", creditBalance),
		},
	}
}

// credits runs an operation of credits by a transaction.
func credits(c *cli.Context, operation, amount string, fields map[string]any) error {
	n, err := strconv.ParseUint(amount, 10, 63)
	if err != nil {
		return usagef("%q is no number of credits", amount)
	}
	fields["amount"] = n
	if operation != "transfer" {
		fields["reason"] = c.String("reason")
	}
	return onSharing(c, func(s *sharer) error {
		res, err := s.call(operation, fields)
		if err != nil {
			return err
		}
		return s.done(&res)
	})
}

func creditTo(operation string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != 2 {
			return usagef("name the account and the amount")
		}
		to, err := accountID(c.Args().First())
		if err != nil {
			return err
		}
		return credits(c, operation, c.Args().Get(1), map[string]any{"to": hexOf(to)})
	}
}

func creditIssuer(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the account")
	}
	id, err := accountID(c.Args().First())
	if err != nil {
		return err
	}
	return onSharing(c, func(s *sharer) error {
		res, err := s.call("set_issuer", map[string]any{"account": hexOf(id)})
		if err != nil {
			return err
		}
		return s.done(&res)
	})
}

func creditBurn(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the amount")
	}
	return credits(c, "burn", c.Args().First(), map[string]any{})
}

type balanceOutput struct {
	Account hexBytes `json:"account"`
	Balance uint64   `json:"balance"`
	Supply  struct {
		Minted uint64 `json:"minted"`
		Burned uint64 `json:"burned"`
		Escrow uint64 `json:"escrow"`
	} `json:"supply"`
}

func creditBalance(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the account")
	}
	id, err := accountID(c.Args().First())
	if err != nil {
		return err
	}
	return onSharing(c, func(s *sharer) error {
		v := balanceOutput{Account: hexOf(id)}
		if err := s.ask("balance", map[string]any{"account": v.Account}, &v.Balance); err != nil {
			return err
		}
		if err := s.ask("supply", map[string]any{}, &v.Supply); err != nil {
			return err
		}
		return s.out.show(v, "%d credits of %d; %d are held by purchases", v.Balance, v.Supply.Minted-v.Supply.Burned, v.Supply.Escrow)
	})
}

func shareListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list data sets; or a data set's grants, open offers, or what is due (unproven)", ArgsUsage: "[NAME]",
		Description: `Examples:

   postern share list
   postern share list record-7
   postern share list --offers
   postern share list --due`,
		Flags: withConnect(shareFlag,
			&cli.BoolFlag{Name: "offers", Usage: "open offers"},
			&cli.BoolFlag{Name: "due", Usage: "deadlines: new keys, erasures and purchases, the first first"}),
		Action: func(c *cli.Context) error {
			return onSharing(c, func(s *sharer) error {
				switch {
				case c.Bool("offers"):
					return s.listOffers()
				case c.Bool("due"):
					return s.listDue()
				case c.NArg() > 0:
					return s.listGrants(c.Args().First())
				}
				return s.listSets()
			})
		},
	}
}

// pageSize is how many items the contract lists at once.
const pageSize = 64

func (s *sharer) listSets() error {
	rows, lines := []*dataset{}, []string{}
	for after := ""; ; {
		fields := map[string]any{"limit": pageSize}
		if after != "" {
			fields["after"] = after
		}
		var names []string
		if err := s.ask("datasets", fields, &names); err != nil {
			return err
		}
		for _, name := range names {
			d, err := s.dataset(name)
			if err != nil {
				return err
			}
			d.Name = name
			rows = append(rows, d)
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%d\t%s", name, d.Kind, d.State, d.Epoch, d.Owner))
		}
		if len(names) < pageSize {
			return s.out.table(rows, "NAME\tKIND\tSTATE\tKEY\tOWNER", lines)
		}
		after = names[len(names)-1]
	}
}

type grantRow struct {
	Number  uint64   `json:"number"`
	Grantee hexBytes `json:"grantee"`
	Epoch   uint32   `json:"epoch"`
	Reads   uint64   `json:"reads"`
	Refused string   `json:"refused,omitempty"`
}

func (s *sharer) listGrants(name string) error {
	rows, lines := []grantRow{}, []string{}
	fields := map[string]any{"dataset": name, "limit": pageSize}
	for {
		var page []struct {
			Grant uint64 `json:"grant"`
			Epoch uint32 `json:"epoch"`
		}
		if err := s.ask("grants", fields, &page); err != nil {
			return err
		}
		for _, line := range page {
			var g grantView
			if err := s.ask("grant", map[string]any{"grant": line.Grant}, &g); err != nil {
				return err
			}
			row := grantRow{line.Grant, g.Grant.Grantee, line.Epoch, g.Reads, s.names.Codes[g.Refused].Name}
			rows = append(rows, row)
			lines = append(lines, fmt.Sprintf("%d\t%s\t%d\t%d\t%s", row.Number, row.Grantee, row.Epoch, row.Reads, row.Refused))
		}
		if len(page) < pageSize {
			return s.out.table(rows, "GRANT\tGRANTEE\tKEY\tREADS\tREFUSED NOW", lines)
		}
		last := page[len(page)-1]
		fields["epoch"], fields["after"] = last.Epoch, last.Grant
	}
}

type offerRow struct {
	Offer   uint64   `json:"offer"`
	Dataset string   `json:"dataset"`
	Price   uint64   `json:"price"`
	Seller  hexBytes `json:"seller"`
}

func (s *sharer) listOffers() error {
	rows, lines := []offerRow{}, []string{}
	fields := map[string]any{"limit": pageSize}
	for {
		var page []offerRow
		if err := s.ask("offers", fields, &page); err != nil {
			return err
		}
		for _, row := range page {
			rows = append(rows, row)
			lines = append(lines, fmt.Sprintf("%d\t%s\t%d\t%s", row.Offer, row.Dataset, row.Price, row.Seller))
		}
		if len(page) < pageSize {
			return s.out.table(rows, "OFFER\tDATA SET\tPRICE\tSELLER", lines)
		}
		fields["after"] = page[len(page)-1].Offer
	}
}

type dueRow struct {
	Time string `json:"time"`
	What string `json:"what"`
	Of   string `json:"of"`
}

// listDue lists the first deadlines: whoever has more than a page of them due has
// to begin with these.
func (s *sharer) listDue() error {
	var page []dueRow
	if err := s.ask("deadlines", map[string]any{"limit": pageSize}, &page); err != nil {
		return err
	}
	rows, lines := []dueRow{}, []string{}
	for _, row := range page {
		if name, err := hex.DecodeString(row.Of); err == nil && row.What != "purchase" {
			row.Of = string(name)
		} else if n, err := strconv.ParseUint(row.Of, 16, 64); err == nil {
			row.Of = strconv.FormatUint(n, 10)
		}
		rows = append(rows, row)
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s", row.Time, row.What, row.Of))
	}
	return s.out.table(rows, "BY\tWHAT\tOF", lines)
}
