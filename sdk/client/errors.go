package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// errLost marks an error of the connection rather than of the request: the
// request may be sent again on another.
var errLost = errors.New("connection lost")

// lost makes an error of quic-go an abi code: the gateway's own when it
// closed with one, otherwise abi.CodeUnavailable.
func lost(err error) error {
	code := abi.CodeUnavailable
	var app *quic.ApplicationError
	var stream *quic.StreamError
	switch {
	case errors.As(err, &app) && app.Remote && app.ErrorCode == quic.ApplicationErrorCode(abi.CodeDeviceInactive):
		return fmt.Errorf("%w: %w: %w", errLost, newInactiveError(app.ErrorMessage), err)
	case errors.As(err, &app) && app.Remote:
		code = known(uint64(app.ErrorCode))
	case errors.As(err, &stream) && stream.Remote:
		code = known(uint64(stream.ErrorCode))
	}
	return fmt.Errorf("%w: %w: %w", errLost, code, err)
}

// InactiveError says that the gateway closed the connection since the caller's
// device is not active any more, or is isolated. It wraps
// abi.CodeDeviceInactive. The device may connect again for what it still may do:
// Status and Report.
type InactiveError struct {
	Status abi.Status // 0 where the gateway does not say: the device is isolated by it
	Reason string     // for people, the gateway's word; may be empty
}

func (e *InactiveError) Error() string {
	text := abi.CodeDeviceInactive.Error()
	if e.Status != 0 {
		text += ": " + e.Status.String()
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Unwrap returns abi.CodeDeviceInactive.
func (e *InactiveError) Unwrap() error { return abi.CodeDeviceInactive }

// maxReason bounds what is kept of a gateway's words, in bytes.
const maxReason = 1 << 10

// newInactiveError reads the text with which a gateway closes: a status, and
// what abi.Standing.Why puts behind it.
func newInactiveError(text string) *InactiveError {
	text = printable(text[:min(len(text), maxReason)])
	name, reason, _ := strings.Cut(text, ": ")
	if s, ok := abi.StatusByName(name); ok {
		return &InactiveError{Status: s, Reason: reason}
	}
	return &InactiveError{Reason: text}
}

// printable drops what has no place on a terminal from a text of the gateway.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// known is the code that the gateway sent, if the table has it.
func known(code uint64) abi.Code {
	if c := abi.Code(code); code != 0 && code <= 0xffff && c.Text() != "" {
		return c
	}
	return abi.CodeUnavailable
}

// ended makes the end of a context an abi code.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", abi.CodeTimeout, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", abi.CodeUnavailable, context.Cause(ctx))
}

// malformed gives an error of the CBOR reader its code.
func malformed(err error) error {
	if errors.Is(err, cbor.ErrMalformed) {
		return fmt.Errorf("%w: %w", abi.CodeMalformed, err)
	}
	return err
}

// failedAs is the error of a contract that failed in a way that a record
// names: its code, with the contract's own if it gave one.
func failedAs(code abi.Code, own uint16) error {
	if code == abi.CodeAborted {
		return abi.Aborted(own)
	}
	return code
}

// AbortOf finds the code that a contract itself gave for its refusal: of a
// transaction, a query, or the init or migrate of a deployment.
func AbortOf(err error) (own uint16, ok bool) {
	var a abi.Aborted
	ok = errors.As(err, &a)
	return uint16(a), ok
}

// CodeOf is the abi.Code that err wraps, abi.CodeInternal if there is none and
// abi.OK for nil.
func CodeOf(err error) abi.Code {
	var code abi.Code
	switch {
	case err == nil:
		return abi.OK
	case errors.As(err, &code):
		return code
	}
	return abi.CodeInternal
}
