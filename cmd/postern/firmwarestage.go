package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

func firmwareStageCommand() *cli.Command {
	return &cli.Command{
		Name: "stage", Usage: "begin a roll-out, go on with its next stage, or resume it", ArgsUsage: "LINE SEQUENCE",
		Description: `--stages begins the roll-out of an approved release. A stage is PERCENT of the
devices, chosen by a hash; +NAME=VALUE adds those with a label, @TIME lets the
next stage begin by itself after that time. Without --stages the next stage of the
present roll-out begins; a stopped one is resumed in its stage. Examples:

   postern firmware stage --key ops.key --stages 0+ring=canary@24h,10@24h,50,100 --stop-rate 20 --stop-count 50 cam 1
   postern firmware stage --key ops.key cam 1`,
		Flags: withConnect(firmwareFlag,
			&cli.StringFlag{Name: "stages", Usage: "the plan's `STAGES`"},
			&cli.UintFlag{Name: "stop-rate", Value: 50, Usage: "stop above so many errors of a `THOUSAND` confirmations"},
			&cli.UintFlag{Name: "stop-count", Value: 20, Usage: "not before so many `DEVICES` have spoken"}),
		Action: firmwareStage,
	}
}

func firmwareStage(c *cli.Context) error {
	stages, err := parseStages(c.String("stages"))
	if err != nil {
		return err
	}
	return onFirmware(c, 2, func(ctx context.Context, s *speaker, line string, sequence uint64) error {
		op, f := "roll", fields{"line": line, "sequence": sequence}
		if len(stages) > 0 {
			f["stages"], f["stop_rate"], f["stop_count"] = stages, c.Uint("stop-rate"), c.Uint("stop-count")
		} else if op, err = s.nextStage(ctx, line, sequence, f); err != nil {
			return err
		}
		res, err := s.call(ctx, op, f)
		if err != nil {
			return err
		}
		r, err := s.release(ctx, line, sequence)
		if err != nil {
			return err
		}
		return printer(c).show(res, "%s %d is %s, stage %s (block %d)", line, sequence, r.State, r.stage(), res.Height)
	})
}

// nextStage tells what goes on with a release as it is.
func (s *speaker) nextStage(ctx context.Context, line string, sequence uint64, f fields) (op string, err error) {
	r, err := s.release(ctx, line, sequence)
	switch {
	case err != nil:
		return "", err
	case r.State == "stopped":
		return "resume", nil
	case r.Stage == nil:
		return "", usagef("%s %d is %s: give its plan by --stages", line, sequence, r.State)
	}
	f["stage"] = *r.Stage + 1
	return "advance", nil
}

// parseStages reads PERCENT[+NAME=VALUE][@TIME], separated by commas.
func parseStages(text string) (stages []fields, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		rest, hold, held := strings.Cut(part, "@")
		number, label, labelled := strings.Cut(rest, "+")
		percent, err := strconv.ParseUint(number, 10, 8)
		if err != nil || percent > 100 {
			return nil, usagef("stage %q: %q is no percentage", part, number)
		}
		stage := fields{"percent": percent}
		if labelled {
			stage["label"] = label
		}
		if held {
			stage["hold"] = hold
		}
		stages = append(stages, stage)
	}
	return stages, nil
}

func (r *releaseOutput) stage() string {
	if r.Stage == nil {
		return "none"
	}
	return fmt.Sprint(*r.Stage)
}
