// Command postern-capture makes records of a device's connections from capture
// files: one JSON array a line, for postern device report --flows. It is a program
// of its own, since what reads packets has no place in a node.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/seed79541315/postern/net/capture"
)

const usage = `postern-capture - records of a device's connections from capture files

USAGE:
   postern-capture --mac ADDRESS [--resolver ADDRESS ...] FILE ...

   The files are pcap or pcapng with Ethernet frames, such as tcpdump writes; several
   are read as one, and - is standard input. Each line on standard output is a JSON
   array of at most 64 records. DNS answers name addresses only if they come from a
   --resolver.

EXAMPLE:
   postern-capture --mac b8:06:0d:3b:47:f8 --resolver 10.0.0.1 traffic.pcapng |
      postern device report --flows - front-door.key

OPTIONS:
`

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "postern-capture:", err)
			os.Exit(1)
		}
	}
}

// batch is how many records a line holds: a report's worth, well below what a
// frame of the device port takes.
const batch = 64

func run(args []string, in io.Reader, out, log io.Writer) error {
	flags := flag.NewFlagSet("postern-capture", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() { fmt.Fprint(log, usage); flags.PrintDefaults() }
	mac := flags.String("mac", "", "the device's hardware `ADDRESS` (required)")
	var resolvers []netip.Addr
	flags.Func("resolver", "`ADDRESS` of a name server whose answers are believed; may be given several times", func(text string) error {
		addr, err := netip.ParseAddr(text)
		resolvers = append(resolvers, addr)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *mac == "" || flags.NArg() == 0 {
		return errors.New("name the device by --mac, and a capture file; see postern-capture --help")
	}
	address, err := net.ParseMAC(*mac)
	if err != nil {
		return fmt.Errorf("--mac: %w", err)
	}
	table, err := capture.NewTable(address, resolvers...)
	if err != nil {
		return fmt.Errorf("--mac: %w", err)
	}
	packets := 0
	for _, name := range flags.Args() {
		n, err := read(name, in, table)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		packets += n
	}
	return write(out, log, table, packets)
}

func read(name string, in io.Reader, table *capture.Table) (packets int, err error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		in = f
	}
	err = capture.ReadFile(in, func(frame []byte, length int, _ time.Time) error {
		packets++
		table.Frame(frame, length)
		return nil
	})
	return packets, err
}

func write(out, log io.Writer, table *capture.Table, packets int) error {
	records, lost := table.Take()
	fmt.Fprintf(log, "%d packets, %d records of the device\n", packets, len(records))
	if lost > 0 {
		fmt.Fprintf(log, "%d packets belong to more records than are kept (%d): give shorter captures\n", lost, capture.MaxRecords)
	}
	buffer := bufio.NewWriter(out)
	lines := json.NewEncoder(buffer)
	for len(records) > 0 {
		n := min(len(records), batch)
		if err := lines.Encode(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return buffer.Flush()
}
