package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// codeDuplicate closes a connection to a peer to which there is a better one.
// It lies above the codes of abi, which it needs not stand among: no person
// ever sees it.
const codeDuplicate quic.ApplicationErrorCode = 1 << 16

// Errors on which dialling branches.
var (
	errDuplicate = errors.New("there is another connection to this peer")
	errSelf      = errors.New("this address is the node's own")
	errOtherKey  = errors.New("another key answered")
)

// codeOf is the code with which a connection or stream is ended for an error.
func codeOf(err error) quic.ApplicationErrorCode {
	var code abi.Code
	switch {
	case errors.Is(err, errDuplicate):
		return codeDuplicate
	case errors.Is(err, errSelf), errors.Is(err, errOtherKey):
		return quic.ApplicationErrorCode(abi.CodeUnavailable)
	case errors.As(err, &code):
		return quic.ApplicationErrorCode(code)
	case errors.Is(err, cbor.ErrMalformed), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return quic.ApplicationErrorCode(abi.CodeMalformed)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return quic.ApplicationErrorCode(abi.CodeTimeout)
	case errors.Is(err, context.Canceled):
		return quic.ApplicationErrorCode(abi.CodeUnavailable)
	}
	return quic.ApplicationErrorCode(abi.CodeInternal)
}

// violates says whether an error of a stream is the other side's fault, and not
// the end of the connection or mere slowness.
func violates(err error) bool {
	var stream *quic.StreamError
	var code abi.Code
	return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &stream) && stream.Remote ||
		errors.As(err, &code) || errors.Is(err, cbor.ErrMalformed)
}

// explain gives an error of a connection or stream the code that the other
// side sent, or the one that says what broke.
func explain(err error) error {
	var stream *quic.StreamError
	var connection *quic.ApplicationError
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.As(err, &stream) && stream.Remote && stream.ErrorCode != 0 && stream.ErrorCode <= 0xffff:
		return fmt.Errorf("refused by the peer: %w", abi.Code(stream.ErrorCode))
	case errors.As(err, &connection) && connection.ErrorCode == codeDuplicate:
		return errDuplicate
	case errors.As(err, &connection) && connection.ErrorCode != 0 && connection.ErrorCode <= 0xffff:
		side := "here"
		if connection.Remote {
			side = "by the peer"
		}
		return fmt.Errorf("closed %s: %w", side, abi.Code(connection.ErrorCode))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", err, abi.CodeTimeout)
	case errors.Is(err, abi.CodeFrameTooLarge), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", err, abi.CodeUnavailable)
}
