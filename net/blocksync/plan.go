package blocksync

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/peer"
)

const (
	keysOfChunk  = 1024        // that the first chunks shall hold
	firstDepth   = 12          // most bits of the first chunks: the number of keys is a peer's word
	chunksOfPeer = 2           // requests to a peer at a time
	giveUpAfter  = time.Minute // without anything of use
)

// piece is a chunk that is to be fetched. One that a peer called too large is
// asked of another before it is split: otherwise a single liar could split the
// state into single keys.
type piece struct {
	prefix uint64
	depth  uint8
	doubt  *peer.Key // who called it too large
}

// plan is what of a snapshot's state is still to be fetched.
type plan struct {
	have func(prefix uint64, depth uint8) bool // from an earlier attempt

	guarded         // what follows
	wanted  []piece // the last comes first, so that halves do not pile up
	taken   int     // pieces that are being fetched
	covered float64 // of the state, 0 to 1
	peers   map[peer.Key]bool
	last    time.Time // when a chunk came
}

// newPlan covers the state with chunks for as many keys, without those that
// are there already.
func newPlan(keys uint64, have func(prefix uint64, depth uint8) bool) *plan {
	p := &plan{have: have, peers: map[peer.Key]bool{}, last: time.Now()}
	depth := uint8(min(bits.Len64(keys/keysOfChunk), firstDepth))
	for i := uint64(1) << depth; i > 0; i-- {
		p.want(piece{prefix: (i - 1) << (63 - depth) << 1, depth: depth})
	}
	return p
}

// want adds a piece, unless it is there already. mu is held.
func (p *plan) want(c piece) {
	if p.have(c.prefix, c.depth) {
		p.covered += share(c.depth)
	} else {
		p.wanted = append(p.wanted, c)
	}
}

// share is how much of the state a chunk of a depth covers.
func share(depth uint8) float64 { return math.Ldexp(1, -int(depth)) }

// join adds a peer. It says false if it is there already.
func (p *plan) join(key peer.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers[key] {
		return false
	}
	p.peers[key] = true
	p.broadcast()
	return true
}

func (p *plan) leave(key peer.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, key)
	p.broadcast()
}

// take waits for a piece to fetch from a peer. ok is false when everything is
// there or ctx has ended.
func (p *plan) take(ctx context.Context, key peer.Key) (c piece, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.wanted)+p.taken > 0 {
		for i := len(p.wanted) - 1; i >= 0; i-- {
			if c := p.wanted[i]; c.doubt == nil || *c.doubt != key || len(p.peers) == 1 {
				p.wanted = slices.Delete(p.wanted, i, i+1)
				p.taken++
				return c, true
			}
		}
		if p.wait(ctx) != nil {
			break
		}
	}
	return piece{}, false
}

// giveBack wants a piece again.
func (p *plan) giveBack(c piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.wanted = append(p.wanted, c)
	p.broadcast()
}

// tooLarge notes that a peer called a piece too large. Once a second one does,
// or nobody else is there, its halves are wanted.
func (p *plan) tooLarge(c piece, key peer.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if c.doubt == nil && len(p.peers) > 1 {
		c.doubt = &key
		p.wanted = append(p.wanted, c)
	} else {
		depth := c.depth + 1
		p.want(piece{prefix: c.prefix | 1<<(proof.MaxChunkDepth-depth), depth: depth})
		p.want(piece{prefix: c.prefix, depth: depth})
	}
	p.broadcast()
}

// done notes that a piece is there.
func (p *plan) done(c piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.covered += share(c.depth)
	p.last = time.Now()
	p.broadcast()
}

// finish waits until everything is there. It returns ErrNoPeers when nobody
// has the snapshot any more.
func (p *plan) finish(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case len(p.wanted)+p.taken == 0:
			return nil
		case time.Since(p.last) > giveUpAfter:
			return ErrNoPeers
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}

func (p *plan) figures() (covered float64, peers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.covered, len(p.peers)
}
