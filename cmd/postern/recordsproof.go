package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/records"
)

func recordsProve(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a batch's file and the line of a reading, counted from 1")
	}
	text, err := os.ReadFile(c.Args().First())
	if err != nil {
		return err
	}
	b, err := records.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Args().First(), err)
	}
	line, err := strconv.Atoi(c.Args().Get(1))
	if err != nil {
		return usagef("%q is no line", c.Args().Get(1))
	}
	p, err := b.Prove(line - 1)
	if err != nil {
		return usagef("%v", err)
	}
	if p.Device, err = offlineID(c.String("device")); err != nil {
		return err
	}
	p.Number = c.Uint64("number")
	if text, err = json.Marshal(p); err != nil {
		return err
	}
	out := c.String("out")
	if out == "" {
		_, err = fmt.Fprintf(c.App.Writer, "%s\n", text)
		return err
	}
	if err := os.WriteFile(out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	v := struct {
		File string   `json:"file"`
		Root hexBytes `json:"root"`
	}{out, hexBytes(p.Root)}
	return printer(c).show(v, "%s proves reading %d of %d under root %s", out, line, p.Count, v.Root)
}

// offlineID is the account of a name without asking a node: of a key, the one
// that it began.
func offlineID(name string) (records.Hex, error) {
	if name == "" {
		return nil, nil
	}
	n, err := nameOf(name)
	if err != nil {
		return nil, err
	}
	if n.key != nil {
		n.id = chain.AccountID(n.key)
	}
	return n.id[:], nil
}

// shownRecord is what a file shows to be notarised.
type shownRecord struct {
	root    abi.Hash
	device  []byte // nil where the file does not say
	number  uint64
	count   uint64
	reading string // of a proof
}

func recordsVerify(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name a proof's or a batch's file")
	}
	shown, err := readShown(c)
	if err != nil {
		return err
	}
	if known := c.String("root"); known != "" {
		want, err := parseHash(known, "root")
		if err != nil {
			return err
		}
		if want != shown.root {
			return fmt.Errorf("%s leads to another root: %x", c.Args().First(), shown.root)
		}
		return tellVerified(c, shown, &notarisedOutput{Root: hexOf(want)}, "under the root named")
	}
	if shown.device == nil {
		return usagef("say whose it is: --device and --number, or the root by --root")
	}
	return withSpeaker(c, "records", func(ctx context.Context, s *speaker) error {
		var v notarisedOutput
		key := append([]byte("record/"), shown.device...)
		height, err := s.proved(ctx, binary.BigEndian.AppendUint64(key, shown.number), fmt.Sprintf("record %d of device %x", shown.number, shown.device), "Record", &v)
		if err != nil {
			return err
		}
		v.Height = height
		if string(v.Root) != string(shown.root[:]) || v.Count != shown.count {
			return fmt.Errorf("%s leads to root %x over %d readings; the ledger has %s over %d", c.Args().First(), shown.root, shown.count, v.Root, v.Count)
		}
		return tellVerified(c, shown, &v, fmt.Sprintf("notarised at %s by %s (proved at height %d)", v.At.Format(time.RFC3339), v.By, height))
	})
}

type notarisedOutput struct {
	Root    hexBytes  `json:"root"`
	Count   uint64    `json:"count,omitempty"`
	By      hexBytes  `json:"by,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Reading string    `json:"reading,omitempty"`
	Height  uint64    `json:"proved_height,omitempty"`
}

func tellVerified(c *cli.Context, shown *shownRecord, v *notarisedOutput, how string) error {
	what := fmt.Sprintf("the batch of %d readings", shown.count)
	if v.Reading = shown.reading; v.Reading != "" {
		what = "the reading " + v.Reading
	}
	return printer(c).show(v, "%s is as it was, %s", what, how)
}

// readShown reads a proof or a batch, and checks it by itself.
func readShown(c *cli.Context) (*shownRecord, error) {
	file := c.Args().First()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if b, err := records.Parse(text); err == nil {
		device, err := offlineID(c.String("device"))
		return &shownRecord{root: abi.Hash(b.Root), device: device, number: c.Uint64("number"), count: uint64(len(b.Readings))}, err
	}
	p, err := records.ParseProof(text)
	if err != nil {
		return nil, fmt.Errorf("%s is neither a batch nor a proof that holds: %w", file, err)
	}
	return &shownRecord{root: abi.Hash(p.Root), device: p.Device, number: p.Number, count: p.Count, reading: p.Text}, nil
}
