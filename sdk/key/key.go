// Package key holds private keys: ed25519, or P-256 where the hardware demands
// it. A key file is a PKCS#8 PEM block that only its owner may read; Load
// refuses one with looser permissions, and Save never overwrites one.
//
// A *Key signs transactions and statements (chain.Signer), makes the
// self-signed certificate by which the device port knows its holder, and has
// a name outside the ledger as well: its did:key.
package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
	"github.com/seed79541315/postern/abi/chain"
)

// Key is a private key. It is safe for concurrent use.
type Key struct {
	private crypto.Signer // ed25519.PrivateKey or *ecdsa.PrivateKey
	public  []byte        // raw, as chain.Signer wants it
}

// Generate makes an ed25519 key.
func Generate() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating an ed25519 key: %w", err)
	}
	return New(private)
}

// GenerateP256 makes a P-256 key.
func GenerateP256() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a P-256 key: %w", err)
	}
	return New(private)
}

// New takes a private key as crypto/x509 parses it: an ed25519.PrivateKey or
// an *ecdsa.PrivateKey on P-256. Any other is refused with abi.CodeBadKey.
func New(private any) (*Key, error) {
	if p, ok := private.(ed25519.PrivateKey); ok && len(p) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("ed25519 key of %d bytes: %w", len(p), abi.CodeBadKey)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T is no private key: %w", private, abi.CodeBadKey)
	}
	public, err := certificate.RawKey(signer.Public())
	if err != nil {
		return nil, err
	}
	return &Key{private: signer, public: public}, nil
}

// Public is the raw public key: 32 bytes of ed25519, or the 33 bytes of a
// compressed P-256 point.
func (k *Key) Public() []byte { return append([]byte(nil), k.public...) }

// AccountID is the id of the account whose first key this is. After a
// rotation the ledger knows the account by its first key's id, not by this.
func (k *Key) AccountID() abi.Hash { return chain.AccountID(k.public) }

// Sign signs message as chain.VerifySignature checks it: pure ed25519, or
// ECDSA with SHA-256 as r|s of 32 bytes each.
func (k *Key) Sign(message []byte) ([]byte, error) {
	p256, ok := k.private.(*ecdsa.PrivateKey)
	if !ok {
		return ed25519.Sign(k.private.(ed25519.PrivateKey), message), nil
	}
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, p256, digest[:])
	if err != nil {
		return nil, fmt.Errorf("signing with P-256: %w", err)
	}
	signature := make([]byte, chain.SignatureSize)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

// Private is the ed25519 private key itself, for a node's configuration; nil
// for a P-256 key.
func (k *Key) Private() ed25519.PrivateKey {
	p, _ := k.private.(ed25519.PrivateKey)
	return p
}

// Certificate makes the self-signed certificate for mutual TLS 1.3.
func (k *Key) Certificate() (tls.Certificate, error) { return certificate.New(k.private) }
