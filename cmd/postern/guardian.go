package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// guardianCommands are those of postern account that help whoever loses a key.
func guardianCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "guardians", Usage: "name who may recover your account together, or show who may",
			Description: `Guardians are accounts of people or institutions that you trust: so many of them
as the threshold says can give your account a new key when you have lost yours.
The key takes over after the delay, in which your present key, should somebody
else's hands be at work, can still object with postern account reject. Without
--guardian and --none it shows the guardians of an account.

Examples:

   postern account guardians --guardian ann.key --guardian bob.key --guardian eve.key --threshold 2 --delay 72h
   postern account guardians --of alice.key`,
			Flags: withConnect(
				&cli.StringSliceFlag{Name: "guardian", Usage: "`ACCOUNT-ID|KEY-FILE` of a guardian; may be repeated"},
				&cli.Uint64Flag{Name: "threshold", Usage: "how many of them must agree (default: more than half)"},
				&cli.DurationFlag{Name: "delay", Usage: "how long your present key can object", Value: 72 * time.Hour},
				&cli.BoolFlag{Name: "none", Usage: "have no guardians any more"},
				&cli.StringFlag{Name: "of", Usage: "show those of `ACCOUNT-ID|KEY-FILE` (default: your own)"},
			),
			Action: accountGuardians,
		},
		{
			Name: "recover", Usage: "propose, as a guardian, that an account gets a new key",
			Description: `The other guardians agree with postern account approve. The new key's holder
either makes a statement, or its file is here.

Example:

   postern account recover --key ann.key --account 5e0c… --statement new.json --reason "phone lost, met in person"`,
			Flags: withConnect(append([]cli.Flag{
				reasonFlag, &cli.StringFlag{Name: "account", Usage: "`ACCOUNT-ID` that lost its key (required)"},
			}, consentFlags...)...),
			Action: accountRecover,
		},
		statementCommand("statement", "sign that a new key is to succeed an account's lost one, for a guardian to propose it", chain.StatementRotate),
		voteCommand("approve", "agree, as a guardian, to a recovery", example(`postern account approve --key bob.key --reason "spoke to her" 4`), operatorKeyFile, (*client.Client).Approve),
		voteCommand("reject", "object to the recovery of your account, or withdraw one that you proposed",
			example(`postern account reject --key alice.key --reason "found it again" 4`), operatorKeyFile, (*client.Client).Reject),
	}
}

type guardiansOutput struct {
	Account   hexBytes   `json:"account"`
	Guardians []hexBytes `json:"guardians"`
	Threshold uint64     `json:"threshold,omitempty"`
	Delay     string     `json:"delay,omitempty"`
	Height    uint64     `json:"proved_at_height"`
}

func accountGuardians(c *cli.Context) error {
	names, none := c.StringSlice("guardian"), c.Bool("none")
	if none && len(names) > 0 {
		return usagef("either --none or --guardian")
	}
	cl, k, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	account, err := accountOfKey(ctx, cl, k.Public())
	if err != nil {
		return err
	}
	if of := c.String("of"); of != "" {
		if account, err = accountID(of); err != nil {
			return err
		}
	}
	if none || len(names) > 0 {
		if err := nameGuardians(ctx, c, cl, names); err != nil {
			return err
		}
	}
	return showGuardians(ctx, cl, printer(c), account)
}

// nameGuardians replaces the caller's guardians by those of the flags.
func nameGuardians(ctx context.Context, c *cli.Context, cl *client.Client, names []string) error {
	if c.String("of") != "" {
		return usagef("guardians are named by the account itself: --key instead of --of")
	}
	args := chain.Guardians{}
	for _, name := range names {
		id, err := accountID(name)
		if err != nil {
			return err
		}
		args.Accounts = append(args.Accounts, id)
	}
	if len(names) > 0 {
		args.Threshold, args.Delay = c.Uint64("threshold"), c.Duration("delay").Milliseconds()
		if args.Threshold == 0 {
			args.Threshold = uint64(len(names)/2 + 1)
		}
	}
	if _, err := chain.ParseGuardians(args.Append(nil)); err != nil || args.Delay < 0 {
		return usagef("a threshold of %d of %d guardians and a delay of %v: the threshold is at most the number of guardians, no guardian is named twice, and the delay is 0 to %v",
			args.Threshold, len(names), c.Duration("delay"), time.Duration(chain.MaxRecoveryDelay)*time.Millisecond)
	}
	_, err := transact(ctx, cl, chain.OpGuardians, &args)
	return err
}

func showGuardians(ctx context.Context, cl *client.Client, out output, account abi.Hash) error {
	e, err := cl.Get(ctx, chain.GuardiansKey(account))
	if err != nil {
		return err
	}
	v := guardiansOutput{Account: account[:], Guardians: []hexBytes{}, Height: e.Height}
	if !e.Present {
		return out.show(v, "account %s has no guardians (proved at height %d)", v.Account, v.Height)
	}
	g, err := chain.ParseGuardians(e.Value)
	if err != nil {
		return err
	}
	v.Threshold, v.Delay = g.Threshold, (time.Duration(g.Delay) * time.Millisecond).String()
	var lines strings.Builder
	for i := range g.Accounts {
		v.Guardians = append(v.Guardians, g.Accounts[i][:])
		fmt.Fprintf(&lines, "\n  %x", g.Accounts[i])
	}
	return out.show(v, "account %s: %d of its guardians can give it a new key, %s after they agree (proved at height %d)%s",
		v.Account, v.Threshold, v.Delay, v.Height, lines.String())
}

func accountRecover(c *cli.Context) error {
	if err := require(c, "account", "reason"); err != nil {
		return err
	}
	account, err := accountID(c.String("account"))
	if err != nil {
		return err
	}
	return onNodeAs(c, operatorKeyFile, func(ctx context.Context, cl *client.Client) error {
		statement, err := consent(c, cl, chain.StatementRotate, &account)
		if err != nil {
			return err
		}
		return propose(ctx, c, cl, chain.ProposeRecover, &chain.Recover{Account: account, Statement: statement})
	})
}
