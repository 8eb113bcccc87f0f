package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// signerOf is a validator's private key, made of a name.
func signerOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// setOf is a set of validators numbered from first on.
func setOf(first uint64, names ...string) (set chain.ValidatorSet) {
	for i, name := range names {
		set = append(set, chain.Validator{ID: first + uint64(i), Key: signerOf(name).Public().(ed25519.PublicKey)})
	}
	return set
}

// stepOf is a change from one set to another at a height, signed by the names
// of the old set.
func stepOf(height uint64, from, to chain.ValidatorSet, names ...string) Step {
	s := Step{Next: to, Header: chain.Header{Chain: abi.Hash{1}, Protocol: 1, Height: height, Time: int64(height), Validators: from.Hash(), NextValidators: to.Hash()}}
	vote := chain.AppendVote(nil, s.Header.Chain, s.Header.Hash(), nil, 0)
	for i, name := range names {
		s.Certificate.Signatures = append(s.Certificate.Signatures, chain.Signature{Validator: from[i].ID, Signature: ed25519.Sign(signerOf(name), vote)})
	}
	return s
}

func TestStepsLeadFromSetToSet(t *testing.T) {
	one, two, three := setOf(1, "a"), setOf(1, "a", "b"), setOf(3, "c")
	trusted := Trusted{Chain: abi.Hash{1}, Validators: one}
	for _, s := range []Step{stepOf(5, one, two, "a"), stepOf(9, two, three, "a", "b")} {
		back, err := ParseStep(s.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := trusted.Advance(&back); err != nil {
			t.Fatal(err)
		}
	}
	if trusted.Height != 9 || trusted.Validators.Hash() != three.Hash() {
		t.Fatalf("arrived at %+v", trusted)
	}
}

func TestStepIsRefused(t *testing.T) {
	one, two, three := setOf(1, "a"), setOf(1, "a", "b"), setOf(3, "c")
	for name, s := range map[string]Step{
		"another chain":           func() Step { s := stepOf(5, one, two, "a"); s.Header.Chain = abi.Hash{2}; return s }(),
		"not after what we trust": stepOf(4, one, two, "a"),
		"signed by the new set":   stepOf(5, two, three, "a", "b"),
		"no signature":            stepOf(5, one, two),
		"another new set":         func() Step { s := stepOf(5, one, two, "a"); s.Next = three; return s }(),
		"no new set":              func() Step { s := stepOf(5, one, two, "a"); s.Next = nil; return s }(),
		"no change":               stepOf(5, one, one, "a"),
		"changed header":          func() Step { s := stepOf(5, one, two, "a"); s.Header.Time++; return s }(),
	} {
		trusted := Trusted{Chain: abi.Hash{1}, Validators: one, Height: 4}
		if err := trusted.Advance(&s); err == nil || trusted.Height != 4 || len(trusted.Validators) != 1 {
			t.Errorf("%s: %v, now at %d", name, err, trusted.Height)
		}
	}
}

// TestStepVector holds the encoding to bytes that another implementation can
// check itself against.
func TestStepVector(t *testing.T) {
	s := stepOf(5, setOf(1, "a"), setOf(1, "a", "b"), "a")
	const want = "0e2227cc90c1e3e1dceea156b414ebad824f85abbf502f88b8b804676940b0ba"
	if got := sha256.Sum256(s.Append(nil)); hex.EncodeToString(got[:]) != want {
		t.Errorf("the step's hash is %x, want %s", got, want)
	}
}

func FuzzStep(f *testing.F) {
	s := stepOf(5, setOf(1, "a"), setOf(1, "a", "b"), "a")
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStep(b)
		if err == nil && string(s.Append(nil)) != string(b) {
			t.Fatalf("%x has another encoding", b)
		}
	})
}
