package declog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

func sampleHead() *head {
	return &head{chain: testChain, account: testAccount, salt: [saltSize]byte{7}, position: 258, number: 300, tile: make([]byte, 2*hashSize), root: abi.Hash{8}, reserved: 5000}
}

func TestHeadRoundTrip(t *testing.T) {
	h := sampleHead()
	back, err := parseHead(h.append(nil))
	if err != nil || !bytes.Equal(back.append(nil), h.append(nil)) {
		t.Fatalf("%+v, %v", back, err)
	}
	for name, change := range map[string]func(*head){
		"a tile too short":             func(h *head) { h.tile = h.tile[:hashSize] },
		"a number below the position":  func(h *head) { h.number = 257 },
		"reserved below what is given": func(h *head) { h.reserved = 299 },
	} {
		h := sampleHead()
		change(h)
		if _, err := parseHead(h.append(nil)); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sampleBatch holds two decisions.
func sampleBatch() *batch {
	b := &batch{position: 10, number: 12, count: 2, reserved: 4000}
	for n := range 2 {
		r := decision(n)
		r.Number = b.number + uint64(n)
		b.records = r.Append(b.records)
	}
	return b
}

// TestBatchIsAuthentic: what stands in clear before the records cannot be
// changed either, and a batch that was sealed with what it cannot hold is
// refused.
func TestBatchIsAuthentic(t *testing.T) {
	c, err := sealer(testSecret, [saltSize]byte{})
	if err != nil {
		t.Fatal(err)
	}
	body, ok := framing.Read(sampleBatch().seal(nil, c))
	if !ok {
		t.Fatal("no frame")
	}
	if b, err := parseBatch(body, c); err != nil || b.next != 14 {
		t.Fatalf("%+v, %v", b, err)
	}
	if bytes.Contains(body, decision(1).Request) {
		t.Error("a request stands in clear")
	}
	for at := range body {
		bad := bytes.Clone(body)
		bad[at] ^= 1
		if _, err := parseBatch(bad, c); !errors.Is(err, abi.CodeBadProof) {
			t.Fatalf("a flip at %d: %v", at, err)
		}
	}
	gap := proof.Gap{First: 12, Next: 20, Now: 1}
	for name, change := range map[string]func(*batch){
		"another count":           func(b *batch) { b.count = 3 },
		"another number":          func(b *batch) { b.number = 11 },
		"a gap beside decisions":  func(b *batch) { b.records = append(gap.Append(nil), b.records...); b.count = 3 },
		"what is no record":       func(b *batch) { b.records = append(b.records, 0xa0); b.count = 3 },
		"half a record":           func(b *batch) { b.records = b.records[:len(b.records)-1] },
		"a record of other parts": func(b *batch) { b.records = []byte{0x8b, 0x40}; b.count = 1 },
	} {
		b := sampleBatch()
		change(b)
		body, ok := framing.Read(b.seal(nil, c))
		if !ok {
			t.Fatal("no frame")
		}
		if _, err := parseBatch(body, c); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	c, err := sealer(testSecret, [saltSize]byte{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sampleBatch().seal(nil, c))
	f.Add(framing.Append(nil, sampleHead().append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, ok := framing.Read(b)
		if !ok {
			body = b
		} else if !bytes.HasPrefix(b, framing.Append(nil, body)) {
			t.Fatalf("%x has another form", b)
		}
		if h, err := parseHead(body); err == nil && !bytes.Equal(h.append(nil), body) {
			t.Fatalf("%x has another encoding", body)
		}
		parseBatch(body, c)
		part := &batch{records: body}
		part.each(func(it *Item) error { it.Leaf(); return nil })
	})
}
