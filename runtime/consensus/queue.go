package consensus

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// request is a transaction on its way into a block.
type request struct {
	id      abi.Hash // in SmartBFT's pool
	raw     []byte
	payer   abi.Hash
	gas     uint64
	expires int64 // ms; 0 never
	tick    bool
	state   requestState // guarded by the queue's mu, as what follows
	since   int64        // ms, when it was admitted, or what counts as that
	guest   uint64       // the validator for which it was let into the pool; 0: it was in line
	again   time.Time    // when it is passed on again; zero: never
	wait    time.Duration
}

type requestState uint8

const (
	waiting requestState = iota
	pooled
	gone
)

// newRequest keeps a copy of the transaction.
func newRequest(tx *chain.Tx, payer abi.Hash, height uint64) *request {
	return &request{
		id: poolID(tx, height), raw: append([]byte(nil), tx.Raw...), payer: payer,
		gas: tx.Gas, expires: tx.ValidUntil, tick: tx.Tick != 0,
	}
}

// queue holds the requests that wait, a first-in-first-out line for each payer
// served in turn, and mirrors those admitted to SmartBFT's pool in the order of
// their admission.
//
// Of every room, the line's as well as the pool's, one payer may have as much
// as is left free: half if it is alone, a third if there are two of the kind,
// and whoever comes late still finds room.
type queue struct {
	maxLine, maxPool load

	mu     sync.Mutex
	known  map[abi.Hash]*request // waiting and pooled
	lines  map[abi.Hash]*line    // by payer, with something waiting or pooled
	turn   []*line               // with something waiting, the next in turn first
	waits  load
	pool   []*request      // some may be gone
	load   load            // of the pool
	guests map[uint64]load // of the pool, by the validator that watches it
	now    int64           // ms, of the last admission
	last   abi.Hash        // the payer admitted last
	mixed  int64           // ms, when two payers were last admitted one after the other
}

// line is what one payer has.
type line struct {
	payer  abi.Hash
	list   []*request // that wait; some may be gone, or in the pool
	waits  load
	pooled load
}

// load is how much requests take.
type load struct {
	count, bytes int
	gas          uint64
}

func (l *load) add(m load) { l.count, l.bytes, l.gas = l.count+m.count, l.bytes+m.bytes, l.gas+m.gas }

func (l *load) sub(m load) { l.count, l.bytes, l.gas = l.count-m.count, l.bytes-m.bytes, l.gas-m.gas }

// within says whether l and m together are no more than limit.
func (l load) within(m, limit load) bool {
	l.add(m)
	return l.count <= limit.count && l.bytes <= limit.bytes && l.gas <= limit.gas
}

// of is what a request takes; none takes more gas than the pool has.
func (q *queue) of(r *request) load { return load{1, len(r.raw), min(r.gas, q.maxPool.gas)} }

func newQueue(c *Config) *queue {
	return &queue{
		maxLine: load{c.QueueCount, c.QueueBytes, math.MaxUint64},
		maxPool: load{maxPooled, maxPooledBytes, c.PoolGas},
		known:   map[abi.Hash]*request{}, lines: map[abi.Hash]*line{}, guests: map[uint64]load{}, mixed: math.MinInt64 / 2,
	}
}

// add puts a request in line. It says false when the request is there already.
func (q *queue) add(r *request) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.known[r.id]; ok {
		return false, nil
	}
	var of load
	if s := q.lines[r.payer]; s != nil {
		of = s.waits
	}
	// Twice the payer's own, and what the others have.
	with := q.waits
	with.add(of)
	if need := q.of(r); !with.within(need, q.maxLine) {
		return false, fmt.Errorf("%d transactions of %d bytes wait, %d of this payer: %w", q.waits.count, q.waits.bytes, of.count, abi.CodeBusy)
	}
	q.wait(r, q.lineOf(r.payer))
	return true, nil
}

// wait puts a request at the end of its payer's line.
func (q *queue) wait(r *request, s *line) {
	if len(s.list) == 0 {
		q.turn = append(q.turn, s)
	}
	r.state = waiting
	s.list = append(s.list, r)
	s.waits.add(q.of(r))
	q.waits.add(q.of(r))
	q.known[r.id] = r
}

// admit moves requests to the pool of a leader as its bounds allow, one of each
// payer in turn, and returns them. What expired by now (ms) is dropped.
func (q *queue) admit(now int64) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.move(now, q.shares)
}

// move is admit of what a payer may have in the pool. It needs mu.
func (q *queue) move(now int64, may func(*request, *line) bool) []*request {
	q.now = now
	var admitted []*request
	for passed := 0; passed < len(q.turn); {
		s := q.turn[0]
		r := s.list[0]
		if r.state == waiting && r.expires != 0 && r.expires < now {
			q.drop(r)
		}
		if r.state == waiting && !q.fits(r) {
			break // and this one is first when there is room
		}
		q.turn = q.turn[1:]
		if r.state == waiting && !may(r, s) {
			q.turn = append(q.turn, s)
			passed++
			continue
		}
		passed = 0
		if s.list = s.list[1:]; len(s.list) > 0 {
			q.turn = append(q.turn, s)
		}
		if r.state == waiting {
			q.leaveLine(r, s)
			q.enter(r, s)
			admitted = append(admitted, r)
		}
		q.forget(s)
	}
	return admitted
}

// fits says whether the pool has room; one request always has.
func (q *queue) fits(r *request) bool {
	return q.load.count == 0 || q.load.within(q.of(r), q.maxPool)
}

// maxPayerPooled is how many requests of one payer the pool takes: sixteen
// blocks' share of one that floods, so that none grows so old there, with blocks
// of a fifth of a second, that its holders depose the leader.
const maxPayerPooled = 16 * floodCount

// shares says whether a payer has no more of the pool, with another request,
// than is left free, nor one that floods among others more than goes into one
// block; it may have one in any case.
func (q *queue) shares(r *request, s *line) bool {
	with := q.load
	with.add(s.pooled)
	switch {
	case s.pooled.count == 0:
		return true
	case s.pooled.count >= maxPayerPooled || !with.within(q.of(r), q.maxPool):
		return false
	}
	return !q.crowded() || !q.floods(s.payer) || s.pooled.within(q.of(r), q.floodShare())
}

func (q *queue) leaveLine(r *request, s *line) {
	s.waits.sub(q.of(r))
	q.waits.sub(q.of(r))
}

func (q *queue) enter(r *request, s *line) {
	r.state, r.since = pooled, q.now
	q.known[r.id] = r
	q.pool = append(q.pool, r)
	s.pooled.add(q.of(r))
	q.load.add(q.of(r))
	if q.last != s.payer {
		q.last, q.mixed = s.payer, q.now
	}
}

// forget drops a line with nothing in it.
func (q *queue) forget(s *line) {
	if len(s.list) == 0 && s.pooled.count == 0 {
		delete(q.lines, s.payer)
	}
}

// addTick puts a tick into the pool if that is empty and nothing waits:
// otherwise a block comes anyway.
func (q *queue) addTick(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pool) > 0 || q.waits.count > 0 {
		return false
	}
	r.state = pooled
	q.known[r.id] = r
	q.pool = append(q.pool, r)
	return true
}

// drop takes a request out, wherever it is. The lists still hold it.
func (q *queue) drop(r *request) {
	s := q.lines[r.payer]
	switch {
	case r.tick:
	case r.state == waiting:
		q.leaveLine(r, s)
	case r.state == pooled:
		s.pooled.sub(q.of(r))
		q.load.sub(q.of(r))
		q.sendAway(r)
		q.forget(s)
	}
	r.state = gone
	delete(q.known, r.id)
}

// A validator passes a client's transaction on at once, and again when it is in
// no block after passAfter, twice that, and so on up to passMost: those who should
// have heard may have been out of reach. It looks every passAfter for those that
// are due, and passes on so many at a time.
const (
	passAfter = 300 * time.Millisecond
	passMost  = 3 * time.Second
	maxPassed = 512
)

// passed notes that a client's request was passed on.
func (q *queue) passed(r *request, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.again, r.wait = now.Add(passAfter), passAfter
}

// overdue is what is to be passed on again, the pool's first.
func (q *queue) overdue(now time.Time) (raws [][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lists := [][]*request{q.pool}
	for _, s := range q.turn {
		lists = append(lists, s.list)
	}
	for _, list := range lists {
		for _, r := range list {
			if len(raws) == maxPassed {
				return raws
			}
			if r.state == gone || r.again.IsZero() || now.Before(r.again) {
				continue
			}
			r.wait = min(2*r.wait, passMost)
			r.again = now.Add(r.wait)
			raws = append(raws, r.raw)
		}
	}
	return raws
}

// settle removes what a block of this time (ms) holds, what expired by it, and
// every tick. It returns those that were in the pool but not in the block.
func (q *queue) settle(ids []abi.Hash, time int64) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		if r := q.known[id]; r != nil {
			q.drop(r)
		}
	}
	return q.sweep(func(r *request) bool { return r.tick || r.expires != 0 && r.expires < time })
}

// prune removes the requests that are bad, and ticks, and returns those that
// were in the pool. The lines of a validator that lagged fill with what was
// decided without it.
func (q *queue) prune(bad func(raw []byte) bool) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.turn {
		for _, r := range s.list {
			if r.state == waiting && bad(r.raw) {
				q.drop(r)
			}
		}
	}
	return q.sweep(func(r *request) bool { return r.tick || bad(r.raw) })
}

func (q *queue) sweep(bad func(*request) bool) []*request {
	var removed []*request
	kept := q.pool[:0]
	for _, r := range q.pool {
		if r.state == pooled && bad(r) {
			q.drop(r)
			removed = append(removed, r)
		}
		if r.state == pooled {
			kept = append(kept, r)
		}
	}
	clear(q.pool[len(kept):])
	q.pool = kept
	return removed
}

// restart empties the pool, which ended with its engine: what it held is first
// in its payers' lines again, beyond their bounds if need be. Ticks are made
// anew.
func (q *queue) restart() {
	q.mu.Lock()
	defer q.mu.Unlock()
	pool := q.pool
	q.pool, q.load = nil, load{}
	for _, r := range slices.Backward(pool) {
		switch {
		case r.state != pooled:
		case r.tick:
			r.state = gone
			delete(q.known, r.id)
		default:
			s := q.lines[r.payer]
			s.pooled.sub(q.of(r))
			q.sendAway(r)
			q.wait(r, s)
			// It was before all that waits.
			copy(s.list[1:], s.list)
			s.list[0] = r
		}
	}
}

// lineOf returns a payer's line, begun if need be.
func (q *queue) lineOf(payer abi.Hash) *line {
	s := q.lines[payer]
	if s == nil {
		s = &line{payer: payer}
		q.lines[payer] = s
	}
	return s
}

// sizes is how many requests wait and how many are in the pool.
func (q *queue) sizes() (waiting, pooled int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits.count, len(q.pool)
}
