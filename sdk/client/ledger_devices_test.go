package client_test

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// devices is what the ledger of tests does for devices. What a test does not set
// is not there.
type devices struct {
	events    []abi.EventFrame // guarded by ledger.mu
	pruned    uint64           // height up to which no events are kept; guarded by ledger.mu
	committed chan struct{}    // closed at the next block; guarded by ledger.mu

	report  func(o *abi.Observation, statement []byte) (abi.Judgement, error)
	receipt func(caller abi.Standing, record uint64, now bool) ([]byte, error)
}

// happen makes a block with events.
func (l *ledger) happen(events ...abi.EventFrame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commitLocked(nil, nil, nil)
	for i, e := range events {
		e.Height, e.Index, e.ID, e.Time = l.header.Height, uint64(i), abi.Hash{byte(l.header.Height), byte(i), 1}, l.header.Time
		l.events = append(l.events, e)
	}
	if l.committed != nil {
		close(l.committed)
		l.committed = nil
	}
}

func (l *ledger) Device(abi.Hash) (chain.Device, error) { return chain.Device{}, abi.CodeUnknownDevice }

func (l *ledger) Report(_ context.Context, o *abi.Observation, statement []byte) (abi.Judgement, error) {
	if l.report == nil {
		return abi.Judgement{}, abi.CodeNotFound
	}
	return l.report(o, statement)
}

func (l *ledger) Receipt(_ context.Context, caller abi.Standing, record uint64, now bool) ([]byte, error) {
	if l.receipt == nil {
		return nil, abi.CodeNotFound
	}
	return l.receipt(caller, record, now)
}

// Events gives those of at most three blocks at a time.
func (l *ledger) Events(after uint64, f *abi.EventFilter) (list []abi.EventFrame, upTo uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.pruned {
		return nil, 0, abi.CodeNotFound
	}
	upTo = max(after, min(l.header.Height, after+3))
	for _, e := range l.events {
		if e.Height > after && e.Height <= upTo && passes(f, &e) {
			list = append(list, e)
		}
	}
	return list, upTo, nil
}

func passes(f *abi.EventFilter, e *abi.EventFrame) bool {
	n, err := chain.ParseNotice(e.Data)
	return (f.Topic == nil || string(f.Topic) == string(e.Topic)) && (f.Device == nil || err == nil && n.Subject == *f.Device)
}

func (l *ledger) Committed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.committed == nil {
		l.committed = make(chan struct{})
	}
	return l.committed
}
