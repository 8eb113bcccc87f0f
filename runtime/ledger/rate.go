package ledger

import (
	"sync"

	"github.com/seed79541315/postern/abi"
)

// rates keep one payer from using up this node's time for checking signatures.
// Each payer has a bucket of tokens. A transaction whose signature is about to
// be checked needs one there, and takes it only once the signature is good: who
// sends garbage under another's key takes nothing away from the other. A token
// comes back when a transaction of the payer is committed, so that who waits
// for what was sent is never held up, however fast the chain is; besides, so
// many a second come back for what expires or is lost on the way.
type rates struct {
	perSecond int64 // tokens
	burst     int64 // tokens in a full bucket

	mu         sync.Mutex
	newer, old map[abi.Hash]*bucket // by payer; guarded by mu
}

// bucket is a payer's tokens, counted in thousandths: a token a second is one
// thousandth a ms.
type bucket struct {
	milli int64
	time  int64 // ms, up to which it was filled
}

// payerLimit is how many payers each half of the memory holds, some 100 bytes
// each. Of the two halves the older is dropped when the newer is full; a payer
// that is forgotten has a full bucket, as has one that never sent.
const payerLimit = 4096

// relayShare is how many times as much passes of what other nodes let in: each
// of at most 16 validators admits a payer's full rate, and a leader that
// refused what the others hold would be deposed for it.
const relayShare = 16

func newRates(perSecond, burst int) *rates {
	return &rates{perSecond: int64(perSecond), burst: 1000 * int64(burst), newer: map[abi.Hash]*bucket{}}
}

// has says whether a payer has a token at a time (ms).
func (r *rates) has(payer abi.Hash, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fill(payer, now).milli >= 1000
}

// take takes a token, if there still is one.
func (r *rates) take(payer abi.Hash, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.fill(payer, now)
	if b.milli < 1000 {
		return false
	}
	b.milli -= 1000
	return true
}

// giveBack returns a token for each of these committed transactions' payers.
func (r *rates) giveBack(payers []abi.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range payers {
		if b := r.find(p); b != nil {
			b.milli = min(b.milli+1000, r.burst)
		}
	}
}

// fill finds or makes a payer's bucket and fills it up to now. A clock that
// was set back begins anew: nothing is refilled twice, and nobody waits until
// it has caught up.
func (r *rates) fill(payer abi.Hash, now int64) *bucket {
	b := r.find(payer)
	if b == nil {
		b = &bucket{milli: r.burst, time: now}
		if len(r.newer) >= payerLimit {
			r.old, r.newer = r.newer, make(map[abi.Hash]*bucket)
		}
		r.newer[payer] = b
	}
	// So long a time fills any bucket, and its product does not overflow.
	passed := min(max(now-b.time, 0), r.burst/max(1, r.perSecond)+1)
	b.milli, b.time = min(b.milli+passed*r.perSecond, r.burst), now
	return b
}

// find finds a payer's bucket in either half. What is found in the older one
// moves to the newer, so that who sends all the time is never forgotten.
func (r *rates) find(payer abi.Hash) *bucket {
	b := r.newer[payer]
	if b != nil {
		return b
	}
	if b = r.old[payer]; b != nil && len(r.newer) < payerLimit {
		r.newer[payer] = b
		delete(r.old, payer)
	}
	return b
}
