package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// devContract is the name under which dev and demo deploy the access contract.
const devContract = "access"

func devCommand() *cli.Command {
	return &cli.Command{
		Name:  "dev",
		Usage: "a chain of one node to play with, ready to decide",
		Description: `It makes a home (a temporary one if none is given), starts its node, deploys the
access contract as domain "default", loads the policy, issues a token and runs
until a signal. Run again on the same --home, it goes on where it was.

With --json the first line on standard output is
{"ready":true,"home":…,"quic":"127.0.0.1:PORT","web":"https://127.0.0.1:PORT","token":…,"chain":…}

Example:

   postern dev --policy policy.json
   curl -k -H "Authorization: Bearer TOKEN" -H 'Content-Type: application/json' \
     -d '{"subject":{"type":"user","id":"ann"},"action":{"name":"open"},"resource":{"type":"door","id":"1"}}' \
     https://127.0.0.1:PORT/access/v1/evaluation`,
		Flags: append([]cli.Flag{
			jsonFlag,
			&cli.StringFlag{Name: "home", Usage: "directory `DIR` of the node (default: a temporary one, removed at the end)"},
			&cli.StringFlag{Name: "policy", Usage: "policy document `FILE`"},
			profileFlag,
			&cli.StringFlag{Name: "log", Usage: "debug, info, warn or error", Value: "warn"},
		}, slices.Concat(gasFlags, portFlags)...),
		Action: dev,
	}
}

func dev(c *cli.Context) error {
	params, err := chosenParams(c)
	if err != nil {
		return err
	}
	h, cleanup, err := devHome(c.String("home"), params)
	if err != nil {
		return err
	}
	defer cleanup()
	_, g, err := h.genesis()
	if err != nil {
		return err
	}
	if c.IsSet("profile") && g.Params.Profile != params.Profile {
		return usagef("the chain of %s is %s for ever; leave --profile out, or choose another --home", h, profileName(g.Params.Profile))
	}
	if c.IsSet("block-gas") && g.Params.BlockGas != params.BlockGas || c.IsSet("tx-gas") && g.Params.TxGas != params.TxGas {
		return usagef("the chain of %s has %d gas a block and %d a transaction for ever; leave --block-gas and --tx-gas out, or choose another --home", h, g.Params.BlockGas, g.Params.TxGas)
	}
	var policy []byte
	if file := c.String("policy"); file != "" {
		if policy, err = readPolicy(file); err != nil {
			return err
		}
	}
	cfg, err := h.config()
	if err != nil {
		return err
	}
	cfg.Quic, cfg.Web, cfg.Peer = "127.0.0.1:0", "127.0.0.1:0", "off"
	overridePorts(c, &cfg)
	n, err := openNode(c.Context, h, cfg, newLogger(c.String("log")))
	if err != nil {
		return err
	}
	out := printer(c)
	return n.run(c.Context, func() error {
		token, err := furnish(c.Context, h, reachable(n.quicAddr), policy)
		if err != nil {
			return err
		}
		v := n.readyOutput(token)
		return out.show(v, "%s\ntoken   %s\n\ntry: postern decide --home %s %s\nstop with Ctrl-C", n.readyText(), token, shellWord(string(h)), questionOf(policy))
	})
}

// questionOf is a question that a policy has something to say to, as decide takes
// it; without a policy one that the policy of a new chain permits.
func questionOf(policy []byte) string {
	subject, action, resource := "user:ann", "open", access.Ref{Type: "door", ID: "1"}
	d, err := access.ParseDocument(policy)
	if policy != nil && err == nil {
		i := max(0, slices.IndexFunc(d.Rules, func(r access.Rule) bool { return r.Permit }))
		if len(d.Rules) > 0 {
			action, resource = d.Rules[i].Actions[0], access.Ref{Type: d.Rules[i].ResourceType, ID: "1"}
			if ids := d.Rules[i].ResourceIDs; len(ids) > 0 {
				resource.ID = ids[0]
			}
		}
		for _, e := range slices.Backward(d.Entities) {
			switch e.Type {
			case resource.Type:
				resource.ID = e.ID
			case "user":
				subject = "user:" + e.ID
			}
		}
	}
	return fmt.Sprintf("--subject %s --action %s --resource %s", shellWord(subject), shellWord(action), shellWord(resource.Type+":"+resource.ID))
}

// devHome makes the home of a development chain if there is none. On a chain
// of one nobody else has to be ready, so new code is active at once.
func devHome(dir string, params chain.Params) (h home, cleanup func(), err error) {
	cleanup = func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "postern-dev-"); err != nil {
			return "", cleanup, err
		}
		cleanup = func() { os.RemoveAll(dir) }
	}
	h = home(dir)
	if !h.exists() {
		params.ActivationDelay = 0
		_, err = initHome(h, newHome{name: "dev", clock: "trusted", params: params})
	}
	return h, cleanup, err
}

// furnish deploys the access contract as the default domain and loads the
// policy, unless that was done before, and issues a token.
func furnish(ctx context.Context, h home, addr string, policy []byte) (token string, err error) {
	cl, err := dialHome(ctx, h, addr, operatorKeyFile)
	if err != nil {
		return "", err
	}
	defer cl.Close()
	if err := ensureAccess(ctx, cl); err != nil {
		return "", err
	}
	if policy != nil {
		if _, err := loadPolicy(ctx, cl, devContract, policy, nil); err != nil {
			return "", err
		}
	}
	point, err := accountID(h.path(enforcementKeyFile))
	if err != nil {
		return "", err
	}
	t, err := issueToken(ctx, cl, point, abi.DefaultDomain, 24*time.Hour, "dev")
	return t.Token, err
}

func dialHome(ctx context.Context, h home, addr, keyFile string) (*client.Client, error) {
	k, err := key.Load(h.path(keyFile))
	if err != nil {
		return nil, err
	}
	bundle, err := readBundle(h.path("bundle.json"))
	if err != nil {
		return nil, err
	}
	return dial(ctx, bundle, k, addr)
}

// ensureAccess deploys the access contract under devContract and binds the
// default domain to it, unless both stand already.
func ensureAccess(ctx context.Context, cl *client.Client) error {
	e, err := cl.Get(ctx, chain.DomainKey(abi.DefaultDomain))
	if err == nil && e.Present {
		return nil
	}
	if err != nil && !isCode(err, abi.CodeNotReady) { // not ready: nothing but a genesis to prove
		return err
	}
	err = deployAndBind(ctx, cl, client.Deployment{Name: devContract, Code: contracts.Access().Wasm, Note: "postern dev"}, abi.DefaultDomain)
	if isCode(err, abi.CodeContractExists) {
		args := chain.Bind{Domain: abi.DefaultDomain, Contract: devContract}
		_, err = transact(ctx, cl, chain.OpBind, &args)
	}
	return err
}

// readPolicy reads a policy document and checks it before anything starts.
func readPolicy(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return bytes.Clone(text), nil
}
