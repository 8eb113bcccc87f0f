package main

import (
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func TestOfferIsWhatItsSignerSaid(t *testing.T) {
	k := newKey(t)
	want := offer{Chain: abi.Hash{1}, Device: abi.Hash{2}, Owner: abi.Hash{3}, Taker: abi.Hash{4}, Since: 5, Expiry: 6}
	raw, err := want.sign(k)
	if err != nil {
		t.Fatal(err)
	}
	got, err := openOffer(raw)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.signer) != string(k.Public()) {
		t.Error("another signer")
	}
	got.signer = nil
	if got.Chain != want.Chain || got.Device != want.Device || got.Owner != want.Owner || got.Taker != want.Taker || got.Since != want.Since || got.Expiry != want.Expiry {
		t.Errorf("%+v, want %+v", got, want)
	}
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		if o, err := openOffer(changed); err == nil && string(o.signer) == string(k.Public()) {
			t.Errorf("byte %d was changed and nobody noticed", i)
		}
	}
}

// A signature for another purpose makes no offer, whatever was signed.
func TestOfferIsSignedAsOne(t *testing.T) {
	k := newKey(t)
	o := offer{Expiry: 6}
	raw, err := o.sign(k)
	if err != nil {
		t.Fatal(err)
	}
	e, err := chain.ParseEnvelope(raw, purposeOffer)
	if err != nil {
		t.Fatal(err)
	}
	other, err := chain.Seal(e.Payload, chain.PurposeStatement, k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openOffer(other); !errors.Is(err, abi.CodeBadSignature) {
		t.Errorf("%v", err)
	}
}

func FuzzOpenOffer(f *testing.F) {
	o := offer{Chain: abi.Hash{1}, Since: 5, Expiry: 6}
	raw, err := o.sign(fixedSigner{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := openOffer(raw); err != nil {
			var code abi.Code
			if !errors.As(err, &code) {
				t.Errorf("an error without a code: %v", err)
			}
		}
	})
}

// fixedSigner makes signatures that fit nothing.
type fixedSigner struct{}

func (fixedSigner) Public() []byte {
	return append([]byte{0x58}, make([]byte, 31)...)
}

func (fixedSigner) Sign([]byte) ([]byte, error) { return make([]byte, chain.SignatureSize), nil }
