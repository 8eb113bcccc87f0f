package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func keyCommand() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "make and show key files",
		Subcommands: []*cli.Command{
			{
				Name: "new", Usage: "make an ed25519 key file (mode 0600)", ArgsUsage: "FILE",
				Description: "It never overwrites a file. Example:\n\n   postern key new door.key",
				Flags:       []cli.Flag{jsonFlag},
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usagef("name one file: postern key new FILE")
					}
					k, err := key.Generate()
					if err != nil {
						return err
					}
					if err := k.Save(c.Args().First()); err != nil {
						return err
					}
					return showKey(c, k)
				},
			},
			{
				Name: "show", Usage: "show the public side of a key file", ArgsUsage: "FILE", Description: example("postern key show reader.key"),
				Flags: []cli.Flag{jsonFlag},
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usagef("name one file: postern key show FILE")
					}
					k, err := key.Load(c.Args().First())
					if err != nil {
						return err
					}
					return showKey(c, k)
				},
			},
		},
	}
}

type keyOutput struct {
	Account string   `json:"account"`
	Public  hexBytes `json:"public"`
	DID     string   `json:"did"`
}

func showKey(c *cli.Context, k *key.Key) error {
	v := keyOutput{accountOf(k), k.Public(), k.DID()}
	return printer(c).show(v, "account  %s\npublic   %s\ndid      %s", v.Account, v.Public, v.DID)
}

func accountCommand() *cli.Command {
	return &cli.Command{
		Name:  "account",
		Usage: "accounts, their roles, and who can recover them",
		Subcommands: append([]*cli.Command{
			{
				Name: "grant", Usage: "create a key's account, or set an account's roles and quotas",
				ArgsUsage: "PUBLIC-KEY|KEY-FILE",
				Description: `The roles given replace the account's. Roles: ` + strings.Join(abi.AllRoles.Names(), ", ") + `.

Example:

   postern account grant --role developer --role owner alice.key`,
				Flags:  withConnect(grantFlags...),
				Action: accountGrant,
			},
			{
				Name: "show", Usage: "show an account, its proof checked", ArgsUsage: "ACCOUNT-ID|KEY-FILE", Description: example("postern account show ann.key"),
				Flags:  withConnect(),
				Action: accountShow,
			},
		}, guardianCommands()...),
	}
}

var grantFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "role", Usage: "`ROLE` to give; may be repeated"},
	&cli.Uint64Flag{Name: "gas-quota", Usage: "gas the account may save up (0: the chain's default)"},
	&cli.Uint64Flag{Name: "storage-quota", Usage: "bytes the account may save up (0: the chain's default)"},
}

// grantOf is what a command's flags and argument grant.
func grantOf(c *cli.Context) (*chain.Grant, error) {
	if c.NArg() != 1 {
		return nil, usagef("name one public key (hex) or key file")
	}
	public, err := publicKey(c.Args().First())
	if err != nil {
		return nil, err
	}
	roles, err := rolesOf(c)
	if err != nil {
		return nil, err
	}
	return &chain.Grant{Key: public, Roles: roles, GasQuota: c.Uint64("gas-quota"), StorageQuota: c.Uint64("storage-quota")}, nil
}

func accountGrant(c *cli.Context) error {
	args, err := grantOf(c)
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		res, err := transact(ctx, cl, chain.OpGrant, args)
		if err != nil {
			return err
		}
		id := chain.AccountID(args.Key)
		return printer(c).show(struct {
			Account hexBytes `json:"account"`
			Roles   []string `json:"roles"`
			txOutput
		}{hexOf(id), args.Roles.Names(), res}, "account %x has the roles %v (block %d)", id, args.Roles.Names(), res.Height)
	})
}

// publicKey reads a public key in hex, as did:key, or from a key file.
func publicKey(arg string) ([]byte, error) {
	if b, err := hex.DecodeString(arg); err == nil && chain.ValidKey(b) {
		return b, nil
	}
	if strings.HasPrefix(arg, "did:key:") {
		return key.ParseDID(arg)
	}
	k, err := key.Load(arg)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a public key in hex nor did:key nor a key file: %w", arg, err)
	}
	return k.Public(), nil
}

// accountID reads an account id in hex, or takes that of a key file.
func accountID(arg string) (abi.Hash, error) {
	if b, err := hex.DecodeString(arg); err == nil && len(b) == len(abi.Hash{}) {
		return abi.Hash(b), nil
	}
	k, err := key.Load(arg)
	if err != nil {
		return abi.Hash{}, fmt.Errorf("%q is neither an account id (64 hex digits) nor a key file: %w", arg, err)
	}
	return chain.AccountID(k.Public()), nil
}

type accountOutput struct {
	Account      hexBytes `json:"account"`
	Key          hexBytes `json:"key"`
	Roles        []string `json:"roles"`
	Owner        hexBytes `json:"owner,omitempty"`
	GasQuota     uint64   `json:"gas_quota,omitempty"`
	StorageQuota uint64   `json:"storage_quota,omitempty"`
	Created      uint64   `json:"created_height"`
	Height       uint64   `json:"proved_at_height"`
}

func accountShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one account id or key file")
	}
	id, err := accountID(c.Args().First())
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		raw, height, err := getProved(ctx, cl, chain.AccountKey(id), "account "+hexOf(id).String())
		if err != nil {
			return err
		}
		a, err := chain.ParseAccount(raw)
		if err != nil {
			return err
		}
		v := accountOutput{hexOf(id), a.Key, a.Roles.Names(), nil, a.GasQuota, a.StorageQuota, a.Created, height}
		if a.Owner != nil {
			v.Owner = a.Owner[:]
		}
		return printer(c).show(v, "account  %s\nkey      %s\nroles    %s\nowner    %s\ncreated  in block %d\nproved   at height %d",
			v.Account, v.Key, strings.Join(v.Roles, ", "), v.Owner, v.Created, v.Height)
	})
}
