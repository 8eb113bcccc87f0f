package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

func newKeys(t testing.TB) *homeKeys {
	t.Helper()
	var k homeKeys
	for _, to := range []**key.Key{&k.node, &k.operator, &k.enforcement} {
		made, err := key.Generate()
		if err != nil {
			t.Fatal(err)
		}
		*to = made
	}
	return &k
}

func testCard(t testing.TB, name, role string) *card {
	t.Helper()
	c, err := newCard(card{Name: name, Role: role, Peer: name + ".example:7423", Made: time.Unix(1_800_000_000, 0)}, newKeys(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cardText(t testing.TB, c *card) []byte {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCardComesBack(t *testing.T) {
	c := testCard(t, "north", roleValidator)
	back, err := parseCard(cardText(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(cardText(t, back), cardText(t, c)) || !bytes.Equal(back.node(), c.node()) {
		t.Errorf("%+v came back as %+v", c, back)
	}
}

// TestForgedCards changes what a card says after its keys have signed it, or
// who signed it.
func TestForgedCards(t *testing.T) {
	other := testCard(t, "south", roleValidator)
	for name, test := range map[string]struct {
		change func(*card)
		want   abi.Code
	}{
		"another name":         {func(c *card) { c.Name = "east" }, abi.CodeBadSignature},
		"a vote by itself":     {func(c *card) { c.Role = roleFollower }, abi.CodeBadSignature},
		"another address":      {func(c *card) { c.Peer = "evil.example:7423" }, abi.CodeBadSignature},
		"a gateway":            {func(c *card) { c.Gateway = "evil.example:7433" }, abi.CodeBadSignature},
		"another time":         {func(c *card) { c.Made = c.Made.Add(time.Second) }, abi.CodeBadSignature},
		"a fraction of time":   {func(c *card) { c.Made = c.Made.Add(time.Millisecond) }, abi.CodeBadArgument},
		"another's node key":   {func(c *card) { c.Keys.Node = other.Keys.Node }, abi.CodeBadSignature},
		"another's proof":      {func(c *card) { c.Proofs[0] = other.Proofs[0] }, abi.CodeBadSignature},
		"proofs in turn":       {func(c *card) { c.Proofs[0], c.Proofs[1] = c.Proofs[1], c.Proofs[0] }, abi.CodeBadSignature},
		"a proof less":         {func(c *card) { c.Proofs = c.Proofs[:2] }, abi.CodeBadSignature},
		"a proof more":         {func(c *card) { c.Proofs = append(c.Proofs, c.Proofs[0]) }, abi.CodeBadSignature},
		"a flipped bit":        {func(c *card) { c.Proofs[2] = flipLast(c.Proofs[2]) }, abi.CodeBadSignature},
		"no key at all":        {func(c *card) { c.Keys.Node = "" }, abi.CodeBadKey},
		"no such role":         {func(c *card) { c.Role = "owner" }, abi.CodeBadArgument},
		"no address":           {func(c *card) { c.Peer = "" }, abi.CodeBadArgument},
		"an address for all":   {func(c *card) { c.Peer = "0.0.0.0:7423" }, abi.CodeBadArgument},
		"port zero":            {func(c *card) { c.Peer = "north.example:0" }, abi.CodeBadArgument},
		"an endless address":   {func(c *card) { c.Peer = strings.Repeat("a", maxAddress) + ":1" }, abi.CodeBadArgument},
		"a name with a space":  {func(c *card) { c.Name = "north pole" }, abi.CodeBadArgument},
		"a gateway, port zero": {func(c *card) { c.Gateway = "north.example:0" }, abi.CodeBadArgument},
	} {
		c := testCard(t, "north", roleValidator)
		test.change(c)
		if _, err := parseCard(cardText(t, c)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func flipLast(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

func TestCardTextIsStrict(t *testing.T) {
	good := string(cardText(t, testCard(t, "north", roleValidator)))
	for name, test := range map[string]struct {
		text string
		want abi.Code
	}{
		"an unknown field": {strings.Replace(good, "{", `{"vote":2,`, 1), abi.CodeBadArgument},
		"two cards":        {good + good, abi.CodeBadArgument},
		"no card":          {"card", abi.CodeBadArgument},
		"nothing":          {"", abi.CodeBadArgument},
		"a huge one":       {good + strings.Repeat(" ", maxCard), abi.CodeTooLarge},
	} {
		if _, err := parseCard([]byte(test.text)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestCardKeysAreDistinct: a key that stands twice would give one account the
// roles of two.
func TestCardKeysAreDistinct(t *testing.T) {
	k := newKeys(t)
	k.operator = k.node
	c := card{Name: "north", Role: roleValidator, Peer: "north.example:7423", Made: time.Unix(1, 0)}
	if _, err := newCard(c, k); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("one key for two accounts: %v", err)
	}
	k = newKeys(t)
	p256, err := key.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	k.node = p256
	if _, err := newCard(c, k); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("a P-256 node key: %v", err)
	}
}

// TestEverybodyMakesTheSameGenesis: neither the order of the cards nor who
// runs it makes a difference, and everything else does.
func TestEverybodyMakesTheSameGenesis(t *testing.T) {
	cards := []*card{testCard(t, "d", roleValidator), testCard(t, "a", roleValidator), testCard(t, "c", roleFollower), testCard(t, "b", roleValidator)}
	params := chain.DefaultParams()
	at := newest(cards)
	first, err := genesisOf("plant", params, at, cards)
	if err != nil {
		t.Fatal(err)
	}
	raw := first.Append(nil)
	if _, err := chain.ParseGenesis(raw); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(cards)
	again, err := genesisOf("plant", params, at, cards)
	if err != nil || !bytes.Equal(again.Append(nil), raw) {
		t.Errorf("in another order another genesis (%v)", err)
	}
	if later, err := genesisOf("plant", params, at.Add(time.Second), cards); err != nil || bytes.Equal(later.Append(nil), raw) {
		t.Errorf("at another time the same genesis (%v)", err)
	}
	names := byName(cards)
	for i, v := range first.Validators {
		if want := [][]byte{names[0].node(), names[1].node(), names[3].node()}[i]; v.ID != uint64(i+1) || !bytes.Equal(v.Key, want) {
			t.Errorf("validator %d is %+v", i, v)
		}
	}
	for _, g := range first.Accounts {
		if bytes.Equal(g.Key, names[2].node()) && g.Roles != abi.RoleGateway {
			t.Errorf("the follower has roles %v", g.Roles)
		}
	}
}

func TestBadSetsOfCards(t *testing.T) {
	a, b := testCard(t, "a", roleValidator), testCard(t, "b", roleFollower)
	shared, err := newCard(card{Name: "s", Role: roleValidator, Peer: "s.example:1", Made: time.Unix(1, 0)}, newKeys(t))
	if err != nil {
		t.Fatal(err)
	}
	shared.keys[2] = a.keys[1]
	var many []*card
	for i := range maxValidators + 1 {
		many = append(many, testCard(t, string(rune('a'+i)), roleValidator))
	}
	for name, test := range map[string]struct {
		cards []*card
		want  abi.Code
	}{
		"the same card twice": {[]*card{a, a}, abi.CodeBadArgument},
		"two of one name":     {[]*card{a, testCard(t, "a", roleFollower)}, abi.CodeBadArgument},
		"a shared key":        {[]*card{a, b, shared}, abi.CodeBadKey},
		"nobody votes":        {[]*card{b}, abi.CodeBadArgument},
		"too many vote":       {many, abi.CodeBadArgument},
	} {
		if _, err := genesisOf("plant", chain.DefaultParams(), time.Unix(2, 0), test.cards); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func FuzzParseCard(f *testing.F) {
	f.Add(cardText(f, testCard(f, "north", roleValidator)))
	f.Add([]byte(`{"proofs":["",null,"0oRYJqIBJwRYIA=="]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCard(text)
		if err != nil {
			return
		}
		back, err := parseCard(cardText(t, c))
		if err != nil || back.sum() != c.sum() {
			t.Errorf("a good card came back otherwise: %v", err)
		}
	})
}
