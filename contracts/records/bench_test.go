package records_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

// filled is a chain with n records that are kept for a year.
func filled(t testing.TB, n int) *chain {
	t.Helper()
	k := newChain(t)
	k.As(wasmtest.Owner).Execute(k.message("set_retention", map[string]any{"keep": "366d"}))
	for i := range n {
		k.As(device).Execute(k.claim(i))
	}
	return k
}

func (k *chain) claim(i int) []byte {
	root := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return k.message("notarise", map[string]any{
		"device": hex.EncodeToString(device[:]), "root": hex.EncodeToString(root[:]), "count": 1000, "from": 0, "to": 1,
	})
}

// A record costs the same, however many there are.
func TestGasDoesNotGrow(t *testing.T) {
	var gas [2]uint64
	for i, n := range []int{10, 10_000} {
		k := filled(t, n)
		k.As(device).Execute(k.claim(n))
		gas[i] = k.Gas
	}
	t.Logf("notarise: %d units with 10, %d with 10,000", gas[0], gas[1])
	if gas[1]*2 > gas[0]*3 {
		t.Errorf("notarise takes %d units with 10 records, %d with 10,000", gas[0], gas[1])
	}
}

// BenchmarkMain notarises one batch more, among few and many.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			k := filled(b, n)
			k.As(device).Bench(b, abi.EntryExecute, k.claim(n))
		})
	}
}

// BenchmarkVerify asks for the contract's word on one reading of 1,000.
func BenchmarkVerify(b *testing.B) {
	k, list := newChain(b), batch(b, 1000)
	k.notarise(list)
	p, err := list.Prove(501)
	if err != nil {
		b.Fatal(err)
	}
	path := []string{}
	for _, s := range p.Path {
		path = append(path, hex.EncodeToString(s))
	}
	leaf := p.Leaf()
	k.Bench(b, abi.EntryQuery, k.message("verify", map[string]any{
		"device": hex.EncodeToString(device[:]), "number": 0, "leaf": hex.EncodeToString(leaf[:]), "index": 501, "path": path,
	}))
}
