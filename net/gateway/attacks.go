package gateway

import (
	"errors"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
)

// The kinds of attacks that Config.Attack is told of.
const (
	AttackHandshakeFlood   = "handshake-flood"   // connections faster or more than admitted
	AttackBadSignatures    = "bad-signatures"    // handshakes and statements that their key did not sign
	AttackUnknownContracts = "unknown-contracts" // contracts and domains that do not exist
	AttackMalformedFrames  = "malformed-frames"  // what is no request, or none that fits a frame
)

// attacked tells of an attack on a connection.
func (c *conn) attacked(kind string) { c.server.admission.attacked(kind, c.peer) }

func (a *admission) attacked(kind string, from *peer) {
	if a.config.Attack != nil {
		a.config.Attack(kind, from.address.String())
	}
}

// suspect counts a request whose code tells of an attack.
func (c *conn) suspect(op abi.Operation, code abi.Code) {
	switch {
	case code == abi.CodeBadSignature && op == abi.OpSubmit:
		c.attacked(AttackBadSignatures)
	case code == abi.CodeUnknownContract && op == abi.OpQuery:
		c.attacked(AttackUnknownContracts)
	}
}

// alertDecryptError is the TLS alert of a signature that does not verify (RFC
// 8446 section 6.2).
const alertDecryptError = 51

// badSignature says whether a connection ended because the client did not sign
// with the key that it showed.
func badSignature(cause error) bool {
	var e *quic.TransportError
	return errors.As(cause, &e) && !e.Remote && e.ErrorCode == 0x100+alertDecryptError // RFC 9001 section 4.8
}
