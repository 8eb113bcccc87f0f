package consensus

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/seed79541315/postern/abi"
)

// A validator that does not lead has the oldest few of each payer in its pool,
// and one in any case; when it leads it takes the rest.
func TestWatchesTheOldestOfEach(t *testing.T) {
	q := testQueue(Config{QueueCount: 1000, PoolGas: 1_000_000})
	for n := range uint64(100) {
		mustAdd(t, q, made("a", n, 1))
		mustAdd(t, q, made("b", n, 4000)) // a fifth of what a block takes of those who flood
		mustAdd(t, q, made("c", n, 50_000))
	}
	count := map[byte]int{}
	for _, r := range q.watch(0) {
		count[r.id[0]]++
	}
	if count['a'] != floodCount/4 || count['b'] != 1 || count['c'] != 1 {
		t.Errorf("it watches %d of a, %d of b and %d of c", count['a'], count['b'], count['c'])
	}
	if got := q.watch(0); got != nil {
		t.Errorf("it watches %s as well", names(got))
	}
	oldest := made("a", 0, 1)
	q.settle([]abi.Hash{oldest.id}, 0)
	if got := names(q.watch(0)); got != "a8 " {
		t.Errorf("after a block it watches %s as well", got)
	}
	if got := len(q.admit(0)); got < 30 {
		t.Errorf("a leader takes %d more", got)
	}
}

// What others watch comes before the rest of its payer's, and not before what has
// grown old.
func TestWatchedComesFirst(t *testing.T) {
	q := testQueue(Config{QueueCount: 1000, PoolGas: 1_000_000})
	for n := range uint64(4) {
		mustAdd(t, q, made("a", n, 1))
	}
	q.admit(1000)
	for n := range uint64(4) {
		mustAdd(t, q, made("a", n+4, 1))
	}
	mustAdd(t, q, made("b", 0, 1))
	q.admit(1000 + watchedBefore + 1)
	for _, r := range []*request{made("a", 6, 1), made("a", 9, 1), made("a", 6, 1)} {
		if _, err := q.insist(r, 2); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := names(q.inTurns()), "a0 b0 a1 a2 a3 a6 a9 a4 a5 a7 "; got != want {
		t.Errorf("a block holds %s, want %s", got, want)
	}
}

// A validator that insists on everything gets no more room in the leader's pool
// than its part, and takes none from the others.
func TestInsistingIsBounded(t *testing.T) {
	q := testQueue(Config{QueueCount: 10_000, PoolGas: 1_000_000_000})
	inLine := made("x", 0, 1)
	mustAdd(t, q, inLine)
	var let []abi.Hash
	for n := range uint64(5000) {
		r := made(string('a'+rune(n%20)), n, 1)
		given, err := q.insist(r, 2)
		if errors.Is(err, abi.CodeBusy) {
			continue
		}
		if err != nil || given != r {
			t.Fatalf("request %d: %v", n, err)
		}
		let = append(let, r.id)
	}
	if len(let) != maxPayerPooled {
		t.Errorf("it has %d in the leader's pool", len(let))
	}
	if given, err := q.insist(made("x", 0, 1), 2); err != nil || given != inLine {
		t.Errorf("what was in line is not taken: %v", err)
	}
	if _, err := q.insist(made("y", 0, 1), 3); err != nil {
		t.Errorf("another validator finds no room: %v", err)
	}
	q.settle(let[:1], 0)
	if _, err := q.insist(made("y", 1, 1), 2); err != nil {
		t.Errorf("what was decided takes room: %v", err)
	}
	q.restart()
	if waiting, pooled := q.sizes(); waiting != maxPayerPooled+2 || pooled != 0 || len(q.guests) != 0 {
		t.Errorf("after a start anew %d wait, %d are pooled, and %d validators have guests", waiting, pooled, len(q.guests))
	}
}

// Only validators are heard, and only transactions that the ledger lets in.
func TestWatchedIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 1, 2, 3, 4)
		s.commit(1, 1, 1, 2, 3, 4)
		leader := s.engine(1)
		good := transaction(t, 2)
		for from, message := range map[uint64][]byte{
			1: append([]byte{watched}, good...),                       // itself
			9: append([]byte{watched}, good...),                       // nobody
			2: {watched},                                              // nothing
			3: append([]byte{watched}, transaction(t, 1)...),          // in a block already
			4: append([]byte{watched, watched}, transaction(t, 3)...), // no transaction
		} {
			leader.Handle(from, message)
		}
		synctest.Wait()
		if stats := leader.Stats(); stats.Pooled+stats.Waiting > 0 {
			t.Errorf("the leader holds %+v", stats)
		}
		leader.Handle(2, append([]byte{watched}, good...))
		s.await(txID(t, good), 1, 2, 3, 4)
	})
}
