package energy_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Damaged messages of everybody are done or refused; none makes the contract
// trap.
func TestDamagedMessages(t *testing.T) {
	g := newGrid(t, wasm.EngineAuto, 2)
	owner := g.Input.Owner
	good := []struct {
		by      abi.Hash
		message []byte
	}{
		{owner, g.message(`{"set_limit": {"kind": "inverter", "action": "charge", "limit": {"unit": "W", "min": 0, "max": 9000, "alone": 10, "gap": 1, "burst": 9, "windows": [{"days": ["mon"], "from": 1, "to": 2}]}}}`)},
		{owner, g.message(`{"set_zone": {"steps": [{"from": 0, "minutes": 60}, {"from": 99, "minutes": -60}]}}`)},
		{owner, g.message(`{"set_meter": {"device": "%x", "rule": {"max_power": 1, "low": -1, "high": 1, "max_gap": 5}}}`, device(0))},
		{g.operator, g.propose(device(0))},
		{g.operator, g.message(`{"approve": {"command": 1}}`)},
		{g.operator, g.message(`{"propose_correction": {"meter": "%x", "day": 7, "energy": -5, "counter": 9, "reason": "x"}}`, device(0))},
		{device(0), g.message(`{"confirm": {"command": 1, "outcome": "done"}}`)},
		{device(1), g.read()},
	}
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
		_, _, err := g.As(m.by).Call(abi.EntryExecute, b)
		var trap *wasm.Trap
		if err != nil && (!errors.As(err, &trap) || trap.Code != abi.CodeAborted) {
			t.Fatalf("%x: %v", b, err)
		}
		if _, _, err := g.Call(abi.EntryQuery, b); err != nil && (!errors.As(err, &trap) || trap.Code != abi.CodeAborted) {
			t.Fatalf("query %x: %v", b, err)
		}
	}
}
