package chain

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxOriginSteps bounds the changes of validators that an origin lists: 1 MB
// where there are four, 3 MB where there are sixteen.
const MaxOriginSteps = 1024

// Origin is where a chain comes from that goes on with the state of another
// one, whose quorum is gone: a map
//
//	1 Header of the old chain's block whose state it is
//	2 its Certificate
//	3 [proof.Step (bytes) …]: the old chain's changes of validators from its
//	  genesis on, up to that block's own
//	4 root of the state after block 0 of the new chain
//
// The header's chain id is the hash of the old genesis: whoever holds that can
// check the rest with proof.VerifyOrigin. The last root makes block 0 known to
// those who do not hold the state.
type Origin struct {
	Header      Header
	Certificate Certificate
	Steps       [][]byte
	State       abi.Hash
}

// Append appends the encoding of o.
func (o *Origin) Append(b []byte) []byte {
	b = AppendHeader(cbor.AppendUint(cbor.AppendMap(b, 4), 1), &o.Header)
	b = o.Certificate.Append(cbor.AppendUint(b, 2))
	b = appendByteStrings(cbor.AppendUint(b, 3), o.Steps)
	return cbor.AppendBytes(cbor.AppendUint(b, 4), o.State[:])
}

// ParseOrigin reads an origin; it aliases b and proves nothing yet.
func ParseOrigin(b []byte) (o Origin, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			o.Header = sub(r, ParseHeader)
		case 2:
			o.Certificate = sub(r, ParseCertificate)
		case 3:
			o.Steps = readByteStrings(r)
		case 4:
			o.State = hashOf(r)
		default:
			return false
		}
		return true
	})
	if err == nil && (o.Header.Height == 0 || len(o.Steps) > MaxOriginSteps) {
		err = fmt.Errorf("origin: block %d after %d changes of validators: %w", o.Header.Height, len(o.Steps), abi.CodeBadArgument)
	}
	return o, err
}
