package main

import (
	"context"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func deviceBindCommand() *cli.Command {
	return &cli.Command{
		Name: "bind", Usage: "have contracts judge a device's behaviour", ArgsUsage: deviceArgument + " [CONTRACT ...]",
		Description: `They see its reports and connections, and may quarantine it. The contracts named
replace those that were bound, 4 at most; without any the device is unbound.

Example:

   postern device bind front-door.key behaviour`,
		Flags: withConnect(),
		Action: func(c *cli.Context) error {
			names := c.Args().Tail()
			return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
				done := "is bound to " + strings.Join(names, ", ")
				if len(names) == 0 {
					done = "is bound to no contract"
				}
				return changeDevice(ctx, c, cl, id, chain.OpBindDevice, &chain.BindDevice{Device: id, Contracts: names}, done)
			})
		},
	}
}

func deviceOriginCommand() *cli.Command {
	return &cli.Command{
		Name: "origin", Usage: "prove, by its manufacturer's word, what an enrolled device is", ArgsUsage: deviceArgument + " FILE",
		Description: `Anybody may bring the proof, which postern manufacturer vouch makes.

Example:

   postern device origin front-door.key 0042.origin`,
		Flags:  withConnect(),
		Action: deviceOrigin,
	}
}

func deviceOrigin(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a device and the file in which its manufacturer vouches for it")
	}
	origin, err := os.ReadFile(c.Args().Get(1))
	if err != nil {
		return err
	}
	if _, err := chain.OpenOrigin(origin); err != nil {
		return err
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		return changeDevice(ctx, c, cl, id, chain.OpOrigin, &chain.ProveOrigin{Device: id, Origin: origin}, "is proven by its manufacturer")
	})
}

func deviceRotateCommand() *cli.Command {
	return &cli.Command{
		Name: "rotate", Usage: "give a device another key, as the device itself", ArgsUsage: "KEY-FILE NEW-KEY-FILE",
		Description: `The new key's file is made if it is not there. The device keeps its id, owner and
status; from the block on that says so, the former key is nobody's. Stop what uses
the former file, rotate, and have it use the new one.

Example:

   postern device rotate front-door.key front-door-2.key`,
		Flags:  withConnect(),
		Action: deviceRotate,
	}
}

func deviceRotate(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name the device's key file and the new key's")
	}
	if err := c.Set("key", c.Args().First()); err != nil {
		return err
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		if _, _, err := readDevice(ctx, cl, id); err != nil {
			return err
		}
		next, err := loadOrMakeKey(c.Args().Get(1))
		if err != nil {
			return err
		}
		statement, err := client.Consent(cl.Chain(), chain.StatementRotate, id, next, callTimeout)
		if err != nil {
			return err
		}
		res, err := transact(ctx, cl, chain.OpRotate, &chain.Rotate{Statement: statement})
		if err != nil {
			return err
		}
		return printer(c).show(struct {
			Device hexBytes `json:"device"`
			DID    string   `json:"did"`
			txOutput
		}{hexOf(id), next.DID(), res}, "device %x has the key %s (block %d)", id, next.DID(), res.Height)
	})
}
