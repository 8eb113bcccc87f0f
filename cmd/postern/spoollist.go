package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/runtime/spool"
)

// spoolDir holds, in the home, what devices handed in while the node was cut off.
const spoolDir = "spool"

func spoolCommand() *cli.Command {
	return &cli.Command{
		Name: "spool", Usage: "what devices handed in while the node was cut off",
		Subcommands: []*cli.Command{{
			Name: "refused", Usage: "list what was kept and then refused, oldest first",
			Description: `A device that hands in a transaction while its gateway is cut off hears that it is
kept. If the chain refuses it later, only the gateway knows: here stands whose it
was, and why. The newest 256 are kept. It works beside a running node.

Example:

   postern spool refused --home /var/lib/postern`,
			Flags:  []cli.Flag{homeFlag, jsonFlag},
			Action: spoolRefused,
		}},
	}
}

type refusalOutput struct {
	ID       hexBytes  `json:"id"`
	Sender   hexBytes  `json:"sender"`
	Lane     uint64    `json:"lane"`
	Sequence uint64    `json:"sequence"`
	Code     string    `json:"code"`
	Height   uint64    `json:"height,omitempty"` // of the block that has it
	Since    time.Time `json:"since"`
}

func spoolRefused(c *cli.Context) error {
	h := home(c.String("home"))
	if _, err := h.config(); err != nil {
		return err
	}
	list, err := spool.ReadRefusals(h.path(spoolDir))
	if err != nil {
		return err
	}
	rows, lines := []refusalOutput{}, []string{}
	for _, r := range list {
		v := refusalOutput{hexOf(r.ID), hexOf(r.Sender), r.Lane, r.Sequence, r.Code.Name(), r.Height, r.Time.UTC()}
		rows = append(rows, v)
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%d\t%d\t%s", v.Since.Format(time.RFC3339), v.Code, v.Sender, v.Lane, v.Sequence, v.ID))
	}
	return printer(c).table(rows, "SINCE\tCODE\tSENDER\tLANE\tSEQUENCE\tTRANSACTION", lines)
}
