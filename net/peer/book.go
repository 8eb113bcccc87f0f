package peer

import (
	"sync"
	"time"
)

// Bounds of what is remembered of other nodes' addresses.
const (
	maxKnown = 256 // nodes: keys that the ledger knows
	maxHints = 4   // addresses of one node that others tell of, one of each teller
	maxLoose = 16  // addresses without a key, found on the local network

	hintTries   = 3                   // failures after which a hint is dropped
	provedKept  = 30 * 24 * time.Hour // how long an address is kept at which the node answered once
	firstRetry  = time.Second
	longRetry   = time.Minute
	looseExpiry = 10 * time.Minute
)

// book remembers where nodes may be reached. What it takes in may be a lie: an
// address only leads to a try, and the handshake says who answers.
type book struct {
	mu      sync.Mutex // guards what follows
	nodes   map[Key]*candidate
	loose   map[string]*looseAddress
	version uint64 // grows with what is worth saving
}

// candidate is one node's addresses.
type candidate struct {
	proved   string // where it answered last, "" if it never did
	provedAt time.Time
	hints    []hint
	turn     int // of the tries over the addresses
	fails    int // since it answered last
	next     time.Time
	busy     bool // being dialled
}

type hint struct {
	address string
	teller  Key
	fails   int
}

// looseAddress is where somebody on the local network says to be a node.
type looseAddress struct {
	found, next time.Time
	fails       int
	busy        bool
}

func newBook() *book { return &book{nodes: map[Key]*candidate{}, loose: map[string]*looseAddress{}} }

// node finds or adds a candidate; b.mu is held. It is nil when there is no
// room: one that never answered gives way to another, one that did does not.
func (b *book) node(k Key) *candidate {
	if c := b.nodes[k]; c != nil {
		return c
	}
	if len(b.nodes) >= maxKnown {
		for other, c := range b.nodes {
			if c.proved == "" && !c.busy {
				delete(b.nodes, other)
				break
			}
		}
	}
	if len(b.nodes) >= maxKnown {
		return nil
	}
	c := &candidate{}
	b.nodes[k] = c
	return c
}

// hint takes in what a peer tells. A teller has one word on each node, and a
// new teller's takes the place of the hint that failed most.
func (b *book) hint(k Key, address string, teller Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.node(k)
	if c == nil || c.proved == address {
		return
	}
	worst := 0
	for i, h := range c.hints {
		if h.address == address {
			return
		}
		if h.teller == teller {
			c.hints[i] = hint{address: address, teller: teller}
			return
		}
		if h.fails > c.hints[worst].fails {
			worst = i
		}
	}
	if len(c.hints) < maxHints {
		c.hints = append(c.hints, hint{address: address, teller: teller})
	} else if c.hints[worst].fails > 0 {
		c.hints[worst] = hint{address: address, teller: teller}
	}
}

// proved remembers that a node answered at an address.
func (b *book) proved(k Key, address string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.node(k)
	if c == nil {
		return
	}
	if c.proved != address || now.Sub(c.provedAt) > 24*time.Hour {
		c.proved, c.provedAt = address, now
		b.version++
	}
	c.drop(address)
	c.fails, c.turn = 0, 0
}

// drop forgets a hint.
func (c *candidate) drop(address string) {
	kept := c.hints[:0]
	for _, h := range c.hints {
		if h.address != address {
			kept = append(kept, h)
		}
	}
	c.hints = kept
}

// addresses are those to be tried, in turn.
func (c *candidate) addresses() (list []string) {
	if c.proved != "" {
		list = append(list, c.proved)
	}
	for _, h := range c.hints {
		list = append(list, h.address)
	}
	return list
}

// due returns a node that may be dialled now and is wanted, and one of its
// addresses, or how long to wait for the next. The caller says with tried or
// rest how it went.
func (b *book) due(now time.Time, wanted func(Key) bool) (k Key, address string, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = longRetry
	for key, c := range b.nodes {
		list := c.addresses()
		if len(list) == 0 {
			if !c.busy {
				delete(b.nodes, key)
			}
			continue
		}
		if c.busy || !wanted(key) {
			continue
		}
		if left := c.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		c.busy = true
		c.turn++
		return key, list[(c.turn-1)%len(list)], 0
	}
	return Key{}, "", wait
}

// rest ends a try that led to a connection, when that is gone again.
func (b *book) rest(k Key, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.nodes[k]; c != nil {
		c.busy, c.fails, c.next = false, 0, now.Add(firstPause)
	}
}

// failed ends a try at which the node did not answer; another may have. The
// next comes after a pause that doubles up to longest.
func (b *book) failed(k Key, address string, now time.Time, otherKey bool, longest time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.nodes[k]
	if c == nil {
		return
	}
	c.busy = false
	pause := longest
	if c.fails < 10 {
		pause = min(longest, firstRetry<<c.fails)
	}
	c.fails++
	c.next = now.Add(pause)
	for i := range c.hints {
		if h := &c.hints[i]; h.address == address {
			if h.fails++; otherKey || h.fails >= hintTries {
				c.drop(address)
			}
			return
		}
	}
	if c.proved == address && (otherKey || now.Sub(c.provedAt) > provedKept) {
		c.proved = ""
		b.version++
	}
}

// find takes in an address from the local network. When there are too many, the
// oldest goes.
func (b *book) find(address string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.loose[address]; l != nil {
		l.found = now
		return
	}
	if len(b.loose) >= maxLoose {
		oldest := ""
		for a, l := range b.loose {
			if !l.busy && (oldest == "" || l.found.Before(b.loose[oldest].found)) {
				oldest = a
			}
		}
		delete(b.loose, oldest)
	}
	if len(b.loose) < maxLoose {
		b.loose[address] = &looseAddress{found: now}
	}
}

// dueLoose is due for addresses without a key.
func (b *book) dueLoose(now time.Time) (address string, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = longRetry
	for a, l := range b.loose {
		if l.busy {
			continue
		}
		if now.Sub(l.found) > looseExpiry {
			delete(b.loose, a)
			continue
		}
		if left := l.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		l.busy = true
		return a, 0
	}
	return "", wait
}

// triedLoose ends a try at an address without a key. One that answered has a
// key now, or is not to be had.
func (b *book) triedLoose(address string, now time.Time, answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.loose[address]
	if l == nil {
		return
	}
	l.busy = false
	pause := longRetry
	if !answered && l.fails < 6 {
		pause = min(longRetry, firstRetry<<l.fails)
	}
	l.fails++
	l.next = now.Add(pause)
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.nodes)
}

// list copies the addresses at which nodes answered.
func (b *book) list() map[Key]knownNode {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[Key]knownNode{}
	for k, c := range b.nodes {
		if c.proved != "" {
			known[k] = knownNode{address: c.proved, at: c.provedAt}
		}
	}
	return known
}

func (b *book) changes() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.version
}

// knownNode is what the state file keeps of a node.
type knownNode struct {
	address string
	at      time.Time
}
