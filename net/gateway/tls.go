package gateway

import (
	"crypto/tls"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
)

// tlsConfig is the server's side of the handshake. VerifyConnection only looks
// at the client's key: crypto/tls calls it before the client has signed, so
// nothing may be counted for the key yet. That is done once the handshake is
// complete, in serve.
func (s *Server) tlsConfig() (*tls.Config, error) {
	own, err := certificate.New(s.config.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{abi.ALPN},
		Certificates:           []tls.Certificate{own},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := s.keyOf(&state)
			return err
		},
	}, nil
}
