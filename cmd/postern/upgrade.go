package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/sdk/client"
)

// changeTimeout bounds the wait for a deployment or an upgrade: a large module
// is uploaded in 128 transactions, and slow gateways take seconds to compile it.
const changeTimeout = 10 * time.Minute

func contractUpgradeCommand() *cli.Command {
	return &cli.Command{
		Name: "upgrade", Usage: "give a contract another code, as its owner", ArgsUsage: "NAME FILE|access|behaviour",
		Description: `The contract answers with the code that it has until the new one is activated.
Then the new code's migrate runs on the contract's state. If it fails, nothing
has changed, the contract goes on with the code that it has, and this command
ends with exit code 4. The history keeps who did it, when, why and what came of
it. Where the chain activates new code only after more than ten minutes, the
command does not wait for it.

Example:

   postern contract upgrade --note "closes at night" doors doors.wasm`,
		Flags: withConnect(
			&cli.StringFlag{Name: "migrate", Usage: "message for the new code's migrate as `JSON`"},
			&cli.StringFlag{Name: "migrate-hex", Usage: "the same in `HEX`"},
			noteFlag,
		),
		Action: contractUpgrade,
	}
}

func contractRollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "go back to an earlier code of a contract, as its owner", ArgsUsage: "NAME",
		Description: `It is an upgrade to a code that the contract had before. The state is NOT rolled
back: the earlier code meets the state as the later one left it. If the earlier
code has a migrate, it runs with the message given here.

Example:

   postern contract rollback --to 2 --note "version 3 locks the cellar" doors`,
		Flags: withConnect(
			&cli.Uint64Flag{Name: "to", Usage: "`VERSION` whose code to go back to (default: the one that answered before the present one)"},
			&cli.StringFlag{Name: "message", Usage: "message for that code's migrate as `JSON`"},
			&cli.StringFlag{Name: "message-hex", Usage: "the same in `HEX`"},
			noteFlag,
		),
		Action: contractRollback,
	}
}

func contractHistoryCommand() *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "list a contract's versions, newest first, their proofs checked", ArgsUsage: "NAME",
		Description: "Example:\n\n   postern contract history doors",
		Flags:       withConnect(&cli.IntFlag{Name: "limit", Usage: "list at most `N` versions", Value: 20}),
		Action:      contractHistory,
	}
}

var noteFlag = &cli.StringFlag{Name: "note", Usage: "why, kept on the ledger"}

func contractUpgrade(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a contract and a module: postern contract upgrade NAME FILE")
	}
	return prepareUpgrade(c, runUpgrade)
}

// prepareUpgrade makes an upgrade of the arguments NAME FILE and the flags, and
// hands it on if nothing speaks against it.
func prepareUpgrade(c *cli.Context, then func(context.Context, *client.Client, output, client.Upgrade) error) error {
	name, file := c.Args().Get(0), c.Args().Get(1)
	blob, err := moduleBytes(file)
	if err != nil {
		return err
	}
	migrate, err := message(c.String("migrate-hex"), c.String("migrate"))
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		if _, err := upgradable(ctx, cl, name); err != nil {
			return err
		}
		if err := admittedBy(cl, file, blob); err != nil {
			return err
		}
		if err := stillDecides(ctx, cl, name, file, blob); err != nil {
			return err
		}
		out := printer(c)
		return then(ctx, cl, out, client.Upgrade{
			Name: name, Code: blob, Migrate: migrate, Note: c.String("note"), Progress: uploadProgress(out),
		})
	})
}

// upgradable reads a contract, or says why the caller cannot upgrade it now.
func upgradable(ctx context.Context, cl *client.Client, name string) (chain.Contract, error) {
	k, err := cl.Contract(ctx, name)
	if err != nil {
		return k, err
	}
	s, err := cl.Status(ctx)
	if err != nil {
		return k, err
	}
	switch {
	case s.Account == nil || k.Owner != *s.Account:
		return k, fmt.Errorf("contract %s belongs to account %x, and only its owner upgrades it; name the owner's key with --key: %w", name, k.Owner, abi.CodeNotPermitted)
	case k.Status == chain.ContractFailed:
		return k, fmt.Errorf("contract %s never became active; deploy it anew with postern contract deploy --name %s: %w", name, name, abi.CodeContractFailed)
	case k.Status == chain.ContractPending:
		return k, fmt.Errorf("contract %s waits for its activation at %s: %w", name, when(k.Activation), abi.CodeContractPending)
	case k.Pending != 0:
		v, err := cl.Version(ctx, name, k.Pending)
		if err != nil {
			return k, err
		}
		return k, fmt.Errorf("version %d of contract %s waits for its activation at %s; wait for it: %w", v.Number, name, when(v.Activation), abi.CodeUpgradePending)
	}
	return k, nil
}

// stillDecides refuses a module without decide for a contract that decides:
// every decision of its domains would become a denial.
func stillDecides(ctx context.Context, cl *client.Client, name, file string, blob []byte) error {
	info, err := wasm.Check(blob, cl.Genesis().Params.Profile)
	if err != nil || slices.Contains(info.Entries, abi.EntryDecide) {
		return err
	}
	asked, err := decidesForADomain(ctx, cl, name)
	if err == nil && asked {
		err = usagef("contract %s decides for a policy domain, but %s has no decide: all its decisions would be denials; bind the domain to another contract first", name, file)
	}
	return err
}

// runUpgrade commits an upgrade and waits for what becomes of it.
func runUpgrade(ctx context.Context, cl *client.Client, out output, u client.Upgrade) error {
	number, err := cl.BeginUpgrade(ctx, u)
	if err != nil {
		return err
	}
	v, err := cl.Version(ctx, u.Name, number)
	if err != nil {
		return err
	}
	if v.Status == chain.VersionPending {
		if time.Until(time.UnixMilli(v.Activation)) > changeTimeout-callTimeout {
			return out.show(versionOf(v), "version %d waits for its activation at %s; see then what came of it with postern contract history %s", number, when(v.Activation), u.Name)
		}
		out.progressf("version %d waits for its activation at %s", number, when(v.Activation))
	}
	if v, err = cl.AwaitVersion(ctx, u.Name, number); err != nil {
		if isCode(err, abi.CodeUpgradeFailed) {
			return fmt.Errorf("version %d of contract %s did not become active, since its migrate ended with %s; nothing has changed: %w",
				number, u.Name, failureText(v.Failure, v.FailureCode), err)
		}
		return err
	}
	return out.show(versionOf(v), "contract %s is at version %d, code %x, since block %d", u.Name, number, v.Code, v.Decided)
}

func contractRollback(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one contract: postern contract rollback [--to VERSION] NAME")
	}
	name := c.Args().First()
	msg, err := message(c.String("message-hex"), c.String("message"))
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		k, err := upgradable(ctx, cl, name)
		if err != nil {
			return err
		}
		to, err := rollbackTarget(ctx, cl, name, &k, c.Uint64("to"))
		if err != nil {
			return err
		}
		note := c.String("note")
		if note == "" {
			note = fmt.Sprintf("rollback to version %d", to.Number)
		}
		out := printer(c)
		out.progressf("going back to the code of version %d; the state is not rolled back: that code meets it as it is now,\nand its migrate runs if it has one", to.Number)
		return runUpgrade(ctx, cl, out, client.Upgrade{Name: name, Hash: to.Code, Migrate: msg, Note: note})
	})
}

// rollbackTarget is the version asked for, or the newest that answered before
// the present one.
func rollbackTarget(ctx context.Context, cl *client.Client, name string, k *chain.Contract, number uint64) (*client.Version, error) {
	if number != 0 {
		v, err := cl.Version(ctx, name, number)
		if isCode(err, abi.CodeNotFound) {
			err = fmt.Errorf("contract %s has no version %d, its newest is %d; see postern contract history %s: %w", name, number, k.Versions, name, abi.CodeNotFound)
		}
		if err == nil && v.Status == chain.VersionFailed {
			err = fmt.Errorf("version %d of contract %s failed and never answered; upgrade to its code if that is what you want: %w", number, name, abi.CodeBadArgument)
		}
		return v, err
	}
	for n := k.Version; n > 1; n-- {
		v, err := cl.Version(ctx, name, n-1)
		if err != nil || v.Status == chain.VersionSuperseded {
			return v, err
		}
	}
	return nil, fmt.Errorf("contract %s has never had another code: %w", name, abi.CodeNotFound)
}

// versionRow is a version as history prints it.
type versionRow struct {
	Version    uint64    `json:"version"`
	Status     string    `json:"status"`
	Code       hexBytes  `json:"code"`
	Account    hexBytes  `json:"account"`
	Time       time.Time `json:"time"`
	Height     uint64    `json:"height"`
	Activation time.Time `json:"activation"`
	Decided    uint64    `json:"decided_height,omitempty"`
	Message    hexBytes  `json:"message_sha256,omitempty"`
	Failure    string    `json:"failure,omitempty"`
	Note       string    `json:"note,omitempty"`
}

func versionOf(v *client.Version) versionRow {
	o := versionRow{
		Version: v.Number, Status: v.Status.String(), Code: hexOf(v.Code), Account: hexOf(v.Account), Time: time.UnixMilli(v.Time).UTC(),
		Height: v.Height, Activation: time.UnixMilli(v.Activation).UTC(), Decided: v.Decided, Note: v.Note,
	}
	if v.Message != nil {
		o.Message = hexOf(*v.Message)
	}
	if v.Status == chain.VersionFailed {
		o.Failure = failureText(v.Failure, v.FailureCode)
	}
	return o
}

func contractHistory(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one contract")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.History(ctx, c.Args().First(), c.Int("limit"))
		if err != nil {
			return err
		}
		rows := []versionRow{}
		var lines []string
		for i := range list {
			v := versionOf(&list[i])
			rows = append(rows, v)
			lines = append(lines, fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%d\t%s", v.Version, strings.TrimSpace(v.Status+" "+v.Failure),
				short(v.Code), short(v.Account), v.Time.Format(time.RFC3339), v.Height, v.Note))
		}
		return printer(c).table(rows, "VERSION\tSTATUS\tCODE\tBY\tWHEN\tBLOCK\tWHY", lines)
	})
}

// failureText names a failure, with the contract's own code if it gave one.
func failureText(code abi.Code, abort uint16) string {
	if code == abi.CodeAborted {
		return fmt.Sprintf("%s %d", code.Name(), abort)
	}
	return code.Name()
}

// when shows a header time.
func when(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
