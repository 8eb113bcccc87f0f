package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func deviceCommand() *cli.Command {
	return &cli.Command{
		Name:  "device",
		Usage: "devices from enrolment to retirement",
		Description: `A device is named by its id, by the did:key of its key, or by its key file.
Unless --key names another, the operator's key acts; what an owner does needs
the owner's.

   enrol, import, statement       bring devices in, one or a thousand
   list, show                     look at them
   origin, bind, rotate           prove who made it, have contracts judge it, change its key
   status, release, retire        set what it may do
   stolen, propose, recover       theft: the owner's word, the guardians', the way back
   transfer, accept               give it to another owner, who agrees
   evidence                       read what it sent while it was stolen
   report, sim                    tell what it measured, or a monitor saw; act as many devices`,
		Subcommands: []*cli.Command{
			deviceEnrolCommand(), deviceImportCommand(), deviceStatementCommand(),
			deviceListCommand(), deviceShowCommand(),
			deviceOriginCommand(), deviceBindCommand(), deviceRotateCommand(),
			deviceStatusCommand(), deviceReleaseCommand(), deviceRetireCommand(),
			deviceStolenCommand(), deviceProposeCommand(), deviceRecoverCommand(),
			deviceTransferCommand(), deviceAcceptCommand(),
			deviceEvidenceCommand(), deviceReportCommand(), deviceSimCommand(),
		},
	}
}

// deviceArgument is how commands name the argument that is a device.
const deviceArgument = "DEVICE-ID|DID|KEY-FILE"

// onDevice connects, finds the device that the first argument names, and calls do.
func onDevice(c *cli.Context, do func(ctx context.Context, cl *client.Client, id abi.Hash) error) error {
	if c.NArg() == 0 {
		return usagef("name a device by its id, its did:key or its key file; see %s --help", c.Command.HelpName)
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
		return do(ctx, cl, id)
	})
}

// readDevice reads a device's record with its proof.
func readDevice(ctx context.Context, cl *client.Client, id abi.Hash) (chain.Device, uint64, error) {
	raw, height, err := getProved(ctx, cl, chain.DeviceKey(id), "device "+hexOf(id).String())
	if err != nil {
		return chain.Device{}, 0, err
	}
	d, err := chain.ParseDevice(raw)
	return d, height, err
}

// deviceChanged is what commands print that changed something about a device.
type deviceChanged struct {
	Device hexBytes `json:"device"`
	Status string   `json:"status,omitempty"`
	txOutput
}

// changeDevice submits an operation on a device and says what it did.
func changeDevice(ctx context.Context, c *cli.Context, cl *client.Client, id abi.Hash, op chain.Op, args client.Args, done string) error {
	res, err := transact(ctx, cl, op, args)
	if err != nil {
		return err
	}
	return printer(c).show(deviceChanged{Device: hexOf(id), txOutput: res}, "device %x %s (block %d)", id, done, res.Height)
}
