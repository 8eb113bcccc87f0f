package energy_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// said is a message, and by whom.
type said struct {
	by      abi.Hash
	message []byte
}

// sayings are good messages of everybody.
func (g *grid) sayings() []said {
	owner := g.Input.Owner
	return []said{
		{owner, g.message(`{"set_limit": {"kind": "inverter", "action": "charge", "limit": {"unit": "W", "min": 0, "max": 9000, "alone": 10, "gap": 1, "burst": 9, "windows": [{"days": ["mon"], "from": 1, "to": 2}]}}}`)},
		{owner, g.message(`{"set_zone": {"steps": [{"from": 0, "minutes": 60}, {"from": 99, "minutes": -60}]}}`)},
		{owner, g.message(`{"set_meter": {"device": "%x", "rule": {"max_power": 1, "low": -1, "high": 1, "max_gap": 5}}}`, device(0))},
		{g.operator, g.propose(device(0))},
		{g.operator, g.message(`{"approve": {"command": 1}}`)},
		{g.operator, g.message(`{"stop": {"reason": "x"}}`)},
		{g.operator, g.message(`{"propose_correction": {"meter": "%x", "day": 7, "energy": -5, "counter": 9, "reason": "x"}}`, device(0))},
		{device(0), g.message(`{"confirm": {"command": 1, "outcome": "done"}}`)},
		{device(1), g.read()},
	}
}

// answers tells a contract that answers or refuses from one that traps.
func (g *grid) answers(t *testing.T, entry abi.Entry, message []byte) {
	t.Helper()
	_, _, err := g.Call(entry, message)
	var trap *wasm.Trap
	if err != nil && (!errors.As(err, &trap) || trap.Code != abi.CodeAborted) {
		t.Fatalf("%v %x: %v", entry, message, err)
	}
}

// Damaged messages of everybody are done or refused, one upon the other.
func TestDamagedMessages(t *testing.T) {
	g := newGrid(t, wasm.EngineAuto, 2)
	good := g.sayings()
	random := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		m := good[random.IntN(len(good))]
		b := append([]byte{}, m.message...)
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
		if random.IntN(8) == 0 {
			b = b[:random.IntN(len(b))]
		}
		g.As(m.by)
		g.answers(t, abi.EntryExecute, b)
		g.answers(t, abi.EntryQuery, b)
		if random.IntN(50) == 0 {
			g.Input.Time += 60_000
			g.RunTimers()
		}
	}
}

func FuzzMessages(f *testing.F) {
	g := newGrid(f, wasm.EngineAuto, 2)
	for i, m := range g.sayings() {
		f.Add(byte(i), m.message)
	}
	callers := []abi.Hash{g.Input.Owner, g.operator, device(0)}
	f.Fuzz(func(t *testing.T, caller byte, message []byte) {
		g := newGrid(t, wasm.EngineAuto, 2)
		g.As(callers[int(caller)%len(callers)])
		g.answers(t, abi.EntryExecute, message)
		g.answers(t, abi.EntryQuery, message)
	})
}
