package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func platformCommand() *cli.Command {
	return &cli.Command{
		Name:  "platform",
		Usage: "other platforms whose signed blacklists are taken in",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "register a platform, or replace its keys", ArgsUsage: "NAME",
				Description: `It needs the operator role. Without a key no list of the platform is taken in any
more; what was taken in stays.

Example:

   postern platform add --platform-key did:key:z6Mk… --url https://north.example/blacklist north`,
				Flags: withConnect(
					&cli.StringSliceFlag{Name: "platform-key", Usage: "`PUBLIC-KEY|DID|KEY-FILE` that signs its lists; 0 to 8"},
					&cli.StringFlag{Name: "url", Usage: "where it is found (required)"},
				),
				Action: platformAdd,
			},
			{
				Name: "list", Usage: "list the platforms (unproven)", Description: example("postern platform list"),
				Flags: withConnect(), Action: platformList,
			},
		},
	}
}

func platformAdd(c *cli.Context) error {
	if err := require(c, "url"); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usagef("name the platform")
	}
	keys, err := publicKeys(c.StringSlice("platform-key"))
	if err != nil {
		return err
	}
	args := chain.RegisterPlatform{Name: c.Args().First(), Keys: keys, URL: c.String("url")}
	if _, err := chain.ParseRegisterPlatform(args.Append(nil)); err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		res, err := transact(ctx, cl, chain.OpPlatform, &args)
		if err != nil {
			return err
		}
		return printer(c).show(struct {
			Name string `json:"name"`
			URL  string `json:"url"`
			Keys int    `json:"keys"`
			txOutput
		}{args.Name, args.URL, len(keys), res}, "lists of %s are taken in that one of %d keys signed (block %d)", args.Name, len(keys), res.Height)
	})
}

type platformOutput struct {
	Name     string     `json:"name"`
	URL      string     `json:"url"`
	Keys     []hexBytes `json:"keys"`
	DIDs     []string   `json:"dids"`
	Height   uint64     `json:"height"` // registered, or changed
	Sequence uint64     `json:"last_list,omitempty"`
	Time     *time.Time `json:"last_list_time,omitempty"`
}

func platformList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		rows := []platformOutput{}
		var lines []string
		err := scanAll(ctx, cl, chain.PlatformPrefix(), func(key, value []byte) error {
			p, err := chain.ParsePlatform(value)
			if err != nil {
				return err
			}
			v := platformOutput{Name: string(key[1:]), URL: p.URL, Height: p.Height, Sequence: p.Sequence, Time: timeOf(p.Time)}
			v.Keys, v.DIDs = keyNames(p.Keys)
			last := "none yet"
			if v.Time != nil {
				last = v.Time.Format(time.RFC3339)
			}
			rows = append(rows, v)
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s", v.Name, v.URL, last, strings.Join(v.DIDs, " ")))
			return nil
		})
		if err != nil {
			return err
		}
		return printer(c).table(rows, "PLATFORM\tURL\tLAST LIST\tKEYS", lines)
	})
}
