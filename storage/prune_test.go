package storage

import (
	"errors"
	"fmt"
	"testing"
)

// wantPruned finds that block 0 and those from base on are there, and no other.
func wantPruned(t testing.TB, s *Store, base uint64) {
	t.Helper()
	if s.Base() != base {
		t.Fatalf("base is %d, want %d", s.Base(), base)
	}
	for height := range s.Head().Height + 2 {
		_, _, _, err := s.Block(height)
		if kept := height <= s.Head().Height && (height == 0 || height >= base); kept != (err == nil) || !kept && !errors.Is(err, ErrNotFound) {
			t.Fatalf("block %d of base %d: %v", height, base, err)
		}
	}
}

func TestPrune(t *testing.T) {
	cfg := testConfig(nil)
	s := mustOpen(t, cfg)
	for h := range 20 {
		if _, err := commit(s, []Change{set("k", fmt.Sprint(h))}, []Change{set(fmt.Sprint("x", h), "place")}); err != nil {
			t.Fatal(err)
		}
	}
	wantPruned(t, s, 1)
	old := mustView(t, s)
	for _, c := range []struct{ below, base uint64 }{{5, 5}, {5, 5}, {2, 5}, {0, 5}, {6, 6}, {19, 19}} {
		if err := s.Prune(c.below, [][]byte{fmt.Append(nil, "x", c.below-1)}); err != nil {
			t.Fatal(err)
		}
		wantPruned(t, s, c.base)
		old.Release()
		mustClose(t, s)
		s = mustOpen(t, cfg)
		wantPruned(t, s, c.base)
		r, err := s.Verify(t.Context(), nil)
		if err != nil || r.Base != c.base || r.Blocks != int(20-c.base)+1 {
			t.Fatalf("%+v, %v", r, err)
		}
		old = mustView(t, s)
	}
	for _, below := range []uint64{20, 21, 1 << 60} {
		if err := s.Prune(below, nil); err == nil {
			t.Fatalf("the head was pruned below %d", below)
		}
	}
	if _, ok, err := old.Plain([]byte("x4")); ok || err != nil {
		t.Fatalf("a plain record is still there: %v", err)
	}
	if _, ok, err := old.Plain([]byte("x7")); !ok || err != nil {
		t.Fatalf("a plain record is gone: %v", err)
	}
	old.Release()
	for h := range 5 {
		mustCommit(t, s, []Change{set("k", fmt.Sprint(h, "more"))})
	}
	wantPruned(t, s, 19)
	mustClose(t, s)
}

// TestPruneLeavesViews: who took a View before still reads its blocks.
func TestPruneLeavesViews(t *testing.T) {
	s := mustOpen(t, testConfig(nil))
	for h := range 9 {
		mustCommit(t, s, []Change{set("k", fmt.Sprint(h))})
	}
	v := mustView(t, s)
	if err := s.Prune(8, nil); err != nil {
		t.Fatal(err)
	}
	if block, _, _, err := v.block(3); err != nil || string(block) != "block 3" {
		t.Fatalf("%q, %v", block, err)
	}
	wantPruned(t, s, 8)
	now := mustView(t, s)
	if now.Root() != v.Root() || now.Height() != 8 {
		t.Fatal("pruning changed the state")
	}
	u, err := v.Update([]Change{set("a", "b")}) // of a View before, committed after
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(Block{Height: 9, Update: u, Block: []byte("block 9")}); err != nil {
		t.Fatal(err)
	}
	v.Release()
	now.Release()
	mustClose(t, s)
}

func TestPruneEmpty(t *testing.T) {
	s := mustOpen(t, testConfig(nil))
	if err := s.Prune(0, nil); err == nil {
		t.Error("an empty store was pruned")
	}
	mustCommit(t, s, nil)
	if err := s.Prune(0, nil); err != nil || s.Base() != 1 {
		t.Errorf("base %d, %v", s.Base(), err)
	}
	mustClose(t, s)
	if err := s.Prune(0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("pruning a closed store: %v", err)
	}
	if s.Base() != 1 {
		t.Errorf("base of a closed store is %d", s.Base())
	}
}
