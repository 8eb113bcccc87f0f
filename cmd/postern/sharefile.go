package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/sharing"
)

var datasetFlag = &cli.StringFlag{Name: "dataset", Usage: "the data set's `NAME`"}

// sealedSuffix is what an encrypted file's name ends with, unless another is given.
const sealedSuffix = ".sealed"

func shareSealCommand() *cli.Command {
	return &cli.Command{
		Name: "seal", Usage: "encrypt a file by the newest key of a data set in this home, without a node", ArgsUsage: "FILE",
		Description: `The SHA-256 that it tells is the content's, or a record's, on the ledger. Example:

   postern share seal --dataset record-7 --out record.sealed record.pdf`,
		Flags: withConnect(shareFlag, datasetFlag, &cli.StringFlag{Name: "out", Usage: "the encrypted `FILE` (default: FILE" + sealedSuffix + ")"}),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("name one file")
			}
			if err := require(c, "dataset"); err != nil {
				return err
			}
			return shareSeal(c)
		},
	}
}

type sealOutput struct {
	File   string   `json:"file"`
	Epoch  uint32   `json:"epoch"`
	SHA256 hexBytes `json:"sha256,omitempty"`
}

func shareSeal(c *cli.Context) error {
	light, err := trusting(c)
	if err != nil {
		return err
	}
	set := sharing.Set{Chain: light.Chain(), Contract: c.String("contract"), Name: c.String("dataset")}
	k, err := newestKey(ringOf(c), set)
	if err != nil {
		return err
	}
	v := sealOutput{File: c.String("out"), Epoch: k.Epoch}
	if v.File == "" {
		v.File = c.Args().First() + sealedSuffix
	}
	var digest abi.Hash
	err = through(c.Args().First(), v.File, 0o644, func(w io.Writer, r io.Reader) (err error) {
		digest, err = k.Seal(w, r)
		return err
	})
	if err != nil {
		return err
	}
	v.SHA256 = hexOf(digest)
	return printer(c).show(v, "%s is encrypted by key %d\nsha256  %s", v.File, v.Epoch, v.SHA256)
}

func newestKey(ring sharing.Ring, set sharing.Set) (*sharing.Key, error) {
	epochs, err := ring.Epochs(set)
	if err != nil {
		return nil, err
	}
	if len(epochs) == 0 {
		return nil, fmt.Errorf("this home has no key of data set %s: %w", set.Name, abi.CodeNotFound)
	}
	return ring.Load(set, epochs[len(epochs)-1])
}

// through writes a new file from another. What fails leaves none.
func through(from, to string, mode os.FileMode, do func(w io.Writer, r io.Reader) error) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	err = do(w, r)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", from, err), os.Remove(to))
	}
	return nil
}

func shareOpenCommand() *cli.Command {
	return &cli.Command{
		Name: "open", Usage: "decrypt a file: as its grantee with --grant, or by a key of this home with --dataset", ArgsUsage: "FILE",
		Description: `A grantee's wrapped key is read from the ledger and opened by --key. It is no read in
the contract's sense: that is postern share read. Examples:

   postern share open --key study.key --grant 17 --out record.pdf record.sealed
   postern share open --dataset record-7 --out record.pdf record.sealed`,
		Flags: withConnect(shareFlag, datasetFlag,
			&cli.Uint64Flag{Name: "grant", Usage: "the grant's `NUMBER`"},
			&cli.StringFlag{Name: "out", Usage: "the new `FILE` (required)"}),
		Action: shareOpen,
	}
}

func shareOpen(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one file")
	}
	if err := require(c, "out"); err != nil {
		return err
	}
	if (c.String("dataset") == "") == !c.IsSet("grant") {
		return usagef("name a grant with --grant, or a data set of your own with --dataset")
	}
	k, err := openingKey(c, c.Args().First())
	if err != nil {
		return err
	}
	v := sealOutput{File: c.String("out"), Epoch: k.Epoch}
	err = through(c.Args().First(), v.File, 0o600, k.Open)
	if errors.Is(err, sharing.ErrFile) {
		err = fmt.Errorf("%w: %w", err, abi.CodeNotPermitted)
	}
	if err != nil {
		return err
	}
	return printer(c).show(v, "%s is decrypted by key %d", v.File, v.Epoch)
}

// openingKey is the key that a file says it is encrypted by.
func openingKey(c *cli.Context, path string) (k *sharing.Key, err error) {
	if c.IsSet("grant") {
		err = onSharing(c, func(s *sharer) error {
			k, err = s.unwrap(c.Uint64("grant"))
			return err
		})
		return k, err
	}
	light, err := trusting(c)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	epoch, err := sharing.EpochOf(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ringOf(c).Load(sharing.Set{Chain: light.Chain(), Contract: c.String("contract"), Name: c.String("dataset")}, epoch)
}

// unwrap is the key that is wrapped to the command's key by a grant.
func (s *sharer) unwrap(grant uint64) (*sharing.Key, error) {
	var g grantView
	if err := s.ask("grant", map[string]any{"grant": grant}, &g); err != nil {
		return nil, err
	}
	var w *struct {
		Epoch   uint32   `json:"epoch"`
		Wrapped hexBytes `json:"wrapped"`
	}
	if err := s.ask("wrapped", map[string]any{"grant": grant}, &w); err != nil {
		return nil, err
	}
	if w == nil {
		return nil, fmt.Errorf("the key of grant %d was deleted: %w", grant, abi.CodeNotFound)
	}
	private, err := s.key.Agreement()
	if err != nil {
		return nil, err
	}
	return sharing.Unwrap(private, s.set(g.Grant.Dataset), w.Epoch, w.Wrapped)
}

func shareReadCommand() *cli.Command {
	return &cli.Command{
		Name: "read", Usage: "read by a transaction, which is counted and told to all", ArgsUsage: "GRANT",
		Description: example("postern share read --key study.key --purpose research --field pulse --record 5b0e… 17"),
		Flags: withConnect(shareFlag, fieldFlag,
			&cli.StringFlag{Name: "purpose", Usage: "the `PURPOSE`"},
			&cli.StringFlag{Name: "record", Usage: "SHA-256 in `HEX` of what is read"}),
		Action: func(c *cli.Context) error {
			grant, err := numberOf(c.Args().First(), "grant")
			if err != nil {
				return err
			}
			fields := map[string]any{"grant": grant, "purpose": c.String("purpose"), "fields": append([]string{}, c.StringSlice("field")...)}
			if record := c.String("record"); record != "" {
				fields["record"] = record
			}
			return onSharing(c, func(s *sharer) error {
				res, err := s.call("read", fields)
				if err != nil {
					return err
				}
				return s.done(&res)
			})
		},
	}
}
