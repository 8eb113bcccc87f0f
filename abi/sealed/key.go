package sealed

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Key is the X25519 public key of an account: the one that it registered, or
// else the one that belongs to its ed25519 key (Montgomery). An account with
// neither, of a P-256 key, is abi.CodeBadKey.
func Key(a *chain.Account) ([]byte, error) {
	if len(a.X25519) > 0 {
		return a.X25519, nil
	}
	return Montgomery(a.Key)
}

// prime is that of Curve25519's field, 2^255-19.
var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

// Montgomery is the X25519 public key that belongs to an ed25519 one, by the map
// u = (1+y)/(1-y) of RFC 7748 section 4.1. The did:key method gives every
// ed25519 key its key for agreement so, hence whoever has a did:key can be sealed
// to. That one key pair may serve both is shown by Thormarker, "On using the same
// key pair for Ed25519 and an X25519 based KEM" (2021), for this very KEM.
func Montgomery(ed25519 []byte) ([]byte, error) {
	if len(ed25519) != chain.Ed25519KeySize || !chain.ValidKey(ed25519) {
		return nil, fmt.Errorf("no X25519 key belongs to a key of %d bytes: %w", len(ed25519), abi.CodeBadKey)
	}
	b := slices.Clone(ed25519)
	b[31] &= 0x7f // the sign of x
	slices.Reverse(b)
	one, y := big.NewInt(1), new(big.Int).SetBytes(b)
	below := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(one, y), prime), prime)
	if below == nil { // y = 1 is the neutral element
		return nil, fmt.Errorf("the neutral element: %w", abi.CodeBadKey)
	}
	u := new(big.Int).Mod(below.Mul(below, y.Add(y, one)), prime)
	out := u.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return out, nil
}
