package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
)

// enrolmentFile is a device's word that it belongs to an owner, as it goes from
// the device to the owner. Nothing in it is secret.
type enrolmentFile struct {
	Chain     hexBytes  `json:"chain"`
	Device    string    `json:"device"` // did:key
	Owner     hexBytes  `json:"owner"`
	Expires   time.Time `json:"expires"`
	Statement []byte    `json:"statement"`
}

func deviceStatementCommand() *cli.Command {
	return &cli.Command{
		Name: "statement", Usage: "sign, on the device itself, that it belongs to an owner, who then enrols it", ArgsUsage: "DEVICE-KEY-FILE",
		Description: `So a device's key never leaves it. It needs the trust bundle, but no node, and
prints JSON in which nothing is secret. The key file is made if it is not there.

Example:

   postern device statement --owner did:key:z6Mk… --manufacturer Acme --model D1 --serial 0042 device.key > front-door.json`,
		Flags: append([]cli.Flag{
			homeFlag, jsonFlag,
			&cli.StringFlag{Name: "bundle", Aliases: []string{"trust"}, Usage: "the chain's trust bundle `FILE` (default: bundle.json in --home)"},
			&cli.StringFlag{Name: "owner", Usage: "`ACCOUNT-ID|DID|KEY-FILE` of the owner (required)"},
			&cli.DurationFlag{Name: "life", Usage: "how long the owner has to enrol it", Value: statementLife},
		}, identityFlags...),
		Action: deviceStatement,
	}
}

func deviceStatement(c *cli.Context) error {
	if err := require(c, "owner", "manufacturer", "model", "serial"); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usagef("name the device's key file")
	}
	bundle, err := readBundle(bundlePath(c))
	if err != nil {
		return err
	}
	e := enrolment{}
	e.takeIdentity(c)
	if e.Owner, err = accountID(c.String("owner")); err != nil {
		return err
	}
	k, err := loadOrMakeKey(c.Args().First())
	if err != nil {
		return err
	}
	of, life := bundle.Chain(), c.Duration("life")
	raw, err := e.sign(of, k, life)
	if err != nil {
		return err
	}
	return printFile(c, enrolmentFile{of[:], k.DID(), e.Owner[:], time.Now().Add(life).UTC().Truncate(time.Second), raw})
}

// printFile prints what goes from one person to another as a file of JSON.
func printFile(c *cli.Context, v any) error {
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// maxHandedFile bounds the files that one person hands to another, in bytes.
const maxHandedFile = 64 << 10

// readHandedFile reads such a file.
func readHandedFile(path string, v any) error {
	text, err := readBounded(path, maxHandedFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readBounded reads a file of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is longer than %d bytes: %w", path, most, abi.CodeTooLarge)
	}
	return text, err
}
