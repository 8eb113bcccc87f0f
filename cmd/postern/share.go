package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/sharing"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

const (
	sharingContract = "sharing"
	// shareFolder is where a home keeps data keys.
	shareFolder = "data-keys"
	// shareTimeout bounds what takes several transactions.
	shareTimeout = 5 * time.Minute
)

var shareFlag = &cli.StringFlag{Name: "contract", Value: sharingContract, Usage: "`NAME` of the sharing contract"}

func shareCommand() *cli.Command {
	commands := []*cli.Command{
		shareCreateCommand(), shareGrantCommand(), shareRotateCommand(), shareReadCommand(), shareEraseCommand(),
		shareSealCommand(), shareOpenCommand(), shareDeliverCommand(), shareCreditCommand(), shareListCommand(),
	}
	return &cli.Command{
		Name:  "share",
		Usage: "data that others read: grants, consent, erasure, a market",
		Description: `Commands of the standard contract sharing, which contracts/sharing/README.md
describes. Data keys are kept in the folder data-keys of --home, readable by its
owner only; whoever loses them loses what they encrypt. What has no command of its
own here is asked with postern contract call and postern contract query.`,
		Subcommands: append(commands, shareActs()...),
	}
}

// sharer talks to one sharing contract as the holder of a key.
type sharer struct {
	custodian
	key *key.Key
	out output
}

// onSharing connects, and calls do within a time.
func onSharing(c *cli.Context, do func(s *sharer) error) error {
	standard, ok := contracts.Named(sharingContract)
	if !ok || standard.Schema == nil {
		panic("BUG: the sharing contract has no schema")
	}
	k, err := commandKey(c, operatorKeyFile)
	if err != nil {
		return err
	}
	return onNodeWithin(c, shareTimeout, func(ctx context.Context, cl *client.Client) error {
		return do(&sharer{custodian{ctx, cl, c.String("contract"), standard.Schema}, k, printer(c)})
	})
}

// ringOf is the folder of data keys of a command's home.
func ringOf(c *cli.Context) sharing.Ring {
	return sharing.Ring{Folder: home(c.String("home")).path(shareFolder)}
}

func (s *sharer) set(name string) sharing.Set {
	return sharing.Set{Chain: s.cl.Chain(), Contract: s.contract, Name: name}
}

// done shows a transaction that was made.
func (s *sharer) done(res *txOutput) error {
	return s.out.show(res, "done in block %d%s", res.Height, effectText(res, "result  ", "event   "))
}

// shareAct is a command that makes one transaction of its arguments.
type shareAct struct {
	name, usage, args, example string
	flags                      []cli.Flag
	operation                  string
	fields                     func(c *cli.Context) (map[string]any, error)
}

var (
	purposeFlag = &cli.StringSliceFlag{Name: "purpose", Usage: "a `PURPOSE`, such as research; may be repeated"}
	fieldFlag   = &cli.StringSliceFlag{Name: "field", Usage: "a `FIELD` of the data set; may be repeated"}
	accountFlag = &cli.StringFlag{Name: "account", Usage: "the `ACCOUNT` that consent is about: an id, a did:key or a key file"}
	classFlag   = &cli.StringFlag{Name: "class", Usage: "the `CLASS` of accounts that consent is about"}
	untilFlag   = &cli.StringFlag{Name: "until", Usage: "until a `TIME` (RFC 3339), or for so long, such as 720h"}
	rateFlag    = &cli.StringFlag{Name: "rate", Usage: "so many reads in so long, such as `10/1h`; each is then a transaction"}
)

func shareActs() []*cli.Command {
	acts := []shareAct{
		{"consent", "consent to grants of data that concern you: to an account, a class, or anybody", "NAME",
			"postern share consent --key pat.key --purpose research --class university --until 8760h record-7",
			[]cli.Flag{purposeFlag, fieldFlag, accountFlag, classFlag, untilFlag}, "consent", consentFields},
		{"withdraw", "take a consent back, at once; without --account, --class or --all, the one to anybody", "NAME",
			"postern share withdraw --key pat.key --class university record-7", []cli.Flag{accountFlag, classFlag}, "withdraw", targetFields},
		{"withdraw-all", "take all consents back, at once", "NAME", "postern share withdraw-all --key pat.key record-7", nil, "withdraw_all", setFields},
		{"demand", "demand that the key of data that concern you is destroyed, and end all reading", "NAME",
			"postern share demand --key pat.key record-7", nil, "demand_erasure", setFields},
		{"revoke", "end a grant", "GRANT", "postern share revoke --key hospital.key 17", nil, "revoke", numberFields("grant")},
		{"offer", "offer access for credits", "NAME", "postern share offer --key farm.key --purpose statistics --field rain --price 200 --period 2160h --deliver-within 24h --terms 5b0e… field-3",
			[]cli.Flag{purposeFlag, fieldFlag, rateFlag,
				&cli.Uint64Flag{Name: "price", Usage: "in credits"},
				&cli.DurationFlag{Name: "period", Value: 30 * 24 * time.Hour, Usage: "how long access lasts"},
				&cli.DurationFlag{Name: "deliver-within", Value: 24 * time.Hour, Usage: "how soon the key is delivered"},
				&cli.StringFlag{Name: "terms", Usage: "SHA-256 of the terms in `HEX`"}}, "offer", dataOfferFields},
		{"withdraw-offer", "sell no more by an offer", "OFFER", "postern share withdraw-offer --key farm.key 3", nil, "withdraw_offer", numberFields("offer")},
		{"buy", "buy access by an offer, at the price and terms that were read", "OFFER", "postern share buy --key mill.key --price 200 --terms 5b0e… 3",
			[]cli.Flag{&cli.Uint64Flag{Name: "price", Usage: "in credits"}, &cli.StringFlag{Name: "terms", Usage: "SHA-256 of the terms in `HEX`"}}, "buy", buyFields},
		{"accept", "be content with what was delivered", "PURCHASE", "postern share accept --key mill.key 1", nil, "accept", numberFields("purchase")},
		{"dispute", "object to what was delivered", "PURCHASE", "postern share dispute --key mill.key --objection 77aa… 1",
			[]cli.Flag{&cli.StringFlag{Name: "objection", Usage: "SHA-256 of the objection in `HEX`"}}, "dispute", disputeFields},
		{"claim", "have a purchase settled or refunded whose time is over", "PURCHASE", "postern share claim --key mill.key 1", nil, "claim", numberFields("purchase")},
	}
	list := make([]*cli.Command, 0, len(acts))
	for _, a := range acts {
		list = append(list, a.command())
	}
	return list
}

func (a shareAct) command() *cli.Command {
	return &cli.Command{
		Name: a.name, Usage: a.usage, ArgsUsage: a.args, Description: example(a.example),
		Flags: withConnect(append([]cli.Flag{shareFlag}, a.flags...)...),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("say %s; see %s --help", a.args, c.Command.HelpName)
			}
			fields, err := a.fields(c)
			if err != nil {
				return err
			}
			return onSharing(c, func(s *sharer) error {
				res, err := s.call(a.operation, fields)
				if err != nil {
					return err
				}
				return s.done(&res)
			})
		},
	}
}

func setFields(c *cli.Context) (map[string]any, error) {
	return map[string]any{"dataset": c.Args().First()}, nil
}

func numberFields(name string) func(*cli.Context) (map[string]any, error) {
	return func(c *cli.Context) (map[string]any, error) {
		n, err := numberOf(c.Args().First(), name)
		return map[string]any{name: n}, err
	}
}

func numberOf(text, what string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, usagef("%q is no number of a %s", text, what)
	}
	return n, nil
}

func targetFields(c *cli.Context) (map[string]any, error) {
	fields, err := setFields(c)
	if class := c.String("class"); class != "" {
		fields["class"] = class
	}
	if account := c.String("account"); account != "" {
		var id abi.Hash
		if id, err = accountID(account); err != nil {
			return nil, err
		}
		fields["account"] = hexOf(id)
	}
	return fields, err
}

func consentFields(c *cli.Context) (map[string]any, error) {
	fields, err := targetFields(c)
	if err != nil {
		return nil, err
	}
	fields["purposes"] = append([]string{}, c.StringSlice("purpose")...)
	if list := c.StringSlice("field"); len(list) > 0 {
		fields["fields"] = list
	}
	if until := c.String("until"); until != "" {
		fields["until"] = timeText(until)
	}
	return fields, nil
}

// timeText is a time as the schema reads it: a duration counts from now.
func timeText(text string) string {
	if _, err := time.ParseDuration(text); err == nil {
		return "now+" + text
	}
	return text
}

// rateFields reads reads per span, such as 10/1h, into a message's fields.
func rateFields(c *cli.Context, fields map[string]any) error {
	text := c.String("rate")
	if text == "" {
		return nil
	}
	reads, period, ok := strings.Cut(text, "/")
	n, err := strconv.ParseUint(reads, 10, 32)
	if !ok || err != nil {
		return usagef("--rate %q: write it as 10/1h", text)
	}
	fields["rate"] = map[string]any{"reads": n, "period": period}
	return nil
}

func dataOfferFields(c *cli.Context) (map[string]any, error) {
	fields := map[string]any{
		"dataset": c.Args().First(), "purposes": append([]string{}, c.StringSlice("purpose")...), "fields": append([]string{}, c.StringSlice("field")...),
		"price": c.Uint64("price"), "terms": c.String("terms"),
		"period": c.Duration("period").Milliseconds(), "deliver_within": c.Duration("deliver-within").Milliseconds(),
	}
	return fields, rateFields(c, fields)
}

func buyFields(c *cli.Context) (map[string]any, error) {
	offer, err := numberOf(c.Args().First(), "offer")
	return map[string]any{"offer": offer, "price": c.Uint64("price"), "terms": c.String("terms")}, err
}

func disputeFields(c *cli.Context) (map[string]any, error) {
	purchase, err := numberOf(c.Args().First(), "purchase")
	return map[string]any{"purchase": purchase, "objection": c.String("objection")}, err
}

// dataset is what the contract tells of one.
type dataset struct {
	Name      string   `json:"name,omitempty"`
	Owner     hexBytes `json:"owner"`
	Kind      string   `json:"kind"`
	Fields    []string `json:"fields"`
	State     string   `json:"state"`
	Epoch     uint32   `json:"epoch"`
	Custodian hexBytes `json:"custodian"`
	Subject   hexBytes `json:"subject"`
	Records   uint64   `json:"records"`
	RotateBy  any      `json:"rotate_by,omitempty"`
	EraseBy   any      `json:"erase_by,omitempty"`
}

// dataset asks for a data set, which must be there.
func (s *sharer) dataset(name string) (*dataset, error) {
	var d *dataset
	if err := s.ask("dataset", map[string]any{"dataset": name}, &d); err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("data set %s: %w", name, abi.CodeNotFound)
	}
	return d, nil
}
