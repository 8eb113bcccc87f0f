package main

import (
	"encoding/hex"
	"fmt"
	"os"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/webhook"
)

// webhooksDir holds, in the home, how far each webhook is and its dead letters.
const webhooksDir = "webhooks"

// webhookConfig is one [[webhook]] of postern.toml: where events are pushed to.
type webhookConfig struct {
	Name     string  `toml:"name"`     // of its directory
	URL      string  `toml:"url"`      // https, or http to this host
	Contract *string `toml:"contract"` // only of this contract; "" for the ledger's own
	Device   string  `toml:"device"`   // only of this device: its id
	Topic    string  `toml:"topic"`    // only with this topic: text, or hex:DIGITS
	Origin   string  `toml:"origin"`   // who asks the target for its consent; the host's name
}

// target is the webhook as its package has it.
func (c *webhookConfig) target() (webhook.Target, error) {
	t := webhook.Target{Name: c.Name, URL: c.URL, Filter: abi.EventFilter{Contract: c.Contract}}
	if err := t.Validate(); err != nil {
		return t, err
	}
	if c.Contract != nil && *c.Contract != "" && !abi.ValidName(*c.Contract) {
		return t, fmt.Errorf("webhook %s: contract %q is no contract's name", c.Name, *c.Contract)
	}
	if c.Device != "" {
		id, err := hex.DecodeString(c.Device)
		if err != nil || len(id) != len(abi.Hash{}) {
			return t, fmt.Errorf("webhook %s: device %q: want the 64 hexadecimal digits of its id", c.Name, c.Device)
		}
		t.Filter.Device = (*abi.Hash)(id)
	}
	if c.Topic != "" {
		topic, err := topicOf(c.Topic)
		if err != nil || len(topic) > abi.MaxTopic {
			return t, fmt.Errorf("webhook %s: topic %q: want at most %d bytes, as text or hex:DIGITS", c.Name, c.Topic, abi.MaxTopic)
		}
		t.Filter.Topic = topic
	}
	return t, nil
}

// targets reads all webhooks of a configuration, and how they name their sender.
func (c *config) targets() (list []webhook.Target, origin string, err error) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		t, err := w.target()
		if err != nil {
			return nil, "", err
		}
		list = append(list, t)
		if w.Origin != "" && origin != "" && w.Origin != origin {
			return nil, "", fmt.Errorf("webhook %s: origin %q: all webhooks of a node have one origin", w.Name, w.Origin)
		}
		if w.Origin != "" {
			origin = w.Origin
		}
	}
	if origin == "" && len(list) > 0 {
		origin, err = os.Hostname()
	}
	return list, origin, err
}

// openWebhooks makes what pushes events, if any are configured.
func (n *node) openWebhooks(cfg config) error {
	list, origin, err := cfg.targets()
	if err != nil || len(list) == 0 {
		return err
	}
	n.webhooks, err = webhook.New(webhook.Config{
		Targets: list, Source: service{n}, Dir: n.home.path(webhooksDir),
		Key: n.key.Private(), KeyID: didOf(n.key.Public()), Origin: origin, Logger: n.log,
	})
	return err
}

// Metrics of webhooks.
var metricWebhooks = newMetric("webhook_events_total", "Events for others' servers.", counter, "webhook", "what")

func (c collector) webhooks(put put) {
	if c.n.webhooks == nil {
		return
	}
	for _, w := range c.n.webhooks.Counts() {
		put(metricWebhooks, float64(w.Delivered), w.Target, "delivered")
		put(metricWebhooks, float64(w.Retried), w.Target, "retried")
		put(metricWebhooks, float64(w.Dead), w.Target, "dead")
	}
}
