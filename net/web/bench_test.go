package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// instant answers without looking, so that a benchmark measures this package.
type instant struct{ fakeNode }

func (*instant) Decide(context.Context, abi.Caller, string, []byte) abi.Answer {
	return abi.Answer{Permit: true, Record: 7, Height: 42, Contract: "access", CodeHash: abi.Hash{1}, Now: 1700000000000}
}

const benchAsk = `{"subject":{"type":"user","id":"CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"},"action":{"name":"can_update_todo"},"resource":{"type":"todo","id":"7240d0db-8ff0-41ec-98b2-34a096273b92","properties":{"ownerID":"rick@the-citadel.com"}},"context":{"ip":"192.0.2.1","level":1.5}}`

// BenchmarkEvaluation is one evaluation from parsed headers to the answer's
// bytes: the token's hash, JSON to CBOR, the request's encoding, the answer.
func BenchmarkEvaluation(b *testing.B) {
	s, _ := newServer(b, &instant{}, func(c *Config) { c.Logger = nil })
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		w := newRecorder()
		s.ServeHTTP(w, newRequest("https://localhost"+evaluationPath, benchAsk))
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
}

// BenchmarkBatch is a full batch; the figure is per item.
func BenchmarkBatch(b *testing.B) {
	s, _ := newServer(b, &instant{}, func(c *Config) { c.Logger = nil })
	body := `{"evaluations":[` + strings.TrimSuffix(strings.Repeat(benchAsk+",", abi.MaxBatch), ",") + `]}`
	b.ReportAllocs()
	for b.Loop() {
		w := newRecorder()
		s.ServeHTTP(w, newRequest("https://localhost"+evaluationsPath, body))
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/abi.MaxBatch, "ns/item")
}

// BenchmarkHTTPS is one evaluation over a kept connection on the loopback.
// cpu-ns/op is the process's CPU time, the client's share included; bare is
// the same exchange with a handler that only reads and writes, and so the
// price of net/http and TLS.
func BenchmarkHTTPS(b *testing.B) {
	for _, http2 := range []bool{false, true} {
		for _, bare := range []bool{true, false} {
			b.Run(fmt.Sprintf("http2=%v/bare=%v", http2, bare), func(b *testing.B) {
				s := run(b, listenTCP(b), &instant{}, func(c *Config) { c.Logger = nil })
				if bare {
					s.end(b)
					s = runBare(b)
				}
				defer s.end(b)
				exchange(b, client(b, http2), "https://"+s.Addr().String()+evaluationPath)
			})
		}
	}
}

func runBare(b *testing.B) *running {
	s, log := newServer(b, &instant{}, func(c *Config) { c.Listener, c.Logger = listenTCP(b), nil })
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		writeJSON(w, 200, []byte(strings.Repeat(" ", 240)))
	})
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s, log, cancel, make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	return r
}

func exchange(b *testing.B, c *http.Client, url string) {
	start := cpuTime(b)
	for b.Loop() {
		resp, err := c.Do(newRequest(url, benchAsk))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			b.Fatal(resp.StatusCode, err)
		}
		resp.Body.Close()
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
}

// cpuTime is the CPU time of this process in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
