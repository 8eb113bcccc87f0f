package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/sdk/client"
)

func deviceReportCommand() *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "tell what a device measured, or what a network monitor saw of it", ArgsUsage: deviceArgument + " FILE|-",
		Description: `The contracts that are bound to the device judge it. The file holds a SenML pack
(RFC 8428, JSON or CBOR), which the device itself reports with its key; or, with
--flows, records of its connections, a JSON array of them on each line, which its
owner reports, or who has the role enforcement-point. postern-capture makes them of
captures; other monitors write

   [{"protocol": 6, "address": "192.0.2.1", "remote_port": 443, "local_port": 40001, "bytes": 900, "packets": 7}]

with direction (0 from the device, 1 to it), remote_name, begun_by_device, icmp, and
ethertype where a frame is no IP.

Examples:

   postern device report --key sensor.key sensor.key reading.json
   postern-capture --mac b8:06:0d:3b:47:f8 traffic.pcapng | postern device report --flows front-door.key -`,
		Flags: withConnect(
			&cli.BoolFlag{Name: "flows", Usage: "the file holds records of connections, not SenML"},
			&cli.BoolFlag{Name: "location", Usage: "the SenML says where the device is"},
		),
		Action: deviceReport,
	}
}

// maxReportFile bounds what is read: ten thousand records, written at length.
const maxReportFile = 4 << 20

type reportOutput struct {
	Device   hexBytes       `json:"device"`
	Reports  int            `json:"reports"`
	Flows    int            `json:"flows,omitempty"`
	Judged   map[string]int `json:"judged"` // reports by level
	Findings []string       `json:"findings"`
}

func deviceReport(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a device and a file, or - for standard input")
	}
	if c.Bool("flows") && c.Bool("location") {
		return usagef("--flows and --location are of different files")
	}
	src, err := readFileOrInput(c.Args().Get(1), maxReportFile)
	if err != nil {
		return err
	}
	v := reportOutput{Judged: map[string]int{}, Findings: []string{}}
	var reports []abi.Report
	if c.Bool("flows") {
		reports, v.Flows, err = flowReports(src)
	} else {
		reports = []abi.Report{senmlReport(src, c.Bool("location"))}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Args().Get(1), err)
	}
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		v.Device = hexOf(id)
		return v.send(ctx, cl, id, reports, printer(c))
	})
}

// send sends reports one after another.
func (v *reportOutput) send(ctx context.Context, cl *client.Client, id abi.Hash, reports []abi.Report, out output) error {
	for i := range reports {
		reports[i].Device = &id
		j, err := cl.Report(ctx, &reports[i])
		if err != nil {
			return err
		}
		v.Reports++
		v.Judged[j.Level.String()]++
		v.Findings = append(v.Findings, j.Findings...)
		for _, f := range j.Findings {
			out.progressf("%s: %s", j.Level, f)
		}
	}
	text := many(v.Reports, "pack")
	if v.Flows > 0 {
		text = many(v.Flows, "flow")
	}
	return out.show(v, "%s reported, %s", text, many(len(v.Findings), "finding"))
}

// flowReports makes a report of each line.
func flowReports(src []byte) (reports []abi.Report, count int, err error) {
	lines := bufio.NewScanner(bytes.NewReader(src))
	lines.Buffer(nil, maxReportFile)
	for line := 1; lines.Scan(); line++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var records []flows.Record
		if err := json.Unmarshal(lines.Bytes(), &records); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", line, err)
		}
		count += len(records)
		reports = append(reports, abi.Report{Kind: abi.ObserveFlows, Payload: flows.AppendPayload(nil, records)})
	}
	return reports, count, lines.Err()
}

// senmlReport hands on a pack as it is: the gateway reads it.
func senmlReport(src []byte, location bool) abi.Report {
	r := abi.Report{Kind: abi.ObserveTelemetry, Format: "senml+json", Pack: src}
	if location {
		r.Kind = abi.ObserveLocation
	}
	if len(src) > 0 && src[0]>>5 == 4 { // a CBOR array
		r.Format = "senml+cbor"
	}
	return r
}

// readFileOrInput reads a file, or standard input for -, of at most limit bytes.
func readFileOrInput(name string, limit int64) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes: %w", name, limit, abi.CodeTooLarge)
	}
	return b, err
}
