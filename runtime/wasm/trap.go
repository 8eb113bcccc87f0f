package wasm

import (
	"errors"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/symbol"
)

// Trap is what a contract did wrong. Code is the same on every node and may
// stand in an outcome; Func and Text are for logs.
type Trap struct {
	Code abi.Code
	Func string // the contract's function that trapped, its name demangled; "" when unknown
	Text string
}

// Error tells the code, the function and the text.
func (t *Trap) Error() string {
	s := t.Code.Name()
	if t.Func != "" {
		s += " in " + t.Func
	}
	if t.Text != "" {
		s += ": " + t.Text
	}
	return s
}

// Unwrap gives the code, so that errors.As finds an abi.Code.
func (t *Trap) Unwrap() error { return t.Code }

// engineTraps maps the texts of wazero v1.12.0's traps. They are its only
// public form, and the same on both engines.
var engineTraps = map[string]abi.Code{
	"unreachable":                   abi.CodeUnreachable,
	"integer divide by zero":        abi.CodeDivideByZero,
	"integer overflow":              abi.CodeIntegerOverflow,
	"invalid conversion to integer": abi.CodeIntegerOverflow,
	"out of bounds memory access":   abi.CodeOutOfBounds,
	"invalid table access":          abi.CodeBadIndirectCall,
	"indirect call type mismatch":   abi.CodeBadIndirectCall,
}

// engineTrap finds the trap that err tells of; false if it tells of none.
func engineTrap(err error) (abi.Code, bool) {
	cause := errors.Unwrap(err)
	if cause == nil || !strings.HasPrefix(err.Error(), "wasm error: ") {
		return 0, false
	}
	code, ok := engineTraps[cause.Error()]
	return code, ok
}

// maxFuncName is how much of a function's name is looked at, in bytes.
const maxFuncName = 512

// trapFunc finds the innermost function in the stack trace of err that is the
// contract's own, not of a language's runtime or of an SDK; the innermost of
// all where none is. wazero names a function without a name ".$" and its index.
func trapFunc(err error, c *code) (innermost string) {
	_, trace, _ := strings.Cut(err.Error(), "wasm stack trace:\n")
	for line := range strings.Lines(trace) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "(")
		i, parseErr := strconv.ParseUint(strings.TrimPrefix(name, ".$"), 10, 32)
		if !strings.HasPrefix(name, ".$") || parseErr != nil || int(i) >= c.numFuncs {
			continue // a host function, or one that the rewriter added
		}
		known := c.names[uint32(i)]
		known = symbol.Demangle(known[:min(len(known), maxFuncName)])
		found := "function " + strconv.Itoa(int(i))
		if known != "" {
			found = strconv.Quote(known)
		}
		if !symbol.InLibrary(known) {
			return found
		}
		if innermost == "" {
			innermost = found
		}
	}
	return innermost
}
