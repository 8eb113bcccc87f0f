package abi

import "github.com/seed79541315/postern/abi/cbor"

// EventFrame is one event of a committed block, or a mark, as subscribers get
// them: an event is the whole map, a mark has the height alone.
//
//	1 height
//	2 index: of the event in its block, counted over all its outcomes, so that
//	  it does not depend on the filter
//	3 id (bytes 32): the transaction's, or the timer's
//	4 contract (text): empty for the ledger's own events
//	5 topic (bytes)
//	6 data (bytes): a chain.Notice for the ledger's own
//	7 header time, ms
//
// A mark says that everything up to its height, this included, was sent. Events
// come in the order of height and index. Whoever subscribes again after the
// height of the last mark misses nothing, and knows what it had by index.
type EventFrame struct {
	Height   uint64
	Index    uint64
	ID       Hash // zero in a mark
	Contract string
	Topic    []byte
	Data     []byte
	Time     int64
}

// Mark says whether the frame is a mark.
func (e *EventFrame) Mark() bool { return e.ID == Hash{} }

// AppendEventFrame appends the encoding of e.
func AppendEventFrame(b []byte, e *EventFrame) []byte {
	if e.Mark() {
		return cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(b, 1), 1), e.Height)
	}
	b = cbor.AppendMap(b, 7)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), e.Height)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), e.Index)
	b = cbor.AppendBytes(cbor.AppendUint(b, 3), e.ID[:])
	b = cbor.AppendText(cbor.AppendUint(b, 4), e.Contract)
	b = cbor.AppendBytes(cbor.AppendUint(b, 5), e.Topic)
	b = cbor.AppendBytes(cbor.AppendUint(b, 6), e.Data)
	return cbor.AppendInt(cbor.AppendUint(b, 7), e.Time)
}

// ParseEventFrame reads an event or a mark; it aliases b.
func ParseEventFrame(b []byte) (EventFrame, error) {
	var e EventFrame
	r := cbor.NewReader(b)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); {
		seen |= 1 << min(f.Key(), 63)
		switch f.Key() {
		case 1:
			e.Height = r.Uint()
		case 2:
			e.Index = r.Uint()
		case 3:
			e.ID = hashOf(&r)
		case 4:
			e.Contract = r.Text()
		case 5:
			e.Topic = r.Bytes()
		case 6:
			e.Data = r.Bytes()
		case 7:
			e.Time = r.Int()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return EventFrame{}, Malformed(err)
	}
	const mark, event = 1 << 1, 0xfe
	if known := seen & event; known != event && known != mark || e.Mark() != (known == mark) {
		return EventFrame{}, because(CodeMalformed, "neither an event nor a mark")
	}
	return e, nil
}

// EventFilter chooses events: a map of what must be so, {1: contract (text), 2:
// device id (bytes 32), 3: topic (bytes)}. What is absent may be anything; the
// empty contract chooses the ledger's own events. Events of a device are those
// of the transactions that it sent and the ledger's own about it.
type EventFilter struct {
	Contract *string
	Device   *Hash
	Topic    []byte // nil when absent
}

// AppendEventFilter appends the encoding of f.
func AppendEventFilter(b []byte, f *EventFilter) []byte {
	n := 0
	for _, present := range []bool{f.Contract != nil, f.Device != nil, f.Topic != nil} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	if f.Contract != nil {
		b = cbor.AppendText(cbor.AppendUint(b, 1), *f.Contract)
	}
	if f.Device != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 2), f.Device[:])
	}
	if f.Topic != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 3), f.Topic)
	}
	return b
}

// readEventFilter reads a filter, which holds nothing of what was read. A
// contract or topic that no event can have is refused.
func readEventFilter(r *cbor.Reader) (f EventFilter) {
	for m := r.Fields(); m.Next(); {
		switch m.Key() {
		case 1:
			contract := r.Text()
			if contract != "" && !ValidName(contract) {
				r.Fail(CodeBadArgument)
			}
			f.Contract = &contract
		case 2:
			device := hashOf(r)
			f.Device = &device
		case 3:
			f.Topic = append([]byte{}, r.Bytes()...)
			if len(f.Topic) > MaxTopic {
				r.Fail(CodeBadArgument)
			}
		default:
			r.Fail(CodeMalformed)
		}
	}
	return f
}

// Subscription is the body of a subscribe: {1: after height, 2: EventFilter}.
// Without a height it begins behind the newest block; the empty filter gives
// all events.
type Subscription struct {
	After  *uint64
	Filter EventFilter
}

// AppendSubscription appends the encoding of s.
func AppendSubscription(b []byte, s *Subscription) []byte {
	n := 1
	if s.After != nil {
		n++
	}
	b = cbor.AppendMap(b, n)
	if s.After != nil {
		b = cbor.AppendUint(cbor.AppendUint(b, 1), *s.After)
	}
	return AppendEventFilter(cbor.AppendUint(b, 2), &s.Filter)
}

// ParseSubscription reads a subscription; it holds nothing of b.
func ParseSubscription(b []byte) (Subscription, error) {
	var s Subscription
	r := cbor.NewReader(b)
	filtered := false
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			after := r.Uint()
			s.After = &after
		case 2:
			s.Filter, filtered = readEventFilter(&r), true
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Subscription{}, Malformed(err)
	}
	if !filtered {
		return Subscription{}, because(CodeBadArgument, "subscription without a filter")
	}
	return s, nil
}
