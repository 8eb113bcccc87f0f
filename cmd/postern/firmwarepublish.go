package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/firmware"
	"github.com/seed79541315/postern/sdk/key"
)

func firmwarePublishCommand() *cli.Command {
	return &cli.Command{
		Name: "publish", Usage: "propose a release of an image, as its maker", ArgsUsage: "LINE IMAGE",
		Description: `The image stays where it is: the ledger gets its digest, size and SUIT manifest,
which the line's signing keys sign here. Or --manifest names an envelope that was
signed elsewhere, and --signer the keys of its signatures in their order.
Examples:

   postern firmware publish --key acme.key --signing-key release.key --sequence 1 --release 1.0 --uri https://acme.example/cam-1.0.bin cam cam-1.0.bin
   postern firmware publish --key acme.key --manifest cam-1.0.suit --signer 02ab… --release 1.0 cam cam-1.0.bin`,
		Flags: withConnect(firmwareFlag,
			&cli.StringFlag{Name: "release", Usage: "the release's `VERSION` for people"},
			&cli.Uint64Flag{Name: "sequence", Usage: "its `NUMBER`, above all that were rolled out"},
			&cli.StringFlag{Name: "uri", Usage: "where devices get the image"},
			&cli.StringSliceFlag{Name: "signing-key", Usage: "key `FILE` of the line's that signs the manifest; several times for several"},
			&cli.StringFlag{Name: "manifest", Usage: "SUIT envelope `FILE` that was signed elsewhere"},
			&cli.StringSliceFlag{Name: "signer", Usage: "public key in `HEX` of a signature in --manifest"},
			&cli.StringSliceFlag{Name: "needs", Usage: "`LINE=SEQUENCE` that a device must have before"},
			&cli.StringFlag{Name: "out", Usage: "`FILE` to which the signed envelope is written as well"}),
		Action: firmwarePublish,
	}
}

func firmwarePublish(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a line and its image; see %s --help", c.Command.HelpName)
	}
	if err := require(c, "release"); err != nil {
		return err
	}
	needs, err := parseNeeds(c.StringSlice("needs"))
	if err != nil {
		return err
	}
	line, file := c.Args().Get(0), c.Args().Get(1)
	return withSpeaker(c, "firmware", func(ctx context.Context, s *speaker) error {
		envelope, keys, err := s.envelope(ctx, c, line, file)
		if err != nil {
			return err
		}
		f := fields{"line": line, "envelope": hex.EncodeToString(envelope), "keys": keys, "version": c.String("release"), "needs": needs}
		if uri := c.String("uri"); uri != "" {
			f["uri"] = uri
		}
		res, err := s.call(ctx, "propose", f)
		if err != nil {
			return err
		}
		return printer(c).show(res, "version %s of %s is proposed (block %d)%s", c.String("release"), line, res.Height, effectText(&res, "result  ", "event   "))
	})
}

// envelope signs an image's manifest, or reads one that was signed elsewhere.
func (s *speaker) envelope(ctx context.Context, c *cli.Context, line, file string) (envelope []byte, keys []string, err error) {
	if named := c.String("manifest"); named != "" {
		envelope, err = os.ReadFile(named)
		return envelope, c.StringSlice("signer"), err
	}
	if err := require(c, "sequence"); err != nil {
		return nil, nil, err
	}
	m, err := s.manifest(ctx, line, file)
	if err != nil {
		return nil, nil, err
	}
	m.Sequence, m.URI = c.Uint64("sequence"), c.String("uri")
	var signers []firmware.Signer
	for _, path := range c.StringSlice("signing-key") {
		k, err := key.Load(path)
		if err != nil {
			return nil, nil, err
		}
		signers, keys = append(signers, k), append(keys, hex.EncodeToString(k.Public()))
	}
	if envelope, _, err = firmware.Sign(m, signers...); err != nil {
		return nil, nil, usagef("%v; name the line's keys by --signing-key", err)
	}
	if out := c.String("out"); out != "" {
		err = os.WriteFile(out, envelope, 0o644)
	}
	return envelope, keys, err
}

// manifest describes an image of a line.
func (s *speaker) manifest(ctx context.Context, line, file string) (*firmware.Manifest, error) {
	l, err := s.line(ctx, line)
	if err != nil {
		return nil, err
	}
	if len(l.Vendor) != 16 || len(l.Class) != 16 {
		return nil, fmt.Errorf("%w: the line's vendor and class", abi.CodeMalformed)
	}
	m := &firmware.Manifest{Vendor: [16]byte(l.Vendor), Class: [16]byte(l.Class)}
	r := cbor.NewReader(l.Component)
	for range r.Array() {
		m.Component = append(m.Component, r.Bytes())
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("the line's component: %w", err)
	}
	m.Image, m.Size, err = imageOf(file)
	return m, err
}

// parseNeeds reads LINE=SEQUENCE.
func parseNeeds(list []string) ([]fields, error) {
	needs := []fields{}
	for _, text := range list {
		line, number, ok := strings.Cut(text, "=")
		sequence, err := parseSequence(number)
		if !ok || err != nil {
			return nil, usagef("--needs %q is not LINE=SEQUENCE", text)
		}
		needs = append(needs, fields{"line": line, "sequence": sequence})
	}
	return needs, nil
}
