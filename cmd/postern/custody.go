package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/sdk/client"
)

const custodyContract = "custody"

var custodyFlag = &cli.StringFlag{Name: "contract", Value: custodyContract, Usage: "`NAME` of the custody contract"}

func custodyCommand() *cli.Command {
	commands := []*cli.Command{custodyImportCommand(), custodyExportCommand(), custodyKeyCommand(), custodyShowCommand(), custodyListCommand(), custodyProveCommand(), custodyVerifyCommand()}
	return &cli.Command{
		Name:  "custody",
		Usage: "who holds what, and where it comes from: items, hand-offs, EPCIS documents",
		Description: `Commands of the standard contract custody, which contracts/custody/README.md
describes. What has no command of its own here is asked with postern contract
call and postern contract query.`,
		Subcommands: append(commands, custodyActs()...),
	}
}

// custodian talks to one custody contract, in the names of its schema.
type custodian struct {
	ctx      context.Context
	cl       *client.Client
	contract string
	names    *schema.Schema
}

// onCustody connects, and calls do within a time.
func onCustody(c *cli.Context, limit time.Duration, do func(k *custodian) error) error {
	standard, ok := contracts.Named(custodyContract)
	if !ok || standard.Schema == nil {
		panic("BUG: the custody contract has no schema")
	}
	return onNodeWithin(c, limit, func(ctx context.Context, cl *client.Client) error {
		return do(&custodian{ctx, cl, c.String("contract"), standard.Schema})
	})
}

// call runs an operation by a transaction.
func (k *custodian) call(operation string, fields any) (txOutput, error) {
	text, err := json.Marshal(map[string]any{operation: fields})
	if err != nil {
		return txOutput{}, err
	}
	message, err := k.names.Call(text, time.Now())
	if err != nil {
		return txOutput{}, usagef("%v", err)
	}
	args := chain.Call{Contract: k.contract, Message: message}
	res, err := transact(k.ctx, k.cl, chain.OpCall, &args)
	if err != nil {
		return res, nameRefusal(k.names, err)
	}
	w := &words{cl: k.cl, given: k.names}
	w.name(k.ctx, &res, k.contract, message)
	return res, nil
}

// query asks with a message.
func (k *custodian) query(message []byte) ([]byte, error) {
	res, err := k.cl.Query(k.ctx, k.contract, message)
	return res.Unproven, nameRefusal(k.names, err)
}

// ask asks in the schema's names, and reads the answer's JSON.
func (k *custodian) ask(question string, fields, into any) error {
	text, err := json.Marshal(map[string]any{question: fields})
	if err != nil {
		return err
	}
	message, err := k.names.Ask(text, time.Now())
	if err != nil {
		return usagef("%v", err)
	}
	raw, err := k.query(message)
	if err != nil {
		return err
	}
	answer, err := k.names.Asked(message).Result.JSON(raw)
	if err != nil {
		return fmt.Errorf("contract %s is no custody contract: %w", k.contract, err)
	}
	return json.Unmarshal(answer, into)
}

// act is a command that makes one transaction of its arguments.
type act struct {
	name, usage, args, example string
	flags                      []cli.Flag
	operation                  string
	fields                     func(c *cli.Context, k *custodian) (map[string]any, error)
}

func custodyActs() []*cli.Command {
	forFlag := &cli.DurationFlag{Name: "for", Value: 24 * time.Hour, Usage: "how long the offer stands"}
	termsFlag := &cli.StringFlag{Name: "terms", Usage: "SHA-256 of the terms in `HEX`"}
	lotFlag, classFlag := &cli.StringFlag{Name: "lot", Usage: "the `LOT` of the class"}, &cli.StringFlag{Name: "class", Usage: "the `CLASS` of goods"}
	acts := []act{
		{"party", "name a party with its rights: maker, importer, authority, destroyer; none takes them away", "ACCOUNT RIGHT ...",
			"postern custody party --prefix urn:epc:id:sgtin:0614141. maker.key maker importer",
			[]cli.Flag{&cli.StringSliceFlag{Name: "prefix", Usage: "what the ids of what it makes begin with; may be repeated"}}, "set_party", partyFields},
		{"make", "make items", "ITEM ...", "postern custody make --class urn:epc:idpat:sgtin:0614141.107346.* --lot L1 urn:epc:id:sgtin:0614141.107346.2017",
			[]cli.Flag{classFlag, lotFlag}, "make", makeFields},
		{"offer", "offer an item to an account", "ITEM ACCOUNT", "postern custody offer --for 2h urn:epc:id:sscc:0614141.1234567890 carrier.key",
			[]cli.Flag{forFlag, termsFlag}, "offer", offerFields},
		{"accept", "accept the offer of an item", "ITEM", "postern custody accept urn:epc:id:sscc:0614141.1234567890", nil, "accept", openOfferFields},
		{"refuse", "refuse the offer of an item, for a reason", "ITEM REASON", "postern custody refuse urn:epc:id:sscc:0614141.1234567890 'the seal is broken'", nil, "refuse", openOfferFields},
		{"cancel", "take an offer back", "ITEM", "postern custody cancel urn:epc:id:sscc:0614141.1234567890", nil, "cancel", itemFields},
		{"pack", "pack items into a container", "CONTAINER ITEM ...", "postern custody pack urn:epc:id:sscc:0614141.1234567890 urn:epc:id:sgtin:0614141.107346.2017", nil, "pack", packFields},
		{"unpack", "take items out of a container, all where none is named", "CONTAINER [ITEM ...]", "postern custody unpack urn:epc:id:sscc:0614141.1234567890", nil, "unpack", packFields},
		{"expect", "register that an item should arrive", "ITEM RECEIVER PLACE", "postern custody expect --within 6h --missing 48h urn:epc:id:sscc:0614141.1234567890 shop.key urn:epc:id:sgln:0614141.00888.0",
			[]cli.Flag{&cli.DurationFlag{Name: "within", Value: 24 * time.Hour, Usage: "late after"}, &cli.DurationFlag{Name: "missing", Value: 72 * time.Hour, Usage: "missing after"}}, "expect", expectFields},
		{"arrive", "say that an item arrived", "ITEM", "postern custody arrive urn:epc:id:sscc:0614141.1234567890", nil, "arrive", itemFields},
		{"recall", "recall an item, or with --class a class or a lot of it", "REASON [ITEM]", "postern custody recall --class urn:epc:idpat:sgtin:0614141.107346.* --lot L1 'glass in it'",
			[]cli.Flag{classFlag, lotFlag}, "recall", recallFields},
	}
	list := make([]*cli.Command, 0, len(acts))
	for _, a := range acts {
		list = append(list, a.command())
	}
	return list
}

func (a act) command() *cli.Command {
	return &cli.Command{
		Name: a.name, Usage: a.usage, ArgsUsage: a.args, Description: example(a.example),
		Flags: withConnect(append([]cli.Flag{custodyFlag}, a.flags...)...),
		Action: func(c *cli.Context) error {
			if required := len(strings.Fields(strings.Split(a.args, "[")[0])); c.NArg() < required && !strings.HasSuffix(a.args, "...") || c.NArg() == 0 {
				return usagef("say %s; see %s --help", a.args, c.Command.HelpName)
			}
			return onCustody(c, callTimeout, func(k *custodian) error {
				fields, err := a.fields(c, k)
				if err != nil {
					return err
				}
				res, err := k.call(a.operation, fields)
				if err != nil {
					return err
				}
				return printer(c).show(res, "done in block %d%s", res.Height, effectText(&res, "result  ", "event   "))
			})
		},
	}
}

func itemFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	return map[string]any{"item": c.Args().First()}, nil
}

func partyFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	id, err := accountID(c.Args().First())
	return map[string]any{"account": hexOf(id), "rights": append([]string{}, c.Args().Tail()...), "prefixes": append([]string{}, c.StringSlice("prefix")...)}, err
}

func makeFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	var things []map[string]string
	for _, item := range c.Args().Slice() {
		thing := map[string]string{"id": item}
		for _, name := range []string{"class", "lot"} {
			if v := c.String(name); v != "" {
				thing[name] = v
			}
		}
		things = append(things, thing)
	}
	return map[string]any{"things": things}, nil
}

func offerFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	to, err := accountID(c.Args().Get(1))
	if err != nil {
		return nil, err
	}
	fields := map[string]any{"item": c.Args().First(), "to": hexOf(to), "expiry": time.Now().Add(c.Duration("for")).UnixMilli()}
	if terms := c.String("terms"); terms != "" {
		if _, err := hex.DecodeString(terms); err != nil {
			return nil, usagef("--terms %q is not hexadecimal", terms)
		}
		fields["terms"] = terms
	}
	return fields, nil
}

// openOfferFields finds the number of the offer that stands.
func openOfferFields(c *cli.Context, k *custodian) (map[string]any, error) {
	item := c.Args().First()
	v, err := k.view(item)
	if err != nil {
		return nil, err
	}
	if v.Offer == nil {
		return nil, fmt.Errorf("%s is not offered to anybody", item)
	}
	fields := map[string]any{"item": item, "offer": v.Offer.Number}
	if c.NArg() > 1 {
		fields["reason"] = c.Args().Get(1)
	}
	return fields, nil
}

func packFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	return map[string]any{"container": c.Args().First(), "items": append([]string{}, c.Args().Tail()...)}, nil
}

func expectFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	receiver, err := accountID(c.Args().Get(1))
	now := time.Now()
	return map[string]any{"item": c.Args().First(), "receiver": hexOf(receiver), "place": c.Args().Get(2),
		"due": now.Add(c.Duration("within")).UnixMilli(), "missing": now.Add(c.Duration("missing")).UnixMilli()}, err
}

func recallFields(c *cli.Context, _ *custodian) (map[string]any, error) {
	fields := map[string]any{"reason": c.Args().First()}
	for name, v := range map[string]string{"item": c.Args().Get(1), "class": c.String("class"), "lot": c.String("lot")} {
		if v != "" {
			fields[name] = v
		}
	}
	return fields, nil
}
