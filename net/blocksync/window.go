package blocksync

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/seed79541315/postern/net/peer"
)

// Limits of fetching.
const (
	partBytes  = 512 << 10   // bytes of blocks asked for at a time
	guessBlock = 4 << 10     // bytes of a block, before any has come
	hedgeAfter = time.Second // a part that all wait for is asked of a second peer then
	tick       = 100 * time.Millisecond
)

// How long the first answers are waited for.
const (
	aloneAfter  = 3 * time.Second        // without any peer
	prunedAfter = 10 * time.Second       // without one that keeps what is needed next; others may be resting
	settleAfter = 2 * time.Second        // without a quorum of the validators
	lateAfter   = 100 * time.Millisecond // with a quorum, for the others: a dead one counts as connected for seconds
)

// part is a run of heights that is asked of one peer at a time, of two when
// the first is slow.
type part struct {
	from, to uint64      // [from, to)
	fetchers []*source   // that fetch it now
	since    time.Time   // when the first of them began
	run      []certified // nil until it is there
	by       *source     // whose it is
	bytes    int         // reserved, then held
}

// source is a peer that blocks are taken from. All fields but the first two
// are guarded by the window's mu.
type source struct {
	key   peer.Key
	class peer.Class
	at    standing
	heard time.Time // when it last told its standing; zero: not yet
	late  bool      // nobody waits for its first word
	gone  bool
}

func (c *source) has(height uint64) bool {
	return !c.heard.IsZero() && c.at.base <= height && height <= c.at.height
}

// window is the heights that are being fetched: parts in ascending order
// without gaps, the first of which the ledger needs next. Workers take parts,
// whoever commits pops them from the front.
type window struct {
	memory int               // bytes that parts may hold
	quorum int               // validators whose word is waited for at first
	silent map[peer.Key]bool // who never told a standing the last time

	guarded // what follows
	begun   time.Time
	next    uint64 // the height that is popped next
	parts   []*part
	bytes   int // of the parts, and of what was popped and not released
	block   int // mean bytes of a block
	sources []*source
	enough  time.Time // when the quorum had answered; zero: not yet
	alone   time.Time // when the last source went
	kept    time.Time // when there was a source that keeps the next height
}

func newWindow(next uint64, memory, quorum int, silent map[peer.Key]bool) *window {
	now := time.Now()
	return &window{memory: memory, quorum: quorum, silent: silent, next: next, block: guessBlock, begun: now, alone: now, kept: now}
}

// join adds a peer. It returns nil for one that is there already.
func (w *window) join(i peer.Info) *source {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.ContainsFunc(w.sources, func(c *source) bool { return c.key == i.Key }) {
		return nil
	}
	c := &source{key: i.Key, class: i.Class, late: w.silent[i.Key]}
	w.sources = append(w.sources, c)
	w.broadcast()
	return c
}

// leave takes a peer out. It says whether the peer was still there.
func (w *window) leave(c *source) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drop(c)
}

// drop is leave with mu held.
func (w *window) drop(c *source) bool {
	if c.gone {
		return false
	}
	c.gone = true
	w.sources = slices.DeleteFunc(w.sources, func(o *source) bool { return o == c })
	w.alone = time.Now()
	w.broadcast()
	return true
}

// hear notes where a peer says that it stands.
func (w *window) hear(c *source, at standing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.at, c.heard = at, time.Now()
	if w.enough.IsZero() && w.validatorsHeard() >= w.quorum {
		w.enough = time.Now()
	}
	w.broadcast()
}

// age is how long ago a peer told its standing.
func (w *window) age(c *source) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(c.heard)
}

func (w *window) validatorsHeard() (n int) {
	for _, c := range w.sources {
		if c.class == peer.Validator && !c.heard.IsZero() {
			n++
		}
	}
	return n
}

// order is what a worker shall fetch.
type order struct {
	part     *part
	from, to uint64
}

// take waits for something that a peer can fetch. ok is false when the peer is
// gone or ctx has ended.
func (w *window) take(ctx context.Context, c *source) (o order, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !c.gone {
		if p := w.choose(c); p != nil {
			if len(p.fetchers) == 0 {
				p.since, p.bytes = time.Now(), partBytes
				w.bytes += p.bytes
			}
			p.fetchers = append(p.fetchers, c)
			return order{p, p.from, p.to}, true
		}
		if w.wait(ctx) != nil {
			break
		}
	}
	return order{}, false
}

// choose finds a part for a peer: one that nobody fetches, a new one, or the
// first if its peer is slow.
func (w *window) choose(c *source) *part {
	end := w.next
	room := w.bytes+partBytes <= w.memory
	for i, p := range w.parts {
		if p.run == nil && len(p.fetchers) == 0 && c.has(p.from) && (room || i == 0) {
			return p
		}
		end = p.to
	}
	if c.has(end) && (room || len(w.parts) == 0) {
		count := uint64(min(max(partBytes/w.block, 1), maxCount))
		p := &part{from: end, to: min(end+count, c.at.height+1)}
		w.parts = append(w.parts, p)
		return p
	}
	if len(w.parts) == 0 {
		return nil
	}
	if p := w.parts[0]; p.run == nil && len(p.fetchers) == 1 && p.fetchers[0] != c && time.Since(p.since) > hedgeAfter && c.has(p.from) {
		return p
	}
	return nil
}

// deliver hands in what a peer sent of a part: all of it or the first blocks.
// What is missing is fetched again. It says whether the blocks were of use:
// another may have been faster.
func (w *window) deliver(c *source, o order, run []certified, bytes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := o.part
	p.fetchers = slices.DeleteFunc(p.fetchers, func(o *source) bool { return o == c })
	defer w.broadcast()
	if len(run) == 0 && p.run == nil && len(p.fetchers) == 0 {
		w.bytes -= p.bytes
		p.bytes = 0
	}
	if len(run) == 0 || p.run != nil {
		return false
	}
	w.block = max(1, (7*w.block+bytes/len(run))/8)
	w.bytes += bytes - p.bytes
	end := p.from + uint64(len(run))
	if end < p.to {
		i := slices.Index(w.parts, p)
		w.parts = slices.Insert(w.parts, i+1, &part{from: end, to: p.to})
	}
	p.to, p.run, p.by, p.bytes = end, run, c, bytes
	return true
}

// pop waits for the first part. It returns io.EOF when the ledger is level
// with what the peers say, ErrPruned when none of them keeps the next height,
// and ErrNoPeers when there is nobody left to ask.
func (w *window) pop(ctx context.Context) (*part, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if len(w.parts) > 0 && w.parts[0].run != nil {
			p := w.parts[0]
			w.parts = slices.Delete(w.parts, 0, 1)
			w.next = p.to
			return p, nil
		}
		if err := w.over(); err != nil {
			return nil, err
		}
		if err := w.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// release says that what a part held is free again.
func (w *window) release(p *part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes -= p.bytes
	w.broadcast()
}

// reject puts the heights from one on back to the front: what a part held of
// them was wrong. Its peer goes.
func (w *window) reject(p *part, from uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = from
	w.parts = slices.Insert(w.parts, 0, &part{from: from, to: p.to})
	w.drop(p.by)
	w.broadcast()
}

// over says whether there is nothing to wait for: io.EOF, ErrPruned or
// ErrNoPeers; else nil. mu is held.
func (w *window) over() error {
	var target uint64
	heard, all, keeps := 0, true, false
	for _, c := range w.sources {
		if c.heard.IsZero() {
			all = all && c.late
			continue
		}
		heard++
		target = max(target, c.at.height)
		keeps = keeps || c.has(w.next)
	}
	if keeps {
		w.kept = time.Now()
	}
	switch {
	case len(w.sources) == 0 && time.Since(w.alone) > w.patience():
		return ErrNoPeers
	case heard == 0 || !w.settled(all):
		return nil
	case w.next > target:
		return io.EOF
	case all && time.Since(w.kept) > prunedAfter:
		return ErrPruned
	}
	return nil
}

// patience is how long a peer is waited for when there is none.
func (w *window) patience() time.Duration {
	if w.quorum == 0 {
		return lateAfter
	}
	return aloneAfter
}

// unheard are the peers that have not told where they stand.
func (w *window) unheard() map[peer.Key]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := map[peer.Key]bool{}
	for _, c := range w.sources {
		if c.heard.IsZero() {
			list[c.key] = true
		}
	}
	return list
}

// settled says whether enough peers have told where they stand; all that are
// waited for have if all is true.
func (w *window) settled(all bool) bool {
	if w.enough.IsZero() {
		return time.Since(w.begun) > settleAfter
	}
	return all || time.Since(w.enough) > lateAfter
}

// figures are for whoever watches: the highest height that a peer has told,
// the number of peers and the bytes that are held.
func (w *window) figures() (target uint64, peers, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.sources {
		target = max(target, c.at.height)
	}
	for _, p := range w.parts {
		if p.run != nil {
			bytes += p.bytes
		}
	}
	return target, len(w.sources), bytes
}
