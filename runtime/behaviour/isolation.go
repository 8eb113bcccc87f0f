package behaviour

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
)

// IsolationTime is how long a grave judgement isolates a device at this gateway.
// Each further one prolongs it to as long from then.
const IsolationTime = chain.VerdictWindow * time.Millisecond

// maxIsolated bounds the table of isolated devices, 5 MiB when it is full.
// Beyond it nobody else is isolated here, which is counted: the ledger is told
// of each all the same.
const maxIsolated = 1 << 14

// isolation is why and for how long a device is isolated.
type isolation struct {
	until  time.Time
	reason string
	level  abi.Level
	end    *alarm
}

// isolations is the table of devices that this gateway isolates.
type isolations struct {
	alarms *alarms
	count  atomic.Int64 // of devices: nobody isolated is the common case, and costs no lock
	mu     sync.RWMutex
	table  map[abi.Hash]isolation // guarded by mu
}

func (t *isolations) init(a *alarms) { t.alarms, t.table = a, make(map[abi.Hash]isolation) }

// Isolated says whether this gateway isolates a device, until when unless it is
// prolonged, and why: the level's name, the contract and its reason.
func (m *Monitor) Isolated(device abi.Hash) (until time.Time, reason string, ok bool) {
	if !m.IsolatesAny() {
		return time.Time{}, "", false
	}
	m.isolated.mu.RLock()
	defer m.isolated.mu.RUnlock()
	i, ok := m.isolated.table[device]
	return i.until, i.reason, ok
}

// IsolatesAny says whether any device is isolated.
func (m *Monitor) IsolatesAny() bool { return m.isolated.count.Load() > 0 }

// Release ends the isolation of a device, because the ledger says that somebody
// answers for it.
func (m *Monitor) Release(device abi.Hash) {
	if m.isolated.remove(device, time.Time{}) {
		m.cfg.Logger.Info("a device is no longer isolated: it was released", "device", device)
		m.cfg.Changed(device)
	}
}

// isolate isolates a device for an opinion, or prolongs that.
func (m *Monitor) isolate(device abi.Hash, o *ledger.Opinion) {
	reason := o.Judgement.Level.String() + ": " + o.Contract
	if o.Judgement.ReasonID != "" {
		reason += ": " + o.Judgement.ReasonID
	}
	began, ok := m.isolated.put(device, o.Judgement.Level, reason, time.Now(), m.now())
	if !ok {
		m.counts.isolationsRefused.Add(1)
		m.cfg.Logger.Error("a device is not isolated: too many are", "device", device, "reason", reason)
		return
	}
	if began {
		m.counts.isolations.Add(1)
		m.cfg.Logger.Warn("a device is isolated", "device", device, "reason", reason)
		m.cfg.Changed(device)
	}
}

// put isolates a device or prolongs that; the graver of two reasons stays.
func (t *isolations) put(device abi.Hash, level abi.Level, reason string, wall time.Time, now moment) (began, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, on := t.table[device]
	if !on && len(t.table) >= maxIsolated {
		return false, false
	}
	if level >= i.level {
		i.level, i.reason = level, reason
	}
	i.until = wall.Add(IsolationTime)
	i.end = t.alarms.set(i.end, now+IsolationTime, device, "")
	t.table[device] = i
	t.count.Store(int64(len(t.table)))
	return !on, true
}

// isolationEnds ends what was not prolonged meanwhile.
func (m *Monitor) isolationEnds(device abi.Hash) {
	if m.isolated.remove(device, time.Now()) {
		m.cfg.Logger.Info("a device is no longer isolated: its time is over", "device", device)
		m.cfg.Changed(device)
	}
}

// remove takes a device out of the table, unless it is isolated beyond now; zero
// takes it out in any case.
func (t *isolations) remove(device abi.Hash, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, on := t.table[device]
	if !on || !now.IsZero() && now.Before(i.until) {
		return false
	}
	t.alarms.stop(i.end)
	delete(t.table, device)
	t.count.Store(int64(len(t.table)))
	return true
}
