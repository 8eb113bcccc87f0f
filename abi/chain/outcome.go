package chain

import (
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Event is what a contract told the world: array [contract, topic, data].
type Event struct {
	Contract string
	Topic    []byte
	Data     []byte
}

// Outcome is the result of a transaction or of a timer: a map
//
//	1 id (bytes 32): the transaction's, or TimerID of a timer
//	2 code (uint)          5 result (bytes), absent when empty
//	3 gas used (uint)      6 events (array), absent when empty
//	4 abort code (uint), with CodeAborted
//
// It holds codes, never texts: texts may differ between versions. An aborted
// call keeps its abort code, also when that is 0.
type Outcome struct {
	ID     abi.Hash
	Code   abi.Code
	Gas    uint64
	Abort  uint16
	Result []byte
	Events []Event
}

// AppendOutcome appends the encoding of o.
func AppendOutcome(b []byte, o *Outcome) []byte {
	n := 3
	for _, present := range []bool{o.Code == abi.CodeAborted, len(o.Result) > 0, len(o.Events) > 0} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), o.ID[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(o.Code))
	b = cbor.AppendUint(cbor.AppendUint(b, 3), o.Gas)
	if o.Code == abi.CodeAborted {
		b = cbor.AppendUint(cbor.AppendUint(b, 4), uint64(o.Abort))
	}
	if len(o.Result) > 0 {
		b = cbor.AppendBytes(cbor.AppendUint(b, 5), o.Result)
	}
	if len(o.Events) > 0 {
		b = cbor.AppendArray(cbor.AppendUint(b, 6), len(o.Events))
		for _, e := range o.Events {
			b = cbor.AppendText(cbor.AppendArray(b, 3), e.Contract)
			b = cbor.AppendBytes(cbor.AppendBytes(b, e.Topic), e.Data)
		}
	}
	return b
}

// ParseOutcome reads an outcome; it aliases b.
func ParseOutcome(b []byte) (Outcome, error) {
	var o Outcome
	aborted := false
	err := parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			o.ID = hashOf(r)
		case 2:
			o.Code = abi.Code(uintUpTo(r, math.MaxUint16))
		case 3:
			o.Gas = r.Uint()
		case 4:
			o.Abort, aborted = uint16(uintUpTo(r, math.MaxUint16)), true
		case 5:
			o.Result = someBytes(r)
		case 6:
			o.Events = readEvents(r)
		default:
			return false
		}
		return true
	})
	if err == nil && aborted != (o.Code == abi.CodeAborted) {
		err = fmt.Errorf("abort code and code contradict one another: %w", abi.CodeMalformed)
	}
	if err != nil {
		return Outcome{}, err
	}
	return o, nil
}

func readEvents(r *cbor.Reader) (events []Event) {
	n := r.Array()
	if n == 0 {
		r.Fail(fmt.Errorf("empty events are left out: %w", abi.CodeMalformed))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		r.ArrayN(3)
		events = append(events, Event{Contract: r.Text(), Topic: r.Bytes(), Data: r.Bytes()})
	}
	return events
}

// AppendOutcomes appends the stored outcomes of a block, those of its timers
// first: an array of byte strings, each an encoded Outcome, the leaves of the
// header's outcomes root.
func AppendOutcomes(b []byte, encoded [][]byte) []byte { return appendByteStrings(b, encoded) }

// ParseOutcomes reads the stored outcomes of a block; they alias b and are not
// parsed.
func ParseOutcomes(b []byte) ([][]byte, error) {
	r := cbor.NewReader(b)
	list := readByteStrings(&r)
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	return list, nil
}
