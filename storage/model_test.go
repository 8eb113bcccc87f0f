package storage

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// modelKey is one of n keys with shared prefixes, empty and 0xff parts.
func modelKey(n int) string {
	switch n % 4 {
	case 0:
		return fmt.Sprintf("a/%03d", n)
	case 1:
		return strings.Repeat("\xff", n%7) + fmt.Sprint(n)
	case 2:
		return fmt.Sprintf("a/%03d/%c", n%50, rune(n))
	}
	return strings.Repeat("\x00", n%9)
}

// modelValue has lengths on both sides of where values carry their hash.
func modelValue(rng *rand.Rand) string {
	return strings.Repeat("v", []int{0, 1, 30, hashedFrom - 1, hashedFrom, hashedFrom + 1, 5000}[rng.IntN(7)]) + fmt.Sprint(rng.IntN(3))
}

// held is a View with what must be read through it.
type held struct {
	view  *View
	state map[string]string
	plain map[string]string
}

// TestModel commits random blocks, keeps old views, reopens now and then, and
// compares all ways of reading with maps.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	cfg := testConfig(nil)
	cfg.MemTableBytes = 64 << 10
	s := mustOpen(t, cfg)
	state, plain := map[string]string{}, map[string]string{}
	var views []held
	for height := range 100 / slower {
		changes := randomChanges(rng, state)
		plainChanges := randomChanges(rng, plain)
		root, err := commit(s, changes, plainChanges)
		if err != nil {
			t.Fatal(err)
		}
		if h := s.Head(); h.Height != uint64(height) || h.Root != root {
			t.Fatalf("head %+v after block %d with root %x", h, height, root)
		}
		views = append(views, held{mustView(t, s), maps.Clone(state), maps.Clone(plain)})
		views[rng.IntN(len(views))].compare(t, rng)
		if len(views) > 5 || rng.IntN(10) == 0 {
			views = releaseAll(views)
		}
		if rng.IntN(20) == 0 {
			views = releaseAll(views)
			mustClose(t, s)
			s = mustOpen(t, cfg)
		}
	}
	releaseAll(views)
	if _, err := s.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

func releaseAll(views []held) []held {
	for _, h := range views {
		h.view.Release()
	}
	return nil
}

func randomChanges(rng *rand.Rand, m map[string]string) []Change {
	changes := map[string]Change{}
	for range rng.IntN(40) {
		key := modelKey(rng.IntN(400))
		if rng.IntN(3) == 0 {
			changes[key] = Change{Key: []byte(key)}
			delete(m, key)
		} else {
			m[key] = modelValue(rng)
			changes[key] = set(key, m[key])
		}
	}
	return slices.Collect(maps.Values(changes))
}

func (h held) compare(t *testing.T, rng *rand.Rand) {
	t.Helper()
	for n := range 400 {
		key := modelKey(n)
		want, ok := h.state[key]
		for name, get := range map[string]func([]byte) ([]byte, bool, error){"Get": h.view.Get, "GetCold": h.view.GetCold} {
			if got, found, err := get([]byte(key)); err != nil || found != ok || string(got) != want {
				t.Fatalf("%s %q at %d: %q, %v, %v; want %q, %v", name, key, h.view.Height(), got, found, err, want, ok)
			}
		}
		wantPlain, ok := h.plain[key]
		if got, found, err := h.view.Plain([]byte(key)); err != nil || found != ok || string(got) != wantPlain {
			t.Fatalf("plain %q: %q, %v, %v", key, got, found, err)
		}
		if n%8 == 0 {
			h.compareProof(t, key)
		}
	}
	for range 20 {
		prefix := modelKey(rng.IntN(400))
		prefix = prefix[:rng.IntN(len(prefix)+1)]
		start := modelKey(rng.IntN(400))
		compareScan(t, h.view.Scan([]byte(prefix), []byte(start)), h.state, prefix, start)
		compareScan(t, h.view.ScanPlain([]byte(prefix)), h.plain, prefix, "")
	}
}

func (h held) compareProof(t *testing.T, key string) {
	t.Helper()
	p, err := h.view.Prove([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	want, ok := h.state[key]
	if value, present, err := p.Verify(h.view.Root(), []byte(key)); err != nil || present != ok || string(value) != want {
		t.Fatalf("proof of %q: %q, %v, %v", key, value, present, err)
	}
}

func compareScan(t *testing.T, it Iterator, m map[string]string, prefix, start string) {
	t.Helper()
	defer it.Close()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !strings.HasPrefix(key, prefix) || key < start {
			continue
		}
		if !it.Next() || string(it.Key()) != key || string(it.Value()) != m[key] {
			t.Fatalf("scan %q from %q: %q = %q (%v), want %q", prefix, start, it.Key(), it.Value(), it.Err(), key)
		}
	}
	if it.Next() || it.Err() != nil {
		t.Fatalf("scan %q from %q goes on at %q, %v", prefix, start, it.Key(), it.Err())
	}
}

// TestRootForgetsHistory reaches one state on two ways.
func TestRootForgetsHistory(t *testing.T) {
	roots := map[abi.Hash]bool{}
	for way := range 2 {
		s := mustOpen(t, testConfig(nil))
		for i := range 300 {
			n := i
			if way == 1 {
				n = 299 - i
				mustCommit(t, s, []Change{set(fmt.Sprint("extra ", n), "x")})
			}
			mustCommit(t, s, []Change{set(fmt.Sprint("key ", n), fmt.Sprint(n)), remove(fmt.Sprint("extra ", n))})
		}
		roots[s.Head().Root] = true
		mustClose(t, s)
	}
	if len(roots) != 1 {
		t.Fatalf("two ways to one state end at %d roots", len(roots))
	}
}

func TestUpdateRefuses(t *testing.T) {
	s := mustOpen(t, testConfig(nil))
	defer mustClose(t, s)
	v := mustView(t, s)
	defer v.Release()
	for name, changes := range map[string][]Change{
		"repeated key": {set("a", "1"), set("b", "2"), set("a", "1")},
		"long key":     {{Key: make([]byte, MaxKey+1), Value: []byte{1}}},
		"long value":   {{Key: []byte("a"), Value: make([]byte, MaxValue+1)}},
	} {
		if _, err := v.Update(changes); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	longest := Change{Key: bytes.Repeat([]byte{0xff}, MaxKey), Value: make([]byte, MaxValue)}
	mustCommit(t, s, []Change{longest})
	after := mustView(t, s)
	defer after.Release()
	if got, ok, err := after.Get(longest.Key); err != nil || !ok || len(got) != MaxValue {
		t.Errorf("longest record: %d bytes, %v, %v", len(got), ok, err)
	}
}

func TestCommitRefuses(t *testing.T) {
	s := mustOpen(t, testConfig(nil))
	defer mustClose(t, s)
	if err := s.Commit(Block{Height: 1}); err == nil {
		t.Error("block 1 on an empty store is accepted")
	}
	empty := mustView(t, s)
	defer empty.Release()
	stale, err := empty.Update([]Change{set("a", "stale")})
	if err != nil {
		t.Fatal(err)
	}
	root := mustCommit(t, s, []Change{set("a", "1")})
	for name, b := range map[string]Block{
		"same height":    {Height: 0},
		"gap":            {Height: 2},
		"stale update":   {Height: 1, Update: stale},
		"long plain key": {Height: 1, Plain: []Change{{Key: make([]byte, MaxKey+1), Value: []byte{}}}},
	} {
		if err := s.Commit(b); err == nil || errors.Is(err, ErrFatal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if h := s.Head(); h.Height != 0 || h.Root != root {
		t.Errorf("head moved to %+v", h)
	}
	if err := s.Commit(Block{Height: 1}); err != nil || s.Head().Root != root {
		t.Errorf("block without changes: %v", err)
	}
}

func TestViewsAreBounded(t *testing.T) {
	cfg := testConfig(nil)
	cfg.MaxViews = 2
	s := mustOpen(t, cfg)
	defer mustClose(t, s)
	var views []*View
	for i := range 3 {
		views = append(views, mustView(t, s))
		mustCommit(t, s, []Change{set("a", fmt.Sprint(i))})
		if i == 1 {
			if _, err := s.View(); !errors.Is(err, ErrBusy) {
				t.Fatalf("a view beyond two old ones: %v", err)
			}
			head, err := s.HeadView()
			if err != nil {
				t.Fatalf("execution's view: %v", err)
			}
			head.Release()
			views[0].Release()
		}
	}
	wantValue(t, views[1], "a", "0")
	it := views[1].Scan(nil, nil)
	views[1].Release()
	if !it.Next() || string(it.Value()) != "0" {
		t.Fatalf("iterator lost its view: %v", it.Err())
	}
	it.Close()
	it.Close()
	if it.Next() {
		t.Fatal("a closed iterator goes on")
	}
	views[2].Release()
	defer func() {
		if recover() == nil {
			t.Error("a view can be released twice")
		}
	}()
	views[2].Release()
}

// TestOpenTwice finds the folder locked.
func TestOpenTwice(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Logger: testConfig(nil).Logger}
	s := mustOpen(t, cfg)
	if _, err := Open(cfg); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "lock") {
		t.Fatalf("second open: %v", err)
	}
	mustClose(t, s)
	mustClose(t, mustOpen(t, cfg))
}
