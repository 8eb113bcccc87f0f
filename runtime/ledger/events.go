package ledger

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Bounds of one call of Events: how many blocks are looked at, and how many
// bytes the events may have when a further block is begun.
const (
	maxEventBlocks = 64
	maxEventBytes  = 256 << 10
)

// Events returns the events of committed blocks above a height that pass the
// filter, in their order, and the height up to which it looked. It looks at
// whole blocks, at a bounded number of them, and at none above the head: the
// caller goes on from upTo, and at the head waits for Committed. The events are
// shared with other callers and must not be modified. The error is
// abi.CodeNotFound when blocks above the height are not kept any more.
func (l *Ledger) Events(after uint64, filter *abi.EventFilter) (events []abi.EventFrame, upTo uint64, err error) {
	head := l.Head().Height
	upTo = after
	for size, n := 0, 0; upTo < head && n < maxEventBlocks && size < maxEventBytes; n++ {
		k, err := l.eventsAt(upTo + 1)
		if err != nil {
			return nil, 0, err
		}
		for i := range k.events {
			if e := &k.events[i]; e.passes(filter) {
				events = append(events, e.EventFrame)
				size += len(e.Data)
			}
		}
		upTo++
	}
	return events, upTo, nil
}

// blockEvents are the events of one block.
type blockEvents struct {
	height uint64
	events []blockEvent
}

// blockEvent is an event with what a filter by device asks for.
type blockEvent struct {
	abi.EventFrame
	sender  *abi.Hash // of its transaction, nil for a timer or a tick
	subject *abi.Hash // of a Notice, nil for a contract's event
}

func (e *blockEvent) passes(f *abi.EventFilter) bool {
	switch {
	case f.Contract != nil && *f.Contract != e.Contract:
		return false
	case f.Topic != nil && !bytes.Equal(f.Topic, e.Topic):
		return false
	case f.Device != nil:
		return isAt(e.sender, f.Device) || isAt(e.subject, f.Device)
	}
	return true
}

func isAt(id, want *abi.Hash) bool { return id != nil && *id == *want }

// recentEvents keeps the events of a few blocks, by height: many subscribers
// wake at the same commit and ask for the same block.
type recentEvents [4]atomic.Pointer[blockEvents]

// maxRecentEvents is the length of the outcomes above which a block's events
// are not kept in memory, in bytes.
const maxRecentEvents = 64 << 10

// eventsAt returns the events of a committed block.
func (l *Ledger) eventsAt(height uint64) (*blockEvents, error) {
	place := &l.recent[height%uint64(len(l.recent))]
	if k := place.Load(); k != nil && k.height == height {
		return k, nil
	}
	raw, _, outcomes, err := l.Block(height)
	if err != nil {
		return nil, err
	}
	k := &blockEvents{height: height}
	if k.events, err = l.readEvents(raw, outcomes); err != nil {
		return nil, l.unavailable(fmt.Errorf("events of block %d: %w", height, err))
	}
	if len(outcomes) <= maxRecentEvents {
		place.Store(k)
	}
	return k, nil
}

// readEvents takes the events out of a stored block.
func (l *Ledger) readEvents(raw, outcomes []byte) (events []blockEvent, err error) {
	list, err := chain.ParseOutcomes(outcomes)
	if err != nil {
		return nil, &fault{err}
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		return nil, &fault{err}
	}
	timers := len(list) - len(k.Txs) // their outcomes come first
	index := uint64(0)
	for i, encoded := range list {
		o, err := chain.ParseOutcome(encoded)
		if err != nil {
			return nil, &fault{err}
		}
		if len(o.Events) == 0 {
			continue
		}
		var sender *abi.Hash
		if i >= timers {
			if sender, err = l.senderOf(k.Txs[i-timers]); err != nil {
				return nil, err
			}
		}
		for j := range o.Events {
			events = append(events, newEvent(&k.Header, o.ID, index, &o.Events[j], sender))
			index++
		}
	}
	return events, nil
}

func newEvent(h *chain.Header, id abi.Hash, index uint64, e *chain.Event, sender *abi.Hash) blockEvent {
	out := blockEvent{sender: sender, EventFrame: abi.EventFrame{
		Height: h.Height, Index: index, ID: id, Contract: e.Contract, Topic: e.Topic, Data: e.Data, Time: h.Time,
	}}
	if e.Contract == "" {
		if n, err := chain.ParseNotice(e.Data); err == nil {
			out.subject = &n.Subject
		}
	}
	return out
}

// senderOf names the account that sent a committed transaction, nil for a
// tick. The state knows the account of current keys only. A key that was
// replaced is taken for an account's first, after which the account is named;
// whose second or later key it was is not known any more.
func (l *Ledger) senderOf(raw []byte) (*abi.Hash, error) {
	t, err := chain.ParseTx(raw)
	if err != nil {
		return nil, &fault{err}
	}
	if t.Key() == nil {
		return nil, nil
	}
	v, _, err := l.take()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	id, ok, err := accountOf(cold{v}, t.Key())
	if err == nil && !ok {
		id = chain.AccountID(t.Key())
	}
	return &id, err
}
