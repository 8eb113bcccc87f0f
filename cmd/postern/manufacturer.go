package main

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func manufacturerCommand() *cli.Command {
	return &cli.Command{
		Name:  "manufacturer",
		Usage: "who vouches for the origin of devices",
		Subcommands: []*cli.Command{
			{
				Name: "register", Usage: "register who vouches for a manufacturer's serials, or change the keys", ArgsUsage: "NAME",
				Description: `The name is the one that enrolments give. An operator registers it; the account,
which must have the role manufacturer, may later change its keys itself. Proofs
that were checked while a key was registered stay good.

Example:

   postern manufacturer register --account did:key:z6Mk… --vouching-key factory.key Acme`,
				Flags: withConnect(
					&cli.StringFlag{Name: "account", Usage: "the manufacturer's account `ACCOUNT-ID|DID|KEY-FILE` (required)"},
					&cli.StringSliceFlag{Name: "vouching-key", Usage: "`PUBLIC-KEY|DID|KEY-FILE` that its factories sign with; 1 to 8 (required)"},
				),
				Action: manufacturerRegister,
			},
			{
				Name: "show", Usage: "show who vouches for a manufacturer's serials, its proof checked", ArgsUsage: "NAME",
				Description: example("postern manufacturer show Acme"), Flags: withConnect(), Action: manufacturerShow,
			},
			{
				Name: "vouch", Usage: "sign, in the factory, what a device is", ArgsUsage: "[PUBLIC-KEY|DID|KEY-FILE]",
				Description: `It needs neither chain nor node. For one device it writes a file that goes with
the device to its owner, who enrols it with --origin. For many it reads a table
and prints it again with a column origin, ready for postern device import; the
columns are explained there, and hardware_id is one more.

Examples:

   postern manufacturer vouch --key factory.key --manufacturer Acme --model D1 --serial 0042 --out 0042.origin did:key:z6Mk…
   postern manufacturer vouch --key factory.key --manufacturer Acme --model D1 --csv batch.csv > vouched.csv`,
				Flags: append([]cli.Flag{
					jsonFlag,
					&cli.StringFlag{Name: "key", Usage: "the factory's key `FILE` (required)"},
					hardwareFlag,
					&cli.StringFlag{Name: "out", Usage: "`FILE` to write; it must not be there"},
					&cli.StringFlag{Name: "csv", Usage: "table `FILE` of many devices"},
					keysFlag,
				}, identityFlags...),
				Action: manufacturerVouch,
			},
		},
	}
}

type manufacturerOutput struct {
	Name    string     `json:"name"`
	Account hexBytes   `json:"account"`
	Keys    []hexBytes `json:"vouching_keys"`
	DIDs    []string   `json:"dids"`
	Height  uint64     `json:"height"` // registered, or changed
	Proved  uint64     `json:"proved_at_height,omitempty"`
}

func manufacturerRegister(c *cli.Context) error {
	if err := require(c, "account"); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usagef("name the manufacturer, as enrolments do")
	}
	keys, err := publicKeys(c.StringSlice("vouching-key"))
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return usagef("--vouching-key is missing; see %s --help", c.Command.HelpName)
	}
	account, err := nameOf(c.String("account"))
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		id, err := account.account(ctx, cl)
		if err != nil {
			return err
		}
		args := chain.RegisterManufacturer{Name: c.Args().First(), Account: id, Keys: keys}
		res, err := transact(ctx, cl, chain.OpManufacturer, &args)
		if err != nil {
			return err
		}
		return printer(c).show(struct {
			Name    string   `json:"name"`
			Account hexBytes `json:"account"`
			txOutput
		}{args.Name, id[:], res}, "account %x vouches for the serials of %s with %d keys (block %d)", id, args.Name, len(keys), res.Height)
	})
}

func publicKeys(names []string) (keys [][]byte, err error) {
	for _, name := range names {
		public, err := publicKey(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, public)
	}
	return keys, nil
}

func manufacturerShow(c *cli.Context) error {
	name := c.Args().First()
	if name == "" {
		return usagef("name a manufacturer")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		raw, height, err := getProved(ctx, cl, chain.ManufacturerKey(name), "manufacturer "+name)
		if err != nil {
			return err
		}
		m, err := chain.ParseManufacturer(raw)
		if err != nil {
			return err
		}
		v := manufacturerOutput{Name: name, Account: m.Account[:], Height: m.Height, Proved: height}
		v.Keys, v.DIDs = keyNames(m.Keys)
		return printer(c).show(v, "manufacturer  %s\naccount       %s\nkeys          %s\nsince         block %d\nproved        at height %d",
			v.Name, v.Account, strings.Join(v.DIDs, "\n              "), v.Height, v.Proved)
	})
}

// keyNames are public keys as programs and as people want them.
func keyNames(keys [][]byte) (raw []hexBytes, dids []string) {
	raw, dids = []hexBytes{}, []string{}
	for _, k := range keys {
		raw, dids = append(raw, k), append(dids, didOf(k))
	}
	return raw, dids
}

func manufacturerVouch(c *cli.Context) error {
	if err := require(c, "key"); err != nil {
		return err
	}
	factory, err := key.Load(c.String("key"))
	if err != nil {
		return err
	}
	if file := c.String("csv"); file != "" {
		if c.NArg() > 0 || c.IsSet("out") || c.IsSet("hardware-id") {
			return usagef("with --csv the devices and their hardware stand in the table, and the result is printed")
		}
		return vouchForAll(c, factory, file)
	}
	if err := require(c, "out", "manufacturer", "model", "serial"); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usagef("name the device's public key, its did:key or its key file")
	}
	o := chain.DeviceOrigin{Manufacturer: c.String("manufacturer"), Model: c.String("model"), Serial: c.String("serial")}
	if o.Key, err = publicKey(c.Args().First()); err != nil {
		return err
	}
	if text := c.String("hardware-id"); text != "" {
		if o.Hardware, err = hardwareID(text); err != nil {
			return err
		}
	}
	raw, err := vouch(&o, factory)
	if err != nil {
		return err
	}
	if err := writeNew(c.String("out"), raw, 0o644); err != nil {
		return err
	}
	return printer(c).show(struct {
		DID    string `json:"did"`
		Serial string `json:"serial"`
		Origin []byte `json:"origin"`
	}{didOf(o.Key), o.Serial, raw}, "%s vouches for %s as %s %s %s: %s", factory.DID(), didOf(o.Key), o.Manufacturer, o.Model, o.Serial, c.String("out"))
}

// vouch signs an origin that every ledger admits.
func vouch(o *chain.DeviceOrigin, factory *key.Key) ([]byte, error) {
	if _, err := chain.ParseDeviceOrigin(o.Append(nil)); err != nil {
		return nil, fmt.Errorf("%s %s %s: %w", o.Manufacturer, o.Model, o.Serial, err)
	}
	return chain.SignOrigin(o, factory)
}

// vouchForAll prints the table again with an origin for each device. It signs
// all or none: a batch that is short of one would be noticed late.
func vouchForAll(c *cli.Context, factory *key.Key, file string) error {
	t, err := openTable(file)
	if err != nil {
		return err
	}
	if err := makeKeysDir(c); err != nil {
		return err
	}
	rows := [][]string{t.withColumn("origin")}
	var bad []badRow
	for r := range t.rows() {
		raw, err := vouchForRow(c, factory, r)
		if err != nil {
			bad = append(bad, badRow{r, err})
			continue
		}
		rows = append(rows, r.with("origin", base64.StdEncoding.EncodeToString(raw)))
	}
	if len(bad) > 0 {
		reportRows(os.Stderr, file, bad)
		return fmt.Errorf("%s cannot be vouched for; nothing was signed that you could use: mend what is wrong first", many(len(bad), "row"))
	}
	progressTo(os.Stderr, "%s vouched for by %s", many(len(rows)-1, "device"), factory.DID())
	return csv.NewWriter(c.App.Writer).WriteAll(rows)
}

func vouchForRow(c *cli.Context, factory *key.Key, r *tableRow) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	var o chain.DeviceOrigin
	var err error
	if o.Manufacturer, o.Model, o.Serial, err = r.identity(c); err != nil {
		return nil, err
	}
	if o.Key, err = r.publicKey(c.String("keys"), o.Manufacturer, o.Serial); err != nil {
		return nil, err
	}
	if text := r.cell("hardware_id"); text != "" {
		if o.Hardware, err = hardwareID(text); err != nil {
			return nil, err
		}
	}
	return vouch(&o, factory)
}
