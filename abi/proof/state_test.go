package proof

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// pairs is a state small enough to hash and prove by definition.
type pairs map[string]string

func (m pairs) root() abi.Hash { return m.subtree(m.keys(), 0) }

func (m pairs) keys() (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

func (m pairs) subtree(keys []string, depth int) abi.Hash {
	switch len(keys) {
	case 0:
		return abi.Hash{}
	case 1:
		return Leaf(KeyHash([]byte(keys[0])), ValueHash([]byte(m[keys[0]])))
	}
	left, right := divide(keys, depth)
	return Inner(m.subtree(left, depth+1), m.subtree(right, depth+1))
}

func divide(keys []string, depth int) (left, right []string) {
	for _, k := range keys {
		if Bit(KeyHash([]byte(k)), depth) == 0 {
			left = append(left, k)
		} else {
			right = append(right, k)
		}
	}
	return left, right
}

func (m pairs) prove(key string) State {
	p := State{Siblings: []abi.Hash{}}
	at, keys := KeyHash([]byte(key)), m.keys()
	for depth := 0; len(keys) > 1; depth++ {
		left, right := divide(keys, depth)
		if Bit(at, depth) == 1 {
			left, right = right, left
		}
		p.Siblings = append(p.Siblings, m.subtree(right, depth+1))
		keys = left
	}
	switch {
	case len(keys) == 1 && keys[0] == key:
		p.Present, p.Value = true, []byte(m[key])
	case len(keys) == 1:
		p.Other = &OtherLeaf{KeyHash([]byte(keys[0])), ValueHash([]byte(m[keys[0]]))}
	}
	return p
}

func testPairs(n int) pairs {
	m := pairs{}
	for i := range n {
		m[fmt.Sprintf("key %d", i)] = fmt.Sprintf("value %d", i)
	}
	return m
}

func TestStateProof(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 17, 100} {
		m := testPairs(n)
		kinds := map[string]bool{}
		for i := range 2*n + 8 {
			key := fmt.Sprintf("key %d", i)
			p := m.prove(key)
			again, err := ParseState(p.Append(nil))
			if err != nil {
				t.Fatalf("%d pairs, %s: %v", n, key, err)
			}
			value, present, err := again.Verify(m.root(), []byte(key))
			want, ok := m[key]
			if err != nil || present != ok || string(value) != want {
				t.Fatalf("%d pairs, %s: proven %q, %v, %v", n, key, value, present, err)
			}
			kinds[fmt.Sprint(p.Present, p.Other != nil)] = true
		}
		if n == 17 && len(kinds) != 3 {
			t.Fatalf("the keys take only the ways %v to end", kinds)
		}
	}
}

// TestStateProofForged tries to prove what is not so.
func TestStateProofForged(t *testing.T) {
	m := testPairs(100)
	root := m.root()
	inside, outside := "key 7", "no such key"
	good, absent := m.prove(inside), m.prove(outside)
	longer := m.prove(inside)
	longer.Siblings = append(longer.Siblings, abi.Hash{})
	shorter := m.prove(inside)
	shorter.Siblings = shorter.Siblings[:len(shorter.Siblings)-1]
	tooLong := m.prove(inside)
	tooLong.Siblings = make([]abi.Hash, MaxDepth+1)
	own := Leaf(KeyHash([]byte(inside)), ValueHash(good.Value))
	for name, c := range map[string]struct {
		p   State
		key string
	}{
		"other value":           {State{Siblings: good.Siblings, Present: true, Value: []byte("value 8")}, inside},
		"no value":              {State{Siblings: good.Siblings, Present: true}, inside},
		"other key":             {good, "key 8"},
		"present for absent":    {State{Siblings: absent.Siblings, Present: true, Value: []byte("x")}, outside},
		"empty for present":     {State{Siblings: good.Siblings}, inside},
		"own leaf as other":     {State{Siblings: good.Siblings, Other: &OtherLeaf{KeyHash([]byte(inside)), ValueHash(good.Value)}}, inside},
		"absence of another":    {absent, inside},
		"root as empty":         {State{}, outside},
		"leaf far away":         {State{Siblings: good.Siblings, Other: &OtherLeaf{KeyHash([]byte(inside)), ValueHash(good.Value)}}, farFrom(inside)},
		"value beside other":    {State{Siblings: good.Siblings, Present: true, Value: good.Value, Other: &OtherLeaf{}}, inside},
		"value without present": {State{Siblings: absent.Siblings, Other: absent.Other, Value: []byte("x")}, outside},
		"one level more":        {longer, inside},
		"one level less":        {shorter, inside},
		"too long":              {tooLong, inside},
		"inner as leaf":         {State{Present: true, Value: own[:]}, inside},
	} {
		if value, present, err := c.p.Verify(root, []byte(c.key)); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: proven %q, %v, %v", name, value, present, err)
		}
	}
	for i := range good.Siblings {
		p := m.prove(inside)
		p.Siblings[i][3] ^= 4
		if _, _, err := p.Verify(root, []byte(inside)); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("sibling %d changed: %v", i, err)
		}
	}
	if _, _, err := good.Verify(testPairs(99).root(), []byte(inside)); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("other root: %v", err)
	}
}

// farFrom finds a key whose path leaves that of key at once.
func farFrom(key string) string {
	for i := 0; ; i++ {
		other := fmt.Sprint("far ", i)
		if Bit(KeyHash([]byte(other)), 0) != Bit(KeyHash([]byte(key)), 0) {
			return other
		}
	}
}

// TestStateProofMutated flips every bit of encoded proofs: none may prove
// anything but the truth, and none has two encodings.
func TestStateProofMutated(t *testing.T) {
	m := testPairs(40)
	root := m.root()
	for i := range 50 {
		key := fmt.Sprintf("key %d", i)
		p := m.prove(key)
		encoded := p.Append(nil)
		for bit := range len(encoded) * 8 {
			hurt := bytes.Clone(encoded)
			hurt[bit/8] ^= 1 << (bit % 8)
			q, err := ParseState(hurt)
			if err != nil {
				continue
			}
			if value, present, err := q.Verify(root, []byte(key)); err == nil {
				t.Fatalf("%s: proven %q, %v with bit %d flipped", key, value, present, bit)
			}
		}
	}
}

func TestParseStateRefuses(t *testing.T) {
	sibling := bytes.Repeat([]byte{7}, 32)
	array := func(n int, item []byte) []byte {
		b := cbor.AppendArray(nil, n)
		for range n {
			b = cbor.AppendBytes(b, item)
		}
		return b
	}
	fields := func(kv ...any) []byte {
		b := cbor.AppendMap(nil, len(kv)/2)
		for i := 0; i < len(kv); i += 2 {
			b = append(cbor.AppendUint(b, uint64(kv[i].(int))), kv[i+1].([]byte)...)
		}
		return b
	}
	text := func(n int) []byte { return cbor.AppendBytes(nil, make([]byte, n)) }
	for name, c := range map[string]struct {
		b    []byte
		code abi.Code
	}{
		"nothing":          {nil, abi.CodeMalformed},
		"no siblings":      {fields(2, text(1)), abi.CodeMalformed},
		"short sibling":    {fields(1, array(1, sibling[:31])), abi.CodeMalformed},
		"zero sibling":     {fields(1, array(1, make([]byte, 32))), abi.CodeMalformed},
		"257 siblings":     {fields(1, array(257, nil)), abi.CodeTooLarge},
		"value and other":  {fields(1, array(0, nil), 2, text(1), 3, array(2, sibling)), abi.CodeMalformed},
		"unknown field":    {fields(1, array(0, nil), 4, text(1)), abi.CodeMalformed},
		"repeated field":   {fields(1, array(0, nil), 1, array(0, nil)), abi.CodeMalformed},
		"short other":      {fields(1, array(0, nil), 3, array(2, sibling[1:])), abi.CodeMalformed},
		"long value":       {fields(1, array(0, nil), 2, text(MaxProofValue+1)), abi.CodeTooLarge},
		"more behind":      {append(fields(1, array(0, nil)), 0), abi.CodeMalformed},
		"huge array":       {[]byte{0xa1, 1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, abi.CodeMalformed},
		"long form of one": {[]byte{0xa1, 1, 0x98, 0}, abi.CodeMalformed},
	} {
		if _, err := ParseState(c.b); !errors.Is(err, c.code) {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

// TestStateVector holds the hashes and the encoding to bytes that another
// implementation can check itself against.
func TestStateVector(t *testing.T) {
	m := pairs{"a": "1", "b": "2", "c": "3"}
	p := m.prove("b")
	for name, c := range map[string]struct{ got, want string }{
		"one pair": {hexOf(pairs{"a": "1"}.root()), "565388d4bc00257133f799d9366ac97f6e949c18acc53d17457f8859ba0f08d3"},
		"root":     {hexOf(m.root()), "8e2a164a410203f51300d7c6645b7a37f549768457be109acc126c63573a9e0a"},
		"proof":    {hex.EncodeToString(p.Append(nil)), "a201845820565388d4bc00257133f799d9366ac97f6e949c18acc53d17457f8859ba0f08d3404058206dc4a0fe4285844b9c64ba063f6a8b808a07eb2e8c124cda2babd55a2a7f3d24024132"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", name, c.got, c.want)
		}
	}
}

func hexOf(h abi.Hash) string { return hex.EncodeToString(h[:]) }

func FuzzParseState(f *testing.F) {
	m := testPairs(20)
	for i := range 40 {
		p := m.prove(fmt.Sprintf("key %d", i))
		f.Add(p.Append(nil))
	}
	root := m.root()
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseState(b)
		if err != nil {
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parses and is encoded as %x", b, again)
		}
		for i := range 40 {
			key := fmt.Sprintf("key %d", i)
			want, ok := m[key]
			if value, present, err := p.Verify(root, []byte(key)); err == nil && (present != ok || string(value) != want) {
				t.Fatalf("%x proves %q, %v of %s", b, value, present, key)
			}
		}
	})
}
