package guardian_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/contracts/guardian"
)

var chainID, bike = abi.Hash{1}, abi.Hash{2}

func pair(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t testing.TB, text string, readers ...*ecdh.PrivateKey) []byte {
	t.Helper()
	var keys [][]byte
	for _, k := range readers {
		keys = append(keys, k.PublicKey().Bytes())
	}
	b, err := guardian.Seal(text, chainID, bike, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSightingsAreForTheirReaders(t *testing.T) {
	ann, pol, eve := pair(t), pair(t), pair(t)
	for _, text := range []string{"", "49.0097 N 12.0985 E", strings.Repeat("x", guardian.MaxText)} {
		b := seal(t, text, ann, pol)
		if len(b) != 256 {
			t.Errorf("%d bytes for %q", len(b), text)
		}
		for _, k := range []*ecdh.PrivateKey{ann, pol} {
			if got, err := guardian.Open(k, chainID, bike, b); err != nil || got != text {
				t.Errorf("%q, %v; want %q", got, err, text)
			}
		}
		if got, err := guardian.Open(eve, chainID, bike, b); !errors.Is(err, abi.CodeNotPermitted) {
			t.Errorf("eve reads %q, %v", got, err)
		}
		if got, err := guardian.Open(ann, chainID, abi.Hash{3}, b); !errors.Is(err, abi.CodeNotPermitted) {
			t.Errorf("as another device's %q, %v", got, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	ann := pair(t)
	key := ann.PublicKey().Bytes()
	if _, err := guardian.Seal(strings.Repeat("x", guardian.MaxText+1), chainID, bike, key); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("a long text: %v", err)
	}
	many := make([][]byte, guardian.MaxReaders+1)
	for i := range many {
		many[i] = key
	}
	if _, err := guardian.Seal("", chainID, bike, many...); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("many readers: %v", err)
	}
	if b, err := guardian.Seal("", chainID, bike, many[1:]...); err != nil || len(b) != 1024 {
		t.Errorf("as many as may be: %d bytes, %v", len(b), err)
	}
	if _, err := guardian.Seal("", chainID, bike, make([]byte, 32)); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("a key of low order: %v", err)
	}
	// A reader's part that the contract's other users made: its length is a lie.
	padded := make([]byte, 80)
	padded[0] = 80
	b, err := sealed.Seal(key, chainID, bike, padded)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guardian.Open(ann, chainID, bike, b); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("a lie: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	ann := pair(f)
	f.Add(seal(f, "here", ann))
	f.Add(bytes.Repeat([]byte{7}, 128))
	f.Fuzz(func(t *testing.T, b []byte) {
		if text, err := guardian.Open(ann, chainID, bike, b); err == nil && len(text) > guardian.MaxText {
			t.Errorf("%d bytes", len(text))
		}
	})
}

func TestMarksAndDigests(t *testing.T) {
	if guardian.SerialMark("Acme", "1") == guardian.SerialMark("Acme1", "") || guardian.Mark("imei", "1") == guardian.Mark("mac", "1") {
		t.Error("two things have one mark")
	}
	salt := [32]byte{1}
	seen := map[abi.Hash]bool{
		guardian.Digest(salt, 1, []byte("x")):        true,
		guardian.Digest(salt, 2, []byte("x")):        true,
		guardian.Digest([32]byte{2}, 1, []byte("x")): true,
		guardian.Digest(salt, 1, []byte("y")):        true,
	}
	if len(seen) != 4 || salt != [32]byte{1} {
		t.Error("two things have one digest")
	}
}
