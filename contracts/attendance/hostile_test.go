package attendance_test

import (
	"errors"
	"fmt"
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
func (s *school) sayings() []said {
	owner, mother := s.Input.Owner, abi.Hash{1}
	return []said{
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
}

// request asks whether a pupil's mother may see its record.
func request() []byte {
	return abi.AppendDecisionRequest(nil, &abi.DecisionRequest{
		Subject: &abi.Entity{Type: "user", ID: fmt.Sprintf("%x", abi.Hash{1})}, Action: abi.Action{Name: "view"},
		Resource: abi.Entity{Type: "record", ID: fmt.Sprintf("%x", pupil(0))},
	})
}

// answers tells a contract that answers or refuses from one that traps.
func (s *school) answers(t *testing.T, entry abi.Entry, message []byte) {
	t.Helper()
	_, _, err := s.Call(entry, message)
	var trap *wasm.Trap
	if err != nil && (!errors.As(err, &trap) || trap.Code != abi.CodeAborted) {
		t.Fatalf("%v %x: %v", entry, message, err)
	}
}

// Damaged messages of everybody, and damaged requests for decisions, are
// answered or refused, one upon the other.
func TestDamagedMessages(t *testing.T) {
	s := newSchool(t, wasm.EngineAuto, 2)
	good := s.sayings()
	random := rand.New(rand.NewPCG(1, 2))
	damaged := func(message []byte) []byte {
		b := append([]byte{}, message...)
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
		if random.IntN(8) == 0 {
			b = b[:random.IntN(len(b))]
		}
		return b
	}
	for range 4000 {
		m := good[random.IntN(len(good))]
		s.As(m.by)
		s.answers(t, abi.EntryExecute, damaged(m.message))
		s.answers(t, abi.EntryQuery, damaged(m.message))
		s.answers(t, abi.EntryDecide, damaged(request()))
		if random.IntN(50) == 0 {
			s.Input.Time += 3_600_000
			s.RunTimers()
		}
	}
}

func FuzzMessages(f *testing.F) {
	s := newSchool(f, wasm.EngineAuto, 2)
	for i, m := range s.sayings() {
		f.Add(byte(i), m.message)
	}
	f.Add(byte(0), request())
	callers := []abi.Hash{s.Input.Owner, s.reader, {1}}
	f.Fuzz(func(t *testing.T, caller byte, message []byte) {
		s := newSchool(t, wasm.EngineAuto, 2)
		s.As(callers[int(caller)%len(callers)])
		for _, entry := range []abi.Entry{abi.EntryExecute, abi.EntryQuery, abi.EntryDecide, abi.EntryTimer} {
			s.answers(t, entry, message)
		}
	})
}
