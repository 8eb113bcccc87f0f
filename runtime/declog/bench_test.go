package declog

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// cpu is what the process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend tells the CPU time and the bytes on disk of a decision, with
// hashing, encryption and syncs, when decisions come as fast as they are taken
// and when 1,000 come before each sync.
func BenchmarkAppend(b *testing.B) {
	b.Run("saturated", func(b *testing.B) { benchmarkAppend(b, 0) })
	b.Run("1000-a-sync", func(b *testing.B) { benchmarkAppend(b, 1000) })
	b.Run("1-a-sync", func(b *testing.B) { benchmarkAppend(b, 1) })
}

func benchmarkAppend(b *testing.B, each int) {
	cfg := (&fakeLedger{}).config()
	cfg.Dir = b.TempDir()
	l, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	if each == 0 {
		go func() { ended <- l.Run(ctx) }()
	}
	r := decision(1)
	before := l.Stats()
	start, n := cpu(b), 0
	for b.Loop() {
		n++
		if _, err := l.Append(ctx, r); err != nil {
			b.Fatal(err)
		}
		if each > 0 && n%each == 0 {
			if err := l.flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.flush(); err != nil {
		b.Fatal(err)
	}
	after := l.Stats()
	b.ReportMetric(float64(cpu(b)-start)/float64(n), "cpu-ns/decision")
	b.ReportMetric(float64(after.Written-before.Written)/float64(n), "disk-B/decision")
	b.ReportMetric(float64(n)/float64(max(1, after.Syncs-before.Syncs)), "decisions/sync")
	cancel()
	if each == 0 {
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
