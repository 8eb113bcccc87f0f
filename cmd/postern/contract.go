package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/sdk/client"
)

func contractCommand() *cli.Command {
	return &cli.Command{
		Name:  "contract",
		Usage: "write, test, deploy and call contracts",
		Subcommands: []*cli.Command{
			contractNewCommand(), contractBuildCommand(), contractCheckCommand(), contractInspectCommand(), contractTestCommand(), contractBenchCommand(),
			{
				Name: "deploy", Usage: "upload a module and make a contract of it", ArgsUsage: "FILE|STANDARD",
				Description: `STANDARD is the name of a contract that comes with this program (postern contract
standard lists them); of these --init takes the names of the schema. The command
waits until the contract is active.

Examples:

   postern contract deploy --name doors --domain default access
   postern contract deploy --name counter --init '{"start": 2}' counter.wasm`,
				Flags: withConnect(
					&cli.StringFlag{Name: "name", Usage: "the contract's `NAME`"},
					&cli.StringFlag{Name: "domain", Usage: "bind this policy `DOMAIN` to it"},
					&cli.BoolFlag{Name: "rebind", Usage: "take the domain from the contract that has it"},
					&cli.StringFlag{Name: "init", Usage: "init message as `JSON`"},
					&cli.StringFlag{Name: "init-hex", Usage: "init message in `HEX`"},
					schemaFlag, noteFlag,
				),
				Action: contractDeploy,
			},
			contractUpgradeCommand(), contractRollbackCommand(), contractHistoryCommand(),
			{
				Name: "bind", Usage: "have a contract decide for a policy domain from now on", ArgsUsage: "NAME DOMAIN",
				Description: "Example:\n\n   postern contract bind doors default",
				Flags:       withConnect(), Action: contractBind,
			},
			contractStandardCommand(),
			{Name: "list", Usage: "list contracts (unproven)", Description: example("postern contract list"), Flags: withConnect(), Action: contractList},
			{Name: "show", Usage: "show a contract, its proof checked", ArgsUsage: "NAME", Description: example("postern contract show access"), Flags: withConnect(), Action: contractShow},
			contractCallCommand(), contractQueryCommand(),
		},
	}
}

// moduleBytes reads a module, or takes a standard contract by its name.
func moduleBytes(arg string) ([]byte, error) {
	if standard, ok := contracts.Named(arg); ok {
		return standard.Wasm, nil
	}
	if info, err := os.Stat(arg); err == nil && info.IsDir() {
		return nil, usagef("%s is a folder; build the project in it with postern contract build, then name its .wasm file", arg)
	}
	return os.ReadFile(arg)
}

func contractDeploy(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one module: postern contract deploy --name NAME FILE")
	}
	if err := require(c, "name"); err != nil {
		return err
	}
	if !abi.ValidName(c.String("name")) {
		return usagef("--name %q: use 1 to %d of a-z, 0-9, '-', '.' and '_', a letter or digit first", c.String("name"), abi.MaxName)
	}
	blob, err := moduleBytes(c.Args().First())
	if err != nil {
		return err
	}
	init, err := initMessage(c, blob)
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		if err := admittedBy(cl, c.Args().First(), blob); err != nil {
			return err
		}
		if err := domainIsFree(ctx, cl, c.String("domain"), c.String("name"), c.Bool("rebind")); err != nil {
			return err
		}
		out := printer(c)
		d := client.Deployment{Name: c.String("name"), Code: blob, Init: init, Note: c.String("note"), Progress: uploadProgress(out)}
		if err := deployAndBind(ctx, cl, d, c.String("domain")); err != nil {
			return err
		}
		return showContract(ctx, cl, out, d.Name)
	})
}

// uploadProgress tells of each tenth of an upload.
func uploadProgress(out output) func(done, total int) {
	told := -1
	return func(done, total int) {
		if tenth := done * 10 / total; tenth != told {
			told = tenth
			out.progressf("uploaded %d of %d bytes", done, total)
		}
	}
}

// admittedBy checks a module by the profile of the client's chain, before
// anything is uploaded.
func admittedBy(cl *client.Client, file string, blob []byte) error {
	profile := cl.Genesis().Params.Profile
	if _, err := wasm.Check(blob, profile); err != nil {
		return fmt.Errorf("the %s profile of this chain does not admit %s: %w", profileName(profile), file, err)
	}
	return nil
}

// domainIsFree refuses to take a domain from the contract that decides for it
// unless that is what is wanted.
func domainIsFree(ctx context.Context, cl *client.Client, domain, name string, rebind bool) error {
	if domain == "" || rebind {
		return nil
	}
	e, err := cl.Get(ctx, chain.DomainKey(domain))
	if isCode(err, abi.CodeNotReady) || err == nil && !e.Present { // not ready: nothing but a genesis to prove
		return nil
	}
	if err != nil {
		return err
	}
	d, err := chain.ParseDomain(e.Value)
	if err == nil && d.Contract != name {
		err = usagef("contract %s decides for domain %s; add --rebind to give the domain to %s", d.Contract, domain, name)
	}
	return err
}

func contractBind(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("name a contract and a domain")
	}
	args := chain.Bind{Contract: c.Args().Get(0), Domain: c.Args().Get(1)}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		res, err := transact(ctx, cl, chain.OpBind, &args)
		if err != nil {
			return err
		}
		return printer(c).show(res, "contract %s decides for domain %s (block %d)", args.Contract, args.Domain, res.Height)
	})
}

func deployAndBind(ctx context.Context, cl *client.Client, d client.Deployment, domain string) error {
	if err := cl.Deploy(ctx, d); err != nil {
		return err
	}
	if domain == "" {
		return nil
	}
	args := chain.Bind{Domain: domain, Contract: d.Name}
	_, err := transact(ctx, cl, chain.OpBind, &args)
	return err
}

type contractOutput struct {
	Name    string   `json:"name"`
	Status  string   `json:"status"`
	Code    hexBytes `json:"code"`
	Owner   hexBytes `json:"owner"`
	Height  uint64   `json:"deployed_height"`
	Failure string   `json:"failure,omitempty"`
	Note    string   `json:"note,omitempty"`
	Version uint64   `json:"version"`
	Pending uint64   `json:"pending_version,omitempty"`
}

func contractOf(name string, raw []byte) (contractOutput, error) {
	k, err := chain.ParseContract(raw)
	v := contractOutput{Name: name, Status: k.Status.String(), Code: k.Code[:], Owner: k.Owner[:], Height: k.Height, Note: k.Note, Version: k.Version, Pending: k.Pending}
	if k.Status == chain.ContractFailed {
		v.Failure = failureText(k.Failure, k.FailureCode)
	}
	return v, err
}

func contractList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		rows := []contractOutput{}
		var lines []string
		err := scanAll(ctx, cl, chain.ContractPrefix(), func(k, v []byte) error {
			row, err := contractOf(string(k[1:]), v)
			rows = append(rows, row)
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%d", row.Name, row.Status, row.Code, row.Height))
			return err
		})
		if err != nil {
			return err
		}
		return printer(c).table(rows, "NAME\tSTATUS\tCODE\tBLOCK", lines)
	})
}

func contractShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one contract")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		return showContract(ctx, cl, printer(c), c.Args().First())
	})
}

func showContract(ctx context.Context, cl *client.Client, out output, name string) error {
	raw, height, err := getProved(ctx, cl, chain.ContractKey(name), "contract "+name)
	if err != nil {
		return err
	}
	v, err := contractOf(name, raw)
	if err != nil {
		return err
	}
	version := fmt.Sprint(v.Version)
	if v.Pending != 0 {
		version += fmt.Sprintf(", and %d waits for its activation", v.Pending)
	}
	return out.show(v, "contract  %s\nstatus    %s\nversion   %s\ncode      %s\nowner     %s\ndeployed  in block %d\nproved    at height %d",
		v.Name, strings.TrimSpace(v.Status+" "+v.Failure), version, v.Code, v.Owner, v.Height, height)
}
