package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

// What a node does on its chain.
const (
	roleValidator = "validator"
	roleFollower  = "follower"
)

// purposeCard is what the signatures of a card are for. A card is made before
// there is a chain, so it is no chain.Statement, which names one.
const purposeCard chain.Purpose = "postern/card/1"

// maxCard bounds what is read of a card, in bytes: three signatures and three
// names take under 2 KiB.
const maxCard = 16 << 10

// maxAddress is the longest HOST:PORT of a card, in bytes: a DNS name takes 253
// (RFC 1035 section 2.3.4).
const maxAddress = 260

// card is what an operator tells the others about a node before their chain
// begins. Everything in it is public. Each of its keys has signed it, so nobody
// puts a key on a chain that is not theirs.
type card struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Peer    string    `json:"peer"`              // where other nodes reach it
	Gateway string    `json:"gateway,omitempty"` // where devices reach it
	Made    time.Time `json:"made"`
	Keys    cardKeys  `json:"keys"`
	Proofs  [][]byte  `json:"proofs"` // an envelope of each key, in the order of Keys, over the hash of the rest

	keys [3][]byte // raw, in the order of Keys
}

// cardKeys are a node's public keys as did:key.
type cardKeys struct {
	Node        string `json:"node"`
	Operator    string `json:"operator"`
	Enforcement string `json:"enforcement_point"`
}

// newCard makes the card of a home's keys.
func newCard(c card, k *homeKeys) (*card, error) {
	c.Made = c.Made.UTC().Truncate(time.Second)
	c.Keys = cardKeys{k.node.DID(), k.operator.DID(), k.enforcement.DID()}
	sum := c.sum()
	for _, by := range []*key.Key{k.node, k.operator, k.enforcement} {
		proof, err := chain.Seal(sum[:], purposeCard, by)
		if err != nil {
			return nil, err
		}
		c.Proofs = append(c.Proofs, proof)
	}
	return &c, c.check()
}

// sum is the hash of what a card says: SHA-256 of the CBOR array [name, role,
// peer, gateway, made (Unix seconds), node, operator, enforcement point].
func (c *card) sum() abi.Hash {
	b := cbor.AppendArray(nil, 8)
	for _, text := range []string{c.Name, c.Role, c.Peer, c.Gateway} {
		b = cbor.AppendText(b, text)
	}
	b = cbor.AppendInt(b, c.Made.Unix())
	for _, did := range []string{c.Keys.Node, c.Keys.Operator, c.Keys.Enforcement} {
		b = cbor.AppendText(b, did)
	}
	return sha256.Sum256(b)
}

// parseCard reads a card and checks everything that it says, signatures
// included.
func parseCard(text []byte) (*card, error) {
	if len(text) > maxCard {
		return nil, fmt.Errorf("a card of %d bytes: %w", len(text), abi.CodeTooLarge)
	}
	c := &card{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("no card of a node: %w: %w", abi.CodeBadArgument, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something stands behind the card: %w", abi.CodeBadArgument)
	}
	return c, c.check()
}

func (c *card) check() error {
	if !abi.ValidName(c.Name) {
		return fmt.Errorf("name %q: use 1 to %d of a-z, 0-9, '-', '.' and '_': %w", c.Name, abi.MaxName, abi.CodeBadArgument)
	}
	if c.Role != roleValidator && c.Role != roleFollower {
		return fmt.Errorf("role %q: %s or %s: %w", c.Role, roleValidator, roleFollower, abi.CodeBadArgument)
	}
	for _, a := range []struct{ what, addr string }{{"peer", c.Peer}, {"gateway", c.Gateway}} {
		if err := checkReachable(a.addr); err != nil && (a.addr != "" || a.what == "peer") {
			return fmt.Errorf("%s address %q: %w: %w", a.what, a.addr, abi.CodeBadArgument, err)
		}
	}
	if !c.Made.Equal(c.Made.Truncate(time.Second)) || c.Made.Unix() <= 0 {
		return fmt.Errorf("made %s: not a time in whole seconds: %w", c.Made.Format(time.RFC3339Nano), abi.CodeBadArgument)
	}
	return c.checkKeys()
}

// checkReachable says whether others can be told to connect to an address.
func checkReachable(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if len(addr) > maxAddress {
		return fmt.Errorf("longer than %d bytes", maxAddress)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return errors.New("others need the name or the address of this host")
	}
	if n, err := net.LookupPort("udp", port); err != nil || n == 0 {
		return errors.New("others need a port number that stays")
	}
	return nil
}

func (c *card) checkKeys() error {
	if len(c.Proofs) != len(c.keys) {
		return fmt.Errorf("%d signatures, want %d: %w", len(c.Proofs), len(c.keys), abi.CodeBadSignature)
	}
	sum := c.sum()
	for i, k := range []struct{ what, did string }{{"node", c.Keys.Node}, {"operator", c.Keys.Operator}, {"enforcement point", c.Keys.Enforcement}} {
		public, err := key.ParseDID(k.did)
		if err != nil {
			return fmt.Errorf("%s key: %w", k.what, err)
		}
		if err := checkProof(c.Proofs[i], public, sum); err != nil {
			return fmt.Errorf("signature of the %s key: %w", k.what, err)
		}
		if slices.ContainsFunc(c.keys[:i], func(other []byte) bool { return bytes.Equal(other, public) }) {
			return fmt.Errorf("one key stands twice: %w", abi.CodeBadKey)
		}
		c.keys[i] = public
	}
	if len(c.keys[0]) != chain.Ed25519KeySize {
		return fmt.Errorf("the node key is no ed25519 key: %w", abi.CodeBadKey)
	}
	return nil
}

func checkProof(proof, public []byte, sum abi.Hash) error {
	e, err := chain.ParseEnvelope(proof, purposeCard)
	if err != nil {
		return err
	}
	if !bytes.Equal(e.Key, public) || !bytes.Equal(e.Payload, sum[:]) {
		return fmt.Errorf("it is of another key or another card: %w", abi.CodeBadSignature)
	}
	return e.Verify()
}

// node, operator and enforcement are the card's raw public keys.
func (c *card) node() []byte        { return c.keys[0] }
func (c *card) operator() []byte    { return c.keys[1] }
func (c *card) enforcement() []byte { return c.keys[2] }

// readCards reads the cards of files.
func readCards(files []string) ([]*card, error) {
	cards := make([]*card, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		c, err := parseCard(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		cards = append(cards, c)
	}
	return cards, nil
}

// write writes the card to a new file.
func (c *card) write(file string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	err = writeNew(file, append(text, '\n'), 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; remove it, or name another file", file)
	}
	return err
}

// cardFlags are the flags of init that make a card.
var cardFlags = []cli.Flag{
	&cli.StringFlag{Name: "card", Usage: "make keys and a card of this node, `FILE`, for a genesis that several operators put together"},
	&cli.StringFlag{Name: "role", Usage: "with --card: validator or follower", Value: roleValidator},
	&cli.StringFlag{Name: "address", Usage: "with --card: `HOST` or HOST:PORT where other nodes reach this one (port 7423)"},
	&cli.StringFlag{Name: "gateway", Usage: "with --card: `HOST:PORT` where devices reach it (default: the address's host, port 7433)"},
}

type cardOutput struct {
	Home string `json:"home"`
	File string `json:"file"`
	*card
}

// initCard makes a home's keys and its card.
func initCard(c *cli.Context) error {
	if c.String("address") == "" {
		return usagef("--address is missing: the name or address of this host, where the other nodes reach it")
	}
	h := home(c.String("home"))
	wanted := card{Name: nodeName(c), Role: c.String("role"), Made: time.Now()}
	var host string
	wanted.Peer, host = withPort(c.String("address"), peerPort)
	if wanted.Gateway = c.String("gateway"); wanted.Gateway == "" {
		wanted.Gateway = net.JoinHostPort(host, quicPort)
	}
	keys, err := h.newKeys()
	if err != nil {
		return err
	}
	made, err := newCard(wanted, keys)
	if err != nil {
		return usagef("%v", err)
	}
	file := c.String("card")
	if err := made.write(file); err != nil {
		return err
	}
	return printer(c).show(cardOutput{string(h), file, made},
		"%s has keys; its card is %s\nsend the card to the other operators: there is nothing secret in it\nthen everyone runs, with all the cards: postern genesis --name CHAIN --out genesis.cbor CARD ...", h, file)
}

// nodeName is the name of a node: --name, or that of its host.
func nodeName(c *cli.Context) string {
	if c.IsSet("name") {
		return c.String("name")
	}
	host, err := os.Hostname()
	if name, _, _ := strings.Cut(strings.ToLower(host), "."); err == nil && abi.ValidName(name) {
		return name
	}
	return "node"
}

// withPort adds a port to an address that names none, and tells the host.
func withPort(addr, port string) (full, host string) {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return addr, host
	}
	host = strings.Trim(addr, "[]")
	return net.JoinHostPort(host, port), host
}
