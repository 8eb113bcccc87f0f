// Package chaintest has keys for tests of what is signed.
package chaintest

import (
	"crypto/ed25519"
	"encoding/binary"
)

// Signer is a key that everybody knows; it is a chain.Signer.
type Signer struct{ ed25519.PrivateKey }

// Key is the key of a number, always the same.
func Key[N byte | int | uint64](number N) Signer {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(number))
	return Signer{ed25519.NewKeyFromSeed(seed)}
}

// Public implements chain.Signer.
func (s Signer) Public() []byte { return s.PrivateKey.Public().(ed25519.PublicKey) }

// Sign implements chain.Signer.
func (s Signer) Sign(message []byte) ([]byte, error) { return ed25519.Sign(s.PrivateKey, message), nil }
