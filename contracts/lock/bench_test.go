package lock_test

import (
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/contracts/lock"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

//go:embed lock.wasm
var module []byte

// start is Monday, 5 January 2026, 08:00 UTC: within the zone's table.
const start = 1_767_600_000_000

// record is a device of an owner's, in use.
func record(owner abi.Hash) []byte {
	b := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), owner[:])
	return cbor.AppendUint(cbor.AppendUint(b, 5), uint64(abi.StatusActive))
}

// home is a chain with a lock that has n rights of cards and n entries in its
// history. The first of each is the contract's own work, the others are laid
// down as it would have.
func home(tb testing.TB, n int) *wasmtest.Chain {
	tb.Helper()
	c := wasmtest.New(tb, wasm.EngineAuto, "lock", module)
	c.Input.Time = start
	c.Devices[door] = record(wasmtest.Owner)
	c.Execute(say(tb, fmt.Sprintf(`{"set_lock": {"lock": "%x", "delegation": true, "retention": "366d", "staleness": "60s", "recipients": ["%x"]}}`, door, wasmtest.Owner)))
	zone, err := lock.SetZone(door, "Europe/Vienna")
	if err != nil {
		tb.Fatal(err)
	}
	c.Execute(zone)
	c.Execute(say(tb, fmt.Sprintf(`{"grant": {"lock": "%x", "kind": "card", "guest": "%x", "terms": {"windows": [{"days": 127, "from": 0, "to": 1440}]}}}`, door, guest(0))))
	c.As(door).Execute(admit(tb, guest(0)))
	right, entry := c.Get(rightKey(guest(0))), c.Get(entryKey(1))
	for i := uint64(1); i < uint64(n); i++ {
		c.Set(rightKey(guest(i)), right)
		c.Set(entryKey(1000+i), entry)
	}
	return c
}

func rightKey(card abi.Hash) []byte {
	return slices.Concat([]byte("right/"), door[:], []byte{1}, card[:])
}

func entryKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Concat([]byte("entry/"), door[:]), number)
}

// guest is the id of one of many cards.
func guest(i uint64) (id abi.Hash) {
	binary.BigEndian.PutUint64(id[8:], i*0x9e3779b97f4a7c15)
	return id
}

func admit(tb testing.TB, card abi.Hash) []byte {
	return say(tb, fmt.Sprintf(`{"admit": {"kind": "card", "guest": "%x", "note": "%0128x"}}`, card, 7))
}

// unlock is the lock's question about a card that it sees.
func unlock(card abi.Hash) []byte {
	context := cbor.AppendText(cbor.AppendText(cbor.AppendMap(nil, 1), "card"), hex.EncodeToString(card[:]))
	id := hex.EncodeToString(door[:])
	return abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Subject: &abi.Entity{Type: "device", ID: id}, Action: abi.Action{Name: "unlock"},
		Resource: abi.Entity{Type: "lock", ID: id}, Context: context,
	})
}

var words = sync.OnceValues(func() (*schema.Schema, error) {
	src, err := os.ReadFile("schema.json")
	if err != nil {
		return nil, err
	}
	return schema.Parse(src)
})

func say(tb testing.TB, src string) []byte {
	tb.Helper()
	s, err := words()
	if err != nil {
		tb.Fatal(err)
	}
	m, err := s.Call([]byte(src), time.UnixMilli(start))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// BenchmarkMain is an entry by a card with a right in hours: the contract's main
// call, and the decision before it.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		c := home(b, n)
		b.Run(fmt.Sprintf("entries=%d/admit", n), func(b *testing.B) { c.Bench(b, abi.EntryExecute, admit(b, guest(7))) })
		b.Run(fmt.Sprintf("entries=%d/decide", n), func(b *testing.B) { c.Bench(b, abi.EntryDecide, unlock(guest(7))) })
	}
}

// What a call costs does not grow with what there is.
func TestCostStaysFlat(t *testing.T) {
	costs := func(n int) (gas [2]uint64) {
		c := home(t, n)
		c.Must(abi.EntryDecide, unlock(guest(7)))
		gas[0] = c.Gas
		c.Execute(admit(t, guest(7)))
		gas[1] = c.Gas
		return gas
	}
	few, many := costs(10), costs(10_000)
	for i, name := range []string{"decide", "admit"} {
		if 2*many[i] > 3*few[i] {
			t.Errorf("%s: %d gas among 10, %d among 10,000", name, few[i], many[i])
		}
	}
}

// One timer deletes as much as it may at once, and that fits into its gas.
func TestTimerFits(t *testing.T) {
	c := home(t, 1)
	four := strings.Repeat(fmt.Sprintf(`"%x",`, wasmtest.Owner), 4)
	for i := range byte(9) {
		id := abi.Hash{9, i}
		c.Devices[id] = record(wasmtest.Owner)
		c.As(wasmtest.Owner).Execute(say(t, fmt.Sprintf(`{"set_lock": {"lock": "%x", "delegation": true, "retention": "1d", "staleness": "60s", "recipients": [%s]}}`, id, four[:len(four)-1])))
		for range 20 {
			c.As(id).Execute(say(t, fmt.Sprintf(`{"report": {"how": "key", "guest": "%x", "note": "%0512x"}}`, id, 7)))
		}
	}
	before, _ := c.Size()
	c.Input.Time += 3 * 24 * time.Hour.Milliseconds()
	c.Input.Caller = nil
	c.Must(abi.EntryTimer, []byte{0x80})
	after, _ := c.Size()
	t.Logf("%d entries of the state deleted for %d gas", before-after, c.Gas)
	if limit := chain.ParamsOf(abi.ProfileLean).TxGas; before-after < 2*128 || 4*c.Gas > 3*limit {
		t.Errorf("%d entries of the state deleted for %d gas of %d", before-after, c.Gas, limit)
	}
}

// The dearest decision, a guest of a resident's with as many hours as may be
// under the longest time zone, has gas to spare.
func TestDearestDecision(t *testing.T) {
	c := home(t, 1)
	steps, windows := "", ""
	for i := range 160 {
		steps += fmt.Sprintf(`%.*s{"start": %d, "offset": 3600}`, min(i, 1), ",", 1_600_000_000+i)
	}
	for i := range 8 {
		windows += fmt.Sprintf(`%.*s{"days": 127, "from": %d, "to": 1440}`, min(i, 1), ",", 8-i)
	}
	bob := abi.Hash{0xb0}
	terms := fmt.Sprintf(`{"from": 1, "until": %d, "windows": [%s], "resident": `, int64(start+3_600_000), windows)
	c.As(wasmtest.Owner)
	c.Execute(say(t, fmt.Sprintf(`{"set_zone": {"lock": "%x", "until": 2000000000, "steps": [%s]}}`, door, steps)))
	c.Execute(say(t, fmt.Sprintf(`{"grant": {"lock": "%x", "kind": "account", "guest": "%x", "terms": %strue}}}`, door, bob, terms)))
	c.As(bob).Execute(say(t, fmt.Sprintf(`{"grant": {"lock": "%x", "kind": "card", "guest": "%x", "terms": %sfalse}}}`, door, guest(5), terms)))
	v, err := abi.ParseVerdict(c.As(door).Must(abi.EntryDecide, unlock(guest(5))))
	t.Logf("%d gas", c.Gas)
	if err != nil || !v.Permit || 2*c.Gas > chain.ParamsOf(abi.ProfileLean).DecideGas {
		t.Errorf("%+v, %v for %d gas", v, err, c.Gas)
	}
}

// A lock that the contract serves decides by the contract's verdict.
func TestDecides(t *testing.T) {
	c := home(t, 10)
	v, err := abi.ParseVerdict(c.Must(abi.EntryDecide, unlock(guest(7))))
	if err != nil || !v.Permit || v.MaxStaleness != 60_000 || v.TTL != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = abi.ParseVerdict(c.Must(abi.EntryDecide, unlock(guest(77))))
	if err != nil || v.Permit || v.Reason != 10 {
		t.Errorf("%+v, %v", v, err)
	}
}
