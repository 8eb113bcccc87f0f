package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func deviceListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the devices of the chain (unproven)",
		Description: `Filters are combined. Labels are given as NAME or NAME=VALUE; of several all must
fit. ORIGIN says whether the device's manufacturer has vouched for it.

Examples:

   postern device list --status quarantined
   postern device list --owner ann.key --label role=door --unproven`,
		Flags: withConnect(
			&cli.StringSliceFlag{Name: "status", Usage: "only devices of this `STATUS`; may be repeated"},
			&cli.StringFlag{Name: "owner", Usage: "only those of the owner `ACCOUNT-ID|DID|KEY-FILE`"},
			&cli.StringSliceFlag{Name: "label", Usage: "only those with the label `NAME[=VALUE]`; may be repeated"},
			&cli.BoolFlag{Name: "unproven", Usage: "only those whose origin nobody has proven"},
		),
		Action: deviceList,
	}
}

// deviceFilter is which devices a list shows.
type deviceFilter struct {
	statuses []abi.Status
	owner    *named
	labels   []string
	unproven bool
}

func deviceFilterOf(c *cli.Context) (f deviceFilter, err error) {
	for _, name := range c.StringSlice("status") {
		status, ok := abi.StatusByName(name)
		if !ok {
			return f, noStatus(name)
		}
		f.statuses = append(f.statuses, status)
	}
	if owner := c.String("owner"); owner != "" {
		name, err := nameOf(owner)
		if err != nil {
			return f, err
		}
		f.owner = &name
	}
	f.labels, f.unproven = c.StringSlice("label"), c.Bool("unproven")
	return f, nil
}

// passes says whether a device fits, owner being the account that was named.
func (f *deviceFilter) passes(d *chain.Device, owner abi.Hash) bool {
	switch {
	case len(f.statuses) > 0 && !slices.Contains(f.statuses, d.Status),
		f.owner != nil && d.Owner != owner,
		f.unproven && d.Proven != 0:
		return false
	}
	for _, l := range f.labels {
		name, want, valued := strings.Cut(l, "=")
		if value, ok := d.Labels[name]; !ok || valued && value != want {
			return false
		}
	}
	return true
}

func deviceList(c *cli.Context) error {
	f, err := deviceFilterOf(c)
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		var owner abi.Hash
		if f.owner != nil {
			if owner, err = f.owner.account(ctx, cl); err != nil {
				return err
			}
		}
		rows := []deviceOutput{}
		for v, err := range devices(ctx, cl, func(d *chain.Device) bool { return f.passes(d, owner) }) {
			if err != nil {
				return err
			}
			rows = append(rows, v)
		}
		return printer(c).table(rows, "DEVICE\tSTATUS\tMANUFACTURER\tMODEL\tSERIAL\tORIGIN\tLABELS", deviceLines(rows))
	})
}

func deviceLines(rows []deviceOutput) (lines []string) {
	for i := range rows {
		v := &rows[i]
		origin := "unproven"
		if v.Proven != 0 {
			origin = "proven"
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s", v.name(), v.Status, v.Manufacturer, v.Model, v.Serial, origin, labelText(v.Labels)))
	}
	return lines
}

// name is what people call the device by.
func (v *deviceOutput) name() string {
	if v.DID == "" {
		return v.Device.String()
	}
	return v.DID
}

// devices are those of the chain that fit, with the did:key of their present
// keys (unproven). Devices and accounts stand in the same order of ids, so both
// are read once, side by side.
func devices(ctx context.Context, cl *client.Client, fits func(*chain.Device) bool) iter.Seq2[deviceOutput, error] {
	return func(yield func(deviceOutput, error) bool) {
		accounts := accountsAside{}
		defer accounts.close()
		for p, err := range cl.All(ctx, chain.DevicePrefix()) {
			if err != nil {
				yield(deviceOutput{}, err)
				return
			}
			d, err := chain.ParseDevice(p.Value)
			if err != nil {
				yield(deviceOutput{}, err)
				return
			}
			if !fits(&d) {
				continue
			}
			v := deviceOf(p.Key[1:], &d)
			if v.DID, err = accounts.did(ctx, cl, v.Device); !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// accountsAside reads accounts in the order of their ids.
type accountsAside struct {
	next func() (client.Pair, error, bool)
	stop func()
	at   client.Pair
}

func (a *accountsAside) close() {
	if a.stop != nil {
		a.stop()
	}
}

// did is the did:key of an account's present key, "" if it was not there yet. Ids
// ascend from call to call.
func (a *accountsAside) did(ctx context.Context, cl *client.Client, id []byte) (string, error) {
	key := chain.AccountKey(abi.Hash(id))
	if a.next == nil {
		a.next, a.stop = iter.Pull2(cl.All(ctx, key[:1]))
	}
	for string(a.at.Key) < string(key) {
		p, err, ok := a.next()
		if !ok || err != nil {
			return "", err
		}
		a.at = p
	}
	if string(a.at.Key) != string(key) {
		return "", nil
	}
	account, err := chain.ParseAccount(a.at.Value)
	return didOf(account.Key), err
}
