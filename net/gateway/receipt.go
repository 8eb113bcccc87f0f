package gateway

import (
	"crypto/sha256"
	"time"

	"github.com/seed79541315/postern/abi"
)

// receiptCost is what a receipt takes from the key's bucket: the log is read,
// and two proofs are made.
const receiptCost = 16

// receipt gives a part of the proof of a decision.
func (st *stream) receipt(body []byte, standing abi.Standing) ([]byte, abi.Code) {
	q, err := abi.ParseReceiptRequest(body)
	if err != nil {
		return nil, codeOf(err)
	}
	account := st.conn.account
	if !account.take(time.Now(), receiptCost-1) || q.Now && !account.scarce.Allow() {
		return nil, abi.CodeRateLimited
	}
	whole, code := st.wholeReceipt(&q, standing)
	if code != abi.OK {
		return nil, code
	}
	if q.Offset > uint64(len(whole)) {
		return nil, abi.CodeBadArgument
	}
	if !st.holdLarge() {
		return nil, abi.CodeBusy
	}
	rest := whole[q.Offset:]
	st.body = abi.AppendPart(st.body[:0], &abi.Part{
		Bytes: rest[:min(len(rest), pageBytes)], Total: uint64(len(whole)), Hash: sha256.Sum256(whole),
	})
	return st.body, abi.OK
}

// wholeReceipt asks the Node. One that has to be anchored first takes as long
// as a submission that waits, and is bounded like it.
func (st *stream) wholeReceipt(q *abi.ReceiptRequest, standing abi.Standing) ([]byte, abi.Code) {
	ctx := st.conn.ctx
	if q.Now {
		var done func()
		if ctx, done = st.beginWait(); done == nil {
			return nil, abi.CodeBusy
		}
		defer done()
	}
	whole, err := st.conn.server.config.Node.Receipt(ctx, standing, q.Record, q.Now)
	if err != nil {
		return nil, st.failed("receipt", err)
	}
	return whole, abi.OK
}
