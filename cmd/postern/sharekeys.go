package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/contracts/sharing"
	"github.com/seed79541315/postern/sdk/key"
)

var custodianFlag = &cli.StringFlag{Name: "custodian", Usage: "key `FILE` of the custodian, who signs statements of destruction (default: --key)"}

func shareCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a data set, and its first key", ArgsUsage: "NAME",
		Description: example("postern share create --key hospital.key --kind health-record --field pulse --field notes --subject pat.key record-7"),
		Flags: withConnect(shareFlag, fieldFlag, custodianFlag,
			&cli.StringFlag{Name: "kind", Value: "data", Usage: "what it is, a short `CODE`"},
			&cli.StringFlag{Name: "subject", Usage: "the `ACCOUNT` whom the data concern: grants need its consent"},
			&cli.BoolFlag{Name: "logged", Usage: "each read is a transaction"}),
		Action: shareCreate,
	}
}

func shareCreate(c *cli.Context) error {
	name := c.Args().First()
	if name == "" {
		return usagef("name the data set")
	}
	return onSharing(c, func(s *sharer) error {
		custodian, err := custodianKey(c, s.key)
		if err != nil {
			return err
		}
		fields := map[string]any{
			"dataset": name, "kind": c.String("kind"), "fields": append([]string{}, c.StringSlice("field")...),
			"custodian": hexBytes(custodian.Public()), "logged": c.Bool("logged"),
		}
		if subject := c.String("subject"); subject != "" {
			id, err := accountID(subject)
			if err != nil {
				return err
			}
			fields["subject"] = hexOf(id)
		}
		if _, err := keyOfEpoch(ringOf(c), s.set(name), 1); err != nil {
			return err
		}
		res, err := s.call("create", fields)
		if err != nil {
			return err
		}
		return s.done(&res)
	})
}

// custodianKey is the key that --custodian names, or the command's own.
func custodianKey(c *cli.Context, own *key.Key) (*key.Key, error) {
	if path := c.String("custodian"); path != "" {
		return key.Load(path)
	}
	return own, nil
}

// keyOfEpoch makes the key of an epoch and keeps it, or takes the one that an
// earlier try left: it comes into use when the ledger says so.
func keyOfEpoch(ring sharing.Ring, set sharing.Set, epoch uint32) (*sharing.Key, error) {
	k, err := ring.Load(set, epoch)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = sharing.NewKey(set, epoch)
	return k, ring.Keep(k)
}

func shareGrantCommand() *cli.Command {
	return &cli.Command{
		Name: "grant", Usage: "let an account read, and wrap the data key to it", ArgsUsage: "NAME ACCOUNT",
		Description: example("postern share grant --key hospital.key --purpose research --field pulse --until 720h --rate 10/1h record-7 study.key"),
		Flags: withConnect(shareFlag, purposeFlag, fieldFlag, untilFlag, rateFlag,
			&cli.StringFlag{Name: "from", Usage: "from a `TIME` on (RFC 3339), or so much later, such as 24h"},
			&cli.BoolFlag{Name: "logged", Usage: "each read is a transaction"}),
		Action: shareGrant,
	}
}

func shareGrant(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name the data set and the account")
	}
	if err := require(c, "until"); err != nil {
		return err
	}
	grantee, err := accountID(c.Args().Get(1))
	if err != nil {
		return err
	}
	return onSharing(c, func(s *sharer) error {
		name := c.Args().First()
		d, err := s.dataset(name)
		if err != nil {
			return err
		}
		wrapped, err := s.wrap(ringOf(c), name, d.Epoch, grantee)
		if err != nil {
			return err
		}
		fields := map[string]any{
			"dataset": name, "grantee": hexOf(grantee), "purposes": append([]string{}, c.StringSlice("purpose")...),
			"fields": append([]string{}, c.StringSlice("field")...), "until": timeText(c.String("until")),
			"epoch": d.Epoch, "wrapped": hexBytes(wrapped), "logged": c.Bool("logged"),
		}
		if from := c.String("from"); from != "" {
			fields["from"] = timeText(from)
		}
		if err := rateFields(c, fields); err != nil {
			return err
		}
		res, err := s.call("grant", fields)
		if err != nil {
			return err
		}
		return s.done(&res)
	})
}

// wrap wraps the data key of an epoch to an account, whose key is read with its
// proof: nobody else is to read by it.
func (s *sharer) wrap(ring sharing.Ring, name string, epoch uint32, grantee abi.Hash) ([]byte, error) {
	k, err := ring.Load(s.set(name), epoch)
	if err != nil {
		return nil, err
	}
	raw, _, err := getProved(s.ctx, s.cl, chain.AccountKey(grantee), "account "+hexOf(grantee).String())
	if err != nil {
		return nil, err
	}
	account, err := chain.ParseAccount(raw)
	if err != nil {
		return nil, err
	}
	to, err := sealed.Key(&account)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", hexOf(grantee), err)
	}
	return k.Wrap(to)
}

func shareRotateCommand() *cli.Command {
	return &cli.Command{
		Name: "rotate", Usage: "make a new data key, and wrap it to all grantees whose grants stand", ArgsUsage: "NAME",
		Description: `Grants that are over, or whose consent was withdrawn, are ended. Where it was broken
off, the same command goes on. Then encrypt the content anew with postern share
seal: the new key opens nothing older. Example:

   postern share rotate --key hospital.key record-7`,
		Flags: withConnect(shareFlag), Action: shareRotate,
	}
}

type rotateOutput struct {
	Dataset string `json:"dataset"`
	Epoch   uint32 `json:"epoch"`
	Wrapped int    `json:"wrapped"`
	Ended   int    `json:"ended"`
}

func shareRotate(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the data set")
	}
	name := c.Args().First()
	return onSharing(c, func(s *sharer) error {
		d, err := s.dataset(name)
		if err != nil {
			return err
		}
		v := rotateOutput{Dataset: name, Epoch: d.Epoch}
		if d.State != "active" || d.RotateBy == nil {
			v.Epoch++
			if _, err := keyOfEpoch(ringOf(c), s.set(name), v.Epoch); err != nil {
				return err
			}
			if _, err := s.call("rotate", map[string]any{"dataset": name, "epoch": v.Epoch}); err != nil {
				return err
			}
		}
		if err := s.rewrapAll(ringOf(c), &v); err != nil {
			return err
		}
		return s.out.show(v, "%s has key %d, wrapped to %d grantees; %d grants ended", name, v.Epoch, v.Wrapped, v.Ended)
	})
}

// rewrapped is a grant with its new key, or without one when it ends.
type rewrapped struct {
	Grant   uint64    `json:"grant"`
	Wrapped *hexBytes `json:"wrapped,omitempty"`
}

// rewrapPage is how many keys one transaction takes.
const rewrapPage = 16

func (s *sharer) rewrapAll(ring sharing.Ring, v *rotateOutput) error {
	for {
		var lines []struct {
			Grant uint64 `json:"grant"`
			Epoch uint32 `json:"epoch"`
		}
		if err := s.ask("grants", map[string]any{"dataset": v.Dataset, "limit": rewrapPage}, &lines); err != nil {
			return err
		}
		var keys []rewrapped
		for _, line := range lines {
			if line.Epoch == v.Epoch {
				break // the oldest come first
			}
			k, err := s.rewrap(ring, v, line.Grant)
			if err != nil {
				return err
			}
			keys = append(keys, k)
		}
		if len(keys) == 0 {
			return nil
		}
		if _, err := s.call("rewrap", map[string]any{"dataset": v.Dataset, "epoch": v.Epoch, "keys": keys}); err != nil {
			return err
		}
		for _, k := range keys {
			if k.Wrapped != nil {
				v.Wrapped++
			} else {
				v.Ended++
			}
		}
	}
}

// grantView is what the contract tells of a grant.
type grantView struct {
	Grant struct {
		Dataset string   `json:"dataset"`
		Grantee hexBytes `json:"grantee"`
		Epoch   uint32   `json:"epoch"`
	} `json:"grant"`
	Refused uint16  `json:"refused"`
	Reads   uint64  `json:"reads"`
	Left    *uint32 `json:"left"`
}

// void says whether a grant is over or its consent gone.
func (s *sharer) void(g *grantView) bool {
	switch s.names.Codes[g.Refused].Name {
	case "expired", "ended", "no-consent":
		return true
	}
	return false
}

func (s *sharer) rewrap(ring sharing.Ring, v *rotateOutput, grant uint64) (rewrapped, error) {
	var g grantView
	if err := s.ask("grant", map[string]any{"grant": grant}, &g); err != nil {
		return rewrapped{}, err
	}
	if s.void(&g) {
		return rewrapped{Grant: grant}, nil
	}
	wrapped, err := s.wrap(ring, v.Dataset, v.Epoch, abi.Hash(g.Grant.Grantee))
	return rewrapped{grant, (*hexBytes)(&wrapped)}, err
}

func shareEraseCommand() *cli.Command {
	return &cli.Command{
		Name: "erase", Usage: "destroy a data set's keys in this home, and publish the signed statement of it", ArgsUsage: "NAME",
		Description: `The keys in --home are overwritten and deleted, then the custodian's key signs that
they are destroyed, and the contract ends all grants. On flash, and on file systems
that copy on write, overwriting does not reach the old bytes, and copies of the
home (backups) have keys of their own: destroy those first. What grantees read
they have. There is no way back. Example:

   postern share erase --key hospital.key --custodian custodian.key record-7`,
		Flags: withConnect(shareFlag, custodianFlag), Action: shareErase,
	}
}

type eraseOutput struct {
	Dataset   string    `json:"dataset"`
	Epoch     uint32    `json:"epoch"`
	Keys      int       `json:"keys"`
	Signature hexBytes  `json:"signature"`
	Tx        *txOutput `json:"transaction"`
}

func shareErase(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the data set")
	}
	name := c.Args().First()
	return onSharing(c, func(s *sharer) error {
		custodian, err := custodianKey(c, s.key)
		if err != nil {
			return err
		}
		d, err := s.dataset(name)
		if err != nil {
			return err
		}
		if s.key.AccountID() != abi.Hash(d.Owner) || !bytes.Equal(custodian.Public(), d.Custodian) {
			return fmt.Errorf("data set %s has another owner or custodian, so nothing was destroyed: %w", name, abi.CodeNotPermitted)
		}
		at, err := s.blockTime()
		if err != nil {
			return err
		}
		v := eraseOutput{Dataset: name, Epoch: d.Epoch}
		if v.Keys, err = ringOf(c).Destroy(s.set(name)); err != nil {
			return err
		}
		statement := sharing.Statement{Set: s.set(name), Epoch: d.Epoch, Destroyed: at}
		if d.Subject != nil {
			subject := abi.Hash(d.Subject)
			statement.Subject = &subject
		}
		if v.Signature, err = statement.Sign(custodian); err != nil {
			return err
		}
		res, err := s.call("erase", map[string]any{"dataset": name, "destroyed": statement.Destroyed, "signature": v.Signature})
		if err != nil {
			return err
		}
		v.Tx = &res
		return s.out.show(v, "%d keys of %s destroyed, and the statement of it published in block %d", v.Keys, name, res.Height)
	})
}

// clockSkew is by how much validators' clocks may be behind this one.
const clockSkew = 5 * time.Second

// blockTime is a time in ms that the next block will not precede: about now.
func (s *sharer) blockTime() (int64, error) {
	status, err := s.cl.Status(s.ctx)
	return max(status.Time, time.Now().Add(-clockSkew).UnixMilli()), err
}
