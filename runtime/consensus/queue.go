package consensus

import (
	"fmt"
	"slices"
	"sync"

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
	state   requestState // guarded by the queue's mu
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

// queue holds the requests that wait, a first-in-first-out line for each
// payer served in turn, and mirrors those admitted to SmartBFT's pool in the
// order of their admission.
type queue struct {
	maxCount, maxBytes int
	maxGas             uint64

	mu    sync.Mutex
	known map[abi.Hash]*request // waiting and pooled
	lines map[abi.Hash]*line    // by payer
	turn  []*line               // with something waiting, the next in turn first
	count int                   // waiting
	bytes int                   // waiting
	pool  []*request
	load  load
}

// line is what waits of one payer.
type line struct {
	payer abi.Hash
	list  []*request // some may be gone
	live  int
}

// load is what is in the pool.
type load struct {
	bytes int
	gas   uint64
}

func newQueue(c *Config) *queue {
	return &queue{
		maxCount: c.QueueCount, maxBytes: c.QueueBytes, maxGas: c.PoolGas,
		known: map[abi.Hash]*request{}, lines: map[abi.Hash]*line{},
	}
}

// add puts a request in line. It says false when the request is there already.
func (q *queue) add(r *request) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.known[r.id]; ok {
		return false, nil
	}
	if q.count >= q.maxCount || q.bytes+len(r.raw) > q.maxBytes {
		return false, fmt.Errorf("%d transactions of %d bytes wait: %w", q.count, q.bytes, abi.CodeBusy)
	}
	s := q.lineOf(r.payer)
	if s.live >= max(1, q.maxCount/2) {
		return false, fmt.Errorf("%d transactions of this payer wait: %w", s.live, abi.CodeBusy)
	}
	s.list = append(s.list, r)
	s.live++
	q.count++
	q.bytes += len(r.raw)
	q.known[r.id] = r
	return true, nil
}

// admit moves requests to the pool as its bounds allow, one of each payer in
// turn, and returns them. What expired by now (ms) is dropped.
func (q *queue) admit(now int64) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	var admitted []*request
	for len(q.turn) > 0 {
		s := q.turn[0]
		r := s.list[0]
		if r.state == waiting && r.expires != 0 && r.expires < now {
			q.drop(r)
		}
		if r.state == waiting && !q.fits(r) {
			break
		}
		q.turn = q.turn[1:]
		if s.list = s.list[1:]; len(s.list) > 0 {
			q.turn = append(q.turn, s)
		} else {
			delete(q.lines, s.payer)
		}
		if r.state == waiting {
			q.leaveLine(r, s)
			q.enter(r)
			admitted = append(admitted, r)
		}
	}
	return admitted
}

// fits says whether the pool has room; one request always has.
func (q *queue) fits(r *request) bool {
	return len(q.pool) == 0 ||
		len(q.pool) < maxPooled && q.load.bytes+len(r.raw) <= maxPooledBytes && q.load.gas+min(r.gas, q.maxGas) <= q.maxGas
}

func (q *queue) leaveLine(r *request, s *line) {
	s.live--
	q.count--
	q.bytes -= len(r.raw)
}

func (q *queue) enter(r *request) {
	r.state = pooled
	q.known[r.id] = r
	q.pool = append(q.pool, r)
	q.load.bytes += len(r.raw)
	q.load.gas += min(r.gas, q.maxGas)
}

// addTick puts a tick into the pool if that is empty and nothing waits:
// otherwise a block comes anyway.
func (q *queue) addTick(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pool) > 0 || q.count > 0 {
		return false
	}
	q.enter(r)
	return true
}

// drop takes a request out, wherever it is. The pool's list still holds it.
func (q *queue) drop(r *request) {
	switch r.state {
	case waiting:
		q.leaveLine(r, q.lines[r.payer])
	case pooled:
		q.load.bytes -= len(r.raw)
		q.load.gas -= min(r.gas, q.maxGas)
	}
	r.state = gone
	delete(q.known, r.id)
}

// batch is the transactions for the next block, in order of admission and at
// most maxBatchBytes. first is what SmartBFT holds to be next: it is among
// them even if the queue has lost it.
func (q *queue) batch(first [][]byte) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	var raws [][]byte
	size := 0
	for _, b := range first {
		if id, raw := splitPoolRequest(b); q.known[id] == nil && raw != nil {
			raws, size = append(raws, raw), size+len(raw)
		}
	}
	for _, r := range q.pool {
		if size += len(r.raw); size > maxBatchBytes {
			break
		}
		raws = append(raws, r.raw)
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

// prune removes and returns the requests in the pool that are bad, and ticks.
func (q *queue) prune(bad func(raw []byte) bool) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
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
			q.lineOf(r.payer).first(r)
			q.count++
			q.bytes += len(r.raw)
		}
	}
}

// first puts a request in front of the line.
func (s *line) first(r *request) {
	r.state = waiting
	s.list = slices.Insert(s.list, 0, r)
	s.live++
}

// lineOf returns a payer's line, begun if need be.
func (q *queue) lineOf(payer abi.Hash) *line {
	s := q.lines[payer]
	if s == nil {
		s = &line{payer: payer}
		q.lines[payer] = s
		q.turn = append(q.turn, s)
	}
	return s
}

// sizes is how many requests wait and how many are in the pool.
func (q *queue) sizes() (waiting, pooled int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count, len(q.pool)
}
