package blocksync

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/peer"
)

// weightless is a Ledger whose own work is next to nothing: what is measured
// with it is this package's.
type weightless struct {
	set  chain.ValidatorSet
	head atomic.Pointer[chain.Header]
}

func newWeightless(h *history) *weightless {
	l := &weightless{set: setOf(h.seats[0])}
	l.head.Store(&h.blocks[0].header)
	return l
}

func (l *weightless) ChainID() abi.Hash                { return l.head.Load().Chain }
func (l *weightless) Head() chain.Header               { return *l.head.Load() }
func (l *weightless) ValidatorSet() chain.ValidatorSet { return l.set }
func (l *weightless) Base() uint64                     { return 1 }
func (l *weightless) Committed() <-chan struct{}       { return nil }
func (l *weightless) Block(uint64) (block, certificate, outcomes []byte, err error) {
	return nil, nil, nil, abi.CodeNotFound
}

func (l *weightless) Commit(_ context.Context, k *chain.Block, _ *chain.Certificate) error {
	l.head.Store(&k.Header)
	return nil
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkCatchUp fetches, verifies and hands over blocks of 4 validators: in
// memory, and over loopback QUIC, where the figure holds both ends.
func BenchmarkCatchUp(b *testing.B) {
	for _, txs := range []int{1, 100, 900} {
		const blocks = 2000
		h := buildTxs(blocks, txs, 250)
		measure := func(b *testing.B, peers Peers) {
			from := cpu()
			for b.Loop() {
				l := newWeightless(h)
				if err := syncer(b, peers, l).catchUp(b.Context(), 0); err != nil || l.Head().Height != blocks {
					b.Fatalf("at height %d: %v", l.Head().Height, err)
				}
			}
			n := float64(b.N * blocks)
			b.ReportMetric(n/b.Elapsed().Seconds(), "blocks/s")
			b.ReportMetric(n*float64(txs)/b.Elapsed().Seconds(), "tx/s")
			b.ReportMetric(float64((cpu()-from).Microseconds())/n, "cpu-µs/block")
		}
		b.Run(fmt.Sprintf("memory/txs=%d", txs), func(b *testing.B) {
			n := newNetwork("self")
			defer n.stop()
			n.connect("a", peer.Validator, honest(b, newLedger(b, h, blocks)))
			n.connect("b", peer.Validator, honest(b, newLedger(b, h, blocks)))
			measure(b, n)
		})
		b.Run(fmt.Sprintf("quic/txs=%d", txs), func(b *testing.B) {
			measure(b, loopback(b, h, honest(b, newLedger(b, h, blocks))))
		})
		b.Run(fmt.Sprintf("certificates-alone/txs=%d", txs), func(b *testing.B) {
			var pairs []pair
			for _, k := range h.blocks[1:101] {
				pairs = append(pairs, pair{k.block, k.certificate})
			}
			from := cpu()
			for b.Loop() {
				run, err := parseRun(pairs, 1, h.blocks[0].header.Chain)
				if err != nil || prove(run, setOf(h.seats[0])) != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu()-from).Microseconds())/float64(b.N*len(pairs)), "cpu-µs/block")
		})
	}
}

// buildTxs is build with many transactions a block.
func buildTxs(n, txs, size int) *history {
	h := build(0, 0, nil)
	now := seats(1, 2, 3, 4)
	for i := range n {
		list := make([][]byte, txs)
		for k := range list {
			list[k] = make([]byte, size)
			copy(list[k], fmt.Sprintf("transaction %d of block %d", k, i))
		}
		h.add(now, now, list...)
	}
	return h
}

// loopback is a node connected to one that serves.
func loopback(b *testing.B, h *history, serve server) *peer.Network {
	start := func(host int, serve server, dial ...string) *peer.Network {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		n, err := peer.New(peer.Config{
			Conn: conn, Key: hostKey(host), Chain: h.blocks[0].header.Chain, Peers: dial,
			Class: func(peer.Key) peer.Class { return peer.Validator }, Handler: answers{serve},
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		b.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
		return n
	}
	first := start(1, serve)
	second := start(2, nobody, first.Addr().String())
	for {
		changed := second.Changed()
		if len(second.Connected()) > 0 {
			return second
		}
		<-changed
	}
}
