package gateway

import (
	"errors"
	"sync"
	"time"

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

// Devices that all connect at once, after a failure of power, say, are made to
// prove their addresses, and do so. Forged addresses never answer.
const (
	floodWindow = 10 * time.Second
	// retriesEach is how many Retries a client gets: its first flight has two
	// packets, and is repeated when the answer takes long.
	retriesEach = 4
)

// floodWatch holds Retries against the answers to them.
type floodWatch struct {
	limit int // Retries of a window without an answer; more are a flood

	mu         sync.Mutex
	began      time.Time // the window; guarded by mu
	unanswered int       // guarded by mu
}

// retry counts a Retry, and says whether it is part of a flood.
func (f *floodWatch) retry(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.began) >= floodWindow {
		f.began, f.unanswered = now, 0
	}
	f.unanswered++
	return f.unanswered > f.limit
}

func (f *floodWatch) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unanswered = max(0, f.unanswered-retriesEach)
}

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
