package proof

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// VerifyOrigin checks the origin of a chain with nothing but its proof and the
// encoded genesis of the old one: the steps lead from its validators to those
// that certified the header. It gives these, and the set that was to sign the old
// chain's next block. That block 0 of the new chain has the root that the
// origin names is for those to check who hold the old state.
func VerifyOrigin(old []byte, o *chain.Origin, p *chain.OriginProof) (signers, next chain.ValidatorSet, err error) {
	h := &o.Header
	if id := chain.ChainID(old); h.Chain != id {
		return nil, nil, fmt.Errorf("origin: block %d of chain %x, the genesis is chain %x's: %w", h.Height, h.Chain[:4], id[:4], abi.CodeWrongChain)
	}
	genesis, err := chain.ParseGenesis(old)
	if err != nil {
		return nil, nil, fmt.Errorf("origin: the old chain's %w", err)
	}
	trusted := Trusted{Chain: h.Chain, Validators: genesis.Validators}
	for i, raw := range p.Steps {
		s, err := ParseStep(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("origin: step %d: %w", i, err)
		}
		if i == len(p.Steps)-1 && s.Header == *h {
			signers = trusted.Validators
		} else if s.Header.Height >= h.Height {
			return nil, nil, fmt.Errorf("origin: step at height %d, the state is of height %d: %w", s.Header.Height, h.Height, abi.CodeBadProof)
		}
		if err := trusted.Advance(&s); err != nil {
			return nil, nil, fmt.Errorf("origin: %w", err)
		}
	}
	if signers == nil {
		signers = trusted.Validators
	}
	if trusted.Validators.Hash() != h.NextValidators {
		return nil, nil, fmt.Errorf("origin: the steps do not lead to the validators after block %d: %w", h.Height, abi.CodeBadProof)
	}
	if err := p.Certificate.Verify(h, signers); err != nil {
		return nil, nil, fmt.Errorf("origin: block %d: %w", h.Height, err)
	}
	return signers, trusted.Validators, nil
}
