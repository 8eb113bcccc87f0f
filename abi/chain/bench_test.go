package chain

import (
	"fmt"
	"syscall"
	"testing"
)

// cpuTime is the processor time of this process in ns. It is what benchmarks
// report a signature, since wall time counts the neighbours' work too.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func perSignature(b *testing.B, n int, verify func()) {
	start := cpuTime(b)
	for b.Loop() {
		verify()
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N*n), "cpu-ns/signature")
}

// BenchmarkVerifyAll reports one signature's share of batches of each size.
func BenchmarkVerifyAll(b *testing.B) {
	all := goodEnvelopes(b, 256)
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 94, 95, 128, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			perSignature(b, n, func() { VerifyAll(all[:n]) })
		})
	}
}

func BenchmarkVerifySingle(b *testing.B) {
	for _, p := range parties() {
		b.Run(p.name, func(b *testing.B) {
			raw := must(Seal([]byte{0xa0}, PurposeTransaction, p))(b)
			e := must(ParseEnvelope(raw, PurposeTransaction))(b)
			perSignature(b, 1, func() {
				if e.Verify() != nil {
					b.Fatal("bad signature")
				}
			})
		})
	}
}

// BenchmarkVerifyAllOneBad is the worst case: one bad signature sends a whole
// batch to single checks.
func BenchmarkVerifyAllOneBad(b *testing.B) {
	batch := goodEnvelopes(b, 64)
	batch[63].Signature[32] ^= 1 // S, so that it shows only in the equation
	perSignature(b, len(batch), func() { VerifyAll(batch) })
}

func BenchmarkParseTx(b *testing.B) {
	raw := must(SignTx(vectorBodies(hash("chain"))["transaction/window"], newEd("alice")))(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTx(raw); err != nil {
			b.Fatal(err)
		}
	}
}
