package storage

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// history is what was committed: the root and the state after each block.
type history struct {
	roots  []abi.Hash
	states []map[string]string
}

// damageFixture is a closed store whose files are of every kind: tables, a
// log with blocks in it, manifest, options, markers.
func damageFixture(t *testing.T) (vfs.FS, history) {
	t.Helper()
	fs := vfs.NewMem()
	cfg := testConfig(fs)
	rng := rand.New(rand.NewPCG(5, 6))
	s := mustOpen(t, cfg)
	state, past := map[string]string{}, history{}
	for block := range 30 {
		past.roots = append(past.roots, mustCommit(t, s, randomChanges(rng, state)))
		now := map[string]string{}
		for k, v := range state {
			now[k] = v
		}
		past.states = append(past.states, now)
		if block == 8 || block == 20 {
			if err := s.engine.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, s)
	return fs, past
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, fs vfs.FS, name string, data []byte) {
	t.Helper()
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// damage is one thing done to a file's bytes; nil removes the file.
type damage struct {
	name string
	do   func(data []byte) []byte
}

func damagesOf(size int, rng *rand.Rand) []damage {
	list := []damage{
		{"removed", func([]byte) []byte { return nil }},
		{"emptied", func([]byte) []byte { return []byte{} }},
		{"doubled", func(b []byte) []byte { return append(b, b...) }},
	}
	for range 5 / slower {
		at, bit := rng.IntN(size), rng.IntN(8)
		list = append(list,
			damage{fmt.Sprintf("bit %d of byte %d flipped", bit, at), func(b []byte) []byte { b[at] ^= 1 << bit; return b }},
			damage{fmt.Sprintf("cut at %d", at), func(b []byte) []byte { return b[:at] }},
			damage{fmt.Sprintf("zeroed from %d", at), func(b []byte) []byte { clear(b[at:min(at+4096, len(b))]); return b }})
	}
	return list
}

// TestDamage damages every file in many ways. Whatever is then read must be
// what was committed at the height that the store says it has, or an error.
func TestDamage(t *testing.T) {
	fixture, past := damageFixture(t)
	rng := rand.New(rand.NewPCG(7, 8))
	dir := path.Join("home", dbName+".db")
	names, err := fixture.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		file := path.Join(dir, name)
		size := len(readFile(t, fixture, file))
		for _, d := range damagesOf(max(size, 1), rng) {
			if size == 0 && !strings.HasPrefix(d.name, "removed") {
				continue
			}
			fs := vfs.NewMem()
			if _, err := vfs.Clone(fixture, fs, "home", "home"); err != nil {
				t.Fatal(err)
			}
			if data := d.do(readFile(t, fs, file)); data == nil {
				err = fs.Remove(file)
			} else {
				writeFile(t, fs, file, data)
			}
			if err != nil {
				t.Fatal(err)
			}
			found[past.judge(t, name+" "+d.name, fs)]++
		}
	}
	t.Logf("damage was found: %v", found)
	for _, how := range []string{"at open", "at read"} {
		if found[how] == 0 {
			t.Errorf("no damage was found %s: the test does not reach there", how)
		}
	}
}

// judge opens a damaged store and tells where the damage was found.
func (p history) judge(t *testing.T, what string, fs vfs.FS) string {
	t.Helper()
	s, err := Open(testConfig(fs))
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), adviceRestore) {
			t.Errorf("%s: open: %v", what, err)
		}
		return "at open"
	}
	defer s.Close() // damage may well be met again while closing
	head := s.Head()
	if head.Empty || head.Root != p.roots[head.Height] {
		t.Fatalf("%s: opened with head %+v", what, head)
	}
	if head.Height != uint64(len(p.roots)-1) && !strings.Contains(what, ".log") {
		t.Errorf("%s: opened at height %d", what, head.Height)
	}
	v := mustView(t, s)
	defer v.Release()
	wrong := errors.Join(p.read(t, what, v), p.scan(v))
	_, err = s.Verify(t.Context(), nil)
	switch {
	case wrong != nil && err == nil:
		t.Errorf("%s: reading found %v, Verify nothing", what, wrong)
	case err == nil && head.Height != uint64(len(p.roots)-1):
		return "as a torn tail"
	case err == nil:
		return "nowhere, it hurt nothing"
	case !errors.Is(err, ErrCorrupt):
		t.Errorf("%s: verify: %v", what, err)
	case wrong == nil:
		return "by verify"
	}
	return "at read"
}

// read reads every key. A wrong value is a failure, an error is none.
func (p history) read(t *testing.T, what string, v *View) (found error) {
	t.Helper()
	want := p.states[v.Height()]
	for n := range 400 {
		key := modelKey(n)
		value, ok, err := v.Get([]byte(key))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: get: %v", what, err)
			}
			found = err
			continue
		}
		if w, present := want[key]; ok != present || string(value) != w {
			t.Errorf("%s: %q is %.20q, %v; committed was %.20q, %v", what, key, value, ok, w, present)
		}
	}
	return found
}

// scan reads all by the index, which only Verify can know to be complete.
func (p history) scan(v *View) error {
	it := v.Scan(nil, nil)
	defer it.Close()
	n := 0
	for ; it.Next(); n++ {
		if want := p.states[v.Height()][string(it.Key())]; string(it.Value()) != want {
			return fmt.Errorf("scan: %q is %.20q", it.Key(), it.Value())
		}
	}
	if it.Err() == nil && n != len(p.states[v.Height()]) {
		return fmt.Errorf("scan found %d keys", n)
	}
	return it.Err()
}

// TestEditedByHand changes records through the database itself, so that no
// checksum of a file tells.
func TestEditedByHand(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(s *Store, key []byte) error
		found string // at open, at read or by verify
	}{
		"value":          {func(s *Store, k []byte) error { return s.engine.kv.SetSync(storedAt(k), []byte("9")) }, "at read"},
		"value lost":     {func(s *Store, k []byte) error { return s.engine.kv.DeleteSync(storedAt(k)) }, "at read"},
		"value added":    {func(s *Store, k []byte) error { return s.engine.kv.SetSync(storedAt([]byte("new")), []byte("9")) }, "at read"},
		"value misfiled": {func(s *Store, k []byte) error { return s.engine.kv.SetSync(append(storedAt(k), 'x'), []byte("9")) }, "at read"},
		"index lost":     {func(s *Store, k []byte) error { return s.engine.kv.DeleteSync(indexKey(k)) }, "by verify"},
		"index added":    {func(s *Store, k []byte) error { return s.engine.kv.SetSync(indexKey([]byte("new")), []byte{}) }, "by scan"},
		"index filled":   {func(s *Store, k []byte) error { return s.engine.kv.SetSync(indexKey(k), []byte("x")) }, "by verify"},
		"bucket":         {func(s *Store, _ []byte) error { return s.engine.kv.DeleteSync(bucketKey(0)) }, "at open"},
		"bucket short":   {func(s *Store, _ []byte) error { return s.engine.kv.SetSync(bucketKey(0), []byte{0, 1}) }, "at open"},
		"head lost":      {func(s *Store, _ []byte) error { return s.engine.kv.DeleteSync(headKey) }, "at open"},
		"head back":      {func(s *Store, _ []byte) error { return s.engine.kv.SetSync(headKey, appendHead(nil, 0, s.Head().Root)) }, "at open"},
		"head root":      {func(s *Store, _ []byte) error { return s.engine.kv.SetSync(headKey, appendHead(nil, 1, abi.Hash{1})) }, "at open"},
		"format lost":    {func(s *Store, _ []byte) error { return s.engine.kv.DeleteSync(formatKey) }, "at open"},
		"digest lost":    {func(s *Store, _ []byte) error { return s.engine.kv.DeleteSync(heightKey(keyDigest, 0)) }, "at open"},
		"digest beyond": {func(s *Store, _ []byte) error {
			return s.engine.kv.SetSync(heightKey(keyDigest, 2), make([]byte, digestSize))
		}, "at open"},
		"block": {func(s *Store, _ []byte) error {
			return s.engine.kv.SetSync(heightKey(keyBlock, 0), appendBlock(nil, []byte("x"), nil, nil))
		}, "by block"},
		"block lost":   {func(s *Store, _ []byte) error { return s.engine.kv.DeleteSync(heightKey(keyBlock, 0)) }, "by block"},
		"block beyond": {func(s *Store, _ []byte) error { return s.engine.kv.SetSync(heightKey(keyBlock, 7), []byte("x")) }, "by verify"},
	} {
		t.Run(name, func(t *testing.T) {
			if found := editAndLook(t, c.edit); found != c.found {
				t.Errorf("found %q, want %q", found, c.found)
			}
		})
	}
}

func storedAt(key []byte) []byte { return appendStateKey(nil, proof.KeyHash(key), key) }

func editAndLook(t *testing.T, edit func(*Store, []byte) error) string {
	t.Helper()
	cfg, key := testConfig(nil), []byte("key")
	s := mustOpen(t, cfg)
	mustCommit(t, s, []Change{set("key", "1"), set("other", "2")})
	mustCommit(t, s, []Change{set("other", strings.Repeat("3", hashedFrom))})
	if err := edit(s, key); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s, err := Open(cfg)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		return "at open"
	}
	defer mustClose(t, s)
	v := mustView(t, s)
	defer v.Release()
	if _, err := s.Verify(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	if _, _, err := v.Get(key); errors.Is(err, ErrCorrupt) {
		return "at read"
	}
	if _, _, _, err := s.Block(0); errors.Is(err, ErrCorrupt) {
		return "by block"
	}
	it := v.Scan(nil, nil)
	defer it.Close()
	for it.Next() {
	}
	if errors.Is(it.Err(), ErrCorrupt) {
		return "by scan"
	}
	return "by verify"
}

func TestUnknownFormat(t *testing.T) {
	cfg := testConfig(nil)
	s := mustOpen(t, cfg)
	if err := s.engine.kv.SetSync(formatKey, []byte("2")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := Open(cfg); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), adviceUpgrade) {
		t.Fatalf("open: %v", err)
	}
}

func TestUnreachableFolder(t *testing.T) {
	file := path.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(vfs.Default)
	cfg.Dir = file
	if _, err := Open(cfg); err == nil || errors.Is(err, ErrCorrupt) {
		t.Fatalf("open on a file: %v", err)
	}
}
