package heads

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/chain/chaintest"
)

func setOf(ids ...uint64) (set chain.ValidatorSet) {
	for _, id := range ids {
		set = append(set, chain.Validator{ID: id, Key: chaintest.Key(id).Public()})
	}
	return set
}

// ledger is a chain of empty blocks.
type ledger struct {
	mu     sync.Mutex
	id     abi.Hash
	blocks []*chain.Block
	set    chain.ValidatorSet
	base   uint64 // blocks below, but for 0, are pruned
}

func newLedger(id byte, set chain.ValidatorSet) *ledger {
	l := &ledger{id: abi.Hash{id}, set: set}
	l.grow(time.Now().UnixMilli())
	return l
}

// grow commits a block of a time.
func (l *ledger) grow(at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := chain.Header{Chain: l.id, Protocol: 1, Height: uint64(len(l.blocks)), Time: at, Validators: l.set.Hash(), NextValidators: l.set.Hash()}
	if n := len(l.blocks); n > 0 {
		h.Parent = l.blocks[n-1].Header.Hash()
	}
	l.blocks = append(l.blocks, &chain.Block{Header: h})
}

// elect makes others the validators.
func (l *ledger) elect(ids ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set = setOf(ids...)
}

func (l *ledger) ChainID() abi.Hash { return l.id }

func (l *ledger) Head() chain.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocks[len(l.blocks)-1].Header
}

func (l *ledger) ValidatorSet() chain.ValidatorSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set
}

func (l *ledger) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if height >= uint64(len(l.blocks)) || height > 0 && height < l.base {
		return nil, nil, nil, abi.CodeNotFound
	}
	return chain.AppendBlock(nil, l.blocks[height]), nil, nil, nil
}

// fixture is a follower of a chain whose validators' words the test makes up.
type fixture struct {
	*Tracker
	t     *testing.T
	chain *ledger
	skew  time.Duration // of the follower's clock
}

func (f *fixture) clock() (int64, bool) { return f.at(0), true }

// at is the follower's time some while from now.
func (f *fixture) at(d time.Duration) int64 { return time.Now().Add(f.skew + d).UnixMilli() }

func follower(t *testing.T, ids ...uint64) *fixture {
	f := &fixture{t: t, chain: newLedger(1, setOf(ids...))}
	f.Tracker = tracker(t, f.chain, nil, f.clock, nil)
	return f
}

func tracker(t *testing.T, l *ledger, k chain.Signer, clock func() (int64, bool), send func([]byte)) *Tracker {
	t.Helper()
	tr, err := New(Config{Ledger: l, Key: k, Clock: clock, Send: send, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// head is what a validator says of the fixture's chain, its own height being
// some blocks ahead of it.
func (f *fixture) head(id uint64, lead int, at int64) chain.SignedHead {
	h := f.chain.Head()
	hash, height := h.Hash(), h.Height+uint64(lead)
	if lead > 0 {
		hash = abi.Hash{9} // nobody here knows it
	}
	return f.sign(chain.SignedHead{Chain: f.chain.id, Height: height, Block: hash, Time: at, Validator: id}, chaintest.Key(id))
}

func (f *fixture) sign(h chain.SignedHead, k chaintest.Signer) chain.SignedHead {
	f.t.Helper()
	if err := h.Sign(k); err != nil {
		f.t.Fatal(err)
	}
	return h
}

// take hands over a head and checks the answer.
func (f *fixture) take(h chain.SignedHead, fresh bool, want error) {
	f.t.Helper()
	if got, err := f.Take(h.Append(nil)); got != fresh || !errors.Is(err, want) {
		f.t.Fatalf("head of validator %d at height %d: fresh %v, %v; want %v, %v", h.Validator, h.Height, got, err, fresh, want)
	}
}

func (f *fixture) stale(want time.Duration) {
	f.t.Helper()
	if got := f.Staleness(f.at(0)); got != uint64(want.Milliseconds()) {
		f.t.Fatalf("staleness %d ms, want %v", got, want)
	}
}

func inBubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// The age is that of the third newest head of four, and never more than the
// last block's.
func TestQuorumTellsStaleness(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1, 2, 3, 4)
		elapse(time.Minute)
		f.stale(time.Minute) // no heads: the genesis alone
		f.take(f.head(1, 0, f.at(0)), true, nil)
		f.take(f.head(2, 0, f.at(-2*time.Second)), true, nil)
		f.stale(time.Minute)
		f.take(f.head(3, 0, f.at(-3*time.Second)), true, nil)
		f.stale(3 * time.Second)
		f.take(f.head(4, 0, f.at(-time.Second)), true, nil)
		f.stale(2 * time.Second)
		elapse(time.Hour)
		f.stale(time.Hour + 2*time.Second)
		f.chain.grow(f.at(-time.Second))
		f.stale(time.Second)
	})
}

// Heads of blocks that this node lacks say that it is behind, not that it is
// fresh; what their validators said before still counts, and they do as soon
// as the blocks are here.
func TestHeadsAhead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1, 2, 3, 4)
		for id := range uint64(3) {
			f.take(f.head(id+1, 0, f.at(0)), true, nil)
		}
		elapse(10 * time.Second)
		if _, behind := f.Behind(); behind {
			t.Fatal("behind nobody")
		}
		next := &chain.Block{Header: f.chain.Head()}
		next.Header.Parent = next.Header.Hash()
		next.Header.Height, next.Header.Time = 1, f.at(-9*time.Second)
		for id := range uint64(3) {
			h := chain.SignedHead{Chain: f.chain.id, Height: 1, Block: next.Header.Hash(), Time: f.at(0), Validator: id + 1}
			f.take(f.sign(h, chaintest.Key(id+1)), true, nil)
		}
		f.stale(10 * time.Second)
		if h, behind := f.Behind(); !behind || h != 1 {
			t.Fatalf("behind: %d %v", h, behind)
		}
		f.chain.grow(next.Header.Time)
		f.stale(0)
		if _, behind := f.Behind(); behind {
			t.Fatal("behind after the block came")
		}
		// One of four may lie about a height.
		elapse(2 * time.Second)
		f.take(f.head(4, 1000, f.at(0)), true, nil)
		if _, behind := f.Behind(); behind {
			t.Fatal("one validator's word alone was believed")
		}
		f.take(f.head(3, 7, f.at(0)), true, nil)
		if h, behind := f.Behind(); !behind || h != 8 {
			t.Fatalf("behind: %d %v", h, behind)
		}
	})
}

// What is forged, of another chain, of a stranger, from the future or
// contradicts the chain is refused; what is repeated or comes too fast is not
// kept. None of it makes the node look fresh.
func TestHostileHeads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1, 2)
		elapse(time.Minute)
		good := f.head(1, 0, f.at(0))
		forged := good
		forged.Validator = 2
		f.take(forged, false, abi.CodeBadSignature)
		forged = good
		forged.Time++
		f.take(forged, false, abi.CodeBadSignature)
		f.take(f.sign(chain.SignedHead{Chain: f.chain.id, Time: f.at(0), Validator: 2}, chaintest.Key(1)), false, abi.CodeBadSignature)
		f.take(f.head(7, 0, f.at(0)), false, abi.CodeBadSignature)
		f.take(f.sign(chain.SignedHead{Chain: abi.Hash{2}, Time: f.at(0), Validator: 1}, chaintest.Key(1)), false, abi.CodeWrongChain)
		f.take(f.head(1, 0, f.at(5001*time.Millisecond)), false, abi.CodeBadArgument)
		f.take(f.head(1, 0, 1<<62), false, abi.CodeBadArgument)
		f.take(f.head(1, 0, -1), false, abi.CodeBadArgument)
		f.take(f.sign(chain.SignedHead{Chain: f.chain.id, Block: abi.Hash{3}, Time: f.at(-time.Minute), Validator: 1}, chaintest.Key(1)), true, abi.CodeBadProof)
		for _, raw := range [][]byte{nil, {0x86}, good.Append(nil)[1:], append(good.Append(nil), 0)} {
			if fresh, err := f.Take(raw); fresh || !errors.Is(err, abi.CodeMalformed) {
				t.Fatalf("%x: fresh %v, %v", raw, fresh, err)
			}
		}
		f.stale(time.Minute)
		f.take(good, true, nil)
		f.take(good, false, nil)
		f.take(f.head(1, 0, f.at(999*time.Millisecond)), false, nil)
		f.take(f.head(1, 0, f.at(-time.Second)), false, nil)
		f.take(f.head(2, 0, f.at(0)), true, nil)
		f.stale(0)
		elapse(time.Minute)
		f.take(good, false, nil) // replayed to a node that is cut off
		f.stale(time.Minute)
	})
}

// Heads of older blocks count if the block is here, and not if it was another
// or is no longer kept.
func TestOlderBlocks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1)
		for range 5 {
			elapse(time.Second)
			f.chain.grow(f.at(-time.Hour)) // as after a long sync
		}
		f.chain.base = 3
		say := func(height uint64, block abi.Hash) chain.SignedHead {
			elapse(2 * time.Second)
			return f.sign(chain.SignedHead{Chain: f.chain.id, Height: height, Block: block, Time: f.at(0), Validator: 1}, chaintest.Key(1))
		}
		f.take(say(2, f.chain.blocks[2].Header.Hash()), true, nil)
		f.stale(time.Hour + 2*time.Second)
		f.take(say(4, f.chain.blocks[3].Header.Hash()), true, abi.CodeBadProof)
		f.stale(time.Hour + 4*time.Second)
		f.take(say(4, f.chain.blocks[4].Header.Hash()), true, nil)
		f.stale(0)
	})
}

// A clock that is set back makes nothing fresher than the time that really
// passed; one that is set forward makes everything stale.
func TestClockJumps(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1)
		f.take(f.head(1, 0, f.at(0)), true, nil)
		elapse(20 * time.Second)
		f.skew = -time.Hour
		f.stale(20 * time.Second)
		f.skew = time.Hour
		f.stale(time.Hour + 20*time.Second)
		f.skew = 0
		f.stale(20 * time.Second)
		// A node whose clock lags cannot tell old from new, and takes nothing.
		f.skew = -10 * time.Second
		f.take(f.head(1, 0, f.at(10*time.Second)), false, abi.CodeBadArgument)
	})
}

// What a validator said counts only while it is one, under the same key.
func TestSetChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1, 2)
		elapse(time.Minute)
		f.take(f.head(1, 0, f.at(0)), true, nil)
		f.take(f.head(2, 0, f.at(0)), true, nil)
		f.stale(0)
		f.chain.set = chain.ValidatorSet{f.chain.set[0], {ID: 2, Key: chaintest.Key(22).Public()}}
		f.chain.grow(f.at(-time.Minute))
		f.stale(time.Minute)
		elapse(2 * time.Second)
		f.take(f.head(2, 0, f.at(0)), false, abi.CodeBadSignature)
		h := f.head(2, 0, f.at(0))
		f.take(f.sign(h, chaintest.Key(22)), true, nil)
		f.stale(2 * time.Second)
		f.chain.set = setOf(5, 6)
		f.chain.grow(f.at(-time.Minute))
		f.stale(time.Minute)
		if n := len(f.list); n != 0 {
			t.Fatalf("%d heads of former validators are kept", n)
		}
	})
}

// Validators send a head at once and every ten seconds while they are in the
// set and know the time; a lone one is never stale.
func TestRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := newLedger(1, setOf(1))
		var doubt atomic.Bool
		var sent [][]byte
		clock := func() (int64, bool) { return time.Now().UnixMilli(), !doubt.Load() }
		v := tracker(t, l, chaintest.Key(1), clock, func(b []byte) { sent = append(sent, b) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.Run(ctx) }()
		wait := func(d time.Duration, want int) {
			t.Helper()
			elapse(d)
			synctest.Wait()
			if len(sent) != want {
				t.Fatalf("%d heads were sent, want %d", len(sent), want)
			}
		}
		wait(time.Minute+time.Second, 7)
		if s := v.Staleness(time.Now().UnixMilli()); s != 0 {
			t.Fatalf("a lone validator is stale by %d ms", s)
		}
		f := &fixture{t: t, chain: l}
		f.Tracker = tracker(t, l, nil, f.clock, nil)
		for i, raw := range sent {
			if fresh, err := f.Take(raw); !fresh || err != nil {
				t.Fatalf("head %d: fresh %v, %v", i, fresh, err)
			}
		}
		f.stale(time.Second)
		if fresh, err := v.Take(sent[0]); fresh || err != nil {
			t.Fatalf("an echo of its own: fresh %v, %v", fresh, err)
		}
		doubt.Store(true)
		wait(time.Minute, 7)
		doubt.Store(false)
		l.elect(2)
		wait(time.Minute, 7)
		l.elect(1, 2)
		wait(10*time.Second, 8)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// Of four validators each counts itself, so two others' heads keep it fresh.
func TestValidatorCountsItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := follower(t, 1, 2, 3, 4)
		f.Tracker = tracker(t, f.chain, chaintest.Key(1), f.clock, func([]byte) {})
		elapse(time.Minute)
		f.take(f.head(2, 0, f.at(-time.Second)), true, nil)
		f.stale(time.Minute)
		f.take(f.head(3, 0, f.at(-2*time.Second)), true, nil)
		f.stale(2 * time.Second)
	})
}

func TestConfig(t *testing.T) {
	l := newLedger(1, setOf(1))
	clock := func() (int64, bool) { return 0, true }
	log := slog.New(slog.DiscardHandler)
	for _, c := range []Config{{}, {Ledger: l, Clock: clock}, {Ledger: l, Logger: log}, {Clock: clock, Logger: log},
		{Ledger: l, Clock: clock, Logger: log, Key: chaintest.Key(1)}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// Heads, blocks and questions come from all sides at once.
func TestConcurrent(t *testing.T) {
	f := follower(t, 1, 2, 3, 4)
	var all sync.WaitGroup
	for id := range uint64(4) {
		all.Go(func() {
			for n := range 50 {
				h := f.head(id+1, 0, f.at(time.Duration(n-100)*time.Minute))
				if _, err := f.Take(h.Append(nil)); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 200 {
				f.Staleness(f.at(0))
				f.Behind()
			}
		})
	}
	all.Go(func() {
		for range 100 {
			f.chain.grow(f.at(-time.Hour))
		}
	})
	all.Wait()
	if n := len(f.list); n != 4 {
		t.Fatalf("%d heads", n)
	}
}

func FuzzTake(f *testing.F) {
	l := newLedger(1, setOf(1))
	h := chain.SignedHead{Chain: l.id, Block: l.blocks[0].Header.Hash(), Time: l.blocks[0].Header.Time, Validator: 1}
	if err := h.Sign(chaintest.Key(1)); err != nil {
		f.Fatal(err)
	}
	f.Add(h.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tr := tracker(t, l, nil, func() (int64, bool) { return l.blocks[0].Header.Time, true }, nil)
		fresh, err := tr.Take(raw)
		if fresh != (string(raw) == string(h.Append(nil))) || fresh == (err != nil) {
			t.Fatalf("%x: fresh %v, %v", raw, fresh, err)
		}
	})
}

func BenchmarkStaleness(b *testing.B) {
	l := newLedger(1, setOf(1, 2, 3, 4))
	clock := func() (int64, bool) { return time.Now().UnixMilli(), true }
	t, err := New(Config{Ledger: l, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UnixMilli()
	for b.Loop() {
		t.Staleness(now)
	}
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
