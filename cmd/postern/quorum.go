package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
)

// quorumFlags have decide ask several gateways.
var quorumFlags = []cli.Flag{
	&cli.IntFlag{Name: "quorum", Usage: "permit only if `K` different gateways say the same"},
	&cli.StringSliceFlag{Name: "gateway", Usage: "`ADDR` of a gateway to ask with --quorum; may be repeated (default: the bundle's)"},
	&cli.DurationFlag{Name: "staleness", Value: 30 * time.Second, Usage: "with --quorum, how stale the freshest of them may be"},
}

type gatewayAnswerOutput struct {
	Gateway   hexBytes `json:"gateway"`
	Decision  bool     `json:"decision"`
	Code      string   `json:"code,omitempty"`
	ReasonID  string   `json:"reason_id,omitempty"`
	Height    uint64   `json:"height"`
	Staleness uint64   `json:"staleness_ms"`
	Contract  string   `json:"contract,omitempty"`
}

// decideByQuorum asks several gateways, of which one alone opens nothing.
func decideByQuorum(c *cli.Context, q *abi.DecisionRequest, keyFile string) error {
	gateways, err := quorumClients(c, keyFile)
	if err != nil {
		return err
	}
	defer func() {
		for _, g := range gateways {
			g.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	answer, all, err := client.DecideQuorum(ctx, gateways, c.Int("quorum"), c.String("domain"), q, c.Duration("staleness"))
	if err == nil || errors.Is(err, client.ErrDisagree) || isCode(err, abi.CodeTooStale) {
		return showQuorum(printer(c), &answer, all, err)
	}
	return fmt.Errorf("denied: %w", err)
}

// quorumClients makes a client for each gateway; they connect when they ask.
func quorumClients(c *cli.Context, keyFile string) ([]*client.Client, error) {
	k, err := commandKey(c, keyFile)
	if err != nil {
		return nil, err
	}
	bundle, err := readBundle(bundlePath(c))
	if err != nil {
		return nil, err
	}
	addresses := c.StringSlice("gateway")
	if len(addresses) == 0 {
		addresses = bundle.Gateways
	}
	if n := c.Int("quorum"); n < 1 || n > len(addresses) {
		return nil, usagef("--quorum %d of %d gateways: name at least as many with --gateway", n, len(addresses))
	}
	var list []*client.Client
	for _, addr := range addresses {
		cl, err := client.New(client.Config{Bundle: bundle, Key: k, Addr: addr, Attempts: 1, Timeout: dialTimeout})
		if err != nil {
			for _, made := range list {
				made.Close()
			}
			return nil, err
		}
		list = append(list, cl)
	}
	return list, nil
}

// showQuorum prints what came of it and what each gateway said. A denial ends the
// program as decide does.
func showQuorum(out output, answer *abi.Answer, all []client.GatewayAnswer, failed error) error {
	v := struct {
		Decision bool                  `json:"decision"`
		Code     string                `json:"code,omitempty"`
		Message  string                `json:"message,omitempty"`
		Gateways []gatewayAnswerOutput `json:"gateways"`
	}{Decision: answer.Permit}
	text := answerText(answer)
	if !answer.Permit {
		v.Code = answer.Code.Name()
	}
	if failed != nil {
		v.Message = failed.Error()
		text += "\n  " + failed.Error()
	}
	for i := range all {
		a := &all[i].Answer
		o := gatewayAnswerOutput{Gateway: hexOf(all[i].Account), Decision: a.Permit, ReasonID: a.ReasonID, Height: a.Height, Staleness: a.Staleness, Contract: a.Contract}
		if !a.Permit {
			o.Code = a.Code.Name()
		}
		v.Gateways = append(v.Gateways, o)
		text += fmt.Sprintf("\n  gateway %x at height %d, %d ms stale: %s", all[i].Account[:8], a.Height, a.Staleness, answerText(a))
	}
	if err := out.show(v, "%s", text); err != nil {
		return err
	}
	if !answer.Permit {
		return &quietExit{exitDenied}
	}
	return nil
}
