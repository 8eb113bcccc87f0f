package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func validatorCommand() *cli.Command {
	return &cli.Command{
		Name:  "validator",
		Usage: "who votes, and what the validators decide together",
		Description: `Validators, roles, parameters and, where the chain asks for it, deployments change
by proposals. A validator or an operator proposes; the change is made with the
vote that completes the quorum, ceil((n+f+1)/2) of n with f = floor((n-1)/3).
Proposals and votes stay on the ledger for ever.

Unless --key names another, these commands act with the node's own key, which is
the one that votes.

Examples:

   postern validator statement > candidate.json         # on the new node's host
   postern validator propose add --statement candidate.json --reason "fourth site"
   postern validator approve --reason "seen the site" 3
   postern validator list`,
		Subcommands: []*cli.Command{
			statementCommand("statement", "sign that a key wants to vote, for others to propose it", chain.StatementValidator),
			proposeCommand(),
			voteCommand("approve", "vote for a proposal", example(`postern validator approve --reason "seen the site" 3`), nodeKeyFile, (*client.Client).Approve),
			voteCommand("reject", "vote against a proposal for good, or withdraw your own", example(`postern validator reject --reason "not before the holidays" 3`), nodeKeyFile, (*client.Client).Reject),
			{
				Name: "list", Usage: "list the validators and the newest proposals, their proofs checked",
				Description: "Example:\n\n   postern validator list --limit 5",
				Flags:       withConnect(&cli.IntFlag{Name: "limit", Usage: "list at most `N` proposals", Value: 20}, &cli.BoolFlag{Name: "open", Usage: "list undecided proposals only"}),
				Action:      validatorList,
			},
			{
				Name: "show", Usage: "show a proposal: who wants what and why, the votes, what came of it", ArgsUsage: "NUMBER",
				Description: "Example:\n\n   postern validator show 3",
				Flags:       withConnect(), Action: validatorShow,
			},
			{
				Name: "params", Usage: "show the chain's parameters, their proof checked",
				Description: "Example:\n\n   postern validator params", Flags: withConnect(), Action: showParams,
			},
		},
	}
}

// voteCommand votes with a key of the home.
func voteCommand(name, usage, description, keyFile string, vote func(*client.Client, context.Context, uint64, string) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NUMBER", Description: description,
		Flags: withConnect(&cli.StringFlag{Name: "reason", Usage: "why, kept on the ledger"}),
		Action: func(c *cli.Context) error {
			number, err := proposalNumber(c.Args().First())
			if err != nil {
				return err
			}
			return onNodeAs(c, keyFile, func(ctx context.Context, cl *client.Client) error {
				if err := vote(cl, ctx, number, c.String("reason")); err != nil {
					return err
				}
				return showDecision(ctx, cl, printer(c), number)
			})
		},
	}
}

func proposalNumber(arg string) (uint64, error) {
	number, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || number == 0 {
		return 0, usagef("%q is no number of a proposal; postern validator list shows them", arg)
	}
	return number, nil
}

// dueSoon is how long a command waits for an approved proposal to be executed.
const dueSoon = 10 * time.Second

// showDecision shows how a proposal stands after the caller has acted on it.
func showDecision(ctx context.Context, cl *client.Client, out output, number uint64) error {
	p, err := cl.Proposal(ctx, number)
	if err == nil && p.Status == chain.ProposalApproved && time.Until(time.UnixMilli(p.Due)) < dueSoon {
		p, err = cl.AwaitProposal(ctx, number)
	}
	if isCode(err, abi.CodeUnknownKey) {
		return out.show(proposalOutput{Proposal: number, Status: chain.ProposalExecuted.String()},
			"proposal %d is executed: the key that you acted with is no account's any more", number)
	}
	if err != nil {
		return err
	}
	v, err := describeNow(ctx, cl, p)
	if err != nil {
		return err
	}
	return out.show(v, "proposal %d is %s", number, v.standing())
}

// validatorOutput is a member of the validator set.
type validatorOutput struct {
	ID      uint64   `json:"id"`
	Key     hexBytes `json:"key"`
	Account hexBytes `json:"account,omitempty"`
}

func validatorList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		validators, err := validatorsNow(ctx, cl)
		if err != nil {
			return err
		}
		proposals, err := cl.Proposals(ctx, c.Int("limit"))
		if err != nil {
			return err
		}
		list := []proposalOutput{}
		for i := range proposals {
			if c.Bool("open") && proposals[i].Status.Final() {
				continue
			}
			v, err := describeNow(ctx, cl, &proposals[i])
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		out := printer(c)
		if out.json {
			return json.NewEncoder(out.w).Encode(struct {
				Validators []validatorOutput `json:"validators"`
				Proposals  []proposalOutput  `json:"proposals"`
			}{validators, list})
		}
		return printGovernance(out, validators, list)
	})
}

func printGovernance(out output, validators []validatorOutput, proposals []proposalOutput) error {
	var lines []string
	for _, v := range validators {
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s", v.ID, v.Account, v.Key))
	}
	if err := out.table(nil, "ID\tACCOUNT\tKEY", lines); err != nil || len(proposals) == 0 {
		return err
	}
	lines = nil
	for i := range proposals {
		p := &proposals[i]
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s", p.Proposal, p.standing(), p.voters(), p.Proposed.Format(time.DateTime), p.What, p.Reason))
	}
	fmt.Fprintln(out.w)
	return out.table(nil, "PROPOSAL\tSTATUS\tVOTED\tPROPOSED\tWHAT\tWHY", lines)
}

// validatorsNow are the validators with the accounts of their keys, proved.
func validatorsNow(ctx context.Context, cl *client.Client) ([]validatorOutput, error) {
	set, _, err := cl.Validators(ctx)
	if err != nil {
		return nil, err
	}
	list := []validatorOutput{}
	for _, v := range set {
		account, err := accountOfKey(ctx, cl, v.Key)
		if err != nil {
			return nil, err
		}
		list = append(list, validatorOutput{v.ID, v.Key, account[:]})
	}
	return list, nil
}

// accountOfKey is the account whose current key it is, proved; that which the
// key would begin if it is no account's.
func accountOfKey(ctx context.Context, cl *client.Client, public []byte) (abi.Hash, error) {
	e, err := cl.Get(ctx, chain.KeyIndexKey(public))
	if err != nil || !e.Present {
		return chain.AccountID(public), err
	}
	if len(e.Value) != len(abi.Hash{}) {
		return abi.Hash{}, fmt.Errorf("the account of key %x: %w", public, abi.CodeMalformed)
	}
	return abi.Hash(e.Value), nil
}

func validatorShow(c *cli.Context) error {
	number, err := proposalNumber(c.Args().First())
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		p, err := cl.Proposal(ctx, number)
		if err != nil {
			return err
		}
		v, err := describeNow(ctx, cl, p)
		if err != nil {
			return err
		}
		return printer(c).show(v, "%s", v.text())
	})
}

// statementFile is a key's consent, as it goes from one operator to another.
// Nothing in it is secret.
type statementFile struct {
	Chain     hexBytes  `json:"chain"`
	Account   hexBytes  `json:"account"`
	Key       hexBytes  `json:"key"`
	Expires   time.Time `json:"expires"`
	Statement []byte    `json:"statement"`
}

// statementLife is how long a statement is good for by default: it goes from
// person to person, and is checked when the proposal is made.
const statementLife = 7 * 24 * time.Hour

func statementCommand(name, usage string, kind chain.StatementKind) *cli.Command {
	defaultKey, example := nodeKeyFile, "postern validator statement > candidate.json"
	if kind == chain.StatementRotate {
		defaultKey, example = "", "postern account statement --key new.key --account 5e0c… > new.json"
	}
	return &cli.Command{
		Name: name, Usage: usage,
		Description: "It needs the trust bundle, but no node, and prints JSON in which nothing is secret.\n\nExample:\n\n   " + example,
		Flags: []cli.Flag{
			homeFlag, jsonFlag,
			&cli.StringFlag{Name: "bundle", Aliases: []string{"trust"}, Usage: "the chain's trust bundle `FILE` (default: bundle.json in --home)"},
			&cli.StringFlag{Name: "key", Usage: "key `FILE` that consents (default: node.key in --home)"},
			&cli.StringFlag{Name: "account", Usage: "`ACCOUNT` that the key is or will be of (default: the key's own)"},
			&cli.DurationFlag{Name: "life", Usage: "how long others have to propose it", Value: statementLife},
		},
		Action: func(c *cli.Context) error { return makeStatement(c, kind, defaultKey) },
	}
}

func makeStatement(c *cli.Context, kind chain.StatementKind, defaultKey string) error {
	if defaultKey == "" {
		if err := require(c, "key", "account"); err != nil {
			return err
		}
	}
	bundle, err := readBundle(bundlePath(c))
	if err != nil {
		return err
	}
	k, err := commandKey(c, defaultKey)
	if err != nil {
		return err
	}
	account := chain.AccountID(k.Public())
	if name := c.String("account"); name != "" {
		if account, err = accountID(name); err != nil {
			return err
		}
	}
	id := bundle.Chain()
	raw, err := client.Consent(id, kind, account, k, c.Duration("life"))
	if err != nil {
		return err
	}
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	return e.Encode(statementFile{id[:], account[:], k.Public(), time.Now().Add(c.Duration("life")).UTC().Truncate(time.Second), raw})
}

// consentFlags name the key that a proposal brings in.
var consentFlags = []cli.Flag{
	&cli.StringFlag{Name: "statement", Usage: "`FILE` that the new key's holder made with postern validator statement"},
	&cli.StringFlag{Name: "new-key", Usage: "the new key's `FILE`, where you hold it yourself; it is made if it is not there"},
}

// consent is the new key's consent to be the account's, from a file or made on
// the spot. Without an account it is the key's own.
func consent(c *cli.Context, cl *client.Client, kind chain.StatementKind, account *abi.Hash) ([]byte, error) {
	file, keyFile := c.String("statement"), c.String("new-key")
	switch {
	case (file == "") == (keyFile == ""):
		return nil, usagef("name the new key's --statement, or its --new-key file if you hold it; see %s --help", c.Command.HelpName)
	case file != "":
		return readStatement(file, cl.Chain(), kind, account)
	}
	k, err := loadOrMakeKey(keyFile)
	if err != nil {
		return nil, err
	}
	if account == nil {
		own := chain.AccountID(k.Public())
		account = &own
	}
	return client.Consent(cl.Chain(), kind, *account, k, callTimeout)
}

// readStatement reads a statement's file and checks it as the ledger will.
func readStatement(path string, id abi.Hash, kind chain.StatementKind, account *abi.Hash) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f struct {
		Statement []byte `json:"statement"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s is no statement: %w", path, err)
	}
	s, err := chain.OpenStatement(f.Statement, id, kind, time.Now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	of, err := chain.ParseRotationBody(s.Body)
	if err == nil && account != nil && of != *account {
		err = fmt.Errorf("it is for account %x, not %x: %w", of, *account, abi.CodeBadArgument)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f.Statement, nil
}

// memberKey is the key of a validator.
func memberKey(ctx context.Context, cl *client.Client, id uint64) ([]byte, error) {
	set, _, err := cl.Validators(ctx)
	if err != nil {
		return nil, err
	}
	public, ok := set.Key(id)
	if !ok {
		err = fmt.Errorf("validator %d: %w", id, abi.CodeUnknownValidator)
	}
	return public, err
}

// propose makes a proposal that changes something, and shows how it stands.
func propose(ctx context.Context, c *cli.Context, cl *client.Client, kind chain.ProposalKind, args client.Args) error {
	if err := checkChanges(ctx, cl, args); err != nil {
		return err
	}
	number, err := cl.Propose(ctx, kind, args, c.String("reason"))
	if err != nil {
		var refused *client.OutcomeError
		if errors.As(err, &refused) && refused.Outcome.Code == abi.CodeMissingRole {
			err = fmt.Errorf("%w; name a validator's or an operator's key with --key", err)
		}
		return err
	}
	return showDecision(ctx, cl, printer(c), number)
}
