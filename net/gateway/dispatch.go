package gateway

import (
	"errors"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// dispatch answers a well-formed request: with a body, or with a code and
// none. The body is built in st.body.
func (st *stream) dispatch(q *abi.Request) ([]byte, abi.Code) {
	body, code, counted := st.admitted(q)
	if !counted {
		st.conn.server.stats.request(q.Op, code)
		st.conn.suspect(q.Op, code)
	}
	return body, code
}

// admitted asks the ledger who the caller is, then answers. counted says that
// a decision was counted by its own code.
func (st *stream) admitted(q *abi.Request) (body []byte, code abi.Code, counted bool) {
	if !st.conn.account.take(time.Now(), 1) {
		return nil, abi.CodeRateLimited, false
	}
	standing, err := st.conn.server.config.Node.Standing(st.conn.account.key)
	if err != nil {
		return nil, st.failed("standing", err), false
	}
	if standing.Device == abi.StatusRetired {
		st.conn.abort(abi.CodeDeviceInactive, standing.Why())
	}
	if code, why := st.conn.vouch(&standing); code != abi.OK {
		st.conn.abort(code, why)
		return nil, code, false
	}
	if code := permitted(q.Op, standing); code != abi.OK {
		return nil, code, false
	}
	if q.Op == abi.OpDecide {
		return st.decide(q.Body)
	}
	body, code = st.other(q, standing)
	return body, code, false
}

// permitted says who may ask for what: everyone who is there and who is
// active; a stranger may learn to whom it speaks and why to believe it, and a
// device that is not active how it stands, and may report.
func permitted(op abi.Operation, standing abi.Standing) abi.Code {
	switch {
	case op == abi.OpHello || op == abi.OpStatus || op == abi.OpSteps || standing.Active():
		return abi.OK
	case op == abi.OpReport && standing.MayReport():
		return abi.OK
	case !standing.Known:
		return abi.CodeUnknownKey
	}
	return abi.CodeDeviceInactive
}

// other answers all operations but decide. They may take long, so what is
// answered already goes out first.
func (st *stream) other(q *abi.Request, standing abi.Standing) ([]byte, abi.Code) {
	handler := handlers[min(q.Op, opCount)]
	if handler == nil {
		return nil, abi.CodeUnknownOp
	}
	if st.flush() != nil {
		return nil, abi.CodeUnavailable
	}
	return handler(st, q.Body, standing)
}

// handlers are the operations besides decide, by number.
var handlers = [opCount + 1]func(st *stream, body []byte, standing abi.Standing) ([]byte, abi.Code){
	abi.OpHello:  (*stream).hello,
	abi.OpBatch:  (*stream).batch,
	abi.OpSubmit: (*stream).submit,
	abi.OpStatus: (*stream).status,
	abi.OpProve:  (*stream).prove,
	abi.OpQuery:  (*stream).query,
	abi.OpScan:   (*stream).scan,
	abi.OpBlock:  (*stream).block,
	abi.OpTx:     (*stream).tx,
	abi.OpSteps:  (*stream).steps,

	abi.OpReport:    (*stream).report,
	abi.OpReceipt:   (*stream).receipt,
	abi.OpSubscribe: (*stream).subscribe,
	abi.OpEvidence:  (*stream).evidence,
	abi.OpSearch:    (*stream).search,
}

// failed turns an error of the Node into a code; the operator sees the cause.
func (st *stream) failed(what string, err error) abi.Code {
	code := codeOf(err)
	var own abi.Aborted
	errors.As(err, &own)
	st.abort = uint16(own)
	if code == abi.CodeInternal {
		st.conn.server.config.Logger.Error("request failed", "operation", what, "err", err)
	}
	return code
}

// parseBody walks a request's body; read refuses keys that it does not know.
// Every key of the bit set required has to be there.
func parseBody(body []byte, required uint64, read func(key uint64, r *cbor.Reader) bool) abi.Code {
	r := cbor.NewReader(body)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); {
		if !read(f.Key(), &r) {
			r.Fail(abi.CodeMalformed)
		}
		seen |= 1 << min(f.Key(), 63)
	}
	if err := r.Done(); err != nil {
		return codeOf(err)
	}
	if seen&required != required {
		return abi.CodeBadArgument
	}
	return abi.OK
}

func parseEmpty(body []byte) abi.Code {
	return parseBody(body, 0, func(uint64, *cbor.Reader) bool { return false })
}
