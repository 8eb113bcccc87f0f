package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
)

// itemView is an item as the contract's query gives it.
type itemView struct {
	Item struct {
		Maker    string      `json:"maker,omitempty"`
		Holder   string      `json:"holder"`
		Since    string      `json:"since"`
		Steps    uint64      `json:"steps"`
		Class    string      `json:"class,omitempty"`
		Lot      string      `json:"lot,omitempty"`
		Quantity json.Number `json:"quantity,omitempty"`
		Unit     string      `json:"unit,omitempty"`
		Parent   string      `json:"parent,omitempty"`
		Ended    string      `json:"ended,omitempty"`
	} `json:"item"`
	Holder    string `json:"holder"`
	Outermost string `json:"outermost,omitempty"`
	Recall    uint64 `json:"recall,omitempty"`
	Offer     *struct {
		Number uint64          `json:"number"`
		Open   json.RawMessage `json:"open"`
	} `json:"offer,omitempty"`
	Arrival json.RawMessage `json:"arrival,omitempty"`
}

// view asks for an item.
func (k *custodian) view(item string) (*itemView, error) {
	var v *itemView
	if err := k.ask("item", map[string]any{"item": item}, &v); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("item %s: %w", item, abi.CodeNotFound)
	}
	return v, nil
}

// custodyStep is a step in an item's life.
type custodyStep struct {
	Kind     string      `json:"kind"`
	Time     time.Time   `json:"time"`
	By       string      `json:"by,omitempty"`
	Other    string      `json:"other,omitempty"`
	Place    string      `json:"place,omitempty"`
	Hash     string      `json:"hash,omitempty"`
	Event    uint64      `json:"event,omitempty"`
	Quantity json.Number `json:"quantity,omitempty"`
	Note     string      `json:"note,omitempty"`
	// With is the container whose step it is, where the item lay in one.
	With string `json:"with,omitempty"`
}

// maxContainers is how deep containers nest.
const maxContainers = 8

// chainOf are the steps of an item's life, and of the containers around it while
// it lay in them, in the order of time.
func (k *custodian) chainOf(item string, depth int) ([]custodyStep, error) {
	own, err := k.steps(item)
	if err != nil || depth == maxContainers {
		return own, err
	}
	list := slices.Clone(own)
	for i, s := range own {
		if s.Kind != "packed" {
			continue
		}
		around, err := k.chainOf(s.Place, depth+1)
		if err != nil {
			return nil, err
		}
		for _, a := range around {
			if !a.Time.After(s.Time) || takenOut(own[i+1:]).Before(a.Time) || a.Kind == "packed" || a.Kind == "unpacked" {
				continue
			}
			if a.With == "" {
				a.With = s.Place
			}
			list = append(list, a)
		}
	}
	slices.SortStableFunc(list, func(a, b custodyStep) int { return a.Time.Compare(b.Time) })
	return list, nil
}

// takenOut is when an item left its container, by its steps since; far ahead where
// it did not.
func takenOut(since []custodyStep) time.Time {
	for _, s := range since {
		switch s.Kind {
		case "unpacked", "destroyed", "used":
			return s.Time
		}
	}
	return time.Unix(1<<40, 0)
}

func (k *custodian) steps(item string) (list []custodyStep, err error) {
	for after := uint64(0); ; {
		var page []struct {
			Number uint64      `json:"number"`
			Step   custodyStep `json:"step"`
		}
		err := k.ask("chain", map[string]any{"item": item, "after": after, "limit": 64}, &page)
		if err != nil || len(page) == 0 {
			return list, err
		}
		for _, p := range page {
			list, after = append(list, p.Step), p.Number
		}
	}
}

func custodyShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show an item: who holds it, what stands against it, and its life (unproven)", ArgsUsage: "ITEM",
		Description: "The life of the containers in which it lay belongs to it.\nExample:\n\n   postern custody show urn:epc:id:sgtin:0614141.107346.2017",
		Flags:       withConnect(custodyFlag), Action: custodyShow,
	}
}

func custodyShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one item")
	}
	return onCustody(c, callTimeout, func(k *custodian) error {
		item := c.Args().First()
		v, err := k.view(item)
		if err != nil {
			return err
		}
		steps, err := k.chainOf(item, 0)
		if err != nil {
			return err
		}
		out := struct {
			*itemView
			Chain []custodyStep `json:"chain"`
		}{v, steps}
		return printer(c).show(out, "%s", itemText(item, v, steps))
	})
}

func itemText(item string, v *itemView, steps []custodyStep) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "\n%-10s"+format, append([]any{label}, args...)...)
	}
	b.WriteString("item      " + item)
	line("holder", "%s", v.Holder)
	for _, row := range [][2]string{
		{"maker", v.Item.Maker}, {"class", v.Item.Class}, {"lot", v.Item.Lot}, {"quantity", strings.TrimSpace(v.Item.Quantity.String() + " " + v.Item.Unit)},
		{"packed in", v.Item.Parent}, {"outermost", v.Outermost}, {"ended", v.Item.Ended}, {"expected", string(v.Arrival)},
	} {
		if row[1] != "" {
			line(row[0], "%s", row[1])
		}
	}
	if v.Recall != 0 {
		line("recalled", "by recall %d", v.Recall)
	}
	if v.Offer != nil {
		line("offered", "%d: %s", v.Offer.Number, v.Offer.Open)
	}
	for _, s := range steps {
		b.WriteString("\n" + s.String())
	}
	return b.String()
}

func (s custodyStep) String() string {
	text := fmt.Sprintf("%s  %s", s.Time.Format(time.RFC3339), s.Kind)
	for _, part := range [][2]string{{"by", s.By}, {"with", s.Other}, {"at", s.Place}, {"hash", s.Hash}, {"quantity", s.Quantity.String()}, {"said", s.Note}, {"in", s.With}} {
		if part[1] != "" {
			text += " " + part[0] + " " + part[1]
		}
	}
	return text
}

func custodyListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list alarms, expected arrivals, recalls, parties; or what an account holds, or is offered", ArgsUsage: "alarms|expected|recalls|parties|held|offers [ACCOUNT]",
		Description: "Examples:\n\n   postern custody list alarms\n   postern custody list held carrier.key",
		Flags:       withConnect(custodyFlag), Action: custodyList,
	}
}

func custodyList(c *cli.Context) error {
	what, fields := c.Args().First(), map[string]any{"limit": 64}
	switch what {
	case "alarms", "expected":
		fields["after"] = ""
	case "recalls":
		fields["after"] = 0
	case "parties":
	case "held", "offers":
		id, err := accountID(c.Args().Get(1))
		if err != nil {
			return err
		}
		fields["after"], fields["account"] = "", hexOf(id)
	default:
		return usagef("say which: alarms, expected, recalls, parties, held ACCOUNT or offers ACCOUNT")
	}
	return onCustody(c, callTimeout, func(k *custodian) error {
		rows, err := k.pages(what, fields)
		if err != nil {
			return err
		}
		lines := make([]string, 0, len(rows))
		for _, row := range rows {
			lines = append(lines, string(row))
		}
		return printer(c).table(rows, strings.ToUpper(what), lines)
	})
}

// pages reads a whole list: each page begins behind the last entry of the one
// before, which is a name, or has its name or number first.
func (k *custodian) pages(what string, fields map[string]any) ([]json.RawMessage, error) {
	rows := []json.RawMessage{}
	for {
		var page []json.RawMessage
		if err := k.ask(what, fields, &page); err != nil || len(page) == 0 {
			return rows, err
		}
		rows = append(rows, page...)
		last := page[len(page)-1]
		var entry struct {
			Item    *string `json:"item"`
			Number  *uint64 `json:"number"`
			Account *string `json:"account"`
		}
		switch err := json.Unmarshal(last, &entry); {
		case err != nil:
			fields["after"] = last
		case entry.Item != nil:
			fields["after"] = *entry.Item
		case entry.Number != nil:
			fields["after"] = *entry.Number
		default:
			fields["after"] = entry.Account
		}
	}
}
