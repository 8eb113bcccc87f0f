package proof

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Step is a change of the validator set, proved to whoever trusts the set
// before it: a map
//
//	1 header (chain.Header) of the last block that the old set signed
//	2 certificate
//	3 the set that signs from the next block on (chain.ValidatorSet)
//
// Nodes keep the steps of a chain for ever, so that one can walk from the
// genesis to the validators of any height whatever was pruned.
type Step struct {
	Header      chain.Header
	Certificate chain.Certificate
	Next        chain.ValidatorSet
}

// Append appends the encoding of s.
func (s *Step) Append(b []byte) []byte {
	b = cbor.AppendMap(b, 3)
	b = chain.AppendHeader(cbor.AppendUint(b, 1), &s.Header)
	b = s.Certificate.Append(cbor.AppendUint(b, 2))
	return s.Next.Append(cbor.AppendUint(b, 3))
}

// ParseStep reads a step; it aliases b and proves nothing yet.
func ParseStep(b []byte) (Step, error) {
	var s Step
	err := parseParts(b, 3, func(field uint64, raw []byte) (err error) {
		switch field {
		case 1:
			s.Header, err = chain.ParseHeader(raw)
		case 2:
			s.Certificate, err = chain.ParseCertificate(raw)
		case 3:
			s.Next, err = chain.ParseValidatorSet(raw)
		}
		return err
	})
	if err != nil {
		return Step{}, err
	}
	return s, nil
}

// Advance moves what is trusted over a change of the validator set: it checks
// that the trusted validators certified the step's header and that this names
// the step's new set, which is trusted from then on. An error leaves t as it is.
func (t *Trusted) Advance(s *Step) error {
	h := &s.Header
	switch {
	case h.Chain != t.Chain:
		return fmt.Errorf("step of chain %x: %w", h.Chain[:4], abi.CodeWrongChain)
	case h.Height <= t.Height:
		return fmt.Errorf("step at height %d, but height %d is trusted: %w", h.Height, t.Height, abi.CodeTooStale)
	case len(s.Next) == 0 || s.Next.Hash() != h.NextValidators || h.NextValidators == h.Validators:
		return fmt.Errorf("step at height %d does not lead to its validators: %w", h.Height, abi.CodeBadProof)
	}
	if err := s.Certificate.Verify(h, t.Validators); err != nil {
		return err
	}
	t.Validators, t.Height = s.Next, h.Height
	return nil
}
