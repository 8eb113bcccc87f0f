package energy_test

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

//go:embed energy.wasm
var module []byte

//go:embed schema.json
var names []byte

// words are the contract's names.
var words = sync.OnceValue(func() *schema.Schema {
	s, err := schema.Parse(names)
	if err != nil {
		panic(err)
	}
	return s
})

// grid is the contract with an operator and so many devices, each of which has
// had a command and told two readings.
type grid struct {
	*wasmtest.Chain
	tb       testing.TB
	schema   *schema.Schema
	operator abi.Hash
}

func newGrid(tb testing.TB, engine wasm.Engine, devices int) *grid {
	tb.Helper()
	g := &grid{wasmtest.New(tb, engine, "energy", module), tb, words(), abi.Hash{0xa1}}
	g.owner(`{"name_operator": {"account": "%x", "person": "%x"}}`, g.operator, abi.Hash{1})
	g.owner(`{"set_limit": {"kind": "inverter", "action": "charge", "limit": {"unit": "W", "min": 0, "max": 9000, "step": 9000, "alone": 9000, "gap": 1, "burst": 9}}}`)
	for i := range devices {
		g.add(device(i))
	}
	return g
}

func device(i int) abi.Hash {
	id := abi.Hash{0xd0}
	binary.BigEndian.PutUint64(id[16:], uint64(i))
	return id
}

func (g *grid) message(format string, args ...any) []byte {
	g.tb.Helper()
	b, err := g.schema.Call(fmt.Appendf(nil, format, args...), time.Time{})
	if err != nil {
		g.tb.Fatal(err)
	}
	return b
}

func (g *grid) owner(format string, args ...any) {
	g.tb.Helper()
	g.As(wasmtest.Owner).Execute(g.message(format, args...))
}

// add registers a device and a meter, has it carry out a command and read twice.
func (g *grid) add(id abi.Hash) {
	g.tb.Helper()
	g.Devices[id] = (&chain.Device{Owner: wasmtest.Owner, Status: abi.StatusActive}).Append(nil)
	g.owner(`{"add_device": {"device": "%x", "kind": "inverter"}}`, id)
	g.owner(`{"set_meter": {"device": "%x", "rule": {"max_power": 11000, "low": 0, "high": 11000, "max_gap": "2h"}}}`, id)
	out := g.As(g.operator).Execute(g.propose(id))
	r := cbor.NewReader(out)
	g.As(id).Execute(g.message(`{"confirm": {"command": %d, "outcome": "done"}}`, r.Uint()))
	g.As(id).Execute(g.message(`{"read": {"readings": [{"at": %d, "counter": 1}, {"at": %d, "counter": 900}]}}`, g.Input.Time-7_200_000, g.Input.Time-3_600_000))
	g.Timers, g.Events = nil, nil
}

func (g *grid) propose(id abi.Hash) []byte {
	return g.message(`{"propose": {"device": "%x", "action": "charge", "value": 5000, "from": %d, "until": %d}}`, id, g.Input.Time, g.Input.Time+3_600_000)
}

func (g *grid) read() []byte {
	return g.message(`{"read": {"readings": [{"at": %d, "counter": 5000, "power": 4100}]}}`, g.Input.Time)
}

// A command's and a reading's gas do not grow with the grid.
func TestGasStays(t *testing.T) {
	var gas [2][2]uint64
	for i, devices := range []int{10, 10_000} {
		g := newGrid(t, wasm.EngineAuto, devices)
		g.As(g.operator).Execute(g.propose(device(3)))
		gas[0][i] = g.Gas
		g.As(device(3)).Execute(g.read())
		gas[1][i] = g.Gas
	}
	for call, of := range gas {
		if of[1]*2 > of[0]*3 {
			t.Errorf("call %d: %d gas with 10 devices, %d with 10,000", call, of[0], of[1])
		}
	}
}

// BenchmarkMain measures a command that one person may give, and a reading.
func BenchmarkMain(b *testing.B) {
	for _, devices := range []int{10, 100_000} {
		g := newGrid(b, wasm.EngineCompiler, devices)
		b.Run(fmt.Sprintf("propose/devices=%d", devices), func(b *testing.B) {
			g.As(g.operator).Bench(b, abi.EntryExecute, g.propose(device(3)))
		})
		b.Run(fmt.Sprintf("read/devices=%d", devices), func(b *testing.B) {
			g.As(device(3)).Bench(b, abi.EntryExecute, g.read())
		})
	}
}
