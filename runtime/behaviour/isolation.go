package behaviour

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// IsolationTime is how long a grave judgement isolates a device at this gateway.
// Each further one prolongs it to as long from then.
const IsolationTime = chain.VerdictWindow * time.Millisecond

// maxIsolated bounds the table of isolated devices, some 20 MiB when it is full.
// Beyond it the isolation that ends first gives way: only devices that
// contracts of their own owners condemn get here.
const maxIsolated = 1 << 16

// isolation is why and for how long a device is isolated.
type isolation struct {
	until  time.Time
	reason string
	level  abi.Level
}

// isolations is the table of devices that this gateway isolates.
type isolations struct {
	count atomic.Int64 // of devices: nobody isolated is the common case, and costs no lock
	mu    sync.RWMutex
	table map[abi.Hash]isolation // guarded by mu
}

// get finds the isolation of a device that is on at a time.
func (t *isolations) get(device abi.Hash, now time.Time) (isolation, bool) {
	if t.count.Load() == 0 {
		return isolation{}, false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	i, ok := t.table[device]
	return i, ok && now.Before(i.until)
}

// Isolated says whether this gateway isolates a device, until when unless it is
// prolonged, and why: a text for the device and its owner, the level's name first.
func (m *Monitor) Isolated(device abi.Hash) (until time.Time, reason string, ok bool) {
	i, ok := m.isolations.get(device, time.Now())
	return i.until, i.reason, ok
}
