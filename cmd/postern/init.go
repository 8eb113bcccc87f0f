package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make the home of a new chain of one validator",
		Description: `It makes the keys of node, operator and enforcement point, the genesis, the
configuration (postern.toml, all defaults) and the trust bundle (bundle.json)
that devices need to know the chain.

Example:

   postern init --home /var/lib/postern --name cellar
   postern start --home /var/lib/postern`,
		Flags: []cli.Flag{
			homeFlag, jsonFlag,
			&cli.StringFlag{Name: "name", Usage: "the chain's `NAME`", Value: "postern"},
			&cli.StringFlag{Name: "clock", Usage: "auto or trusted: who vouches for the host's clock", Value: "auto"},
		},
		Action: func(c *cli.Context) error {
			h := home(c.String("home"))
			made, err := initHome(h, c.String("name"), c.String("clock"))
			if err != nil {
				return err
			}
			return printer(c).show(made, "chain %s (%s) is ready in %s\nstart its node with: postern start --home %s", made.Name, made.Chain, h, h)
		},
	}
}

type initOutput struct {
	Home     string `json:"home"`
	Name     string `json:"name"`
	Chain    string `json:"chain"`
	Operator string `json:"operator"`
	Node     string `json:"node"`
	Bundle   string `json:"bundle"`
}

// initHome fills a directory that holds no node yet. genesis.cbor is written
// last: a home without it is unfinished and can be made again.
func initHome(h home, name, clock string) (*initOutput, error) {
	if !abi.ValidName(name) {
		return nil, usagef("--name %q: use 1 to %d of a-z, 0-9, '-', '.' and '_'", name, abi.MaxName)
	}
	if clock != "auto" && clock != "trusted" {
		return nil, usagef("--clock %q: auto or trusted", clock)
	}
	if h.exists() {
		return nil, fmt.Errorf("%s holds a node already; choose another --home", h)
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return nil, err
	}
	keys, err := makeKeys(h)
	if err != nil {
		return nil, err
	}
	g := keys.genesis(name, time.Now().UnixMilli())
	raw := g.Append(nil)
	if err := writeHomeFiles(h, raw, clock); err != nil {
		return nil, err
	}
	id := chain.ChainID(raw)
	return &initOutput{
		Home: string(h), Name: name, Chain: hex.EncodeToString(id[:]), Bundle: h.path("bundle.json"),
		Operator: accountOf(keys.operator), Node: accountOf(keys.node),
	}, nil
}

func accountOf(k *key.Key) string {
	id := chain.AccountID(k.Public())
	return hex.EncodeToString(id[:])
}

func makeKeys(h home) (*homeKeys, error) {
	var k homeKeys
	for _, f := range []struct {
		name string
		key  **key.Key
	}{{nodeKeyFile, &k.node}, {operatorKeyFile, &k.operator}, {enforcementKeyFile, &k.enforcement}} {
		made, err := loadOrMakeKey(h.path(f.name))
		if err != nil {
			return nil, err
		}
		*f.key = made
	}
	return &k, nil
}

// loadOrMakeKey lets an interrupted init go on with the keys it made.
func loadOrMakeKey(path string) (*key.Key, error) {
	k, err := key.Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = key.Generate(); err != nil {
		return nil, err
	}
	return k, k.Save(path)
}

func writeHomeFiles(h home, genesis []byte, clock string) error {
	bundle := client.Bundle{Genesis: genesis}
	text, err := bundle.MarshalJSON()
	if err != nil {
		return err
	}
	comment := "#"
	if clock != "auto" {
		comment = ""
	}
	files := []struct {
		name string
		data []byte
	}{
		{"postern.toml", fmt.Appendf(nil, configText, comment, clock)},
		{"bundle.json", append(text, '\n')},
		{"genesis.cbor", genesis},
	}
	for _, f := range files {
		if f.name != "genesis.cbor" {
			if err := os.Remove(h.path(f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := writeNew(h.path(f.name), f.data, 0o600); err != nil {
			return err
		}
	}
	return syncDir(string(h))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
