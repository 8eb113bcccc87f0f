package chain

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// SignedHead is a validator's word on where the chain stands: an array
// [chain id, height, block hash, time ms, validator id, signature]. Validators
// exchange it every few seconds and nobody stores it: a quorum of fresh ones
// tells a node that its chain is idle rather than cut off.
type SignedHead struct {
	Chain     abi.Hash
	Height    uint64
	Block     abi.Hash
	Time      int64 // ms since 1970 by the validator's clock
	Validator uint64
	Signature []byte
}

// headLabel opens what is signed: ["postern/head/1", chain id, height, block
// hash, time ms, validator id].
const headLabel = "postern/head/1"

func (h *SignedHead) appendFields(b []byte) []byte {
	b = cbor.AppendUint(cbor.AppendBytes(b, h.Chain[:]), h.Height)
	b = cbor.AppendInt(cbor.AppendBytes(b, h.Block[:]), h.Time)
	return cbor.AppendUint(b, h.Validator)
}

func (h *SignedHead) message() []byte {
	return h.appendFields(cbor.AppendText(cbor.AppendArray(nil, 6), headLabel))
}

// Sign fills in the signature.
func (h *SignedHead) Sign(s Signer) (err error) {
	h.Signature, err = s.Sign(h.message())
	return err
}

// Verify checks that the validator of the set that it names signed the head.
func (h *SignedHead) Verify(set ValidatorSet) error {
	key, ok := set.Key(h.Validator)
	if !ok || !VerifySignature(key, h.message(), h.Signature) {
		return fmt.Errorf("head of validator %d: %w", h.Validator, abi.CodeBadSignature)
	}
	return nil
}

// Append appends the encoding of h.
func (h *SignedHead) Append(b []byte) []byte {
	return cbor.AppendBytes(h.appendFields(cbor.AppendArray(b, 6)), h.Signature)
}

// ParseSignedHead reads a signed head; its signature is not checked.
func ParseSignedHead(b []byte) (SignedHead, error) {
	r := cbor.NewReader(b)
	r.ArrayN(6)
	h := SignedHead{Chain: hashOf(&r), Height: r.Uint(), Block: hashOf(&r), Time: r.Int(), Validator: r.Uint()}
	h.Signature = append([]byte(nil), r.BytesN(SignatureSize)...)
	if err := r.Done(); err != nil {
		return SignedHead{}, abi.Malformed(err)
	}
	return h, nil
}
