package sharing_test

import (
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts/sharing"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
	"github.com/seed79541315/postern/sdk/key"
)

//go:embed sharing.wasm
var module []byte

// names is the contract's schema.
var names = sync.OnceValues(func() (*schema.Schema, error) {
	text, err := os.ReadFile("schema.json")
	if err != nil {
		return nil, err
	}
	return schema.Parse(text)
})

// say makes a message of the contract's in its schema's names.
func say(tb testing.TB, format string, args ...any) []byte {
	tb.Helper()
	s, err := names()
	if err != nil {
		tb.Fatal(err)
	}
	b, err := s.Call(fmt.Appendf(nil, format, args...), time.UnixMilli(wasmtest.Start))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

var grantee = abi.Hash{0xaa}

// shared is a chain with a data set of the owner's and n grants of it to n
// accounts, the first of them logged. That first one, and all that its data set
// has, is the contract's own work; the others are laid down as it would have.
func shared(tb testing.TB, n int) *wasmtest.Chain {
	tb.Helper()
	c := wasmtest.New(tb, wasm.EngineAuto, "sharing", module)
	c.Must(abi.EntryInit, nil)
	c.Execute(say(tb, `{"create": {"dataset": "d", "kind": "telemetry", "fields": ["rain", "moisture"], "custodian": "%064x"}}`, 1))
	c.Execute(say(tb, `{"grant": {"dataset": "d", "grantee": "%x", "purposes": ["research"], "fields": ["rain"], "until": "now+720h", "epoch": 1, "wrapped": "%0160x", "rate": {"reads": 9, "period": "1h"}}}`, grantee, 7))
	grant, wrapped := c.Get(numbered("grant/", 1)), c.Get(numbered("key/d\x00", 1))
	if grant == nil || wrapped == nil || c.Get(numbered("epoch/d\x00\x00\x00\x00\x01", 1)) == nil {
		tb.Fatal("the state has other keys than it had")
	}
	for i := uint64(2); i <= uint64(n); i++ {
		var to abi.Hash
		binary.BigEndian.PutUint64(to[:], i*0x9e3779b97f4a7c15)
		c.Set(numbered("grant/", i), grant)
		c.Set(numbered("key/d\x00", i), wrapped)
		c.Set(numbered("held/d\x00"+string(to[:]), i), cbor.AppendArray(nil, 0))
		c.Set(numbered("epoch/d\x00\x00\x00\x00\x01", i), cbor.AppendArray(nil, 0))
		c.Set([]byte("credit/"+string(to[:])), cbor.AppendUint(nil, 5))
	}
	c.Set([]byte("grants"), cbor.AppendUint(nil, uint64(n)))
	return c
}

func numbered(prefix string, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefix), n)
}

// calls are the contract's main ones, on a chain that shared made.
func calls(tb testing.TB) map[string]func(c *wasmtest.Chain) (abi.Entry, []byte) {
	as := func(who abi.Hash, entry abi.Entry, message []byte) func(*wasmtest.Chain) (abi.Entry, []byte) {
		return func(c *wasmtest.Chain) (abi.Entry, []byte) { c.As(who); return entry, message }
	}
	return map[string]func(*wasmtest.Chain) (abi.Entry, []byte){
		"read":   as(grantee, abi.EntryExecute, say(tb, `{"read": {"grant": 1, "purpose": "research", "fields": ["rain"]}}`)),
		"decide": as(grantee, abi.EntryDecide, ask("d", "research", "rain")),
		"grant":  as(wasmtest.Owner, abi.EntryExecute, say(tb, `{"grant": {"dataset": "d", "grantee": "%064x", "purposes": ["research"], "fields": ["rain"], "until": "now+720h", "epoch": 1, "wrapped": "%0160x"}}`, 3, 7)),
		"rotate": as(wasmtest.Owner, abi.EntryExecute, say(tb, `{"rotate": {"dataset": "d", "epoch": 2}}`)),
		"offer":  as(wasmtest.Owner, abi.EntryExecute, say(tb, `{"offer": {"dataset": "d", "purposes": ["research"], "fields": ["rain"], "price": 5, "period": "1h", "deliver_within": "1h", "terms": "%064x"}}`, 3)),
	}
}

// ask is grantee's request to read a field for a purpose.
func ask(set, purpose, field string) []byte {
	context := cbor.AppendMap(nil, 2)
	context = cbor.AppendText(cbor.AppendArray(cbor.AppendText(context, "fields"), 1), field)
	context = cbor.AppendText(cbor.AppendText(context, "purpose"), purpose)
	return abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Subject: &abi.Entity{Type: "account", ID: hex.EncodeToString(grantee[:])}, Action: abi.Action{Name: "read"},
		Resource: abi.Entity{Type: "dataset", ID: set}, Context: context,
	})
}

// What a call costs does not depend on how much is shared.
func TestCallsStayCheap(t *testing.T) {
	for name, call := range calls(t) {
		var gas [2]uint64
		for i, grants := range []int{10, 10_000} {
			c := shared(t, grants)
			c.Must(call(c))
			gas[i] = c.Gas
		}
		t.Logf("%s: %d gas with 10 grants, %d with 10,000", name, gas[0], gas[1])
		if 2*gas[1] > 3*gas[0] {
			t.Errorf("%s: %d gas with 10 grants, %d with 10,000", name, gas[0], gas[1])
		}
	}
}

func BenchmarkMain(b *testing.B) {
	for _, name := range []string{"read", "decide", "grant", "rotate", "offer"} {
		for _, grants := range []int{10, 100_000} {
			b.Run(fmt.Sprintf("%s/grants=%d", name, grants), func(b *testing.B) {
				c := shared(b, grants)
				entry, message := calls(b)[name](c)
				c.Bench(b, entry, message)
			})
		}
	}
}

// Timers may use as much gas as a transaction: the most that one has to do fits.
func TestTimersFitTheirGas(t *testing.T) {
	const most = 20_000_000
	purge := shared(t, 300)
	for i := range 8 {
		deadline := binary.BigEndian.AppendUint64([]byte("due/"), uint64(wasmtest.Start)-uint64(i))
		purge.Set(append(deadline, 3, 'd'), cbor.AppendArray(nil, 0)) // deletes 32 keys of d
	}
	refund := disputed(t, 40)
	for name, c := range map[string]*wasmtest.Chain{"purges": purge, "refunds": refund} {
		c.Input.Caller = nil
		c.Events = nil
		c.Must(abi.EntryTimer, cbor.AppendInt(nil, c.Input.Time))
		t.Logf("a timer of %s takes %d gas and tells %d events", name, c.Gas, len(c.Events))
		if c.Gas > most/2 || len(c.Events) > 64 {
			t.Errorf("a timer of %s takes %d gas and tells %d events", name, c.Gas, len(c.Events))
		}
	}
	if len(refund.Events) < 40 {
		t.Errorf("%d events", len(refund.Events))
	}
}

// disputed is a chain on which n disputes of different buyers are due to be refunded.
func disputed(tb testing.TB, n int) *wasmtest.Chain {
	tb.Helper()
	c := shared(tb, 1)
	c.Execute(say(tb, `{"set_issuer": {"account": "%x"}}`, wasmtest.Owner))
	c.Execute(say(tb, `{"offer": {"dataset": "d", "purposes": ["research"], "fields": ["rain"], "price": 5, "period": "1h", "deliver_within": "1h", "terms": "%064x"}}`, 3))
	for i := 1; i <= n; i++ {
		buyer := abi.Hash{0xbb, byte(i)}
		c.As(wasmtest.Owner).Execute(say(tb, `{"mint": {"to": "%x", "amount": 5, "reason": "x"}}`, buyer))
		c.As(buyer).Execute(say(tb, `{"buy": {"offer": 1, "price": 5, "terms": "%064x"}}`, 3))
		c.As(wasmtest.Owner).Execute(say(tb, `{"deliver": {"purchase": %d, "epoch": 1, "wrapped": "00"}}`, i))
		c.As(buyer).Execute(say(tb, `{"dispute": {"purchase": %d, "objection": "%064x"}}`, i, 3))
	}
	c.Input.Time += (15 * 24 * time.Hour).Milliseconds()
	return c
}

// The contract makes the statement of destruction that this package signs.
func TestContractTakesTheStatement(t *testing.T) {
	custodian, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	p256, err := key.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	subject := abi.Hash{9}
	for i, signer := range []*key.Key{custodian, p256} {
		c := wasmtest.New(t, wasm.EngineAuto, "sharing", module)
		c.Must(abi.EntryInit, nil)
		s := sharing.Statement{Set: sharing.Set{Chain: c.Input.Chain, Contract: "sharing", Name: "d"}, Epoch: 1, Destroyed: wasmtest.Start}
		who := "null"
		if i == 0 {
			s.Subject, who = &subject, fmt.Sprintf(`"%x"`, subject)
		}
		c.Execute(say(t, `{"create": {"dataset": "d", "kind": "image", "fields": ["a"], "custodian": "%x", "subject": %s}}`, signer.Public(), who))
		signature, err := s.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		c.Execute(say(t, `{"erase": {"dataset": "d", "destroyed": %d, "signature": "%x"}}`, wasmtest.Start, signature))
	}
}

// Whatever bytes are a message, the contract refuses them or does as they say:
// it never traps.
func FuzzMessages(f *testing.F) {
	for _, call := range calls(f) {
		c := shared(f, 1)
		_, message := call(c)
		f.Add(message)
	}
	f.Add([]byte{0x82, 0x06, 0x01})
	f.Fuzz(func(t *testing.T, message []byte) {
		c := shared(t, 1)
		for _, entry := range []abi.Entry{abi.EntryExecute, abi.EntryQuery, abi.EntryDecide, abi.EntryInit} {
			if _, code, err := c.Call(entry, message); err != nil && code == 0 && !strings.Contains(err.Error(), "out of gas") {
				t.Errorf("%v %x: %v", entry, message, err)
			}
		}
	})
}
