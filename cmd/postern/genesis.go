package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// maxValidators is how many validators a chain can have: what consensus sends
// grows with their square.
const maxValidators = 16

// fewValidators is from how many validators on a chain goes on when one of
// them lies: f = floor((n-1)/3).
const fewValidators = 4

func genesisCommand() *cli.Command {
	return &cli.Command{
		Name: "genesis", ArgsUsage: "CARD ...",
		Usage: "make the genesis of a chain from the cards of its nodes",
		Description: `Each operator makes a card with postern init --card and sends it to the others.
Whoever runs genesis with the same cards, in any order, and the same flags gets
the same file, byte for byte: compare the chain ids that it prints, by telephone
say, and nobody has to trust the one who made it.

Example:

   postern genesis --name plant --out genesis.cbor north.json east.json south.json west.json
   postern init --home /var/lib/postern --genesis genesis.cbor north.json east.json south.json west.json`,
		Flags: append([]cli.Flag{
			jsonFlag,
			&cli.StringFlag{Name: "name", Usage: "the chain's `NAME`", Value: "postern"},
			&cli.StringFlag{Name: "out", Usage: "the `FILE` to write", Value: "genesis.cbor"},
			&cli.StringFlag{Name: "time", Usage: "when the chain begins, `TIME` such as 2026-01-31T12:00:00Z (default: when the newest card was made)"},
			profileFlag,
		}, gasFlags...),
		Action: makeGenesis,
	}
}

type genesisOutput struct {
	File       string       `json:"file"`
	Name       string       `json:"name"`
	Chain      hexBytes     `json:"chain"`
	Time       time.Time    `json:"time"`
	Quorum     int          `json:"quorum"`
	Validators []genesisRow `json:"validators"`
	Followers  []genesisRow `json:"followers"`

	From *originOutput `json:"from,omitempty"` // the chain whose state it takes
}

type genesisRow struct {
	ID   uint64 `json:"id,omitempty"`
	Name string `json:"name"`
	Key  string `json:"key"`
	Peer string `json:"peer"`
}

func makeGenesis(c *cli.Context) error {
	params, err := chosenParams(c)
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		return usagef("name the cards of the chain's nodes; postern init --card makes them")
	}
	cards, err := readCards(c.Args().Slice())
	if err != nil {
		return err
	}
	at := newest(cards)
	if text := c.String("time"); text != "" {
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return usagef("--time %q: write it as 2026-01-31T12:00:00Z", text)
		}
	}
	g, err := genesisOf(c.String("name"), params, at, cards)
	if err != nil {
		return err
	}
	raw := g.Append(nil)
	if _, err := chain.ParseGenesis(raw); err != nil {
		return err
	}
	if err := writeSame(c.String("out"), raw); err != nil {
		return err
	}
	return showGenesis(c, g, nil, cards)
}

func newest(cards []*card) time.Time {
	return slices.MaxFunc(cards, func(a, b *card) int { return a.Made.Compare(b.Made) }).Made
}

// genesisOf is the genesis of a chain of the cards' nodes. It depends on
// nothing else than its arguments, and not on the order of the cards:
// validators are numbered by their names.
func genesisOf(name string, params chain.Params, at time.Time, cards []*card) (*chain.Genesis, error) {
	if !abi.ValidName(name) {
		return nil, usagef("--name %q: use 1 to %d of a-z, 0-9, '-', '.' and '_'", name, abi.MaxName)
	}
	cards = byName(cards)
	if err := checkDistinct(cards); err != nil {
		return nil, err
	}
	g := &chain.Genesis{Name: name, Time: at.UnixMilli(), Params: params}
	for _, c := range cards {
		roles := abi.RoleGateway
		if c.Role == roleValidator {
			roles |= abi.RoleValidator
			g.Validators = append(g.Validators, chain.Validator{ID: uint64(len(g.Validators) + 1), Key: c.node()})
		}
		g.Accounts = append(g.Accounts,
			chain.Grant{Key: c.node(), Roles: roles},
			chain.Grant{Key: c.operator(), Roles: operatorRoles},
			chain.Grant{Key: c.enforcement(), Roles: abi.RoleEnforcementPoint})
	}
	if n := len(g.Validators); n == 0 || n > maxValidators {
		return nil, fmt.Errorf("the cards name %d validators: a chain has 1 to %d: %w", n, maxValidators, abi.CodeBadArgument)
	}
	return g, nil
}

func byName(cards []*card) []*card {
	return slices.SortedFunc(slices.Values(cards), func(a, b *card) int { return cmp.Compare(a.Name, b.Name) })
}

// checkDistinct refuses cards, sorted by name, that share a name or a key.
func checkDistinct(cards []*card) error {
	owner := map[string]string{}
	for i, c := range cards {
		if i > 0 && cards[i-1].Name == c.Name {
			return fmt.Errorf("two cards are named %q: %w", c.Name, abi.CodeBadArgument)
		}
		for _, k := range c.keys {
			if other, taken := owner[string(k)]; taken {
				return fmt.Errorf("%s and %s share a key: %w", other, c.Name, abi.CodeBadKey)
			}
			owner[string(k)] = c.Name
		}
	}
	return nil
}

// writeSame writes a file, or leaves it where it holds the same bytes.
func writeSame(file string, data []byte) error {
	err := writeNew(file, data, 0o644)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	there, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(there, data) {
		err = fmt.Errorf("%s is there already and holds something else; remove it, or name another with --out", file)
	}
	return err
}

// showGenesis shows a genesis that was made of cards, and where it goes on from.
func showGenesis(c *cli.Context, g *chain.Genesis, from *originOutput, cards []*card) error {
	id := chain.ChainID(g.Append(nil))
	v := genesisOutput{
		File: c.String("out"), Name: g.Name, Chain: id[:], Time: time.UnixMilli(g.Time).UTC(),
		Quorum: g.Validators.Quorum(), Validators: []genesisRow{}, Followers: []genesisRow{}, From: from,
	}
	for _, card := range byName(cards) {
		row := genesisRow{Name: card.Name, Key: card.Keys.Node, Peer: card.Peer}
		if card.Role == roleValidator {
			row.ID, _ = g.Validators.ID(card.node())
			v.Validators = append(v.Validators, row)
		} else {
			v.Followers = append(v.Followers, row)
		}
	}
	return printer(c).show(v, "%s", v.text())
}

func (v *genesisOutput) text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "chain    %s %s\ntime     %s\nquorum   %d of %d validators\nfile     %s\n",
		v.Name, v.Chain, v.Time.Format(time.RFC3339), v.Quorum, len(v.Validators), v.File)
	if v.From != nil {
		b.WriteString("\n" + v.From.text() + "\n")
	}
	for _, row := range v.Validators {
		fmt.Fprintf(&b, "\nvalidator %-2d  %s  %s  %s", row.ID, row.Name, row.Peer, row.Key)
	}
	for _, row := range v.Followers {
		fmt.Fprintf(&b, "\nfollower      %s  %s  %s", row.Name, row.Peer, row.Key)
	}
	if len(v.Validators) < fewValidators {
		fmt.Fprintf(&b, "\n\nnote: %s", fewText(len(v.Validators)))
	}
	if ahead := time.Until(v.Time); ahead > time.Minute {
		fmt.Fprintf(&b, "\n\nnote: the chain makes no block before %s, in %s", v.Time.Format(time.RFC3339), ahead.Round(time.Second))
	}
	from := ""
	if v.From != nil {
		from = " --from OLDHOME"
	}
	b.WriteString("\n\ncompare the chain's id with the other operators; then each of them runs:\npostern init --home DIR --genesis " + shellWord(v.File) + from + " CARD ...")
	return b.String()
}

// fewText says what a chain of fewer than four validators survives.
func fewText(n int) string {
	switch n {
	case 1:
		return "with one validator the chain stops whenever it does, and believes whatever it says; four survive one that is down or lies"
	case 2:
		return "with two validators the chain stops whenever one of them does; four survive one that is down or lies"
	}
	return "three validators survive one that is down, but none that lies; four survive one that is down or lies"
}

// genesisFlags are the flags of init that take a genesis made elsewhere.
var genesisFlags = []cli.Flag{
	&cli.StringFlag{Name: "genesis", Usage: "make the home of a node of the chain of this genesis `FILE` (genesis.cbor or bundle.json), instead of a new chain; arguments are the cards of its nodes"},
	&cli.StringSliceFlag{Name: "peers", Usage: "with --genesis: address `HOST:PORT` of another node; may be given several times"},
	&cli.StringFlag{Name: "from", Usage: "with --genesis of a chain that goes on from another: `DIR` of a home or a backup of that one, to take the state from"},
	&cli.BoolFlag{Name: "later", Usage: "with --genesis: the chain admits this node later, so its genesis need not name it"},
}

// Flags of init, by the way that it makes a home.
var (
	soleInitFlags   = []string{"name", "clock", "profile", "block-gas", "tx-gas"}
	cardInitFlags   = []string{"card", "name", "role", "address", "gateway"}
	memberInitFlags = []string{"genesis", "from", "peers", "later", "clock"}
)

// checkInit refuses flags and arguments that belong to another way of init.
func checkInit(c *cli.Context) error {
	own, way := soleInitFlags, "without --card or --genesis"
	switch {
	case c.IsSet("card"):
		own, way = cardInitFlags, "with --card"
	case c.IsSet("genesis"):
		own, way = memberInitFlags, "with --genesis"
	}
	for _, flag := range slices.Concat(soleInitFlags, cardInitFlags, memberInitFlags) {
		if c.IsSet(flag) && !slices.Contains(own, flag) {
			return usagef("--%s means nothing %s; see postern init --help", flag, way)
		}
	}
	if c.NArg() > 0 && !c.IsSet("genesis") {
		return usagef("unexpected argument %q: cards go with --genesis", c.Args().First())
	}
	return nil
}

// initMember makes the home of a node of a chain whose genesis stands.
func initMember(c *cli.Context) error {
	h := home(c.String("home"))
	cards, err := readCards(c.Args().Slice())
	if err != nil {
		return err
	}
	raw, hints, err := readGenesis(c.String("genesis"))
	if err != nil {
		return err
	}
	m := membership{raw: raw, peers: c.StringSlice("peers"), gateways: hints, clock: c.String("clock"), later: c.Bool("later"), from: c.String("from")}
	if m.genesis, err = chain.ParseGenesis(raw); err != nil {
		return fmt.Errorf("%s: %w", c.String("genesis"), err)
	}
	if m.clock != "auto" && m.clock != "trusted" {
		return usagef("--clock %q: auto or trusted", m.clock)
	}
	made, err := m.initHome(c.Context, h, cards)
	if err != nil {
		return err
	}
	return printer(c).show(made, "%s", m.text(made, h))
}

// readGenesis reads a genesis out of a file of its own or a trust bundle.
func readGenesis(file string) (raw []byte, gateways []string, err error) {
	raw, err = os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return raw, nil, err
	}
	bundle, err := client.ParseBundle(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return bundle.Genesis, bundle.Gateways, nil
}

// membership is what a home of a node of an existing genesis is made with.
type membership struct {
	raw      []byte
	genesis  *chain.Genesis
	peers    []string
	gateways []string
	clock    string
	later    bool
	from     string // home or backup of the chain that this one goes on from
	settings string // more lines of postern.toml

	role       string // of the node that was made
	quic, peer string // where it listens by its card; "" is the default
}

// initHome makes the home and takes addresses from the cards of others.
func (m *membership) initHome(ctx context.Context, h home, cards []*card) (*initOutput, error) {
	keys, err := h.newKeys()
	if err != nil {
		return nil, err
	}
	if err := m.place(h, keys.node.Public()); err != nil {
		return nil, err
	}
	if err := m.addresses(cards, keys.node.Public()); err != nil {
		return nil, err
	}
	if m.from != "" {
		if err := takeState(ctx, h, m.raw, m.genesis, m.from); err != nil {
			return nil, err
		}
	}
	n := newHome{name: m.genesis.Name, clock: m.clock, quic: m.quic, peer: m.peer, peers: m.peers, gateways: m.gateways, settings: m.settings, params: m.genesis.Params}
	return n.finish(h, keys, m.raw)
}

// place finds what the genesis has the node do.
func (m *membership) place(h home, node []byte) error {
	if _, votes := m.genesis.Validators.ID(node); votes {
		m.role = roleValidator
		return nil
	}
	if slices.ContainsFunc(m.genesis.Accounts, func(g chain.Grant) bool { return bytes.Equal(g.Key, node) }) {
		m.role = roleFollower
		return nil
	}
	if m.later {
		return nil
	}
	return fmt.Errorf("the genesis does not name the key of %s: was its card left out, or another home's put in? "+
		"A node that the running chain admits later needs --later: %w", h.path(nodeKeyFile), abi.CodeUnknownKey)
}

// addresses adds where the other nodes of the cards are. A card that the
// genesis does not know is a mistake: it belongs to another chain.
func (m *membership) addresses(cards []*card, own []byte) error {
	for _, c := range byName(cards) {
		if !slices.ContainsFunc(m.genesis.Accounts, func(g chain.Grant) bool { return bytes.Equal(g.Key, c.node()) }) {
			return fmt.Errorf("the genesis does not name the node of card %q: %w", c.Name, abi.CodeUnknownKey)
		}
		if bytes.Equal(c.node(), own) {
			m.peer, m.quic = listenAt(c.Peer), listenAt(c.Gateway)
		} else {
			m.peers = append(m.peers, c.Peer)
		}
		if c.Gateway != "" {
			m.gateways = append(m.gateways, c.Gateway)
		}
	}
	for _, addr := range m.peers {
		if err := checkReachable(addr); err != nil {
			return usagef("--peers %q: %v", addr, err)
		}
	}
	return nil
}

// listenAt is where a node listens that others reach at an address: that port
// of all the host's addresses, those of IPv6 too where it is one.
func listenAt(reached string) string {
	host, port, err := net.SplitHostPort(reached)
	if err != nil {
		return ""
	}
	if strings.Contains(host, ":") {
		return net.JoinHostPort("::", port)
	}
	return net.JoinHostPort("0.0.0.0", port)
}

func (m *membership) text(made *initOutput, h home) string {
	text := fmt.Sprintf("%s is a %s of chain %s (%s)", h, m.role, made.Name, made.Chain)
	if m.role == "" {
		text = fmt.Sprintf("%s can join chain %s (%s) once the chain admits its node, account %s", h, made.Name, made.Chain, made.Node)
	}
	if len(m.peers) == 0 && len(m.genesis.Validators) > 1 {
		text += "\nnote: it knows no address of another node: set peers in " + h.path("postern.toml")
	}
	if m.genesis.Origin != nil && m.from == "" {
		text += "\nnote: without --from it waits for another node's snapshot, every " + fmt.Sprint(m.genesis.Params.SnapshotInterval()) + " blocks"
	}
	return text + "\nstart it with: postern start --home " + shellWord(string(h))
}
