package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

func decideCommand() *cli.Command {
	return &cli.Command{
		Name:  "decide",
		Usage: "ask for a decision over QUIC",
		Description: `With --subject it asks as the enforcement point of --home; without, the holder
of --key asks for itself, as a device does. Exit code 0 is a permit, 3 a
denial; properties and context are JSON objects. With --quorum several gateways
are asked the same, so that one that was taken over opens nothing alone.

Example:

   postern decide --subject user:ann --action open --resource door:1
   postern decide --key reader.key --action open --resource door:1 --context '{"badge":"42"}'
   postern decide --quorum 2 --gateway 10.0.0.1:7433 --gateway 10.0.0.2:7433 --action open --resource door:vault`,
		Flags: withConnect(append([]cli.Flag{
			&cli.StringFlag{Name: "subject", Usage: "who asks: `TYPE:ID` (default: the key's own account)"},
			&cli.StringFlag{Name: "action", Usage: "what the subject wants to do: `NAME`"},
			&cli.StringFlag{Name: "resource", Usage: "what it is done to: `TYPE:ID`"},
			&cli.StringFlag{Name: "subject-properties", Usage: "the subject's properties, a `JSON` object"},
			&cli.StringFlag{Name: "action-properties", Usage: "the action's properties, a `JSON` object"},
			&cli.StringFlag{Name: "resource-properties", Usage: "the resource's properties, a `JSON` object"},
			&cli.StringFlag{Name: "context", Usage: "what else the policy may look at, a `JSON` object"},
			&cli.StringFlag{Name: "domain", Value: abi.DefaultDomain, Usage: "the policy `DOMAIN` to ask"},
		}, quorumFlags...)...),
		Action: decide,
	}
}

func decide(c *cli.Context) error {
	if err := require(c, "action", "resource"); err != nil {
		return err
	}
	q, err := decisionRequest(c)
	if err != nil {
		return err
	}
	keyFile := operatorKeyFile
	if q.Subject != nil {
		keyFile = enforcementKeyFile
	}
	if c.IsSet("quorum") {
		return decideByQuorum(c, q, keyFile)
	}
	if c.IsSet("gateway") || c.IsSet("staleness") {
		return usagef("--gateway and --staleness go with --quorum")
	}
	cl, _, err := connect(c, keyFile)
	if isCode(err, abi.CodeDeviceInactive) { // a retired device is not even let in
		return showAnswer(printer(c), &abi.Answer{Code: abi.CodeDeviceInactive, Now: time.Now().UnixMilli()})
	}
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	a, err := cl.Decide(ctx, c.String("domain"), q)
	if err != nil && a.Code == abi.OK {
		return err
	}
	return showAnswer(printer(c), &a)
}

func decisionRequest(c *cli.Context) (*abi.DecisionRequest, error) {
	q := &abi.DecisionRequest{Action: abi.Action{Name: c.String("action")}}
	var err error
	if c.IsSet("subject") {
		q.Subject = &abi.Entity{}
		if q.Subject.Type, q.Subject.ID, err = typeAndID(c.String("subject"), "--subject"); err != nil {
			return nil, err
		}
		if q.Subject.Properties, err = jsonObject(c, "subject-properties"); err != nil {
			return nil, err
		}
	}
	if q.Subject == nil && c.IsSet("subject-properties") {
		return nil, usagef("--subject-properties goes with --subject: of a key that asks for itself the ledger knows the properties")
	}
	if q.Resource.Type, q.Resource.ID, err = typeAndID(c.String("resource"), "--resource"); err != nil {
		return nil, err
	}
	if q.Action.Properties, err = jsonObject(c, "action-properties"); err != nil {
		return nil, err
	}
	if q.Resource.Properties, err = jsonObject(c, "resource-properties"); err != nil {
		return nil, err
	}
	q.Context, err = jsonObject(c, "context")
	return q, err
}

func typeAndID(s, flag string) (typ, id string, err error) {
	typ, id, ok := strings.Cut(s, ":")
	if !ok || typ == "" || id == "" {
		return "", "", usagef("%s %q: write TYPE:ID", flag, s)
	}
	return typ, id, nil
}

// jsonObject reads a flag's JSON object as a canonical map, nil when unset.
func jsonObject(c *cli.Context, flag string) ([]byte, error) {
	if !c.IsSet(flag) {
		return nil, nil
	}
	b, err := cbor.AppendJSON(nil, []byte(c.String(flag)))
	if err != nil {
		return nil, usagef("--%s: %v", flag, err)
	}
	if r := cbor.NewReader(b); r.Kind() != cbor.KindMap {
		return nil, usagef("--%s: want a JSON object", flag)
	}
	return b, nil
}

type answerOutput struct {
	Decision    bool            `json:"decision"`
	Code        string          `json:"code,omitempty"`
	Reason      uint64          `json:"reason,omitempty"`
	ReasonID    string          `json:"reason_id,omitempty"`
	Obligations json.RawMessage `json:"obligations,omitempty"`
	TTL         uint64          `json:"ttl_ms,omitempty"`
	Record      uint64          `json:"record"`
	Height      uint64          `json:"height"`
	Contract    string          `json:"contract,omitempty"`
	CodeHash    hexBytes        `json:"code_hash,omitempty"`
	Staleness   uint64          `json:"staleness_ms"`
	Now         time.Time       `json:"now"`
}

func showAnswer(out output, a *abi.Answer) error {
	v := answerOutput{Decision: a.Permit, Reason: a.Reason, ReasonID: a.ReasonID, TTL: a.TTL, Record: a.Record, Height: a.Height,
		Contract: a.Contract, Staleness: a.Staleness, Now: time.UnixMilli(a.Now).UTC()}
	if a.Obligations != nil {
		text, err := cbor.AppendAsJSON(nil, a.Obligations)
		if err != nil {
			return err
		}
		v.Obligations = text
	}
	if a.CodeHash != (abi.Hash{}) {
		v.CodeHash = a.CodeHash[:]
	}
	if !a.Permit {
		v.Code = a.Code.Name()
	}
	if err := out.show(v, "%s", answerText(a)); err != nil {
		return err
	}
	if !a.Permit {
		return &quietExit{exitDenied}
	}
	return nil
}

func answerText(a *abi.Answer) string {
	word, why := "PERMIT", a.ReasonID
	if !a.Permit {
		word = "DENY  "
		if why == "" {
			why = a.Code.Name() + ": " + a.Code.Text()
		} else if a.Code == abi.CodeByTransaction { // the one denial that the asker can open
			why += " (" + a.Code.Name() + ")"
		}
	}
	if a.Reason != 0 && a.ReasonID == "" {
		why = strings.TrimSpace(fmt.Sprintf("%s (the contract's reason %d)", why, a.Reason))
	}
	return strings.TrimSpace(word + "  " + why)
}
