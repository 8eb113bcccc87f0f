package peer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// alpn is the protocol between nodes; its number changes with what a node of
// the former could not understand.
const alpn = "postern-peer/1"

// tlsConfig is either side of the handshake. The certificate proves a key and
// nothing else; the ledger says whose it is. VerifyConnection only looks:
// crypto/tls calls it before the other side has signed.
func tlsConfig(key ed25519.PrivateKey) (*tls.Config, error) {
	certificate, err := selfSigned(key)
	if err != nil {
		return nil, fmt.Errorf("making the node's certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn},
		Certificates:           []tls.Certificate{certificate},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // the name in it means nothing; greet checks the key
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.DidResume {
				return fmt.Errorf("resumed session: %w", abi.CodeNotAuthenticated)
			}
			_, err := provedKey(&state)
			return err
		},
	}, nil
}

// provedKey is the key of the one certificate that the other side sent.
func provedKey(state *tls.ConnectionState) (k Key, err error) {
	if len(state.PeerCertificates) != 1 {
		return k, fmt.Errorf("%d certificates, want one: %w", len(state.PeerCertificates), abi.CodeNotAuthenticated)
	}
	public, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || !chain.ValidKey(public) {
		return k, fmt.Errorf("the certificate holds no ed25519 key: %w", abi.CodeBadKey)
	}
	copy(k[:], public)
	return k, nil
}

func publicKey(key ed25519.PrivateKey) (k Key) {
	copy(k[:], key.Public().(ed25519.PublicKey))
	return k
}

// selfSigned makes the node's certificate. Its lifetime says nothing: the
// ledger says whether the key is good.
func selfSigned(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0).UTC(),
		NotAfter:     time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 section 4.1.2.5
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// resetKey makes stateless resets (RFC 9000 section 10.3) that a node can still
// make after a restart, so that its peers learn at once that the connections
// of the process before are gone.
func resetKey(key ed25519.PrivateKey) *quic.StatelessResetKey {
	k := quic.StatelessResetKey(sha256.Sum256(append([]byte("postern/peer-reset/1"), key.Seed()...)))
	return &k
}
