package consensus

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// SmartBFT watches whatever is in a validator's pool: 0.3 s after it came there
// it is forwarded to the leader, and 3 s later the validator complains. Under a
// flood of one payer validators hold different requests of that payer, since each
// line has room for some only, and an honest leader cannot put all into blocks in
// time. So a validator that does not lead has the oldest few of each payer in its
// pool, and what it forwards is not one more transaction that finds a full line:
// the leader takes it into its pool at once, before the rest of that payer's.
//
// A payer is protected from a leader that leaves it out, by whoever has heard of
// it: of its transactions the oldest are watched, and each becomes one of them.

// watchShare is what of one payer a validator that does not lead has in its pool,
// or one request: a quarter of what a block takes of those who flood, so that
// what three or four watch is in the next block or the one after.
func (q *queue) watchShare() load {
	share := q.floodShare()
	return load{share.count / 4, share.bytes / 4, share.gas / 4}
}

// watch moves the oldest few requests of each payer to the pool of a validator
// that does not lead, and returns them. What expired by now (ms) is dropped.
func (q *queue) watch(now int64) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.move(now, func(r *request, s *line) bool {
		return s.pooled.count == 0 || s.pooled.within(q.of(r), q.watchShare())
	})
}

// watchedBefore is by how much, in ms, a request that another validator watches
// counts as older than it is in the leader's pool: more than it was in the
// other's before it was forwarded, and less than lets the leader's own grow so
// old that it steps down.
const watchedBefore = 1500

// maxGuests bounds the requests that the leader takes into its pool for one
// validator which it had not in line itself: as much as one that led before, and
// had its pool full of one payer's, may watch.
func (q *queue) maxGuests() load {
	return load{maxPayerPooled, q.maxPool.bytes / 4, q.maxPool.gas / 2}
}

// insist takes a request that another validator watches into the leader's pool,
// and returns it if SmartBFT has to be given it.
func (q *queue) insist(r *request, from uint64) (*request, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known, with := q.known[r.id], q.guests[from]
	switch {
	case known != nil && known.state == pooled:
		known.since = min(known.since, q.now-watchedBefore)
		return nil, nil
	case known != nil:
		r = known
		q.leaveLine(r, q.lines[r.payer])
	case !with.within(q.of(r), q.maxGuests()):
		return nil, abi.CodeBusy
	default:
		with.add(q.of(r))
		q.guests[from], r.guest = with, from
	}
	q.enter(r, q.lineOf(r.payer))
	r.since -= watchedBefore
	return r, nil
}

// sendAway gives up the room of a guest that leaves the pool. It needs mu.
func (q *queue) sendAway(r *request) {
	if r.guest == 0 {
		return
	}
	left := q.guests[r.guest]
	left.sub(q.of(r))
	if q.guests[r.guest] = left; left.count == 0 {
		delete(q.guests, r.guest)
	}
	r.guest = 0
}

// watched begins a message among those of consensus that holds a transaction
// which the sender watches: no message of SmartBFT begins so. It comes from a
// validator only, and not behind a flood of transactions.
const watched = 0

// SendTransaction tells the leader what this validator watches. SmartBFT calls it
// forwarding.
func (r *replica) SendTransaction(to uint64, request []byte) {
	if _, raw := splitPoolRequest(request); r.cfg.Transport != nil && raw != nil {
		r.cfg.Transport.Send(to, append([]byte{watched}, raw...))
	}
}

// heardWatched takes a transaction that another validator watches.
func (e *Engine) heardWatched(from uint64, raw []byte) {
	r := e.replicaFor(from)
	if r == nil {
		return
	}
	tx, payer, err := e.cfg.App.CheckRelayed(raw)
	if err == nil && tx.Tick == 0 {
		err = r.takeWatched(from, tx, payer)
	}
	if err != nil {
		e.cfg.Logger.Debug("passed over what another validator watches", "from", from, "err", err)
	}
}

func (r *replica) takeWatched(from uint64, tx *chain.Tx, payer abi.Hash) error {
	if !r.leading() {
		_, err := r.queue.add(newRequest(tx, payer, 0))
		poke(r.wake)
		return err
	}
	q, err := r.queue.insist(newRequest(tx, payer, 0), from)
	if q != nil {
		r.submit([]*request{q})
	}
	return err
}

// leading says whether SmartBFT holds this validator for the leader.
func (r *replica) leading() bool { return r.bft.GetLeaderID() == r.cfg.ID }
