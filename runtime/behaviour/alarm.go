package behaviour

import (
	"container/heap"
	"context"
	"sync"
	"time"
	"unsafe"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// alarm is something to be done at a time: to tell a contract that its device is
// silent, or to end the isolation of a device.
type alarm struct {
	at       moment
	device   abi.Hash
	contract string // "": the end of an isolation
	index    int    // in the heap, -1 outside; guarded by alarms.mu
}

const alarmBytes = int(unsafe.Sizeof(alarm{})) + 16

// alarms are all of them, the next one first. One goroutine waits for it.
type alarms struct {
	mu   sync.Mutex
	heap alarmHeap     // guarded by mu
	wake chan struct{} // the next one is another
}

func (t *alarms) init() { t.wake = make(chan struct{}, 1) }

// set makes an alarm, or moves a.
func (t *alarms) set(a *alarm, at moment, device abi.Hash, contract string) *alarm {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a == nil || a.index < 0 {
		a = &alarm{at: at, device: device, contract: contract}
		heap.Push(&t.heap, a)
	} else {
		a.at = at
		heap.Fix(&t.heap, a.index)
	}
	if t.heap[0] == a {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
	return a
}

// stop takes an alarm back; a may be nil or over.
func (t *alarms) stop(a *alarm) {
	if a == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.index >= 0 {
		heap.Remove(&t.heap, a.index)
	}
}

// next takes the first alarm, if it is due; else it says how long that is off.
func (t *alarms) next(now moment) (due *alarm, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return nil, maxSilence
	}
	if first := t.heap[0]; first.at > now {
		return nil, first.at - now
	}
	return heap.Pop(&t.heap).(*alarm), 0
}

// remaining is how long an alarm is off, and at least a millisecond.
func (t *alarms) remaining(a *alarm, now moment) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(a.at-now, time.Millisecond)
}

func (t *alarms) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.heap)
}

// watchAlarms does what is due.
func (m *Monitor) watchAlarms(ctx context.Context) {
	clock := time.NewTimer(0)
	defer clock.Stop()
	for ctx.Err() == nil {
		a, wait := m.alarms.next(m.now())
		if a != nil {
			m.ring(ctx, a)
			continue
		}
		clock.Reset(wait)
		select {
		case <-clock.C:
		case <-m.alarms.wake:
		case <-ctx.Done():
		}
	}
}

// ring does what an alarm is for.
func (m *Monitor) ring(ctx context.Context, a *alarm) {
	if a.contract == "" {
		m.isolationEnds(a.device)
		return
	}
	last, ok := m.watches.silent(a.device, a.contract, a)
	if !ok {
		return
	}
	m.counts.silences.Add(1)
	s := m.sight(a.device, abi.ObserveSilence, silencePayload(last))
	if _, err := m.judge(ctx, &s, a.contract); err != nil {
		m.retrySilence(ctx, a, err)
	}
}

// retrySilence has the contract told later where this node failed.
func (m *Monitor) retrySilence(ctx context.Context, a *alarm, err error) {
	if err == abi.CodeNotBound || err == abi.CodeUnknownDevice { // it watches no more
		return
	}
	m.cfg.Logger.WarnContext(ctx, "a device's silence could not be judged", "device", a.device, "contract", a.contract, "err", err)
	m.watches.again(a.device, a.contract, m.now()+minRepeat)
}

// silencePayload is the payload of abi.ObserveSilence.
func silencePayload(lastReport int64) []byte {
	b := cbor.AppendMap(cbor.AppendArray(nil, 1), 1)
	return cbor.AppendInt(cbor.AppendUint(b, 1), lastReport)
}

// alarmHeap implements heap.Interface.
type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *alarmHeap) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}

func (h *alarmHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = -1
	return a
}
