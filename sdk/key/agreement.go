package key

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
)

// agreementInfo separates the X25519 key of a P-256 key from whatever else
// might be derived of it.
const agreementInfo = "postern/agreement/1"

// Agreement is the X25519 key to which others seal texts for the key's holder
// (package abi/sealed). It needs no file of its own: of an ed25519 key it is the
// pair that the did:key method gives it (RFC 8032 section 5.1.5 and RFC 7748), so
// anybody knows the public half from the public key. Of a P-256 key it is derived
// by HKDF-SHA256 from the private scalar; its account must register the public half.
func (k *Key) Agreement() (*ecdh.PrivateKey, error) {
	var scalar []byte
	switch p := k.private.(type) {
	case ed25519.PrivateKey:
		digest := sha512.Sum512(p.Seed())
		scalar = digest[:32] // X25519 clamps it
	case *ecdsa.PrivateKey:
		secret, err := p.Bytes()
		if err != nil {
			return nil, fmt.Errorf("deriving the X25519 key: %w", err)
		}
		if scalar, err = hkdf.Key(sha256.New, secret, nil, agreementInfo, 32); err != nil {
			return nil, fmt.Errorf("deriving the X25519 key: %w", err)
		}
	}
	return ecdh.X25519().NewPrivateKey(scalar)
}
