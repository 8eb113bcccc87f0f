package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func deviceCommand() *cli.Command {
	return &cli.Command{
		Name:  "device",
		Usage: "enrol devices and set their status",
		Subcommands: []*cli.Command{
			{
				Name: "enrol", Usage: "enrol a device under your account, signed by both", ArgsUsage: "DEVICE-KEY-FILE",
				Description: `The key file is made if it is not there. Labels are what policies see of a
device, beside its manufacturer, model and serial.

Example:

   postern device enrol --manufacturer Acme --model D1 --serial 0042 --label role=door front-door.key`,
				Flags: withConnect(
					&cli.StringFlag{Name: "manufacturer", Usage: "who made it"},
					&cli.StringFlag{Name: "model", Usage: "what it is"},
					&cli.StringFlag{Name: "serial", Usage: "its serial, unique for the manufacturer"},
					&cli.StringSliceFlag{Name: "label", Usage: "`NAME=VALUE`; may be repeated"},
				),
				Action: deviceEnrol,
			},
			{
				Name: "list", Usage: "list the devices of the chain (unproven)", Description: example("postern device list"),
				Flags: withConnect(), Action: deviceList,
			},
			{
				Name: "show", Usage: "show a device, its proof checked", ArgsUsage: "DEVICE-ID|KEY-FILE", Description: example("postern device show reader.key"),
				Flags: withConnect(), Action: deviceShow,
			},
			{
				Name: "status", Usage: "set a device's status", ArgsUsage: "DEVICE-ID|KEY-FILE active|suspended|quarantined|stolen|retired",
				Description: "Retired is final. Example:\n\n   postern device status --reason 'lost on site' front-door.key suspended",
				Flags:       withConnect(&cli.StringFlag{Name: "reason", Usage: "why, kept on the ledger"}),
				Action:      deviceStatus,
			},
		},
	}
}

func deviceEnrol(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the device's key file")
	}
	if err := require(c, "manufacturer", "model", "serial"); err != nil {
		return err
	}
	labels, err := parseLabels(c.StringSlice("label"))
	if err != nil {
		return err
	}
	cl, owner, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	file := c.Args().First()
	_, missing := os.Stat(file)
	device, err := loadOrMakeKey(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	res, err := enrol(ctx, cl, owner, device, chain.Enrolment{
		Manufacturer: c.String("manufacturer"), Model: c.String("model"), Serial: c.String("serial"),
	}, labels)
	var refused *client.OutcomeError
	if errors.As(err, &refused) && missing != nil {
		return errors.Join(err, os.Remove(file)) // made for this enrolment, which is refused for good
	}
	if err != nil {
		return err
	}
	return printer(c).show(struct {
		Device string `json:"device"`
		txOutput
	}{accountOf(device), res}, "device %s is enrolled (block %d)", accountOf(device), res.Height)
}

// enrolmentLife is how long a device's consent to its enrolment is good for.
const enrolmentLife = 10 * time.Minute

// enrol has the device sign that it belongs to the owner, and the owner
// submit it.
func enrol(ctx context.Context, cl *client.Client, owner, device *key.Key, e chain.Enrolment, labels chain.Labels) (txOutput, error) {
	e.Owner = chain.AccountID(owner.Public())
	statement, err := chain.SignStatement(&chain.Statement{
		Chain: cl.Chain(), Kind: chain.StatementEnrol, Expiry: time.Now().Add(enrolmentLife).UnixMilli(), Body: e.Append(nil),
	}, device)
	if err != nil {
		return txOutput{}, err
	}
	args := chain.Enrol{Statement: statement, Labels: labels}
	return transact(ctx, cl, chain.OpEnrol, &args)
}

func parseLabels(list []string) (chain.Labels, error) {
	labels := chain.Labels{}
	for _, l := range list {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return nil, usagef("--label %q: write NAME=VALUE", l)
		}
		if _, twice := labels[name]; twice {
			return nil, usagef("--label %s is given twice", name)
		}
		labels[name] = value
	}
	return labels, nil
}

func labelText(l chain.Labels) string {
	var list []string
	for name, value := range l {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

type deviceOutput struct {
	Device       hexBytes     `json:"device"`
	Owner        hexBytes     `json:"owner"`
	Manufacturer string       `json:"manufacturer"`
	Model        string       `json:"model"`
	Serial       string       `json:"serial"`
	Status       string       `json:"status"`
	Reason       string       `json:"reason,omitempty"`
	Labels       chain.Labels `json:"labels,omitempty"`
	Enrolled     uint64       `json:"enrolled_height"`
	Since        uint64       `json:"status_height"`
}

func deviceOf(id []byte, raw []byte) (deviceOutput, error) {
	d, err := chain.ParseDevice(raw)
	return deviceOutput{id, d.Owner[:], d.Manufacturer, d.Model, d.Serial, d.Status.String(), d.Reason, d.Labels, d.Enrolled, d.Since}, err
}

func deviceList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		rows := []deviceOutput{}
		var lines []string
		err := scanAll(ctx, cl, chain.DevicePrefix(), func(k, v []byte) error {
			d, err := deviceOf(k[1:], v)
			rows = append(rows, d)
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", d.Device, d.Status, d.Manufacturer, d.Model, d.Serial))
			return err
		})
		if err != nil {
			return err
		}
		return printer(c).table(rows, "DEVICE\tSTATUS\tMANUFACTURER\tMODEL\tSERIAL", lines)
	})
}

func deviceShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one device id or key file")
	}
	id, err := accountID(c.Args().First())
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		raw, height, err := getProved(ctx, cl, chain.DeviceKey(id), "device "+hexOf(id).String())
		if err != nil {
			return err
		}
		d, err := deviceOf(id[:], raw)
		if err != nil {
			return err
		}
		return printer(c).show(d, "device        %s\nstatus        %s %s\nmanufacturer  %s\nmodel         %s\nserial        %s\nowner         %s\nlabels        %s\nproved        at height %d",
			d.Device, d.Status, d.Reason, d.Manufacturer, d.Model, d.Serial, d.Owner, labelText(d.Labels), height)
	})
}

func deviceStatus(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a device and a status")
	}
	id, err := accountID(c.Args().Get(0))
	if err != nil {
		return err
	}
	status, ok := abi.StatusByName(c.Args().Get(1))
	if !ok {
		return usagef("no status is named %q: active, suspended, quarantined, stolen or retired", c.Args().Get(1))
	}
	args := chain.DeviceStatus{Device: id, Status: status, Reason: c.String("reason")}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		res, err := transact(ctx, cl, chain.OpDeviceStatus, &args)
		if err != nil {
			return err
		}
		return printer(c).show(struct {
			Device hexBytes `json:"device"`
			Status string   `json:"status"`
			txOutput
		}{hexOf(id), status.String(), res}, "device %x is %s (block %d)", id, status, res.Height)
	})
}
