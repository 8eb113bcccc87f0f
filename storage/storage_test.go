package storage

import (
	"errors"
	"github.com/seed79541315/postern/abi"
	"testing"
)

func TestCommitAndReopen(t *testing.T) {
	cfg := testConfig(nil)
	s := mustOpen(t, cfg)
	if h := s.Head(); !h.Empty || h.Root != (abi.Hash{}) {
		t.Fatalf("head of a new store: %+v", h)
	}
	mustCommit(t, s, []Change{set("a", "1"), set("b", "2"), set("c", "")})
	old := mustView(t, s)
	root := mustCommit(t, s, []Change{set("a", "3"), remove("b"), remove("none")})
	wantValue(t, old, "a", "1")
	wantValue(t, old, "b", "2")
	if err := s.Close(); err == nil {
		t.Fatal("closed while a view was held")
	}
	old.Release()
	mustClose(t, s)
	if _, err := s.View(); !errors.Is(err, ErrClosed) {
		t.Fatalf("view after close: %v", err)
	}

	s = mustOpen(t, cfg)
	defer mustClose(t, s)
	if h := s.Head(); h.Empty || h.Height != 1 || h.Root != root {
		t.Fatalf("head after reopening: %+v, want root %x", h, root)
	}
	v := mustView(t, s)
	defer v.Release()
	wantValue(t, v, "a", "3")
	wantNone(t, v, "b")
	wantValue(t, v, "c", "")
	p, err := v.Prove([]byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if val, ok, err := p.Verify(root, []byte("a")); err != nil || !ok || string(val) != "3" {
		t.Fatalf("proof: %q %v %v", val, ok, err)
	}
	var keys []string
	it := v.Scan(nil, nil)
	for it.Next() {
		keys = append(keys, string(it.Key())+"="+string(it.Value()))
	}
	it.Close()
	if it.Err() != nil || len(keys) != 2 || keys[0] != "a=3" || keys[1] != "c=" {
		t.Fatalf("scan: %v %v", keys, it.Err())
	}
	b, c, o, err := s.Block(1)
	if err != nil || string(b) != "block 1" || string(c) != "certificate 1" || len(o) != 0 {
		t.Fatalf("block 1: %q %q %q %v", b, c, o, err)
	}
	if _, _, _, err := s.Block(2); !errors.Is(err, ErrNotFound) {
		t.Fatalf("block 2: %v", err)
	}
}

func TestVerify(t *testing.T) {
	s := mustOpen(t, testConfig(nil))
	defer mustClose(t, s)
	if r, err := s.Verify(t.Context(), nil); err != nil || r.Blocks != 0 || !r.Head.Empty {
		t.Fatalf("verify of an empty store: %+v, %v", r, err)
	}
	mustCommit(t, s, []Change{set("a", "1"), set("b", "2")})
	mustCommit(t, s, []Change{remove("a"), set("c", "3")})
	done, total := 0, 0
	r, err := s.Verify(t.Context(), func(d, n int) { done, total = d, n })
	if err != nil || r.Blocks != 2 || r.Keys != 2 || r.Head.Height != 1 {
		t.Fatalf("verify: %+v, %v", r, err)
	}
	if done != total || total != 6 {
		t.Fatalf("progress ended at %d of %d", done, total)
	}
}
