package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name:  "events",
		Usage: "what contracts and the ledger tell",
		Subcommands: []*cli.Command{{
			Name: "tail", Usage: "print events as blocks bring them, until interrupted",
			Description: `Without --after it begins with the next block. It goes on over lost connections
and misses nothing; with --json each event is one line, and a program that keeps
the height of the last goes on from the block before it.

Examples:

   postern events tail --topic device.status
   postern events tail --device reader.key --after 0 --count 10
   postern events tail --contract locker --json`,
			Flags: withConnect(
				&cli.StringFlag{Name: "contract", Usage: "only of this contract: `NAME`; - for the ledger's own"},
				&cli.StringFlag{Name: "device", Usage: "only what this device sent, and what the ledger tells of it: `" + deviceArgument + "`"},
				&cli.StringFlag{Name: "topic", Usage: "only with this topic: `TEXT`, or hex:DIGITS"},
				&cli.Uint64Flag{Name: "after", Usage: "begin behind this `HEIGHT`; 0 is the whole chain, as far as it is kept"},
				&cli.IntFlag{Name: "count", Usage: "end after `N` events"},
				schemaFlag,
			),
			Action: eventsTail,
		}},
	}
}

func eventsTail(c *cli.Context) error {
	cl, _, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	filter, err := eventFilter(c, cl)
	if err != nil {
		return err
	}
	var after *uint64
	if c.IsSet("after") {
		height := c.Uint64("after")
		after = &height
	}
	names, err := wordsOf(c, cl)
	if err != nil {
		return err
	}
	out, seen := printer(c), 0
	for e, err := range cl.Subscribe(filter, after).Events(c.Context) {
		if err != nil {
			return fmt.Errorf("following the events: %w", err)
		}
		if err := showEvent(c.Context, out, e, names); err != nil {
			return err
		}
		if seen++; seen == c.Int("count") {
			break
		}
	}
	return nil
}

// eventFilter reads the flags that choose events.
func eventFilter(c *cli.Context, cl *client.Client) (f abi.EventFilter, err error) {
	if c.IsSet("contract") {
		name := c.String("contract")
		if name == "-" {
			name = ""
		} else if !abi.ValidName(name) {
			return f, usagef("--contract %q is no contract's name", name)
		}
		f.Contract = &name
	}
	if c.IsSet("device") {
		ctx, cancel := context.WithTimeout(c.Context, callTimeout)
		defer cancel()
		name, err := nameOf(c.String("device"))
		if err != nil {
			return f, err
		}
		id, err := name.account(ctx, cl)
		if err != nil {
			return f, err
		}
		f.Device = &id
	}
	if c.IsSet("topic") {
		f.Topic, err = topicOf(c.String("topic"))
	}
	return f, err
}

// topicOf reads a topic given as text or in hexadecimal digits.
func topicOf(text string) ([]byte, error) {
	if len(text) > 4 && text[:4] == "hex:" {
		b, err := hex.DecodeString(text[4:])
		if err != nil {
			return nil, usagef("--topic %q: hexadecimal digits follow hex:", text)
		}
		return b, nil
	}
	return []byte(text), nil
}

type tailedEvent struct {
	Height   uint64        `json:"height"`
	Index    uint64        `json:"index"`
	ID       hexBytes      `json:"id"`
	Contract string        `json:"contract,omitempty"`
	Topic    string        `json:"topic"`
	Time     time.Time     `json:"time"`
	Data     hexBytes      `json:"data,omitempty"`
	Notice   *noticeOutput `json:"notice,omitempty"`

	Value json.RawMessage `json:"value,omitempty"` // the data in the names of the contract's schema
}

// noticeOutput is what the ledger itself tells.
type noticeOutput struct {
	Subject hexBytes `json:"subject"`
	Level   uint8    `json:"level,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	By      hexBytes `json:"by,omitempty"`
	Hash    hexBytes `json:"hash,omitempty"`
	Number  uint64   `json:"number,omitempty"`
}

func showEvent(ctx context.Context, out output, e *abi.EventFrame, names *words) error {
	v := tailedEvent{Height: e.Height, Index: e.Index, ID: hexOf(e.ID), Contract: e.Contract, Topic: topicText(e.Topic), Time: time.UnixMilli(e.Time).UTC()}
	from, what := e.Contract, ""
	if n, err := chain.ParseNotice(e.Data); e.Contract == "" && err == nil {
		v.Notice = newNoticeOutput(&n)
		from, what = "ledger", noticeText(string(e.Topic), &n)
	} else {
		v.Data, v.Value = e.Data, valueOf(e.Data, eventType(names.of(ctx, e.Contract), v.Topic))
		what = shown(v.Value, v.Data)
	}
	return out.show(v, "%d.%d  %s  %s  %s  %s", e.Height, e.Index, v.Time.Format(time.RFC3339), from, v.Topic, what)
}

func newNoticeOutput(n *chain.Notice) *noticeOutput {
	o := &noticeOutput{Subject: hexOf(n.Subject), Level: n.Level, Reason: n.Reason, Number: n.Number}
	if n.By != nil {
		o.By = hexOf(*n.By)
	}
	if n.Hash != nil {
		o.Hash = hexOf(*n.Hash)
	}
	return o
}

func noticeText(topic string, n *chain.Notice) string {
	text := fmt.Sprintf("%x", n.Subject[:8])
	switch {
	case topic == chain.TopicDeviceStatus:
		text += " " + abi.Status(n.Level).String()
	case topic == chain.TopicDeviceAlert:
		text += " " + abi.Level(n.Level).String()
	}
	if n.Reason != "" {
		text += ": " + n.Reason
	}
	return text
}

// topicText is a topic as text if it is some, and otherwise in hexadecimal digits.
func topicText(b []byte) string {
	if !utf8.Valid(b) {
		return "hex:" + hex.EncodeToString(b)
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) {
			return "hex:" + hex.EncodeToString(b)
		}
	}
	return string(b)
}
