package chain

import (
	"testing"

	"github.com/seed79541315/postern/abi"
)

func TestSignedHead(t *testing.T) {
	key, other := newEd("a"), newEd("b")
	set := ValidatorSet{{ID: 3, Key: key.Public()}, {ID: 4, Key: other.Public()}}
	h := SignedHead{Chain: abi.Hash{1}, Height: 7, Block: abi.Hash{2}, Time: 1_700_000_000_000, Validator: 3}
	if err := h.Sign(key); err != nil {
		t.Fatal(err)
	}
	back, err := ParseSignedHead(h.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Verify(set); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SignedHead){
		"chain":     func(h *SignedHead) { h.Chain[0]++ },
		"height":    func(h *SignedHead) { h.Height++ },
		"block":     func(h *SignedHead) { h.Block[0]++ },
		"time":      func(h *SignedHead) { h.Time++ },
		"validator": func(h *SignedHead) { h.Validator = 4 },
		"stranger":  func(h *SignedHead) { h.Validator = 5 },
	} {
		bad := back
		change(&bad)
		if bad.Verify(set) == nil {
			t.Errorf("a head with another %s passes", name)
		}
	}
}

func FuzzSignedHead(f *testing.F) {
	h := SignedHead{Chain: abi.Hash{1}, Height: 7, Block: abi.Hash{2}, Time: 5, Validator: 3, Signature: make([]byte, SignatureSize)}
	f.Add(h.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseSignedHead(b)
		if err == nil && string(h.Append(nil)) != string(b) {
			t.Fatalf("%x has another encoding, %x", b, h.Append(nil))
		}
	})
}
