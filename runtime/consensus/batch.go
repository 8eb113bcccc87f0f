package consensus

import (
	"cmp"
	"slices"

	"github.com/seed79541315/postern/abi"
)

// batch is the transactions for the next block, one of each payer in turn, at
// most maxBatchBytes. first is what SmartBFT holds to be next: it is among
// them also if the queue has lost it.
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
	for _, r := range q.inTurns() {
		if size += len(r.raw); size > maxBatchBytes {
			break
		}
		raws = append(raws, r.raw)
	}
	return raws
}

// floodShare is how much of one block all those get together that have more on
// their way than half of the pool, while there are others: they are in no hurry,
// and a block that is short is soon followed by the next. It is what takes about
// as long as making an empty block.
func (q *queue) floodShare() load { return load{floodCount, maxBatchBytes / 4, q.maxPool.gas / 50} }

const floodCount = 32

// crowdTime, in ms, is how long after the last that two payers shared the pool
// a payer counts as one of several.
const crowdTime = 2000

// crowded says whether payers share the pool.
func (q *queue) crowded() bool { return q.now-q.mixed < crowdTime }

// inTurns orders the pool for a block: the oldest of each payer, then the
// second of each. The oldest of all, which SmartBFT holds to be next unless
// others watch some, is first.
func (q *queue) inTurns() []*request {
	byPayer := map[abi.Hash][]*request{}
	var payers []abi.Hash
	pool := slices.Clone(q.pool)
	slices.SortStableFunc(pool, func(a, b *request) int { return cmp.Compare(a.since, b.since) })
	for _, r := range pool {
		if byPayer[r.payer] == nil {
			payers = append(payers, r.payer)
		}
		byPayer[r.payer] = append(byPayer[r.payer], r)
	}
	list := make([]*request, 0, len(pool))
	if q.crowded() {
		q.cutFloods(byPayer)
	}
	for len(payers) > 0 {
		left := payers[:0]
		for _, p := range payers {
			list = append(list, byPayer[p][0])
			if byPayer[p] = byPayer[p][1:]; len(byPayer[p]) > 0 {
				left = append(left, p)
			}
		}
		payers = left
	}
	return list
}

// floods says whether a payer has more on its way than half of the pool.
func (q *queue) floods(payer abi.Hash) bool {
	s := q.lines[payer]
	if s == nil {
		return false // a tick's
	}
	all := s.pooled
	all.add(s.waits)
	return !all.within(all, q.maxPool)
}

// cutFloods leaves of the requests of those who flood what fits their share of
// a block, and one of each in any case.
func (q *queue) cutFloods(byPayer map[abi.Hash][]*request) {
	var floods []abi.Hash
	for p := range byPayer {
		if q.floods(p) {
			floods = append(floods, p)
		}
	}
	share := q.floodShare()
	n := len(floods)
	for _, p := range floods {
		byPayer[p] = q.cut(byPayer[p], load{share.count / n, share.bytes / n, share.gas / uint64(n)})
	}
}

// cut gives the first requests that fit a share, one in any case.
func (q *queue) cut(list []*request, share load) []*request {
	var sum load
	for i, r := range list {
		if i > 0 && !sum.within(q.of(r), share) {
			return list[:i]
		}
		sum.add(q.of(r))
	}
	return list
}
