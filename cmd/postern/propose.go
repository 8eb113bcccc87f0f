package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

var reasonFlag = &cli.StringFlag{Name: "reason", Usage: "why, kept on the ledger (required)"}

func proposeCommand() *cli.Command {
	return &cli.Command{
		Name: "propose", Usage: "propose a change that the validators must agree to",
		Description: `A validator who proposes has approved; an operator without a vote, with
--key operator.key, only proposes. Deployments and upgrades are proposed by
developers, where the chain's parameters put them under approval.

Examples:

   postern validator propose add --statement candidate.json --reason "fourth site"
   postern validator propose remove --reason "site closed" 2
   postern validator propose params --set deploy_approvals=2 --reason "four eyes"`,
		Subcommands: []*cli.Command{
			proposal("add", "a key is to vote from now on", "",
				example(`postern validator propose add --statement candidate.json --role gateway --reason "fourth site"`), addValidator,
				append(consentFlags, &cli.StringSliceFlag{Name: "role", Usage: "further `ROLE` for its account; may be repeated"})...),
			proposal("remove", "a validator is to vote no more", "VALIDATOR-ID",
				example(`postern validator propose remove --reason "site closed" 2`), removeValidator),
			proposal("replace", "another account's key is to take a validator's place", "VALIDATOR-ID",
				example(`postern validator propose replace --statement new.json --reason "new hardware" 2`), replaceValidator, consentFlags...),
			proposal("rotate", "a validator, and its account, is to have another key", "VALIDATOR-ID",
				"A node goes on with its new key by itself where that is the file node.key.next of\nits home. "+
					example("postern validator propose rotate --new-key /var/lib/postern/node.key.next --reason yearly 1"), rotateValidator, consentFlags...),
			proposal("grant", "an account is to have other roles or quotas", "PUBLIC-KEY|KEY-FILE",
				example(`postern validator propose grant --role auditor --reason "audit of May" ann.key`), proposeGrant, grantFlags...),
			proposal("params", "the chain is to have other parameters", "",
				example(`postern validator propose params --set deploy_approvals=2 --reason "four eyes"`), proposeParams,
				&cli.StringSliceFlag{Name: "set", Usage: "`NAME=VALUE` as postern validator params shows them; may be repeated"}),
			proposal("deploy", "a contract is to be deployed", "FILE|access|behaviour",
				example(`postern validator propose deploy --key dev.key --name access --reason "night rules" access.wasm`), proposeDeploy,
				&cli.StringFlag{Name: "name", Usage: "the contract's `NAME` (required)"},
				&cli.StringFlag{Name: "init", Usage: "message for the contract's init as `JSON`"},
				&cli.StringFlag{Name: "init-hex", Usage: "the same in `HEX`"}, noteFlag),
			proposal("upgrade", "a contract of yours is to have another code", "NAME FILE|access|behaviour",
				example(`postern validator propose upgrade --key dev.key --reason "closes at night" doors doors.wasm`), proposeUpgrade,
				&cli.StringFlag{Name: "migrate", Usage: "message for the new code's migrate as `JSON`"},
				&cli.StringFlag{Name: "migrate-hex", Usage: "the same in `HEX`"}, noteFlag),
		},
	}
}

// proposal is a command that makes one kind of proposal.
func proposal(name, usage, arguments, description string, action cli.ActionFunc, own ...cli.Flag) *cli.Command {
	flags := append([]cli.Flag{reasonFlag}, own...)
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: arguments, Description: description, Flags: withConnect(flags...),
		Action: func(c *cli.Context) error {
			if err := require(c, "reason"); err != nil {
				return err
			}
			if want := len(strings.Fields(arguments)); c.NArg() < want {
				return usagef("name %s; see %s --help", arguments, c.Command.HelpName)
			}
			return action(c)
		},
	}
}

func addValidator(c *cli.Context) error {
	roles, err := rolesOf(c)
	if err != nil {
		return err
	}
	return proposeKey(c, chain.ProposeAddValidator, func(statement []byte) client.Args {
		return &chain.AddValidator{Statement: statement, Roles: roles}
	})
}

// proposeKey proposes something about a key that begins an account or is one's
// already, with that key's consent.
func proposeKey(c *cli.Context, kind chain.ProposalKind, args func(statement []byte) client.Args) error {
	return onNodeAs(c, nodeKeyFile, func(ctx context.Context, cl *client.Client) error {
		statement, err := consent(c, cl, chain.StatementValidator, nil)
		if err != nil {
			return err
		}
		return propose(ctx, c, cl, kind, args(statement))
	})
}

func removeValidator(c *cli.Context) error {
	id, err := validatorID(c)
	if err != nil {
		return err
	}
	return onNodeAs(c, nodeKeyFile, func(ctx context.Context, cl *client.Client) error {
		return propose(ctx, c, cl, chain.ProposeRemoveValidator, &chain.RemoveValidator{ID: id})
	})
}

func replaceValidator(c *cli.Context) error {
	id, err := validatorID(c)
	if err != nil {
		return err
	}
	return proposeKey(c, chain.ProposeReplaceValidator, func(statement []byte) client.Args {
		return &chain.ReplaceValidator{ID: id, Statement: statement}
	})
}

func rotateValidator(c *cli.Context) error {
	id, err := validatorID(c)
	if err != nil {
		return err
	}
	return onNodeAs(c, nodeKeyFile, func(ctx context.Context, cl *client.Client) error {
		public, err := memberKey(ctx, cl, id)
		if err != nil {
			return err
		}
		account, err := accountOfKey(ctx, cl, public)
		if err != nil {
			return err
		}
		statement, err := consent(c, cl, chain.StatementValidator, &account)
		if err != nil {
			return err
		}
		return propose(ctx, c, cl, chain.ProposeRotateValidator, &chain.ReplaceValidator{ID: id, Statement: statement})
	})
}

func validatorID(c *cli.Context) (uint64, error) {
	id, err := strconv.ParseUint(c.Args().First(), 10, 64)
	if err != nil || id == 0 {
		return 0, usagef("%q is no validator's id; postern validator list shows them", c.Args().First())
	}
	return id, nil
}

func proposeGrant(c *cli.Context) error {
	args, err := grantOf(c)
	if err != nil {
		return err
	}
	return onNodeAs(c, nodeKeyFile, func(ctx context.Context, cl *client.Client) error {
		return propose(ctx, c, cl, chain.ProposeGrant, args)
	})
}

func proposeParams(c *cli.Context) error {
	if len(c.StringSlice("set")) == 0 {
		return usagef("name what to change with --set NAME=VALUE; postern validator params shows the names")
	}
	return onNodeAs(c, nodeKeyFile, func(ctx context.Context, cl *client.Client) error {
		params, err := cl.Params(ctx)
		if err != nil {
			return err
		}
		for _, s := range c.StringSlice("set") {
			if err := setParam(&params, s); err != nil {
				return err
			}
		}
		return propose(ctx, c, cl, chain.ProposeParams, &params)
	})
}

func proposeDeploy(c *cli.Context) error {
	if err := require(c, "name"); err != nil {
		return err
	}
	file := c.Args().First()
	blob, err := moduleBytes(file)
	if err != nil {
		return err
	}
	begin, err := initMessage(c, blob)
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		if err := checkAsksApproval(ctx, cl, "postern contract deploy"); err != nil {
			return err
		}
		if err := admittedBy(cl, file, blob); err != nil {
			return err
		}
		out := printer(c)
		number, err := cl.ProposeDeploy(ctx, client.Deployment{
			Name: c.String("name"), Code: blob, Init: begin, Note: c.String("note"), Progress: uploadProgress(out),
		}, c.String("reason"))
		if err != nil {
			return err
		}
		return showDecision(ctx, cl, out, number)
	})
}

func proposeUpgrade(c *cli.Context) error {
	return prepareUpgrade(c, func(ctx context.Context, cl *client.Client, out output, u client.Upgrade) error {
		if err := checkAsksApproval(ctx, cl, "postern contract upgrade"); err != nil {
			return err
		}
		number, err := cl.ProposeUpgrade(ctx, u, c.String("reason"))
		if err != nil {
			return err
		}
		return showDecision(ctx, cl, out, number)
	})
}

// rolesOf are the roles that --role names.
func rolesOf(c *cli.Context) (roles abi.Role, err error) {
	for _, name := range c.StringSlice("role") {
		role, ok := abi.RoleByName(name)
		if !ok {
			return 0, usagef("no role is named %q; roles: %s", name, strings.Join(abi.AllRoles.Names(), ", "))
		}
		roles |= role
	}
	return roles, nil
}
