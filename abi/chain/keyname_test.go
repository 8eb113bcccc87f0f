package chain

import (
	"encoding/hex"
	"testing"

	"github.com/seed79541315/postern/abi"
)

func TestKeyName(t *testing.T) {
	id := hash("somebody")
	text := hex.EncodeToString(id[:])
	for want, key := range map[string][]byte{
		"account " + text:   AccountKey(id),
		"device " + text:    DeviceKey(id),
		"guardians " + text: GuardiansKey(id),
		"token " + text:     TokenKey(abi.Hash(id)),
		"log " + text:       AnchorKey(id),
		"offence " + text:   OffenceKey(id),
		"verdicts " + text:  VerdictsKey(id),
		"listing " + text:   ListingKey(id),
		"platform harbour":  PlatformKey("harbour"),
		"contract access":   ContractKey("access"),
		"domain default":    DomainKey(abi.DefaultDomain),
		"proposal 258":      ProposalKey(258),
		"state access 00ff": StateKey("access", []byte{0, 0xff}),
		"state access ":     StateKey("access", nil),
		"validators":        ValidatorsKey(),
		"params":            ParamsKey(),
		"key":               nil,
		"key 61":            {'a'},
		"key 61ff":          {'a', 0xff},
		"key 6341":          []byte("cA"), // no contract can be named so
		"key 47":            {'G'},
		"key 73":            {'s'},
		"key 730561":        {'s', 5, 'a'},
		"key 6b" + text:     append([]byte{'k'}, id[:]...),
	} {
		if got := KeyName(key); got != want {
			t.Errorf("%x is named %q, want %q", key, got, want)
		}
	}
}
