package cbor

import "testing"

// benchRequest is a decision request with properties, its keys in the order in
// which a client writes them.
const benchRequest = `{"subject":{"type":"device","id":"a9993e364706816aba3e25717850c26c9cd0d89d",
	"properties":{"model":"L100","site":"hq","floor":3}},"action":{"name":"open"},
	"resource":{"type":"door","id":"d-17","properties":{"zone":"lab","temperature":21.5}},
	"context":{"reason":"maintenance","tags":["a","b","c"],"urgent":true}}`

func benchItem(b *testing.B) []byte {
	b.Helper()
	item, err := AppendJSON(nil, []byte(benchRequest))
	if err != nil {
		b.Fatal(err)
	}
	return item
}

func BenchmarkValidate(b *testing.B) {
	item := benchItem(b)
	b.SetBytes(int64(len(item)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Validate(item); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFields(b *testing.B) {
	var item []byte
	item = AppendMap(item, 8)
	for i := range uint64(8) {
		item = AppendBytes(AppendUint(item, i), make([]byte, 32))
	}
	b.SetBytes(int64(len(item)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(item)
		n := 0
		for f := r.Fields(); f.Next(); {
			n += len(r.Bytes())
		}
		if r.Done() != nil || n != 256 {
			b.Fatal(r.Err())
		}
	}
}

// BenchmarkAppendJSON: a request whose keys stand in canonical order, and one
// as clients write it.
func BenchmarkAppendJSON(b *testing.B) {
	sorted, err := AppendAsJSON(nil, benchItem(b))
	if err != nil {
		b.Fatal(err)
	}
	for name, src := range map[string][]byte{"sorted": sorted, "unsorted": []byte(benchRequest)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := AppendJSON(nil, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppendJSONHostile: none of these may be far dearer by the byte.
func BenchmarkAppendJSONHostile(b *testing.B) {
	for name, src := range hostileJSON() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = AppendJSON(nil, src) // some are refused
			}
		})
	}
}

func BenchmarkAppendAsJSON(b *testing.B) {
	item := benchItem(b)
	b.SetBytes(int64(len(item)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = AppendAsJSON(buf[:0], item); err != nil {
			b.Fatal(err)
		}
	}
}
