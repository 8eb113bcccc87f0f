package sharing

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Statement says that all keys of a data set up to an epoch's are destroyed.
type Statement struct {
	Set       Set
	Epoch     uint32
	Subject   *abi.Hash // whom the data concern; nil: nobody
	Destroyed int64     // ms since 1970
}

// statementPurpose begins what is signed, so that nothing else that the custodian
// signs is a statement of destruction.
const statementPurpose = "postern/sharing/destruction/1"

// Append appends what the custodian signs and the contract makes itself: the
// canonical CBOR [purpose, chain, contract, data set, epoch, subject or null, time].
func (s *Statement) Append(b []byte) []byte {
	b = cbor.AppendText(cbor.AppendArray(b, 7), statementPurpose)
	b = cbor.AppendBytes(b, s.Set.Chain[:])
	b = cbor.AppendText(cbor.AppendText(b, s.Set.Contract), s.Set.Name)
	b = cbor.AppendUint(b, uint64(s.Epoch))
	if s.Subject == nil {
		b = cbor.AppendNull(b)
	} else {
		b = cbor.AppendBytes(b, s.Subject[:])
	}
	return cbor.AppendInt(b, s.Destroyed)
}

// Signer is a key that signs, such as that of a file (package sdk/key).
type Signer interface {
	Sign(message []byte) ([]byte, error)
}

// Sign signs the statement as the custodian.
func (s *Statement) Sign(custodian Signer) ([]byte, error) {
	signature, err := custodian.Sign(s.Append(nil))
	if err != nil {
		return nil, fmt.Errorf("signing the statement of destruction: %w", err)
	}
	return signature, nil
}

// Verify says whether a signature is the custodian's of this statement.
func (s *Statement) Verify(custodian, signature []byte) bool {
	return chain.VerifySignature(custodian, s.Append(nil), signature)
}
