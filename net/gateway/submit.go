package gateway

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

func (st *stream) submit(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var raw []byte
	wait := false
	code := parseBody(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			raw = append([]byte(nil), r.Bytes()...) // the Node keeps it
		case 2:
			wait = r.Bool()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	if len(raw) > abi.MaxTransaction {
		return nil, abi.CodeTooLarge
	}
	result, code := st.submitted(raw, wait)
	if code != abi.OK {
		return nil, code
	}
	return st.txResult(&result)
}

// submitted hands a transaction to the Node. One that waits holds no large
// buffer meanwhile, and counts as waiting.
func (st *stream) submitted(raw []byte, wait bool) (abi.TxResult, abi.Code) {
	ctx := st.conn.ctx
	if wait {
		var done func()
		if ctx, done = st.beginWait(); done == nil {
			return abi.TxResult{}, abi.CodeBusy
		}
		defer done()
	}
	result, err := st.conn.server.config.Node.Submit(ctx, raw, wait)
	if err != nil {
		return abi.TxResult{}, st.failed("submit", err)
	}
	return result, abi.OK
}

// beginWait takes a slot for a request that waits for a block, which may hold no
// large buffer meanwhile. done gives it back; it is nil if there is none.
func (st *stream) beginWait() (ctx context.Context, done func()) {
	st.dropLarge()
	own, all := st.conn.account.waiting, st.conn.server.waiting
	if !own.try() {
		return nil, nil
	}
	if !all.try() {
		own.release()
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(st.conn.ctx, st.conn.server.config.SubmitTimeout)
	return ctx, func() {
		cancel()
		all.release()
		own.release()
	}
}

func (st *stream) tx(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var id abi.Hash
	code := st.parseRead(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		copy(id[:], r.BytesN(len(id)))
		return key == 1
	})
	if code != abi.OK {
		return nil, code
	}
	result, err := st.conn.server.config.Node.Tx(id)
	if err != nil {
		return nil, st.failed("tx", err)
	}
	return st.txResult(&result)
}

// txResult leaves out what does not fit into a frame: the transaction, then
// the outcome, which stands in the block.
func (st *stream) txResult(t *abi.TxResult) ([]byte, abi.Code) {
	if len(t.Outcome)+len(t.Tx) > pageBytes {
		t.Tx = nil
	}
	if len(t.Outcome) > pageBytes {
		t.Outcome = nil
	}
	st.body = abi.AppendTxResult(st.body[:0], t)
	return st.body, abi.OK
}
