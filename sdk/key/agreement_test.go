package key_test

import (
	"bytes"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/sdk/key"
)

// What is sealed to an account is opened with its key file alone.
func TestAgreementOpensWhatIsSealedToTheAccount(t *testing.T) {
	for name, generate := range generators() {
		k := must(t, generate)
		private, err := k.Agreement()
		if err != nil {
			t.Fatal(err)
		}
		account := chain.Account{Key: k.Public()}
		if name == "p256" { // nobody can tell it from the public key
			account.X25519 = private.PublicKey().Bytes()
		}
		to, err := sealed.Key(&account)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := sealed.Seal(to, abi.Hash{1}, abi.Hash{2}, []byte("seen at the gate"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := k.Text()
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := key.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := loaded.Agreement()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sealed.Open(again, abi.Hash{1}, abi.Hash{2}, b); err != nil || !bytes.Equal(got, []byte("seen at the gate")) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if raw := k.Private(); raw != nil && bytes.Equal(raw.Seed(), private.Bytes()) {
			t.Errorf("%s: the signing secret is used as it is", name)
		}
	}
}
