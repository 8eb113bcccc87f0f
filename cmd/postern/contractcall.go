package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/sdk/client"
)

func contractCallCommand() *cli.Command {
	return &cli.Command{
		Name: "call", Usage: "run a contract's execute by transaction", ArgsUsage: "NAME [MESSAGE-JSON]",
		Description: `Of a standard contract the message is written in the names of its schema, an
operation without fields as its name alone; results, events and refusals come in
the same names. Another contract's schema is given with --schema. Otherwise JSON
becomes canonical CBOR as it is; numbers must be exact. Examples:

   postern contract call flat '{"revoke": {"lock": "5b0e…", "kind": "account", "guest": "77aa…"}}'
   postern contract call --schema counter.json counter '{"add": {"by": 2}}'
   postern contract call counter '[1, 2]'`,
		Flags:  withConnect(messageFlag, schemaFlag),
		Action: contractCall,
	}
}

func contractQueryCommand() *cli.Command {
	return &cli.Command{
		Name: "query", Usage: "ask a contract's query on one node (unproven)", ArgsUsage: "NAME [MESSAGE-JSON]",
		Description: `Messages and results have the names of a schema as those of call have. Without a
schema the result is shown as JSON, in which bytes are base64url. With --json it
is there as "value", and as CBOR in hex. Examples:

   postern contract query behaviour '{"device": {"device": "5b0e…"}}'
   postern contract query behaviour loaders
   postern contract query counter '[1]'`,
		Flags:  withConnect(messageFlag, schemaFlag),
		Action: contractQuery,
	}
}

var messageFlag = &cli.StringFlag{Name: "hex", Usage: "the message in `HEX` instead of JSON"}

// message makes a contract's message of hex, or of JSON as it is.
func message(hexText, jsonText string) ([]byte, error) {
	switch {
	case hexText != "" && jsonText != "":
		return nil, usagef("give the message as JSON or in hex, not both")
	case hexText != "":
		b, err := hex.DecodeString(hexText)
		if err != nil {
			return nil, usagef("the message is not hexadecimal: %v", err)
		}
		return b, nil
	case jsonText != "":
		b, err := cbor.AppendJSON(nil, []byte(jsonText))
		if err != nil {
			return nil, usagef("the message: %v", err)
		}
		return b, nil
	}
	return nil, nil
}

// checkMessage says what is wrong with a message whatever its contract, before any
// node is asked.
func checkMessage(c *cli.Context) error {
	if operationWord.MatchString(c.Args().Get(1)) {
		return nil
	}
	_, err := message(c.String("hex"), c.Args().Get(1))
	return err
}

// initMessage makes the message of init, of a standard contract by its schema.
func initMessage(c *cli.Context, code []byte) ([]byte, error) {
	w, err := wordsOf(c, nil)
	if err != nil {
		return nil, err
	}
	if standard, ok := contracts.Known(sha256.Sum256(code)); ok && w.given == nil {
		w.given = standard.Schema
	}
	return spoken(w.given, (*schema.Schema).Start, c.String("init-hex"), c.String("init"))
}

func contractCall(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usagef("name a contract and its message")
	}
	args := chain.Call{Contract: c.Args().First()}
	if err := checkMessage(c); err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		w, err := wordsOf(c, cl)
		if err != nil {
			return err
		}
		s := w.of(ctx, args.Contract)
		if args.Message, err = spoken(s, (*schema.Schema).Call, c.String("hex"), c.Args().Get(1)); err != nil {
			return err
		}
		res, err := transact(ctx, cl, chain.OpCall, &args)
		if err != nil {
			return nameRefusal(s, err)
		}
		w.name(ctx, &res, args.Contract, args.Message)
		return printer(c).show(res, "done in block %d, gas %d%s", res.Height, res.Gas, effectText(&res, "result  ", "event   "))
	})
}

// effectText tells what a transaction returned and what events came of it, a
// line each behind its label.
func effectText(t *txOutput, result, event string) string {
	var b strings.Builder
	if len(t.Result) > 0 {
		b.WriteString("\n" + result + shown(t.Value, t.Result))
	}
	for _, e := range t.Events {
		b.WriteString(strings.TrimRight("\n"+event+e.Contract+" "+e.Topic+" "+shown(e.Value, e.Data), " "))
	}
	return b.String()
}

// shown is a value in the words of a schema, or else as it is.
func shown(value json.RawMessage, raw []byte) string {
	if value != nil {
		return string(value)
	}
	return readable(raw)
}

type queryOutput struct {
	Result   hexBytes        `json:"result"`
	Value    json.RawMessage `json:"value,omitempty"`
	Height   uint64          `json:"height"`
	Unproven bool            `json:"unproven"`
}

func contractQuery(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usagef("name a contract and its message")
	}
	if err := checkMessage(c); err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		w, err := wordsOf(c, cl)
		if err != nil {
			return err
		}
		s := w.of(ctx, c.Args().First())
		msg, err := spoken(s, (*schema.Schema).Ask, c.String("hex"), c.Args().Get(1))
		if err != nil {
			return err
		}
		res, err := cl.Query(ctx, c.Args().First(), msg)
		if err != nil {
			return nameRefusal(s, err)
		}
		var returned *schema.Type
		if s != nil {
			returned = resultType(s.Asked(msg))
		}
		v := queryOutput{res.Unproven, valueOf(res.Unproven, returned), res.Height, true}
		return printer(c).show(v, "%s", shown(v.Value, v.Result))
	})
}

// readable shows CBOR as JSON and anything else in hex.
func readable(b []byte) string {
	if text, err := cbor.AppendAsJSON(nil, b); err == nil {
		return string(text)
	}
	return hex.EncodeToString(b)
}
