package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/declog"
)

var logFilterFlags = []cli.Flag{
	&cli.Uint64Flag{Name: "from", Usage: "begin at record `NUMBER`"},
	&cli.StringFlag{Name: "domain", Usage: "only decisions of this policy `DOMAIN`"},
	&cli.StringFlag{Name: "caller", Usage: "only decisions that the account `ID` asked for"},
	&cli.BoolFlag{Name: "denials", Usage: "only denials"},
}

var hideFlag = &cli.StringSliceFlag{Name: "hide", Usage: "do not show this `FIELD`, such as caller or request; may be repeated, and that something is hidden can be seen"}

func logCommand() *cli.Command {
	return &cli.Command{
		Name:  "log",
		Usage: "the decision log in a node's home, and heads of others' logs",
		Description: `Every decision of this gateway for a caller that it knew is in its log, encrypted
under decisions.key in the home. The node may run or not.`,
		Subcommands: []*cli.Command{
			{
				Name: "verify", Usage: "check that no decision was changed or left out since it was made",
				Description: `It reads everything that is kept, and compares it with the hashes beside it, with
the head that the gateway signed last, and with the heads that the ledger has. It
ends non-zero at the first record that is not as it was.

Examples:

   postern log verify --home /var/lib/postern
   postern log verify --offline`,
				Flags:  withConnect(&cli.BoolFlag{Name: "offline", Usage: "do not compare with the ledger; then whoever can write the files could have changed them"}),
				Action: logVerify,
			},
			{
				Name: "export", Usage: "write decisions as lines of JSON",
				Description: `Each line holds what is shown of a decision, the leaf hash of its record in the
log, and the record itself ("disclosure"): from that the leaf follows, whatever is
hidden. docs/proofs.md tells how.

Examples:

   postern log export > decisions.jsonl
   postern log export --hide caller --hide request --denials > denials.jsonl`,
				Flags:  append([]cli.Flag{homeFlag, jsonFlag, hideFlag}, logFilterFlags...),
				Action: logExport,
			},
			{
				Name: "tail", Usage: "show the newest decisions",
				Description: example("postern log tail -n 50 --denials"),
				Flags: append([]cli.Flag{homeFlag, jsonFlag, &cli.IntFlag{Name: "n", Value: 10, Usage: "how many"},
					&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with those that come"}}, logFilterFlags...),
				Action: logTail,
			},
			logAccuseCommand(),
		},
	}
}

// openLog reads the decision log of a home.
func openLog(h home) (*declog.Reader, error) {
	if !h.exists() {
		return nil, fmt.Errorf("%s is no home of a node; name one with --home", h)
	}
	secret, err := os.ReadFile(h.path(decisionsKey))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no decision log: %w", h, err)
	}
	if err != nil {
		return nil, err
	}
	return declog.OpenReader(h.path(decisionsDir), secret)
}

type logVerifyOutput struct {
	OK        bool     `json:"ok"`
	Decisions uint64   `json:"decisions"`
	First     uint64   `json:"first"`
	Next      uint64   `json:"next"`
	Gaps      uint64   `json:"gaps"`
	Lost      uint64   `json:"numbers_in_gaps"`
	Pruned    uint64   `json:"pruned_records"`
	Root      hexBytes `json:"root"`
	Signed    uint64   `json:"signed_records"`
	Anchored  uint64   `json:"anchored_records"`
	Heads     int      `json:"heads_compared"`
}

func logVerify(c *cli.Context) error {
	h, out := home(c.String("home")), printer(c)
	r, err := openLog(h)
	if err != nil {
		return err
	}
	v := logVerifyOutput{OK: true}
	v.First, v.Next = r.Numbers()
	heads, err := knownHeads(c, h, r, &v)
	if err != nil {
		return err
	}
	report, err := r.Verify(c.Context, heads, func(done, of uint64) { out.progressf("read %d of %d files", done, of) })
	if err != nil {
		return fmt.Errorf("the decision log of %s is not what it was: %w", h, err)
	}
	v.Decisions, v.Gaps, v.Lost, v.Pruned, v.Root, v.Heads = report.Decisions, report.Gaps, report.Lost, report.Pruned, report.Root[:], report.Heads
	return out.show(v, "%s", logVerifyText(&v, c.Bool("offline")))
}

func logVerifyText(v *logVerifyOutput, offline bool) string {
	text := fmt.Sprintf("good: %d decisions, numbers %d to %d", v.Decisions, v.First, v.Next-1)
	if v.Gaps > 0 {
		text += fmt.Sprintf("; %d times the gateway did not end in order, and up to %d decisions are missing", v.Gaps, v.Lost)
	}
	if v.Pruned > 0 {
		text += fmt.Sprintf("; %d older records were pruned", v.Pruned)
	}
	switch {
	case offline:
		text += "; not compared with the ledger"
	case v.Anchored == 0:
		text += "; none of them is anchored on the ledger yet"
	default:
		text += fmt.Sprintf("; the first %d records are anchored on the ledger", v.Anchored)
	}
	return text
}

// knownHeads are the heads of the log that the gateway signed last, and that
// the ledger has.
func knownHeads(c *cli.Context, h home, r *declog.Reader, v *logVerifyOutput) (heads []declog.Head, err error) {
	signed, err := r.Checkpoint()
	if err != nil {
		return nil, err
	}
	if signed != nil {
		p, err := proof.ParseCheckpoint(signed)
		if err != nil {
			return nil, err
		}
		v.Signed = p.Size
		heads = append(heads, declog.Head{Size: p.Size, Root: p.Root, From: "the gateway"})
	}
	if c.Bool("offline") {
		return heads, nil
	}
	l, err := openHomeLedger(c, h)
	if err != nil {
		return nil, err
	}
	defer l.close()
	id, account := r.Owner()
	a, anchors, err := l.heads(c.Context, account)
	if err != nil || a.Size == 0 {
		return heads, err
	}
	if _, err := proof.OpenCheckpoint(a.Note, proof.LogOrigin(id, account), a.Key); err != nil {
		return nil, fmt.Errorf("the anchor on the ledger: %w", err)
	}
	v.Anchored = a.Size
	return append(heads, anchors...), nil
}

// logFilter says which decisions a command is about.
func logFilter(c *cli.Context) (func(*declog.Item) bool, error) {
	domain, denials, caller := c.String("domain"), c.Bool("denials"), abi.Hash{}
	if c.IsSet("caller") {
		id, err := accountID(c.String("caller"))
		if err != nil {
			return nil, err
		}
		caller = id
	}
	any := domain == "" && !denials && !c.IsSet("caller")
	return func(it *declog.Item) bool {
		if it.Gap != nil {
			return any
		}
		d := it.Decision
		return (domain == "" || d.Domain == domain) && (!denials || !d.Permit) && (!c.IsSet("caller") || d.Caller == caller)
	}, nil
}

func hiddenFields(c *cli.Context) (hidden proof.FieldSet, err error) {
	for _, name := range c.StringSlice(hideFlag.Name) {
		f, err := proof.ParseField(name)
		if err != nil {
			return 0, usagef("--hide %s: one of number, time, state, caller, domain, rules, request, decision, reason, terms", name)
		}
		hidden |= proof.Fields(f)
	}
	return hidden, nil
}

func logExport(c *cli.Context) error {
	hidden, err := hiddenFields(c)
	if err != nil {
		return err
	}
	wanted, err := logFilter(c)
	if err != nil {
		return err
	}
	r, err := openLog(home(c.String("home")))
	if err != nil {
		return err
	}
	lines := json.NewEncoder(c.App.Writer)
	return r.Scan(c.Uint64("from"), func(it *declog.Item) error {
		if err := c.Context.Err(); err != nil || !wanted(it) {
			return err
		}
		v := outputOfItem(it)
		if it.Decision != nil {
			d := it.Decision.Disclose(hidden)
			shown, err := d.Record()
			if err != nil {
				return err
			}
			v = outputOfRecord(it.Position, &shown, d.Shown())
			v.Disclosure = d.Append(nil)
		}
		leaf := it.Leaf()
		v.Leaf = leaf[:]
		return lines.Encode(v)
	})
}

// tailEvery is how often log tail --follow looks for more.
const tailEvery = time.Second

func logTail(c *cli.Context) error {
	wanted, err := logFilter(c)
	if err != nil {
		return err
	}
	h, out := home(c.String("home")), printer(c)
	newest := []*decisionOutput{}
	next, err := tailFrom(c.Context, h, c.Uint64("from"), func(it *declog.Item) {
		if wanted(it) {
			newest = append(newest, outputOfItem(it))
			newest = newest[max(0, len(newest)-max(1, c.Int("n"))):]
		}
	})
	if err != nil {
		return err
	}
	for _, v := range newest {
		if err := out.show(v, "%s", v.text()); err != nil {
			return err
		}
	}
	for c.Bool("follow") && sleep(c.Context, tailEvery) {
		next, err = tailFrom(c.Context, h, next, func(it *declog.Item) {
			if wanted(it) {
				v := outputOfItem(it)
				_ = out.show(v, "%s", v.text())
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tailFrom hands on what the log has from a number on, and says where to go on.
func tailFrom(ctx context.Context, h home, from uint64, do func(*declog.Item)) (next uint64, err error) {
	r, err := openLog(h)
	if err != nil {
		return 0, err
	}
	_, next = r.Numbers()
	return next, r.Scan(from, func(it *declog.Item) error {
		do(it)
		return ctx.Err()
	})
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
