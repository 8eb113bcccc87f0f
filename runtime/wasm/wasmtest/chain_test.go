package wasmtest

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/wasm"
)

func TestState(t *testing.T) {
	c := New(t, wasm.EngineAuto, "x", nil)
	for i := range 300 {
		c.Set(fmt.Appendf(nil, "k%03d", i), []byte{byte(i)})
	}
	c.Set([]byte("l"), nil)
	e := newEnv(c)
	if err := e.Delete([]byte("k007")); err != nil {
		t.Fatal(err)
	}
	if err := e.Set([]byte("k008"), []byte("changed")); err != nil {
		t.Fatal(err)
	}
	if err := e.Set([]byte("k9"), nil); err != nil {
		t.Fatal(err)
	}
	it, err := e.Scan([]byte("k"), []byte("k005"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; it.Next(); n++ {
		if n == 2 && !bytes.Equal(it.Key(), []byte("k008")) {
			t.Errorf("third is %q", it.Key())
		}
	}
	if n != 295 {
		t.Errorf("%d entries scanned", n)
	}
	entries, size := c.Size()
	e.end(false)
	if c.Get([]byte("k007")) == nil || string(c.Get([]byte("k008"))) != "\x08" || c.Get([]byte("k9")) != nil {
		t.Error("a failed call changed the state")
	}
	if again, bytes := c.Size(); again != 301 || entries != 301 || size != bytes+7-1-5+2 {
		t.Errorf("%d entries of %d bytes, then %d of %d", entries, size, again, bytes)
	}
}

// A call that fails changes nothing, and timers run when they are due.
func TestChain(t *testing.T) {
	module, err := os.ReadFile("../../../sdk/rust/testdata/locker-v1.wasm")
	if err != nil {
		t.Fatal(err)
	}
	c := New(t, wasm.EngineAuto, "lockers", module)
	c.Must(abi.EntryInit, cbor.AppendUint(nil, 10))
	take := cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 4), 1), 3)
	take = cbor.AppendNull(cbor.AppendInt(take, Start+1000))
	before, _ := c.Size()
	c.Refuse(1, abi.EntryExecute, take[:3])
	if after, _ := c.Size(); after != before || c.Gas == 0 {
		t.Errorf("a refused message changed the state, or took no gas: %d", c.Gas)
	}
	c.As(abi.Hash{7}).Execute(take)
	if _, code, err := c.As(abi.Hash{8}).Call(abi.EntryExecute, take); err == nil || code == 0 {
		t.Errorf("a locker is taken twice: %v, code %d", err, code)
	}
	if len(c.Events) != 1 || len(c.Timers) != 1 || c.RunTimers() != 0 {
		t.Fatalf("events %v, timers %v", c.Events, c.Timers)
	}
	c.Input.Time += 1000
	if ran := c.RunTimers(); ran != 1 {
		t.Errorf("%d timers ran", ran)
	}
}

// Each of a benchmark's calls finds the locker free.
func BenchmarkTake(b *testing.B) {
	module, err := os.ReadFile("../../../sdk/rust/testdata/locker-v1.wasm")
	if err != nil {
		b.Fatal(err)
	}
	c := New(b, wasm.EngineAuto, "lockers", module)
	c.Must(abi.EntryInit, cbor.AppendUint(nil, 10))
	take := cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 4), 1), 3)
	c.Bench(b, abi.EntryExecute, cbor.AppendNull(cbor.AppendInt(take, Start+1000)))
}
