package chain

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// votes makes n headers of a chain of four validators and their certificates.
func votes(n int) ([]*Header, []*Certificate, ValidatorSet) {
	var set ValidatorSet
	var keys []ed25519.PrivateKey
	for i := range 4 {
		key := ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("certificates of validator %6d", i)))
		keys = append(keys, key)
		set = append(set, Validator{ID: uint64(i + 1), Key: key.Public().(ed25519.PublicKey)})
	}
	headers, certificates := make([]*Header, n), make([]*Certificate, n)
	for i := range headers {
		headers[i] = &Header{Chain: abi.Hash{1}, Height: uint64(i + 1), Validators: set.Hash()}
		c := &Certificate{Metadata: []byte{byte(i)}}
		vote := c.vote(headers[i])
		for k := range set.Quorum() {
			c.Signatures = append(c.Signatures, Signature{set[k].ID, ed25519.Sign(keys[k], vote)})
		}
		certificates[i] = c
	}
	return headers, certificates, set
}

func TestManyCertificatesAcceptWhatEachAccepts(t *testing.T) {
	headers, certificates, set := votes(9)
	if err := VerifyCertificates(headers, certificates, set); err != nil {
		t.Fatal(err)
	}
	if err := VerifyCertificates(nil, nil, set); err != nil {
		t.Fatalf("none at all: %v", err)
	}
	flip := func(b []byte) []byte {
		b = append([]byte(nil), b...)
		b[7] ^= 1
		return b
	}
	for name, spoil := range map[string]func(h *Header, c *Certificate){
		"another block":       func(h *Header, c *Certificate) { h.Time++ },
		"another set":         func(h *Header, c *Certificate) { h.Validators[0]++ },
		"other metadata":      func(h *Header, c *Certificate) { c.Metadata = []byte("other") },
		"another sequence":    func(h *Header, c *Certificate) { c.Sequence++ },
		"too few":             func(h *Header, c *Certificate) { c.Signatures = c.Signatures[:2] },
		"none":                func(h *Header, c *Certificate) { c.Signatures = nil },
		"one twice":           func(h *Header, c *Certificate) { c.Signatures[2] = c.Signatures[1] },
		"out of order":        func(h *Header, c *Certificate) { c.Signatures[0], c.Signatures[1] = c.Signatures[1], c.Signatures[0] },
		"a stranger":          func(h *Header, c *Certificate) { c.Signatures[2].Validator = 9 },
		"under another's id":  func(h *Header, c *Certificate) { c.Signatures[2].Validator = 4 },
		"a flipped bit":       func(h *Header, c *Certificate) { c.Signatures[1].Signature = flip(c.Signatures[1].Signature) },
		"a short signature":   func(h *Header, c *Certificate) { c.Signatures[0].Signature = c.Signatures[0].Signature[:63] },
		"no signature at all": func(h *Header, c *Certificate) { c.Signatures[0].Signature = nil },
	} {
		for _, at := range []int{0, 4, 8} {
			headers, certificates, set := votes(9)
			spoil(headers[at], certificates[at])
			single, many := certificates[at].Verify(headers[at], set), VerifyCertificates(headers, certificates, set)
			if single == nil || many == nil || single.Error() != many.Error() {
				t.Errorf("%s, block %d: %v alone, %v among others", name, at, single, many)
			}
		}
	}
}

func BenchmarkCertificate(b *testing.B) {
	headers, certificates, set := votes(128)
	b.Run("single", func(b *testing.B) {
		for b.Loop() {
			if certificates[0].Verify(headers[0], set) != nil {
				b.Fatal("refused")
			}
		}
	})
	for _, n := range []int{1, 8, 32, 128} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			for b.Loop() {
				if VerifyCertificates(headers[:n], certificates[:n], set) != nil {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/certificate")
		})
	}
}
