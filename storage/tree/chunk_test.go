package tree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// rangeByDefinition follows the path in the model's pairs.
func (m *model) rangeByDefinition(prefix uint64, depth uint8) Range {
	var r Range
	entries := m.all()
	at := 0
	for ; at < int(depth) && len(entries) > 1; at++ {
		halves := cut(entries, at)
		bit := prefix >> (63 - at) & 1
		r.Siblings = append(r.Siblings, naiveRoot(halves[1-bit], at+1))
		entries = halves[bit]
	}
	r.Count = uint32(len(entries))
	if len(entries) == 1 && !proof.InChunk(entries[0].Key, prefix, depth) {
		r.Other = &entries[0]
	}
	return r
}

func (m *model) checkRange(prefix uint64, depth uint8) {
	m.t.Helper()
	got, err := m.tree.Range(prefix, depth, m.load)
	if err != nil {
		m.t.Fatal(err)
	}
	want := m.rangeByDefinition(prefix, depth)
	if !slices.Equal(got.Siblings, want.Siblings) || got.Count != want.Count || (got.Other == nil) != (want.Other == nil) {
		m.t.Fatalf("range %016x/%d: %d siblings, %d keys, other %v; want %d, %d, %v", prefix, depth,
			len(got.Siblings), got.Count, got.Other, len(want.Siblings), want.Count, want.Other)
	}
	if got.Other != nil && *got.Other != *want.Other {
		m.t.Fatalf("range %016x/%d ends at another leaf", prefix, depth)
	}
}

// TestRange compares ranges of every depth with the definition, in trees of
// random keys and of keys that share long prefixes.
func TestRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, limits := range []Limits{{1, 1}, {4, 2}, DefaultLimits} {
		for _, n := range []int{0, 1, 2, 40, 200} {
			m := newModel(t, limits)
			m.fill(n, rng)
			for depth := range uint8(proof.MaxChunkDepth + 1) {
				mask := ^uint64(0) >> depth
				for _, prefix := range []uint64{0, ^uint64(0), rng.Uint64(), shared, shared ^ 1<<40} {
					m.checkRange(prefix&^mask, depth)
				}
				for _, e := range m.all()[:min(n, 5)] {
					m.checkRange(startOf(e.Key, int(depth)), depth)
				}
			}
		}
	}
}

// shared begins the hashes of some keys of fill.
const shared = 0xa5a5_0f0f_1234_5678

// fill adds n keys: a third of them share 64 bits, as many 40.
func (m *model) fill(n int, rng *rand.Rand) {
	var changes []Change
	for i := range n {
		key := keyOf(i)
		switch rng.IntN(3) {
		case 0:
			key = ground(shared, 64, i)
		case 1:
			key = ground(shared, 40, i)
		}
		changes = append(changes, Change{Entry: Entry{key, valueOf(i)}})
	}
	if n > 0 {
		m.apply(changes)
	}
}

// source gives entries one after another, then err.
func source(entries []Entry, err error) func() (Entry, error) {
	return func() (Entry, error) {
		if len(entries) == 0 {
			return Entry{}, err
		}
		e := entries[0]
		entries = entries[1:]
		return e, nil
	}
}

// TestBulk builds trees at once: they are those that updates lead to, their
// buckets are within the limits and in order, and build the tree again.
func TestBulk(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, limits := range []Limits{{1, 1}, {3, 2}, DefaultLimits} {
		for _, n := range []int{0, 1, 2, 24, 25, 26, 300} {
			m := newModel(t, limits)
			m.fill(n, rng)
			builder := NewBuilder(limits)
			built, err := Bulk(limits, source(m.all(), ErrEnd), func(b Bucket) error {
				if b.Count > limits.Split && b.Depth < maxBucketDepth {
					t.Errorf("bucket of %d entries at depth %d", b.Count, b.Depth)
				}
				return builder.Add(b)
			})
			if err != nil {
				t.Fatal(err)
			}
			again, err := builder.Tree()
			if err != nil {
				t.Fatal(err)
			}
			if built.Root() != m.tree.Root() || built.Count() != uint64(n) || again.Root() != built.Root() {
				t.Fatalf("%d entries at once lead to root %x, updates to %x", n, built.Root(), m.tree.Root())
			}
			m.tree, m.buckets = built, map[uint64]Bucket{}
			built.Buckets(func(ref Ref) bool { m.buckets[ref.Start] = ref.Bucket; return true })
			m.clear() // it takes updates like any other
		}
	}
}

func TestBulkRefuses(t *testing.T) {
	m := newModel(t, DefaultLimits)
	m.fill(60, rand.New(rand.NewPCG(7, 8)))
	good := m.all()
	gone := errors.New("disk is gone")
	swapped := slices.Clone(good)
	swapped[30], swapped[31] = swapped[31], swapped[30]
	fine := func(Bucket) error { return nil }
	for name, c := range map[string]struct {
		next func() (Entry, error)
		put  func(Bucket) error
		want error
	}{
		"out of order": {source(swapped, ErrEnd), fine, ErrCorrupt},
		"twice":        {source(slices.Insert(slices.Clone(good), 9, good[8]), ErrEnd), fine, ErrCorrupt},
		"read error":   {source(good[:40], gone), fine, gone},
		"write error":  {source(good, ErrEnd), func(b Bucket) error { return gone }, gone},
	} {
		if _, err := Bulk(DefaultLimits, c.next, c.put); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestRangeLoadError(t *testing.T) {
	m := newModel(t, DefaultLimits)
	m.fill(5, rand.New(rand.NewPCG(9, 9)))
	gone := errors.New("disk is gone")
	if _, err := m.tree.Range(0, 60, func(Ref) ([]Entry, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Fatal(err)
	}
}

// FuzzBulk builds trees of keys with few bits, so that prefixes are shared,
// and compares them and their ranges with the definition.
func FuzzBulk(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 201}, uint8(2), uint64(0), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, split uint8, prefix uint64, depth uint8) {
		pairs := map[abi.Hash]abi.Hash{}
		for i, b := range data[:min(len(data), 64)] {
			key := abi.Hash{b}
			key[8] = b & 3
			pairs[key] = valueOf(i)
		}
		m := newModel(t, Limits{uint32(split%8) + 1, 1})
		m.pairs = pairs
		var err error
		if m.tree, err = Bulk(m.tree.limits, source(m.all(), ErrEnd), func(Bucket) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if m.tree.Root() != naiveRoot(m.all(), 0) {
			t.Fatal("another root")
		}
		depth %= proof.MaxChunkDepth + 1
		m.checkRange(prefix&^(^uint64(0)>>depth), depth)
	})
}

func ExampleBulk() {
	entries := []Entry{{Key: abi.Hash{1}, Value: abi.Hash{7}}, {Key: abi.Hash{2}, Value: abi.Hash{8}}}
	t, err := Bulk(DefaultLimits, source(entries, ErrEnd), func(b Bucket) error {
		fmt.Println("bucket of", b.Count)
		return nil
	})
	fmt.Println(t.Count(), err)
	// Output:
	// bucket of 2
	// 2 <nil>
}
