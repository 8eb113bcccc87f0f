package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// StatementKind is what a signed statement says.
type StatementKind uint64

// StatementEnrol: "I, the device of this key, belong to this owner".
// StatementRotate: "this key succeeds the account's".
// StatementValidator: "this key is to vote, as the key of this account".
// StatementTransfer: "I take this device over from its owner".
// StatementReport: "I, the device of this key, observed this".
const (
	StatementEnrol     StatementKind = 1
	StatementRotate    StatementKind = 2
	StatementValidator StatementKind = 3
	StatementTransfer  StatementKind = 4
	StatementReport    StatementKind = 5
)

// Statement is a second party's signature within a transaction: an envelope
// whose payload is {1: chain id, 2: kind, 3: expiry ms, 4: body (map)}. It is
// good up to and including its expiry.
type Statement struct {
	Chain  abi.Hash
	Kind   StatementKind
	Expiry int64
	Body   []byte
	Key    []byte // who signed

	envelope Envelope
}

// SignStatement signs s and returns the encoded envelope.
func SignStatement(s *Statement, by Signer) ([]byte, error) {
	var f fields
	f.bytes(1, s.Chain[:])
	f.uint(2, uint64(s.Kind))
	f.int(3, s.Expiry)
	f.raw(4, s.Body)
	return Seal(f.appendTo(nil), PurposeStatement, by)
}

// ParseStatement reads a statement and checks nothing of what it says.
func ParseStatement(raw []byte) (Statement, error) {
	e, err := ParseEnvelope(raw, PurposeStatement)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Key: e.Key, envelope: e}
	err = parseArgs(e.Payload, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			s.Chain = hashOf(r)
		case 2:
			s.Kind = StatementKind(r.Uint())
		case 3:
			s.Expiry = r.Int()
		case 4:
			s.Body = rawMap(r)
		default:
			return false
		}
		return true
	})
	if err != nil {
		return Statement{}, err
	}
	return s, nil
}

// OpenStatement reads a statement, checks its signature, and that it is of
// the kind, for the chain and not expired at now (ms). Errors are, or wrap,
// CodeMalformed, CodeBadKey, CodeBadArgument, CodeWrongChain, CodeExpired and
// CodeBadSignature.
func OpenStatement(raw []byte, chain abi.Hash, kind StatementKind, now int64) (Statement, error) {
	s, err := ParseStatement(raw)
	if err != nil {
		return Statement{}, err
	}
	switch {
	case s.Chain != chain:
		return Statement{}, abi.CodeWrongChain
	case s.Kind != kind:
		return Statement{}, abi.CodeBadArgument
	case now > s.Expiry:
		return Statement{}, abi.CodeExpired
	}
	if err := s.envelope.Verify(); err != nil {
		return Statement{}, err
	}
	return s, nil
}
