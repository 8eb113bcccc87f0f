package custody

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
)

// Whatever is parsed without a mistake makes messages that are canonical and
// within the contract's limits, and can be put together again.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.jsonld")
	if err != nil || len(files) < 3 {
		f.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	const times = `"eventTime":"2026-01-05T08:00:00Z","eventTimeZoneOffset":"+01:00"`
	f.Add([]byte(`{"type":"ObjectEvent","action":"ADD","quantityList":[{"epcClass":"c","quantity":0.000001,"uom":"KGM"}],` + times + `}`))
	f.Add([]byte(`{"type":"TransformationEvent","inputEPCList":["a"],"outputEPCList":["b"],` + times + `}`))
	f.Add([]byte(`{"type":"AggregationEvent","action":"DELETE","parentID":"p",` + times + `}`))
	f.Add([]byte(`{"type":"EPCISQueryDocument","schemaVersion":"2.0","@context":"x","epcisBody":{"queryResults":{"resultsBody":{"eventList":[{"type":"ObjectEvent","action":"OBSERVE","epcList":["a"],` + times + `}]}}}}`))
	key, err := OpenKey(make([]byte, KeyBytes))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		checkParsed(t, src, nil)
		checkParsed(t, src, key)
	})
}

func checkParsed(t *testing.T, src []byte, key *Key) {
	d, err := Parse(src, key)
	if err != nil {
		return
	}
	events := make([][]byte, len(d.Events))
	for i := range d.Events {
		m := d.Take(i)
		if err := cbor.Validate(m); err != nil || len(m) > 64<<10 {
			t.Fatalf("event %d: %v, %d bytes", i, err, len(m))
		}
		events[i] = opened(t, d.Events[i].Content, key)
	}
	whole := events[0]
	if !d.Bare() {
		if err := cbor.Validate(d.Begin()); err != nil {
			t.Fatal(err)
		}
		if whole, err = withEvents(opened(t, d.Header, key), events); err != nil {
			t.Fatal(err)
		}
	}
	want, err := cbor.AppendJSON(nil, src)
	if err != nil || !bytes.Equal(whole, want) {
		t.Fatalf("%x, %v; want %x", whole, err, want)
	}
}

func opened(t *testing.T, content []byte, key *Key) []byte {
	if key == nil {
		return content
	}
	clear, err := key.open(content)
	if err != nil {
		t.Fatal(err)
	}
	return clear
}
