package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
)

// testnetShape is what a new network is made with, and what an old one must
// have if it was asked for.
type testnetShape struct {
	validators, followers       int
	validatorsSet, followersSet bool
	params                      chain.Params
	paramsSet                   bool
}

func chosenShape(c *cli.Context) (s testnetShape, err error) {
	s = testnetShape{
		validators: c.Int("validators"), followers: c.Int("followers"),
		validatorsSet: c.IsSet("validators"), followersSet: c.IsSet("followers"),
		paramsSet: c.IsSet("profile") || c.IsSet("block-gas") || c.IsSet("tx-gas"),
	}
	if s.validators < 1 || s.validators > maxValidators {
		return s, usagef("--validators %d: 1 to %d", s.validators, maxValidators)
	}
	if s.followers < 0 || s.followers > maxTestFollowers {
		return s, usagef("--followers %d: 0 to %d", s.followers, maxTestFollowers)
	}
	s.params, err = chosenParams(c)
	s.params.ActivationDelay = 0 // blocks wait for compilation; nobody here wants a day to object
	return s, err
}

// testnetDir makes the directory; a temporary one goes with the network.
func testnetDir(dir string) (string, func(), error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "postern-testnet-")
		return dir, func() { os.RemoveAll(dir) }, err
	}
	if home(dir).exists() && !fileExists(filepath.Join(dir, "n1")) {
		return "", nil, usagef("%s is the home of a node; choose another --home for a network", dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lockTestnet makes this process the only one that runs the network of dir.
func lockTestnet(dir string) (*os.File, error) {
	f, err := lockFile(filepath.Join(dir, "lock"))
	if errors.Is(err, errLocked) {
		err = fmt.Errorf("a network runs in %s; stop it first, or choose another --home", dir)
	}
	return f, err
}

// makeHomes makes what is missing of the network's homes. DIR/genesis.cbor is
// written once all keys are there, and decides from then on what the network
// is: what was interrupted is finished.
func (t *testnet) makeHomes(ctx context.Context, shape testnetShape) error {
	path := filepath.Join(t.dir, "genesis.cbor")
	if !fileExists(path) {
		if err := newTestGenesis(t.dir, path, shape); err != nil {
			return err
		}
		t.out.progressf("made keys and genesis of %s in %s", countNodes(shape.validators, shape.followers), t.dir)
	}
	raw, g, err := home(t.dir).genesis()
	if err != nil {
		return err
	}
	t.genesis = g
	if err := shape.check(t.dir, g); err != nil {
		return err
	}
	for i := range len(g.Accounts) / accountsOfNode {
		if err := t.addMember(ctx, i, raw); err != nil {
			return err
		}
	}
	return nil
}

// accountsOfNode is how many accounts a node brings into a genesis of cards.
const accountsOfNode = 3

func newTestGenesis(dir, path string, shape testnetShape) error {
	var cards []*card
	for i := range shape.validators + shape.followers {
		h := home(filepath.Join(dir, memberName(i)))
		keys, err := makeKeys(h)
		if err != nil {
			return err
		}
		role := roleValidator
		if i >= shape.validators {
			role = roleFollower
		}
		// Names of two digits sort as numbers: n2 is validator 2, n10 the tenth.
		c, err := newCard(card{Name: fmt.Sprintf("n%02d", i+1), Role: role, Peer: "localhost:7423", Made: time.Now()}, keys)
		if err != nil {
			return err
		}
		cards = append(cards, c)
	}
	g, err := genesisOf("testnet", shape.params, time.Now(), cards)
	if err != nil {
		return err
	}
	return writeNew(path, g.Append(nil), 0o600)
}

func memberName(i int) string { return "n" + strconv.Itoa(i+1) }

// check refuses to run an old network under flags that it was not made with.
func (s *testnetShape) check(dir string, g *chain.Genesis) error {
	validators := len(g.Validators)
	followers := len(g.Accounts)/accountsOfNode - validators
	if s.validatorsSet && s.validators != validators || s.followersSet && s.followers != followers {
		return usagef("the network in %s has %s; leave --validators and --followers out, or choose another --home", dir, countNodes(validators, followers))
	}
	if s.paramsSet && (s.params.Profile != g.Params.Profile || s.params.BlockGas != g.Params.BlockGas || s.params.TxGas != g.Params.TxGas) {
		return usagef("the network in %s is %s with %d gas a block and %d a transaction for ever; leave those flags out, or choose another --home",
			dir, profileName(g.Params.Profile), g.Params.BlockGas, g.Params.TxGas)
	}
	return nil
}

// countNodes is such as "4 validators and 1 follower".
func countNodes(validators, followers int) string {
	text := many(validators, "validator")
	switch followers {
	case 0:
		return text
	case 1:
		return text + " and 1 follower"
	}
	return fmt.Sprintf("%s and %d followers", text, followers)
}

// testnetSettings keep a node from finding others past the relays.
const testnetSettings = "learn = false\n"

func (t *testnet) addMember(ctx context.Context, i int, raw []byte) error {
	m := &member{name: memberName(i), index: i, home: home(filepath.Join(t.dir, memberName(i))), role: roleValidator}
	if i >= len(t.genesis.Validators) {
		m.role = roleFollower
	}
	t.members = append(t.members, m)
	if m.home.exists() {
		there, _, err := m.home.genesis()
		if err == nil && chain.ChainID(there) != chain.ChainID(raw) {
			err = fmt.Errorf("%s is the home of another chain's node: choose another --home, or remove it", m.home)
		}
		return err
	}
	made := membership{raw: raw, genesis: t.genesis, clock: "trusted", settings: testnetSettings}
	_, err := made.initHome(ctx, m.home, nil)
	return err
}
