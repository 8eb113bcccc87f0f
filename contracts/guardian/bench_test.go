package guardian_test

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts/guardian"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

//go:embed guardian.wasm
var module []byte

// record is a device in use.
func record(owner abi.Hash, serial string) []byte {
	b := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 4), 1), owner[:])
	b = cbor.AppendText(cbor.AppendUint(b, 2), "Acme")
	b = cbor.AppendText(cbor.AppendUint(b, 4), serial)
	return cbor.AppendUint(cbor.AppendUint(b, 5), uint64(abi.StatusActive))
}

// platform is a chain with an owner whose device is well, guardians, and n open
// cases of other devices with a mark each. The first is the contract's own work,
// the others are laid down as it would have.
func platform(tb testing.TB, n int) *wasmtest.Chain {
	tb.Helper()
	c := wasmtest.New(tb, wasm.EngineAuto, "guardian", module)
	c.Must(abi.EntryInit, rules(tb))
	c.Devices[bike] = record(wasmtest.Owner, "0")
	c.Devices[device(0)] = record(wasmtest.Owner, "1")
	c.Execute(say(tb, fmt.Sprintf(`{"set_circle": {"members": ["%x", "%x"], "threshold": 2}}`, abi.Hash{8}, abi.Hash{9})))
	c.Execute(say(tb, fmt.Sprintf(`{"register": {"device": "%x", "marks": ["%x"]}}`, device(0), mark(0))))
	c.Execute(say(tb, open(device(0))))
	number := c.Get(key("open/", device(0)))
	one, mine, of, act := c.Get(caseKey(1)), c.Get(key("mark/", mark(0))), c.Get(ownersKey(1)), c.Get(actKey(1))
	for i := uint64(1); i < uint64(n); i++ {
		c.Set(key("open/", device(i)), number)
		c.Set(key("mark/", mark(i)), mine)
		c.Set(caseKey(1000+i), one)
		c.Set(ownersKey(1000+i), of)
		c.Set(actKey(1000+i), act)
	}
	return c
}

func key(prefix string, id abi.Hash) []byte { return slices.Concat([]byte(prefix), id[:]) }

func caseKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte("case/"), number) }

func ownersKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64(key("of/", wasmtest.Owner), number)
}

func actKey(number uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte("act/"), number), 0, 0, 0, 0)
}

func device(i uint64) abi.Hash { return spread(1, i) }

func mark(i uint64) abi.Hash { return spread(2, i) }

func spread(kind byte, i uint64) (id abi.Hash) {
	id[0] = kind
	binary.BigEndian.PutUint64(id[8:], i*0x9e3779b97f4a7c15)
	return id
}

var words = sync.OnceValues(func() (*schema.Schema, error) {
	src, err := os.ReadFile("schema.json")
	if err != nil {
		return nil, err
	}
	return schema.Parse(src)
})

func named(tb testing.TB) *schema.Schema {
	tb.Helper()
	s, err := words()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func rules(tb testing.TB) []byte {
	tb.Helper()
	m, err := named(tb).Start([]byte(`{"change": "7d", "freeze": "30d", "cooling": "3d", "patience": "14d"}`), time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func say(tb testing.TB, src string) []byte {
	tb.Helper()
	m, err := named(tb).Call([]byte(src), time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func ask(tb testing.TB, src string) []byte {
	tb.Helper()
	m, err := named(tb).Ask([]byte(src), time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func open(id abi.Hash) string {
	return fmt.Sprintf(`{"open": {"device": "%x", "kind": "stolen", "reason": "%x"}}`, id, abi.Hash{7})
}

// sighting is evidence with a place for two readers.
func sighting() string {
	return fmt.Sprintf(`{"evidence": {"case": 1, "kind": "sighting", "digest": "%x", "sealed": "%0512x"}}`, abi.Hash{7}, 7)
}

// BenchmarkMain is a case that begins, a sighting in one, and the question whether
// hardware is listed.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		c := platform(b, n)
		run := func(name string, entry abi.Entry, message []byte) {
			b.Run(fmt.Sprintf("cases=%d/%s", n, name), func(b *testing.B) { c.Bench(b, entry, message) })
		}
		run("open", abi.EntryExecute, say(b, open(bike)))
		run("evidence", abi.EntryExecute, say(b, sighting()))
		run("listed", abi.EntryQuery, ask(b, fmt.Sprintf(`{"listed": {"mark": "%x"}}`, mark(7))))
	}
}

// What a call costs does not grow with what there is.
func TestCostStaysFlat(t *testing.T) {
	costs := func(n int) (gas [3]uint64) {
		c := platform(t, n)
		c.Query(ask(t, fmt.Sprintf(`{"listed": {"mark": "%x"}}`, mark(7))))
		gas[0] = c.Gas
		c.Execute(say(t, sighting()))
		gas[1] = c.Gas
		c.Execute(say(t, open(bike)))
		gas[2] = c.Gas
		return gas
	}
	few, many := costs(10), costs(10_000)
	for i, name := range []string{"listed", "evidence", "open"} {
		if 2*many[i] > 3*few[i] {
			t.Errorf("%s: %d gas among 10, %d among 10,000", name, few[i], many[i])
		}
	}
}

// One timer does as much as it may at once, and that fits into its gas.
func TestTimerFits(t *testing.T) {
	c := platform(t, 1)
	members := ""
	for i := range 8 {
		members += fmt.Sprintf(`%.*s"%x"`, min(i, 1), ",", spread(5, uint64(i)))
	}
	for i := range uint64(20) {
		id, owner := device(100+i), spread(4, i)
		c.Devices[id] = record(owner, fmt.Sprint(i))
		c.As(owner)
		c.Execute(say(t, fmt.Sprintf(`{"set_circle": {"members": [%s], "threshold": 8}}`, members)))
		c.Execute(say(t, open(id)))
		c.Execute(say(t, fmt.Sprintf(`{"confirm": {"case": %d}}`, 2+i)))
		c.Execute(say(t, fmt.Sprintf(`{"set_circle": {"members": [%s], "threshold": 7}}`, members)))
	}
	c.Input.Time += 8 * 24 * time.Hour.Milliseconds()
	c.Timers, c.Events = nil, nil
	c.Input.Caller = nil
	c.Must(abi.EntryTimer, []byte{0x80})
	t.Logf("%d events, %d gas", len(c.Events), c.Gas)
	if limit := chain.ParamsOf(abi.ProfileLean).TxGas; len(c.Events) != 32 || 2*c.Gas > limit {
		t.Errorf("%d events for %d gas of %d", len(c.Events), c.Gas, limit)
	}
}

// The contract makes the mark of a serial as SerialMark does.
func TestSerialMark(t *testing.T) {
	c := platform(t, 1)
	c.Input.Roles = abi.RoleAuthority
	c.Execute(say(t, fmt.Sprintf(`{"list_mark": {"mark": "%x", "reason": "%x"}}`, guardian.SerialMark("Acme", "0"), abi.Hash{7})))
	if out := c.Query(ask(t, fmt.Sprintf(`{"check": {"device": "%x"}}`, bike))); len(out) < 32 {
		t.Errorf("not listed: %x", out)
	}
}
