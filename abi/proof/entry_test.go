package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// entryOf proves that key has value in a state of one entry, certified by a
// set of one validator.
func entryOf(key, value []byte) (Entry, Trusted) {
	seed := sha256.Sum256([]byte("validator"))
	private := ed25519.NewKeyFromSeed(seed[:])
	set := chain.ValidatorSet{{ID: 1, Key: private.Public().(ed25519.PublicKey)}}
	h := chain.Header{Chain: abi.Hash{1}, Protocol: 1, Height: 7, Time: 1, State: Leaf(KeyHash(key), ValueHash(value)),
		Validators: set.Hash(), NextValidators: set.Hash()}
	c := chain.Certificate{Metadata: []byte("meta"), Sequence: 1}
	vote := chain.AppendVote(nil, h.Chain, h.Hash(), c.Metadata, c.Sequence)
	c.Signatures = []chain.Signature{{Validator: 1, Signature: ed25519.Sign(private, vote)}}
	e := Entry{Header: h, Certificate: c, Validators: set, State: State{Siblings: []abi.Hash{}, Present: true, Value: value}}
	return e, Trusted{Chain: h.Chain, Validators: set}
}

func TestEntryVerify(t *testing.T) {
	key, value := []byte("key"), []byte("value")
	good, trusted := entryOf(key, value)
	parsed, err := ParseEntry(good.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, present, err := parsed.Verify(&trusted, key); err != nil || !present || !bytes.Equal(got, value) {
		t.Errorf("%q, %v, %v", got, present, err)
	}
	for name, change := range map[string]func(e *Entry, tr *Trusted){
		"another chain trusted": func(_ *Entry, tr *Trusted) { tr.Chain = abi.Hash{2} },
		"another set trusted":   func(_ *Entry, tr *Trusted) { tr.Validators = nil },
		"another set beside": func(e *Entry, _ *Trusted) {
			e.Validators = append(e.Validators, chain.Validator{ID: 2, Key: e.Validators[0].Key})
		},
		"no signature":           func(e *Entry, _ *Trusted) { e.Certificate.Signatures = nil },
		"another time":           func(e *Entry, _ *Trusted) { e.Header.Time++ },
		"height 0":               func(e *Entry, _ *Trusted) { e.Header.Height = 0 },
		"another value":          func(e *Entry, _ *Trusted) { e.State.Value = []byte("valuf") },
		"absence":                func(e *Entry, _ *Trusted) { e.State.Present, e.State.Value = false, nil },
		"a root of the attacker": func(e *Entry, _ *Trusted) { e.Header.State = Leaf(KeyHash(key), ValueHash([]byte("x"))) },
	} {
		e, tr := good, trusted
		change(&e, &tr)
		if v, present, err := e.Verify(&tr, key); err == nil || v != nil || present {
			t.Errorf("%s: %q, %v, %v", name, v, present, err)
		} else if _, ok := errors.AsType[abi.Code](err); !ok {
			t.Errorf("%s: %v has no code", name, err)
		}
	}
	if _, _, err := good.Verify(&trusted, []byte("other")); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("another key: %v", err)
	}
}

func TestGenesisEntry(t *testing.T) {
	key, value := []byte("key"), []byte("value")
	e, trusted := entryOf(key, value)
	e.Header.Height, e.Certificate = 0, chain.Certificate{}
	trusted.Genesis = e.Header.Hash()
	if _, present, err := e.Verify(&trusted, key); err != nil || !present {
		t.Errorf("%v, %v", present, err)
	}
	e.Header.Time++
	if _, _, err := e.Verify(&trusted, key); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("another header: %v", err)
	}
}

func TestParseEntryRefuses(t *testing.T) {
	good, _ := entryOf([]byte("key"), []byte("value"))
	enc := good.Append(nil)
	for n := range enc {
		if _, err := ParseEntry(enc[:n]); !errors.Is(err, abi.CodeMalformed) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	for name, in := range map[string][]byte{
		"empty map":   {0xa0},
		"header only": chain.AppendHeader(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), &good.Header),
		"unknown key": append(append([]byte{0xa5}, enc[1:]...), 5, 0),
		"left over":   append(bytes.Clone(enc), 0),
	} {
		if e, err := ParseEntry(in); !errors.Is(err, abi.CodeMalformed) || e.Validators != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	good, trusted := entryOf([]byte("key"), []byte("value"))
	f.Add(good.Append(nil))
	absent := good
	absent.State = State{Siblings: []abi.Hash{{}, {1}}, Other: &OtherLeaf{abi.Hash{2}, abi.Hash{3}}}
	f.Add(absent.Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := ParseEntry(in)
		if err != nil {
			if _, ok := errors.AsType[abi.Code](err); !ok {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		if again := e.Append(nil); !bytes.Equal(again, in) {
			t.Fatalf("%x was accepted and is written as %x", in, again)
		}
		if v, present, err := e.Verify(&trusted, []byte("key")); err == nil && (!present || string(v) != "value") {
			t.Fatalf("%x proves %q, %v", in, v, present)
		}
	})
}
