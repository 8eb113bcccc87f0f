package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// whyFlag is the reason of a change of status, where the ledger demands none.
var whyFlag = &cli.StringFlag{Name: "reason", Usage: "why, kept on the ledger"}

func deviceStatusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "set a device's status", ArgsUsage: deviceArgument + " active|suspended|quarantined|stolen|retired",
		Description: `An active device may do what policies permit it. A suspended, quarantined or stolen
one may ask for its status and report, nothing else. Retired is final. The owner
sets it, or an operator or an authority. To let a suspended or quarantined device
do more again, a reason must be given; only the owner declares a stolen one found.

Example:

   postern device status --reason 'left at the station' front-door.key suspended`,
		Flags:  withConnect(whyFlag),
		Action: deviceStatus,
	}
}

func deviceReleaseCommand() *cli.Command {
	return statusCommandOf("release", "let a suspended or quarantined device do its work again", abi.StatusActive,
		`The ledger keeps who released it and why. Verdicts and reports from before count no
more. A stolen device is taken back with postern device recover.

Example:

   postern device release --reason 'firmware 2.1 installed, ports checked' front-door.key`, reasonFlag, checkRelease)
}

func deviceRetireCommand() *cli.Command {
	return statusCommandOf("retire", "end a device's life for good", abi.StatusRetired,
		`Its key gets no answer any more, and its serial stays taken: nothing brings it back.

Example:

   postern device retire --reason 'battery dead' front-door.key`, whyFlag, nil)
}

func deviceStolenCommand() *cli.Command {
	return statusCommandOf("stolen", "report a device of yours stolen", abi.StatusStolen,
		`Its connections end, and its serial and its proven hardware go on the blacklist: a
factory reset and a fresh key do not help whoever has it. What it sends from then
on is kept for your eyes (postern device evidence).

Example:

   postern device stolen --reason 'taken from the car park' front-door.key`, reasonFlag, nil)
}

func deviceRecoverCommand() *cli.Command {
	return statusCommandOf("recover", "take a stolen device back, as its owner", abi.StatusActive,
		`It leaves the blacklist, unless its manufacturer or another platform lists it.

Example:

   postern device recover --reason 'found at the lost property office' front-door.key`, reasonFlag, checkRecover)
}

// statusCommandOf is a command that sets one status. check, where there is one,
// looks at the device first.
func statusCommandOf(name, usage string, status abi.Status, description string, reason *cli.StringFlag, check func(*chain.Device) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: deviceArgument, Description: description, Flags: withConnect(reason),
		Action: func(c *cli.Context) error {
			if reason == reasonFlag {
				if err := require(c, "reason"); err != nil {
					return err
				}
			}
			return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
				if check != nil {
					d, _, err := readDevice(ctx, cl, id)
					if err != nil {
						return err
					}
					if err := check(&d); err != nil {
						return err
					}
				}
				return setDeviceStatus(ctx, c, cl, id, status)
			})
		},
	}
}

func checkRelease(d *chain.Device) error {
	if d.Status == abi.StatusSuspended || d.Status == abi.StatusQuarantined {
		return nil
	}
	return fmt.Errorf("the device is %s, neither suspended nor quarantined: %w", d.Status, abi.CodeBadStatus)
}

func checkRecover(d *chain.Device) error {
	if d.Status == abi.StatusStolen {
		return nil
	}
	return fmt.Errorf("the device is %s, not stolen: %w", d.Status, abi.CodeBadStatus)
}

func deviceStatus(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a device and a status")
	}
	status, ok := abi.StatusByName(c.Args().Get(1))
	if !ok {
		return noStatus(c.Args().Get(1))
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		return setDeviceStatus(ctx, c, cl, id, status)
	})
}

func noStatus(name string) error {
	return usagef("no status is named %q: active, suspended, quarantined, stolen or retired", name)
}

func setDeviceStatus(ctx context.Context, c *cli.Context, cl *client.Client, id abi.Hash, status abi.Status) error {
	res, err := transact(ctx, cl, chain.OpDeviceStatus, &chain.DeviceStatus{Device: id, Status: status, Reason: c.String("reason")})
	if err != nil {
		return err
	}
	return printer(c).show(deviceChanged{hexOf(id), status.String(), res}, "device %x is %s (block %d)", id, status, res.Height)
}

func deviceProposeCommand() *cli.Command {
	return &cli.Command{
		Name: "propose", Usage: "as a guardian of a device's owner, have others agree to something",
		Subcommands: []*cli.Command{{
			Name: "stolen", Usage: "propose that a device be taken for stolen", ArgsUsage: deviceArgument,
			Description: `For an owner who cannot act. The other guardians agree with postern account
approve; with the vote that is enough the device is stolen, as if the owner had
said so.

Example:

   postern device propose stolen --key ann.key --reason 'owner in hospital, car broken open' 5e0c…`,
			Flags: withConnect(reasonFlag),
			Action: func(c *cli.Context) error {
				if err := require(c, "reason"); err != nil {
					return err
				}
				return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
					return propose(ctx, c, cl, chain.ProposeStolen, &chain.DeclareStolen{Device: id, Reason: c.String("reason")})
				})
			},
		}},
	}
}
