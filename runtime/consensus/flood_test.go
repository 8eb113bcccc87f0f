package consensus

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// A flood is simulated on the queue itself, in virtual time. A chain makes
// block after block; each takes a fixed time and some for each transaction, as
// four validators were measured: 10 ms and 0.15 ms.
const (
	blockTime = 10_000 // microseconds
	txTime    = 150
	capacity  = 1e6 / txTime // transactions a second, were blocks for nothing
)

// payment is somebody's stream of transactions.
type payment struct {
	payer   abi.Hash
	every   int64 // microseconds between two, on average
	size    int   // bytes
	gas     uint64
	next    int64
	sent    uint64
	waits   []int64 // microseconds until the end of the block, of each
	refused int
}

func newPayment(name string, perSecond float64, size int, gas uint64) *payment {
	return &payment{payer: sha256.Sum256([]byte(name)), every: int64(1e6 / perSecond), size: size, gas: gas}
}

// floodTrial is a chain with its queue.
type floodTrial struct {
	t       *testing.T
	q       *queue
	random  *rand.Rand
	now     int64 // microseconds
	streams []*payment
	came    map[abi.Hash]*payment
	at      map[abi.Hash]int64
	most    load // that ever waited or was pooled
}

func tryFlood(t *testing.T, seconds int64, streams ...*payment) *floodTrial {
	c := Config{QueueCount: 4096, QueueBytes: 8 << 20, PoolGas: 1_000_000_000}
	s := &floodTrial{t: t, q: newQueue(&c), random: rand.New(rand.NewPCG(1, 2)), streams: streams,
		came: map[abi.Hash]*payment{}, at: map[abi.Hash]int64{}}
	for s.now < seconds*1e6 {
		s.arrive()
		s.q.admit(1_800_000_000_000 + s.now/1000)
		s.block()
	}
	return s
}

// arrive adds all that was sent until now, in the order of their times.
func (s *floodTrial) arrive() {
	for {
		first := slices.MinFunc(s.streams, func(a, b *payment) int { return int(a.next - b.next) })
		if first.next > s.now {
			return
		}
		first.sent++
		r := &request{payer: first.payer, raw: make([]byte, first.size), gas: first.gas}
		r.id = sha256.Sum256(binary.BigEndian.AppendUint64(first.payer[:], first.sent))
		copy(r.raw, r.id[:])
		if _, err := s.q.add(r); err != nil {
			first.refused++
		} else {
			s.came[r.id], s.at[r.id] = first, first.next
		}
		first.next += 1 + int64(s.random.ExpFloat64()*float64(first.every))
	}
}

// block makes a block of what the pool gives, within a block's own gas.
func (s *floodTrial) block() {
	took, gas := int64(blockTime), uint64(100_000_000)
	var ids []abi.Hash
	for _, raw := range s.q.batch(nil) {
		id := abi.Hash(raw[:32])
		if g := s.came[id].gas; g > gas {
			break
		} else {
			gas -= g
		}
		took += txTime * max(1, int64(s.came[id].gas/300_000))
		ids = append(ids, id)
	}
	s.most.count = max(s.most.count, s.q.waits.count+s.q.load.count)
	s.most.bytes = max(s.most.bytes, s.q.waits.bytes+s.q.load.bytes)
	s.now += took
	for _, id := range ids {
		p := s.came[id]
		p.waits = append(p.waits, s.now-s.at[id])
		delete(s.came, id)
		delete(s.at, id)
	}
	s.q.settle(ids, 0)
}

// quantile of all streams' waits but the first's.
func (s *floodTrial) quantile(of float64, streams []*payment) int64 {
	var all []int64
	for _, p := range streams {
		if p.refused > 0 {
			s.t.Errorf("%d transactions of an honest payer were refused", p.refused)
		}
		all = append(all, p.waits...)
	}
	slices.Sort(all)
	if len(all) < 1000 {
		s.t.Fatalf("only %d honest transactions came through", len(all))
	}
	return all[int(of*float64(len(all)-1))]
}

func honest() (list []*payment) {
	for i := range 20 {
		list = append(list, newPayment(fmt.Sprint("honest ", i), 10, 250, 300_000))
	}
	return list
}

// Whoever sends ten times what the chain can do, by however many devices, does
// not make others wait more than twice as long, nor the queue grow.
func TestFlood(t *testing.T) {
	calm := honest()
	base := tryFlood(t, 10, calm...)
	p50, p99 := base.quantile(0.5, calm), base.quantile(0.99, calm)
	for name, flood := range map[string][]*payment{
		"one owner, small transactions": {newPayment("flood", 10*capacity, 250, 300_000)},
		"one owner, large transactions": {newPayment("flood", 2000, 60<<10, 1_000_000)},
		"one owner, all the gas":        {newPayment("flood", 2000, 250, 20_000_000)},
		"three owners": {newPayment("flood 1", 4*capacity, 250, 300_000), newPayment("flood 2", 4*capacity, 250, 300_000),
			newPayment("flood 3", 4*capacity, 250, 300_000)},
	} {
		t.Run(name, func(t *testing.T) {
			others := honest()
			s := tryFlood(t, 10, append(flood, others...)...)
			with50, with99 := s.quantile(0.5, others), s.quantile(0.99, others)
			through := 0
			for _, f := range flood {
				through += len(f.waits)
			}
			t.Logf("honest p50 %.1f ms, p99 %.1f ms; without the flood %.1f and %.1f; %d of the flood's a second; at most %d waiting, %d bytes",
				ms(with50), ms(with99), ms(p50), ms(p99), through/10, s.most.count, s.most.bytes)
			if with50 > 2*p50 || with99 > 2*p99 {
				t.Errorf("honest senders wait %.1f and %.1f ms, more than twice %.1f and %.1f", ms(with50), ms(with99), ms(p50), ms(p99))
			}
			if s.most.count > 4096+maxPooled || s.most.bytes > 8<<20+maxPooledBytes {
				t.Errorf("%d requests of %d bytes were held", s.most.count, s.most.bytes)
			}
			if through == 0 {
				t.Error("nothing of the flood came through: it is to be slow, not locked out")
			}
		})
	}
}

func ms(us int64) float64 { return float64(us) / 1000 }

// A payer that is alone is not held back, nor one among others that waits for
// its transactions: five hundred clients of one owner.
func TestManyClientsAreNoFlood(t *testing.T) {
	q := testQueue(Config{QueueCount: 4096, QueueBytes: 8 << 20, PoolGas: 1_000_000_000})
	for n := range uint64(500) {
		mustAdd(t, q, made("a", n, 300_000))
		if n%100 == 0 {
			mustAdd(t, q, made("b", n, 300_000))
		}
	}
	q.admit(1)
	if got := len(q.batch(nil)); got != 505 {
		t.Errorf("a block takes %d of 505", got)
	}
	alone := testQueue(Config{QueueCount: 4096, QueueBytes: 8 << 20, PoolGas: 1_000_000_000})
	for n := range uint64(2000) {
		mustAdd(t, alone, made("a", n, 1000))
		alone.admit(int64(n) * 2) // nobody else is seen meanwhile
	}
	if got := len(alone.batch(nil)); got != maxPayerPooled {
		t.Errorf("a payer that is alone has %d in a block", got)
	}
}

// What SmartBFT holds to be next is in the batch whoever floods: its holder
// would depose the leader for leaving it out.
func TestOldestIsInTheBatch(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	q := testQueue(Config{QueueCount: 4096, QueueBytes: 8 << 20, PoolGas: 1_000_000_000})
	for n := range uint64(20_000) {
		r := made(string('a'+rune(min(random.IntN(30), 8))), n, random.Uint64N(20_000_000))
		r.raw = append(r.raw, make([]byte, random.IntN(2000))...)
		q.add(r)
		if n%40 != 0 {
			continue
		}
		q.admit(int64(n))
		oldest := q.pool[0]
		batch := q.batch([][]byte{poolRequest(oldest.id, oldest.raw)})
		if !bytes.Equal(batch[0], oldest.raw) {
			t.Fatal("the oldest request is not the first")
		}
		var taken []abi.Hash
		for _, r := range q.pool {
			if slices.ContainsFunc(batch, func(b []byte) bool { return bytes.Equal(b, r.raw) }) {
				taken = append(taken, r.id)
			}
		}
		if len(taken) != len(batch) {
			t.Fatalf("%d of %d are in the pool, each once", len(taken), len(batch))
		}
		q.settle(taken[:random.IntN(len(taken))+1], 0)
	}
}

// ownedApp is an app whose keys but one belong to one owner.
type ownedApp struct {
	*app
	other   key
	relayed int // guarded by app.mu
}

func (a *ownedApp) Check(raw []byte) (*chain.Tx, abi.Hash, error) {
	tx, payer, err := a.app.Check(raw)
	if err == nil && !bytes.Equal(tx.Key(), a.other.Public()) {
		payer = abi.Hash{1}
	}
	return tx, payer, err
}

func (a *ownedApp) CheckRelayed(raw []byte) (*chain.Tx, abi.Hash, error) {
	a.mu.Lock()
	a.relayed++
	a.mu.Unlock()
	return a.Check(raw)
}

// To the engine a thousand devices of one owner are one payer; what another
// node let in is checked as such.
func TestDevicesOfOneOwnerAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &ownedApp{app: newApp(t, 1), other: newKey(77)}
		release := make(chan struct{})
		a.onPropose = func(uint64) error { <-release; return nil }
		cfg := config(t, a.app, t.TempDir())
		cfg.App, cfg.QueueCount, cfg.PoolGas = a, 8, 1000
		r := start(t, cfg)
		taken := 0
		for n := range uint64(100) {
			err := r.HandleTransaction(t.Context(), transactionOf(t, newKey(2000+n), 1, 1000))
			if err == nil {
				taken++
			} else if !errors.Is(err, abi.CodeBusy) {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if taken > 6 {
			t.Errorf("%d of one owner's devices are in line", taken)
		}
		late := transactionOf(t, a.other, 1, 1000)
		if _, err := r.Submit(t.Context(), late); err != nil {
			t.Errorf("there is no room for another: %v", err)
		}
		if a.relayed != 100 {
			t.Errorf("%d of 100 were checked as passed on", a.relayed)
		}
		close(release)
		if h := <-a.wait(txID(t, late)); h > 3 {
			t.Errorf("the other's is in block %d, behind %d of the owner's", h, taken)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
