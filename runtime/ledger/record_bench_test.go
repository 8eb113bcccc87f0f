package ledger

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/declog"
)

// BenchmarkDecideRecorded is BenchmarkDecideAccess with a decision log on disk:
// the whole price of it, its syncs included.
func BenchmarkDecideRecorded(b *testing.B) {
	w := withAccess(b, "testdata/building.policy")
	w.enrol("reader", chain.Labels{"role": "door-lock"})
	log, err := declog.Open(declog.Config{
		Dir: b.TempDir(), Key: bytes.Repeat([]byte{1}, declog.KeySize), Chain: w.l.ChainID(), Account: abi.Hash{1}, Signer: person("gateway"),
		Clock: func() int64 { return 1 }, Anchored: func() (chain.Anchored, error) { return chain.Anchored{}, nil },
		Submit: func(context.Context, []byte) error { return nil },
		Prove:  func([]byte) (*proof.Entry, []proof.Step, error) { return nil, nil, abi.CodeNotReady },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	w.l.cfg.Log = log
	benchmarkDecide(b, w, ask("report", "lock", "front-door"), abi.OK)
	s := log.Stats()
	b.ReportMetric(float64(s.Written)/float64(s.Records), "disk-B/decision")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
}
