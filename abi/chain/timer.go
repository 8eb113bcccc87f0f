package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// TimerKind is what a timer runs.
type TimerKind uint64

// A timer runs a contract's timer entry, activates a contract, drops an upload
// whose time is over, activates a contract's pending version, or sees to a
// proposal that is due: it executes an approved one and ends an expired one.
const (
	TimerContract TimerKind = 1
	TimerActivate TimerKind = 2
	TimerUpload   TimerKind = 3
	TimerUpgrade  TimerKind = 4
	TimerProposal TimerKind = 5
)

// Timer is the record of a timer, kept under its due time and number:
// {1: kind, 2: contract, 3: message, 4: account, 5: code hash, 6: proposal};
// 2 and 3 for TimerContract (3 is init's message for TimerActivate, migrate's
// for TimerUpgrade), 4 and 5 for TimerUpload, 6 for TimerProposal; 4 is also
// who pays for what runs.
type Timer struct {
	Kind     TimerKind
	Contract string
	Message  []byte
	Account  abi.Hash
	Code     abi.Hash
	Proposal uint64
}

// Append appends the encoding of t.
func (t *Timer) Append(b []byte) []byte {
	var f fields
	f.uint(1, uint64(t.Kind))
	f.optText(2, t.Contract)
	f.optBytes(3, t.Message)
	f.bytes(4, t.Account[:])
	if t.Kind == TimerUpload {
		f.bytes(5, t.Code[:])
	}
	f.optUint(6, t.Proposal)
	return f.appendTo(b)
}

// ParseTimer reads a timer's record.
func ParseTimer(b []byte) (t Timer, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			t.Kind = TimerKind(r.Uint())
		case 2:
			t.Contract = r.Text()
		case 3:
			t.Message = r.Bytes()
		case 4:
			t.Account = hashOf(r)
		case 5:
			t.Code = hashOf(r)
		case 6:
			t.Proposal = r.Uint()
		default:
			r.Skip()
		}
	})
	return t, err
}
