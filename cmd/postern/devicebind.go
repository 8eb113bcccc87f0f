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
	v := struct {
		Device hexBytes `json:"device"`
		DID    string   `json:"did"`
	}{}
	err := onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		if _, _, err := readDevice(ctx, cl, id); err != nil {
			return err
		}
		next, err := loadOrMakeKey(c.Args().Get(1))
		if err != nil {
			return err
		}
		v.Device, v.DID = id[:], next.DID()
		statement, err := client.Consent(cl.Chain(), chain.StatementRotate, id, next, callTimeout)
		if err != nil {
			return err
		}
		_, err = transact(ctx, cl, chain.OpRotate, &chain.Rotate{Statement: statement})
		return err
	})
	// With the block that rotates it, the key that was connected is nobody's: the
	// answer may not come, and only the new key can ask what became of it.
	if err != nil && (v.DID == "" || !rotated(c, v.Device)) {
		return err
	}
	return printer(c).show(v, "device %s has the key %s", v.Device, v.DID)
}

// rotated says whether the new key of a rotation is the device's.
func rotated(c *cli.Context, id hexBytes) bool {
	if err := c.Set("key", c.Args().Get(1)); err != nil {
		return false
	}
	cl, next, err := connect(c, operatorKeyFile)
	if err != nil {
		return false
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	e, err := cl.Get(ctx, chain.KeyIndexKey(next.Public()))
	return err == nil && string(e.Value) == string(id)
}
