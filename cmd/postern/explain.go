package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/contracts/access"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "say which rule made a decision, and make the decision again", ArgsUsage: "RECEIPT",
		Description: `It checks the receipt, builds the ledger of that height anew in a folder of the
home, by executing the blocks from a snapshot or the genesis on, and asks the
policy once more with the clock of then. It ends with exit code 4 if the receipt
is false or another answer comes out.

The receipt must show caller, domain, request, time and state.

Example:

   postern explain --home /var/lib/postern 42.receipt`,
		Flags:  withConnect(),
		Action: explain,
	}
}

type explainOutput struct {
	OK       bool            `json:"ok"` // the same answer came out
	Decision *decisionOutput `json:"decision"`
	Again    *decisionOutput `json:"again"`
	Differs  []string        `json:"differs,omitempty"` // fields of the record
	Version  uint32          `json:"policy_version,omitempty"`
	Rule     json.RawMessage `json:"rule,omitempty"`
	Note     string          `json:"note,omitempty"`
}

// neededAgain is what a receipt must show for the decision to be made again.
var neededAgain = proof.Fields(proof.FieldTime, proof.FieldState, proof.FieldCaller, proof.FieldDomain, proof.FieldRequest)

func explain(c *cli.Context) error {
	_, proven, err := verifiedReceipt(c)
	if err != nil {
		return err
	}
	if missing := neededAgain &^ proven.Shown; missing != 0 {
		return fmt.Errorf("the receipt hides %v, without which nobody can make the decision again: %w", missing.List(), abi.CodeBadArgument)
	}
	l, err := openHomeLedger(c, home(c.String("home")))
	if err != nil {
		return err
	}
	defer l.close()
	r := &proven.Record
	p, err := openBygone(c.Context, l, r.Height)
	if err != nil {
		return err
	}
	v, err := explainIn(c.Context, p, proven, printer(c))
	if err = errors.Join(err, p.close()); err != nil {
		return err
	}
	if err := printer(c).show(v, "%s", v.text()); err != nil {
		return err
	}
	if !v.OK {
		return &quietExit{exitRefused}
	}
	return nil
}

func explainIn(ctx context.Context, p *bygone, proven *proof.Proven, out output) (*explainOutput, error) {
	r := &proven.Record
	err := p.advance(ctx, r.Height, func(height uint64) { out.progressf("executed blocks up to %d of %d", height, r.Height) })
	if err != nil {
		return nil, err
	}
	again, err := p.again(ctx, r)
	if err != nil {
		return nil, err
	}
	v := &explainOutput{Decision: outputOfRecord(proven.Index, r, proven.Shown), Again: outputOfRecord(proven.Index, again, proven.Shown)}
	v.Differs = differences(r, again, proven.Shown)
	v.OK = len(v.Differs) == 0
	if !v.OK && ofTheMoment(r.Code) {
		v.Note = "the gateway could not decide at that moment; what it would have decided is shown"
		v.OK = true
	}
	v.Version, v.Rule = ruleOf(ctx, p, again)
	return v, nil
}

// differences names the fields of a record, among those shown, that came out
// otherwise.
func differences(a, b *proof.Record, shown proof.FieldSet) (names []string) {
	x, y := a.Disclose(0), b.Disclose(0)
	for _, f := range shown.List() {
		if !bytes.Equal(x.Value(f), y.Value(f)) {
			names = append(names, f.String())
		}
	}
	return names
}

// ruleOf is the rule of the access contract that made a decision, or those that
// give its reason; of other contracts nobody knows the rules.
func ruleOf(ctx context.Context, p *bygone, r *proof.Record) (version uint32, rule json.RawMessage) {
	if r.Contract == "" {
		return 0, nil
	}
	doc, info, err := access.ReadDocument(func(msg []byte) ([]byte, error) {
		out, _, err := p.ledger.Query(ctx, r.Contract, msg)
		return out, err
	})
	if err != nil {
		return 0, nil
	}
	var named []access.Rule
	for _, rule := range doc.Rules {
		if cmp.Or(rule.Reason, rule.ID) == r.ReasonID {
			named = append(named, rule)
		}
	}
	if named == nil {
		return info.Version, nil
	}
	rule, err = (&access.Document{Rules: named}).JSON()
	if err != nil {
		return info.Version, nil
	}
	return info.Version, rule
}

func (v *explainOutput) text() string {
	text := "the decision  " + v.Decision.text()
	switch {
	case v.Note != "":
		text += "\nnote          " + v.Note + "\nnow it is     " + v.Again.text()
	case v.OK:
		text += fmt.Sprintf("\nmade again    the same, at height %d", v.Decision.Height)
	default:
		text += fmt.Sprintf("\nmade again    IT IS ANOTHER: %v\nit should be  %s", v.Differs, v.Again.text())
	}
	switch {
	case v.Rule != nil:
		text += fmt.Sprintf("\nby the rule   of policy version %d:\n%s", v.Version, bytes.TrimSpace(v.Rule))
	case v.Version != 0:
		text += fmt.Sprintf("\nby no rule    of policy version %d", v.Version)
	}
	return text
}
