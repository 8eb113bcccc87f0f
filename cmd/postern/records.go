package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/contracts/records"
)

// recordsContract is the records contract's name unless another is given.
const recordsContract = "records"

func recordsCommand() *cli.Command {
	contract := &cli.StringFlag{Name: "contract", Value: recordsContract, Usage: "`NAME` of the records contract"}
	return &cli.Command{
		Name:  "records",
		Usage: "notarised device data: batches of readings, proofs of single ones",
		Description: `The ledger gets a batch's Merkle root and nothing else; readings and salts stay in
the batch's file, without which nothing can be proven any more. Deploy the
contract first:

   postern contract deploy --name records records`,
		Subcommands: []*cli.Command{
			{
				Name: "batch", Usage: "make a batch of a file's lines, each one reading, and notarise it", ArgsUsage: "FILE",
				Description: `Lines are taken as they are: SenML with one record a line, or anything else. Whoever
acts must be the device, or a notary that the device's owner named. With --offline
the batch's file is made and nothing notarised. Example:

   postern records batch --key meter.key --out monday.batch monday.jsonl`,
				Flags: withConnect(contract,
					&cli.StringFlag{Name: "device", Usage: "`" + deviceArgument + "` that took the readings (default: who acts)"},
					&cli.StringFlag{Name: "out", Usage: "the batch's `FILE`, with readings and salts (default: FILE.batch)"},
					&cli.TimestampFlag{Name: "from", Layout: time.RFC3339, Usage: "`TIME` of the first reading (default: the last's)"},
					&cli.TimestampFlag{Name: "to", Layout: time.RFC3339, Usage: "`TIME` of the last reading (default: now)"},
					&cli.BoolFlag{Name: "senml", Usage: "FILE is a SenML pack (RFC 8428) in JSON: each of its records, resolved, is a reading"},
					&cli.BoolFlag{Name: "offline", Usage: "notarise nothing"}),
				Action: recordsBatch,
			},
			{
				Name: "prove", Usage: "make the proof of one reading of a batch, without a node", ArgsUsage: "BATCH LINE",
				Description: "Lines are counted from 1. The proof says nothing of the other readings. Example:\n\n   postern records prove --device meter.key --number 0 --out reading.proof monday.batch 17",
				Flags: []cli.Flag{jsonFlag,
					&cli.StringFlag{Name: "device", Usage: "`ID` or did:key of the device, by which a verifier finds the root"},
					&cli.Uint64Flag{Name: "number", Usage: "`NUMBER` of the record that batch told"},
					&cli.StringFlag{Name: "out", Usage: "`FILE` for the proof (default: it is printed)"}},
				Action: recordsProve,
			},
			{
				Name: "verify", Usage: "check a proof, or a whole batch, against the root on the ledger", ArgsUsage: "FILE",
				Description: `The root is read with a proof that the trust bundle checks. With --root it is the
one that you name, and no node is asked. One changed byte of the reading, its salt or its
path fails. Examples:

   postern records verify reading.proof
   postern records verify --root 5b0e… reading.proof
   postern records verify --device meter.key --number 0 monday.batch`,
				Flags: withConnect(contract,
					&cli.StringFlag{Name: "root", Usage: "the root in `HEX`, known from elsewhere"},
					&cli.StringFlag{Name: "device", Usage: "`" + deviceArgument + "` of a batch"},
					&cli.Uint64Flag{Name: "number", Usage: "`NUMBER` of a batch's record"}),
				Action: recordsVerify,
			},
		},
	}
}

type batchOutput struct {
	File   string    `json:"file"`
	Root   hexBytes  `json:"root"`
	Count  int       `json:"count"`
	Number *uint64   `json:"number,omitempty"`
	Device hexBytes  `json:"device,omitempty"`
	Tx     *txOutput `json:"transaction,omitempty"`
}

func recordsBatch(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the file with readings")
	}
	b, err := batchOf(c)
	if err != nil {
		return err
	}
	v := batchOutput{File: c.String("out"), Root: hexBytes(b.Root), Count: len(b.Readings)}
	if v.File == "" {
		v.File = c.Args().First() + ".batch"
	}
	// What is notarised can be proven only by the file: it is kept first.
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := os.WriteFile(v.File, append(text, '\n'), 0o600); err != nil {
		return err
	}
	if c.Bool("offline") {
		return printer(c).show(v, "%s holds %d readings with root %s, which is not notarised", v.File, v.Count, v.Root)
	}
	return withSpeaker(c, "records", func(ctx context.Context, s *speaker) error { return s.notarise(ctx, c, b, v) })
}

func (s *speaker) notarise(ctx context.Context, c *cli.Context, b *records.Batch, v batchOutput) error {
	k, err := commandKey(c, operatorKeyFile)
	if err != nil {
		return err
	}
	name := named{key: k.Public()}
	if device := c.String("device"); device != "" {
		if name, err = nameOf(device); err != nil {
			return err
		}
	}
	id, err := name.account(ctx, s.cl)
	if err != nil {
		return err
	}
	res, err := s.call(ctx, "notarise", fields{
		"device": hexOf(id), "root": v.Root, "count": v.Count, "from": b.From.UnixMilli(), "to": b.To.UnixMilli(),
	})
	if err != nil {
		return err
	}
	var number uint64
	if _, err := decoded(s.schema.Execute["notarise"].Result, res.Result, &number); err != nil {
		return err
	}
	v.Number, v.Device, v.Tx = &number, hexOf(id), &res
	return printer(c).show(v, "record %d of device %s holds the root %s of %d readings (block %d)\nkeep %s: without it nothing can be proven",
		number, v.Device, v.Root, v.Count, res.Height, v.File)
}

// batchOf makes a batch of a file's lines.
func batchOf(c *cli.Context) (*records.Batch, error) {
	text, err := os.ReadFile(c.Args().First())
	if err != nil {
		return nil, err
	}
	lines, err := readingsOf(text, c.Bool("senml"))
	if err != nil {
		return nil, usagef("%s: %v", c.Args().First(), err)
	}
	to := time.Now()
	if t := c.Timestamp("to"); t != nil {
		to = *t
	}
	from := to
	if t := c.Timestamp("from"); t != nil {
		from = *t
	}
	b, err := records.New(lines, from.UTC().Truncate(time.Millisecond), to.UTC().Truncate(time.Millisecond))
	if err != nil {
		return nil, usagef("%s: %v", c.Args().First(), err)
	}
	return b, nil
}
