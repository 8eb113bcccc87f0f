// Package sealed encrypts what a device sent for the few who may read it: its
// owner and authorities. The ledger keeps the result (chain.Sealed), which is
// replicated and never forgets, so nothing of it may stand there in clear.
//
// It is HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// AES-128-GCM. The info string binds a sealed text to chain and device: one that
// is moved to another device's record opens no more.
//
// Whoever seals takes the reader's public key from the reader's account by Key;
// whoever opens has the private half in its key file (sdk/key, Agreement).
package sealed

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Overhead is how many bytes longer a sealed text is: the encapsulated key, and
// the tag of AES-GCM.
const Overhead = 32 + 16

// MaxText is the longest text, in bytes, of which the ledger keeps the sealed.
const MaxText = chain.MaxSealed - Overhead

// Seal seals a text to an X25519 public key. The error is abi.CodeTooLarge if
// the ledger would not keep it, and abi.CodeBadKey for a key to which nothing can
// be sealed, such as a point of low order.
func Seal(to []byte, of, device abi.Hash, text []byte) ([]byte, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("a text of %d bytes, %d at most: %w", len(text), MaxText, abi.CodeTooLarge)
	}
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", abi.CodeBadKey, err)
	}
	b, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES128GCM(), info(of, device), text)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w: %w", abi.CodeBadKey, err)
	}
	return b, nil
}

// Open opens what was sealed to the private key's public half. It is
// abi.CodeNotPermitted if it was sealed to another key, for another device or
// chain, or was changed: nobody can tell which.
func Open(private *ecdh.PrivateKey, of, device abi.Hash, sealed []byte) ([]byte, error) {
	k, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", abi.CodeBadKey, err)
	}
	text, err := hpke.Open(k, hpke.HKDFSHA256(), hpke.AES128GCM(), info(of, device), sealed)
	if err != nil {
		return nil, fmt.Errorf("not sealed to this key for this device, or changed: %w", abi.CodeNotPermitted)
	}
	return text, nil
}

// info is the text "postern/sealed/1", a zero byte, the chain id and the device id.
func info(of, device abi.Hash) []byte {
	b := append([]byte("postern/sealed/1"), 0)
	return append(append(b, of[:]...), device[:]...)
}
