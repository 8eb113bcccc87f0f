package client

import (
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Certified is a header and why it is final.
type Certified struct {
	Header      chain.Header
	Certificate chain.Certificate
}

// ForkError is evidence that the validators certified what no chain can hold
// together: two headers of one height, or one that does not stand on the
// other, or that validators signed who had handed over to others. A third of
// them or more have broken their word. It wraps abi.CodeBadProof.
//
// Where the other side is the checkpoint of a bundle, One has its height and
// no certificate: then either the bundle is wrong or the chain.
type ForkError struct{ One, Other Certified }

func (e *ForkError) Error() string {
	if len(e.One.Certificate.Signatures) == 0 {
		return fmt.Sprintf("certified height %d contradicts the checkpoint at height %d", e.Other.Header.Height, e.One.Header.Height)
	}
	if a, b := e.One.Header.Height, e.Other.Header.Height; a != b {
		return fmt.Sprintf("certified heights %d and %d contradict each other, both signed by validators %v", a, b, e.Both())
	}
	return fmt.Sprintf("two certified headers of height %d, both signed by validators %v", e.Other.Header.Height, e.Both())
}

// Unwrap returns abi.CodeBadProof.
func (e *ForkError) Unwrap() error { return abi.CodeBadProof }

// Both are the ids of the validators that signed both headers.
func (e *ForkError) Both() (ids []uint64) {
	for _, s := range e.One.Certificate.Signatures {
		same := func(o chain.Signature) bool { return o.Validator == s.Validator }
		if slices.ContainsFunc(e.Other.Certificate.Signatures, same) {
			ids = append(ids, s.Validator)
		}
	}
	return ids
}

// contradiction is the error of two headers.
func contradiction(one, other Certified) error {
	one.Certificate, other.Certificate = cloneCertificate(one.Certificate), cloneCertificate(other.Certificate)
	return &ForkError{one, other}
}

// cloneCertificate copies what aliases a buffer.
func cloneCertificate(c chain.Certificate) chain.Certificate {
	c.Metadata = slices.Clone(c.Metadata)
	c.Signatures = slices.Clone(c.Signatures)
	for i := range c.Signatures {
		c.Signatures[i].Signature = slices.Clone(c.Signatures[i].Signature)
	}
	return c
}
