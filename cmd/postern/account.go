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
	X25519  hexBytes `json:"x25519"`
}

func showKey(c *cli.Context, k *key.Key) error {
	private, err := k.Agreement()
	if err != nil {
		return err
	}
	v := keyOutput{accountOf(k), k.Public(), k.DID(), private.PublicKey().Bytes()}
	return printer(c).show(v, "account  %s\npublic   %s\ndid      %s\nx25519   %s", v.Account, v.Public, v.DID, v.X25519)
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
				Name: "show", Usage: "show an account, its proof checked", ArgsUsage: "ACCOUNT-ID|DID|KEY-FILE", Description: example("postern account show ann.key"),
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
	&cli.StringFlag{Name: "x25519", Usage: "`HEX` of the key to which texts for the account are sealed, as postern key show prints it; needed for P-256 keys only"},
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
	g := &chain.Grant{Key: public, Roles: roles, GasQuota: c.Uint64("gas-quota"), StorageQuota: c.Uint64("storage-quota")}
	if text := c.String("x25519"); text != "" {
		to, err := parseHash(text, "--x25519")
		if err != nil {
			return nil, err
		}
		g.X25519 = to[:]
	}
	return g, nil
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

// didOf is the did:key of a public key of the ledger, "" for none.
func didOf(public []byte) string {
	did, err := key.DID(public)
	if err != nil {
		return ""
	}
	return did
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

// accountID reads an account id in hex, or takes that which a did:key or the key
// of a file began.
func accountID(arg string) (abi.Hash, error) {
	n, err := nameOf(arg)
	if err != nil || n.key == nil {
		return n.id, err
	}
	return chain.AccountID(n.key), nil
}

// named is how somebody named an account: by its id, or by a public key.
type named struct {
	id  abi.Hash
	key []byte // nil where the id was given
}

// nameOf reads an account id in hex, a did:key, or the path of a key file.
func nameOf(arg string) (named, error) {
	if b, err := hex.DecodeString(arg); err == nil && len(b) == len(abi.Hash{}) {
		return named{id: abi.Hash(b)}, nil
	}
	if strings.HasPrefix(arg, "did:key:") {
		public, err := key.ParseDID(arg)
		return named{key: public}, err
	}
	k, err := key.Load(arg)
	if err != nil {
		return named{}, fmt.Errorf("%q is neither an account id (64 hex digits) nor a did:key nor a key file: %w", arg, err)
	}
	return named{key: k.Public()}, nil
}

// account is the account of that name: of a key, the one whose current key it is
// by the ledger's proof, or else the one that it began.
func (n named) account(ctx context.Context, cl *client.Client) (abi.Hash, error) {
	if n.key == nil {
		return n.id, nil
	}
	id, err := accountOfKey(ctx, cl, n.key)
	if isCode(err, abi.CodeNotReady) { // a chain without a block proves nothing, and has rotated no key
		return chain.AccountID(n.key), nil
	}
	return id, err
}

type accountOutput struct {
	Account      hexBytes `json:"account"`
	Key          hexBytes `json:"key"`
	DID          string   `json:"did"`
	Roles        []string `json:"roles"`
	Owner        hexBytes `json:"owner,omitempty"`
	GasQuota     uint64   `json:"gas_quota,omitempty"`
	StorageQuota uint64   `json:"storage_quota,omitempty"`
	Created      uint64   `json:"created_height"`
	Height       uint64   `json:"proved_at_height"`
}

func accountShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one account id, did:key or key file")
	}
	name, err := nameOf(c.Args().First())
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		id, err := name.account(ctx, cl)
		if err != nil {
			return err
		}
		raw, height, err := getProved(ctx, cl, chain.AccountKey(id), "account "+hexOf(id).String())
		if err != nil {
			return err
		}
		a, err := chain.ParseAccount(raw)
		if err != nil {
			return err
		}
		v := accountOutput{hexOf(id), a.Key, didOf(a.Key), a.Roles.Names(), nil, a.GasQuota, a.StorageQuota, a.Created, height}
		if a.Owner != nil {
			v.Owner = a.Owner[:]
		}
		return printer(c).show(v, "account  %s\nkey      %s\ndid      %s\nroles    %s\nowner    %s\ncreated  in block %d\nproved   at height %d",
			v.Account, v.Key, v.DID, strings.Join(v.Roles, ", "), v.Owner, v.Created, v.Height)
	})
}
