package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// model is the state as a map, and the buckets as they would be stored.
type model struct {
	t       *testing.T
	tree    *Tree
	pairs   map[abi.Hash]abi.Hash
	buckets map[uint64]Bucket
}

func newModel(t *testing.T, limits Limits) *model {
	return &model{t: t, tree: New(limits), pairs: map[abi.Hash]abi.Hash{}, buckets: map[uint64]Bucket{}}
}

// load is the Loader over the model's pairs; it refuses a bucket that the
// tree should not know.
func (m *model) load(ref Ref) ([]Entry, error) {
	entries := m.within(ref.Bucket)
	if err := ref.Check(entries); err != nil {
		return nil, err
	}
	return entries, nil
}

func (m *model) within(b Bucket) []Entry {
	var entries []Entry
	for k, v := range m.pairs {
		if startOf(k, int(b.Depth)) == b.Start {
			entries = append(entries, Entry{k, v})
		}
	}
	return ordered(entries)
}

func ordered(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return entries
}

// apply updates tree and model, and compares all that can be compared.
func (m *model) apply(changes []Change) {
	m.t.Helper()
	slices.SortFunc(changes, func(a, b Change) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	r, err := m.tree.Update(changes, m.load)
	if err != nil {
		m.t.Fatalf("update: %v", err)
	}
	for i, c := range changes {
		old, found := m.pairs[c.Key]
		if want := effectOf(c, found, found && old == c.Value); r.Effects[i] != want {
			m.t.Fatalf("effect of change %d is %d, want %d", i, r.Effects[i], want)
		}
		if delete(m.pairs, c.Key); !c.Delete {
			m.pairs[c.Key] = c.Value
		}
	}
	m.tree = r.Tree
	m.store(r)
	m.check()
}

func (m *model) store(r *Result) {
	m.t.Helper()
	for _, start := range r.Remove {
		if _, ok := m.buckets[start]; !ok {
			m.t.Fatalf("removes bucket %016x, which is not stored", start)
		}
		delete(m.buckets, start)
	}
	for i, b := range r.Put {
		if i > 0 && r.Put[i-1].Start >= b.Start {
			m.t.Fatalf("buckets to put are not in order")
		}
		m.buckets[b.Start] = b
	}
}

func (m *model) check() {
	m.t.Helper()
	want := naiveRoot(m.all(), 0)
	if m.tree.Root() != want {
		m.t.Fatalf("root is %x, the naive root of %d pairs %x", m.tree.Root(), len(m.pairs), want)
	}
	if m.tree.Count() != uint64(len(m.pairs)) {
		m.t.Fatalf("count is %d, want %d", m.tree.Count(), len(m.pairs))
	}
	again, err := build(m.tree.limits, m.buckets)
	if err != nil {
		m.t.Fatalf("building from the stored buckets: %v", err)
	}
	if again.Root() != want {
		m.t.Fatalf("rebuilt root differs")
	}
	m.tree.Buckets(func(ref Ref) bool {
		if len(m.buckets) > 0 && m.buckets[ref.Start] != ref.Bucket {
			m.t.Fatalf("bucket %016x/%d is not stored as it is", ref.Start, ref.Depth)
		}
		if ref.Count > m.tree.limits.Split && ref.Depth < maxBucketDepth {
			m.t.Fatalf("bucket of %d entries at depth %d", ref.Count, ref.Depth)
		}
		return true
	})
}

func (m *model) all() []Entry { return m.within(Bucket{}) }

func build(limits Limits, buckets map[uint64]Bucket) (*Tree, error) {
	b := NewBuilder(limits)
	for _, start := range slices.Sorted(maps.Keys(buckets)) {
		if err := b.Add(buckets[start]); err != nil {
			return nil, err
		}
	}
	return b.Tree()
}

// naiveRoot is the root by definition, with no bucket and no order needed.
func naiveRoot(entries []Entry, depth int) abi.Hash {
	switch len(entries) {
	case 0:
		return abi.Hash{}
	case 1:
		return proof.Leaf(entries[0].Key, entries[0].Value)
	}
	var halves [2][]Entry
	for _, e := range entries {
		bit := e.Key[depth/8] >> (7 - depth%8) & 1
		halves[bit] = append(halves[bit], e)
	}
	return proof.Inner(naiveRoot(halves[0], depth+1), naiveRoot(halves[1], depth+1))
}

func keyOf(i int) abi.Hash { return proof.KeyHash(fmt.Append(nil, i)) }

func valueOf(i int) abi.Hash { return proof.ValueHash(fmt.Append(nil, "value", i)) }

// ground is a key whose hash begins with the bits of prefix.
func ground(prefix uint64, bits int, i int) abi.Hash {
	h := keyOf(i)
	mask := uint64(1<<(64-bits) - 1)
	binary.BigEndian.PutUint64(h[:], prefix&^mask|binary.BigEndian.Uint64(h[:])&mask)
	return h
}

// TestRootIsFunctionOfPairs changes random keys in random order under every
// bucket size and compares with the root by definition after each step.
func TestRootIsFunctionOfPairs(t *testing.T) {
	for _, limits := range []Limits{{1, 1}, {2, 1}, {3, 2}, {8, 3}, {8, 8}, DefaultLimits, {1000, 1}} {
		t.Run(fmt.Sprintf("%d-%d", limits.Split, limits.Merge), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(limits.Split)))
			m := newModel(t, limits)
			for round := range 90 {
				keys := map[int]bool{}
				for range 1 + rng.IntN(20) {
					keys[rng.IntN(300)] = true
				}
				var changes []Change
				for _, k := range slices.Sorted(maps.Keys(keys)) {
					// Phases of growth and of decay, so that buckets split and merge.
					del := rng.IntN(10) < 3+round/30%2*5
					changes = append(changes, Change{Entry{keyOf(k), valueOf(rng.IntN(3))}, del})
				}
				m.apply(changes)
			}
			m.clear()
		})
	}
}

// clear deletes everything one key after another, down to the empty root.
func (m *model) clear() {
	for _, e := range m.all() {
		m.apply([]Change{{Entry: Entry{Key: e.Key}, Delete: true}})
	}
	if m.tree.Root() != (abi.Hash{}) {
		m.t.Fatal("root without keys is not zero")
	}
}

// TestGroundPrefixes grinds key hashes until they share more bits than
// buckets can be cut by.
func TestGroundPrefixes(t *testing.T) {
	for _, bits := range []int{8, 40, 63, 64} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			m := newModel(t, DefaultLimits)
			const prefix = 0xa5a5_0f0f_1234_5678
			for i := range 2 * int(DefaultLimits.Split) {
				m.apply([]Change{
					{Entry: Entry{ground(prefix, bits, i), valueOf(i)}},
					{Entry: Entry{keyOf(1000 + i), valueOf(i)}},
				})
			}
			m.clear()
		})
	}
}

func TestUpdateLeavesOldTree(t *testing.T) {
	m := newModel(t, Limits{2, 1})
	for i := range 50 {
		m.apply([]Change{{Entry: Entry{keyOf(i), valueOf(i)}}})
	}
	old, root, pairs := m.tree, m.tree.Root(), maps.Clone(m.pairs)
	for i := range 50 {
		m.apply([]Change{{Entry: Entry{keyOf(i), valueOf(-i)}, Delete: i%2 == 0}})
	}
	if old.Root() != root || old.Count() != 50 {
		t.Fatal("an update changed the tree it began with")
	}
	before := model{t: t, tree: old, pairs: pairs}
	old.Buckets(func(ref Ref) bool {
		if err := ref.Check(before.within(ref.Bucket)); err != nil {
			t.Fatal(err)
		}
		return true
	})
}

func TestProve(t *testing.T) {
	for _, limits := range []Limits{{1, 1}, {4, 2}, DefaultLimits} {
		m := newModel(t, limits)
		for i := range 200 {
			if i%40 == 0 {
				m.proveAll(250)
			}
			m.apply([]Change{{Entry: Entry{keyOf(i), valueOf(i)}}})
		}
		m.proveAll(250)
	}
}

// proveAll proves that the first n keys are there or are not, as the model has it.
func (m *model) proveAll(n int) {
	m.t.Helper()
	for i := range n {
		key := keyOf(i)
		siblings, leaf, err := m.tree.Prove(key, m.load)
		if err != nil {
			m.t.Fatal(err)
		}
		value, want := m.pairs[key]
		if got := leaf != nil && leaf.Key == key; got != want || got && leaf.Value != value {
			m.t.Fatalf("key %d: proven %v, want %v", i, got, want)
		}
		node := abi.Hash{}
		if leaf != nil {
			node = proof.Leaf(leaf.Key, leaf.Value)
		}
		for d := len(siblings) - 1; d >= 0; d-- {
			if proof.Bit(key, d) == 0 {
				node = proof.Inner(node, siblings[d])
			} else {
				node = proof.Inner(siblings[d], node)
			}
		}
		if node != m.tree.Root() {
			m.t.Fatalf("proof of key %d does not lead to the root", i)
		}
	}
}

// TestBuilderRefuses damages stored buckets in every way that leaves them
// parsable: none of it may build the same tree, and gaps must be named.
func TestBuilderRefuses(t *testing.T) {
	m := newModel(t, Limits{4, 2})
	for i := range 100 {
		m.apply([]Change{{Entry: Entry{keyOf(i), valueOf(i)}}})
	}
	damages := map[string]func(*Bucket){
		"hash":     func(b *Bucket) { b.Hash[5] ^= 1 },
		"deeper":   func(b *Bucket) { b.Depth++ },
		"shallow":  func(b *Bucket) { b.Depth-- },
		"too deep": func(b *Bucket) { b.Depth = 200 },
		"start":    func(b *Bucket) { b.Start++ },
		"no count": func(b *Bucket) { b.Count = 0 },
		"no hash":  func(b *Bucket) { b.Hash = abi.Hash{} },
	}
	for start := range m.buckets {
		lost := maps.Clone(m.buckets)
		delete(lost, start)
		if _, err := build(m.tree.limits, lost); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("without bucket %016x: %v", start, err)
		}
		for name, damage := range damages {
			b := m.buckets[start]
			if damage(&b); (b.Hash == abi.Hash{}) && b.Count == 0 {
				continue // an empty bucket stayed as it was
			}
			hurt := maps.Clone(m.buckets)
			hurt[start] = b
			if tree, err := build(m.tree.limits, hurt); err == nil && tree.Root() == m.tree.Root() {
				t.Fatalf("%s of bucket %016x/%d goes unnoticed", name, start, b.Depth)
			}
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	m := newModel(t, DefaultLimits)
	m.apply([]Change{{Entry: Entry{keyOf(1), valueOf(1)}}, {Entry: Entry{keyOf(2), valueOf(2)}}})
	ref := m.tree.Find(keyOf(1))
	good := m.all()
	for name, entries := range map[string][]Entry{
		"lost":    good[:1],
		"more":    append(slices.Clone(good), Entry{keyOf(3), valueOf(3)}),
		"swapped": {good[1], good[0]},
		"value":   {good[0], {good[1].Key, valueOf(9)}},
		"none":    nil,
	} {
		if err := ref.Check(entries); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ref.Check(good); err != nil {
		t.Error(err)
	}
}

func TestLoadErrorEndsUpdate(t *testing.T) {
	m := newModel(t, DefaultLimits)
	m.apply([]Change{{Entry: Entry{keyOf(1), valueOf(1)}}})
	want := errors.New("disk is gone")
	_, err := m.tree.Update([]Change{{Entry: Entry{keyOf(2), valueOf(2)}}}, func(Ref) ([]Entry, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Fatalf("update: %v", err)
	}
}

// FuzzUpdate reads changes from bytes: three for a key (with few bits, so
// that prefixes are shared), a value and whether to delete.
func FuzzUpdate(f *testing.F) {
	f.Add([]byte{1, 1, 0, 2, 2, 0, 1, 1, 1}, uint8(1))
	f.Add(bytes.Repeat([]byte{7, 3, 0, 9, 1, 0, 255, 0, 0}, 9), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, split uint8) {
		split = split%8 + 1
		m := newModel(t, Limits{uint32(split), uint32(split/2 + 1)})
		for len(data) >= 3 && len(m.pairs) < 64 {
			key := abi.Hash{data[0]}
			key[9] = data[0] & 3
			m.apply([]Change{{Entry{key, valueOf(int(data[1]))}, data[2]&1 == 1}})
			data = data[3:]
		}
	})
}
