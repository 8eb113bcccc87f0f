package records_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/records"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

var at = time.UnixMilli(wasmtest.Start)

// readings are n of them, the last two alike.
func readings(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"n":"temperature","v":%d}`, min(i, n-2))
	}
	return list
}

func batch(t testing.TB, n int) *records.Batch {
	t.Helper()
	b, err := records.New(readings(n), at, at)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// chain is the contract over a state in memory, and a device of Owner's.
type chain struct {
	*wasmtest.Chain
	t testing.TB
	c *contracts.Contract
}

var device = abi.Hash{7}

func newChain(t testing.TB) *chain {
	t.Helper()
	c, ok := contracts.Named("records")
	if !ok {
		t.Fatal("no contract")
	}
	k := &chain{wasmtest.New(t, wasm.EngineAuto, "records", c.Wasm), t, c}
	// {1: owner, 5: active, 8: since, 10: enrolled}
	record := append([]byte{0xa4, 1, 0x58, 32}, wasmtest.Owner[:]...)
	k.Devices = map[abi.Hash][]byte{device: append(record, 5, 1, 8, 0, 10, 0)}
	return k
}

func (k *chain) message(op string, f map[string]any) []byte {
	k.t.Helper()
	src, err := json.Marshal(map[string]any{op: f})
	if err != nil {
		k.t.Fatal(err)
	}
	encode := k.c.Schema.Call
	if _, ok := k.c.Schema.Query[op]; ok {
		encode = k.c.Schema.Ask
	}
	m, err := encode(src, at)
	if err != nil {
		k.t.Fatal(err)
	}
	return m
}

func (k *chain) notarise(b *records.Batch) []byte {
	return k.As(device).Execute(k.message("notarise", map[string]any{
		"device": hex.EncodeToString(device[:]), "root": hex.EncodeToString(b.Root), "count": len(b.Readings),
		"from": b.From.UnixMilli(), "to": b.To.UnixMilli(),
	}))
}

// valid asks the contract for its word on a proof.
func (k *chain) valid(number int, p *records.Proof) bool {
	k.t.Helper()
	path := []string{}
	for _, s := range p.Path {
		path = append(path, hex.EncodeToString(s))
	}
	leaf := p.Leaf()
	raw := k.Query(k.message("verify", map[string]any{
		"device": hex.EncodeToString(device[:]), "number": number, "leaf": hex.EncodeToString(leaf[:]), "index": p.Index, "path": path,
	}))
	text, err := k.c.Schema.Query["verify"].Result.JSON(raw)
	if err != nil {
		k.t.Fatal(err)
	}
	var v struct{ Valid bool }
	if err := json.Unmarshal(text, &v); err != nil {
		k.t.Fatal(err)
	}
	return v.Valid
}

// Every reading of batches of every shape is proven, by the package and by the
// contract; of another place, another length, or with a changed bit it is not.
func TestEveryReadingIsProven(t *testing.T) {
	k := newChain(t)
	for n := 1; n <= 33; n++ {
		b := batch(t, n)
		k.notarise(b)
		for i := range n {
			p, err := b.Prove(i)
			if err != nil || p.Check() != nil || !k.valid(n-1, p) {
				t.Fatalf("reading %d of %d: %v, %v", i, n, err, p.Check())
			}
			for name, change := range changes(n) {
				q := *p
				q.Path = append([]records.Hex{}, p.Path...)
				change(&q)
				if q.Check() == nil || k.valid(n-1, &q) {
					t.Fatalf("reading %d of %d, %s: still proven", i, n, name)
				}
			}
		}
	}
}

func changes(n int) map[string]func(*records.Proof) {
	list := map[string]func(*records.Proof){
		"another text":  func(p *records.Proof) { p.Text += " " },
		"another salt":  func(p *records.Proof) { p.Salt = flip(p.Salt) },
		"a longer path": func(p *records.Proof) { p.Path = append(p.Path, p.Root) },
	}
	if n > 1 {
		list["another place"] = func(p *records.Proof) { p.Index = (p.Index + 1) % uint64(n) }
		list["a shorter path"] = func(p *records.Proof) { p.Path = p.Path[1:] }
		list["another path"] = func(p *records.Proof) { p.Path[0] = flip(p.Path[0]) }
		list["another end"] = func(p *records.Proof) { p.Path[len(p.Path)-1] = flip(p.Path[len(p.Path)-1]) }
	}
	return list
}

func flip(h records.Hex) records.Hex {
	changed := bytes.Clone(h)
	changed[len(changed)-1] ^= 1
	return changed
}

// A batch's file with one byte changed is refused, unless the change says
// nothing (the dates, which no hash covers, or white space).
func TestAChangedFileIsRefused(t *testing.T) {
	b := batch(t, 5)
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Parse(text); err != nil {
		t.Fatal(err)
	}
	dates, end := bytes.Index(text, []byte(`"from"`)), bytes.Index(text, []byte(`"readings"`))
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		got, err := records.Parse(changed)
		if err == nil && (i < dates || i >= end) {
			again, _ := json.Marshal(got)
			if !bytes.Equal(again, text) {
				t.Errorf("byte %d may change: %s", i, changed)
			}
		}
	}
}

func TestAChangedProofIsRefused(t *testing.T) {
	p, err := batch(t, 7).Prove(6)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for i := bytes.Index(text, []byte(`"root"`)); i < len(text); i++ {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		if got, err := records.ParseProof(changed); err == nil {
			again, _ := json.Marshal(got)
			if !bytes.Equal(again, text) {
				t.Errorf("byte %d may change: %s", i, changed)
			}
		}
	}
}

func TestSaltsHideReadings(t *testing.T) {
	b := batch(t, 10)
	if string(b.Readings[8].Text) != b.Readings[9].Text || b.Readings[8].Leaf() == b.Readings[9].Leaf() {
		t.Error("two readings alike have one leaf")
	}
	if again := batch(t, 10); bytes.Equal(again.Root, b.Root) {
		t.Error("the same readings have the same root twice")
	}
}

func TestBatchesHaveBounds(t *testing.T) {
	if _, err := records.New(nil, at, at); !errors.Is(err, records.ErrEmpty) {
		t.Error(err)
	}
	if _, err := records.New([]string{strings.Repeat("x", records.MaxReading+1)}, at, at); err == nil {
		t.Error("a reading too long")
	}
	if _, err := records.New([]string{"\xff"}, at, at); err == nil {
		t.Error("a reading that JSON does not hold")
	}
	for _, i := range []int{-1, 3} {
		if _, err := batch(t, 3).Prove(i); err == nil {
			t.Errorf("reading %d of 3", i)
		}
	}
	for _, text := range []string{"", "{}", `{"readings":[{}]}`, "[]", `{"readings":[{"salt":"00","reading":"x"}]}`} {
		if _, err := records.Parse([]byte(text)); err == nil {
			t.Errorf("%q is a batch", text)
		}
	}
}

// FuzzParseProof: what is read as a proof is one, whatever else stands there.
func FuzzParseProof(f *testing.F) {
	p, err := batch(f, 3).Prove(2)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"path":["00"]}`))
	f.Add([]byte(`{"path":[null],"count":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := records.ParseProof(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := records.ParseProof(again); err != nil || q.Index != p.Index {
			t.Errorf("%s: %v", again, err)
		}
	})
}
