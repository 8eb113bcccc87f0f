package proof

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
)

type noteTestKey struct{ ed25519.PrivateKey }

func (k noteTestKey) Public() []byte { return k.PrivateKey.Public().(ed25519.PublicKey) }

func (k noteTestKey) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(k.PrivateKey, msg), nil }

var (
	logKey    = noteTestKey{signerOf("gateway")}
	logOrigin = LogOrigin(abi.Hash{1}, abi.Hash{2})
)

// testLog is a tree of n leaves, by definition.
type testLog struct {
	hashes []tlog.Hash
	size   int64
}

func newTestLog(n int) *testLog {
	l := &testLog{}
	for i := range n {
		l.add(tlog.RecordHash([]byte{byte(i), byte(i >> 8)}))
	}
	return l
}

func (l *testLog) add(leaf tlog.Hash) {
	more, err := tlog.StoredHashesForRecordHash(l.size, leaf, l)
	if err != nil {
		panic(err)
	}
	l.hashes = append(l.hashes, more...)
	l.size++
}

func (l *testLog) ReadHashes(indexes []int64) (list []tlog.Hash, err error) {
	for _, i := range indexes {
		list = append(list, l.hashes[i])
	}
	return list, nil
}

func (l *testLog) head(n int64) *Checkpoint {
	root, err := tlog.TreeHash(n, l)
	if err != nil {
		panic(err)
	}
	return &Checkpoint{logOrigin, uint64(n), abi.Hash(root)}
}

func hashesOf(p []tlog.Hash) (list []abi.Hash) {
	for _, h := range p {
		list = append(list, abi.Hash(h))
	}
	return list
}

func signed(t testing.TB, c *Checkpoint) []byte {
	b, err := c.Sign(logKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCheckpointInterchange: what is signed here, other tools read, and the
// other way round.
func TestCheckpointInterchange(t *testing.T) {
	c := newTestLog(7).head(7)
	text, err := VerifierKey(logOrigin, logKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed(t, c), note.VerifierList(v))
	if err != nil || n.Text != string(c.AppendText(nil)) || len(n.Sigs) != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	back, err := OpenCheckpoint(signed(t, c), logOrigin, logKey.Public())
	if err != nil || back != *c {
		t.Fatalf("%+v, %v", back, err)
	}
}

// TestCheckpointWitness: a witness's line behind the log's own does no harm.
func TestCheckpointWitness(t *testing.T) {
	c := newTestLog(3).head(3)
	skey, _, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{3}, 64)), "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newNoteKey(logOrigin, logKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	b, err := note.Sign(&note.Note{Text: string(c.AppendText(nil))}, &noteSigner{k, logKey}, w)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := OpenCheckpoint(b, logOrigin, logKey.Public()); err != nil || back != *c {
		t.Fatalf("%+v, %v", back, err)
	}
}

func TestCheckpointRefused(t *testing.T) {
	good := string(signed(t, newTestLog(12).head(12)))
	other := noteTestKey{signerOf("other")}
	for name, c := range map[string]struct {
		note string
		code abi.Code
	}{
		"nothing":             {"", abi.CodeMalformed},
		"no signature":        {good[:strings.Index(good, "—")], abi.CodeBadSignature},
		"another size":        {strings.Replace(good, "\n12\n", "\n13\n", 1), abi.CodeBadSignature},
		"a leading zero":      {strings.Replace(good, "\n12\n", "\n012\n", 1), abi.CodeMalformed},
		"a sign":              {strings.Replace(good, "\n12\n", "\n+12\n", 1), abi.CodeMalformed},
		"a huge size":         {strings.Replace(good, "\n12\n", "\n18446744073709551615\n", 1), abi.CodeMalformed},
		"an extension":        {strings.Replace(good, "=\n\n", "=\nmore\n\n", 1), abi.CodeMalformed},
		"a short root":        {strings.Replace(good, "=\n\n", "\n\n", 1), abi.CodeMalformed},
		"another log's":       {strings.ReplaceAll(good, "postern/0", "postern/1"), abi.CodeBadProof},
		"no name":             {good[strings.IndexByte(good, '\n'):], abi.CodeMalformed},
		"much behind it":      {good + strings.Repeat("x", MaxCheckpoint), abi.CodeTooLarge},
		"a carriage return":   {strings.Replace(good, "\n12\n", "\n12\r\n", 1), abi.CodeMalformed},
		"signature cut short": {good[:len(good)-9] + "\n", abi.CodeBadSignature},
	} {
		if _, err := OpenCheckpoint([]byte(c.note), logOrigin, logKey.Public()); !errors.Is(err, c.code) {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
	if _, err := OpenCheckpoint([]byte(good), logOrigin, other.Public()); !errors.Is(err, abi.CodeBadSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, err := OpenCheckpoint([]byte(good), logOrigin, make([]byte, 33)); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("a P-256 key: %v", err)
	}
}

// TestCheckpointProofs covers all pairs of sizes, and each proof damaged.
func TestCheckpointProofs(t *testing.T) {
	const most = 17
	l := newTestLog(most)
	for n := int64(1); n <= most; n++ {
		next := l.head(n)
		for old := int64(1); old < n; old++ {
			p, err := tlog.ProveTree(n, old, l)
			if err != nil {
				t.Fatal(err)
			}
			path := hashesOf(p)
			if err := next.VerifyConsistency(l.head(old), path); err != nil {
				t.Fatalf("%d after %d: %v", n, old, err)
			}
			checkDamaged(t, path, func(path []abi.Hash) error { return next.VerifyConsistency(l.head(old), path) })
		}
		for i := range n {
			p, err := tlog.ProveRecord(n, i, l)
			if err != nil {
				t.Fatal(err)
			}
			leaf := abi.Hash(l.hashes[tlog.StoredHashIndex(0, i)])
			if err := next.VerifyInclusion(leaf, uint64(i), hashesOf(p)); err != nil {
				t.Fatalf("%d of %d: %v", i, n, err)
			}
			checkDamaged(t, hashesOf(p), func(path []abi.Hash) error { return next.VerifyInclusion(leaf, uint64(i), path) })
			if err := next.VerifyInclusion(leaf, uint64(i+1), hashesOf(p)); !errors.Is(err, abi.CodeBadProof) {
				t.Fatalf("%d of %d at the next place: %v", i, n, err)
			}
		}
	}
}

// checkDamaged checks that no proof near a good one is good.
func checkDamaged(t *testing.T, path []abi.Hash, verify func([]abi.Hash) error) {
	t.Helper()
	bad := [][]abi.Hash{append(append([]abi.Hash{}, path...), abi.Hash{})}
	for i := range path {
		changed := append([]abi.Hash{}, path...)
		changed[i][7] ^= 1
		bad = append(bad, changed, append(append([]abi.Hash{}, path[:i]...), path[i+1:]...))
	}
	for _, p := range bad {
		if err := verify(p); !errors.Is(err, abi.CodeBadProof) {
			t.Fatalf("a damaged proof: %v", err)
		}
	}
}

func TestCheckpointEdges(t *testing.T) {
	l := newTestLog(5)
	five, other := l.head(5), l.head(5)
	other.Root[0] ^= 1
	empty := &Checkpoint{Origin: logOrigin}
	for name, c := range map[string]struct {
		next, old *Checkpoint
		path      []abi.Hash
		good      bool
	}{
		"the same":               {five, five, nil, true},
		"after nothing":          {five, empty, nil, true},
		"the same with a path":   {five, five, []abi.Hash{{}}, false},
		"nothing with a path":    {five, empty, []abi.Hash{{}}, false},
		"two heads of one size":  {five, other, nil, false},
		"shrunk":                 {l.head(4), five, nil, false},
		"another log's":          {five, &Checkpoint{"x", 5, five.Root}, nil, false},
		"larger than any":        {&Checkpoint{logOrigin, 1 << 63, five.Root}, five, nil, false},
		"no path though it grew": {five, l.head(4), nil, false},
	} {
		if err := c.next.VerifyConsistency(c.old, c.path); (err == nil) != c.good || err != nil && !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, index := range []uint64{5, 1 << 63} {
		if err := five.VerifyInclusion(abi.Hash{}, index, nil); !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("record %d of 5: %v", index, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	good := signed(f, newTestLog(12).head(12))
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("\n12\n"), []byte("\n1\n"), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCheckpoint(b)
		if err == nil && !bytes.HasPrefix(b, append(c.AppendText(nil), '\n')) {
			t.Fatalf("%q has another form", b)
		}
		if _, err := OpenCheckpoint(b, logOrigin, logKey.Public()); err == nil && !bytes.HasPrefix(b, good[:bytes.Index(good, []byte("\n\n"))]) {
			t.Fatalf("%q was never signed", b)
		}
	})
}
