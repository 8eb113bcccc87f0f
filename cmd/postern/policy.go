package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/sdk/client"
)

func policyCommand() *cli.Command {
	contract := &cli.StringFlag{Name: "contract", Value: devContract, Usage: "`NAME` of the access contract"}
	return &cli.Command{
		Name:  "policy",
		Usage: "policy documents of the access contract",
		Description: `A policy document is JSON: entities with roles, properties and relations, and
rules that permit or deny. contracts/access/README.md describes it.`,
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "say what is wrong with a document, by line and field, without a node", ArgsUsage: "FILE", Description: example("postern policy check building.json"),
				Flags: []cli.Flag{jsonFlag}, Action: policyCheck,
			},
			{
				Name: "load", Usage: "write a document under a new version and make it the active one", ArgsUsage: "FILE",
				Description: "Until the last transaction the old version decides, then the new one, whole.\nExample:\n\n   postern policy load building.json",
				Flags:       withConnect(contract), Action: policyLoad,
			},
			{
				Name: "show", Usage: "read the active policy back whole, as a document", Description: example("postern policy show > active.json"), Flags: withConnect(contract), Action: policyShow,
			},
			{
				Name: "put", Usage: "write one rule into the active policy", ArgsUsage: "RULE-FILE",
				Description: "The file holds one rule as it stands in a document. Example:\n\n   postern policy put seal.json",
				Flags:       withConnect(contract), Action: policyPut,
			},
			{
				Name: "delete", Usage: "delete one rule of the active policy", ArgsUsage: "RULE-ID", Description: example("postern policy delete technicians-go-down"),
				Flags: withConnect(contract), Action: policyDelete,
			},
			policyReplayCommand(),
		},
	}
}

type policyOutput struct {
	Version  uint32 `json:"version"`
	Title    string `json:"title,omitempty"`
	Entities int    `json:"entities"`
	Rules    int    `json:"rules"`
	Messages int    `json:"transactions,omitempty"`
}

func policyArg(c *cli.Context) ([]byte, error) {
	if c.NArg() != 1 {
		return nil, usagef("name one file; see %s --help", c.Command.HelpName)
	}
	return os.ReadFile(c.Args().First())
}

// checkPolicy is nil for a document that the contract would take.
func checkPolicy(text []byte) error {
	_, err := access.ParseDocument(text)
	return err
}

type mistakeOutput struct {
	Line  int    `json:"line"`
	Field string `json:"field"`
	Text  string `json:"text"`
}

func policyCheck(c *cli.Context) error {
	text, err := policyArg(c)
	if err != nil {
		return err
	}
	out := printer(c)
	doc, err := access.ParseDocument(text)
	if err != nil {
		return showMistakes(out, c.Args().First(), err)
	}
	warnings := doc.Check()
	for _, w := range warnings {
		out.progressf("warning: %s", w)
	}
	v := struct {
		OK       bool     `json:"ok"`
		Entities int      `json:"entities"`
		Rules    int      `json:"rules"`
		Warnings []string `json:"warnings"`
	}{true, len(doc.Entities), len(doc.Rules), warningTexts(warnings)}
	return out.show(v, "good: %d entities and %d rules", v.Entities, v.Rules)
}

func warningTexts[T fmt.Stringer](warnings []T) []string {
	texts := make([]string, 0, len(warnings))
	for _, w := range warnings {
		texts = append(texts, w.String())
	}
	return texts
}

// showMistakes prints each mistake of a document and ends with exitRefused.
func showMistakes(out output, file string, err error) error {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	v := struct {
		OK       bool            `json:"ok"`
		Mistakes []mistakeOutput `json:"mistakes"`
	}{Mistakes: []mistakeOutput{}}
	for _, e := range list {
		var m *access.Mistake
		if !errors.As(e, &m) {
			m = &access.Mistake{Text: e.Error()}
		}
		v.Mistakes = append(v.Mistakes, mistakeOutput{m.Line, m.Field, m.Text})
		where := fmt.Sprintf("%s:%d", file, m.Line)
		if m.Field != "" {
			where += ": " + m.Field
		}
		out.progressf("%s: %s", where, m.Text)
	}
	if err := out.show(v, "%s", many(len(v.Mistakes), "mistake")); err != nil {
		return err
	}
	return &quietExit{exitRefused}
}

func policyLoad(c *cli.Context) error {
	text, err := policyArg(c)
	if err != nil {
		return err
	}
	if err := checkPolicy(text); err != nil {
		return showMistakes(printer(c), c.Args().First(), err)
	}
	cl, _, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	out := printer(c)
	v, err := loadPolicy(c.Context, cl, c.String("contract"), text, func(done, total int) { out.progressf("written %d of %d transactions", done, total) })
	if err != nil {
		return err
	}
	if asked, err := decidesForADomain(c.Context, cl, c.String("contract")); err == nil && !asked {
		out.progressf("note: contract %s decides for no policy domain; bind one with postern contract bind", c.String("contract"))
	}
	return out.show(v, "version %d is active: %d entities, %d rules", v.Version, v.Entities, v.Rules)
}

func decidesForADomain(ctx context.Context, cl *client.Client, contract string) (asked bool, err error) {
	err = scanAll(ctx, cl, chain.DomainKey(""), func(_, v []byte) error {
		d, err := chain.ParseDomain(v)
		asked = asked || d.Contract == contract
		return err
	})
	return asked, err
}

// loadPolicy writes a document under the version after the active one and
// activates it. If the document is the active one already it does nothing.
func loadPolicy(ctx context.Context, cl *client.Client, contract string, text []byte, progress func(done, total int)) (policyOutput, error) {
	doc, err := access.ParseDocument(text)
	if err != nil {
		return policyOutput{}, err
	}
	active, err := activePolicy(ctx, cl, contract)
	if err != nil {
		return policyOutput{}, err
	}
	v := policyOutput{Version: active.Version, Title: doc.Title, Entities: len(doc.Entities), Rules: len(doc.Rules)}
	if active.Version != 0 && active.Digest == doc.Digest() {
		return v, nil
	}
	if v.Version, err = beginPolicy(ctx, cl, contract, doc, active.Version); err != nil {
		return v, err
	}
	messages := doc.Messages(v.Version, active.Version)
	v.Messages = len(messages)
	for i, m := range messages {
		if i > 0 { // beginPolicy sent the first
			if err := callPolicy(ctx, cl, contract, m); err != nil {
				return v, fmt.Errorf("message %d of %d: %w", i+1, len(messages), err)
			}
		}
		if progress != nil {
			progress(i+1, len(messages))
		}
	}
	return v, nil
}

// maxBroken is how many versions left behind by broken-off loads are stepped
// over; each is given up on the way.
const maxBroken = 16

// beginPolicy sends a document's first message under the first version above
// the active one that nobody has begun.
func beginPolicy(ctx context.Context, cl *client.Client, contract string, doc *access.Document, active uint32) (uint32, error) {
	for version := active + 1; ; version++ {
		err := callPolicy(ctx, cl, contract, doc.Messages(version, active)[0])
		if !aborted(err, access.CodeBadVersion) || version > active+maxBroken {
			return version, err
		}
		err = callPolicy(ctx, cl, contract, access.Abandon(version))
		if err != nil && !aborted(err, access.CodeBadVersion) && !aborted(err, access.CodeNotBuilding) {
			return 0, fmt.Errorf("giving up version %d, which was begun and never finished: %w", version, err)
		}
	}
}

// aborted says whether the access contract refused with this code.
func aborted(err error, code access.Code) bool {
	var refused *client.OutcomeError
	return errors.As(err, &refused) && refused.Outcome.Code == abi.CodeAborted && access.Code(refused.Outcome.Abort) == code
}

// activePolicy describes the active policy; its version is 0 if there is none.
func activePolicy(ctx context.Context, cl *client.Client, contract string) (access.Info, error) {
	res, err := cl.Query(ctx, contract, access.Describe())
	if err != nil {
		return access.Info{}, fmt.Errorf("asking contract %s for its policy: %w", contract, err)
	}
	info, err := access.ParseInfo(res.Unproven)
	if errors.Is(err, access.ErrNoPolicy) {
		return access.Info{}, nil
	}
	return info, err
}

// callPolicy sends one message and names the contract's own code if it refuses.
func callPolicy(ctx context.Context, cl *client.Client, contract string, msg []byte) error {
	args := chain.Call{Contract: contract, Message: msg}
	_, err := transact(ctx, cl, chain.OpCall, &args)
	var refused *client.OutcomeError
	if errors.As(err, &refused) && refused.Outcome.Code == abi.CodeAborted {
		return fmt.Errorf("the contract refuses: %s: %w", access.Code(refused.Outcome.Abort), err)
	}
	return err
}

func policyShow(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		doc, _, err := access.ReadDocument(func(msg []byte) ([]byte, error) {
			res, err := cl.Query(ctx, c.String("contract"), msg)
			return res.Unproven, err
		})
		if err != nil {
			return err
		}
		text, err := doc.JSON()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.App.Writer, string(bytes.TrimSpace(text)))
		return err
	})
}

func policyPut(c *cli.Context) error {
	text, err := policyArg(c)
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		if err := putRule(ctx, cl, c.String("contract"), text); err != nil {
			return err
		}
		return showActive(ctx, cl, c)
	})
}

func showActive(ctx context.Context, cl *client.Client, c *cli.Context) error {
	info, err := activePolicy(ctx, cl, c.String("contract"))
	if err != nil {
		return err
	}
	v := struct {
		Version uint32   `json:"version"`
		Count   uint64   `json:"count"`
		Digest  hexBytes `json:"digest"`
	}{info.Version, info.Count, info.Digest[:]}
	return printer(c).show(v, "version %d now has %d items (entities and rules)", v.Version, v.Count)
}

// putRule writes one rule, given as it stands in a document, with the time
// zone that its hours name.
func putRule(ctx context.Context, cl *client.Client, contract string, text []byte) error {
	if !json.Valid(text) {
		return usagef("the rule is not valid JSON")
	}
	doc, err := access.ParseDocument(fmt.Appendf(nil, `{"rules":[%s]}`, text))
	if err != nil {
		return err
	}
	active, err := activePolicy(ctx, cl, contract)
	if err != nil {
		return err
	}
	for i := range doc.Zones {
		if err := callPolicy(ctx, cl, contract, access.PutZone(active.Version, &doc.Zones[i])); err != nil {
			return err
		}
	}
	return callPolicy(ctx, cl, contract, access.PutRule(active.Version, &doc.Rules[0]))
}

func policyDelete(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one rule id")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		active, err := activePolicy(ctx, cl, c.String("contract"))
		if err != nil {
			return err
		}
		if err := callPolicy(ctx, cl, c.String("contract"), access.DeleteRule(active.Version, c.Args().First())); err != nil {
			return err
		}
		return showActive(ctx, cl, c)
	})
}
