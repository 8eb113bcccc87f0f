package proof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// chunk makes the chunk of a range by definition.
func (m pairs) chunk(prefix uint64, depth uint8) Chunk {
	c := Chunk{Siblings: []abi.Hash{}, Entries: []ChunkEntry{}}
	keys := m.keys()
	for at := 0; at < int(depth) && len(keys) > 1; at++ {
		left, right := divide(keys, at)
		if prefix>>(63-at)&1 == 1 {
			left, right = right, left
		}
		c.Siblings = append(c.Siblings, m.subtree(right, at+1))
		keys = left
	}
	for _, k := range keys {
		if h := KeyHash([]byte(k)); !InChunk(h, prefix, depth) {
			c.Other = &OtherLeaf{h, ValueHash([]byte(m[k]))}
			return c
		}
		c.Entries = append(c.Entries, ChunkEntry{[]byte(k), []byte(m[k])})
	}
	slices.SortFunc(c.Entries, func(a, b ChunkEntry) int {
		x, y := KeyHash(a.Key), KeyHash(b.Key)
		return bytes.Compare(x[:], y[:])
	})
	return c
}

func prefixOf(key []byte, depth uint8) uint64 {
	h := KeyHash(key)
	return binary.BigEndian.Uint64(h[:]) &^ (^uint64(0) >> depth)
}

// TestChunk covers states of all sizes with chunks of every depth: each
// verifies by itself, and together they are the state.
func TestChunk(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 17, 200} {
		m := testPairs(n)
		root, others := m.root(), 0
		for depth := range uint8(9) {
			found := pairs{}
			for i := range uint64(1) << depth {
				prefix := i << (64 - depth)
				made := m.chunk(prefix, depth)
				c, err := ParseChunk(made.Append(nil))
				if err == nil {
					err = c.Verify(root, prefix, depth)
				}
				if err != nil {
					t.Fatalf("%d pairs, chunk %016x/%d: %v", n, prefix, depth, err)
				}
				for _, e := range c.Entries {
					found[string(e.Key)] = string(e.Value)
				}
				if c.Other != nil {
					others++
				}
			}
			if found.root() != root {
				t.Fatalf("%d pairs in chunks of depth %d are not the state", n, depth)
			}
		}
		if n == 17 && others == 0 {
			t.Fatal("no chunk's path ended at another leaf")
		}
	}
}

// TestChunkDeep asks for ranges that hold one key or none, down to the last
// bit that can be asked for.
func TestChunkDeep(t *testing.T) {
	m := testPairs(50)
	root := m.root()
	for depth := range uint8(MaxChunkDepth + 1) {
		prefix := prefixOf([]byte("key 7"), depth)
		for _, at := range []uint64{prefix, prefix ^ uint64(1)<<(64-depth)} {
			c := m.chunk(at, depth)
			if err := c.Verify(root, at, depth); err != nil {
				t.Fatalf("chunk %016x/%d: %v", at, depth, err)
			}
		}
	}
}

// TestChunkForged tries to pass off another set of pairs as a range's.
func TestChunkForged(t *testing.T) {
	m := testPairs(100)
	root := m.root()
	prefix, depth := prefixOf([]byte("key 7"), 3), uint8(3)
	if n := len(m.chunk(prefix, depth).Entries); n < 5 {
		t.Fatalf("chunk of %d entries is too small for this test", n)
	}
	outside := "key 0"
	for i := 0; InChunk(KeyHash([]byte(outside)), prefix, depth); i++ {
		outside = fmt.Sprint("key ", i)
	}
	for name, forge := range map[string]func(c *Chunk){
		"left out":           func(c *Chunk) { c.Entries = slices.Delete(c.Entries, 2, 3) },
		"all left out":       func(c *Chunk) { c.Entries = nil },
		"last left out":      func(c *Chunk) { c.Entries = c.Entries[:len(c.Entries)-1] },
		"added":              func(c *Chunk) { c.Entries = append(c.Entries, inside(m, c, prefix, depth)) },
		"added from outside": func(c *Chunk) { c.Entries = append(c.Entries, ChunkEntry{[]byte(outside), []byte(m[outside])}) },
		"twice":              func(c *Chunk) { c.Entries = slices.Insert(c.Entries, 1, c.Entries[0]) },
		"changed value":      func(c *Chunk) { c.Entries[1].Value = []byte("value 8") },
		"no value":           func(c *Chunk) { c.Entries[1].Value = nil },
		"changed key":        func(c *Chunk) { c.Entries[1].Key = []byte("key x") },
		"values swapped": func(c *Chunk) {
			c.Entries[0].Value, c.Entries[1].Value = c.Entries[1].Value, c.Entries[0].Value
		},
		"moved": func(c *Chunk) { c.Entries[0], c.Entries[1] = c.Entries[1], c.Entries[0] },
		"key and value flow": func(c *Chunk) {
			e := &c.Entries[0]
			e.Key, e.Value = append(bytes.Clone(e.Key), e.Value[0]), e.Value[1:]
		},
		"a sibling changed": func(c *Chunk) { c.Siblings[1][4] ^= 1 },
		"a sibling lost":    func(c *Chunk) { c.Siblings = c.Siblings[:2] },
		"a sibling more":    func(c *Chunk) { c.Siblings = append(c.Siblings, abi.Hash{}) },
		"siblings swapped":  func(c *Chunk) { c.Siblings[0], c.Siblings[1] = c.Siblings[1], c.Siblings[0] },
		"hidden in a leaf":  func(c *Chunk) { c.Entries, c.Other = nil, &OtherLeaf{KeyHash([]byte(outside)), ValueHash(nil)} },
		"leaf beside":       func(c *Chunk) { c.Other = &OtherLeaf{KeyHash([]byte(outside)), ValueHash(nil)} },
		"the root as empty": func(c *Chunk) { *c = Chunk{} },
		"empty below":       func(c *Chunk) { c.Entries, c.Siblings = nil, c.Siblings[:1] },
	} {
		c := m.chunk(prefix, depth)
		forge(&c)
		if err := c.Verify(root, prefix, depth); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := m.chunk(prefix, depth)
	for name, err := range map[string]error{
		"another root":   good.Verify(testPairs(99).root(), prefix, depth),
		"another prefix": good.Verify(root, prefix^1<<61, depth),
		"deeper":         good.Verify(root, prefix, depth+1),
		"less deep":      good.Verify(root, prefix&^(1<<61), depth-1),
		"loose bits":     good.Verify(root, prefix|1, depth),
		"too deep":       good.Verify(root, prefix, MaxChunkDepth+1),
	} {
		if !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// inside is a pair that the state lacks and that would stand last in a chunk.
func inside(m pairs, c *Chunk, prefix uint64, depth uint8) ChunkEntry {
	last := KeyHash(c.Entries[len(c.Entries)-1].Key)
	for i := 0; ; i++ {
		key := fmt.Sprint("new ", i)
		if h := KeyHash([]byte(key)); InChunk(h, prefix, depth) && bytes.Compare(h[:], last[:]) > 0 {
			return ChunkEntry{[]byte(key), []byte("x")}
		}
	}
}

// TestChunkLoneLeaf hides or moves the one key of a range whose path ends
// early.
func TestChunkLoneLeaf(t *testing.T) {
	m := testPairs(8)
	root := m.root()
	key := []byte("key 3")
	prefix := prefixOf(key, 40)
	own := m.chunk(prefix, 40)
	if len(own.Entries) != 1 || len(own.Siblings) >= 40 {
		t.Fatal("the path does not end early")
	}
	leaf := &OtherLeaf{KeyHash(key), ValueHash([]byte(m["key 3"]))}
	for name, c := range map[string]Chunk{
		"hidden":         {Siblings: own.Siblings},
		"its own leaf":   {Siblings: own.Siblings, Other: leaf},
		"two":            {Siblings: own.Siblings, Entries: append(slices.Clone(own.Entries), own.Entries[0])},
		"leaf elsewhere": {Siblings: own.Siblings, Other: &OtherLeaf{KeyHash([]byte("key 4")), leaf.Value}},
	} {
		if err := c.Verify(root, prefix, 40); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	beside := prefix ^ 1<<24
	absent := m.chunk(beside, 40)
	if absent.Other == nil || absent.Verify(root, beside, 40) != nil {
		t.Fatal("the range beside is not shown to be empty by the lone leaf")
	}
	stolen := Chunk{Siblings: absent.Siblings, Entries: own.Entries}
	if err := stolen.Verify(root, beside, 40); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("the leaf as a pair of another range: %v", err)
	}
}

// TestChunkMutated flips every bit of encoded chunks: what still verifies is
// the same.
func TestChunkMutated(t *testing.T) {
	m := testPairs(30)
	root := m.root()
	for _, depth := range []uint8{0, 2, 6, 20} {
		prefix := prefixOf([]byte("key 3"), depth) ^ uint64(1)<<(64-depth)
		c := m.chunk(prefix, depth)
		encoded := c.Append(nil)
		for bit := range len(encoded) * 8 {
			hurt := bytes.Clone(encoded)
			hurt[bit/8] ^= 1 << (bit % 8)
			if q, err := ParseChunk(hurt); err == nil && q.Verify(root, prefix, depth) == nil {
				t.Fatalf("chunk %016x/%d verifies with bit %d flipped", prefix, depth, bit)
			}
		}
	}
}

func TestParseChunkRefuses(t *testing.T) {
	good := testPairs(5).chunk(0, 1)
	siblings := func(n int) []byte {
		c := Chunk{Siblings: make([]abi.Hash, n)}
		return c.Append(nil)
	}
	entry := func(key, value int) []byte {
		c := Chunk{Entries: []ChunkEntry{{make([]byte, key), make([]byte, value)}}}
		return c.Append(nil)
	}
	odd := cbor.AppendArray(cbor.AppendUint(cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), 0), 2), 1)
	for name, c := range map[string]struct {
		b    []byte
		code abi.Code
	}{
		"nothing":           {nil, abi.CodeMalformed},
		"no entries":        {append(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), 0x80), abi.CodeMalformed},
		"no siblings":       {append(cbor.AppendUint(cbor.AppendMap(nil, 1), 2), 0x80), abi.CodeMalformed},
		"odd":               {cbor.AppendBytes(odd, nil), abi.CodeMalformed},
		"many siblings":     {siblings(MaxDepth + 1), abi.CodeTooLarge},
		"long key":          {entry(MaxChunkKey+1, 1), abi.CodeTooLarge},
		"long value":        {entry(1, MaxProofValue+1), abi.CodeTooLarge},
		"cut":               {good.Append(nil)[:20], abi.CodeMalformed},
		"more behind":       {append(good.Append(nil), 0), abi.CodeMalformed},
		"a claim of 2^60":   {append(odd[:len(odd)-1], 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0), abi.CodeMalformed},
		"too many, a claim": {append(odd[:len(odd)-1], append([]byte{0x99, 0xff, 0xfe}, make([]byte, 0xfffe)...)...), abi.CodeTooLarge},
	} {
		if _, err := ParseChunk(c.b); !errors.Is(err, c.code) {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

// TestLargestChunk is what the limits allow: it must pass the codec's own.
func TestLargestChunk(t *testing.T) {
	c := Chunk{Siblings: make([]abi.Hash, MaxChunkDepth), Entries: make([]ChunkEntry, MaxChunkEntries)}
	if _, err := ParseChunk(c.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

// TestChunkVector holds the encoding to bytes that another implementation can
// check itself against.
func TestChunkVector(t *testing.T) {
	m := pairs{"a": "1", "b": "2", "c": "3"}
	half, other := m.chunk(0, 1), m.chunk(prefixOf([]byte("a"), 64)^1, 64)
	for name, c := range map[string]struct{ got, want string }{
		"half":  {fmt.Sprintf("%x", half.Append(nil)), chunkVectorHalf},
		"other": {fmt.Sprintf("%x", other.Append(nil)), chunkVectorOther},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", name, c.got, c.want)
		}
	}
}

func FuzzParseChunk(f *testing.F) {
	m := testPairs(20)
	for i := range uint64(8) {
		c := m.chunk(i<<61, 3)
		f.Add(c.Append(nil))
		c = m.chunk(i<<58, 6)
		f.Add(c.Append(nil))
	}
	root := m.root()
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChunk(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parses and is encoded as %x", b, again)
		}
		for depth := range uint8(7) {
			for i := range uint64(1) << depth {
				prefix := i << (64 - depth)
				want := m.chunk(prefix, depth)
				if c.Verify(root, prefix, depth) == nil && !bytes.Equal(want.Append(nil), b) {
					t.Fatalf("%x passes for chunk %016x/%d", b, prefix, depth)
				}
			}
		}
	})
}

func testGuards(n int) []Guard {
	rng := rand.New(rand.NewPCG(1, 2))
	list := make([]Guard, n)
	for i := range list {
		list[i] = Guard{Minute: rng.Uint64N(4), ID: KeyHash(fmt.Append(nil, i)), Height: rng.Uint64(), Index: uint64(i)}
	}
	slices.SortFunc(list, func(a, b Guard) int { return bytes.Compare(a.Key(), b.Key()) })
	return list
}

func TestGuards(t *testing.T) {
	for _, n := range []int{0, 1, 100, MaxGuards} {
		want := testGuards(n)
		got, err := ParseGuards(AppendGuards(nil, want))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d guards: %v", n, err)
		}
	}
	list := testGuards(3)
	for name, c := range map[string]struct {
		b    []byte
		code abi.Code
	}{
		"too many":     {AppendGuards(nil, testGuards(MaxGuards+1)), abi.CodeTooLarge},
		"twice":        {AppendGuards(nil, []Guard{list[0], list[0]}), abi.CodeMalformed},
		"out of order": {AppendGuards(nil, []Guard{list[1], list[0]}), abi.CodeMalformed},
		"cut":          {AppendGuards(nil, list)[:50], abi.CodeMalformed},
		"nothing":      {nil, abi.CodeMalformed},
	} {
		if _, err := ParseGuards(c.b); !errors.Is(err, c.code) {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
	if key := list[0].Key(); !bytes.Equal(key, chain.WindowIDKey(list[0].Minute, list[0].ID)) {
		t.Errorf("key of a guard is %x", key)
	}
}

func FuzzParseGuards(f *testing.F) {
	f.Add(AppendGuards(nil, testGuards(3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseGuards(b)
		if err == nil && !bytes.Equal(AppendGuards(nil, list), b) {
			t.Fatalf("%x has two encodings", b)
		}
	})
}

func BenchmarkChunkVerify(b *testing.B) {
	m := testPairs(4096)
	c, root := m.chunk(0, 0), m.root()
	for b.Loop() {
		if err := c.Verify(root, 0, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/entry")
}

// Of the state {a: 1, b: 2, c: 3}: its chunk 0/1, and the range that differs
// from the hash of a in its 64th bit.
const (
	chunkVectorHalf  = "a201815820565388d4bc00257133f799d9366ac97f6e949c18acc53d17457f8859ba0f08d302844163413341624132"
	chunkVectorOther = "a30181582068b9d91d8dd078a757107b3148b7ca18ee66a9c9c8b843e0da351ad44c2a45ce028003825820ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb58206b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
)
