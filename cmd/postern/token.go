package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "token",
		Usage: "bearer tokens of enforcement points (HTTPS)",
		Subcommands: []*cli.Command{
			{
				Name: "new", Usage: "issue a token; it is shown once and kept only as a hash",
				Description: "Example:\n\n   postern token new --domain default --life 24h --note 'front desk'",
				Flags: withConnect(
					&cli.StringFlag{Name: "domain", Value: abi.DefaultDomain, Usage: "the policy `DOMAIN` it may ask"},
					&cli.StringFlag{Name: "account", Usage: "account `ID` or key file with the enforcement-point role (default: enforcement-point.key in --home)"},
					&cli.DurationFlag{Name: "life", Value: 30 * 24 * time.Hour, Usage: "how long it lives"},
					&cli.StringFlag{Name: "note", Usage: "what it is for"},
				),
				Action: tokenNew,
			},
			{Name: "list", Usage: "list tokens by their hashes (unproven)", Description: example("postern token list"), Flags: withConnect(), Action: tokenList},
			{
				Name: "revoke", Usage: "end a token on every gateway", ArgsUsage: "HASH", Description: example("postern token revoke 4f0c…   # as postern token list shows it"),
				Flags: withConnect(), Action: tokenRevoke,
			},
		},
	}
}

type tokenOutput struct {
	Token   string    `json:"token,omitempty"`
	Hash    hexBytes  `json:"hash"`
	Account hexBytes  `json:"account"`
	Domain  string    `json:"domain"`
	Expires time.Time `json:"expires"`
	Note    string    `json:"note,omitempty"`
	Revoked uint64    `json:"revoked_height,omitempty"`
}

func tokenNew(c *cli.Context) error {
	if c.Duration("life") <= 0 {
		return usagef("--life %s: a token must live for some time, such as 24h", c.Duration("life"))
	}
	holder := c.String("account")
	if holder == "" {
		holder = home(c.String("home")).path(enforcementKeyFile)
	}
	account, err := accountID(holder)
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		t, err := issueToken(ctx, cl, account, c.String("domain"), c.Duration("life"), c.String("note"))
		if isCode(err, abi.CodeTimeout) {
			return fmt.Errorf("%w\nif it does, the token is good: %s\nrevoke it if you do not keep it: postern token revoke %s", err, t.Token, t.Hash)
		}
		if err != nil {
			return err
		}
		return printer(c).show(t, "%s\n\nkeep it: it is not shown again. Revoke it with: postern token revoke %s", t.Token, t.Hash)
	})
}

// issueToken makes 256 random bits and puts their hash on the ledger.
func issueToken(ctx context.Context, cl *client.Client, account abi.Hash, domain string, life time.Duration, note string) (tokenOutput, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	text := base64.RawURLEncoding.EncodeToString(secret)
	expires := time.Now().Add(life).Truncate(time.Millisecond)
	args := chain.IssueToken{Token: sha256.Sum256([]byte(text)), Account: account, Domain: domain, Expiry: expires.UnixMilli(), Note: note}
	_, err := transact(ctx, cl, chain.OpIssueToken, &args)
	return tokenOutput{text, hexOf(args.Token), hexOf(account), domain, expires, note, 0}, err
}

func tokenList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		rows := []tokenOutput{}
		var lines []string
		err := scanAll(ctx, cl, chain.TokenPrefix(), func(k, v []byte) error {
			t, err := chain.ParseToken(v)
			row := tokenOutput{"", k[1:], t.Account[:], t.Domain, time.UnixMilli(t.Expiry).UTC(), t.Note, t.Revoked}
			rows = append(rows, row)
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", row.Hash, row.Domain, tokenState(&row), row.Expires.Format(time.RFC3339), row.Note))
			return err
		})
		if err != nil {
			return err
		}
		return printer(c).table(rows, "HASH\tDOMAIN\tSTATE\tEXPIRES\tNOTE", lines)
	})
}

func tokenState(t *tokenOutput) string {
	switch {
	case t.Revoked != 0:
		return "revoked"
	case time.Now().After(t.Expires):
		return "expired"
	}
	return "good"
}

func tokenRevoke(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the token's hash; postern token list shows it")
	}
	h, err := parseHash(c.Args().First(), "token hash")
	if err != nil {
		return err
	}
	args := chain.RevokeToken{Token: h}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		res, err := transact(ctx, cl, chain.OpRevokeToken, &args)
		if err != nil {
			return err
		}
		return printer(c).show(res, "token %x is revoked (block %d)", h, res.Height)
	})
}
