package contract

import (
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Hash is a SHA-256 digest: the id of an account, a device, a transaction, a
// chain or a code.
type Hash = abi.Hash

// Handler is an entry point: it returns at most abi.MaxResult bytes, or an
// error, and then nothing of the call has happened. What the error becomes in
// the outcome is said at Refuse.
type Handler func(c *Context) ([]byte, error)

// Enter runs the handler of an exported entry point; ptr and size are what the
// host called it with, and the result is what it returns to the host.
func Enter(ptr, size uint32, handler Handler) uint64 {
	out, err := newFrame().run(host.Input(ptr, size), handler)
	if err != nil {
		abort(err)
	}
	return host.Output(out)
}

// Run runs a handler on an input as the host encodes it (abi.Input). Exported
// entry points use Enter, and tests package fake.
func Run(input []byte, handler Handler) ([]byte, error) {
	return newFrame().run(input, handler)
}

// RunDecide is Run for a decide entry.
func RunDecide(input []byte, handler DecideHandler) ([]byte, error) {
	return newFrame().decide(input, handler)
}

// Refusal is why a contract refuses, as an error.
type Refusal struct {
	// Code is the contract's own. It stands in the outcome on the ledger and
	// never changes its meaning. 0 and 1 are what errors without a code
	// become; 0xffff says that the contract holds no policy.
	Code uint16
	// Text is for developers who read a node's log, at most 256 bytes.
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// Refuse is an error that ends the call with the contract's own code: 2 to
// 65534. Keep it in a variable, so that callers and tests can compare.
//
// Errors that are no refusals end a call as well: one that wraps an abi.Code,
// such as that of a failed Call, with that number; a malformed message
// (cbor.ErrMalformed) with 1; every other with 0.
func Refuse(code uint16, text string) error { return &Refusal{code, text} }

// NoPolicy is what a decide entry returns that holds no active policy.
var NoPolicy = Refuse(abi.AbortNoPolicy, "there is no active policy")

// RefusalOf is what an error that a handler returns becomes.
func RefusalOf(err error) Refusal {
	r := Refusal{Text: err.Error()}
	if own, ok := errors.AsType[*Refusal](err); ok {
		r.Code = own.Code
	} else if code, ok := errors.AsType[abi.Code](err); ok {
		r.Code = uint16(code)
	} else if errors.Is(err, cbor.ErrMalformed) {
		r.Code = uint16(abi.CodeMalformed)
	}
	return r
}

func abort(err error) {
	r := RefusalOf(err)
	host.Abort(r.Code, r.Text)
}

// Abort ends the call at once: like returning Refuse(code, text), from any
// depth. It does not return.
func Abort(code uint16, text string) { host.Abort(code, text) }
