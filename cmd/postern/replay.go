package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/declog"
	"github.com/seed79541315/postern/runtime/ledger"
)

func policyReplayCommand() *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "say which past decisions another document would have made otherwise", ArgsUsage: "FILE",
		Description: `It goes through the decision log in --home and builds the ledger of each
decision's height anew, in a folder of the home; there it asks the document in
FILE in place of the policy that was active, with the clock of then. Nothing is
written to the ledger. The node may run or not.

Examples:

   postern policy replay stricter.json
   postern policy replay --from 120000 --json stricter.json`,
		Flags: withConnect(
			&cli.StringFlag{Name: "contract", Value: devContract, Usage: "`NAME` of the access contract"},
			&cli.Uint64Flag{Name: "from", Usage: "begin at record `NUMBER`"},
			&cli.IntFlag{Name: "show", Value: 20, Usage: "how many of the changes to list"},
		),
		Action: policyReplay,
	}
}

type replayOutput struct {
	Decisions uint64         `json:"decisions"` // that were made again
	Permitted uint64         `json:"newly_permitted"`
	Denied    uint64         `json:"newly_denied"`
	Reasons   uint64         `json:"other_reason"` // the same answer for another reason
	Skipped   uint64         `json:"skipped"`      // of other contracts, of the gateway's own making, or of a height that was passed
	Changes   []replayChange `json:"changes"`
}

type replayChange struct {
	Was     *decisionOutput `json:"was"`
	Permit  bool            `json:"decision"`
	Code    string          `json:"code,omitempty"`
	Reasons string          `json:"reason_id,omitempty"`
}

func policyReplay(c *cli.Context) error {
	text, err := policyArg(c)
	if err != nil {
		return err
	}
	doc, err := access.ParseDocument(text)
	if err != nil {
		return showMistakes(printer(c), c.Args().First(), err)
	}
	h := home(c.String("home"))
	log, err := openLog(h)
	if err != nil {
		return err
	}
	l, err := openHomeLedger(c, h)
	if err != nil {
		return err
	}
	defer l.close()
	r := &replay{source: l, contract: c.String("contract"), doc: doc, show: c.Int("show"), out: printer(c), v: replayOutput{Changes: []replayChange{}}}
	err = r.all(c.Context, log, c.Uint64("from"))
	if err = errors.Join(err, r.close()); err != nil {
		return err
	}
	return r.out.show(r.v, "%s", r.v.text())
}

// replay makes the decisions of a log again under another policy.
type replay struct {
	source   *homeLedger
	contract string
	doc      *access.Document
	show     int
	out      output

	past     *bygone
	supposed *ledger.Supposition // at the height of past; nil before the first
	v        replayOutput
}

// replayChunk is how many decisions are read ahead: those made at the same time
// may stand in the log in another order than their heights.
const replayChunk = 4096

func (r *replay) all(ctx context.Context, log *declog.Reader, from uint64) error {
	var chunk []proof.Record
	err := log.Scan(from, func(it *declog.Item) error {
		if it.Decision == nil || it.Decision.Contract != r.contract || ofTheMoment(it.Decision.Code) {
			r.v.Skipped++
			return nil
		}
		if chunk = append(chunk, *it.Decision); len(chunk) < replayChunk {
			return nil
		}
		defer func() { chunk = chunk[:0] }()
		return r.chunk(ctx, chunk)
	})
	if err != nil {
		return err
	}
	return r.chunk(ctx, chunk)
}

func (r *replay) chunk(ctx context.Context, list []proof.Record) error {
	slices.SortStableFunc(list, func(a, b proof.Record) int { return cmp.Compare(a.Height, b.Height) })
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.decision(ctx, &list[i]); err != nil {
			return fmt.Errorf("decision %d: %w", list[i].Number, err)
		}
	}
	if r.v.Decisions > 0 {
		r.out.progressf("made %d decisions again", r.v.Decisions)
	}
	return nil
}

func (r *replay) decision(ctx context.Context, was *proof.Record) error {
	if r.past != nil && was.Height < r.past.ledger.Head().Height {
		r.v.Skipped++
		return nil
	}
	if err := r.goTo(ctx, was.Height); err != nil {
		return err
	}
	r.past.at = *was
	a := r.supposed.Decide(ctx, abi.Caller{Account: was.Caller}, was.Domain, was.Request)
	r.v.Decisions++
	switch {
	case a.Permit && !was.Permit:
		r.v.Permitted++
	case !a.Permit && was.Permit:
		r.v.Denied++
	case a.ReasonID != was.ReasonID || a.Code != was.Code:
		r.v.Reasons++
		return nil
	default:
		return nil
	}
	if len(r.v.Changes) < r.show {
		change := replayChange{Was: outputOfRecord(was.Number, was, ^proof.FieldSet(0)), Permit: a.Permit, Reasons: a.ReasonID}
		if !a.Permit {
			change.Code = a.Code.Name()
		}
		r.v.Changes = append(r.v.Changes, change)
	}
	return nil
}

// goTo brings the past to a height, and the other policy into it.
func (r *replay) goTo(ctx context.Context, height uint64) (err error) {
	if r.past == nil {
		if r.past, err = openBygone(ctx, r.source, height); err != nil {
			return err
		}
	}
	if r.supposed != nil && r.past.ledger.Head().Height == height {
		return nil
	}
	r.forget()
	err = r.past.advance(ctx, height, func(at uint64) {
		if at%blocksBetweenNews == 0 {
			r.out.progressf("executed blocks up to %d", at)
		}
	})
	if err != nil {
		return err
	}
	active, err := r.active(ctx)
	if err != nil {
		return err
	}
	r.supposed, err = r.past.ledger.Suppose(ctx, r.contract, r.doc.Messages(active+supposedVersion, active))
	return err
}

// supposedVersion lies above every version that somebody may have begun.
const supposedVersion = 1 << 16

// active is the version of the policy that was active.
func (r *replay) active(ctx context.Context) (uint32, error) {
	raw, _, err := r.past.ledger.Query(ctx, r.contract, access.Describe())
	if err != nil {
		return 0, fmt.Errorf("asking contract %s for its policy: %w", r.contract, err)
	}
	info, err := access.ParseInfo(raw)
	if errors.Is(err, access.ErrNoPolicy) {
		return 0, nil
	}
	return info.Version, err
}

func (r *replay) forget() {
	if r.supposed != nil {
		r.supposed.Close()
		r.supposed = nil
	}
}

func (r *replay) close() error {
	r.forget()
	if r.past == nil {
		return nil
	}
	return r.past.close()
}

func (v *replayOutput) text() string {
	lines := []string{fmt.Sprintf("%s made again: %d would be permitted that were denied, %d denied that were permitted, %d the same for another reason; %d skipped",
		many(v.Decisions, "decision"), v.Permitted, v.Denied, v.Reasons, v.Skipped)}
	for _, c := range v.Changes {
		now := "PERMIT  " + c.Reasons
		if !c.Permit {
			now = "DENY  " + strings.TrimSpace(c.Code+" "+c.Reasons)
		}
		lines = append(lines, fmt.Sprintf("now %s  was %s", now, c.Was.text()))
	}
	if more := v.Permitted + v.Denied - uint64(len(v.Changes)); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more, see --show", more))
	}
	return strings.Join(lines, "\n")
}
