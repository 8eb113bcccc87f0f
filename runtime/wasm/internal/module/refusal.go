package module

import (
	"fmt"
	"strconv"

	"github.com/seed79541315/postern/abi"
)

// Refusal says why a module is not admitted. Everything in it is a function
// of the module's bytes and the limits, so every node says the same.
type Refusal struct {
	Code      abi.Code
	Func      string // the function's name, "" when the module has none for it
	FuncIndex int    // index in the function index space, -1 outside functions
	Offset    int    // offset into the module's bytes
	Detail    string
}

// Error tells the code, the place and the detail.
func (r *Refusal) Error() string {
	place := ""
	if r.FuncIndex >= 0 {
		place = " in function " + strconv.Itoa(r.FuncIndex)
		if r.Func != "" {
			place += " (" + strconv.Quote(r.Func) + ")"
		}
	}
	return fmt.Sprintf("%s%s at offset %d: %s", r.Code.Name(), place, r.Offset, r.Detail)
}

// Unwrap gives the code, so that errors.As finds an abi.Code.
func (r *Refusal) Unwrap() error { return r.Code }

// Refuse makes a refusal outside of any function.
func Refuse(code abi.Code, offset int, format string, args ...any) *Refusal {
	return &Refusal{Code: code, FuncIndex: -1, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
