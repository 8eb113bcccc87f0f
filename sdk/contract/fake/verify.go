//go:build !wasm

package fake

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
)

// verify says whether a signature is good, by the standard library. The
// ledger's own verifier differs from it for keys and signatures only that no
// honest signer makes.
func verify(key, msg, sig []byte) bool {
	if len(sig) != ed25519.SignatureSize {
		return false
	}
	switch len(key) {
	case ed25519.PublicKeySize:
		return ed25519.Verify(key, msg, sig)
	case 1 + 32: // a compressed point of P-256
		return verifyP256(key, msg, sig)
	}
	return false
}

func verifyP256(key, msg, sig []byte) bool {
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), key)
	if x == nil {
		return false
	}
	var point [1 + 2*32]byte
	point[0] = 4 // uncompressed (SEC 1 section 2.3.3)
	x.FillBytes(point[1:33])
	y.FillBytes(point[33:])
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return false
	}
	digest := sha256.Sum256(msg)
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	return ecdsa.Verify(public, digest[:], r, s)
}
