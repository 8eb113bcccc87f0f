package proof

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// The list tree of transactions and outcomes is that of RFC 9162 section 2.1:
// leaf SHA-256(0x00 | item), node SHA-256(0x01 | left | right), the left half
// being the largest power of two smaller than the number of leaves. Unlike
// there, the root of an empty list is 32 zero bytes.

// Root is the root of the list tree over leaves.
func Root(leaves [][]byte) abi.Hash {
	switch len(leaves) {
	case 0:
		return abi.Hash{}
	case 1:
		return listLeaf(leaves[0])
	}
	k := leftHalf(len(leaves))
	return Inner(Root(leaves[:k]), Root(leaves[k:]))
}

// Proof returns the inclusion proof of leaves[i]: the sibling hashes from the
// leaf upwards. It panics if i is out of range.
func Proof(leaves [][]byte, i int) []abi.Hash {
	if i < 0 || i >= len(leaves) {
		panic("BUG: inclusion proof of a leaf that is not in the list")
	}
	if len(leaves) == 1 {
		return nil
	}
	k := leftHalf(len(leaves))
	if i < k {
		return append(Proof(leaves[:k], i), Root(leaves[k:]))
	}
	return append(Proof(leaves[k:], i-k), Root(leaves[:k]))
}

// VerifyInclusion checks that leaf is item i of the list of n leaves under
// root (RFC 9162 section 2.1.3.2). An error wraps abi.CodeBadProof.
func VerifyInclusion(root abi.Hash, leaf []byte, i, n uint64, siblings []abi.Hash) error {
	if i >= n {
		return fmt.Errorf("%w: item %d of a list of %d", abi.CodeBadProof, i, n)
	}
	node, last := listLeaf(leaf), n-1
	for _, s := range siblings {
		if last == 0 {
			return fmt.Errorf("%w: it is longer than the path", abi.CodeBadProof)
		}
		if i&1 == 1 || i == last {
			node = Inner(s, node)
			up := bits.TrailingZeros64(i) // past the levels where the node is alone
			i, last = i>>up, last>>up
		} else {
			node = Inner(node, s)
		}
		i, last = i>>1, last>>1
	}
	if last != 0 || node != root {
		return fmt.Errorf("%w: path does not end at the root", abi.CodeBadProof)
	}
	return nil
}

func leftHalf(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

func listLeaf(item []byte) abi.Hash {
	h := sha256.New()
	h.Write([]byte{prefixLeaf})
	h.Write(item)
	var sum abi.Hash
	h.Sum(sum[:0])
	return sum
}

// asMalformed gives an error of the CBOR reader its code.
func asMalformed(err error) error {
	if errors.Is(err, cbor.ErrMalformed) {
		return fmt.Errorf("%w: %w", abi.CodeMalformed, err)
	}
	return err
}
