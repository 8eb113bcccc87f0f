package main

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/consensus"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", ArgsUsage: "[CARD ...]",
		Usage: "make the home of a node: of a new chain of one validator, or of a chain of several operators",
		Description: `It makes the keys of node, operator and enforcement point, the genesis, the
configuration (postern.toml, all defaults) and the trust bundle (bundle.json)
that devices need to know the chain.

Example:

   postern init --home /var/lib/postern --name cellar
   postern start --home /var/lib/postern

Where several operators begin a chain together, each makes a card, all make the
same genesis of the cards, and each makes a home of it:

   postern init --home /var/lib/postern --card north.json --name north --address north.example
   postern genesis --name plant --out genesis.cbor north.json east.json south.json west.json
   postern init --home /var/lib/postern --genesis genesis.cbor north.json east.json south.json west.json

The profile says which contracts the chain admits, for ever. Lean: small modules
without floating point, which the smallest gateway runs; Rust and C compile to
them. Wide: also what Go compiles to, up to 4 MiB. A Go contract takes some
40 MiB of each node's memory, 75 MiB while it is deployed (postern.toml gets
memory = 256), and seconds to compile: new code is activated 15 s after its
deployment.

The gas of a block is for ever too. By default a full one takes half a second on
a validator that compiles contracts (amd64, arm64). Where validators interpret
them, give --block-gas 24000000.`,
		Flags: append([]cli.Flag{
			homeFlag, jsonFlag,
			&cli.StringFlag{Name: "name", Usage: "the chain's `NAME`; with --card the node's (default: the host's)", Value: "postern"},
			&cli.StringFlag{Name: "clock", Usage: "auto or trusted: who vouches for the host's clock", Value: "auto"},
			profileFlag,
		}, slices.Concat(gasFlags, cardFlags, genesisFlags)...),
		Action: func(c *cli.Context) error {
			if err := checkInit(c); err != nil {
				return err
			}
			switch {
			case c.IsSet("card"):
				return initCard(c)
			case c.IsSet("genesis"):
				return initMember(c)
			}
			h := home(c.String("home"))
			params, err := chosenParams(c)
			if err != nil {
				return err
			}
			made, err := initHome(h, newHome{name: c.String("name"), clock: c.String("clock"), params: params})
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

var profileFlag = &cli.StringFlag{Name: "profile", Usage: "lean or wide: which contracts the chain admits (wide: Go ones too)", Value: "lean"}

func chosenProfile(c *cli.Context) (abi.Profile, error) {
	switch p := c.String("profile"); p {
	case "lean":
		return abi.ProfileLean, nil
	case "wide":
		return abi.ProfileWide, nil
	default:
		return 0, usagef("--profile %q: lean or wide", p)
	}
}

// newHome is what a home is made with.
type newHome struct {
	name, clock string
	quic, peer  string       // where it listens; "" is the default
	peers       []string     // addresses of other nodes
	gateways    []string     // addresses of device ports, for the trust bundle
	settings    string       // more lines of postern.toml
	params      chain.Params // zero: those of a lean chain
}

// memory is the setting that fits the profile, in MiB.
func (n *newHome) memory() int {
	if n.params.Profile == abi.ProfileWide {
		return wideMemory
	}
	return leanMemory
}

// initHome fills a directory that holds no node yet. genesis.cbor is written
// last: a home without it is unfinished and can be made again.
func initHome(h home, n newHome) (*initOutput, error) {
	name, clock := n.name, n.clock
	if n.params.Profile == 0 {
		n.params = chain.DefaultParams()
	}
	if !abi.ValidName(name) {
		return nil, usagef("--name %q: use 1 to %d of a-z, 0-9, '-', '.' and '_'", name, abi.MaxName)
	}
	if clock != "auto" && clock != "trusted" {
		return nil, usagef("--clock %q: auto or trusted", clock)
	}
	keys, err := h.newKeys()
	if err != nil {
		return nil, err
	}
	g := keys.genesis(name, n.params, time.Now().UnixMilli())
	return n.finish(h, keys, g.Append(nil))
}

// finish writes what a home needs beside its keys.
func (n *newHome) finish(h home, keys *homeKeys, genesis []byte) (*initOutput, error) {
	if err := writeHomeFiles(h, genesis, n); err != nil {
		return nil, err
	}
	id := chain.ChainID(genesis)
	return &initOutput{
		Home: string(h), Name: n.name, Chain: hex.EncodeToString(id[:]), Bundle: h.path("bundle.json"),
		Operator: accountOf(keys.operator), Node: accountOf(keys.node),
	}, nil
}

func accountOf(k *key.Key) string {
	id := chain.AccountID(k.Public())
	return hex.EncodeToString(id[:])
}

// newKeys makes the keys of a home that holds no node yet.
func (h home) newKeys() (*homeKeys, error) {
	if h.exists() {
		return nil, fmt.Errorf("%s holds a node already; choose another --home", h)
	}
	return makeKeys(h)
}

// makeKeys makes those of a home's keys that are missing, and reads the others.
func makeKeys(h home) (*homeKeys, error) {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return nil, err
	}
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

func writeHomeFiles(h home, genesis []byte, n *newHome) error {
	bundle := client.Bundle{Genesis: genesis, Gateways: n.gateways}
	text, err := bundle.MarshalJSON()
	if err != nil {
		return err
	}
	// The key has signed nothing yet: a node that lacks this record later has
	// lost its votes, and is not let to vote again.
	if err := os.RemoveAll(h.path("wal")); err != nil {
		return err
	}
	if err := consensus.Begin(h.path("wal"), chain.ChainID(genesis)); err != nil {
		return err
	}
	files := []struct {
		name string
		data []byte
	}{
		{"postern.toml", n.config()},
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

// config is the home's postern.toml.
func (n *newHome) config() []byte {
	quic, peer := cmp.Or(n.quic, defaultQuic), cmp.Or(n.peer, defaultPeer)
	return fmt.Appendf(nil, configText, commentIf(quic == defaultQuic), quic, commentIf(peer == defaultPeer), peer, commentIf(len(n.peers) == 0), quoted(n.peers),
		commentIf(n.clock == "auto"), n.clock, commentIf(n.memory() == leanMemory), n.memory(), n.settings)
}

// quoted is a list of strings in TOML.
func quoted(list []string) string {
	b, _ := json.Marshal(append([]string{}, list...)) // a JSON array of strings is one of TOML
	return string(b)
}

// commentIf begins a line of the configuration that shows a default.
func commentIf(isDefault bool) string {
	if isDefault {
		return "#"
	}
	return ""
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
