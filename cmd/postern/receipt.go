package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/client"
)

func receiptCommand() *cli.Command {
	return &cli.Command{
		Name:  "receipt",
		Usage: "prove what was decided, and under which rules",
		Subcommands: []*cli.Command{
			{
				Name: "get", Usage: "get the receipt of a decision: from the log in a node's home, or from a gateway", ArgsUsage: "NUMBER",
				Description: `NUMBER is the "record" of the answer. The receipt is one file that verifies without
any node. A decision that is not anchored on the ledger yet has none; a running
gateway anchors its log every minute, and --wait waits for that.

With --now or --node the gateway itself is asked, which --now has anchor its log at
once. It answers who asked for the decision, the owner of its policy domain, and
auditors. Otherwise the files in --home are read; the node may run or not.

Examples:

   postern receipt get --now --out 42.receipt 42
   postern receipt get --key reader.key --node gate.example:7433 42
   postern receipt get --hide request --hide caller --out 42.receipt 42`,
				Flags: withConnect(hideFlag, &cli.BoolFlag{Name: "now", Usage: "have the running gateway anchor its log at once"},
					&cli.DurationFlag{Name: "wait", Usage: "how long to wait for the log's next anchor: `TIME`, such as 90s"}, &cli.StringFlag{Name: "out", Usage: "write the receipt to a new `FILE` (default: NUMBER.receipt)"}),
				Action: receiptGet,
			},
			{
				Name: "verify", Usage: "check a receipt from the trust bundle alone", ArgsUsage: "FILE",
				Description: `It ends with exit code 4 if the receipt is false. What is hidden in it was there,
and cannot have been changed. It needs no node.

With --witness a gateway (--home, or its node.key as --key) also puts on the ledger
which head of the other gateway's log it saw; an anchor of that size with another
root is then told as the event log.conflict.

Examples:

   postern receipt verify --trust bundle.json 42.receipt
   postern receipt verify --home /var/lib/postern --witness theirs.receipt`,
				Flags: withConnect(keepFlag,
					&cli.BoolFlag{Name: "witness", Usage: "as a gateway, put on the ledger which head of the log the receipt holds"}),
				Action: receiptVerify,
			},
		},
	}
}

// anchorPoll is how often receipt get --wait looks for the anchor.
const anchorPoll = 500 * time.Millisecond

func receiptGet(c *cli.Context) error {
	number, err := strconv.ParseUint(c.Args().First(), 10, 64)
	if err != nil || c.NArg() != 1 {
		return usagef("name the decision by the number in its answer: postern receipt get NUMBER")
	}
	hidden, err := hiddenFields(c)
	if err != nil {
		return err
	}
	file := c.String("out")
	if file == "" {
		file = fmt.Sprintf("%d.receipt", number)
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: %w; name another file with --out", file, fs.ErrExist)
	}
	get := receiptFrom
	if c.Bool("now") || c.IsSet("node") {
		get = askReceipt
	}
	r, err := get(c, number)
	for end := time.Now().Add(c.Duration("wait")); isCode(err, abi.CodeNotReady) && time.Now().Before(end) && sleep(c.Context, anchorPoll); {
		r, err = get(c, number)
	}
	if err != nil {
		return err
	}
	r.Record.Hide(hidden)
	raw := r.Append(nil)
	if err := writeNew(file, raw, 0o644); err != nil {
		return err
	}
	v := struct {
		File  string `json:"file"`
		Bytes int    `json:"bytes"`
	}{file, len(raw)}
	return printer(c).show(v, "the receipt of decision %d is in %s, %d bytes", number, file, len(raw))
}

// askReceipt asks a running gateway.
func askReceipt(c *cli.Context, number uint64) (r *proof.Receipt, err error) {
	err = onNode(c, func(ctx context.Context, cl *client.Client) error {
		_, raw, err := cl.Receipt(ctx, number, c.Bool("now"))
		if err != nil {
			return err
		}
		r, err = proof.ParseReceipt(raw)
		return err
	})
	return r, err
}

// receiptFrom makes a receipt from the log and the ledger of a home.
func receiptFrom(c *cli.Context, number uint64) (*proof.Receipt, error) {
	h := home(c.String("home"))
	log, err := openLog(h)
	if err != nil {
		return nil, err
	}
	l, err := openHomeLedger(c, h)
	if err != nil {
		return nil, err
	}
	defer l.close()
	_, account := log.Owner()
	e, steps, err := l.prove(c.Context, chain.AnchorKey(account))
	if err != nil {
		return nil, err
	}
	return log.Receipt(number, e, steps)
}

type receiptOutput struct {
	OK       bool           `json:"ok"`
	Chain    hexBytes       `json:"chain"`
	Gateway  hexBytes       `json:"gateway"`
	Decision decisionOutput `json:"decision"`
	LogSize  uint64         `json:"log_records"`
	Anchored uint64         `json:"anchored_height"`
	At       time.Time      `json:"anchored_at"`
	Height   uint64         `json:"proved_height"`
	Signers  int            `json:"signers"`
	Witness  *txOutput      `json:"witness,omitempty"`
}

func receiptVerify(c *cli.Context) error {
	r, p, err := verifiedReceipt(c)
	if err != nil {
		return err
	}
	v := receiptOutput{
		OK: true, Chain: r.Anchor.Header.Chain[:], Gateway: r.Account[:], Decision: *outputOfRecord(p.Index, &p.Record, p.Shown), LogSize: p.Size,
		Anchored: p.Height, At: time.UnixMilli(p.Time).UTC(), Height: r.Anchor.Header.Height, Signers: len(r.Anchor.Certificate.Signatures),
	}
	var witnessed string
	if c.Bool("witness") {
		tx, err := witness(c, r)
		if err != nil {
			return fmt.Errorf("the receipt is good, but witnessing it: %w", err)
		}
		v.Witness, witnessed = &tx, fmt.Sprintf("\nwitness  noted by block %d", tx.Height)
	}
	return printer(c).show(v, "good: %s\ngateway  %s\nlog      record %d of %d, anchored by block %d at %s\nsigned   block %d by %d validators%s",
		v.Decision.text(), v.Gateway, p.Index+1, p.Size, p.Height, v.At.Format(time.RFC3339), v.Height, v.Signers, witnessed)
}

// verifiedReceipt reads the receipt that a command names and checks it.
func verifiedReceipt(c *cli.Context) (*proof.Receipt, *proof.Proven, error) {
	if c.NArg() != 1 {
		return nil, nil, usagef("name a receipt's file; see %s --help", c.Command.HelpName)
	}
	light, err := trusting(c)
	if err != nil {
		return nil, nil, err
	}
	file := c.Args().First()
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	r, err := proof.ParseReceipt(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if r.Anchor.Header.Chain != light.Chain() {
		return nil, nil, fmt.Errorf("%s is of chain %x: %w", file, r.Anchor.Header.Chain[:8], abi.CodeWrongChain)
	}
	p, err := light.Receipt(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, p, keep(c, light.Bundle())
}
