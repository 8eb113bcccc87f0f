package fake

import (
	"context"
	"crypto/sha256"
	"syscall"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/sdk/contract/internal/script"
)

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGuest measures calls of Go guests on the real host, by the CPU time
// of the whole call, and their gas: an empty script; one that reads three
// values; the template's decision, one read and the clock.
func BenchmarkGuest(b *testing.B) {
	question := abi.DecisionRequest{Action: abi.Action{Name: "open"}, Resource: abi.Entity{Type: "door", ID: "front"}}
	for _, engine := range engines() {
		n := newNode(b, engine)
		w := newWorld(b, n.entries(b, buildGuest(b, scriptGuest)))
		read := []any{script.Get, "deployed"}
		template, err := w.chain.deploy("template", w.alice, n.entries(b, buildGuest(b, "github.com/seed79541315/postern/sdk/contract/template")), nil)
		if err != nil {
			b.Fatal(err)
		}
		template.state["guests/"+string(w.device[:])] = string(cbor.AppendInt(nil, 1<<60)) // invited for long
		question.Subject = w.chain.subject(w.device)
		asked := &abi.Input{Caller: &w.device, Domain: abi.DefaultDomain, Message: abi.AppendDecisionRequest(nil, &question)}
		for _, bench := range []struct {
			name  string
			entry abi.Entry
			of    *Contract
			in    *abi.Input
		}{
			{"empty", abi.EntryQuery, w.a, &abi.Input{Message: steps()}},
			{"three reads", abi.EntryQuery, w.a, &abi.Input{Message: steps(read, read, read)}},
			{"decide", abi.EntryDecide, template, asked},
		} {
			b.Run(engine.String()+"/"+bench.name, func(b *testing.B) {
				benchmarkCall(b, n, &call{contract: bench.of, entry: bench.entry, input: w.chain.input(bench.of, bench.in)})
			})
		}
	}
}

func benchmarkCall(b *testing.B, n *node, r *call) {
	run := r.contract.entries[r.entry]
	if out, err := run(r); err != nil || len(out) == 0 {
		b.Fatalf("%x, %v", out, err)
	}
	before := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := run(r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(n.used), "gas/op")
}

// BenchmarkGuestCompile measures how long a node needs to make a Go guest
// ready: checks, metering, compilation, initialisation.
func BenchmarkGuestCompile(b *testing.B) {
	blob := buildGuest(b, scriptGuest)
	for _, engine := range engines() {
		b.Run(engine.String(), func(b *testing.B) {
			before := cpuTime(b)
			for b.Loop() {
				r, err := wasm.New(context.Background(), wasm.Config{Engine: engine, Protocol: wasm.Protocol, Profile: abi.ProfileWide})
				if err != nil {
					b.Fatal(err)
				}
				if err := r.Compile(context.Background(), wasm.Protocol, sha256.Sum256(blob), blob); err != nil {
					b.Fatal(err)
				}
				if err := r.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(len(blob)), "bytes")
		})
	}
}
