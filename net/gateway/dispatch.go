package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// maxScan is how many pairs the Node is asked for at a time. The longest value
// that the state holds has 32 KiB (a chunk of code), so this is 1 MiB at most.
const maxScan = 32

// pageBytes is how much a page of a scan or a part of a block holds: with
// what stands around it, it fits into a frame.
const pageBytes = abi.MaxFrame - 1<<10

// dispatch answers a well-formed request: with a body, or with a code and
// none. The body is built in st.body.
func (st *stream) dispatch(q *abi.Request) ([]byte, abi.Code) {
	body, code, counted := st.admitted(q)
	if !counted {
		st.conn.server.stats.request(q.Op, code)
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
		st.conn.abort(abi.CodeDeviceInactive)
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
// active; a stranger may learn to whom it speaks and why to believe it, and an
// inactive device how it stands.
func permitted(op abi.Operation, standing abi.Standing) abi.Code {
	switch {
	case op == abi.OpHello || op == abi.OpStatus || op == abi.OpSteps || standing.Active():
		return abi.OK
	case !standing.Known:
		return abi.CodeUnknownKey
	}
	return abi.CodeDeviceInactive
}

// decide answers one decision, the hot path.
func (st *stream) decide(body []byte) ([]byte, abi.Code, bool) {
	var domain, request []byte
	r := cbor.NewReader(body)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			domain = r.TextBytes()
		case 2:
			request = r.Raw()
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return nil, codeOf(err), false
	}
	if request == nil {
		return nil, abi.CodeBadArgument, false
	}
	answer := st.ask(st.intern(domain), request)
	st.body = abi.AppendAnswer(st.body[:0], &answer)
	return st.body, abi.OK, true
}

// ask asks the Node for one decision and counts it.
func (st *stream) ask(domain string, request []byte) abi.Answer {
	caller := abi.Caller{Key: st.conn.account.key}
	answer := st.conn.server.config.Node.Decide(st.conn.ctx, caller, domain, request)
	st.conn.server.stats.request(abi.OpDecide, answer.Code)
	return answer
}

// intern makes a string of a domain without allocating when it is the last.
func (st *stream) intern(domain []byte) string {
	if string(domain) != st.domain || len(domain) == 0 {
		st.domain = string(domain)
		if st.domain == "" {
			st.domain = abi.DefaultDomain
		}
	}
	return st.domain
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

// helloCost is what hello and steps take from the key's bucket: they are needed
// once a connection, and are the costly things that a stranger may ask for.
const helloCost = 16

// maxSteps is how many changes of the validator set an answer holds: 16 KiB
// with sixteen validators, little enough that a stranger needs no large slot.
const maxSteps = 8

func (st *stream) hello(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	after, named := uint64(0), false
	code := parseBody(body, 0, func(key uint64, r *cbor.Reader) bool {
		after, named = r.Uint(), true
		return key == 1
	})
	if code != abi.OK {
		return nil, code
	}
	if !st.conn.account.take(time.Now(), helloCost-1) {
		return nil, abi.CodeRateLimited
	}
	config := &st.conn.server.config
	h := abi.Hello{Account: config.Account}
	var err error
	if h.Entry, err = config.Node.Prove(chain.AccountKey(h.Account)); err != nil {
		return nil, st.failed("hello", err)
	}
	if named {
		steps, err := st.stepsAfter(after, pageBytes-len(h.Entry))
		if err != nil {
			return nil, st.failed("hello", err)
		}
		h.Steps = steps.Steps
	}
	st.body = abi.AppendHello(st.body[:0], &h)
	return st.body, abi.OK
}

func (st *stream) steps(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	after := uint64(0)
	code := parseBody(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		after = r.Uint()
		return key == 1
	})
	if code != abi.OK {
		return nil, code
	}
	if !st.conn.account.take(time.Now(), helloCost-1) {
		return nil, abi.CodeRateLimited
	}
	steps, err := st.stepsAfter(after, pageBytes)
	if err != nil {
		return nil, st.failed("steps", err)
	}
	if steps.More && len(steps.Steps) == 0 {
		return nil, abi.CodeTooLarge
	}
	st.body = abi.AppendSteps(st.body[:0], &steps)
	return st.body, abi.OK
}

// stepsAfter asks the Node for changes of the validator set above a height, and
// leaves out those that do not fit into size bytes.
func (st *stream) stepsAfter(after uint64, size int) (abi.Steps, error) {
	const head = 8 // more than the CBOR head of a step takes
	steps, more, err := st.conn.server.config.Node.Steps(after, maxSteps)
	if err != nil {
		return abi.Steps{}, err
	}
	for i, s := range steps {
		if size -= len(s) + head; size < 0 {
			return abi.Steps{Steps: steps[:i], More: true}, nil
		}
	}
	return abi.Steps{Steps: steps, More: more}, nil
}

// batch asks for up to abi.MaxBatch decisions, and stops early where the
// semantics say so.
func (st *stream) batch(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var domain []byte
	var requests [][]byte
	semantics := abi.ExecuteAll
	code := parseBody(body, 1<<2, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			domain = r.TextBytes()
		case 2:
			requests = readRequests(r)
		case 3:
			semantics = abi.Semantics(r.Uint())
		default:
			return false
		}
		return true
	})
	switch {
	case code != abi.OK:
		return nil, code
	case len(requests) == 0 || semantics > abi.PermitOnFirstPermit:
		return nil, abi.CodeBadArgument
	case !st.conn.account.take(time.Now(), len(requests)-1):
		return nil, abi.CodeRateLimited
	}
	return st.decideAll(st.intern(domain), requests, semantics)
}

func readRequests(r *cbor.Reader) [][]byte {
	n := r.Array()
	if n > abi.MaxBatch {
		r.Fail(abi.CodeTooLarge)
		return nil
	}
	list := make([][]byte, 0, n)
	for range n {
		list = append(list, r.Raw())
	}
	return list
}

func (st *stream) decideAll(domain string, requests [][]byte, semantics abi.Semantics) ([]byte, abi.Code) {
	answers, n := make([]byte, 0, 256), 0
	for _, request := range requests {
		answer := st.ask(domain, request)
		answers = abi.AppendAnswer(answers, &answer)
		n++
		if len(answers) > abi.MaxFrame {
			return nil, abi.CodeTooLarge
		}
		if semantics == abi.DenyOnFirstDeny && !answer.Permit || semantics == abi.PermitOnFirstPermit && answer.Permit {
			break
		}
	}
	st.body = append(cbor.AppendArray(st.body[:0], n), answers...)
	return st.body, abi.OK
}

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
		st.dropLarge()
		if !st.conn.account.waiting.try() {
			return abi.TxResult{}, abi.CodeBusy
		}
		defer st.conn.account.waiting.release()
		if !st.conn.server.waiting.try() {
			return abi.TxResult{}, abi.CodeBusy
		}
		defer st.conn.server.waiting.release()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, st.conn.server.config.SubmitTimeout)
		defer cancel()
	}
	result, err := st.conn.server.config.Node.Submit(ctx, raw, wait)
	if err != nil {
		return abi.TxResult{}, st.failed("submit", err)
	}
	return result, abi.OK
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

func (st *stream) status(body []byte, standing abi.Standing) ([]byte, abi.Code) {
	if code := parseEmpty(body); code != abi.OK {
		return nil, code
	}
	status := st.conn.server.config.Node.Status()
	if standing.Known {
		status.Account, status.Device, status.Roles = &standing.Account, standing.Device, standing.Roles
	}
	st.body = abi.AppendNodeStatus(st.body[:0], &status)
	return st.body, abi.OK
}

// beginLarge waits for a slot for a large answer.
func (st *stream) beginLarge() abi.Code {
	if !st.holdLarge() {
		return abi.CodeBusy
	}
	return abi.OK
}

func (st *stream) prove(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var key []byte
	code := parseBody(body, 1<<1, func(k uint64, r *cbor.Reader) bool {
		key = r.Bytes()
		return k == 1
	})
	if code != abi.OK {
		return nil, code
	}
	if code := st.beginLarge(); code != abi.OK {
		return nil, code
	}
	entry, err := st.conn.server.config.Node.Prove(key)
	if err != nil {
		return nil, st.failed("prove", err)
	}
	return entry, abi.OK
}

func (st *stream) query(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var contract string
	var message []byte
	code := parseBody(body, 1<<1|1<<2, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			contract = r.Text()
		case 2:
			message = r.Bytes()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	if code := st.beginLarge(); code != abi.OK {
		return nil, code
	}
	out, height, err := st.conn.server.config.Node.Query(st.conn.ctx, contract, message)
	if err != nil {
		return nil, st.failed("query", err)
	}
	b := cbor.AppendMap(st.body[:0], 2)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), out)
	st.body = cbor.AppendUint(cbor.AppendUint(b, 2), height)
	return st.body, abi.OK
}

func (st *stream) scan(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var prefix, start []byte
	limit := uint64(maxScan)
	code := parseBody(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			prefix = r.Bytes()
		case 2:
			start = r.Bytes()
		case 3:
			limit = r.Uint()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	if limit == 0 {
		return nil, abi.CodeBadArgument
	}
	if code := st.beginLarge(); code != abi.OK {
		return nil, code
	}
	pairs, more, height, err := st.conn.server.config.Node.Scan(prefix, start, int(min(limit, maxScan)))
	if err != nil {
		return nil, st.failed("scan", err)
	}
	fit := fitting(pairs)
	st.body = appendPage(st.body[:0], pairs[:fit], more || fit < len(pairs), height)
	return st.body, abi.OK
}

// fitting is how many of the pairs fit into a page.
func fitting(pairs [][2][]byte) int {
	const heads = 16 // more than the CBOR heads of a pair take
	size := 0
	for i, p := range pairs {
		if size += len(p[0]) + len(p[1]) + heads; size > pageBytes {
			return i
		}
	}
	return len(pairs)
}

func appendPage(b []byte, pairs [][2][]byte, more bool, height uint64) []byte {
	b = cbor.AppendArray(cbor.AppendUint(cbor.AppendMap(b, 3), 1), len(pairs))
	for _, p := range pairs {
		b = cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(b, 2), p[0]), p[1])
	}
	b = cbor.AppendBool(cbor.AppendUint(b, 2), more)
	return cbor.AppendUint(cbor.AppendUint(b, 3), height)
}

func (st *stream) block(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var height, offset uint64
	code := parseBody(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			height = r.Uint()
		case 2:
			offset = r.Uint()
		default:
			return false
		}
		return true
	})
	if code != abi.OK {
		return nil, code
	}
	if code := st.beginLarge(); code != abi.OK {
		return nil, code
	}
	block, certificate, outcomes, err := st.conn.server.config.Node.Block(height)
	if err != nil {
		return nil, st.failed("block", err)
	}
	return st.blockPart(offset, block, certificate, outcomes)
}

func (st *stream) blockPart(offset uint64, parts ...[]byte) ([]byte, abi.Code) {
	size := 0
	for _, p := range parts {
		size += len(p) + 16
	}
	whole := cbor.AppendMap(make([]byte, 0, size), len(parts))
	for i, p := range parts {
		whole = cbor.AppendBytes(cbor.AppendUint(whole, uint64(i+1)), p)
	}
	if offset > uint64(len(whole)) {
		return nil, abi.CodeBadArgument
	}
	part := whole[offset:]
	b := cbor.AppendMap(st.body[:0], 2)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), part[:min(len(part), pageBytes)])
	st.body = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(len(whole)))
	return st.body, abi.OK
}

func (st *stream) tx(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var id abi.Hash
	code := parseBody(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		copy(id[:], r.BytesN(len(id)))
		return key == 1
	})
	if code != abi.OK {
		return nil, code
	}
	if code := st.beginLarge(); code != abi.OK {
		return nil, code
	}
	result, err := st.conn.server.config.Node.Tx(id)
	if err != nil {
		return nil, st.failed("tx", err)
	}
	return st.txResult(&result)
}
