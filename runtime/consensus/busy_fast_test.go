//go:build !race

package consensus

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Chains that are busy for long, in virtual time. Go 1.26's race detector dies of
// so many timers of a bubble in one run of twenty (SIGSEGV below
// racereleaseacquireg), so make check runs them without it.

// slowSync is a sync that takes a while and is counted.
type slowSync struct {
	*node
	takes time.Duration
	count *atomic.Int64
}

func (s slowSync) Sync(ctx context.Context) error {
	s.count.Add(1)
	elapse(s.takes)
	return s.node.Sync(ctx)
}

// slowApp takes longer than others to check a block.
type slowApp struct {
	App
	takes time.Duration
}

func (a slowApp) Verify(ctx context.Context, b *chain.Block) error {
	elapse(a.takes)
	return a.App.Verify(ctx, b)
}

// A validator that missed some messages takes part again while blocks follow one
// another without a pause. Those that come while it syncs are not lost: else it
// would have to sync for each second block, for ever, and no quorum could count
// on its vote.
func TestVotesAgainOnABusyChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		var syncs atomic.Int64
		for _, v := range net.nodes {
			v.tune = func(cfg *Config) {
				cfg.Syncer = slowSync{v, 20 * time.Millisecond, &syncs}
				if v.id == 3 {
					cfg.App = slowApp{cfg.App, 15 * time.Millisecond}
				}
			}
		}
		net.startAll()
		var n atomic.Uint64
		net.busy(&n, 200)
		net.losing(func(_, to uint64, _ *smartbftprotos.Message) bool { return to == 3 })
		net.busy(&n, 100)
		net.losing(nil)
		net.busy(&n, 1000)
		before := syncs.Load()
		took := net.busy(&n, 1000)
		later := syncs.Load() - before
		net.nodes[4].kill()
		needed := net.busy(&n, 160) + net.busy(&n, 640)
		last := syncs.Load() - before - later
		t.Logf("%v and %d syncs for 1000 transactions; with the vote of each needed %v and %d syncs for 800", took, later, needed, last)
		if later > 5 || last > 20 {
			t.Errorf("%d syncs without a fault, and %d when each vote is needed", later, last)
		}
		if needed > 5*time.Second {
			t.Errorf("with the vote of each needed it takes %v", needed)
		}
		net.agree()
	})
}

// busy has sixteen clients send transactions, each the next when its last is in
// a block.
func (net *network) busy(n *atomic.Uint64, transactions int) (took time.Duration) {
	const clients = 16
	begun := time.Now()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for range transactions / clients {
				net.commit(n.Add(1), 1, 1)
			}
		})
	}
	group.Wait()
	return time.Since(begun)
}

// payers is an app of which one key pays for all but one.
type payers struct {
	App
	honest key
}

func (a payers) Check(raw []byte) (*chain.Tx, abi.Hash, error) {
	tx, payer, err := a.App.Check(raw)
	if err == nil && !bytes.Equal(tx.Key(), a.honest.Public()) {
		payer = abi.Hash{1}
	}
	return tx, payer, err
}

func (a payers) CheckRelayed(raw []byte) (*chain.Tx, abi.Hash, error) { return a.Check(raw) }

// An owner sends through all validators ten times what a busy chain takes of one
// that floods. Each has other requests in its line, and nobody complains about
// the leader for those that are not in blocks.
func TestFloodDeposesNobody(t *testing.T) {
	for name, flood := range map[string]struct {
		gas   uint64
		every time.Duration // between two at each validator
	}{
		"small": {1000, 3 * time.Millisecond},        // a block takes 32
		"large": {25_000_000, 60 * time.Millisecond}, // a block takes one
		"mixed": {5_000_000, 12 * time.Millisecond},  // a block takes four
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t, 4)
				honest := newKey(77)
				for _, v := range net.nodes {
					v.tune = func(cfg *Config) {
						cfg.App, cfg.PoolGas = slowApp{payers{cfg.App, honest}, 150 * time.Millisecond}, 1_000_000_000
					}
				}
				net.startAll()
				var complaints atomic.Int64
				net.losing(func(_, _ uint64, m *smartbftprotos.Message) bool {
					if m.GetViewChange() != nil {
						complaints.Add(1)
					}
					return false
				})
				ctx, stop := context.WithCancel(t.Context())
				var group sync.WaitGroup
				for id := range net.nodes {
					group.Go(func() { net.flood(ctx, newKey(1000+id), id, flood.gas, flood.every) })
				}
				var waits []time.Duration
				for n := range uint64(20) {
					begun := time.Now()
					raw := transactionOf(t, honest, n+1, 1000)
					if _, err := net.engine(1+n%4).Submit(ctx, raw); err != nil {
						t.Fatal(err)
					}
					net.await(txID(t, raw), 1, 2, 3, 4)
					waits = append(waits, time.Since(begun))
				}
				stop()
				group.Wait()
				slices.Sort(waits)
				t.Logf("honest p50 %v, most %v; %d complaints", waits[len(waits)/2], waits[len(waits)-1], complaints.Load())
				if complaints.Load() > 0 || net.leader() != 1 {
					t.Errorf("%d complaints about an honest leader, and %d leads now", complaints.Load(), net.leader())
				}
				if waits[len(waits)-1] > time.Second {
					t.Errorf("an honest sender waits %v", waits[len(waits)-1])
				}
				net.agree()
			})
		})
	}
}

// flood sends through a validator until ctx ends.
func (net *network) flood(ctx context.Context, by key, at, gas uint64, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		select {
		case <-tick.C:
			_, _ = net.engine(at).Submit(ctx, transactionOf(net.t, by, n, gas)) // most are refused
		case <-ctx.Done():
			return
		}
	}
}
