package gateway

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// tlsConfig is the server's side of the handshake.
//
// VerifyConnection looks at the certificate because VerifyPeerCertificate is
// skipped for a resumed session. It only looks: crypto/tls calls it before the
// client has signed, so nothing may be counted for the key yet. That is done
// once the handshake is complete, in serve.
func (s *Server) tlsConfig() (*tls.Config, error) {
	certificate, err := selfSigned(s.config.Key)
	if err != nil {
		return nil, fmt.Errorf("making the gateway's certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{abi.ALPN},
		Certificates:           []tls.Certificate{certificate},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection:       verifyConnection,
	}, nil
}

func verifyConnection(state tls.ConnectionState) error {
	if state.DidResume {
		return fmt.Errorf("resumed session: %w", abi.CodeNotAuthenticated)
	}
	_, err := peerPublicKey(&state)
	return err
}

// peerPublicKey is the raw key of the one certificate that the client sent.
func peerPublicKey(state *tls.ConnectionState) ([]byte, error) {
	if len(state.PeerCertificates) != 1 {
		return nil, fmt.Errorf("%d certificates, want one: %w", len(state.PeerCertificates), abi.CodeNotAuthenticated)
	}
	var key []byte
	switch public := state.PeerCertificates[0].PublicKey.(type) {
	case ed25519.PublicKey:
		key = public
	case *ecdsa.PublicKey:
		if point, err := public.Bytes(); err == nil && public.Curve == elliptic.P256() {
			key = append([]byte{2 | point[len(point)-1]&1}, point[1:1+32]...) // SEC 1 section 2.3.3
		}
	}
	if !chain.ValidKey(key) {
		return nil, fmt.Errorf("the certificate holds neither an ed25519 nor a P-256 key: %w", abi.CodeBadKey)
	}
	return key, nil
}

// selfSigned makes the gateway's certificate. Its lifetime says nothing: the
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
