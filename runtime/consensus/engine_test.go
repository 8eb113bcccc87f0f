package consensus

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// A lone validator commits what is submitted, each transaction once, and
// leaves nothing running: a goroutine left over would stall the bubble.
func TestOneValidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		r := start(t, config(t, a, t.TempDir()))
		for n := range uint64(10) {
			if h := r.commit(a, transaction(t, n+1)); h != n+1 {
				t.Fatalf("transaction %d stands in block %d", n+1, h)
			}
		}
		checkChain(t, a)
		if a.checks != 10 {
			t.Errorf("10 transactions were checked %d times", a.checks)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSubmitBeforeDuringAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		e, err := New(config(t, a, t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		raw := transaction(t, 1)
		if _, err := e.Submit(t.Context(), raw); !errors.Is(err, abi.CodeNotReady) {
			t.Fatalf("before Run: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		<-e.Ready()
		if _, err := e.Submit(t.Context(), []byte{1}); !errors.Is(err, abi.CodeMalformed) {
			t.Fatalf("garbage: %v", err)
		}
		if _, err := e.Submit(t.Context(), chain.AppendTick(nil, 1)); !errors.Is(err, abi.CodeBadArgument) {
			t.Fatalf("a client's tick: %v", err)
		}
		id, err := e.Submit(t.Context(), raw)
		if err != nil || id != txID(t, raw) {
			t.Fatalf("Submit: %x, %v", id, err)
		}
		<-a.wait(id)
		if _, err := e.Submit(t.Context(), raw); !errors.Is(err, abi.CodeReplayed) {
			t.Fatalf("again: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := e.Submit(t.Context(), raw); !errors.Is(err, abi.CodeShuttingDown) {
			t.Fatalf("after Run: %v", err)
		}
		if err := e.Run(t.Context()); err == nil {
			t.Fatal("a second Run")
		}
	})
}

// The block is proposed as soon as the first request comes; those that come
// while it is made share the next.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		a.limit = 7
		r := start(t, config(t, a, t.TempDir()))
		var last <-chan uint64
		for n := range uint64(50) {
			raw := transaction(t, n+1)
			last = a.wait(txID(t, raw))
			if _, err := r.Submit(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
		}
		<-last
		checkChain(t, a)
		if h := a.Head().Height; h < 8 || h > 12 {
			t.Fatalf("50 transactions, at most 7 a block, took %d blocks", h)
		}
		want := uint64(1)
		for _, b := range a.snapshot().blocks[1:] {
			for _, raw := range b.Txs {
				if tx, err := chain.ParseTx(raw); err != nil || tx.Sequence != want {
					t.Fatalf("transaction %d stands where %d should: %v", tx.Sequence, want, err)
				}
				want++
			}
		}
		synctest.Wait()
		if s := r.Stats(); s.Waiting != 0 || s.Pooled != 0 || s.Leader != 1 {
			t.Fatalf("left over: %+v", s)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// An idle chain makes no blocks and writes nothing.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dir := newApp(t, 1), t.TempDir()
		r := start(t, config(t, a, dir))
		r.commit(a, transaction(t, 1))
		synctest.Wait()
		before := tree(t, dir)
		elapse(time.Hour)
		if a.Head().Height != 1 || tree(t, dir) != before {
			t.Fatal("an idle hour left traces")
		}
		r.commit(a, transaction(t, 2))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// tree is a hash of a directory's files.
func tree(t *testing.T, dir string) (sum [32]byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(b)
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// A block comes when a timer is due and not before, and as many as it takes
// when one block cannot run all that are due.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		a.perBlock = 1
		due := time.Now().Add(10 * time.Second).UnixMilli()
		a.timers = []int64{due, due, due}
		r := start(t, config(t, a, t.TempDir()))
		elapse(9999 * time.Millisecond)
		if h := a.Head().Height; h != 0 {
			t.Fatalf("%d blocks before any timer was due", h)
		}
		elapse(time.Second)
		if h := a.Head().Height; h != 3 {
			t.Fatalf("%d blocks for three timers", h)
		}
		for _, b := range a.snapshot().blocks[1:] {
			if tx, err := chain.ParseTx(b.Txs[0]); err != nil || len(b.Txs) != 1 || tx.Tick != due || b.Header.Time < due {
				t.Fatalf("block %d is not the timer's", b.Header.Height)
			}
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Without a trusted clock nothing is proposed or voted for; what waits is
// committed once the clock is trusted.
func TestUntrustedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		var trusted atomic.Bool
		a.clock = func() (int64, bool) { return time.Now().UnixMilli(), trusted.Load() }
		r := start(t, config(t, a, t.TempDir()))
		raw := transaction(t, 1)
		if _, err := r.Submit(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		elapse(time.Hour)
		if a.Head().Height != 0 {
			t.Fatal("a block without a trusted clock")
		}
		trusted.Store(true)
		<-a.wait(txID(t, raw))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A lone leader that refuses its own proposal, because the clock was lost or
// set between, tries again rather than stall, even minutes later.
func TestLoneLeaderRefusesItself(t *testing.T) {
	for name, between := range map[string]func(ms int64) (int64, bool){
		"lost": func(ms int64) (int64, bool) { return ms, false },
		"set":  func(ms int64) (int64, bool) { return ms + 60_000, true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newApp(t, 1)
				var refusals atomic.Int32
				refusals.Store(3)
				var proposing atomic.Bool
				a.clock = func() (int64, bool) {
					ms := time.Now().UnixMilli()
					if proposing.Load() && refusals.Add(-1) >= 0 {
						proposing.Store(false)
						return between(ms)
					}
					return ms, true
				}
				a.onPropose = func(uint64) error { proposing.Store(true); return nil }
				r := start(t, config(t, a, t.TempDir()))
				r.commit(a, transaction(t, 1))
				elapse(10 * time.Minute)
				proposing.Store(false)
				r.commit(a, transaction(t, 2))
				checkChain(t, a)
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestConfig(t *testing.T) {
	a := newApp(t, 1)
	for name, spoil := range map[string]func(*Config){
		"no id":        func(c *Config) { c.ID = 0 },
		"no directory": func(c *Config) { c.WAL = "" },
		"no clock":     func(c *Config) { c.Clock = nil },
		"other key":    func(c *Config) { c.Key = newKey(2) },
		"other id":     func(c *Config) { c.ID = 2 },
		"no transport": func(c *Config) { c.App = newApp(t, 4) },
	} {
		cfg := config(t, a, t.TempDir())
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := checkProcessor(32); err == nil || !strings.Contains(err.Error(), "32-bit") {
		t.Errorf("a 32-bit processor: %v", err)
	}
	if err := checkProcessor(64); err != nil {
		t.Errorf("a 64-bit processor: %v", err)
	}
}

// A directory that cannot be written is an error, not a panic.
func TestUnusableDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r := start(t, config(t, newApp(t, 1), filepath.Join(file, "wal")))
		if err := <-r.done; err == nil {
			t.Fatal("Run returned nil")
		}
	})
}

// A full line refuses with CodeBusy, and everything that it took is committed.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		release := make(chan struct{})
		a.onPropose = func(uint64) error { <-release; return nil }
		cfg := config(t, a, t.TempDir())
		cfg.QueueCount, cfg.PoolGas = 8, 2000
		r := start(t, cfg)
		var taken [][]byte
		for n := range uint64(20) {
			raw := transaction(t, n+1)
			_, err := r.Submit(t.Context(), raw)
			if err == nil {
				taken = append(taken, raw)
			} else if !errors.Is(err, abi.CodeBusy) {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if len(taken) >= 20 || len(taken) < 5 {
			t.Fatalf("%d of 20 were taken", len(taken))
		}
		close(release)
		for _, raw := range taken {
			<-a.wait(txID(t, raw))
		}
		checkChain(t, a)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// What the ledger can put into no block is dropped, and does not stop others.
func TestNothingToPropose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		var hopeless atomic.Int32
		hopeless.Store(2)
		a.onPropose = func(uint64) error {
			if hopeless.Add(-1) >= 0 {
				return abi.CodeNotFound
			}
			return nil
		}
		r := start(t, config(t, a, t.TempDir()))
		for n := range uint64(2) {
			if _, err := r.Submit(t.Context(), transaction(t, n+1)); err != nil {
				t.Fatal(err)
			}
			elapse(time.Second)
			if s := r.Stats(); s.Pooled != 0 || s.Waiting != 0 {
				t.Fatalf("it is still there: %+v", s)
			}
		}
		if h := r.commit(a, transaction(t, 3)); h != 1 {
			t.Fatalf("the next stands in block %d", h)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// When SmartBFT does not go on after a block or a sync, or does not sync when it
// is told to, it is started anew within seconds; as long as it does, it is not.
func TestHangs(t *testing.T) {
	for name, hang := range map[string]func(r *replica){
		"after a block": func(r *replica) { r.returns() },
		"after a sync":  func(r *replica) { r.Sync() },
		"told to sync": func(r *replica) {
			r.mu.Lock()
			r.unheeded = time.Now()
			r.mu.Unlock()
			poke(r.wake)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScripted(t, 1, 2, 3, 4)
				running := s.engine(1).replica
				for n := range uint64(3) {
					s.commit(n+1, 1, 1, 2, 3, 4)
					running.prompt()
					elapse(2 * heedAfter)
				}
				if s.engine(1).replica != running {
					t.Fatal("consensus was started anew though it went on")
				}
				hang(running)
				elapse(heedAfter + time.Second)
				if s.engine(1).replica == running {
					t.Fatal("consensus was not started anew")
				}
				s.commit(4, 1, 1, 2, 3, 4)
				s.agree()
			})
		})
	}
}

// SmartBFT asks the others for their views after each sync, unless it is in the
// place of a delivery. When that goes on it is started anew.
func TestSyncsInPlaceOfDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 1, 2, 3, 4)
		s.commit(1, 1, 1, 2, 3, 4)
		running := s.engine(1).replica
		sync := func() {
			running.Sync()
			running.VerificationSequence() // it goes on
		}
		for range 2 * maxUnasked {
			sync()
			running.SendConsensus(2, &smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferRequest{
				StateTransferRequest: &smartbftprotos.StateTransferRequest{}}})
		}
		for n := range uint64(2 * maxUnasked) {
			sync()
			s.commit(n+2, 1, 1, 2, 3, 4)
		}
		if s.engine(1).replica != running {
			t.Fatal("consensus was started anew though it asks, and delivers")
		}
		for range maxUnasked {
			sync()
		}
		elapse(time.Second)
		if s.engine(1).replica == running {
			t.Fatal("consensus was not started anew")
		}
		s.commit(100, 1, 1, 2, 3, 4)
		s.agree()
	})
}

// lateSync is a sync that goes on for a while after it has brought blocks, once.
type lateSync struct {
	*node
	takes *atomic.Int64 // a time.Duration
}

func (s lateSync) Sync(ctx context.Context) error {
	err := s.node.Sync(ctx)
	elapse(time.Duration(s.takes.Swap(0)))
	return err
}

// A validator that was behind for long has its lines full of what was decided
// without it. It lets that go while it syncs, so that its own clients find room
// and no leader is blamed for what is long in a block; also in the sync with
// which SmartBFT starts anew.
func TestSyncEmptiesTheLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		var takes atomic.Int64
		net.nodes[4].tune = func(cfg *Config) {
			cfg.QueueCount, cfg.PoolGas = 8, 4000
			cfg.Syncer = lateSync{net.nodes[4], &takes}
		}
		net.startAll()
		net.commit(1, 1, 1, 2, 3, 4)
		net.losing(func(_, to uint64, _ *smartbftprotos.Message) bool { return to == 4 })
		for n := range uint64(20) {
			net.commit(n+2, 1, 1, 2, 3)
		}
		elapse(100 * time.Millisecond)
		late := net.engine(4)
		raw := transaction(t, 100)
		if _, err := late.Submit(t.Context(), raw); !errors.Is(err, abi.CodeBusy) {
			t.Fatalf("its lines are not full: %v, %+v", err, late.Stats())
		}
		net.losing(nil)
		takes.Store(int64(4 * time.Second))
		late.replica.fail(errAnew)
		elapse(2 * time.Second)
		if s := late.Stats(); s.Waiting > 0 {
			t.Errorf("in the middle of a sync it has %+v", s)
		}
		if _, err := late.Submit(t.Context(), raw); err != nil {
			t.Fatalf("in the middle of a sync: %v", err)
		}
		net.await(txID(t, raw), 1, 2, 3)
		begun := time.Now()
		net.await(txID(t, raw), 4)
		net.commit(101, 4, 1, 2, 3, 4)
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("it goes on after %v", took)
		}
		net.agree()
	})
}
