package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func deviceTransferCommand() *cli.Command {
	return &cli.Command{
		Name: "transfer", Usage: "give a device to another owner, who must accept it", ArgsUsage: deviceArgument,
		Description: `First it prints an offer to one account, signed by you. Its holder answers with
postern device accept, signed too. With that answer you hand the device over. Its
status stays, its labels and bound contracts do not. A stolen device cannot be
given away.

Examples:

   postern device transfer --to did:key:z6Mk… front-door.key > offer.json
   postern device transfer --accepted accepted.json front-door.key`,
		Flags: withConnect(
			&cli.StringFlag{Name: "to", Usage: "`ACCOUNT-ID|DID|KEY-FILE` of the new owner: make an offer"},
			&cli.StringFlag{Name: "accepted", Usage: "`FILE` that the new owner made of your offer: hand over"},
			&cli.DurationFlag{Name: "life", Usage: "how long an offer is good for", Value: statementLife},
		),
		Action: func(c *cli.Context) error {
			to, accepted := c.String("to"), c.String("accepted")
			switch {
			case (to == "") == (accepted == ""):
				return usagef("name the new owner with --to, or, once that one has accepted, its answer with --accepted")
			case to != "":
				return offerDevice(c, to)
			}
			return handOver(c, accepted)
		},
	}
}

func deviceAcceptCommand() *cli.Command {
	return &cli.Command{
		Name: "accept", Usage: "accept a device that its owner offers you", ArgsUsage: "OFFER-FILE",
		Description: `It checks by the ledger's proofs that the offer is the present owner's and for
you, and prints your answer, which the owner needs to hand the device over. The
device is shown with postern device show before you agree to anything.

Example:

   postern device accept --key bob.key offer.json > accepted.json`,
		Flags:  withConnect(),
		Action: deviceAccept,
	}
}

// handoverFile is what two owners exchange. Nothing in it is secret; only Offer
// and Acceptance are signed, the rest tells people what they have before them.
type handoverFile struct {
	Device       hexBytes  `json:"device"`
	Manufacturer string    `json:"manufacturer"`
	Model        string    `json:"model"`
	Serial       string    `json:"serial"`
	From         hexBytes  `json:"from"`
	To           hexBytes  `json:"to"`
	Expires      time.Time `json:"expires"`
	Offer        []byte    `json:"offer"`
	Acceptance   []byte    `json:"acceptance,omitempty"` // chain.StatementTransfer
}

func offerDevice(c *cli.Context, to string) error {
	taker, err := nameOf(to)
	if err != nil {
		return err
	}
	k, err := commandKey(c, operatorKeyFile)
	if err != nil {
		return err
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		d, _, err := readDevice(ctx, cl, id)
		if err != nil {
			return err
		}
		o := offer{Chain: cl.Chain(), Device: id, Owner: d.Owner, Since: d.Transferred, Expiry: time.Now().Add(c.Duration("life")).UnixMilli()}
		if o.Taker, err = taker.account(ctx, cl); err != nil {
			return err
		}
		if err := checkOffer(ctx, cl, &o, &d, k); err != nil {
			return err
		}
		raw, err := o.sign(k)
		if err != nil {
			return err
		}
		return printFile(c, handoverFile{Device: id[:], Manufacturer: d.Manufacturer, Model: d.Model, Serial: d.Serial,
			From: o.Owner[:], To: o.Taker[:], Expires: time.UnixMilli(o.Expiry).UTC(), Offer: raw})
	})
}

// checkOffer refuses to make an offer that the ledger would not let come true.
func checkOffer(ctx context.Context, cl *client.Client, o *offer, d *chain.Device, by *key.Key) error {
	sender, err := accountOfKey(ctx, cl, by.Public())
	switch {
	case err != nil:
		return err
	case sender != d.Owner:
		return fmt.Errorf("the device belongs to %x: %w", d.Owner, abi.CodeNotPermitted)
	case o.Taker == d.Owner:
		return usagef("the device belongs to %x already", d.Owner)
	case d.Status == abi.StatusStolen || d.Status == abi.StatusRetired:
		return fmt.Errorf("the device is %s: %w", d.Status, abi.CodeDeviceInactive)
	}
	raw, _, err := getProved(ctx, cl, chain.AccountKey(o.Taker), "account "+hexOf(o.Taker).String())
	if err != nil {
		return err
	}
	a, err := chain.ParseAccount(raw)
	if err == nil && (a.Owner != nil || a.Roles&abi.RoleOwner == 0) {
		err = fmt.Errorf("account %x has not the role owner: %w", o.Taker, abi.CodeMissingRole)
	}
	return err
}

// readOffer reads the signed offer of a file and that it is for this chain and
// has not expired.
func readOffer(f *handoverFile, of abi.Hash) (offer, error) {
	o, err := openOffer(f.Offer)
	switch {
	case err != nil:
		return o, err
	case o.Chain != of:
		return o, fmt.Errorf("the offer: %w", abi.CodeWrongChain)
	case time.Now().UnixMilli() > o.Expiry:
		return o, fmt.Errorf("the offer: %w", abi.CodeExpired)
	}
	return o, nil
}

func deviceAccept(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the file with the offer")
	}
	var f handoverFile
	if err := readHandedFile(c.Args().First(), &f); err != nil {
		return err
	}
	k, err := commandKey(c, operatorKeyFile)
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		o, err := readOffer(&f, cl.Chain())
		if err != nil {
			return err
		}
		d, _, err := readDevice(ctx, cl, o.Device)
		if err != nil {
			return err
		}
		if err := o.checkParties(ctx, cl, &d, k); err != nil {
			return err
		}
		body := chain.Acceptance{Device: o.Device, Owner: o.Owner, Since: o.Since}
		f.Acceptance, err = chain.SignStatement(&chain.Statement{
			Chain: o.Chain, Kind: chain.StatementTransfer, Expiry: o.Expiry, Body: body.Append(nil),
		}, k)
		if err != nil {
			return err
		}
		// What people read is what was proved, whatever the file said.
		f.Device, f.Manufacturer, f.Model, f.Serial = o.Device[:], d.Manufacturer, d.Model, d.Serial
		f.From, f.To, f.Expires = o.Owner[:], o.Taker[:], time.UnixMilli(o.Expiry).UTC()
		return printFile(c, f)
	})
}

// checkParties checks that the present owner made the offer, and made it to the
// account of this key.
func (o *offer) checkParties(ctx context.Context, cl *client.Client, d *chain.Device, taker *key.Key) error {
	signer, err := accountOfKey(ctx, cl, o.signer)
	if err != nil {
		return err
	}
	account, err := accountOfKey(ctx, cl, taker.Public())
	switch {
	case err != nil:
		return err
	case signer != d.Owner || o.Owner != d.Owner || o.Since != d.Transferred:
		return fmt.Errorf("the offer is not the present owner's, who is %x: %w", d.Owner, abi.CodeNotPermitted)
	case account != o.Taker:
		return fmt.Errorf("the offer is for account %x, and you act as %x; name your key with --key: %w", o.Taker, account, abi.CodeNotPermitted)
	}
	return nil
}

// handOver submits what both have signed, after a look at whether the answer is
// to the owner's own offer: a file may have been exchanged on its way.
func handOver(c *cli.Context, file string) error {
	var f handoverFile
	if err := readHandedFile(file, &f); err != nil {
		return err
	}
	k, err := commandKey(c, operatorKeyFile)
	if err != nil {
		return err
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		o, err := readOffer(&f, cl.Chain())
		if err != nil {
			return err
		}
		if string(o.signer) != string(k.Public()) || o.Device != id {
			return fmt.Errorf("%s answers no offer of yours for this device: %w", file, abi.CodeNotPermitted)
		}
		s, err := chain.OpenStatement(f.Acceptance, o.Chain, chain.StatementTransfer, time.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("the acceptance in %s: %w", file, err)
		}
		taker, err := accountOfKey(ctx, cl, s.Key)
		if err != nil {
			return err
		}
		if taker != o.Taker {
			return fmt.Errorf("account %x accepted, and you offered the device to %x: %w", taker, o.Taker, abi.CodeNotPermitted)
		}
		return changeDevice(ctx, c, cl, id, chain.OpTransfer, &chain.Transfer{Device: id, Statement: f.Acceptance},
			fmt.Sprintf("belongs to %x", taker))
	})
}
