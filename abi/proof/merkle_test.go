package proof

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"golang.org/x/mod/sumdb/tlog"
)

func listOf(n int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = fmt.Append(nil, "leaf ", i)
	}
	return leaves
}

// logRoot is the root as golang.org/x/mod/sumdb/tlog, another implementation
// of RFC 9162's tree, has it.
func logRoot(t *testing.T, leaves [][]byte) abi.Hash {
	t.Helper()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(at))
		for i, n := range at {
			hashes[i] = stored[n]
		}
		return hashes, nil
	})
	for i, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(i), leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(int64(len(leaves)), reader)
	if err != nil {
		t.Fatal(err)
	}
	return abi.Hash(root)
}

func TestListRoot(t *testing.T) {
	if Root(nil) != (abi.Hash{}) {
		t.Error("root of an empty list is not zero")
	}
	if want := sha256.Sum256([]byte("\x00leaf 0")); Root(listOf(1)) != want {
		t.Error("root of one leaf is not its hash")
	}
	for n := 1; n < 70; n++ {
		if leaves := listOf(n); Root(leaves) != logRoot(t, leaves) {
			t.Errorf("root of %d leaves differs", n)
		}
	}
}

func TestListInclusion(t *testing.T) {
	for n := 1; n < 40; n++ {
		leaves := listOf(n)
		root := Root(leaves)
		for i := range n {
			siblings := Proof(leaves, i)
			if err := VerifyInclusion(root, leaves[i], uint64(i), uint64(n), siblings); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			for name, err := range map[string]error{
				"other leaf":     VerifyInclusion(root, []byte("x"), uint64(i), uint64(n), siblings),
				"next index":     VerifyInclusion(root, leaves[i], uint64(i+1), uint64(n), siblings),
				"far index":      VerifyInclusion(root, leaves[i], 1<<63+uint64(i), uint64(n), siblings),
				"no leaves":      VerifyInclusion(root, leaves[i], uint64(i), 0, siblings),
				"one level more": VerifyInclusion(root, leaves[i], uint64(i), uint64(n), append(siblings[:len(siblings):len(siblings)], abi.Hash{})),
				"zero root":      VerifyInclusion(abi.Hash{}, leaves[i], uint64(i), uint64(n), siblings),
			} {
				if !errors.Is(err, abi.CodeBadProof) {
					t.Errorf("leaf %d of %d, %s: %v", i, n, name, err)
				}
			}
			if n > 1 && VerifyInclusion(root, leaves[i], uint64(i), uint64(n), siblings[1:]) == nil {
				t.Errorf("leaf %d of %d: proof without its first sibling passes", i, n)
			}
		}
	}
}

func FuzzVerifyInclusion(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte("leaf 3"), make([]byte, 96))
	root := Root(listOf(7))
	f.Fuzz(func(t *testing.T, i, n uint64, leaf, path []byte) {
		var siblings []abi.Hash
		for ; len(path) >= 32; path = path[32:] {
			siblings = append(siblings, abi.Hash(path))
		}
		if VerifyInclusion(root, leaf, i, n, siblings) == nil && n == 7 && string(leaf) != fmt.Sprint("leaf ", i) {
			t.Fatalf("%q is proven to be item %d", leaf, i)
		}
	})
}
