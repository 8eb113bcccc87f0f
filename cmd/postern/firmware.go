package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
)

// firmwareContract is the firmware contract's name unless another is given.
const firmwareContract = "firmware"

var (
	firmwareFlag   = &cli.StringFlag{Name: "contract", Value: firmwareContract, Usage: "`NAME` of the firmware contract"}
	firmwareReason = &cli.StringFlag{Name: "reason", Usage: "why, in at most 64 letters of ASCII"}
)

func firmwareCommand() *cli.Command {
	return &cli.Command{
		Name:  "firmware",
		Usage: "releases of firmware: publish, approve, roll out, verify",
		Description: `Makers publish images by SUIT manifests that they signed, makers and operators
approve them, operators roll them out stage by stage, devices ask, verify and
confirm. Deploy the contract first, and say who makes what; its README has an
example from the beginning:

   postern contract deploy --name firmware firmware`,
		Subcommands: []*cli.Command{
			firmwarePublishCommand(),
			{
				Name: "approve", Usage: "approve a release, as its maker or operator", ArgsUsage: "LINE SEQUENCE",
				Description: "With --image the approval is given only if that file is the release's image.\nExample:\n\n   postern firmware approve --key ops.key --image cam-1.0.bin cam 1",
				Flags:       withConnect(firmwareFlag, &cli.StringFlag{Name: "image", Usage: "`FILE` that the release must be"}), Action: firmwareApprove,
			},
			firmwareStageCommand(),
			{
				Name: "stop", Usage: "stop a roll-out: no further device is offered the release", ArgsUsage: "LINE SEQUENCE",
				Description: example(`postern firmware stop --key ops.key --reason "cameras restart" cam 1`),
				Flags:       withConnect(firmwareFlag, firmwareReason), Action: firmwareEnd("stop"),
			},
			{
				Name: "revoke", Usage: "end a release for ever, at once; its image never comes back", ArgsUsage: "LINE SEQUENCE",
				Description: example(`postern firmware revoke --key ops.key --reason "bricks cameras" cam 1`),
				Flags:       withConnect(firmwareFlag, firmwareReason), Action: firmwareEnd("revoke"),
			},
			{
				Name: "status", Usage: "show a line and its releases, or one of them", ArgsUsage: "LINE [SEQUENCE]",
				Description: example("postern firmware status cam"), Flags: withConnect(firmwareFlag), Action: firmwareStatus,
			},
			{
				Name: "history", Usage: "show what a device said of releases", ArgsUsage: deviceArgument,
				Description: example("postern firmware history cam1.key"), Flags: withConnect(firmwareFlag), Action: firmwareHistory,
			},
			{
				Name: "ask", Usage: "ask what a device is to install next (unproven; see verify)", ArgsUsage: "LINE " + deviceArgument,
				Description: example("postern firmware ask cam cam1.key"),
				Flags:       withConnect(firmwareFlag, &cli.Uint64Flag{Name: "have", Usage: "sequence `NUMBER` that the device has, where the ledger does not know"}), Action: firmwareAsk,
			},
			{
				Name: "verify", Usage: "check a downloaded image against the ledger, with its proof", ArgsUsage: "FILE",
				Description: `Digest, size and state of the release that the file is are read with a proof, which
is checked against the trust bundle: the node that answers cannot lie. An image
that is unknown, withdrawn or revoked is refused. Example:

   postern firmware verify --line cam cam-1.0.bin`,
				Flags: withConnect(firmwareFlag, &cli.StringFlag{Name: "line", Usage: "`LINE` that the image is for"}), Action: firmwareVerify,
			},
			{
				Name: "confirm", Usage: "say, as a device, that a release runs, or why not", ArgsUsage: "LINE SEQUENCE FILE",
				Description: "FILE is the image that was installed. Example:\n\n   postern firmware confirm --key cam1.key cam 1 cam-1.0.bin",
				Flags:       withConnect(firmwareFlag, &cli.UintFlag{Name: "error", Usage: "the device's own `CODE` of what went wrong"}), Action: firmwareConfirm,
			},
		},
	}
}

// onFirmware connects and calls do with the contract, and with the line and
// sequence number that stand first among the arguments.
func onFirmware(c *cli.Context, arguments int, do func(ctx context.Context, s *speaker, line string, sequence uint64) error) error {
	if c.NArg() != arguments {
		return usagef("name a line and a sequence number; see %s --help", c.Command.HelpName)
	}
	sequence, err := parseSequence(c.Args().Get(1))
	if err != nil {
		return err
	}
	return withSpeaker(c, "firmware", func(ctx context.Context, s *speaker) error { return do(ctx, s, c.Args().First(), sequence) })
}

func withSpeaker(c *cli.Context, standard string, do func(ctx context.Context, s *speaker) error) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		s, err := speakerOf(cl, standard, c.String("contract"))
		if err != nil {
			return err
		}
		return do(ctx, s)
	})
}

func parseSequence(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, usagef("%q is no sequence number", text)
	}
	return n, nil
}

// imageOf is a file's digest and size.
func imageOf(file string) (digest abi.Hash, size uint64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return digest, 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return digest, 0, fmt.Errorf("reading %s: %w", file, err)
	}
	h.Sum(digest[:0])
	return digest, uint64(n), nil
}

func firmwareApprove(c *cli.Context) error {
	return onFirmware(c, 2, func(ctx context.Context, s *speaker, line string, sequence uint64) error {
		r, err := s.release(ctx, line, sequence)
		if err != nil {
			return err
		}
		if file := c.String("image"); file != "" {
			if err := r.is(file); err != nil {
				return err
			}
		}
		res, err := s.call(ctx, "approve", fields{"line": line, "sequence": sequence, "manifest": r.Manifest})
		if err != nil {
			return err
		}
		return printer(c).show(res, "%s %d (version %s) is approved by you (block %d)", line, sequence, r.Version, res.Height)
	})
}

// firmwareEnd stops or revokes a release.
func firmwareEnd(op string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := require(c, "reason"); err != nil {
			return err
		}
		return onFirmware(c, 2, func(ctx context.Context, s *speaker, line string, sequence uint64) error {
			res, err := s.call(ctx, op, fields{"line": line, "sequence": sequence, "reason": c.String("reason")})
			if err != nil {
				return err
			}
			word := map[string]string{"stop": "stopped", "revoke": "revoked"}[op]
			return printer(c).show(res, "%s %d is %s (block %d)", line, sequence, word, res.Height)
		})
	}
}
