package chain

import (
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/seed79541315/postern/abi"
)

// VerifyCertificates checks that a quorum of the set signed each of the
// blocks, certificates[i] being that of headers[i], with all signatures in one
// batch. It accepts exactly what Certificate.Verify accepts, and returns the
// error of the first that it refuses.
func VerifyCertificates(headers []*Header, certificates []*Certificate, set ValidatorSet) error {
	batch := ed25519.NewBatchVerifier()
	hash := set.Hash()
	for i, h := range headers {
		if err := certificates[i].checkForm(h, set, hash); err != nil {
			return err
		}
		vote := certificates[i].vote(h)
		for _, s := range certificates[i].Signatures {
			key, _ := set.Key(s.Validator)
			batch.AddWithOptions(key, vote, s.Signature, verifyOptions)
		}
	}
	all, each := batch.Verify(nil)
	if all {
		return nil
	}
	for i, k := 0, 0; i < len(headers); i++ {
		for _, s := range certificates[i].Signatures {
			if !each[k] {
				return badSignature(s.Validator)
			}
			k++
		}
	}
	return nil
}

// checkForm checks everything of a certificate but the signatures; hash is the
// set's.
func (c *Certificate) checkForm(h *Header, set ValidatorSet, hash abi.Hash) error {
	if hash != h.Validators {
		return fmt.Errorf("validator set is not the header's: %w", abi.CodeBadProof)
	}
	last := uint64(0)
	for _, s := range c.Signatures {
		if key, ok := set.Key(s.Validator); !ok || s.Validator <= last || len(key) != Ed25519KeySize || len(s.Signature) != SignatureSize {
			return badSignature(s.Validator)
		}
		last = s.Validator
	}
	if n := len(c.Signatures); n < set.Quorum() || len(set) == 0 {
		return fmt.Errorf("%d signatures of %d validators, want %d: %w", n, len(set), set.Quorum(), abi.CodeBadProof)
	}
	return nil
}

func (c *Certificate) vote(h *Header) []byte {
	return AppendVote(nil, h.Chain, h.Hash(), c.Metadata, c.Sequence)
}

func badSignature(validator uint64) error {
	return fmt.Errorf("signature of validator %d: %w", validator, abi.CodeBadSignature)
}
