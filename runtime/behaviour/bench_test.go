package behaviour

import (
	"context"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
)

// settled is a Ledger whose answer costs nothing: what is measured is the rest.
type settled struct{ judged ledger.Judged }

func (s *settled) Observe(_ context.Context, w *ledger.Watch) (ledger.Judged, error) {
	for i := range s.judged.Opinions {
		w.Local(s.judged.Opinions[i].Contract)
	}
	return s.judged, nil
}

func benchWorld(b *testing.B, judgements ...abi.Judgement) *world {
	w := newWorld(b)
	s := &settled{}
	for i, j := range judgements {
		s.judged.Opinions = append(s.judged.Opinions, ledger.Opinion{Contract: fmt.Sprint("guard-", i), Judgement: j, Local: make([]byte, 200), Written: true})
	}
	w.cfg.Ledger = s
	w.cfg.Submit = func(context.Context, chain.Op, []byte) error { return nil }
	return w.open()
}

// BenchmarkReport is what a report costs beside its contracts.
func BenchmarkReport(b *testing.B) {
	fine := abi.Judgement{Timer: 60_000}
	for _, c := range []struct {
		name    string
		judge   []abi.Judgement
		payload int
	}{
		{"unbound", nil, 100}, {"one", []abi.Judgement{fine}, 100}, {"four", []abi.Judgement{fine, fine, fine, fine}, 100},
		{"one, 60 KiB", []abi.Judgement{fine}, 60 << 10}, {"quarantine", []abi.Judgement{{Level: abi.LevelQuarantine}}, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := benchWorld(b, c.judge...)
			o := &abi.Observation{Kind: abi.ObserveFlows, Payload: array(c.payload)}
			for n := 0; b.Loop(); n++ {
				if _, err := w.Report(context.Background(), id(n%1000), o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// array is a payload of n items, a byte each: the dearest to check.
func array(n int) []byte { return append(cbor.AppendArray(nil, n), make([]byte, n)...) }

func BenchmarkReportParallel(b *testing.B) {
	w := benchWorld(b, abi.Judgement{Timer: 60_000})
	o := &abi.Observation{Kind: abi.ObserveFlows, Payload: array(100)}
	b.RunParallel(func(p *testing.PB) {
		for n := 0; p.Next(); n++ {
			if _, err := w.Report(context.Background(), id(n%1000), o); err != nil && err != abi.CodeBusy {
				b.Error(err)
			}
		}
	})
}

// BenchmarkIsolated is what every request pays.
func BenchmarkIsolated(b *testing.B) {
	for _, isolated := range []int{0, 1000} {
		b.Run(fmt.Sprint(isolated), func(b *testing.B) {
			w := benchWorld(b)
			for n := range isolated {
				w.isolate(id(n), &ledger.Opinion{Judgement: abi.Judgement{Level: abi.LevelQuarantine}})
			}
			for n := 0; b.Loop(); n++ {
				w.Isolated(id(n % 2000))
			}
		})
	}
}

// BenchmarkAttack is what an attacker can make the gateway spend on counting.
func BenchmarkAttack(b *testing.B) {
	var from [1000]string
	for n := range from {
		from[n] = fmt.Sprint("198.51.100.", n)
	}
	w := benchWorld(b)
	for n := 0; b.Loop(); n++ {
		w.Attack(AttackHandshakeFlood, from[n%len(from)])
	}
}

// BenchmarkFlush writes 200, 2,000 and as many devices as fit, each with a record
// of 200 bytes.
func BenchmarkFlush(b *testing.B) {
	for _, devices := range []int{200, 2000, 20_000} {
		b.Run(fmt.Sprint(devices), func(b *testing.B) {
			w := newWorld(b)
			w.cfg.Dir = b.TempDir()
			w.open()
			j := ledger.Judged{Opinions: []ledger.Opinion{{Contract: "guard", Judgement: abi.Judgement{Timer: 60_000}, Local: make([]byte, 200), Written: true}}}
			for n := range devices {
				s := sight{Observation: abi.Observation{Kind: abi.ObserveFlows, Device: id(n)}}
				w.watches.settle(&s, &j, w.now(), true)
			}
			before, n := w.Stats().WrittenBytes, 0
			for b.Loop() {
				w.watches.unsaved()
				w.flush(false)
				n++
			}
			b.ReportMetric(float64(w.Stats().WrittenBytes-before)/float64(n), "B/flush")
			b.ReportMetric(float64(w.Stats().Watched), "devices")
		})
	}
}
