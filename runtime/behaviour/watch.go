package behaviour

import (
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/ledger"
)

// Bounds of the timers that contracts set.
const (
	// minSilence keeps a contract from asking all the time.
	minSilence = time.Second
	// minRepeat is between two observations of one silence: nothing new is
	// learned of a device that stays silent.
	minRepeat = time.Minute
	// maxSilence is for timers that are further off than anybody waits.
	maxSilence = 30 * 24 * time.Hour
)

// tellEvery is how often at most the ledger is told of one device, contract and
// level.
const tellEvery = time.Minute

// What watches cost beside their records, in bytes: the structs, their slots
// in the map, and what the allocator rounds up. TestWatchCost holds them
// against what the heap says.
const (
	watchBytes = int(unsafe.Sizeof(watch{})) + 64
	judgeBytes = int(unsafe.Sizeof(judge{})) + 32
)

// watch is what is known of a device to which contracts are bound.
type watch struct {
	device       abi.Hash
	judges       []judge
	lastReport   int64 // ms of the gateway's clock; 0 none since the Monitor was opened
	denials      allowance
	older, newer *watch
}

// judge is a contract that is bound to the device.
type judge struct {
	contract string
	local    []byte                      // never changed, only replaced
	known    bool                        // there is a local record
	alarm    *alarm                      // of silence, nil when none runs
	told     [abi.LevelQuarantine]moment // when the ledger may be told of each level again
}

// bytes is what a watch takes.
func (w *watch) bytes() int {
	n := watchBytes
	for i := range w.judges {
		n += w.judges[i].bytes()
	}
	return n
}

func (j *judge) bytes() int {
	n := judgeBytes + len(j.contract) + cap(j.local)
	if j.alarm != nil {
		n += alarmBytes
	}
	return n
}

func (w *watch) judge(contract string) *judge {
	for i := range w.judges {
		if w.judges[i].contract == contract {
			return &w.judges[i]
		}
	}
	return nil
}

// watches are the watched devices, within a budget of bytes. The device of which
// nothing was observed for longest is forgotten first, with its records and
// timers.
type watches struct {
	alarms *alarms
	budget int

	mu             sync.Mutex
	table          map[abi.Hash]*watch // guarded by mu
	oldest, newest *watch              // guarded by mu
	bytes          int                 // guarded by mu
	forgotten      uint64              // guarded by mu
	changed        bool                // since the file was written; guarded by mu
}

func (t *watches) init(budget int, a *alarms) {
	t.budget, t.alarms, t.table = budget, a, make(map[abi.Hash]*watch)
}

// local is the record of a device that is kept for a contract.
func (t *watches) local(device abi.Hash, contract string) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.table[device]
	if w == nil {
		return nil, false
	}
	j := w.judge(contract)
	if j == nil {
		return nil, false
	}
	return j.local, j.known
}

// settle keeps what the contracts left and says which of their opinions the
// ledger is to be told. whole says that all contracts that are bound were asked:
// what is kept for others is over.
func (t *watches) settle(s *sight, judged *ledger.Judged, now moment, whole bool) (told []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.table[s.Device]
	if len(judged.Opinions) == 0 {
		if w != nil && whole {
			t.drop(w)
			t.changed = true
		}
		return nil
	}
	if w == nil {
		w = t.add(s.Device)
	}
	t.bytes -= w.bytes()
	if whole {
		t.unbind(w, judged.Opinions)
	}
	if s.Kind.Reported() {
		w.lastReport = s.Time
	}
	for i := range judged.Opinions {
		if t.note(w, s, &judged.Opinions[i], now) {
			told = append(told, i)
		}
	}
	t.bytes += w.bytes()
	t.changed = true
	t.toFront(w)
	t.shrink()
	return told
}

// note keeps one opinion, and says whether the ledger is to be told.
func (t *watches) note(w *watch, s *sight, o *ledger.Opinion, now moment) bool {
	j := w.judge(o.Contract)
	if j == nil {
		w.judges = slices.Concat(w.judges, []judge{{contract: o.Contract}}) // no room to spare
		j = &w.judges[len(w.judges)-1]
	}
	if o.Written {
		j.local, j.known = o.Local, true
	}
	if ms := o.Judgement.Timer; ms != 0 {
		least := minSilence
		if s.Kind == abi.ObserveSilence {
			least = minRepeat
		}
		wait := maxSilence
		if ms < uint64(maxSilence/time.Millisecond) {
			wait = max(least, time.Duration(ms)*time.Millisecond)
		}
		j.alarm = t.alarms.set(j.alarm, now+wait, w.device, j.contract)
	}
	return j.due(o.Judgement.Level, now)
}

// due says whether the ledger is to be told of a level, and notes that it is.
func (j *judge) due(level abi.Level, now moment) bool {
	if level == abi.LevelFine || level > abi.LevelQuarantine {
		return false
	}
	next := &j.told[level-1]
	if now < *next {
		return false
	}
	*next = now + tellEvery
	return true
}

// unbind ends what is kept for contracts that were not asked. Opinions come in
// the order in which the owner bound the contracts.
func (t *watches) unbind(w *watch, opinions []ledger.Opinion) {
	w.judges = slices.DeleteFunc(w.judges, func(j judge) bool {
		bound := slices.ContainsFunc(opinions, func(o ledger.Opinion) bool { return o.Contract == j.contract })
		if !bound {
			t.alarms.stop(j.alarm)
		}
		return !bound
	})
}

// allow says whether another denial of the device is to be judged. Of a device
// that is not watched nothing is known: perhaps contracts are bound to it.
func (t *watches) allow(device abi.Hash, now moment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.table[device]
	return w == nil || w.denials.take(now)
}

// silent is a device's last report, for the contract whose alarm went off; false
// when that is no longer watching.
func (t *watches) silent(device abi.Hash, contract string, a *alarm) (lastReport int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.table[device]
	if w == nil {
		return 0, false
	}
	j := w.judge(contract)
	if j == nil || j.alarm != a {
		return 0, false
	}
	t.bytes -= alarmBytes
	j.alarm = nil
	return w.lastReport, true
}

// again sets an alarm anew, if none runs: this node could not have it judged.
func (t *watches) again(device abi.Hash, contract string, at moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.table[device]; w != nil {
		if j := w.judge(contract); j != nil && j.alarm == nil {
			j.alarm = t.alarms.set(nil, at, device, contract)
			t.bytes += alarmBytes
		}
	}
}

// The caller of those below holds mu.

func (t *watches) add(device abi.Hash) *watch {
	w := &watch{device: device, denials: allowance{left: denialBurst}}
	t.table[device] = w
	t.bytes += w.bytes()
	t.link(w)
	return w
}

func (t *watches) link(w *watch) {
	w.older, w.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = w
	} else {
		t.oldest = w
	}
	t.newest = w
}

func (t *watches) unlink(w *watch) {
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		t.oldest = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		t.newest = w.older
	}
}

func (t *watches) toFront(w *watch) {
	if t.newest != w {
		t.unlink(w)
		t.link(w)
	}
}

func (t *watches) drop(w *watch) {
	for i := range w.judges {
		t.alarms.stop(w.judges[i].alarm)
	}
	t.unlink(w)
	delete(t.table, w.device)
	t.bytes -= w.bytes()
}

// shrink forgets devices until the rest fit.
func (t *watches) shrink() {
	for t.bytes > t.budget && t.oldest != nil {
		t.drop(t.oldest)
		t.forgotten++
	}
}
