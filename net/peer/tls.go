package peer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"fmt"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
)

// alpn is the protocol between nodes; its number changes with what a node of
// the former could not understand.
const alpn = "postern-peer/1"

// tlsConfig is either side of the handshake. The certificate proves a key and
// nothing else; the ledger says whose it is. VerifyConnection only looks:
// crypto/tls calls it before the other side has signed.
func tlsConfig(key ed25519.PrivateKey) (*tls.Config, error) {
	own, err := certificate.New(key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn},
		Certificates:           []tls.Certificate{own},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // the name in it means nothing; greet checks the key
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := provedKey(&state)
			return err
		},
	}, nil
}

// provedKey is the key in the other side's certificate. Nodes have ed25519
// keys only.
func provedKey(state *tls.ConnectionState) (k Key, err error) {
	raw, err := certificate.Key(state)
	if err != nil {
		return k, err
	}
	if len(raw) != len(k) {
		return k, fmt.Errorf("the certificate holds no ed25519 key: %w", abi.CodeBadKey)
	}
	return Key(raw), nil
}

func publicKey(key ed25519.PrivateKey) (k Key) {
	copy(k[:], key.Public().(ed25519.PublicKey))
	return k
}

// resetKey makes stateless resets (RFC 9000 section 10.3) that a node can still
// make after a restart, so that its peers learn at once that the connections
// of the process before are gone.
func resetKey(key ed25519.PrivateKey) *quic.StatelessResetKey {
	k := quic.StatelessResetKey(sha256.Sum256(append([]byte("postern/peer-reset/1"), key.Seed()...)))
	return &k
}
