package consensus

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time this process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func transactions(b *testing.B, n int) [][]byte {
	raws := make([][]byte, n)
	for i := range raws {
		raws[i] = transaction(b, uint64(i+1))
	}
	return raws
}

// One transaction at a time with one validator and a ledger that writes
// nothing: what consensus adds, its own fsyncs included.
func BenchmarkCommit(b *testing.B) {
	a := newApp(b, 1)
	cfg := config(b, a, b.TempDir())
	cfg.BatchInterval = time.Nanosecond
	r := start(b, cfg)
	raws := transactions(b, b.N)
	latencies := make([]time.Duration, 0, b.N)
	before := cpu(b)
	b.ResetTimer()
	for _, raw := range raws {
		begin := time.Now()
		r.commit(a, raw)
		latencies = append(latencies, time.Since(begin))
	}
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[b.N/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(latencies[b.N*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/tx")
	if err := r.stop(); err != nil {
		b.Fatal(err)
	}
}

// Many clients with one validator.
func BenchmarkThroughput(b *testing.B) {
	a := newApp(b, 1)
	r := start(b, config(b, a, b.TempDir()))
	raws := transactions(b, b.N)
	before := cpu(b)
	b.ResetTimer()
	var clients sync.WaitGroup
	const parallel = 500
	for c := range parallel {
		clients.Go(func() {
			for i := c; i < len(raws); i += parallel {
				r.commit(a, raws[i])
			}
		})
	}
	clients.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(b.N)/float64(a.Head().Height), "tx/block")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/tx")
	if err := r.stop(); err != nil {
		b.Fatal(err)
	}
}

// One operation is an idle second of one validator.
func BenchmarkIdleSecond(b *testing.B) {
	r := start(b, config(b, newApp(b, 1), b.TempDir()))
	before := cpu(b)
	b.ResetTimer()
	<-time.After(time.Duration(b.N) * time.Second)
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/idle-s")
	if err := r.stop(); err != nil {
		b.Fatal(err)
	}
}

// Many clients, each at one of four validators in this process.
func BenchmarkFourValidators(b *testing.B) {
	net := newNetwork(b, 4)
	net.delay = 0
	net.startAll()
	raws := transactions(b, b.N)
	before := cpu(b)
	b.ResetTimer()
	var clients sync.WaitGroup
	const parallel = 500
	for c := range parallel {
		at := uint64(c%4 + 1)
		clients.Go(func() {
			for i := c; i < len(raws); i += parallel {
				net.engine(at).commit(net.nodes[at].app, raws[i])
			}
		})
	}
	clients.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(b.N)/float64(net.nodes[1].app.Head().Height), "tx/block")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/tx")
}
