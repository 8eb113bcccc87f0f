package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// testState is a state of n keys, some of them long, with values that have
// their hash beside them.
func testState(n int) []Change {
	changes := make([]Change, n)
	for i := range changes {
		changes[i] = Change{Key: fmt.Appendf(nil, "key %d", i*7919%n), Value: fmt.Appendf(nil, "value %d", i)}
		switch i % 50 {
		case 3:
			changes[i].Value = bytes.Repeat([]byte{byte(i)}, 300)
		case 7:
			changes[i].Value = []byte{}
		case 9:
			changes[i].Key = bytes.Repeat(fmt.Appendf(nil, "%08d", i), 32)
		}
	}
	return changes
}

// testSource is a store at height 3 with such a state.
func testSource(t testing.TB, n int) *Store {
	t.Helper()
	s := mustOpen(t, testConfig(nil))
	mustCommit(t, s, nil)
	mustCommit(t, s, testState(n))
	mustCommit(t, s, []Change{set("late", "1")})
	if _, err := commit(s, []Change{remove("late"), set("key 1", "changed")}, []Change{set("w1", "guard")}); err != nil {
		t.Fatal(err)
	}
	return s
}

func targetOf(s *Store) Target {
	head := s.Head()
	return Target{head.Height, head.Root}
}

// recordOf is a block's record of a source.
func recordOf(t testing.TB, s *Store, height uint64) Record {
	t.Helper()
	var k Record
	var err error
	if k.Block, k.Certificate, k.Outcomes, err = s.Block(height); err != nil {
		t.Fatal(err)
	}
	return k
}

func finalOf(t testing.TB, s *Store) Final {
	return Final{Genesis: recordOf(t, s, 0), Head: recordOf(t, s, s.Head().Height), Plain: []Change{set("S1", "step")}}
}

// chunkID names a chunk.
type chunkID struct {
	prefix uint64
	depth  uint8
}

func allChunks(depth uint8) (ids []chunkID) {
	for i := range uint64(1) << depth {
		ids = append(ids, chunkID{i << (64 - depth), depth})
	}
	return ids
}

// carryChunk takes a chunk over as nodes do: encoded, parsed, verified.
func carryChunk(v *View, imp *Import, id chunkID, maxBytes int) error {
	c, err := v.Chunk(id.prefix, id.depth, maxBytes)
	if errors.Is(err, abi.CodeTooLarge) {
		half := chunkID{id.prefix, id.depth + 1}
		err := carryChunk(v, imp, half, maxBytes)
		half.prefix |= 1 << (63 - id.depth)
		return errors.Join(err, carryChunk(v, imp, half, maxBytes))
	}
	if err != nil {
		return err
	}
	got, err := proof.ParseChunk(c.Append(nil))
	if err != nil {
		return err
	}
	if err := got.Verify(imp.target.Root, id.prefix, id.depth); err != nil {
		return err
	}
	return imp.Put(id.prefix, id.depth, &got)
}

func mustCarry(t testing.TB, from *Store, imp *Import, ids []chunkID) {
	t.Helper()
	v, err := from.HeadView()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	for _, id := range ids {
		if err := carryChunk(v, imp, id, 1<<20); err != nil {
			t.Fatalf("chunk %016x/%d: %v", id.prefix, id.depth, err)
		}
	}
}

func mustImport(t testing.TB, cfg Config, target Target) *Import {
	t.Helper()
	imp, err := NewImport(cfg, target)
	if err != nil {
		t.Fatal(err)
	}
	return imp
}

// mustFinish ends an import and checks what came of it. It closes the source.
func mustFinish(t testing.TB, imp *Import, cfg Config, source *Store) {
	t.Helper()
	if err := imp.Finish(t.Context(), finalOf(t, source)); err != nil {
		t.Fatal(err)
	}
	wantImported(t, cfg, source)
}

// wantImported opens the store that an import left and finds in it the source,
// which it closes, with the plain records of finalOf.
func wantImported(t testing.TB, cfg Config, source *Store) {
	t.Helper()
	s := mustOpen(t, cfg)
	wantSame(t, s, source)
	wantPlain(t, s, map[string]string{"S1": "step"})
	mustClose(t, s)
	mustClose(t, source)
}

// wantSame checks an imported store against its source in every way there is.
func wantSame(t testing.TB, s, source *Store) {
	t.Helper()
	head := source.Head()
	if s.Head() != head || s.Base() != max(head.Height, 1) {
		t.Fatalf("head is %+v, base %d; want %+v", s.Head(), s.Base(), head)
	}
	r, err := s.Verify(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, want := mustView(t, s), mustView(t, source)
	defer got.Release()
	defer want.Release()
	if uint64(r.Keys) != want.Keys() || r.Blocks != 2 {
		t.Fatalf("%d keys and %d blocks came, of %d keys", r.Keys, r.Blocks, want.Keys())
	}
	a, b := got.Scan(nil, nil), want.Scan(nil, nil)
	defer a.Close()
	defer b.Close()
	for b.Next() {
		if !a.Next() || !bytes.Equal(a.Key(), b.Key()) || !bytes.Equal(a.Value(), b.Value()) {
			t.Fatalf("scan gives %q where %q is, %v", a.Key(), b.Key(), a.Err())
		}
	}
	if a.Next() || a.Err() != nil || b.Err() != nil {
		t.Fatalf("scan goes on with %q, %v, %v", a.Key(), a.Err(), b.Err())
	}
	for _, height := range []uint64{0, head.Height} {
		if a, b := recordOf(t, s, height), recordOf(t, source, height); !bytes.Equal(a.Block, b.Block) || !bytes.Equal(a.Certificate, b.Certificate) || !bytes.Equal(a.Outcomes, b.Outcomes) {
			t.Fatalf("block %d is another", height)
		}
	}
}

// TestImport takes states of all sizes over, in chunks of many depths and in
// any order, and then commits on like the source.
func TestImport(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 5, 3000} {
		for _, depth := range []uint8{0, 1, 5} {
			source := testSource(t, n)
			cfg := testConfig(nil)
			imp := mustImport(t, cfg, targetOf(source))
			ids := allChunks(depth)
			rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			mustCarry(t, source, imp, ids)
			if err := imp.Plain([]Change{set("w1", "guard")}); err != nil {
				t.Fatal(err)
			}
			if err := imp.Finish(t.Context(), finalOf(t, source)); err != nil {
				t.Fatalf("%d keys, depth %d: %v", n, depth, err)
			}
			s := mustOpen(t, cfg)
			wantSame(t, s, source)
			wantPlain(t, s, map[string]string{"w1": "guard", "S1": "step"})
			for range 3 {
				changes := []Change{set(fmt.Sprint("key ", rng.IntN(9000)), "next"), remove(fmt.Sprint("key ", rng.IntN(9000)))}
				if mustCommit(t, s, changes) != mustCommit(t, source, changes) {
					t.Fatal("the imported store goes another way")
				}
			}
			if _, err := s.Verify(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			wantPruned(t, s, 3)
			mustClose(t, s)
			mustClose(t, mustOpen(t, cfg))
			mustClose(t, source)
		}
	}
}

// wantPlain finds that these plain records and no other are there.
func wantPlain(t testing.TB, s *Store, want map[string]string) {
	t.Helper()
	v := mustView(t, s)
	defer v.Release()
	it := v.ScanPlain(nil)
	defer it.Close()
	got := map[string]string{}
	for it.Next() {
		got[string(it.Key())] = string(it.Value())
	}
	if it.Err() != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("plain records are %v, %v; want %v", got, it.Err(), want)
	}
}

// TestImportReplaces puts an import in the place of a store with another
// state, which is gone then.
func TestImportReplaces(t *testing.T) {
	source, cfg := testSource(t, 100), testConfig(nil)
	old := mustOpen(t, cfg)
	mustCommit(t, old, []Change{set("old", "1")})
	mustClose(t, old)
	imp := mustImport(t, cfg, targetOf(source))
	mustCarry(t, source, imp, allChunks(2))
	if err := imp.Finish(t.Context(), finalOf(t, source)); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, cfg)
	defer mustClose(t, s)
	wantSame(t, s, source)
	wantFolders(t, cfg.FS, "home")
	mustClose(t, source)
}

// wantFolders finds that nothing else lies beside.
func wantFolders(t testing.TB, fs vfs.FS, want ...string) {
	t.Helper()
	names, err := fs.List("")
	slices.Sort(names)
	if err != nil || !slices.Equal(names, want) {
		t.Fatalf("folders are %q, %v; want %q", names, err, want)
	}
}

// TestImportConcurrent takes chunks from many goroutines, some of them twice
// and some within others.
func TestImportConcurrent(t *testing.T) {
	source, cfg := testSource(t, 4000), testConfig(nil)
	imp := mustImport(t, cfg, targetOf(source))
	v := mustView(t, source)
	var wg sync.WaitGroup
	for worker := range uint64(8) {
		wg.Go(func() {
			ids := slices.Concat(allChunks(4), allChunks(3), allChunks(5))
			rng := rand.New(rand.NewPCG(worker, 2))
			rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			for _, id := range ids[:40] {
				if err := carryChunk(v, imp, id, 10<<10); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v.Release()
	mustCarry(t, source, imp, allChunks(4))
	mustFinish(t, imp, cfg, source)
}

// TestImportResumes interrupts an import, with and without the courtesy of
// Close, and begins another one in the same place.
func TestImportResumes(t *testing.T) {
	source, cfg := testSource(t, 2000), testConfig(nil)
	ids := allChunks(4)
	imp := mustImport(t, cfg, targetOf(source))
	mustCarry(t, source, imp, ids[:5])
	if imp.Done(ids[5].prefix, 4) || !imp.Done(ids[0].prefix, 2) || !imp.Done(ids[3].prefix, 9) {
		t.Fatal("progress is not what was put")
	}
	if err := imp.Plain([]Change{set("w-false", "x")}); err != nil {
		t.Fatal(err)
	}
	if err := imp.Finish(t.Context(), finalOf(t, source)); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("finishing half of a state: %v", err)
	}
	imp = mustImport(t, cfg, targetOf(source))
	for i, id := range ids {
		if imp.Done(id.prefix, id.depth) != (i < 5) {
			t.Fatalf("chunk %d after an interruption: %v", i, i >= 5)
		}
	}
	mustCarry(t, source, imp, ids)
	if err := imp.Close(); err != nil {
		t.Fatal(err)
	}
	imp = mustImport(t, cfg, targetOf(source))
	if !imp.Done(0, 0) {
		t.Fatal("what was there when the import was closed is not there")
	}
	mustFinish(t, imp, cfg, source)
}

// TestImportOtherTarget begins anew where the snapshot is another.
func TestImportOtherTarget(t *testing.T) {
	source, cfg := testSource(t, 500), testConfig(nil)
	imp := mustImport(t, cfg, targetOf(source))
	mustCarry(t, source, imp, allChunks(1))
	if err := imp.Close(); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, source, []Change{set("newer", "1"), remove("key 4")})
	imp = mustImport(t, cfg, targetOf(source))
	if imp.Done(0, 1) {
		t.Fatal("chunks of an older snapshot count")
	}
	mustCarry(t, source, imp, allChunks(1))
	mustFinish(t, imp, cfg, source)
}

// TestImportWrongChunks puts chunks that nobody verified: what comes out is
// refused, nothing takes the store's place, and the next import is clean.
func TestImportWrongChunks(t *testing.T) {
	source, cfg := testSource(t, 500), testConfig(nil)
	for name, damage := range map[string]func(c *proof.Chunk){
		"left out": func(c *proof.Chunk) { c.Entries = c.Entries[1:] },
		"changed":  func(c *proof.Chunk) { c.Entries[0].Value = []byte("x") },
		"added":    func(c *proof.Chunk) { c.Entries = append(c.Entries, proof.ChunkEntry{Key: []byte("x")}) },
	} {
		imp := mustImport(t, cfg, targetOf(source))
		if imp.Done(0, 3) {
			t.Fatalf("%s: what was wrong is still there", name)
		}
		v := mustView(t, source)
		c, err := v.Chunk(0, 0, 1<<20)
		v.Release()
		if err != nil {
			t.Fatal(err)
		}
		damage(c)
		if err := imp.Put(0, 0, c); err != nil {
			t.Fatal(err)
		}
		if err := imp.Finish(t.Context(), finalOf(t, source)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		wantFolders(t, cfg.FS)
	}
	mustClose(t, source)
}

// TestImportChecked lets the caller refuse what came out, and go on from there.
func TestImportChecked(t *testing.T) {
	source, cfg := testSource(t, 500), testConfig(nil)
	imp := mustImport(t, cfg, targetOf(source))
	mustCarry(t, source, imp, allChunks(0))
	if err := imp.Plain([]Change{set("w-false", "x")}); err != nil {
		t.Fatal(err)
	}
	final, wrong := finalOf(t, source), errors.New("a guard is wrong")
	final.Check = func(s *Store) error {
		wantPlain(t, s, map[string]string{"w-false": "x", "S1": "step"})
		return wrong
	}
	if err := imp.Finish(t.Context(), final); !errors.Is(err, wrong) {
		t.Fatal(err)
	}
	imp = mustImport(t, cfg, targetOf(source))
	if !imp.Done(0, 0) {
		t.Fatal("the state has to come again for a wrong guard")
	}
	final.Check = func(s *Store) error { wantPlain(t, s, map[string]string{"S1": "step"}); return nil }
	if err := imp.Finish(t.Context(), final); err != nil {
		t.Fatal(err)
	}
	wantImported(t, cfg, source)
}

// TestImportCancelled stops in the middle of building.
func TestImportCancelled(t *testing.T) {
	source, cfg := testSource(t, 3000), testConfig(nil)
	imp := mustImport(t, cfg, targetOf(source))
	mustCarry(t, source, imp, allChunks(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := imp.Finish(ctx, finalOf(t, source)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	imp = mustImport(t, cfg, targetOf(source))
	mustFinish(t, imp, cfg, source)
}

// TestCarry begins another chain with the state of one: its block 0 changes
// the state that was carried over.
func TestCarry(t *testing.T) {
	source, cfg := testSource(t, 500), testConfig(nil)
	imp := mustImport(t, cfg, targetOf(source))
	mustCarry(t, source, imp, allChunks(3))
	if err := imp.Finish(t.Context(), Final{Carry: true}); err != nil {
		t.Fatal(err)
	}
	changes := []Change{set("key 1", "of the new chain"), remove("key 2"), set("validators", "new")}
	for range 2 {
		s := mustOpen(t, cfg)
		if head := s.Head(); !head.Empty || head.Root != source.Head().Root {
			t.Fatalf("head is %+v", head)
		}
		if _, err := s.Verify(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
	s := mustOpen(t, cfg)
	if root := mustCommit(t, s, changes); root != mustCommit(t, source, changes) {
		t.Fatal("block 0 leads to another state")
	}
	if head := s.Head(); head.Empty || head.Height != 0 || s.Base() != 1 {
		t.Fatalf("head is %+v, base %d", head, s.Base())
	}
	mustCommit(t, s, []Change{set("a", "1")})
	mustClose(t, s)
	s = mustOpen(t, cfg)
	r, err := s.Verify(t.Context(), nil)
	if err != nil || r.Blocks != 2 || s.Head().Height != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	mustClose(t, s)
	mustClose(t, source)
}

func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 200 {
		var s spans
		covered := map[uint64]bool{} // of the ranges of depth 6
		for range rng.IntN(20) {
			depth := uint8(rng.IntN(7))
			prefix := rng.Uint64() &^ (^uint64(0) >> depth)
			s = s.add(spanOf(prefix, depth))
			for i := range uint64(64) {
				if (i<<58)&^(^uint64(0)>>depth) == prefix {
					covered[i] = true
				}
			}
		}
		for i := range uint64(64) {
			if s.covers(spanOf(i<<58, 6)) != covered[i] {
				t.Fatalf("range %d of %v", i, s)
			}
		}
		if s.covers(spanOf(0, 0)) != (len(covered) == 64) {
			t.Fatalf("all of %v", s)
		}
	}
}

func FuzzParseChunkKey(f *testing.F) {
	f.Add(chunkKey(5<<61, 3))
	f.Fuzz(func(t *testing.T, key []byte) {
		if k, err := parseChunkKey(key); err == nil && k.last < k.first {
			t.Fatalf("%x is %+v", key, k)
		}
	})
}
