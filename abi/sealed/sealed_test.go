package sealed_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
)

var of, device = abi.Hash{1}, abi.Hash{2}

func pair(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOnlyTheReaderOpens(t *testing.T) {
	reader := pair(t)
	text := []byte("49.0097 N 12.0985 E")
	b, err := sealed.Seal(reader.PublicKey().Bytes(), of, device, text)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != len(text)+sealed.Overhead {
		t.Errorf("%d bytes of %d", len(b), len(text))
	}
	if bytes.Contains(b, text) {
		t.Error("the text stands in clear")
	}
	got, err := sealed.Open(reader, of, device, b)
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another key":    func() ([]byte, error) { return sealed.Open(pair(t), of, device, b) },
		"another device": func() ([]byte, error) { return sealed.Open(reader, of, abi.Hash{3}, b) },
		"another chain":  func() ([]byte, error) { return sealed.Open(reader, abi.Hash{3}, device, b) },
		"swapped ids":    func() ([]byte, error) { return sealed.Open(reader, device, of, b) },
		"nothing":        func() ([]byte, error) { return sealed.Open(reader, of, device, nil) },
		"cut":            func() ([]byte, error) { return sealed.Open(reader, of, device, b[:len(b)-1]) },
		"longer":         func() ([]byte, error) { return sealed.Open(reader, of, device, append(bytes.Clone(b), 0)) },
	} {
		if got, err := open(); !errors.Is(err, abi.CodeNotPermitted) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	reader := pair(t)
	b, err := sealed.Seal(reader.PublicKey().Bytes(), of, device, []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if i == 31 {
			continue // RFC 7748 masks the highest bit of a point; the others of this byte are tried below
		}
		changed := bytes.Clone(b)
		changed[i] ^= 0x80
		if _, err := sealed.Open(reader, of, device, changed); err == nil {
			t.Errorf("byte %d was changed and nobody noticed", i)
		}
	}
	b[31] ^= 0x40
	if _, err := sealed.Open(reader, of, device, b); err == nil {
		t.Error("byte 31 was changed and nobody noticed")
	}
}

func TestLimits(t *testing.T) {
	to := pair(t).PublicKey().Bytes()
	b, err := sealed.Seal(to, of, device, make([]byte, sealed.MaxText))
	if err != nil || len(b) != chain.MaxSealed {
		t.Errorf("the longest text: %d bytes, %v", len(b), err)
	}
	if _, err := sealed.Seal(to, of, device, make([]byte, sealed.MaxText+1)); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

// To points of low order everybody knows the shared secret.
func TestNothingIsSealedToBadKeys(t *testing.T) {
	one := make([]byte, 32)
	one[0] = 1
	for name, to := range map[string][]byte{"zero": make([]byte, 32), "one": one, "short": make([]byte, 31), "none": nil} {
		if b, err := sealed.Seal(to, of, device, []byte("x")); !errors.Is(err, abi.CodeBadKey) {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
}

// The did:key Method v0.7 shows a document with a key and its key for agreement:
// z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK and
// z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p.
func TestMontgomeryVector(t *testing.T) {
	const public = "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6"
	const want = "6e5ff79202a9cfd8e0b20df9d0236e1dafe440bdc1eb41a2fbdf1699d416da1f"
	raw, err := hex.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sealed.Montgomery(raw); err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%x, want %s, %v", got, want, err)
	}
}

func TestMontgomeryIsThePrivateKeysOwn(t *testing.T) {
	for range 64 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha512.Sum512(private.Seed())
		k, err := ecdh.X25519().NewPrivateKey(digest[:32])
		if err != nil {
			t.Fatal(err)
		}
		got, err := sealed.Montgomery(public)
		if err != nil || !bytes.Equal(got, k.PublicKey().Bytes()) {
			t.Fatalf("%x, want %x, %v", got, k.PublicKey().Bytes(), err)
		}
	}
}

func TestKeyOfAnAccount(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := pair(t).PublicKey().Bytes()
	if got, err := sealed.Key(&chain.Account{Key: public, X25519: own}); err != nil || !bytes.Equal(got, own) {
		t.Errorf("registered: %x, %v", got, err)
	}
	if got, err := sealed.Key(&chain.Account{Key: public}); err != nil || len(got) != 32 {
		t.Errorf("by its ed25519 key: %x, %v", got, err)
	}
	if got, err := sealed.Key(&chain.Account{Key: append([]byte{2}, public...)}); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("P-256 without a registered key: %x, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	reader := pair(f)
	b, err := sealed.Seal(reader.PublicKey().Bytes(), of, device, []byte("here"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add(make([]byte, sealed.Overhead))
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := sealed.Open(reader, of, device, in); err == nil && string(got) != "here" {
			t.Errorf("%x opened to %q", in, got)
		}
	})
}

func FuzzMontgomery(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, public []byte) {
		if u, err := sealed.Montgomery(public); err == nil && len(u) != 32 {
			t.Errorf("%x", u)
		}
	})
}
