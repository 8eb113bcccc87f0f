package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
)

// BenchmarkCheck is an answer from memory, and one from a gateway on the loopback
// interface, whose own work is almost nothing, for comparison.
func BenchmarkCheck(b *testing.B) {
	l := newLedger(b)
	l.decide = func(context.Context, abi.Caller, string, []byte) abi.Answer {
		return abi.Answer{Permit: true, TTL: uint64(time.Hour.Milliseconds())}
	}
	address, _ := l.serve(b, l.gateway, "127.0.0.1:0")
	c, k := dial(b, l, address)
	l.enrol(k, abi.StatusActive)
	ctx, q := b.Context(), request()
	b.Run("asked", func(b *testing.B) {
		for b.Loop() {
			if a, err := c.Decide(ctx, "", q); err != nil || !a.Permit {
				b.Fatal(a, err)
			}
		}
	})
	b.Run("kept", func(b *testing.B) {
		for a, err := c.Check(ctx, "", q); a.TTL == uint64(time.Hour.Milliseconds()); a, err = c.Check(ctx, "", q) {
			if err != nil { // until the subscription stands
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		b.ResetTimer()
		for b.Loop() {
			if a, err := c.Check(ctx, "", q); err != nil || !a.Permit {
				b.Fatal(a, err)
			}
		}
	})
}
