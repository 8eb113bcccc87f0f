package firmware_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/firmware"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
	"github.com/seed79541315/postern/sdk/key"
)

var (
	maker    = abi.Hash{0x31}
	operator = abi.Hash{0x32}
	vendor   = unhex("fa6b4a53d5ad5fdfbe9de663e4d41ffe")
	class    = unhex("1492af1425695e48bf429b2d51f2ab45")
)

func unhex(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// fields are an operation's, by name.
type fields map[string]any

// bench is the contract over a state in memory.
type bench struct {
	*wasmtest.Chain
	t testing.TB
	c *contracts.Contract
}

func newBench(t testing.TB, engine wasm.Engine) *bench {
	t.Helper()
	c, ok := contracts.Named("firmware")
	if !ok {
		t.Fatal("no contract")
	}
	return &bench{wasmtest.New(t, engine, "firmware", c.Wasm), t, c}
}

func (b *bench) message(op string, f fields) []byte {
	b.t.Helper()
	src, err := json.Marshal(map[string]fields{op: f})
	if err != nil {
		b.t.Fatal(err)
	}
	encode := b.c.Schema.Call
	if _, ok := b.c.Schema.Query[op]; ok {
		encode = b.c.Schema.Ask
	}
	m, err := encode(src, time.UnixMilli(b.Input.Time))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (b *bench) do(who abi.Hash, op string, f fields) {
	b.t.Helper()
	b.As(who).Execute(b.message(op, f))
}

// line makes a line of the examples' vendor and class, with a key.
func (b *bench) line(public []byte) {
	b.t.Helper()
	b.do(wasmtest.Owner, "put_line", fields{
		"line": "cam", "vendor": hex.EncodeToString(vendor), "class": hex.EncodeToString(class), "component": []string{"00"},
		"key_quorum": 1, "maker_quorum": 1, "operator_quorum": 1,
	})
	b.do(wasmtest.Owner, "put_member", fields{"line": "cam", "account": hex.EncodeToString(maker[:]), "side": "maker"})
	b.do(wasmtest.Owner, "put_member", fields{"line": "cam", "account": hex.EncodeToString(operator[:]), "side": "operator"})
	b.do(wasmtest.Owner, "put_key", fields{"line": "cam", "key": hex.EncodeToString(public)})
}

func (b *bench) proposal(envelope, public []byte) []byte {
	return b.message("propose", fields{
		"line": "cam", "envelope": hex.EncodeToString(envelope), "keys": []string{hex.EncodeToString(public)},
		"version": "1", "needs": []any{},
	})
}

// example reads an envelope of the draft's, and the key that verifies it.
func example(t testing.TB, name string) (envelope, public []byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("testdata/public_key.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	point, err := parsed.(*ecdsa.PublicKey).Bytes() // 4, X, Y (SEC 1, section 2.3.3)
	if err != nil {
		t.Fatal(err)
	}
	return unhex(string(text)), append([]byte{2 | point[64]&1}, point[1:33]...)
}

// refused says whether the contract itself refuses a message.
func (b *bench) refused(message []byte) bool {
	_, code, err := b.As(maker).Call(abi.EntryExecute, message)
	return err != nil && code != 0
}

// The draft's examples verify; with any bit of theirs changed, or cut off
// anywhere, they do not, and the contract says so itself.
func TestExamplesOfTheDraft(t *testing.T) {
	for i, name := range []string{"example0.hex", "example1.hex"} {
		envelope, public := example(t, name)
		b := newBench(t, wasm.EngineAuto)
		b.line(public)
		for at := range envelope {
			for bit := range 8 {
				changed := bytes.Clone(envelope)
				changed[at] ^= 1 << bit
				if !b.refused(b.proposal(changed, public)) {
					t.Fatalf("%s: bit %d of byte %d may change", name, bit, at)
				}
			}
			if !b.refused(b.proposal(envelope[:at], public)) {
				t.Fatalf("%s may be cut off at byte %d", name, at)
			}
		}
		if !b.refused(b.proposal(append(bytes.Clone(envelope), 0), public)) {
			t.Fatalf("%s may have a byte behind it", name)
		}
		b.As(maker).Execute(b.proposal(envelope, public))
		got := b.release(uint64(i))
		if got["image"] != "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210" || got["size"] != float64(34768) {
			t.Errorf("%s: %v", name, got)
		}
		if uri := map[int]any{0: nil, 1: "http://example.com/file.bin"}[i]; got["uri"] != uri {
			t.Errorf("%s: fetched from %v, want %v", name, got["uri"], uri)
		}
	}
}

func (b *bench) release(sequence uint64) map[string]any {
	b.t.Helper()
	raw := b.Query(b.message("release", fields{"line": "cam", "sequence": sequence}))
	text, err := b.c.Schema.Query["release"].Result.JSON(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		b.t.Fatal(err)
	}
	return v
}

// What Sign makes, the contract takes, by both kinds of keys, and by several.
func TestSignedEnvelopes(t *testing.T) {
	image := []byte("an image")
	m := &firmware.Manifest{
		Sequence: 3, Vendor: [16]byte(vendor), Class: [16]byte(class), Component: [][]byte{{0}},
		Image: sha256.Sum256(image), Size: uint64(len(image)), URI: "https://example.com/image",
	}
	ed, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	p256, err := key.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	for _, signers := range [][]firmware.Signer{{ed}, {p256}, {ed, p256}} {
		b := newBench(t, wasm.EngineAuto)
		b.line(signers[0].Public())
		keys := []string{hex.EncodeToString(signers[0].Public())}
		for _, s := range signers[1:] {
			b.do(wasmtest.Owner, "put_key", fields{"line": "cam", "key": hex.EncodeToString(s.Public())})
			keys = append(keys, hex.EncodeToString(s.Public()))
		}
		envelope, manifest, err := firmware.Sign(m, signers...)
		if err != nil {
			t.Fatal(err)
		}
		b.do(maker, "propose", fields{"line": "cam", "envelope": hex.EncodeToString(envelope), "keys": keys, "version": "3", "needs": []any{}})
		if got := b.release(3); got["manifest"] != hex.EncodeToString(manifest[:]) || got["uri"] != m.URI {
			t.Errorf("%d signers: %v", len(signers), got)
		}
	}
	if _, _, err := firmware.Sign(m); err == nil {
		t.Error("an envelope nobody signed")
	}
	m.Component = [][]byte{make([]byte, firmware.MaxEnvelope)}
	if _, _, err := firmware.Sign(m, ed); err == nil {
		t.Error("an envelope that the contract would not take")
	}
}

// FuzzEnvelope: whatever is proposed, the contract takes it or says why not; it
// never traps.
func FuzzEnvelope(f *testing.F) {
	envelope, public := example(f, "example1.hex")
	f.Add(envelope)
	f.Add(envelope[:100])
	f.Add([]byte{0xd8, 0x6b, 0xa2, 2, 0x40, 3, 0x40})
	f.Fuzz(func(t *testing.T, envelope []byte) {
		if len(envelope) > 20<<10 {
			return
		}
		b := newBench(t, wasm.EngineAuto)
		b.line(public)
		if _, code, err := b.As(maker).Call(abi.EntryExecute, b.proposal(envelope, public)); err != nil && code == 0 {
			t.Errorf("%v", err)
		}
	})
}

// The interpreter, which small gateways have, says the same.
func TestExamplesInterpreted(t *testing.T) {
	for _, name := range []string{"example0.hex", "example1.hex"} {
		envelope, public := example(t, name)
		b := newBench(t, wasm.EngineInterpreter)
		b.line(public)
		for at := 0; at < len(envelope); at += 7 {
			changed := bytes.Clone(envelope)
			changed[at] ^= 0x10
			if !b.refused(b.proposal(changed, public)) {
				t.Fatalf("%s: byte %d may change", name, at)
			}
		}
		b.As(maker).Execute(b.proposal(envelope, public))
	}
}
