package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// connectFlags are what every command has that talks to a node.
var connectFlags = []cli.Flag{
	homeFlag, jsonFlag,
	&cli.StringFlag{Name: "node", Usage: "address `ADDR` of the node's device port (default: the node that runs in --home, then the bundle's)"},
	&cli.StringFlag{Name: "bundle", Aliases: []string{"trust"}, Usage: "the chain's trust bundle `FILE` (default: bundle.json in --home)"},
	&cli.StringFlag{Name: "key", Usage: "key `FILE` to act with (default: operator.key in --home; validators propose and vote with its node.key)"},
}

// withConnect adds connectFlags to a command's own.
func withConnect(own ...cli.Flag) []cli.Flag { return append(own, connectFlags...) }

// offlineError is that no node answers.
type offlineError struct {
	addr string
	err  error
}

func (o *offlineError) Error() string {
	return fmt.Sprintf("no node answers at %s; start one with postern start, or name another with --node", o.addr)
}

func (o *offlineError) Unwrap() error { return o.err }

// callTimeout bounds one command's wait for a node: a block comes within
// seconds or the node has a problem that its log tells.
const callTimeout = 30 * time.Second

// dialTimeout is for the handshake alone: a gateway on a bad link answers
// within it, and nobody should wait longer to learn that none is there.
const dialTimeout = 4 * time.Second

// connect dials the node of a command as the given key file in the home.
func connect(c *cli.Context, keyFile string) (*client.Client, *key.Key, error) {
	h := home(c.String("home"))
	k, err := commandKey(c, keyFile)
	if err != nil {
		return nil, nil, err
	}
	bundle, err := readBundle(bundlePath(c))
	if err != nil {
		return nil, nil, err
	}
	addr, err := nodeAddr(c.String("node"), h, bundle)
	if err != nil {
		return nil, nil, err
	}
	cl, err := dial(c.Context, bundle, k, addr)
	return cl, k, err
}

// bundlePath is the trust bundle that a command goes by.
func bundlePath(c *cli.Context) string {
	if path := c.String("bundle"); path != "" {
		return path
	}
	return home(c.String("home")).path("bundle.json")
}

func readBundle(path string) (*client.Bundle, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the trust bundle: %w; name one with --bundle, or a home with --home", err)
	}
	bundle, err := client.ParseBundle(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bundle, nil
}

func commandKey(c *cli.Context, keyFile string) (*key.Key, error) {
	path := c.String("key")
	if path == "" {
		path = home(c.String("home")).path(keyFile)
	}
	k, err := key.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the node's home with --home or POSTERN_HOME, or a key with --key", err)
	}
	return k, err
}

func dial(ctx context.Context, bundle *client.Bundle, k *key.Key, addr string) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	cl, err := client.Dial(ctx, client.Config{Bundle: bundle, Key: k, Addr: addr, Attempts: 1})
	if err != nil && (isCode(err, abi.CodeTimeout) || isCode(err, abi.CodeUnavailable)) {
		return nil, &offlineError{addr, err}
	}
	return cl, err
}

// nodeAddr is the address named, or where the home's node runs, or, of a home
// that has no node, the bundle's first hint or the default port of this host.
// Another node does not answer for one that is down.
func nodeAddr(named string, h home, bundle *client.Bundle) (string, error) {
	if named != "" {
		return named, nil
	}
	run, err := h.runFile()
	if err == nil {
		return reachable(run.Quic), nil
	}
	if _, err := os.Stat(h.path(nodeKeyFile)); err == nil {
		return "", &offlineError{fmt.Sprintf("%s, whose node is not running", h), fs.ErrNotExist}
	}
	if len(bundle.Gateways) > 0 {
		return bundle.Gateways[0], nil
	}
	return "127.0.0.1:" + quicPort, nil
}

func (h home) runFile() (runFile, error) {
	var run runFile
	b, err := os.ReadFile(h.path("run.json"))
	if err != nil {
		return run, err
	}
	return run, json.Unmarshal(b, &run)
}

// onNode connects with the command's key, calls do, and closes.
func onNode(c *cli.Context, do func(ctx context.Context, cl *client.Client) error) error {
	return onNodeWithin(c, callTimeout, do)
}

// onNodeWithin is onNode for what takes longer than one call.
func onNodeWithin(c *cli.Context, limit time.Duration, do func(ctx context.Context, cl *client.Client) error) error {
	return onNodeAsWithin(c, operatorKeyFile, limit, do)
}

// onNodeAs connects with a key of the home, calls do, and closes.
func onNodeAs(c *cli.Context, keyFile string, do func(ctx context.Context, cl *client.Client) error) error {
	return onNodeAsWithin(c, keyFile, callTimeout, do)
}

func onNodeAsWithin(c *cli.Context, keyFile string, limit time.Duration, do func(ctx context.Context, cl *client.Client) error) error {
	cl, k, err := connect(c, keyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context, limit)
	defer cancel()
	return knownKey(ctx, c, cl, k, do(ctx, cl))
}

// knownKey says what to do where the ledger knows no account of the key that a
// command acts with, as of the operator of a node that came later.
func knownKey(ctx context.Context, c *cli.Context, cl *client.Client, k *key.Key, err error) error {
	if !isCode(err, abi.CodeUnknownKey) {
		return err
	}
	if s, failed := cl.Status(ctx); failed != nil || s.Account != nil { // it is about another key
		return err
	}
	role := "operator"
	if c.IsSet("key") { // what it is for, only its holder knows
		role = "ROLE"
	}
	return fmt.Errorf("%w; the key that %s acted with has no account on this chain: name another with --key, "+
		"or have an operator of the chain give it one: postern account grant --role %s %s", err, c.Command.HelpName, role, k.DID())
}
