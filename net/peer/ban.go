package peer

import (
	"maps"
	"sync"
	"time"
)

// How long a peer that misbehaved is refused: firstBan, twice as long each
// time, up to longestBan. One that behaved for forgiveAfter after its last ban
// begins anew. Long enough to make an attack slow, short enough that a
// validator with a fault that was mended is back soon.
const (
	firstBan     = 30 * time.Second
	longestBan   = time.Hour
	forgiveAfter = 6 * time.Hour
	maxBans      = 256 // keys remembered
)

// ban is the memory of one key's misbehaviour.
type ban struct {
	strikes int
	until   time.Time
}

// bans remembers who misbehaved.
type bans struct {
	mu      sync.Mutex // guards what follows
	keys    map[Key]ban
	version uint64 // grows with each change
}

func newBans() *bans { return &bans{keys: map[Key]ban{}} }

// strike counts a misbehaviour and returns how long the key is refused for it.
// Several within one ban are one.
func (b *bans) strike(k Key, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.keys[k]
	if left := e.until.Sub(now); left > 0 {
		return left
	}
	if now.Sub(e.until) > forgiveAfter {
		e.strikes = 0
	}
	e.strikes++
	length := longestBan
	if e.strikes < 8 {
		length = min(longestBan, firstBan<<(e.strikes-1))
	}
	e.until = now.Add(length)
	b.put(k, e)
	return length
}

// put remembers an entry; where there is no room, the one that ends or ended
// first is forgotten. b.mu is held.
func (b *bans) put(k Key, e ban) {
	b.version++
	if _, known := b.keys[k]; !known && len(b.keys) >= maxBans {
		var first Key
		var until time.Time
		for k, e := range b.keys {
			if until.IsZero() || e.until.Before(until) {
				first, until = k, e.until
			}
		}
		delete(b.keys, first)
	}
	b.keys[k] = e
}

// refused says how long a key is still refused.
func (b *bans) refused(k Key, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.keys[k]
	if !ok {
		return 0
	}
	if now.Sub(e.until) > forgiveAfter {
		delete(b.keys, k)
		b.version++
	}
	return max(0, min(e.until.Sub(now), longestBan)) // a clock that was set back bans nobody for long
}

func (b *bans) count(now time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.keys {
		if e.until.After(now) {
			n++
		}
	}
	return n
}

// list copies what is remembered.
func (b *bans) list() map[Key]ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.keys)
}

func (b *bans) changes() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.version
}
