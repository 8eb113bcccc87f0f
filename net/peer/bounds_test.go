package peer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sealed is a state file with this content.
func sealed(content []byte) []byte {
	sum := sha256.Sum256(content)
	return append(append([]byte{}, content...), sum[:]...)
}

func TestQueue(t *testing.T) {
	q := newQueue(4, 100)
	for i := range 6 {
		want := 0
		if i >= 4 {
			want = 1
		}
		if dropped := q.push([]byte{byte(i)}); dropped != want {
			t.Errorf("push %d dropped %d", i, dropped)
		}
	}
	batch, err := q.take(t.Context(), nil, 2)
	if err != nil || len(batch) != 2 || batch[0][0] != 2 || batch[1][0] != 3 {
		t.Errorf("took %v, %v; want the oldest two that are left", batch, err)
	}
	if dropped := q.push(make([]byte, 101)); dropped != 1 {
		t.Errorf("a message that never fits dropped %d", dropped)
	}
	if dropped := q.push(make([]byte, 99)); dropped != 1 {
		t.Errorf("a long message dropped %d, want the oldest", dropped)
	}
	if count, bytes := q.size(); count != 2 || bytes != 100 {
		t.Errorf("%d messages of %d bytes wait", count, bytes)
	}
	if batch, err = q.take(t.Context(), batch[:0], 50); err != nil || len(batch) != 1 {
		t.Errorf("took %d messages, %v; a long one comes alone", len(batch), err)
	}
	if batch, err = q.take(t.Context(), batch[:0], 50); err != nil || len(batch) != 1 || len(batch[0]) != 99 {
		t.Errorf("took %d messages, %v; want the long one", len(batch), err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.take(ended, nil, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("take at the end: %v", err)
	}
}

// TestQueueKeepsNoMemory holds the queue to what waits in it.
func TestQueueKeepsNoMemory(t *testing.T) {
	q := newQueue(5000, 1<<20)
	for i := range 100_000 {
		q.push([]byte{byte(i)})
		if i%3 != 0 || i > 90_000 {
			if _, err := q.take(t.Context(), nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if len(q.items) > 2*5000+64 {
			t.Fatalf("%d places for at most 5000 messages", len(q.items))
		}
	}
	if count, bytes := q.size(); count != bytes {
		t.Errorf("%d messages of one byte have %d", count, bytes)
	}
}

func TestBans(t *testing.T) {
	b := newBans()
	k, now := Key{1}, time.Unix(1e9, 0)
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if got := b.strike(k, now); got != want {
			t.Errorf("strike %d: refused for %v, want %v", i+1, got, want)
		}
		if got := b.strike(k, now.Add(time.Second)); got != want-time.Second {
			t.Errorf("strike %d while refused: %v", i+1, got)
		}
		if left := b.refused(k, now.Add(want-1)); left != 1 {
			t.Errorf("strike %d: refused for another %v", i+1, left)
		}
		now = now.Add(want)
		if left := b.refused(k, now); left != 0 {
			t.Errorf("strike %d: refused for %v after its time", i+1, left)
		}
	}
	if left := b.refused(k, time.Unix(1, 0)); left > longestBan {
		t.Errorf("after the clock was set back it is refused for %v", left)
	}
	now = now.Add(forgiveAfter + time.Second)
	if got := b.strike(k, now); got != firstBan {
		t.Errorf("after it behaved: %v, want %v", got, firstBan)
	}
	for i := range 3 * maxBans {
		b.strike(Key{2, byte(i), byte(i >> 8)}, now.Add(-time.Second))
	}
	if len(b.keys) > maxBans {
		t.Errorf("%d bans remembered", len(b.keys))
	}
	if b.refused(k, now) == 0 {
		t.Error("shorter bans displaced a longer one")
	}
}

func TestPulse(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for _, c := range []struct {
		name  string
		steps [][3]int // seconds, packets received, packets sent
		dead  bool
	}{
		{"talking", [][3]int{{0, 1, 1}, {2, 2, 9}, {4, 3, 20}, {60, 4, 90}}, false},
		{"silent both ways", [][3]int{{0, 5, 5}, {100, 5, 5}}, false},
		{"the last acknowledgements", [][3]int{{0, 5, 5}, {100, 5, 7}}, false},
		{"asked and not answered", [][3]int{{0, 5, 5}, {2, 5, 9}, {6, 5, 12}}, true},
		{"not yet", [][3]int{{0, 5, 5}, {2, 5, 9}, {5, 5, 12}}, false},
		{"answered late", [][3]int{{0, 5, 5}, {5, 6, 12}, {7, 6, 13}}, false},
	} {
		var p pulse
		dead := false
		for _, s := range c.steps {
			dead = p.dead(uint64(s[1]), uint64(s[2]), at(s[0]))
		}
		if dead != c.dead {
			t.Errorf("%s: dead = %v", c.name, dead)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		want *= time.Millisecond
		if got := b.take(longestPause); got < want*3/4 || got > want*5/4 {
			t.Errorf("pause %d is %v, want about %v", i, got, want)
		}
	}
}

// TestStateFailures writes where it cannot, and reads what is broken.
func TestStateFailures(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers")
	if err := replaceFile(path, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("other")); err == nil {
		t.Error("a write that failed is not told")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "whole" {
		t.Errorf("after a write that failed the file holds %q, %v", b, err)
	}
	simulate(t, func(t *testing.T, w *world) {
		n := w.start(1, nil, func(c *Config, _ *node) { c.StateFile = path })
		if n.book.count() != 0 {
			t.Error("a broken file was believed")
		}
		n.Misbehaved(Key{9}, fmt.Errorf("something"))
		settled(time.Second) // it cannot be saved, and the node goes on
		honest(t, w, n, 2)
	})
}
