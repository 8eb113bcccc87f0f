package proof

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// forsaken is a chain whose validators changed twice, from a to a, b, c, d and
// to c, d, e, and what a chain that goes on with the state of block 12 says of
// it and proves.
func forsaken() (old []byte, o *chain.Origin, p *chain.OriginProof) {
	one, four, three := setOf(1, "a"), setOf(1, "a", "b", "c", "d"), setOf(3, "c", "d", "e")
	g := chain.Genesis{Name: "old", Time: 1, Params: chain.DefaultParams(), Validators: one}
	old = g.Append(nil)
	first, second := stepOn(old, 5, one, four, "a"), stepOn(old, 9, four, three, "a", "b", "c")
	last := stepOn(old, 12, three, three, "c", "d")
	return old, &chain.Origin{Header: last.Header}, &chain.OriginProof{Certificate: last.Certificate, Steps: [][]byte{first.Append(nil), second.Append(nil)}}
}

// stepOn is stepOf on the chain of a genesis.
func stepOn(genesis []byte, height uint64, from, to chain.ValidatorSet, names ...string) Step {
	s := stepOf(height, from, to)
	s.Header.Chain = chain.ChainID(genesis)
	sign(&s, from, names...)
	return s
}

func sign(s *Step, set chain.ValidatorSet, names ...string) {
	vote := chain.AppendVote(nil, s.Header.Chain, s.Header.Hash(), nil, 0)
	s.Certificate = chain.Certificate{}
	for _, v := range set {
		for _, name := range names {
			if key := signerOf(name); key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(v.Key)) {
				s.Certificate.Signatures = append(s.Certificate.Signatures, chain.Signature{Validator: v.ID, Signature: ed25519.Sign(key, vote)})
			}
		}
	}
}

func TestOriginIsVerified(t *testing.T) {
	old, o, p := forsaken()
	signers, next, err := VerifyOrigin(old, o, p)
	if err != nil || signers.Hash() != setOf(3, "c", "d", "e").Hash() || next.Hash() != signers.Hash() {
		t.Fatalf("%v, then %v: %v", signers, next, err)
	}
}

// TestOriginAtAChange takes the state of a block that changed the validators.
func TestOriginAtAChange(t *testing.T) {
	old, o, p := forsaken()
	s, err := ParseStep(p.Steps[1])
	if err != nil {
		t.Fatal(err)
	}
	o.Header, p.Certificate = s.Header, s.Certificate
	signers, next, err := VerifyOrigin(old, o, p)
	if err != nil || len(signers) != 4 || next.Hash() != s.Next.Hash() {
		t.Fatalf("%v, then %v: %v", signers, next, err)
	}
	p.Steps = p.Steps[:1]
	if _, _, err := VerifyOrigin(old, o, p); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("nothing says which validators came: %v", err)
	}
}

func TestOriginIsRefused(t *testing.T) {
	three := setOf(3, "c", "d", "e")
	resigned := func(o *chain.Origin, p *chain.OriginProof, set chain.ValidatorSet, names ...string) {
		s := Step{Header: o.Header}
		sign(&s, set, names...)
		p.Certificate = s.Certificate
	}
	for name, change := range map[string]func(o *chain.Origin, p *chain.OriginProof){
		"nobody signed":       func(o *chain.Origin, p *chain.OriginProof) { p.Certificate.Signatures = nil },
		"too few signed":      func(o *chain.Origin, p *chain.OriginProof) { p.Certificate.Signatures = p.Certificate.Signatures[:1] },
		"signed by one twice": func(o *chain.Origin, p *chain.OriginProof) { s := p.Certificate.Signatures; s[1] = s[0] },
		"another state":       func(o *chain.Origin, p *chain.OriginProof) { o.Header.State[0] ^= 1 },
		"another height":      func(o *chain.Origin, p *chain.OriginProof) { o.Header.Height++ },
		"signed by those before": func(o *chain.Origin, p *chain.OriginProof) {
			resigned(o, p, setOf(1, "a", "b", "c", "d"), "a", "b", "c")
		},
		"other validators":          func(o *chain.Origin, p *chain.OriginProof) { o.Header.Validators = setOf(1, "x").Hash() },
		"validators of its own":     func(o *chain.Origin, p *chain.OriginProof) { forge(o, p) },
		"a step is missing":         func(o *chain.Origin, p *chain.OriginProof) { p.Steps = p.Steps[:1] },
		"the first step is missing": func(o *chain.Origin, p *chain.OriginProof) { p.Steps = p.Steps[1:] },
		"no steps":                  func(o *chain.Origin, p *chain.OriginProof) { p.Steps = nil },
		"steps out of order":        func(o *chain.Origin, p *chain.OriginProof) { p.Steps[0], p.Steps[1] = p.Steps[1], p.Steps[0] },
		"a step twice":              func(o *chain.Origin, p *chain.OriginProof) { p.Steps[1] = p.Steps[0] },
		"a step that is none":       func(o *chain.Origin, p *chain.OriginProof) { p.Steps[0] = []byte{0xa0} },
		"a step with a changed set": func(o *chain.Origin, p *chain.OriginProof) {
			s, _ := ParseStep(p.Steps[1])
			s.Next = setOf(3, "c", "d", "x")
			p.Steps[1] = s.Append(nil)
		},
		"the block is before the last step": func(o *chain.Origin, p *chain.OriginProof) {
			o.Header.Height = 8
			resigned(o, p, three, "c", "d", "e")
		},
		"the block is another than the step of its height": func(o *chain.Origin, p *chain.OriginProof) {
			o.Header.Height = 9
			resigned(o, p, three, "c", "d", "e")
		},
		"another chain": func(o *chain.Origin, p *chain.OriginProof) {
			o.Header.Chain[0] ^= 1
			resigned(o, p, three, "c", "d", "e")
		},
	} {
		old, o, p := forsaken()
		change(o, p)
		if _, _, err := VerifyOrigin(old, o, p); err == nil {
			t.Errorf("%s was accepted", name)
		} else if !errors.As(err, new(abi.Code)) {
			t.Errorf("%s: %v has no code", name, err)
		}
	}
	old, o, p := forsaken()
	if _, _, err := VerifyOrigin(append(old, 0), o, p); !errors.Is(err, abi.CodeWrongChain) {
		t.Errorf("another genesis: %v", err)
	}
}

// forge lets validators that nobody chose certify the block.
func forge(o *chain.Origin, p *chain.OriginProof) {
	own := setOf(1, "x")
	s := Step{Header: o.Header}
	s.Header.Validators, s.Header.NextValidators = own.Hash(), own.Hash()
	sign(&s, own, "x")
	o.Header, p.Certificate = s.Header, s.Certificate
}

// TestOriginByAnyQuorum: copies of one block with the signatures of different
// quorums prove the same origin.
func TestOriginByAnyQuorum(t *testing.T) {
	old, o, p := forsaken()
	for _, names := range [][]string{{"c", "e"}, {"d", "e"}, {"c", "d", "e"}} {
		s := Step{Header: o.Header}
		sign(&s, setOf(3, "c", "d", "e"), names...)
		p.Certificate = s.Certificate
		if _, _, err := VerifyOrigin(old, o, p); err != nil {
			t.Errorf("signed by %v: %v", names, err)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	old, o, p := forsaken()
	f.Add(o.Append(nil), p.Append(nil))
	f.Fuzz(func(t *testing.T, origin, evidence []byte) {
		got, err := chain.ParseOrigin(origin)
		if err != nil {
			return
		}
		by, err := chain.ParseOriginProof(evidence)
		if err != nil {
			return
		}
		if _, _, err := VerifyOrigin(old, &got, &by); err == nil && got.Header != o.Header && got.Header.Height > 9 {
			t.Fatalf("nobody certified %+v", got.Header)
		}
	})
}
