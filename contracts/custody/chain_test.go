package custody_test

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts/custody"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

//go:embed custody.wasm
var module []byte

var (
	maker   = abi.Hash{2}
	carrier = abi.Hash{3}
	thief   = abi.Hash{9}
)

var start = time.UnixMilli(wasmtest.Start)

// chain is the contract with one party that may make and bring in.
type chain struct {
	*wasmtest.Chain
	tb    testing.TB
	names *schema.Schema
}

func newChain(tb testing.TB, engine wasm.Engine) *chain {
	tb.Helper()
	text, err := os.ReadFile("schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	names, err := schema.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	c := &chain{wasmtest.New(tb, engine, "custody", module), tb, names}
	party := cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 4), 1), maker[:])
	c.Execute(cbor.AppendArray(cbor.AppendUint(party, 3), 0))
	c.As(maker)
	return c
}

// call is a message by the schema's names.
func (c *chain) call(text string) []byte {
	c.tb.Helper()
	b, err := c.names.Call([]byte(text), start)
	if err != nil {
		c.tb.Fatalf("%s: %v", text, err)
	}
	return b
}

func (c *chain) ask(m []byte) ([]byte, error) {
	out, _, err := c.Call(abi.EntryQuery, m)
	return out, err
}

// execute runs a transaction; what the contract refuses is its code.
func (c *chain) execute(m []byte) error {
	_, code, err := c.Call(abi.EntryExecute, m)
	if err != nil && code != 0 {
		return refusal(code)
	}
	return err
}

type refusal uint16

func (r refusal) Error() string { return "refused" }

func (c *chain) mustImport(d *custody.Document) (sent int) {
	c.tb.Helper()
	err := custody.Import(d, c.ask, func(m []byte) error {
		sent++
		return c.execute(m)
	}, func(int, int) {})
	if err != nil {
		var code refusal
		errors.As(err, &code)
		c.tb.Fatalf("%v: code %d", err, code)
	}
	return sent
}

func example(tb testing.TB, name string) []byte {
	tb.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return src
}

func examples(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.jsonld")
	if err != nil || len(files) < 3 {
		tb.Fatalf("%d examples, %v", len(files), err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

func parse(tb testing.TB, src []byte, key *custody.Key) *custody.Document {
	tb.Helper()
	d, err := custody.Parse(src, key)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func newKey(tb testing.TB) *custody.Key {
	tb.Helper()
	k, err := custody.OpenKey(custody.NewKey())
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// sameJSON compares by value: numbers by what they are, not by how they are
// written, arrays in order.
func sameJSON(tb testing.TB, got, want []byte) {
	tb.Helper()
	a, err := cbor.AppendJSON(nil, got)
	if err != nil {
		tb.Fatalf("%s: %v", got, err)
	}
	b, err := cbor.AppendJSON(nil, want)
	if err != nil {
		tb.Fatal(err)
	}
	if string(a) != string(b) {
		tb.Fatalf("got %s\nwant %s", got, want)
	}
}
