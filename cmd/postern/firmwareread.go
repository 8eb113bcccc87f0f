package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
)

// lineOutput is what a line is for and how far it has come.
type lineOutput struct {
	Vendor    hexBytes `json:"vendor"`
	Class     hexBytes `json:"class"`
	Component hexBytes `json:"component"`
	Keys      uint     `json:"key_quorum"`
	Makers    uint     `json:"maker_quorum"`
	Operators uint     `json:"operator_quorum"`
	Rolling   *uint64  `json:"rolling,omitempty"`
	Current   *uint64  `json:"current,omitempty"`
}

// releaseOutput is a release, as far as people look at it.
type releaseOutput struct {
	Manifest  hexBytes `json:"manifest"`
	Image     hexBytes `json:"image"`
	Size      uint64   `json:"size"`
	Version   string   `json:"version"`
	URI       string   `json:"uri,omitempty"`
	State     string   `json:"state"`
	Makers    uint     `json:"makers"`
	Operators uint     `json:"operators"`
	Stage     *uint64  `json:"stage,omitempty"`
	Reason    string   `json:"reason,omitempty"`
}

// is checks that a file is the release's image.
func (r *releaseOutput) is(file string) error {
	digest, size, err := imageOf(file)
	if err != nil {
		return err
	}
	if string(digest[:]) != string(r.Image) || size != r.Size {
		return fmt.Errorf("%s is not the release's image: SHA-256 %x, %d bytes; the release has %s, %d bytes", file, digest, size, r.Image, r.Size)
	}
	return nil
}

func (s *speaker) line(ctx context.Context, name string) (*lineOutput, error) {
	var l *lineOutput
	if _, err := s.ask(ctx, "line", fields{"line": name}, &l); err != nil {
		return nil, err
	}
	if l == nil {
		return nil, fmt.Errorf("line %s: %w", name, abi.CodeNotFound)
	}
	return l, nil
}

func (s *speaker) release(ctx context.Context, line string, sequence uint64) (*releaseOutput, error) {
	var r *releaseOutput
	if _, err := s.ask(ctx, "release", fields{"line": line, "sequence": sequence}, &r); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("release %d of %s: %w", sequence, line, abi.CodeNotFound)
	}
	return r, nil
}

// maxPage is how many entries a standard contract's list gives at once.
const maxPage = 64

func firmwareStatus(c *cli.Context) error {
	if c.NArg() == 2 {
		return onFirmware(c, 2, func(ctx context.Context, s *speaker, line string, sequence uint64) error {
			return s.showRelease(ctx, printer(c), line, sequence)
		})
	}
	if c.NArg() != 1 {
		return usagef("name a line")
	}
	return withSpeaker(c, "firmware", func(ctx context.Context, s *speaker) error {
		return s.showLine(ctx, printer(c), c.Args().First())
	})
}

type tallyOutput struct {
	Done   uint64 `json:"done"`
	Failed uint64 `json:"failed"`
}

func (s *speaker) showRelease(ctx context.Context, out output, line string, sequence uint64) error {
	var v struct {
		*releaseOutput
		Tally *tallyOutput `json:"tally,omitempty"`
	}
	var err error
	if v.releaseOutput, err = s.release(ctx, line, sequence); err != nil {
		return err
	}
	if _, err := s.ask(ctx, "tally", fields{"line": line, "sequence": sequence}, &v.Tally); err != nil {
		return err
	}
	said := tallyOutput{}
	if v.Tally != nil {
		said = *v.Tally
	}
	return out.show(v, "version   %s\nstate     %s %s\nimage     %s, %d bytes\nmanifest  %s\nfrom      %s\napproved  by %d makers, %d operators\nstage     %s\ndevices   %d run it, %d failed",
		v.Version, v.State, v.Reason, v.Image, v.Size, v.Manifest, v.URI, v.Makers, v.Operators, v.stage(), said.Done, said.Failed)
}

type releaseRow struct {
	Sequence uint64        `json:"sequence"`
	Release  releaseOutput `json:"release"`
}

func (s *speaker) showLine(ctx context.Context, out output, line string) error {
	l, err := s.line(ctx, line)
	if err != nil {
		return err
	}
	rows := []releaseRow{}
	var lines []string
	for {
		f := fields{"line": line, "limit": maxPage}
		if len(rows) > 0 {
			f["after"] = rows[len(rows)-1].Sequence
		}
		var page []releaseRow
		if _, err := s.ask(ctx, "releases", f, &page); err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		rows = append(rows, page...)
	}
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%d+%d\t%s\t%s", r.Sequence, r.Release.Version, r.Release.State, r.Release.Makers, r.Release.Operators, r.Release.stage(), r.Release.Image))
	}
	v := struct {
		*lineOutput
		Releases []releaseRow `json:"releases"`
	}{l, rows}
	return out.table(v, "SEQUENCE\tVERSION\tSTATE\tAPPROVED\tSTAGE\tIMAGE", lines)
}

func firmwareHistory(c *cli.Context) error {
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		s, err := speakerOf(cl, "firmware", c.String("contract"))
		if err != nil {
			return err
		}
		rows, err := s.history(ctx, id)
		if err != nil {
			return err
		}
		var lines []string
		for _, r := range rows {
			e := r.Entry
			lines = append(lines, fmt.Sprintf("%s\t%s\t%d\t%d\t%s", e.At.Format(time.RFC3339), e.Line, e.Sequence, e.Result, e.Image))
		}
		return printer(c).table(rows, "AT\tLINE\tSEQUENCE\tRESULT\tIMAGE", lines)
	})
}

type historyRow struct {
	Number uint64 `json:"number"`
	Entry  struct {
		Line     string    `json:"line"`
		Sequence uint64    `json:"sequence"`
		Image    hexBytes  `json:"image"`
		Result   uint16    `json:"result"`
		At       time.Time `json:"at"`
	} `json:"entry"`
}

func (s *speaker) history(ctx context.Context, device abi.Hash) ([]historyRow, error) {
	rows := []historyRow{}
	for {
		f := fields{"device": hexOf(device), "limit": maxPage}
		if len(rows) > 0 {
			f["after"] = rows[len(rows)-1].Number
		}
		var page []historyRow
		if _, err := s.ask(ctx, "history", f, &page); err != nil || len(page) == 0 {
			return rows, err
		}
		rows = append(rows, page...)
	}
}

func firmwareAsk(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a line and a device")
	}
	device, err := nameOf(c.Args().Get(1))
	if err != nil {
		return err
	}
	return withSpeaker(c, "firmware", func(ctx context.Context, s *speaker) error {
		id, err := device.account(ctx, s.cl)
		if err != nil {
			return err
		}
		f := fields{"line": c.Args().First(), "device": hexOf(id)}
		if c.IsSet("have") {
			f["have"] = c.Uint64("have")
		}
		var next nextOutput
		raw, err := s.ask(ctx, "next", f, &next)
		if err != nil {
			return err
		}
		return printer(c).show(raw, "%s", next.words())
	})
}

type nextOutput struct {
	Sequence uint64         `json:"sequence"`
	Release  *releaseOutput `json:"release"`
	Needs    *struct {
		Line     string `json:"line"`
		Sequence uint64 `json:"sequence"`
	} `json:"needs"`
	Revoked bool `json:"revoked"`
}

func (n *nextOutput) words() string {
	text := "nothing to install"
	if n.Release != nil {
		text = fmt.Sprintf("install %d, version %s\nimage  %s, %d bytes\nfrom   %s", n.Sequence, n.Release.Version, n.Release.Image, n.Release.Size, n.Release.URI)
	}
	if n.Needs != nil {
		text += fmt.Sprintf("\na newer release waits for at least %d of %s", n.Needs.Sequence, n.Needs.Line)
	}
	if n.Revoked {
		text += "\nwhat the device has was REVOKED"
	}
	return text
}

// firmwareVerify finds the release that a file is, and reads both entries, that
// of the image and that of the release, with their proofs.
func firmwareVerify(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the image's file")
	}
	if err := require(c, "line"); err != nil {
		return err
	}
	line, file := c.String("line"), c.Args().First()
	digest, _, err := imageOf(file)
	if err != nil {
		return err
	}
	return withSpeaker(c, "firmware", func(ctx context.Context, s *speaker) error {
		var sequence uint64
		if _, err := s.proved(ctx, lineKey("image/", line, digest[:]), fmt.Sprintf("an image %x of %s", digest, line), "uint", &sequence); err != nil {
			return err
		}
		var r releaseOutput
		key := lineKey("release/", line, binary.BigEndian.AppendUint64(nil, sequence))
		height, err := s.proved(ctx, key, "the release", "Release", &r)
		if err != nil {
			return err
		}
		if err := r.is(file); err != nil {
			return err
		}
		if r.State == "revoked" || r.State == "withdrawn" || r.State == "proposed" {
			return fmt.Errorf("%s is release %d, version %s, which is %s %s", file, sequence, r.Version, r.State, r.Reason)
		}
		v := struct {
			Sequence uint64 `json:"sequence"`
			*releaseOutput
			Height uint64 `json:"proved_height"`
		}{sequence, &r, height}
		return printer(c).show(v, "%s is release %d of %s, version %s, %s (proved at height %d)", file, sequence, line, r.Version, r.State, height)
	})
}

// lineKey is a state key of a map that is ordered by line: a text within a key
// ends with two zeros.
func lineKey(prefix, line string, rest []byte) []byte {
	return append(append([]byte(prefix+line), 0, 0), rest...)
}

func firmwareConfirm(c *cli.Context) error {
	return onFirmware(c, 3, func(ctx context.Context, s *speaker, line string, sequence uint64) error {
		digest, _, err := imageOf(c.Args().Get(2))
		if err != nil {
			return err
		}
		res, err := s.call(ctx, "confirm", fields{"line": line, "sequence": sequence, "image": hexOf(digest), "result": c.Uint("error")})
		if err != nil {
			return err
		}
		return printer(c).show(res, "the ledger knows (block %d)", res.Height)
	})
}
