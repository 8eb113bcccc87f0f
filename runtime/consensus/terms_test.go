package consensus

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/seed79541315/postern/abi/chain"
)

// terms are the validator sets of a chain, by the first height that each
// signs.
type terms map[uint64]chain.ValidatorSet

func (s terms) at(height uint64) chain.ValidatorSet {
	for ; ; height-- {
		if set, ok := s[height]; ok {
			return set
		}
	}
}

// setOf are validators 1, 2 and so on, with their usual keys.
func setOf(ids ...uint64) (set chain.ValidatorSet) {
	for _, id := range ids {
		set = append(set, chain.Validator{ID: id, Key: newKey(id).Public()})
	}
	return set
}

// elect gives a network's nodes the same terms.
func (net *network) elect(s terms) {
	for _, v := range net.nodes {
		v.app = newApp(net.t, 1)
		v.app.terms = s
		hash, next := s.at(0).Hash(), s.at(1).Hash()
		v.app.disk.blocks[0].Header.Validators, v.app.disk.blocks[0].Header.NextValidators = hash, next
	}
}

// leaves waits until a node's engine ends because it is no validator any more.
func (v *node) leaves() {
	v.net.t.Helper()
	if err := <-v.run.done; !errors.Is(err, ErrNotValidator) {
		v.net.t.Fatalf("Run of validator %d returned %v", v.id, err)
	}
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	v.run = nil
}

// follow brings a node without an engine up to date.
func (v *node) follow() {
	v.net.t.Helper()
	if err := v.Sync(v.net.ctx); err != nil {
		v.net.t.Fatal(err)
	}
}

// A node is voted in, out and in again in one process, over one directory; its
// votes count in each term.
func TestTermsOfOffice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 5)
		net.elect(terms{0: setOf(1, 2, 3, 4), 4: setOf(1, 2, 3, 4, 5), 8: setOf(1, 2, 3, 4), 12: setOf(1, 2, 3, 5)})
		late := net.nodes[5]
		if err := Begin(late.dir, testChain); err != nil {
			t.Fatal(err)
		}
		for _, id := range []uint64{1, 2, 3, 4} {
			net.nodes[id].start()
		}
		if _, err := New(late.config()); !errors.Is(err, ErrNotValidator) {
			t.Fatalf("New before it is voted in: %v", err)
		}
		n := uint64(0)
		blocks := func(count int, on ...uint64) {
			for range count {
				n++
				net.commit(n, on[n%uint64(len(on))], on...)
			}
		}
		blocks(3, 1, 2, 3, 4)
		late.follow()
		late.start()
		net.nodes[1].kill()
		blocks(4, 2, 3, 4, 5) // four of five: its vote is needed
		late.leaves()
		blocks(4, 2, 3, 4)
		late.follow()
		late.start()
		net.nodes[4].leaves()
		blocks(4, 2, 3, 5)
		net.nodes[1].start()
		blocks(1, 1, 2, 3, 5)
		net.agree()
		if signed := (moment{wal: late.dir}).signed(); signed < 15 {
			t.Errorf("it signed up to height %d", signed)
		}
	})
}

// A validator gets another key under its id, and another one is replaced by a
// new id and key on the same directory. Run ends on both, and an engine with
// the new key goes on; the last signed height stays what it was.
func TestNewKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		rotated, replaced := setOf(1, 2, 3, 4), setOf(1, 2, 4)
		rotated[3].Key = newKey(44).Public()
		replaced[2].Key = newKey(44).Public()
		replaced = append(replaced, setOf(9)...)
		net.elect(terms{0: setOf(1, 2, 3, 4), 3: rotated, 6: replaced})
		net.startAll()
		net.commit(1, 1, 1, 2, 3, 4)
		net.commit(2, 2, 1, 2, 3, 4)
		fourth := net.nodes[4]
		fourth.leaves()
		fourth.key = newKey(44)
		fourth.start()
		if signed := (moment{wal: fourth.dir}).signed(); signed < 1 {
			t.Fatal("the last signed height is lost")
		}
		net.nodes[1].kill()
		net.commit(3, 2, 2, 3, 4)
		net.nodes[1].start()
		net.commit(4, 3, 1, 2, 3, 4)
		net.commit(5, 3, 1, 2, 4)
		net.nodes[3].leaves()
		ninth := net.nodes[3]
		net.mu.Lock()
		delete(net.nodes, 3)
		ninth.id, ninth.key = 9, newKey(9)
		net.nodes[9] = ninth
		net.mu.Unlock()
		ninth.follow()
		ninth.start()
		net.nodes[2].kill()
		net.commit(6, 1, 1, 4, 9)
		net.agree()
	})
}

// A validator that restarts in the middle of a block does not take it up again
// when the set changes later.
func TestRestartThenChangeOfSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 5)
		net.elect(terms{0: setOf(1, 2, 3, 4, 5), 6: setOf(1, 2, 3, 4)})
		net.startAll()
		net.commit(1, 1, 1, 2, 3, 4)
		net.losing(func(_, _ uint64, m *smartbftprotos.Message) bool { return m.GetPrepare() != nil })
		raw := transaction(t, 2)
		if _, err := net.engine(1).Submit(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		elapse(10 * delay)
		for id := range uint64(5) { // each has the proposal in its log
			net.nodes[id+1].kill()
		}
		net.losing(nil)
		net.startAll()
		net.await(txID(t, raw), 1, 2, 3, 4)
		for n := range uint64(3) {
			net.commit(n+3, 1, 1, 2, 3, 4)
		}
		begin := time.Now()
		net.nodes[5].leaves()
		net.nodes[4].kill()
		net.commit(10, 2, 1, 2, 3)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("the first block of the new set took %v", d)
		}
		net.agree()
	})
}
