// Package certificate carries the keys of the ledger through mutual TLS 1.3:
// devices, gateways and nodes prove them to each other by self-signed
// certificates (RFC 5280) that hold nothing but the key.
//
// A certificate says that its sender holds the key, once the handshake is
// complete, and nothing else. It is the caller's to ask the ledger whose the
// key is, to require a certificate of the other side (tls.RequireAnyClientCert),
// and to give no session tickets.
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// A certificate's lifetime says nothing, so that a device without a clock can
// be known: the ledger says whether the key is good now. The end is the one
// that RFC 5280 section 4.1.2.5 gives to certificates that have none.
var (
	begin = time.Unix(0, 0).UTC()
	end   = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// New makes the certificate of a private key, ed25519 or P-256. It is made in
// memory, and of an ed25519 key it is the same bytes every time. The name in
// it, the hash of the key in hex, is for people who look. Any other key is
// refused with abi.CodeBadKey.
func New(private crypto.Signer) (tls.Certificate, error) {
	raw, err := RawKey(private.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	id := chain.AccountID(raw)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: fmt.Sprintf("%x", id[:])},
		NotBefore:    begin,
		NotAfter:     end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// Key is the raw key in the one certificate that the other side sent. It looks
// only, so it may be called in tls.Config.VerifyConnection, before the other
// side has signed. A resumed session, which proves no key, and any number of
// certificates but one are refused with abi.CodeNotAuthenticated, a key that
// the ledger cannot know with abi.CodeBadKey.
func Key(state *tls.ConnectionState) ([]byte, error) {
	if state.DidResume {
		return nil, fmt.Errorf("resumed session: %w", abi.CodeNotAuthenticated)
	}
	if len(state.PeerCertificates) != 1 {
		return nil, fmt.Errorf("%d certificates, want one: %w", len(state.PeerCertificates), abi.CodeNotAuthenticated)
	}
	return RawKey(state.PeerCertificates[0].PublicKey)
}

// Verify is a tls.Config.VerifyConnection that refuses what Key refuses. That
// hook, and not VerifyPeerCertificate, since resumed sessions skip the other.
func Verify(state tls.ConnectionState) error {
	_, err := Key(&state)
	return err
}

// RawKey is the form in which the ledger has a public key of the standard
// library: 32 bytes of ed25519, or the 33 bytes of a compressed P-256 point.
// Any other is refused with abi.CodeBadKey.
func RawKey(public crypto.PublicKey) ([]byte, error) {
	var raw []byte
	switch p := public.(type) {
	case ed25519.PublicKey:
		raw = p
	case *ecdsa.PublicKey:
		if point, err := p.Bytes(); err == nil && p.Curve == elliptic.P256() {
			// SEC 1 section 2.3.3: the parity of y, then x.
			raw = append([]byte{2 | point[len(point)-1]&1}, point[1:1+32]...)
		}
	}
	if !chain.ValidKey(raw) {
		return nil, fmt.Errorf("a %T that is neither an ed25519 nor a P-256 key: %w", public, abi.CodeBadKey)
	}
	return raw, nil
}
