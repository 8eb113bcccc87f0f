package chain

import (
	"fmt"
	"testing"
)

// BenchmarkVerifyAll reports the time of one signature, checked in batches of
// each size.
func BenchmarkVerifyAll(b *testing.B) {
	all := goodEnvelopes(b, 256)
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 94, 95, 128, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			for b.Loop() {
				VerifyAll(all[:n])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
		})
	}
}

func BenchmarkVerifySingle(b *testing.B) {
	for _, p := range parties() {
		b.Run(p.name, func(b *testing.B) {
			raw := must(Seal([]byte{0xa0}, PurposeTransaction, p))(b)
			e := must(ParseEnvelope(raw, PurposeTransaction))(b)
			for b.Loop() {
				if e.Verify() != nil {
					b.Fatal("bad signature")
				}
			}
		})
	}
}

// BenchmarkVerifyAllOneBad is the worst case: one bad signature sends a whole
// batch to single checks.
func BenchmarkVerifyAllOneBad(b *testing.B) {
	batch := goodEnvelopes(b, 64)
	batch[63].Signature[0] ^= 1
	for b.Loop() {
		VerifyAll(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/signature")
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
