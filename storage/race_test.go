package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	raceKeys    = 200
	raceBlocks  = 200 / slower
	raceReaders = 4
)

// changesAt says whether key i changes in block h; each key has a period of
// its own, so its value at any height is known without a model.
func changesAt(i int, h uint64) bool { return (h+uint64(i))%uint64(2+i%11) == 0 }

// raceValue is the value of key i at height h: where it changed last, or none.
// Every third change deletes.
func raceValue(i int, h uint64) (string, bool) {
	for at := int64(h); at >= 0; at-- {
		if changesAt(i, uint64(at)) {
			return fmt.Sprintf("key %d at %d", i, at), at%3 != 0
		}
	}
	return "", false
}

func raceBlock(h uint64) []Change {
	var changes []Change
	for i := range raceKeys {
		if !changesAt(i, h) {
			continue
		}
		c := Change{Key: fmt.Append(nil, i)}
		if value, ok := raceValue(i, h); ok {
			c.Value = []byte(value)
		}
		changes = append(changes, c)
	}
	return changes
}

// TestReadsWhileCommitting reads through the cache, past it and by scans
// while blocks are committed: no value of another height may be seen.
func TestReadsWhileCommitting(t *testing.T) {
	cfg := testConfig(nil)
	cfg.MaxViews = 64
	cfg.HotCacheBytes = 64 << 10 // smaller than the state, so that entries come and go
	s := mustOpen(t, cfg)
	mustCommit(t, s, raceBlock(0))
	var done atomic.Bool
	var wg sync.WaitGroup
	for r := range raceReaders {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 1))
			for !done.Load() {
				if err := readRound(s, rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for h := uint64(1); h < raceBlocks && !t.Failed(); h++ {
		if _, err := commit(s, raceBlock(h), nil); err != nil {
			t.Error(err)
			break
		}
	}
	done.Store(true)
	wg.Wait()
	if hits := s.Stats().CacheHits; hits == 0 {
		t.Error("the cache never served a read: nothing was tested")
	}
	mustClose(t, s)
}

func readRound(s *Store, rng *rand.Rand) error {
	v, err := s.View()
	if errors.Is(err, ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer v.Release()
	for range 50 {
		i := rng.IntN(raceKeys)
		get := v.Get
		if rng.IntN(8) == 0 {
			get = v.GetCold
		}
		value, ok, err := get(fmt.Append(nil, i))
		if err != nil {
			return err
		}
		if err := checkRead(v, i, string(value), ok); err != nil {
			return err
		}
	}
	it := v.Scan([]byte("1"), nil)
	defer it.Close()
	for it.Next() {
		var i int
		fmt.Sscan(string(it.Key()), &i)
		if err := checkRead(v, i, string(it.Value()), true); err != nil {
			return err
		}
	}
	return it.Err()
}

func checkRead(v *View, i int, value string, ok bool) error {
	want, present := raceValue(i, v.Height())
	if !present {
		want = ""
	}
	if ok != present || value != want {
		return fmt.Errorf("key %d at height %d is %q, %v; want %q, %v", i, v.Height(), value, ok, want, present)
	}
	return nil
}

// TestStaleFill plays the order that a naive cache gets wrong: a reader of an
// old height fills the cache after a commit changed the key.
func TestStaleFill(t *testing.T) {
	s := mustOpen(t, testConfig(nil))
	defer mustClose(t, s)
	mustCommit(t, s, []Change{set("a", "old"), set("b", "same")})
	old := mustView(t, s)
	defer old.Release()
	mustCommit(t, s, []Change{set("a", "new")})
	for _, key := range []string{"a", "b"} {
		if _, _, err := old.Get([]byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	s.cache.entries.Wait()
	v := mustView(t, s)
	defer v.Release()
	wantValue(t, v, "a", "new")
	before := s.Stats().CacheHits
	wantValue(t, v, "b", "same")
	if s.Stats().CacheHits != before+1 {
		t.Error("an entry of an older height is not used for a key that did not change")
	}
	s.cache.entries.Wait()
	wantValue(t, old, "a", "old")
}
