package attendance_test

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

//go:embed attendance.wasm
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

// classSize is how many pupils a class of the benchmarks has.
const classSize = 10

// school is the contract with a reader and so many pupils in classes, each of
// which was seen on the day before.
type school struct {
	*wasmtest.Chain
	tb     testing.TB
	schema *schema.Schema
	reader abi.Hash
}

func newSchool(tb testing.TB, engine wasm.Engine, pupils int) *school {
	tb.Helper()
	s := &school{wasmtest.New(tb, engine, "attendance", module), tb, words(), abi.Hash{0xd0}}
	s.Devices[s.reader] = (&chain.Device{Owner: wasmtest.Owner, Status: abi.StatusActive}).Append(nil)
	const week = 7 * 24 * 3_600_000
	s.office(`{"set_term": {"number": 1, "first": %d, "last": %d}}`, s.Input.Time-week, s.Input.Time+10*week)
	s.office(`{"name_reader": {"device": "%x", "on": true}}`, s.reader)
	for i := range pupils {
		s.add(i)
	}
	s.Timers, s.Events = nil, nil
	return s
}

func pupil(i int) abi.Hash {
	id := abi.Hash{0xa0}
	binary.BigEndian.PutUint64(id[16:], uint64(i))
	return id
}

func (s *school) message(format string, args ...any) []byte {
	s.tb.Helper()
	b, err := s.schema.Call(fmt.Appendf(nil, format, args...), time.Time{})
	if err != nil {
		s.tb.Fatal(err)
	}
	return b
}

func (s *school) office(format string, args ...any) {
	s.tb.Helper()
	s.As(wasmtest.Owner).Execute(s.message(format, args...))
}

// add places a pupil, in a class of its own where the last one is full, and has
// it seen on the day before.
func (s *school) add(i int) {
	s.tb.Helper()
	class := i / classSize
	if i%classSize == 0 {
		s.office(`{"set_class": {"class": "c%d", "hours": [{"days": ["mon", "wed"], "from": 480, "to": 720}], "grace": 15, "early": 60}}`, class)
	}
	s.office(`{"place": {"pupil": "%x", "class": "c%d"}}`, pupil(i), class)
	s.office(`{"set_parents": {"pupil": "%x", "parents": ["%x", "%x"]}}`, pupil(i), abi.Hash{1, byte(i)}, abi.Hash{2, byte(i)})
	s.As(s.reader).Execute(s.sight(i, s.Input.Time-24*3_600_000))
}

func (s *school) sight(i int, at int64) []byte {
	return s.message(`{"sight": {"sightings": [{"pupil": "%x", "at": %d}]}}`, pupil(i), at)
}

// ring moves on to the first minute of the next day, a Wednesday, and gives the
// message of the timer that looks after a whole class then.
func (s *school) ring() []byte {
	s.tb.Helper()
	s.office(`{"set_class": {"class": "c0", "hours": [{"days": ["wed"], "from": 1, "to": 720}], "grace": 0, "early": 0}}`)
	const day = 24 * 3_600_000
	s.Input.Time, s.Input.Caller = (s.Input.Time/day+1)*day+60_000, nil
	return s.Timers[len(s.Timers)-1].Message
}

// A sighting's and an alarm's gas do not grow with the school.
func TestGasStays(t *testing.T) {
	var gas [2][2]uint64
	for i, pupils := range []int{classSize, 1000 * classSize} {
		s := newSchool(t, wasm.EngineAuto, pupils)
		s.As(s.reader).Execute(s.sight(3, s.Input.Time))
		gas[0][i] = s.Gas
		s.Must(abi.EntryTimer, s.ring())
		gas[1][i] = s.Gas
		if absent := len(s.Events); absent != classSize {
			t.Errorf("%d pupils of a class were missing, want %d", absent, classSize)
		}
	}
	for call, of := range gas {
		if of[1]*2 > of[0]*3 {
			t.Errorf("call %d: %d gas in a small school, %d in a large one", call, of[0], of[1])
		}
	}
}

// BenchmarkMain measures a sighting, and an alarm for a class of which nobody
// came.
func BenchmarkMain(b *testing.B) {
	for _, pupils := range []int{10, 100_000} {
		s := newSchool(b, wasm.EngineCompiler, pupils)
		b.Run(fmt.Sprintf("sight/pupils=%d", pupils), func(b *testing.B) {
			s.As(s.reader).Bench(b, abi.EntryExecute, s.sight(3, s.Input.Time))
		})
		alarm := s.ring()
		b.Run(fmt.Sprintf("alarm/pupils=%d", pupils), func(b *testing.B) {
			s.Bench(b, abi.EntryTimer, alarm)
		})
	}
}
