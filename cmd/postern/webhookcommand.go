package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/net/webhook"
	"github.com/seed79541315/postern/sdk/key"
)

func webhookCommand() *cli.Command {
	return &cli.Command{
		Name:  "webhook",
		Usage: "see to events that are pushed to others' servers",
		Description: `Webhooks are [[webhook]] tables of postern.toml. What a target refused for good,
or did not take for a day, waits among its dead letters.`,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the webhooks of a home, and how many dead letters each has",
				Description: "Example:\n\n   postern webhook list --home /var/lib/postern",
				Flags:       []cli.Flag{homeFlag, jsonFlag}, Action: webhookList,
			},
			{
				Name: "dead", Usage: "print a webhook's dead letters, one CloudEvent a line", ArgsUsage: "NAME",
				Description: "Example:\n\n   postern webhook dead police",
				Flags:       []cli.Flag{homeFlag, jsonFlag}, Action: webhookDead,
			},
			{
				Name: "redeliver", Usage: "send dead letters again, the oldest first, until one is not taken", ArgsUsage: "NAME [ID...]",
				Description: `The node may run meanwhile. What is taken is no dead letter any more.

Examples:

   postern webhook redeliver police
   postern webhook redeliver police 1042-0`,
				Flags: []cli.Flag{homeFlag, jsonFlag}, Action: webhookRedeliver,
			},
		},
	}
}

type webhookOutput struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Dead int    `json:"dead_letters"`
}

func webhookList(c *cli.Context) error {
	h := home(c.String("home"))
	list, _, err := homeTargets(h)
	if err != nil {
		return err
	}
	rows, lines := []webhookOutput{}, []string{}
	for _, t := range list {
		ids, err := webhook.DeadLetters(h.path(webhooksDir), t.Name)
		if err != nil {
			return err
		}
		rows = append(rows, webhookOutput{t.Name, t.URL, len(ids)})
		lines = append(lines, fmt.Sprintf("%s\t%s\t%d", t.Name, t.URL, len(ids)))
	}
	return printer(c).table(rows, "WEBHOOK\tURL\tDEAD LETTERS", lines)
}

// homeTargets reads the webhooks of a home.
func homeTargets(h home) (list []webhook.Target, origin string, err error) {
	cfg, err := h.config()
	if err != nil {
		return nil, "", err
	}
	return cfg.targets()
}

// namedTarget is the webhook that the command line names first.
func namedTarget(c *cli.Context, h home) (t webhook.Target, origin string, err error) {
	if c.NArg() == 0 {
		return t, "", usagef("name the webhook; postern webhook list shows them")
	}
	list, origin, err := homeTargets(h)
	if err != nil {
		return t, "", err
	}
	i := slices.IndexFunc(list, func(t webhook.Target) bool { return t.Name == c.Args().First() })
	if i < 0 {
		return t, "", usagef("no webhook of %s is named %q; postern webhook list shows them", h.path("postern.toml"), c.Args().First())
	}
	return list[i], origin, nil
}

func webhookDead(c *cli.Context) error {
	h := home(c.String("home"))
	t, _, err := namedTarget(c, h)
	if err != nil {
		return err
	}
	ids, err := webhook.DeadLetters(h.path(webhooksDir), t.Name)
	if err != nil {
		return err
	}
	out, rows := printer(c), []json.RawMessage{}
	for _, id := range ids {
		letter, err := webhook.DeadLetter(h.path(webhooksDir), t.Name, id)
		if err != nil {
			return err
		}
		if !json.Valid(letter) {
			return fmt.Errorf("dead letter %s of webhook %s is damaged; remove its file below %s", id, t.Name, h.path(webhooksDir))
		}
		rows = append(rows, letter)
		out.progressf("%s", letter)
	}
	if !out.json {
		return nil
	}
	return json.NewEncoder(out.w).Encode(rows)
}

func webhookRedeliver(c *cli.Context) error {
	h := home(c.String("home"))
	t, origin, err := namedTarget(c, h)
	if err != nil {
		return err
	}
	dir := h.path(webhooksDir)
	ids, err := webhook.DeadLetters(dir, t.Name)
	if err != nil {
		return err
	}
	if chosen := c.Args().Tail(); len(chosen) > 0 {
		for _, id := range chosen {
			if !slices.Contains(ids, id) {
				return usagef("webhook %s has no dead letter %q; postern webhook dead %s shows them", t.Name, id, t.Name)
			}
		}
		ids = chosen
	}
	sender, err := webhookSender(h, origin)
	if err != nil {
		return err
	}
	sent, err := redeliver(c.Context, sender, t, ids)
	left, listErr := webhook.DeadLetters(dir, t.Name)
	return errors.Join(err, listErr, printer(c).show(struct {
		Sent int `json:"sent"`
		Left int `json:"left"`
	}{sent, len(left)}, "%d sent, %d left", sent, len(left)))
}

// webhookSender is what signs as the node of a home does.
func webhookSender(h home, origin string) (webhook.Config, error) {
	k, err := key.Load(h.path(nodeKeyFile))
	if err != nil {
		return webhook.Config{}, err
	}
	return webhook.Config{Dir: h.path(webhooksDir), Key: k.Private(), KeyID: didOf(k.Public()), Origin: origin}, nil
}

// redeliver sends dead letters until one is not taken.
func redeliver(ctx context.Context, sender webhook.Config, t webhook.Target, ids []string) (sent int, err error) {
	for _, id := range ids {
		letter, err := webhook.DeadLetter(sender.Dir, t.Name, id)
		if err != nil {
			return sent, err
		}
		if err := webhook.Redeliver(ctx, sender, t, letter); err != nil {
			return sent, fmt.Errorf("event %s: %w", id, err)
		}
		if err := webhook.RemoveDeadLetter(sender.Dir, t.Name, id); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}
