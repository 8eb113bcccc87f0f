package chain

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxOriginSteps bounds the changes of validators that the proof of an origin lists: 1 MB
// where there are four, 3 MB where there are sixteen.
const MaxOriginSteps = 1024

// Origin is where a chain comes from that goes on with the state of another
// one, whose quorum is gone: a map
//
//	1 Header of the old chain's block whose state it is
//	2 root of the state after block 0 of the new chain
//
// The header's chain id is the hash of the old genesis. The last root makes
// block 0 known to those who do not hold the state. Who signed is in no origin:
// nodes keep different quorums of a block's signatures, and a chain must not be
// another one by whose copy it was made from. An OriginProof says it.
type Origin struct {
	Header Header
	State  abi.Hash
}

// Append appends the encoding of o.
func (o *Origin) Append(b []byte) []byte {
	b = AppendHeader(cbor.AppendUint(cbor.AppendMap(b, 2), 1), &o.Header)
	return cbor.AppendBytes(cbor.AppendUint(b, 2), o.State[:])
}

// ParseOrigin reads an origin; it aliases b and proves nothing.
func ParseOrigin(b []byte) (o Origin, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			o.Header = sub(r, ParseHeader)
		case 2:
			o.State = hashOf(r)
		default:
			return false
		}
		return true
	})
	if err == nil && o.Header.Height == 0 {
		err = fmt.Errorf("origin: the state of a genesis: %w", abi.CodeBadArgument)
	}
	return o, err
}

// OriginProof is the evidence for an origin, beside the genesis and in no hash:
// a map
//
//	1 Certificate of the old chain's block
//	2 [proof.Step (bytes) …]: the old chain's changes of validators from its
//	  genesis on, up to that block's own
//
// Whoever holds the old genesis can check an origin by it with
// proof.VerifyOrigin. Any quorum's signatures will do.
type OriginProof struct {
	Certificate Certificate
	Steps       [][]byte
}

// Append appends the encoding of p.
func (p *OriginProof) Append(b []byte) []byte {
	b = p.Certificate.Append(cbor.AppendUint(cbor.AppendMap(b, 2), 1))
	return appendByteStrings(cbor.AppendUint(b, 2), p.Steps)
}

// ParseOriginProof reads the evidence for an origin; it aliases b.
func ParseOriginProof(b []byte) (p OriginProof, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			p.Certificate = sub(r, ParseCertificate)
		case 2:
			p.Steps = readByteStrings(r)
		default:
			return false
		}
		return true
	})
	if err == nil && len(p.Steps) > MaxOriginSteps {
		err = fmt.Errorf("proof of an origin: %d changes of validators: %w", len(p.Steps), abi.CodeTooLarge)
	}
	return p, err
}
