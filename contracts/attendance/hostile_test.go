package attendance_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Damaged messages of everybody, and damaged requests for decisions, are
// answered or refused; none makes the contract trap.
func TestDamagedMessages(t *testing.T) {
	s := newSchool(t, wasm.EngineAuto, 2)
	owner, mother := s.Input.Owner, abi.Hash{1}
	type said struct {
		by      abi.Hash
		message []byte
	}
	good := []said{
		{owner, s.message(`{"set_class": {"class": "c0", "hours": [{"days": ["mon"], "from": 1, "to": 2}], "grace": 1, "early": 1}}`)},
		{owner, s.message(`{"set_zone": {"steps": [{"from": 0, "minutes": 60}, {"from": 99, "minutes": -60}]}}`)},
		{owner, s.message(`{"set_days_off": {"days": [%d], "off": true}}`, s.Input.Time)},
		{owner, s.message(`{"name_teacher": {"class": "c0", "account": "%x", "on": true}}`, owner)},
		{owner, s.message(`{"place": {"pupil": "%x", "class": "c0", "account": "%x"}}`, pupil(1), mother)},
		{owner, s.message(`{"set_parents": {"pupil": "%x", "parents": ["%x"]}}`, pupil(1), mother)},
		{owner, s.message(`{"assign": {"class": "c0", "due": %d, "content": "%x"}}`, s.Input.Time+1, mother)},
		{owner, s.message(`{"confirm": {"pupil": "%x", "number": 1, "points": 3}}`, pupil(1))},
		{owner, s.message(`{"feedback": {"pupil": "%x", "sealed": "00", "points": 3}}`, pupil(1))},
		{owner, s.message(`{"forget": {"term": 0}}`)},
		{s.reader, s.sight(0, s.Input.Time)},
		{mother, s.message(`{"hand_in": {"pupil": "%x", "number": 1}}`, pupil(0))},
		{mother, s.message(`{"excuse": {"pupil": "%x", "from": %d, "to": %d, "excused": true, "note": "00"}}`, pupil(0), s.Input.Time, s.Input.Time)},
	}
	request := abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Subject: &abi.Entity{Type: "user", ID: fmt.Sprintf("%x", mother)}, Action: abi.Action{Name: "view"},
		Resource: abi.Entity{Type: "record", ID: fmt.Sprintf("%x", pupil(0))},
	})
	random := rand.New(rand.NewPCG(1, 2))
	try := func(entry abi.Entry, message []byte) {
		b := append([]byte{}, message...)
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
		if random.IntN(8) == 0 {
			b = b[:random.IntN(len(b))]
		}
		_, _, err := s.Call(entry, b)
		var trap *wasm.Trap
		if err != nil && (!errors.As(err, &trap) || trap.Code != abi.CodeAborted) {
			t.Fatalf("%v %x: %v", entry, b, err)
		}
	}
	for range 4000 {
		m := good[random.IntN(len(good))]
		s.As(m.by)
		try(abi.EntryExecute, m.message)
		try(abi.EntryQuery, m.message)
		try(abi.EntryDecide, request)
		if random.IntN(50) == 0 {
			s.Input.Time += 3_600_000
			s.RunTimers()
		}
	}
}
