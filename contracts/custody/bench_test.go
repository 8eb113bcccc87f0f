package custody_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/custody"
	"github.com/seed79541315/postern/runtime/wasm"
)

// fill makes so many items.
func (c *chain) fill(n int) {
	for from := 0; from < n; from += 50 {
		var things []string
		for i := from; i < min(from+50, n); i++ {
			things = append(things, fmt.Sprintf(`{"id": "urn:epc:id:sgtin:0614141.107346.%d", "class": "urn:epc:idpat:sgtin:0614141.107346.*", "lot": "L%d"}`, i, i%1000))
		}
		c.Execute(c.call(`{"make": {"things": [` + strings.Join(things, ",") + `]}}`))
	}
}

// prepared is a chain with n items beside those that calls are about.
func prepared(tb testing.TB, n int) *chain {
	c := newChain(tb, wasm.EngineAuto)
	c.fill(n)
	c.Execute(c.call(`{"make": {"things": [{"id": "pallet", "class": "urn:epc:idpat:sgtin:0614141.107346.*", "lot": "L7"}, {"id": "case"}, {"id": "item"}, {"id": "apple"}]}}`))
	c.Execute(c.call(`{"pack": {"container": "case", "items": ["item"]}}`))
	c.Execute(c.call(`{"pack": {"container": "pallet", "items": ["case"]}}`))
	c.Execute(c.call(fmt.Sprintf(`{"expect": {"item": "item", "receiver": "%x", "place": "dock", "due": "now+1h", "missing": "now+2h"}}`, carrier)))
	c.Execute(c.call(fmt.Sprintf(`{"offer": {"item": "pallet", "to": "%x", "expiry": "now+1h"}}`, carrier)))
	return c
}

// The main calls by name: who sends them, and what.
var mainCalls = []struct{ name, message string }{
	{"accept", `{"accept": {"item": "pallet", "offer": 1}}`},
	{"offer", fmt.Sprintf(`{"offer": {"item": "apple", "to": "%x", "expiry": "now+1h"}}`, carrier)},
	{"make", `{"make": {"things": [{"id": "pear"}]}}`},
	{"expect", fmt.Sprintf(`{"expect": {"item": "apple", "receiver": "%x", "place": "dock", "due": "now+30m", "missing": "now+2h"}}`, carrier)},
}

func (c *chain) sender(call string) {
	c.As(maker)
	if call == "accept" {
		c.As(carrier)
	}
}

// What calls cost does not grow with what there is.
func TestCallsCostTheSameAmongMany(t *testing.T) {
	gas := map[string][]uint64{}
	for _, n := range []int{10, 10_000} {
		c := prepared(t, n)
		for _, call := range mainCalls {
			c.sender(call.name)
			c.Execute(c.call(call.message))
			gas[call.name] = append(gas[call.name], c.Gas)
		}
		c.Query(c.questionOfItem())
		gas["item"] = append(gas["item"], c.Gas)
	}
	for name, g := range gas {
		if g[1]*2 > g[0]*3 {
			t.Errorf("%s: %d units among 10, %d among 10,000", name, g[0], g[1])
		}
	}
}

// A timer raises 32 alarms at once, within what a transaction may use where
// validators interpret contracts.
func TestTimersFitATransaction(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	long := strings.Repeat("x", 155)
	for i := range 40 {
		c.Execute(c.call(fmt.Sprintf(`{"make": {"things": [{"id": "%s%d"}]}}`, long, i)))
		c.Execute(c.call(fmt.Sprintf(`{"expect": {"item": "%s%d", "receiver": "%x", "place": "%s", "due": "now+1h", "missing": "now+2h"}}`, long, i, carrier, long)))
	}
	c.Events = nil
	c.Input.Time += 3_600_000
	c.Must(abi.EntryTimer, nil)
	if len(c.Events) != 32 || c.Gas > 12_000_000 {
		t.Errorf("%d alarms, %d units", len(c.Events), c.Gas)
	}
	t.Logf("%d units", c.Gas)
	c.Must(abi.EntryTimer, nil)
	if len(c.Events) != 40 {
		t.Errorf("%d alarms", len(c.Events))
	}
}

// What is longest of everything fits a transaction: 60 items with the longest ids,
// classes and lots.
func TestLongestMessagesFitATransaction(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	var things, items, inputs []string
	for i := range custody.MaxItems {
		id := fmt.Sprintf("%s%03d", strings.Repeat("x", custody.MaxID-3), i)
		things = append(things, fmt.Sprintf(`{"id": %q, "class": %q, "lot": %q}`, id, strings.Repeat("c", 160), strings.Repeat("l", 64)))
		items, inputs = append(items, fmt.Sprintf("%q", id)), append(inputs, fmt.Sprintf(`{"item": %q}`, id))
	}
	box := strings.Repeat("b", custody.MaxID)
	c.Execute(c.call(fmt.Sprintf(`{"make": {"things": [{"id": %q}]}}`, box)))
	for _, message := range []string{
		fmt.Sprintf(`{"make": {"things": [%s]}}`, strings.Join(things, ",")),
		fmt.Sprintf(`{"pack": {"container": %q, "items": [%s]}}`, box, strings.Join(items, ",")),
		fmt.Sprintf(`{"unpack": {"container": %q, "items": []}}`, box),
		fmt.Sprintf(`{"transform": {"inputs": [%s], "outputs": [{"id": "all"}]}}`, strings.Join(inputs, ",")),
	} {
		m := c.call(message)
		c.Execute(m)
		if len(m) > 64<<10 || c.Gas > 20_000_000 {
			t.Errorf("%.20s: %d bytes, %d units", message, len(m), c.Gas)
		}
		t.Logf("%.20s: %d bytes, %d units", message, len(m), c.Gas)
	}
}

func (c *chain) questionOfItem() []byte {
	c.tb.Helper()
	b, err := c.names.Ask([]byte(`{"item": {"item": "item"}}`), start)
	if err != nil {
		c.tb.Fatal(err)
	}
	return b
}

// BenchmarkMain measures the main calls among few items and many.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		c := prepared(b, n)
		for _, call := range mainCalls {
			b.Run(fmt.Sprintf("%s/items=%d", call.name, n), func(b *testing.B) {
				c.sender(call.name)
				c.Bench(b, abi.EntryExecute, c.call(call.message))
			})
		}
		b.Run(fmt.Sprintf("ask/items=%d", n), func(b *testing.B) { c.Bench(b, abi.EntryQuery, c.questionOfItem()) })
	}
}
