package proof

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Entry proves one entry of the state, or its absence, to someone who knows
// only the chain's id and a validator set: a map
//
//	1 header (chain.Header)      3 validator set that signed (chain.ValidatorSet)
//	2 certificate                4 state proof (State)
//
// The genesis block carries an empty certificate; its header is proved by the
// genesis itself, whose hash is the chain's id.
type Entry struct {
	Header      chain.Header
	Certificate chain.Certificate
	Validators  chain.ValidatorSet
	State       State
}

// Trusted is what a verifier holds: the chain's id and the newest validator
// set it has reason to trust, the genesis's to begin with, which signs the
// blocks above Height until the next Step. Genesis is the hash of the genesis
// block's header, for proofs at height 0.
type Trusted struct {
	Chain      abi.Hash
	Validators chain.ValidatorSet
	Height     uint64
	Genesis    abi.Hash
}

// Append appends the encoding of e.
func (e *Entry) Append(b []byte) []byte {
	b = cbor.AppendMap(b, 4)
	b = chain.AppendHeader(cbor.AppendUint(b, 1), &e.Header)
	b = e.Certificate.Append(cbor.AppendUint(b, 2))
	b = e.Validators.Append(cbor.AppendUint(b, 3))
	return e.State.Append(cbor.AppendUint(b, 4))
}

// ParseEntry reads an entry's proof; it aliases b and proves nothing yet.
func ParseEntry(b []byte) (Entry, error) {
	var e Entry
	err := parseParts(b, 4, func(field uint64, raw []byte) (err error) {
		switch field {
		case 1:
			e.Header, err = chain.ParseHeader(raw)
		case 2:
			e.Certificate, err = chain.ParseCertificate(raw)
		case 3:
			e.Validators, err = chain.ParseValidatorSet(raw)
		case 4:
			e.State, err = ParseState(raw)
		}
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// parseParts reads a map of the fields 1 to n, all of which must be there, and
// hands on the encoding of each.
func parseParts(b []byte, n uint64, part func(field uint64, raw []byte) error) error {
	r := cbor.NewReader(b)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); seen++ {
		raw := r.Raw()
		if r.Err() != nil {
			break
		}
		err := error(abi.CodeMalformed)
		if f.Key() >= 1 && f.Key() <= n {
			err = part(f.Key(), raw)
		}
		if err != nil {
			r.Fail(err)
		}
	}
	if err := r.Done(); err != nil {
		return asMalformed(err)
	}
	if seen != n {
		return fmt.Errorf("%w: parts of the proof are missing", abi.CodeMalformed)
	}
	return nil
}

// Verify checks the whole way from a trusted validator set over certificate
// and header to the entry under key.
func (e *Entry) Verify(t *Trusted, key []byte) (value []byte, present bool, err error) {
	if err := e.VerifyHeader(t); err != nil {
		return nil, false, err
	}
	return e.State.Verify(e.Header.State, key)
}

// VerifyHeader checks that the trusted validators certified the header, and
// that the entry's own validator set, if it carries one, is the header's.
func (e *Entry) VerifyHeader(t *Trusted) error {
	if e.Header.Chain != t.Chain {
		return fmt.Errorf("header of chain %x: %w", e.Header.Chain[:4], abi.CodeWrongChain)
	}
	if len(e.Validators) > 0 && e.Validators.Hash() != e.Header.Validators {
		return fmt.Errorf("the validators are not the header's: %w", abi.CodeBadProof)
	}
	if e.Header.Height == 0 {
		if e.Header.Hash() != t.Genesis {
			return fmt.Errorf("not the genesis block: %w", abi.CodeBadProof)
		}
		return nil
	}
	if t.Validators.Hash() != e.Header.Validators {
		return fmt.Errorf("the header's validators are not the trusted ones: %w", abi.CodeBadProof)
	}
	return e.Certificate.Verify(&e.Header, t.Validators)
}
