package consensus

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
)

// made is a request of a sender without a real transaction.
func made(sender string, n uint64, gas uint64) *request {
	var id abi.Hash
	copy(id[:], sender)
	binary.BigEndian.PutUint64(id[24:], n)
	return &request{id: id, raw: binary.BigEndian.AppendUint64([]byte(sender), n), payer: sha256.Sum256([]byte(sender)), gas: gas}
}

func testQueue(c Config) *queue {
	return newQueue(&Config{QueueCount: orDefault(c.QueueCount, 100), QueueBytes: orDefault(c.QueueBytes, 1<<20), PoolGas: orDefault(c.PoolGas, 1000)})
}

func mustAdd(t *testing.T, q *queue, r *request) {
	t.Helper()
	if added, err := q.add(r); !added || err != nil {
		t.Fatalf("add: %v, %v", added, err)
	}
}

func names(list []*request) (s string) {
	for _, r := range list {
		s += string(r.id[:1]) + string('0'+rune(r.id[31])) + " "
	}
	return s
}

// A sender with much to say does not delay one with little.
func TestSendersTakeTurns(t *testing.T) {
	q := testQueue(Config{})
	for n := range uint64(3) {
		mustAdd(t, q, made("a", n, 1))
	}
	mustAdd(t, q, made("b", 0, 1))
	mustAdd(t, q, made("c", 0, 1))
	mustAdd(t, q, made("c", 1, 1))
	if got, want := names(q.admit(0)), "a0 b0 c0 a1 c1 a2 "; got != want {
		t.Fatalf("admitted %s, want %s", got, want)
	}
}

// A validator that lagged takes its own clients' transactions as soon as it has
// synced, though its lines were full of what others had decided by then.
func TestPruneMakesRoom(t *testing.T) {
	q := testQueue(Config{QueueCount: 10, PoolGas: 4})
	for n := range uint64(7) {
		mustAdd(t, q, made("a", n, 1))
		q.admit(0)
	}
	if _, err := q.add(made("a", 7, 1)); !errors.Is(err, abi.CodeBusy) {
		t.Fatalf("a full line takes one more: %v", err)
	}
	kept := made("a", 5, 1)
	removed := q.prune(func(raw []byte) bool { return !bytes.Equal(raw, kept.raw) })
	if waiting, pooled := q.sizes(); len(removed) != 2 || waiting != 1 || pooled != 0 {
		t.Errorf("%d removed from the pool, %d wait and %d are pooled", len(removed), waiting, pooled)
	}
	mustAdd(t, q, made("a", 7, 1))
	if got, want := names(q.admit(0)), "a5 a7 "; got != want {
		t.Errorf("admitted %s, want %s", got, want)
	}
}

func TestQueueBounds(t *testing.T) {
	q := testQueue(Config{QueueCount: 4})
	mustAdd(t, q, made("a", 0, 1))
	mustAdd(t, q, made("a", 1, 1))
	if added, err := q.add(made("a", 1, 1)); added || err != nil {
		t.Errorf("the same again: %v, %v", added, err)
	}
	if _, err := q.add(made("a", 2, 1)); !errors.Is(err, abi.CodeBusy) {
		t.Errorf("more than half of the line for one sender: %v", err)
	}
	mustAdd(t, q, made("b", 0, 1))
	mustAdd(t, q, made("c", 0, 1))
	if _, err := q.add(made("d", 0, 1)); !errors.Is(err, abi.CodeBusy) {
		t.Errorf("a fifth of four: %v", err)
	}
	small := testQueue(Config{QueueBytes: 20})
	mustAdd(t, small, made("a", 0, 1))
	mustAdd(t, small, made("b", 0, 1))
	if _, err := small.add(made("c", 0, 1)); !errors.Is(err, abi.CodeBusy) {
		t.Errorf("27 bytes of 20: %v", err)
	}
}

// The pool takes as much gas as it may, and one request in any case; of one
// payer as much as is left free, or what a block takes of one that floods among
// others.
func TestPoolGas(t *testing.T) {
	q := testQueue(Config{PoolGas: 1000})
	mustAdd(t, q, made("a", 0, 5000))
	for n := range uint64(5) {
		mustAdd(t, q, made("a", n+1, 200))
	}
	mustAdd(t, q, made("b", 0, 400))
	mustAdd(t, q, made("b", 1, 400))
	for n, want := range []string{"a0 ", "b0 a1 ", "b1 a2 ", "a3 a4 a5 "} {
		now := int64(n) * 2 * crowdTime
		list := q.admit(now)
		if got := names(list); got != want {
			t.Fatalf("admitted %s, want %s", got, want)
		}
		if again := q.admit(now); again != nil {
			t.Fatalf("admitted %s beyond the gas", names(again))
		}
		q.settle(ids(list), 0)
	}
}

func ids(list []*request) []abi.Hash {
	out := make([]abi.Hash, len(list))
	for i, r := range list {
		out[i] = r.id
	}
	return out
}

// What expires leaves the line and the pool; what a block holds leaves both.
func TestSettle(t *testing.T) {
	q := testQueue(Config{})
	for n := range uint64(4) {
		r := made("a", n, 1)
		r.expires = int64(10 * (n + 1))
		mustAdd(t, q, r)
	}
	if got := names(q.admit(15)); got != "a1 a2 a3 " {
		t.Fatalf("admitted %s", got)
	}
	mustAdd(t, q, made("b", 7, 1))
	removed := q.settle([]abi.Hash{made("a", 2, 1).id, made("b", 7, 1).id}, 25)
	if got := names(removed); got != "a1 " {
		t.Fatalf("removed %s", got)
	}
	if waiting, pooled := q.sizes(); waiting != 0 || pooled != 1 {
		t.Fatalf("%d wait, %d are in the pool", waiting, pooled)
	}
	if got := q.admit(25); got != nil {
		t.Fatalf("admitted %s", names(got))
	}
}

// SmartBFT's own request is in the batch even when the queue has lost it, and
// once only when it has not.
func TestBatch(t *testing.T) {
	q := testQueue(Config{})
	r := made("a", 1, 1)
	mustAdd(t, q, r)
	q.admit(0)
	lost := made("b", 1, 1)
	got := q.batch([][]byte{poolRequest(lost.id, lost.raw), poolRequest(r.id, r.raw), {1, 2}})
	if len(got) != 2 || string(got[0]) != string(lost.raw) || string(got[1]) != string(r.raw) {
		t.Fatalf("batch %q", got)
	}
	if q.addTick(&request{tick: true}) {
		t.Fatal("a tick beside a request")
	}
}

// Whatever the order of calls, the counts are those of what is held, each
// sender's order is kept, and no request is lost or admitted twice.
func TestQueueAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	q := testQueue(Config{QueueCount: 50, QueueBytes: 450, PoolGas: 20})
	next := map[string]uint64{}
	admitted := map[string]uint64{}
	var pool []*request
	for range 50_000 {
		switch random.IntN(4) {
		case 0, 1:
			s := string('a' + rune(random.IntN(6)))
			if added, err := q.add(made(s, next[s]+1, random.Uint64N(8))); added && err == nil {
				next[s]++
			}
		case 2:
			for _, r := range q.admit(0) {
				n := binary.BigEndian.Uint64(r.id[24:])
				if n <= admitted[string(r.id[:1])] {
					t.Fatalf("%s%d after %d", string(r.id[:1]), n, admitted[string(r.id[:1])])
				}
				admitted[string(r.id[:1])] = n
				pool = append(pool, r)
			}
		case 3:
			k := random.IntN(len(pool) + 1)
			q.settle(ids(pool[:k]), 0)
			pool = slices.Clone(pool[k:])
		}
		checkCounts(t, q, len(pool))
	}
	for s := range next {
		if next[s] < 100 {
			t.Errorf("sender %s got only %d through", s, next[s])
		}
	}
}

func checkCounts(t *testing.T, q *queue, pooled int) {
	t.Helper()
	var waits, pool load
	for p, s := range q.lines {
		var own, ownPool load
		for _, r := range s.list {
			if r.state == waiting {
				own.add(q.of(r))
			}
		}
		for _, r := range q.pool {
			if r.payer == p {
				ownPool.add(q.of(r))
			}
		}
		if own != s.waits || ownPool != s.pooled || len(s.list) == 0 && ownPool.count == 0 {
			t.Fatalf("a payer has %+v waiting and %+v pooled; its line says %+v and %+v", own, ownPool, s.waits, s.pooled)
		}
		waits.add(own)
		pool.add(ownPool)
	}
	if waits != q.waits || pool != q.load || pool.count != pooled || len(q.known) != waits.count+pooled {
		t.Fatalf("held %+v, pool %+v, known %d; the queue says %+v, %+v", waits, pool, len(q.known), q.waits, q.load)
	}
}

// What a client gave is passed on again, ever more rarely, until it is settled,
// and only so much at a time; what another validator passed on is not.
func TestPassedAgain(t *testing.T) {
	q := testQueue(Config{QueueCount: 4096})
	now := time.Unix(0, 0)
	var own []abi.Hash
	for n := range uint64(2 * maxPassed) {
		r := made("a", n, 1)
		mustAdd(t, q, r)
		if n%2 == 0 {
			q.passed(r, now)
			own = append(own, r.id)
		}
	}
	q.admit(0)
	for _, c := range []struct {
		at    time.Duration
		count int
	}{{passAfter - 1, 0}, {passAfter, maxPassed}, {passAfter, 0}, {3*passAfter - 1, 0}, {3 * passAfter, maxPassed}, {3*passAfter + passMost, maxPassed}} {
		if n := len(q.overdue(now.Add(c.at))); n != c.count {
			t.Errorf("after %v %d are passed on, want %d", c.at, n, c.count)
		}
	}
	for n := range uint64(maxPassed) {
		r := made("b", n, 1)
		mustAdd(t, q, r)
		q.passed(r, now)
	}
	if n := len(q.overdue(now.Add(time.Hour))); n != maxPassed {
		t.Errorf("%d are passed on at a time", n)
	}
	q.settle(own, 0)
	for _, want := range []int{maxPassed, 0} {
		if n := len(q.overdue(now.Add(2 * time.Hour))); n != want {
			t.Errorf("%d are passed on when the first are settled, want %d", n, want)
		}
	}
}
