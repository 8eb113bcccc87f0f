package proof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

var logAccount = abi.Hash{2}

// sampleReceipt is of a record in a log of five, anchored by block 8, which the
// second set of validators certified.
func sampleReceipt(t testing.TB) (*Receipt, *Trusted) {
	t.Helper()
	one, two := setOf(1, "a"), setOf(1, "a", "b")
	log := newTestLog(3)
	r := sampleRecord()
	log.add(tlog.Hash(r.Leaf()))
	log.add(tlog.RecordHash([]byte("after it")))
	head := log.head(log.size)
	note := signed(t, head)
	path, err := tlog.ProveRecord(log.size, 3, log)
	if err != nil {
		t.Fatal(err)
	}
	anchored := chain.Anchored{Size: head.Size, Root: head.Root, Height: 8, Time: 1_767_600_060_000, Note: note, Key: logKey.Public()}
	value := anchored.Append(nil)
	e := Entry{Validators: two, State: State{Present: true, Value: value}}
	e.Header = chain.Header{Chain: abi.Hash{1}, Protocol: 3, Height: 9, Time: 1_767_600_061_000, Validators: two.Hash(), NextValidators: two.Hash()}
	e.Header.State = Leaf(KeyHash(chain.AnchorKey(logAccount)), ValueHash(value))
	certify(&e, "a", "b")
	return &Receipt{
		Account: logAccount, Record: r.Disclose(0), Anchor: e, Steps: []Step{stepOf(5, one, two, "a")},
		Log: LogProof{Index: 3, Path: hashesOf(path), Checkpoint: note},
	}, &Trusted{Chain: abi.Hash{1}, Validators: one}
}

// certify signs an entry's header anew.
func certify(e *Entry, names ...string) {
	vote := chain.AppendVote(nil, e.Header.Chain, e.Header.Hash(), nil, 0)
	e.Certificate.Signatures = nil
	for i, name := range names {
		e.Certificate.Signatures = append(e.Certificate.Signatures, chain.Signature{Validator: e.Validators[i].ID, Signature: ed25519.Sign(signerOf(name), vote)})
	}
}

func TestReceipt(t *testing.T) {
	made, trusted := sampleReceipt(t)
	for name, hidden := range map[string]FieldSet{"all of it": 0, "without caller and request": Fields(FieldCaller, FieldRequest)} {
		r, err := ParseReceipt(made.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		r.Record.Hide(hidden)
		if r, err = ParseReceipt(r.Append(nil)); err != nil {
			t.Fatal(err)
		}
		p, err := r.Verify(trusted)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !p.Record.Permit || p.Record.Number != 42 || p.Shown.Has(FieldCaller) != (hidden == 0) || p.Index != 3 || p.Size != 5 || p.Height != 8 || p.Time != 1_767_600_060_000 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if trusted.Height != 0 {
		t.Error("what was trusted is another now")
	}
	later := Trusted{Chain: abi.Hash{1}, Validators: setOf(1, "a", "b"), Height: 5}
	if _, err := made.Verify(&later); err != nil {
		t.Errorf("from the set that signed it: %v", err)
	}
}

// TestReceiptForged: whoever makes a receipt, the gateway included, cannot have
// it prove anything else.
func TestReceiptForged(t *testing.T) {
	other := sampleRecord()
	other.Permit, other.Code = false, abi.CodeDenied
	for name, forge := range map[string]func(*Receipt, *Trusted){
		"another decision":            func(r *Receipt, _ *Trusted) { r.Record = other.Disclose(0) },
		"another place":               func(r *Receipt, _ *Trusted) { r.Log.Index = 2 },
		"a place behind the end":      func(r *Receipt, _ *Trusted) { r.Log.Index = 5 },
		"no path":                     func(r *Receipt, _ *Trusted) { r.Log.Path = nil },
		"another gateway":             func(r *Receipt, _ *Trusted) { r.Account[0]++ },
		"another head":                func(r *Receipt, _ *Trusted) { r.Log.Checkpoint = signed(t, newTestLog(5).head(5)) },
		"an older head":               func(r *Receipt, _ *Trusted) { r.Log.Checkpoint = signed(t, newTestLog(3).head(3)) },
		"a head that nobody signed":   func(r *Receipt, _ *Trusted) { r.Log.Checkpoint = append(newTestLog(5).head(5).AppendText(nil), '\n') },
		"no steps":                    func(r *Receipt, _ *Trusted) { r.Steps = nil },
		"a step that leads elsewhere": func(r *Receipt, _ *Trusted) { r.Steps = []Step{stepOf(5, setOf(1, "a"), setOf(1, "c"), "a")} },
		"another chain":               func(_ *Receipt, t *Trusted) { t.Chain[0]++ },
		"trust above it":              func(_ *Receipt, t *Trusted) { t.Height, t.Validators = 20, setOf(1, "c") },
		"too few signatures":          func(r *Receipt, _ *Trusted) { certify(&r.Anchor, "a") },
		"no anchor": func(r *Receipt, _ *Trusted) {
			r.Anchor.State = State{}
			r.Anchor.Header.State = abi.Hash{}
			certify(&r.Anchor, "a", "b")
		},
		"another state": func(r *Receipt, _ *Trusted) {
			r.Anchor.State.Value = append([]byte{}, r.Anchor.State.Value...)
			r.Anchor.State.Value[5]++
		},
		"a header that nobody signed": func(r *Receipt, _ *Trusted) { r.Anchor.Header.Time++ },
	} {
		r, trusted := sampleReceipt(t)
		forge(r, trusted)
		if p, err := r.Verify(trusted); err == nil {
			t.Errorf("%s: proves %+v", name, p)
		}
	}
}

// TestReceiptVector holds encodings to bytes that were written once, with what
// another implementation has to find out from them.
func TestReceiptVector(t *testing.T) {
	r, trusted := sampleReceipt(t)
	r.Record.Hide(Fields(FieldCaller))
	key, err := VerifierKey(logOrigin, logKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	leaf := r.Record.Leaf()
	text, err := json.MarshalIndent(map[string]string{
		"receipt": hex.EncodeToString(r.Append(nil)), "chain": hex.EncodeToString(trusted.Chain[:]),
		"validators_before_the_step": hex.EncodeToString(trusted.Validators.Append(nil)),
		"log_verifier_key":           key, "log_proof": string(r.Log.Append(nil)), "leaf": hex.EncodeToString(leaf[:]),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/receipt.json"
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(append(text, '\n'), want) {
		t.Errorf("%s holds another vector (%v):\n%s", file, err, text)
	}
}

func TestParseReceiptRefuses(t *testing.T) {
	r, _ := sampleReceipt(t)
	good := r.Append(nil)
	for name, b := range map[string][]byte{
		"nothing": nil, "cut short": good[:len(good)-1], "more behind": append(bytes.Clone(good), 0),
		"a long one": make([]byte, MaxReceipt+1),
	} {
		if _, err := ParseReceipt(b); !errors.Is(err, abi.CodeMalformed) && !errors.Is(err, abi.CodeTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLogProofRefused(t *testing.T) {
	r, _ := sampleReceipt(t)
	good := string(r.Log.Append(nil))
	for name, text := range map[string]string{
		"nothing":         "",
		"another version": strings.Replace(good, "@v1", "@v2", 1),
		"a leading zero":  strings.Replace(good, "index 3", "index 03", 1),
		"extra data":      strings.Replace(good, "index", "extra AA==\nindex", 1),
		"a short hash":    strings.Replace(good, "=\n", "\n", 1),
		"no checkpoint":   good[:strings.Index(good, "\n\n")+2],
		"a long path":     "c2sp.org/tlog-proof@v1\nindex 3\n" + strings.Repeat("gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n", 61) + good[strings.Index(good, "\n\n")+1:],
	} {
		if _, err := ParseLogProof([]byte(text)); !errors.Is(err, abi.CodeMalformed) && !errors.Is(err, abi.CodeTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReceipt(f *testing.F) {
	r, trusted := sampleReceipt(f)
	f.Add(r.Append(nil))
	want := r.Record.Leaf()
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReceipt(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Append(nil), b) {
			t.Fatalf("%x has another encoding", b)
		}
		if _, err := r.Verify(trusted); err == nil && r.Record.Leaf() != want {
			t.Fatalf("%x proves what was never recorded", b)
		}
	})
}

func FuzzLogProof(f *testing.F) {
	r, _ := sampleReceipt(f)
	f.Add(r.Log.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseLogProof(b); err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Fatalf("%q has another form", b)
		}
	})
}
