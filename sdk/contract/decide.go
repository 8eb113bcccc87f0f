package contract

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Question is what a decide entry is asked. Properties and Context are
// encoded maps or nil; Lookup finds their values.
type Question = abi.DecisionRequest

// Verdict is what it answers. Beside the decision it may carry obligations, a
// time in ms for which the answer may be cached, the staleness in ms that the
// policy accepts, and a follow-up: a message for this contract's execute that
// the gateway submits durably as a transaction.
type Verdict = abi.Verdict

// DecideHandler is a decide entry. An error is a denial.
type DecideHandler func(c *Context, q *Question) (Verdict, error)

// EnterDecide is Enter for a decide entry.
func EnterDecide(ptr, size uint32, handler DecideHandler) uint64 {
	out, err := newFrame().decide(host.Input(ptr, size), handler)
	if err != nil {
		abort(err)
	}
	return host.Output(out)
}

// Permit is a verdict that permits.
func Permit() Verdict { return Verdict{Permit: true} }

// Deny is a verdict that denies, with the contract's own reason and its name,
// such as that of the rule that decided; 0 and "" when it has none.
func Deny(reason uint64, name string) Verdict { return Verdict{Reason: reason, ReasonID: name} }

// ByTransaction is the verdict where a permit would use up a right: the device
// submits its question as a transaction, and the commit is the answer.
func ByTransaction() Verdict { return Verdict{ByTransaction: true} }

// Lookup finds the value of a key in an encoded map with text keys: a
// question's properties or context, a device's labels. The reader stands at
// the value and knows nothing of what follows it; false when the key is
// missing or m is nil.
func Lookup(m []byte, key string) (cbor.Reader, bool) {
	if m == nil {
		return cbor.Reader{}, false
	}
	r := cbor.NewReader(m)
	for n := r.Map(); n > 0 && r.Err() == nil; n-- {
		k, v := r.TextBytes(), r.Raw()
		if string(k) == key && r.Err() == nil {
			return cbor.NewBorrowingReader(v), true
		}
	}
	return cbor.Reader{}, false
}

// ParseHash reads a hash from lower-case hex, as the id of a question's
// subject is; false when s is none.
func ParseHash(s string) (h Hash, ok bool) {
	if len(s) != 2*len(h) {
		return Hash{}, false
	}
	for i := range len(s) {
		digit, ok := hexDigit(s[i])
		if !ok {
			return Hash{}, false
		}
		h[i/2] = h[i/2]<<4 | digit
	}
	return h, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
