package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/sdk/client"
)

func deviceCaptureCommand() *cli.Command {
	return &cli.Command{
		Name: "capture", Usage: "report a device's connections from capture files, as a network monitor", ArgsUsage: deviceArgument + " FILE ...",
		Description: `The files are pcap or pcapng with Ethernet frames, such as tcpdump writes; several
are read as one. The contracts that are bound to the device judge its connections.
The key that acts is the device's owner's, or has the role enforcement-point. DNS
answers name addresses only if they come from a --resolver.

Example:

   postern device capture --mac b8:06:0d:3b:47:f8 --resolver 10.0.0.1 front-door.key traffic.pcapng`,
		Flags: withConnect(
			&cli.StringFlag{Name: "mac", Usage: "the device's hardware `ADDRESS` (required)"},
			&cli.StringSliceFlag{Name: "resolver", Usage: "`ADDRESS` of a name server whose answers are believed"},
		),
		Action: deviceCapture,
	}
}

// captureBatch is how many records one report holds.
const captureBatch = 64

type captureOutput struct {
	Device   hexBytes       `json:"device"`
	Packets  int            `json:"packets"`
	Flows    int            `json:"flows"`
	Lost     uint64         `json:"lost,omitempty"`
	Judged   map[string]int `json:"judged"` // reports by level
	Findings []string       `json:"findings"`
}

func deviceCapture(c *cli.Context) error {
	if c.NArg() < 2 {
		return usagef("name a device and a capture file")
	}
	if err := require(c, "mac"); err != nil {
		return err
	}
	v := captureOutput{Judged: map[string]int{}, Findings: []string{}}
	records, err := readCaptures(c, c.Args().Tail(), &v)
	if err != nil {
		return err
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		v.Device = hexOf(id)
		out := printer(c)
		for len(records) > 0 {
			n := min(len(records), captureBatch)
			j, err := cl.Report(ctx, &abi.Report{Kind: abi.ObserveFlows, Device: &id, Payload: flows.AppendPayload(nil, records[:n])})
			if err != nil {
				return err
			}
			records = records[n:]
			v.Judged[j.Level.String()]++
			v.Findings = append(v.Findings, j.Findings...)
			for _, f := range j.Findings {
				out.progressf("%s: %s", j.Level, f)
			}
		}
		return out.show(v, "%s in %s reported, %s", many(v.Packets, "packet"), many(v.Flows, "flow"), many(len(v.Findings), "finding"))
	})
}

// readCaptures makes the device's records of capture files.
func readCaptures(c *cli.Context, names []string, v *captureOutput) ([]flows.Record, error) {
	mac, err := net.ParseMAC(c.String("mac"))
	if err != nil {
		return nil, usagef("--mac: %v", err)
	}
	var resolvers []netip.Addr
	for _, s := range c.StringSlice("resolver") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, usagef("--resolver: %v", err)
		}
		resolvers = append(resolvers, addr)
	}
	table, err := flows.NewTable(mac, resolvers...)
	if err != nil {
		return nil, usagef("--mac: %v", err)
	}
	for _, name := range names {
		if err := readCapture(name, table, v); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	records, lost := table.Take()
	v.Flows, v.Lost = len(records), lost
	return records, nil
}

func readCapture(name string, table *flows.Table, v *captureOutput) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return flows.ReadCapture(f, func(frame []byte, length int, _ time.Time) error {
		v.Packets++
		table.Frame(frame, length)
		return nil
	})
}
