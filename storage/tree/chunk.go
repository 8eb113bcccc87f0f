package tree

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// Range is where the path down the depth first bits of a prefix leads.
type Range struct {
	Siblings []abi.Hash // from the root downwards
	Count    uint32     // keys in the subtree at the path's end
	Other    *Entry     // the subtree's only key, if its hash has other bits
}

// Range follows the depth first bits of prefix, at most 64, to the subtree of
// the keys whose hash begins so. The path ends earlier at a subtree that holds
// at most one key, which may then be another.
func (t *Tree) Range(prefix uint64, depth uint8, load Loader) (Range, error) {
	var r Range
	n, at := &t.root, 0
	for ; n.kids != nil && at < int(depth); at++ {
		bit := prefix >> (maxBucketDepth - 1 - at) & 1
		r.Siblings = append(r.Siblings, n.kids[1-bit].hash)
		n = &n.kids[bit]
	}
	r.Count = n.count
	if n.kids != nil || n.count == 0 || at == int(depth) {
		return r, nil
	}
	entries, err := load(refTo(n, prefix&^(1<<(maxBucketDepth-at)-1), at))
	if err != nil {
		return Range{}, err
	}
	for ; len(entries) > 1 && at < int(depth); at++ {
		halves := cut(entries, at)
		bit := prefix >> (maxBucketDepth - 1 - at) & 1
		r.Siblings = append(r.Siblings, hashEntries(halves[1-bit], at+1))
		entries = halves[bit]
	}
	r.Count = uint32(len(entries))
	if len(entries) == 1 && !proof.InChunk(entries[0].Key, prefix, depth) {
		r.Other = &entries[0]
	}
	return r, nil
}
