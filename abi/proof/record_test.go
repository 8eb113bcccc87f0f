package proof

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/seed79541315/postern/abi"
)

func sampleRecord() *Record {
	return &Record{
		Salt: Salt{1, 2, 3}, Number: 42, Now: 1_767_600_000_123, Trusted: true, Height: 7, Staleness: 250,
		Caller: abi.Hash{9, 9}, Domain: "default", Contract: "access", CodeHash: abi.Hash{4, 5},
		Request: []byte{0xa2, 1, 2}, Permit: true, Reason: 3, ReasonID: "night", TTL: 5000, Obligations: abi.Hash{6},
	}
}

func sampleRecords() map[string]*Record {
	denied := sampleRecord()
	denied.Permit, denied.Code, denied.ReasonID, denied.Obligations = false, abi.CodeDenied, "", abi.Hash{}
	long := sampleRecord()
	long.Request = bytes.Repeat([]byte{7}, 3000)
	return map[string]*Record{"permit": sampleRecord(), "denial": denied, "long": long, "zero": {}}
}

func TestRecordRoundTrip(t *testing.T) {
	for name, r := range sampleRecords() {
		b := r.Append(nil)
		back, err := ParseRecord(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(back.Append(nil), b) || back.Leaf() != r.Leaf() {
			t.Errorf("%s comes back as %+v", name, back)
		}
		if leaf, err := RecordLeaf(b); err != nil || leaf != r.Leaf() {
			t.Errorf("%s: encoded, its leaf is %x, %v", name, leaf, err)
		}
	}
}

// TestLeafCommitsToEverything: no field, and no salt, can be changed without
// another leaf.
func TestLeafCommitsToEverything(t *testing.T) {
	seen := map[abi.Hash]string{sampleRecord().Leaf(): "unchanged"}
	for name, change := range map[string]func(*Record){
		"salt":        func(r *Record) { r.Salt[15]++ },
		"number":      func(r *Record) { r.Number++ },
		"now":         func(r *Record) { r.Now++ },
		"trusted":     func(r *Record) { r.Trusted = false },
		"height":      func(r *Record) { r.Height++ },
		"staleness":   func(r *Record) { r.Staleness++ },
		"caller":      func(r *Record) { r.Caller[31]++ },
		"domain":      func(r *Record) { r.Domain += "x" },
		"contract":    func(r *Record) { r.Contract += "x" },
		"code hash":   func(r *Record) { r.CodeHash[0]++ },
		"request":     func(r *Record) { r.Request = append(r.Request, 0) },
		"permit":      func(r *Record) { r.Permit = false },
		"code":        func(r *Record) { r.Code++ },
		"reason":      func(r *Record) { r.Reason++ },
		"reason id":   func(r *Record) { r.ReasonID = "day" },
		"ttl":         func(r *Record) { r.TTL++ },
		"obligations": func(r *Record) { r.Obligations = abi.Hash{} },
	} {
		r := sampleRecord()
		change(r)
		leaf := r.Leaf()
		if other, ok := seen[leaf]; ok {
			t.Errorf("%s: the leaf is that of %s", name, other)
		}
		seen[leaf] = name
	}
}

func TestDisclosure(t *testing.T) {
	for name, r := range sampleRecords() {
		for hidden := range FieldSet(1 << (numFields + 1)) {
			if hidden&1 != 0 || hidden.Has(FieldTime) { // half of them will do
				continue
			}
			d, err := ParseDisclosure(r.Disclose(hidden).Append(nil))
			if err != nil {
				t.Fatalf("%s without %v: %v", name, hidden.List(), err)
			}
			if d.Leaf() != r.Leaf() || d.Shown()&hidden != 0 || d.Shown()|hidden != Fields(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) {
				t.Fatalf("%s without %v shows %v", name, hidden.List(), d.Shown().List())
			}
			shown, err := d.Record()
			if err != nil {
				t.Fatal(err)
			}
			for f := Field(1); f <= numFields; f++ {
				want := (&Record{}).appendValue(nil, f)
				if !hidden.Has(f) {
					want = r.appendValue(nil, f)
				}
				if !bytes.Equal(shown.appendValue(nil, f), want) {
					t.Fatalf("%s without %v: %v is %x", name, hidden.List(), f, shown.appendValue(nil, f))
				}
			}
		}
	}
}

// TestDisclosureHidesValueAndSalt: nothing in the encoding helps to guess.
func TestDisclosureHidesValueAndSalt(t *testing.T) {
	r := sampleRecord()
	r.Request = []byte("the badge of ann")
	b := r.Disclose(Fields(FieldRequest, FieldCaller)).Append(nil)
	salts := r.salts()
	for name, secret := range map[string][]byte{
		"request": r.Request, "its salt": salts[FieldRequest-1][:], "caller": r.Caller[:], "its": salts[FieldCaller-1][:], "the record's salt": r.Salt[:],
	} {
		if bytes.Contains(b, secret) {
			t.Errorf("%s stands in it", name)
		}
	}
	if !bytes.Contains(b, salts[FieldDomain-1][:]) {
		t.Error("what is shown has no salt")
	}
}

// TestDisclosureForged: a field cannot be swapped for another, and no hidden
// one shown with another value.
func TestDisclosureForged(t *testing.T) {
	want := sampleRecord().Leaf()
	for name, forge := range map[string]func(*Disclosure){
		"another value":      func(d *Disclosure) { d[FieldDecision-1].value = (&Record{}).appendValue(nil, FieldDecision) },
		"another salt":       func(d *Disclosure) { d[FieldDecision-1].salt[0]++ },
		"another commitment": func(d *Disclosure) { d[FieldCaller-1].commitment[0]++ },
		"fields swapped":     func(d *Disclosure) { d[FieldDomain-1], d[FieldRules-1] = d[FieldRules-1], d[FieldDomain-1] },
		"shown from nothing": func(d *Disclosure) { d[FieldCaller-1].value = sampleRecord().appendValue(nil, FieldCaller) },
	} {
		d := sampleRecord().Disclose(Fields(FieldCaller))
		forge(d)
		if d.Leaf() == want {
			t.Errorf("%s: the leaf is the same", name)
		}
	}
}

func TestFieldNames(t *testing.T) {
	for f := Field(1); f <= numFields; f++ {
		if back, err := ParseField(f.String()); err != nil || back != f {
			t.Errorf("%v is read as %v, %v", f, back, err)
		}
	}
	if _, err := ParseField("salt"); !errors.Is(err, abi.CodeBadArgument) {
		t.Error(err)
	}
}

func TestGap(t *testing.T) {
	g := Gap{5, 9, -3}
	back, err := ParseGap(g.Append(nil))
	if err != nil || back != g {
		t.Fatalf("%+v, %v", back, err)
	}
	for _, bad := range []Gap{{5, 5, 1}, {5, 4, 1}} {
		if _, err := ParseGap(bad.Append(nil)); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if g.Leaf() == (&Gap{5, 10, -3}).Leaf() {
		t.Error("two gaps have one leaf")
	}
}

var update = flag.Bool("update", false, "write testdata anew")

// recordVector is what another implementation checks itself against.
type recordVector struct {
	Name        string            `json:"name"`
	Record      string            `json:"record"`
	Values      map[string]string `json:"values"`
	Salts       map[string]string `json:"salts"`
	Leaf        string            `json:"leaf"`
	HideRequest string            `json:"without_caller_and_request"`
}

// TestRecordVectors holds all encodings to bytes that were written once.
func TestRecordVectors(t *testing.T) {
	var made []recordVector
	for _, name := range []string{"permit", "denial", "zero"} {
		r := sampleRecords()[name]
		v := recordVector{Name: name, Record: hex.EncodeToString(r.Append(nil)), Values: map[string]string{}, Salts: map[string]string{}, Leaf: hexOf(r.Leaf()),
			HideRequest: hex.EncodeToString(r.Disclose(Fields(FieldCaller, FieldRequest)).Append(nil))}
		for i, salt := range r.salts() {
			f := Field(i + 1)
			v.Salts[f.String()], v.Values[f.String()] = hex.EncodeToString(salt[:]), hex.EncodeToString(r.appendValue(nil, f))
		}
		made = append(made, v)
	}
	g := Gap{5, 9, 1_767_600_000_000}
	made = append(made, recordVector{Name: "gap", Record: hex.EncodeToString(g.Append(nil)), Leaf: hexOf(g.Leaf())})
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/records.json"
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(append(text, '\n'), want) {
		t.Errorf("%s holds other vectors (%v):\n%s", file, err, text)
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(r.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRecord(b); err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Fatalf("%x has another encoding", b)
		}
		if g, err := ParseGap(b); err == nil && !bytes.Equal(g.Append(nil), b) {
			t.Fatalf("%x has another encoding", b)
		}
	})
}

func FuzzDisclosure(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(r.Disclose(0).Append(nil))
		f.Add(r.Disclose(Fields(FieldCaller, FieldRequest)).Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDisclosure(b)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Append(nil), b) {
			t.Fatalf("%x has another encoding", b)
		}
		leaf := d.Leaf()
		if d.Hide(Fields(1, 2, 3, 4, 5)); d.Leaf() != leaf {
			t.Fatalf("hiding changes the leaf of %x", b)
		}
	})
}

func BenchmarkLeaf(b *testing.B) {
	r := sampleRecord()
	r.Request = make([]byte, 90)
	b.ReportAllocs()
	for b.Loop() {
		r.Leaf()
	}
}
